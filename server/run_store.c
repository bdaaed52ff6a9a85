/* SPDX-License-Identifier: MIT */
#include "server/run_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { ID_SHOWN_BYTES = 65 };

/* ---- reading ---- */

/* Reads columns one after the other. */
struct row {
  sqlite3_stmt *stmt;
  int at;
};

static char *take_text(struct row *r) {
  const char *text = (const char *)sqlite3_column_text(r->stmt, r->at++);
  return text ? strdup(text) : NULL;
}

static int64_t take_int(struct row *r) {
  return sqlite3_column_int64(r->stmt, r->at++);
}

static uint64_t take_count(struct row *r) {
  return (uint64_t)take_int(r);
}

static struct view look_at_text(struct row *r) {
  return view_of((const char *)sqlite3_column_text(r->stmt, r->at++));
}

static void read_progress(struct row *r, struct run_progress *p) {
  p->bytes_read = take_count(r);
  p->bytes_total = take_count(r);
  p->rows_orders = take_count(r);
  p->rows_order_items = take_count(r);
  p->rows_products = take_count(r);
  p->files_done = take_count(r);
  p->files_total = take_count(r);
  p->items_published = take_count(r);
  p->items_total = take_count(r);
}

void run_row_read(sqlite3_stmt *stmt, struct run *out) {
  struct row r = {stmt, 0};
  memset(out, 0, sizeof *out);
  view_to_cstr(look_at_text(&r), out->id, sizeof out->id);
  day_parse(look_at_text(&r), &out->date);
  out->timezone = take_text(&r);
  out->engine = take_text(&r);
  run_state_of(look_at_text(&r), &out->state);
  run_phase_of(look_at_text(&r), &out->phase);
  out->attempt = (uint32_t)take_int(&r);
  out->max_attempts = (uint32_t)take_int(&r);
  int64_t *times[] = {&out->created_at,      &out->started_at,          &out->finished_at,  &out->updated_at,
                      &out->next_attempt_at, &out->cancel_requested_at, &out->published_at, &out->expires_at};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    *times[i] = take_int(&r);
  out->timeout_seconds = (uint32_t)take_int(&r);
  out->failures = (uint32_t)take_int(&r);
  out->version = take_count(&r);
  out->publish = take_int(&r) != 0;
  quality_gate_of(look_at_text(&r), &out->gate);
  bad_rows_of(look_at_text(&r), &out->bad_rows);
  out->max_bad_rows = take_text(&r);
  out->force = take_int(&r) != 0;
  out->from_publish = take_int(&r) != 0;
  read_progress(&r, &out->progress);
  out->input_base = take_text(&r);
  out->input_fingerprint = take_text(&r);
  out->input_objects = take_count(&r);
  out->input_bytes = take_count(&r);
  char **texts[] = {&out->summary_json,    &out->quality_json, &out->output_json, &out->error_json,
                    &out->labels_json,     &out->reason,       &out->user_agent,  &out->request_id,
                    &out->service_version, &out->principal,    &out->trace_id,    &out->idempotency_key,
                    &out->attempts_json};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    *texts[i] = take_text(&r);
}

enum kpi_code run_row_get(struct db_conn *c, struct view id, struct run *out, struct err *err) {
  char wanted[ID_SHOWN_BYTES]; /* the id may be that of *out */
  bool is_id = view_to_cstr(id, wanted, sizeof wanted);
  run_clear(out);
  sqlite3_stmt *stmt = db_statement(c, "SELECT " RUN_COLUMNS " FROM runs WHERE id = ?1");
  db_bind_text(stmt, 1, is_id ? wanted : NULL);
  switch (sqlite3_step(stmt)) {
  case SQLITE_ROW:
    run_row_read(stmt, out);
    sqlite3_reset(stmt);
    return KPI_OK;
  case SQLITE_DONE:
    return err_set(err, KPI_RUN_NOT_FOUND, "there is no run %s", wanted);
  default:
    return db_failure(c, err);
  }
}

/* One run by id, in and out. */
struct run_call {
  struct view id;
  struct run *run;
};

static enum kpi_code do_get(struct db_conn *c, void *arg, struct err *err) {
  struct run_call *call = arg;
  return run_row_get(c, call->id, call->run, err);
}

enum kpi_code run_store_get(struct db *db, struct view id, struct run *out, struct err *err) {
  *out = (struct run){0};
  struct run_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_get, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

/* ---- listing ---- */

struct list_call {
  const struct run_filter *filter;
  struct run_list *list;
};

/* Every condition is always there, so that one prepared statement serves all filters: NULL means any. */
static sqlite3_stmt *list_statement(struct db_conn *c, const struct run_filter *f) {
  char date[DAY_TEXT_SIZE], from[DAY_TEXT_SIZE], to[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(
      c, "SELECT " RUN_COLUMNS " FROM runs WHERE (?1 IS NULL OR id < ?1) AND (?2 IS NULL OR state = ?2)"
         " AND (?3 IS NULL OR date = ?3) AND (?4 IS NULL OR date >= ?4) AND (?5 IS NULL OR date <= ?5)"
         " AND (?6 IS NULL OR ?6 = (state IN " ACTIVE_STATES "))"
         " AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(labels_json) WHERE key = ?7"
         " AND (?8 IS NULL OR value = ?8)))"
         " AND (?10 IS NULL OR id = (SELECT run_id FROM idempotency_keys WHERE key = ?10))"
         " ORDER BY id DESC LIMIT ?9");
  if (!s)
    return NULL;
  db_bind_view(s, 1, f->before_id);
  db_bind_text(s, 2, f->has_state ? run_state_name(f->state) : NULL);
  db_bind_text(s, 3, f->has_date ? day_text(f->date, date) : NULL);
  db_bind_text(s, 4, f->has_from ? day_text(f->from, from) : NULL);
  db_bind_text(s, 5, f->has_to ? day_text(f->to, to) : NULL);
  if (f->has_active)
    db_bind_int(s, 6, f->active);
  db_bind_view(s, 7, f->label_key);
  db_bind_view(s, 8, f->label_value);
  db_bind_int(s, 9, (int64_t)f->limit + 1);
  db_bind_view(s, 10, f->idempotency_key);
  return s;
}

static enum kpi_code do_list(struct db_conn *c, void *arg, struct err *err) {
  struct list_call *call = arg;
  run_list_clear(call->list);
  call->list->runs = calloc(call->filter->limit, sizeof *call->list->runs);
  sqlite3_stmt *stmt = list_statement(c, call->filter);
  if (!stmt || !call->list->runs)
    return db_failure(c, err);
  int step;
  while ((step = sqlite3_step(stmt)) == SQLITE_ROW && call->list->count < call->filter->limit)
    run_row_read(stmt, &call->list->runs[call->list->count++]);
  call->list->more = step == SQLITE_ROW;
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code run_store_list(struct db *db, const struct run_filter *filter, struct run_list *out,
                             struct err *err) {
  *out = (struct run_list){0};
  struct list_call call = {filter, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_list, &call, err);
  if (rc)
    run_list_clear(out);
  return rc;
}

/* ---- while it runs ---- */

void run_row_bind_progress(sqlite3_stmt *s, int at, const struct run_progress *p) {
  const uint64_t values[] = {p->bytes_read,    p->bytes_total, p->rows_orders, p->rows_order_items,
                             p->rows_products, p->files_done,  p->files_total};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    db_bind_int(s, at + (int)i, (int64_t)values[i]);
}

struct progress_call {
  const char *id;
  enum run_phase phase;
  const struct run_progress *progress;
};

static enum kpi_code do_progress(struct db_conn *c, void *arg, struct err *err) {
  struct progress_call *call = arg;
  sqlite3_stmt *s =
      db_statement(c, "UPDATE runs SET phase = ?2, updated_at = ?3, version = version + 1, " SET_PROGRESS
                      " WHERE id = ?1 AND state IN ('running', 'cancelling')");
  db_bind_text(s, 1, call->id);
  db_bind_text(s, 2, run_phase_name(call->phase));
  db_bind_int(s, 3, clock_wall_ms());
  run_row_bind_progress(s, 10, call->progress);
  return db_run(c, s, err);
}

enum kpi_code run_store_progress(struct db *db, const char *id, enum run_phase phase,
                                 const struct run_progress *progress, struct err *err) {
  struct progress_call call = {id, phase, progress};
  return db_call(db, DB_NORMAL, do_progress, &call, err);
}

struct input_call {
  const char *id;
  const struct run_input *input;
};

static enum kpi_code keep_listing(struct db_conn *c, const struct run_input *input, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "INSERT OR IGNORE INTO manifests (fingerprint, listing) VALUES (?1, ?2)");
  db_bind_text(s, 1, input->fingerprint);
  db_bind_view(s, 2, input->listing);
  return db_run(c, s, err);
}

static enum kpi_code do_input(struct db_conn *c, void *arg, struct err *err) {
  struct input_call *call = arg;
  enum kpi_code rc = call->input->listing.len ? keep_listing(c, call->input, err) : KPI_OK;
  if (rc)
    return rc;
  sqlite3_stmt *s =
      db_statement(c, "UPDATE runs SET input_fingerprint = ?2, input_objects = ?3, input_bytes = ?4,"
                      " bytes_total = ?4, files_total = ?3, version = version + 1,"
                      " results_sha256 = iif(results_fingerprint = ?2, results_sha256, NULL) WHERE id = ?1");
  db_bind_text(s, 1, call->id);
  db_bind_text(s, 2, call->input->fingerprint);
  db_bind_int(s, 3, (int64_t)call->input->objects);
  db_bind_int(s, 4, (int64_t)call->input->bytes);
  return db_run(c, s, err);
}

enum kpi_code run_store_input(struct db *db, const char *id, const struct run_input *input, struct err *err) {
  struct input_call call = {id, input};
  return db_call(db, DB_NORMAL, do_input, &call, err);
}

/* ---- counting ---- */

enum kpi_code run_rows_count_queued(struct db_conn *c, uint64_t *out, struct err *err) {
  sqlite3_stmt *stmt = db_statement(c, "SELECT count(*) FROM runs WHERE state = 'queued'");
  if (!stmt || sqlite3_step(stmt) != SQLITE_ROW)
    return db_failure(c, err);
  *out = (uint64_t)sqlite3_column_int64(stmt, 0);
  sqlite3_reset(stmt);
  return KPI_OK;
}

static enum kpi_code do_count(struct db_conn *c, void *arg, struct err *err) {
  return run_rows_count_queued(c, arg, err);
}

enum kpi_code run_store_count_queued(struct db *db, uint64_t *queued, struct err *err) {
  *queued = 0;
  return db_call(db, DB_NORMAL, do_count, queued, err);
}
