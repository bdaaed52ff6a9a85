/* SPDX-License-Identifier: MIT */
#include "server/run_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

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
         " AND (?11 IS NULL OR id IN (SELECT run_id FROM backfill_days WHERE backfill_id = ?11))"
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
  db_bind_view(s, 11, f->backfill_id);
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

/* A change of several runs. */
struct runs_call {
  const char *const *ids;
  size_t count;
  enum run_phase phase;
  const struct run_progress *progress;
  const struct run_input *input;
};

static enum kpi_code do_progress(struct db_conn *c, void *arg, struct err *err) {
  const struct runs_call *call = arg;
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    sqlite3_stmt *s =
        db_statement(c, "UPDATE runs SET phase = ?2, updated_at = ?3, version = version + 1, " SET_PROGRESS
                        " WHERE id = ?1 AND state IN ('running', 'cancelling')");
    db_bind_text(s, 1, call->ids[i]);
    db_bind_text(s, 2, run_phase_name(call->phase));
    db_bind_int(s, 3, clock_wall_ms());
    run_row_bind_progress(s, 10, call->progress);
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code run_store_progress(struct db *db, const char *const *ids, size_t count, enum run_phase phase,
                                 const struct run_progress *progress, struct err *err) {
  struct runs_call call = {.ids = ids, .count = count, .phase = phase, .progress = progress};
  return db_call(db, DB_NORMAL, do_progress, &call, err);
}

static enum kpi_code keep_listing(struct db_conn *c, const struct run_input *input, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "INSERT OR IGNORE INTO manifests (fingerprint, listing) VALUES (?1, ?2)");
  db_bind_text(s, 1, input->fingerprint);
  db_bind_view(s, 2, input->listing);
  return db_run(c, s, err);
}

static enum kpi_code do_input(struct db_conn *c, void *arg, struct err *err) {
  const struct runs_call *call = arg;
  enum kpi_code rc = call->input->listing.len ? keep_listing(c, call->input, err) : KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    sqlite3_stmt *s =
        db_statement(c, "UPDATE runs SET input_fingerprint = ?2, input_objects = ?3, input_bytes = ?4,"
                        " bytes_total = ?4, files_total = ?3, version = version + 1,"
                        " results_sha256 = iif(results_fingerprint = ?2, results_sha256, NULL)"
                        " WHERE id = ?1");
    db_bind_text(s, 1, call->ids[i]);
    db_bind_text(s, 2, call->input->fingerprint);
    db_bind_int(s, 3, (int64_t)call->input->objects);
    db_bind_int(s, 4, (int64_t)call->input->bytes);
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code run_store_input(struct db *db, const char *const *ids, size_t count,
                              const struct run_input *input, struct err *err) {
  struct runs_call call = {.ids = ids, .count = count, .input = input};
  return db_call(db, DB_NORMAL, do_input, &call, err);
}
