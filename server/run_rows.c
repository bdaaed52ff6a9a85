/* SPDX-License-Identifier: MIT */
#include "server/run_rows.h"

#include "base/clock.h"
#include "base/scope.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { ID_SHOWN_BYTES = 65, MS_PER_SECOND = 1000 };

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
  engine_kind_of(look_at_text(&r), &out->engine);
  engine_kind_of(look_at_text(&r), &out->engine_asked);
  out->engine_job_owner = take_text(&r);
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
  char **texts[] = {&out->summary_json,    &out->quality_json,     &out->output_json, &out->error_json,
                    &out->labels_json,     &out->reason,           &out->user_agent,  &out->request_id,
                    &out->service_version, &out->principal,        &out->trace_id,    &out->idempotency_key,
                    &out->attempts_json,   &out->backfill_ids_json};
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

void run_row_bind_progress(sqlite3_stmt *s, int at, const struct run_progress *p) {
  const uint64_t values[] = {p->bytes_read,    p->bytes_total, p->rows_orders, p->rows_order_items,
                             p->rows_products, p->files_done,  p->files_total};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    db_bind_int(s, at + (int)i, (int64_t)values[i]);
}

/* ---- queue ---- */

enum kpi_code run_rows_count_queued(struct db_conn *c, uint64_t *out, struct err *err) {
  sqlite3_stmt *stmt = db_statement(c, "SELECT queued FROM queue");
  if (!stmt || sqlite3_step(stmt) != SQLITE_ROW)
    return db_failure(c, err);
  *out = (uint64_t)sqlite3_column_int64(stmt, 0);
  sqlite3_reset(stmt);
  return KPI_OK;
}

enum kpi_code run_rows_have_room(struct db_conn *c, size_t count, struct err *err) {
  uint64_t queued = 0;
  enum kpi_code rc = run_rows_count_queued(c, &queued, err);
  if (rc == KPI_OK && queued + count > QUEUE_MAX)
    rc = err_set(err, KPI_QUEUE_FULL, "%llu runs are queued already, %d is the most",
                 (unsigned long long)queued, QUEUE_MAX);
  return rc;
}

enum kpi_code run_row_insert(struct db_conn *c, const struct new_run *run,
                             const struct run_defaults *defaults, struct err *err) {
  const struct run_request *q = run->request;
  char date[DAY_TEXT_SIZE];
  const int64_t now = q->accepted_at ? q->accepted_at : clock_wall_ms();
  sqlite3_stmt *s = db_statement(
      c,
      "INSERT INTO runs (id, date, timezone, engine, engine_asked, state, max_attempts, created_at, "
      "updated_at, publish,"
      " quality_gate, bad_rows, max_bad_rows, input_base, labels_json, reason, user_agent, request_id,"
      " service_version, force, timeout_seconds, expires_at, idempotency_key, principal, trace_id, priority)"
      " VALUES (?1, ?2, ?3, ?4, ?4, 'queued', ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
      " ?18, ?19, ?20, ?21, ?22, ?23)");
  db_bind_text(s, 1, run->id);
  db_bind_text(s, 2, day_text(run->date, date));
  db_bind_text(s, 3, defaults->timezone);
  db_bind_text(s, 4, engine_kind_name(q->engine));
  db_bind_int(s, 5, q->max_attempts ? q->max_attempts : ATTEMPTS_DEFAULT);
  db_bind_int(s, 6, now);
  db_bind_int(s, 7, q->publish);
  db_bind_text(s, 8, quality_gate_name(q->gate));
  db_bind_text(s, 9, bad_rows_name(q->bad_rows));
  db_bind_view(s, 10, q->max_bad_rows.len ? q->max_bad_rows : view_of(defaults->max_bad_rows));
  db_bind_text(s, 11, defaults->source);
  db_bind_view(s, 12, q->labels_json.len ? q->labels_json : VIEW_LIT("{}"));
  db_bind_view(s, 13, q->reason);
  db_bind_view(s, 14, q->user_agent);
  db_bind_view(s, 15, q->request_id);
  db_bind_text(s, 16, KPID_VERSION);
  db_bind_int(s, 17, q->force);
  db_bind_int(s, 18, q->timeout_seconds ? q->timeout_seconds : TIMEOUT_SECONDS_DEFAULT);
  db_bind_time(s, 19, q->expires_in_seconds ? now + (int64_t)q->expires_in_seconds * MS_PER_SECOND : 0);
  db_bind_view(s, 20, run->key);
  db_bind_view(s, 21, q->principal);
  db_bind_view(s, 22, q->trace_id);
  db_bind_int(s, 23, run->priority);
  return db_run(c, s, err);
}

/* ---- finding ---- */

/* Reads the run that a statement selects, if any. */
static enum kpi_code read_found(struct db_conn *c, sqlite3_stmt *s, struct run *out, bool *found,
                                struct err *err) {
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  *found = step == SQLITE_ROW;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  run_clear(out);
  run_row_read(s, out);
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code run_row_find_active(struct db_conn *c, day_t date, struct run *out, bool *found,
                                  struct err *err) {
  char text[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(c, "SELECT " RUN_COLUMNS
                                    " FROM runs WHERE date = ?1 AND publish = 1 AND state IN " ACTIVE_STATES);
  db_bind_text(s, 1, day_text(date, text));
  return read_found(c, s, out, found, err);
}

enum kpi_code run_row_find_finished(struct db_conn *c, day_t day, bool publish, struct run *out, bool *found,
                                    struct err *err) {
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s =
      db_statement(c, "SELECT " RUN_COLUMNS " FROM runs WHERE date = ?1 AND publish = ?2"
                      " AND state IN ('succeeded', 'failed', 'cancelled') ORDER BY finished_at DESC, id DESC"
                      " LIMIT 1");
  db_bind_text(s, 1, day_text(day, date));
  db_bind_int(s, 2, publish);
  return read_found(c, s, out, found, err);
}

/* ---- retry ---- */

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
  struct run active = {0};
  bool found = false;
  if (run->state == RUN_SUCCEEDED)
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "the run has succeeded; post a new one");
  if (run->state != RUN_FAILED && run->state != RUN_CANCELLED)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "the run is %s", run_state_name(run->state));
  enum kpi_code rc = run->publish ? run_row_find_active(c, run->date, &active, &found, err) : KPI_OK;
  if (rc == KPI_OK && found)
    rc = err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of the same date is %s", active.id,
                 run_state_name(active.state));
  run_clear(&active);
  return rc;
}

/* A backfill whose day is tried again is no longer what was cancelled. */
static enum kpi_code revive_backfills(struct db_conn *c, const char *run_id, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE backfills SET cancel_requested_at = NULL, updated_at = ?2, version = version + 1 WHERE"
         " cancel_requested_at IS NOT NULL AND id IN (SELECT backfill_id FROM backfill_days WHERE run_id = ?1"
         " AND action = 'run')");
  db_bind_text(s, 1, run_id);
  db_bind_int(s, 2, clock_wall_ms());
  return db_run(c, s, err);
}

/* Queues a run that has ended again; its record is read anew. */
static enum kpi_code requeue(struct db_conn *c, struct run *run, bool from_publish, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = 'queued', from_publish = ?2, updated_at = ?3, finished_at = NULL,"
         " error_json = NULL, cancel_requested_at = NULL, crashes = 0, failures = 0, expires_at = NULL,"
         " engine_job_owner = NULL,"
         " version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, run->id);
  db_bind_int(s, 2, from_publish);
  db_bind_int(s, 3, clock_wall_ms());
  enum kpi_code rc = db_run(c, s, err);
  if (rc == KPI_OK)
    rc = revive_backfills(c, run->id, err);
  return rc ? rc : run_row_get(c, view_of(run->id), run, err);
}

enum kpi_code run_row_retry(struct db_conn *c, const struct retry_order *order, struct run *out,
                            struct err *err) {
  enum kpi_code rc = run_row_get(c, order->id, out, err);
  if (rc == KPI_OK && order->if_version && order->if_version != out->version)
    rc = err_set(err, KPI_PRECONDITION_FAILED, "the run has changed: it is %s", run_state_name(out->state));
  if (rc == KPI_OK)
    rc = may_retry(c, out, err);
  if (rc == KPI_OK && order->from_publish)
    rc = has_results(c, order->id, err);
  if (rc == KPI_OK)
    rc = run_rows_have_room(c, 1, err);
  return rc ? rc : requeue(c, out, order->from_publish, err);
}

/* ---- cancelling ---- */

enum kpi_code run_row_cancel(struct db_conn *c, struct view id, struct run *out, struct err *err) {
  enum kpi_code rc = run_row_get(c, id, out, err);
  if (rc)
    return rc;
  enum run_state state = out->state;
  if (state == RUN_SUCCEEDED || state == RUN_FAILED)
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "the run has %s", run_state_name(state));
  if (state == RUN_CANCELLED || state == RUN_CANCELLING)
    return KPI_OK;
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = ?2, cancel_requested_at = ?3, updated_at = ?3, version = version + 1,"
         " finished_at = CASE ?2 WHEN 'cancelled' THEN ?3 END, next_attempt_at = NULL WHERE id = ?1");
  db_bind_view(s, 1, id);
  db_bind_text(s, 2, run_state_name(state == RUN_RUNNING ? RUN_CANCELLING : RUN_CANCELLED));
  db_bind_int(s, 3, clock_wall_ms());
  rc = db_run(c, s, err);
  return rc ? rc : run_row_get(c, id, out, err);
}
