/* SPDX-License-Identifier: MIT */
#include "server/run_store.h"

#include "base/clock.h"
#include "base/scope.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

#define RUN_COLUMNS                                                                                          \
  "id, date, timezone, engine, state, phase, attempt, max_attempts, created_at, started_at, finished_at, "   \
  "updated_at, next_attempt_at, cancel_requested_at, published_at, version, publish, quality_gate, "         \
  "bad_rows, "                                                                                               \
  "max_bad_rows, force, from_publish, bytes_read, bytes_total, rows_orders, rows_order_items, "              \
  "rows_products, files_done, "                                                                              \
  "files_total, "                                                                                            \
  "items_published, items_total, input_base, input_fingerprint, input_objects, input_bytes, summary_json, "  \
  "quality_json, output_json, error_json, labels_json, reason, user_agent, request_id, service_version, "    \
  "(SELECT json_group_array(json_object('attempt', attempt, 'started_at', "                                  \
  "strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch'), 'finished_at', "                        \
  "strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch'), 'outcome', outcome, 'error_code', "    \
  "error_code)) FROM attempts a WHERE a.run_id = runs.id)"

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

/* Reads the current row of a statement over RUN_COLUMNS. Returns owned in *out. */
static void read_run(sqlite3_stmt *stmt, struct run *out) {
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
  int64_t *times[] = {&out->created_at,      &out->started_at,          &out->finished_at, &out->updated_at,
                      &out->next_attempt_at, &out->cancel_requested_at, &out->published_at};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
    *times[i] = take_int(&r);
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
                    &out->service_version, &out->attempts_json};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    *texts[i] = take_text(&r);
}

static enum kpi_code get_by_id(struct db_conn *c, struct view id, struct run *out, struct err *err) {
  run_clear(out);
  sqlite3_stmt *stmt = db_statement(c, "SELECT " RUN_COLUMNS " FROM runs WHERE id = ?1");
  db_bind_view(stmt, 1, id);
  switch (sqlite3_step(stmt)) {
  case SQLITE_ROW:
    read_run(stmt, out);
    sqlite3_reset(stmt);
    return KPI_OK;
  case SQLITE_DONE:
    return err_set(err, KPI_RUN_NOT_FOUND, "there is no run %.*s", (int)(id.len < 64 ? id.len : 64), id.ptr);
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
  return get_by_id(c, call->id, call->run, err);
}

enum kpi_code run_store_get(struct db *db, struct view id, struct run *out, struct err *err) {
  *out = (struct run){0};
  struct run_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_get, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

/* ---- submitting ---- */

struct submit_call {
  const struct run_request *request;
  const struct run_defaults *defaults;
  char id[UUID_TEXT_SIZE];
  struct run *run;
  enum disposition disposition;
};

static enum kpi_code count_queued(struct db_conn *c, uint64_t *out, struct err *err) {
  sqlite3_stmt *stmt = db_statement(c, "SELECT count(*) FROM runs WHERE state = 'queued'");
  if (!stmt || sqlite3_step(stmt) != SQLITE_ROW)
    return db_failure(c, err);
  *out = (uint64_t)sqlite3_column_int64(stmt, 0);
  sqlite3_reset(stmt);
  return KPI_OK;
}

/* Finds the run that a publishing request for its date attaches to; *found false: none is active. */
static enum kpi_code find_active(struct db_conn *c, struct submit_call *call, bool *found, struct err *err) {
  char date[DAY_TEXT_SIZE];
  *found = false;
  if (!call->request->publish)
    return KPI_OK;
  sqlite3_stmt *stmt = db_statement(c, "SELECT id, state FROM runs WHERE date = ?1 AND publish = 1"
                                       " AND state IN ('queued', 'running', 'retry_wait', 'cancelling')");
  db_bind_text(stmt, 1, day_text(call->request->date, date));
  int step = sqlite3_step(stmt);
  if (step == SQLITE_DONE)
    return KPI_OK;
  if (step != SQLITE_ROW)
    return db_failure(c, err);
  char id[UUID_TEXT_SIZE];
  view_to_cstr(view_of((const char *)sqlite3_column_text(stmt, 0)), id, sizeof id);
  bool cancelling = strcmp((const char *)sqlite3_column_text(stmt, 1), "cancelling") == 0;
  sqlite3_reset(stmt);
  if (cancelling)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of %s is being cancelled; send it again in a moment",
                   id, date);
  *found = true;
  call->disposition = DISPOSITION_ATTACHED;
  return get_by_id(c, view_of(id), call->run, err);
}

static enum kpi_code insert_run(struct db_conn *c, const struct submit_call *call, struct err *err) {
  const struct run_request *q = call->request;
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(
      c,
      "INSERT INTO runs (id, date, timezone, engine, state, max_attempts, created_at, updated_at, publish,"
      " quality_gate, bad_rows, max_bad_rows, input_base, labels_json, reason, user_agent, request_id,"
      " service_version, force) VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
      " ?14, ?15, ?16, ?17)");
  db_bind_text(s, 1, call->id);
  db_bind_text(s, 2, day_text(q->date, date));
  db_bind_text(s, 3, call->defaults->timezone);
  db_bind_text(s, 4, call->defaults->engine);
  db_bind_int(s, 5, ATTEMPTS_MAX);
  db_bind_int(s, 6, clock_wall_ms());
  db_bind_int(s, 7, q->publish);
  db_bind_text(s, 8, quality_gate_name(q->gate));
  db_bind_text(s, 9, bad_rows_name(q->bad_rows));
  db_bind_view(s, 10, q->max_bad_rows.len ? q->max_bad_rows : view_of(call->defaults->max_bad_rows));
  db_bind_text(s, 11, call->defaults->source);
  db_bind_view(s, 12, q->labels_json.len ? q->labels_json : VIEW_LIT("{}"));
  db_bind_view(s, 13, q->reason);
  db_bind_view(s, 14, q->user_agent);
  db_bind_view(s, 15, q->request_id);
  db_bind_text(s, 16, KPID_VERSION);
  db_bind_int(s, 17, q->force);
  return db_run(c, s, err);
}

static enum kpi_code do_submit(struct db_conn *c, void *arg, struct err *err) {
  struct submit_call *call = arg;
  bool found;
  uint64_t queued = 0;
  call->disposition = DISPOSITION_CREATED;
  /* The intent of a run that is being accepted may have been loaded, and the run created, before. */
  if (call->request->id && get_by_id(c, view_of(call->id), call->run, err) == KPI_OK)
    return KPI_OK;
  enum kpi_code rc = find_active(c, call, &found, err);
  if (rc || found)
    return rc;
  rc = count_queued(c, &queued, err);
  if (rc == KPI_OK && queued >= QUEUE_MAX)
    rc = err_set(err, KPI_QUEUE_FULL, "%d runs are queued already", QUEUE_MAX);
  if (rc == KPI_OK)
    rc = insert_run(c, call, err);
  return rc ? rc : get_by_id(c, view_of(call->id), call->run, err);
}

enum kpi_code run_store_submit(struct db *db, const struct run_request *request,
                               const struct run_defaults *defaults, struct run *out,
                               enum disposition *disposition, struct err *err) {
  *out = (struct run){0};
  struct submit_call call = {.request = request, .defaults = defaults, .run = out};
  if (request->id)
    view_to_cstr(view_of(request->id), call.id, sizeof call.id);
  else
    crypto_uuid7(call.id);
  enum kpi_code rc = db_call(db, DB_NORMAL, do_submit, &call, err);
  *disposition = call.disposition;
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
         " AND (?6 IS NULL OR ?6 = (state IN ('queued', 'running', 'retry_wait', 'cancelling')))"
         " AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(labels_json) WHERE key = ?7"
         " AND (?8 IS NULL OR value = ?8))) ORDER BY id DESC LIMIT ?9");
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
    read_run(stmt, &call->list->runs[call->list->count++]);
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

/* ---- moving ---- */

struct claim_call {
  const char *boot_id, *id;
  const struct run_defaults *defaults;
  struct run *run;
  bool found;
};

static enum kpi_code do_claim(struct db_conn *c, void *arg, struct err *err) {
  struct claim_call *call = arg;
  char id[UUID_TEXT_SIZE];
  call->found = false;
  sqlite3_stmt *s = db_statement(
      c, "SELECT id FROM runs WHERE state = 'queued' AND (?1 IS NULL OR id = ?1) ORDER BY id LIMIT 1");
  db_bind_text(s, 1, call->id);
  int step = sqlite3_step(s);
  if (step == SQLITE_DONE)
    return KPI_OK;
  if (step != SQLITE_ROW)
    return db_failure(c, err);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), id, sizeof id);
  sqlite3_reset(s);
  s = db_statement(
      c, "UPDATE runs SET state = 'running', phase = 'listing', attempt = attempt + 1, boot_id = ?2,"
         " engine = iif(from_publish, engine, ?4), timezone = iif(from_publish, timezone, ?5),"
         " input_base = iif(from_publish, input_base, ?6),"
         " started_at = ?3, updated_at = ?3, finished_at = NULL, error_json = NULL,"
         " summary_json = iif(from_publish, summary_json, NULL), quality_json = iif(from_publish, "
         "quality_json, NULL),"
         " results_sha256 = iif(from_publish, results_sha256, NULL), bytes_read = 0, files_done = 0, "
         "rows_orders = 0,"
         " rows_order_items = 0, rows_products = 0, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, call->boot_id);
  db_bind_int(s, 3, clock_wall_ms());
  db_bind_text(s, 4, call->defaults->engine);
  db_bind_text(s, 5, call->defaults->timezone);
  db_bind_text(s, 6, call->defaults->source);
  enum kpi_code rc = db_run(c, s, err);
  call->found = rc == KPI_OK;
  return rc ? rc : get_by_id(c, view_of(id), call->run, err);
}

enum kpi_code run_store_claim(struct db *db, const char *boot_id, const char *id,
                              const struct run_defaults *defaults, struct run *out, bool *found,
                              struct err *err) {
  *out = (struct run){0};
  struct claim_call call = {boot_id, id, defaults, out, false};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_claim, &call, err);
  *found = rc == KPI_OK && call.found;
  if (!*found)
    run_clear(out);
  return rc;
}

static enum kpi_code do_cancel(struct db_conn *c, void *arg, struct err *err) {
  struct run_call *call = arg;
  enum kpi_code rc = get_by_id(c, call->id, call->run, err);
  if (rc)
    return rc;
  enum run_state state = call->run->state;
  if (state == RUN_SUCCEEDED || state == RUN_FAILED)
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "the run has %s", run_state_name(state));
  if (state == RUN_CANCELLED || state == RUN_CANCELLING)
    return KPI_OK;
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = ?2, cancel_requested_at = ?3, updated_at = ?3, version = version + 1,"
         " finished_at = CASE ?2 WHEN 'cancelled' THEN ?3 END, next_attempt_at = NULL WHERE id = ?1");
  db_bind_view(s, 1, call->id);
  db_bind_text(s, 2, run_state_name(state == RUN_RUNNING ? RUN_CANCELLING : RUN_CANCELLED));
  db_bind_int(s, 3, clock_wall_ms());
  rc = db_run(c, s, err);
  return rc ? rc : get_by_id(c, call->id, call->run, err);
}

enum kpi_code run_store_cancel(struct db *db, struct view id, struct run *out, struct err *err) {
  *out = (struct run){0};
  struct run_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_cancel, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

struct retry_call {
  struct view id;
  bool from_publish;
  struct run *run;
};

static enum kpi_code has_results(struct db_conn *c, struct view id, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "SELECT results_sha256 IS NOT NULL FROM runs WHERE id = ?1");
  db_bind_view(s, 1, id);
  if (sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  return sqlite3_column_int(s, 0)
             ? KPI_OK
             : err_set(err, KPI_RESULTS_NOT_READY, "the run has kept no results: retry from the start");
}

/* Fails unless the run has ended badly and no other publishing run of its date is active. */
static enum kpi_code may_retry(struct db_conn *c, const struct run *run, struct err *err) {
  char date[DAY_TEXT_SIZE];
  if (run->state == RUN_SUCCEEDED)
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "the run has succeeded; post a new one");
  if (run->state != RUN_FAILED && run->state != RUN_CANCELLED)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "the run is %s", run_state_name(run->state));
  if (!run->publish)
    return KPI_OK;
  sqlite3_stmt *s = db_statement(c, "SELECT id FROM runs WHERE date = ?1 AND publish = 1"
                                    " AND state IN ('queued', 'running', 'retry_wait', 'cancelling')");
  db_bind_text(s, 1, day_text(run->date, date));
  int step = sqlite3_step(s);
  if (step == SQLITE_ROW)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of %s is active", sqlite3_column_text(s, 0), date);
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code do_retry(struct db_conn *c, void *arg, struct err *err) {
  struct retry_call *call = arg;
  uint64_t queued = 0;
  enum kpi_code rc = get_by_id(c, call->id, call->run, err);
  if (rc == KPI_OK)
    rc = may_retry(c, call->run, err);
  if (rc == KPI_OK && call->from_publish)
    rc = has_results(c, call->id, err);
  if (rc == KPI_OK)
    rc = count_queued(c, &queued, err);
  if (rc == KPI_OK && queued >= QUEUE_MAX)
    rc = err_set(err, KPI_QUEUE_FULL, "%d runs are queued already", QUEUE_MAX);
  if (rc)
    return rc;
  sqlite3_stmt *s =
      db_statement(c, "UPDATE runs SET state = 'queued', from_publish = ?2, updated_at = ?3, finished_at = "
                      "NULL, error_json = NULL,"
                      " cancel_requested_at = NULL, crashes = 0, version = version + 1 WHERE id = ?1");
  db_bind_view(s, 1, call->id);
  db_bind_int(s, 2, call->from_publish);
  db_bind_int(s, 3, clock_wall_ms());
  rc = db_run(c, s, err);
  return rc ? rc : get_by_id(c, call->id, call->run, err);
}

enum kpi_code run_store_retry(struct db *db, struct view id, bool from_publish, struct run *out,
                              struct err *err) {
  *out = (struct run){0};
  struct retry_call call = {id, from_publish, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_retry, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

/* ---- while it runs ---- */

static void bind_progress(sqlite3_stmt *s, int at, const struct run_progress *p) {
  const uint64_t values[] = {p->bytes_read,    p->bytes_total, p->rows_orders, p->rows_order_items,
                             p->rows_products, p->files_done,  p->files_total};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    db_bind_int(s, at + (int)i, (int64_t)values[i]);
}

#define SET_PROGRESS                                                                                         \
  "bytes_read = ?10, bytes_total = ?11, rows_orders = ?12, rows_order_items = ?13, rows_products = ?14, "    \
  "files_done = ?15, files_total = ?16"

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
  bind_progress(s, 10, call->progress);
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

/* ---- ending ---- */

static enum kpi_code add_attempt(struct db_conn *c, const struct run *run, const char *outcome,
                                 const char *error_code, int64_t now, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "INSERT OR REPLACE INTO attempts (run_id, attempt, started_at, finished_at, outcome,"
                      " error_code) VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
  db_bind_text(s, 1, run->id);
  db_bind_int(s, 2, run->attempt);
  db_bind_int(s, 3, run->started_at ? run->started_at : now);
  db_bind_int(s, 4, now);
  db_bind_text(s, 5, outcome);
  db_bind_text(s, 6, error_code);
  return db_run(c, s, err);
}

/* Who stops a run of its own accord has not asked for that before, but cancelled is only reached that way. */
static enum kpi_code pass_cancelling(struct db_conn *c, const char *id, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c,
      "UPDATE runs SET state = 'cancelling', cancel_requested_at = ?2 WHERE id = ?1 AND state = 'running'");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, clock_wall_ms());
  return db_run(c, s, err);
}

static enum kpi_code do_finish(struct db_conn *c, void *arg, struct err *err) {
  const struct run_end *end = arg;
  struct run run = {0};
  enum kpi_code rc = get_by_id(c, view_of(end->id), &run, err);
  if (rc == KPI_OK && end->state == RUN_CANCELLED)
    rc = pass_cancelling(c, end->id, err);
  if (rc) {
    run_clear(&run);
    return rc;
  }
  int64_t now = clock_wall_ms();
  bool handed_back = end->state == RUN_QUEUED && run.state != RUN_CANCELLING;
  enum run_state state = end->state == RUN_QUEUED && !handed_back ? RUN_CANCELLED : end->state;
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = ?2, phase = NULL, updated_at = ?3, finished_at = CASE WHEN ?4 THEN NULL "
         "ELSE ?3 END,"
         " attempt = attempt - ?4, boot_id = NULL, error_json = ?5, output_json = coalesce(?6, output_json),"
         " version = version + 1, " SET_PROGRESS " WHERE id = ?1");
  db_bind_text(s, 1, end->id);
  db_bind_text(s, 2, run_state_name(state));
  db_bind_int(s, 3, now);
  db_bind_int(s, 4, handed_back);
  db_bind_text(s, 5, state == RUN_FAILED ? end->error_json : NULL);
  db_bind_text(s, 6, end->output_json);
  bind_progress(s, 10, &end->progress);
  rc = db_run(c, s, err);
  if (rc == KPI_OK && !handed_back)
    rc = add_attempt(c, &run, run_state_name(state), state == RUN_FAILED ? end->error_code : NULL, now, err);
  run_clear(&run);
  return rc;
}

enum kpi_code run_store_finish(struct db *db, const struct run_end *end, struct err *err) {
  return db_call(db, DB_MUST_LAND, do_finish, (void *)(uintptr_t)end, err);
}

/* ---- counting ---- */

static enum kpi_code do_count(struct db_conn *c, void *arg, struct err *err) {
  return count_queued(c, arg, err);
}

enum kpi_code run_store_count_queued(struct db *db, uint64_t *queued, struct err *err) {
  *queued = 0;
  return db_call(db, DB_NORMAL, do_count, queued, err);
}
