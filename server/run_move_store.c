/* SPDX-License-Identifier: MIT */
#include "server/run_move_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { EXPIRED_AT_ONCE_MAX = 256, LIST_STEP = 256 };

/* ---- claiming ---- */

/* Who claims, and for what. */
struct claim_call {
  const char *boot_id, *id;
  const struct claim_filter *filter;
  const struct run_defaults *defaults;
  struct run *run;
  struct run_list *list;
  bool found;
};

/* Moves a run to running and reads it. */
static enum kpi_code claim_row(struct db_conn *c, const struct claim_call *call, const char *id,
                               struct run *out, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = 'running', phase = 'listing', attempt = attempt + 1, boot_id = ?2,"
         " engine = iif(from_publish, engine, engine_asked), timezone = iif(from_publish, timezone, ?4),"
         " input_base = iif(from_publish, input_base, ?5),"
         " started_at = ?3, updated_at = ?3, finished_at = NULL, error_json = NULL,"
         " summary_json = iif(from_publish, summary_json, NULL),"
         " quality_json = iif(from_publish, quality_json, NULL),"
         " results_sha256 = iif(from_publish, results_sha256, NULL), bytes_read = 0, files_done = 0,"
         " rows_orders = 0, rows_order_items = 0, rows_products = 0, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, call->boot_id);
  db_bind_int(s, 3, clock_wall_ms());
  db_bind_text(s, 4, call->defaults->timezone);
  db_bind_text(s, 5, call->defaults->source);
  enum kpi_code rc = db_run(c, s, err);
  return rc ? rc : run_row_get(c, view_of(id), out, err);
}

static enum kpi_code do_claim(struct db_conn *c, void *arg, struct err *err) {
  struct claim_call *call = arg;
  call->found = false;
  sqlite3_stmt *s = db_statement(c, "SELECT 1 FROM runs WHERE id = ?1 AND state = 'queued'");
  db_bind_text(s, 1, call->id);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  sqlite3_reset(s);
  enum kpi_code rc = claim_row(c, call, call->id, call->run, err);
  call->found = rc == KPI_OK;
  return rc;
}

enum kpi_code run_store_claim(struct db *db, const char *boot_id, const char *id,
                              const struct run_defaults *defaults, struct run *out, bool *found,
                              struct err *err) {
  *out = (struct run){0};
  struct claim_call call = {.boot_id = boot_id, .id = id, .defaults = defaults, .run = out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_claim, &call, err);
  *found = rc == KPI_OK && call.found;
  if (!*found)
    run_clear(out);
  return rc;
}

/* Lists the ids of the queued runs that can be computed together; the runs hold nothing else. */
static enum kpi_code list_together(struct db_conn *c, const struct claim_call *call, struct err *err) {
  struct run_list *list = call->list;
  run_list_clear(list);
  sqlite3_stmt *s = db_statement(
      c,
      "WITH candidates AS (SELECT id, from_publish, bad_rows, max_bad_rows, engine_asked, engine_job_owner "
      "FROM runs WHERE"
      " state = 'queued' AND priority = ?1 AND (expires_at IS NULL OR expires_at > ?3 OR attempt > 0) AND"
      " (?2 IS NULL OR id IN (SELECT run_id FROM backfill_days"
      " WHERE backfill_id = ?2 AND action = 'run'))), first AS (SELECT * FROM candidates ORDER BY id LIMIT 1)"
      " SELECT r.id FROM first f JOIN candidates r ON r.id = f.id OR (NOT f.from_publish AND NOT"
      " r.from_publish AND r.bad_rows = f.bad_rows AND r.max_bad_rows = f.max_bad_rows AND r.engine_asked = "
      "f.engine_asked"
      " AND r.engine_job_owner IS f.engine_job_owner) ORDER BY r.id");
  db_bind_int(s, 1, call->filter->priority);
  db_bind_view(s, 2, call->filter->backfill_id);
  db_bind_int(s, 3, clock_wall_ms());
  int step = SQLITE_ERROR;
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW) {
    if (list->count % LIST_STEP == 0) {
      struct run *grown = realloc(list->runs, (list->count + LIST_STEP) * sizeof *grown);
      if (!grown)
        return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the runs of the queue");
      list->runs = grown;
    }
    struct run *run = &list->runs[list->count++];
    *run = (struct run){0};
    view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), run->id, sizeof run->id);
  }
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code do_claim_together(struct db_conn *c, void *arg, struct err *err) {
  const struct claim_call *call = arg;
  enum kpi_code rc = list_together(c, call, err);
  for (size_t i = 0; rc == KPI_OK && i < call->list->count; i++) {
    char id[UUID_TEXT_SIZE];
    memcpy(id, call->list->runs[i].id, sizeof id);
    rc = claim_row(c, call, id, &call->list->runs[i], err);
  }
  return rc;
}

enum kpi_code run_store_claim_together(struct db *db, const char *boot_id, const struct claim_filter *filter,
                                       const struct run_defaults *defaults, struct run_list *out,
                                       struct err *err) {
  *out = (struct run_list){0};
  struct claim_call call = {.boot_id = boot_id, .filter = filter, .defaults = defaults, .list = out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_claim_together, &call, err);
  if (rc)
    run_list_clear(out);
  return rc;
}

/* ---- cancelling ---- */

struct cancel_call {
  struct view id;
  struct run *run;
};

static enum kpi_code do_cancel(struct db_conn *c, void *arg, struct err *err) {
  struct cancel_call *call = arg;
  return run_row_cancel(c, call->id, call->run, err);
}

enum kpi_code run_store_cancel(struct db *db, struct view id, struct run *out, struct err *err) {
  *out = (struct run){0};
  struct cancel_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_cancel, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

struct cancelling_call {
  void (*fn)(void *arg, const char *id);
  void *arg;
};

static enum kpi_code do_each_cancelling(struct db_conn *c, void *arg, struct err *err) {
  const struct cancelling_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "SELECT id FROM runs WHERE state = 'cancelling'");
  int step = SQLITE_ERROR;
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW)
    call->fn(call->arg, (const char *)sqlite3_column_text(s, 0));
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code run_store_each_cancelling(struct db *db, void (*fn)(void *arg, const char *id), void *arg,
                                        struct err *err) {
  struct cancelling_call call = {fn, arg};
  return db_call(db, DB_NORMAL, do_each_cancelling, &call, err);
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

struct finish_call {
  const struct run_end *end;
  enum run_state ended;
};

/* The state an attempt that has ended brings the run to. */
static enum run_state state_after(const struct run_end *end, const struct run *run) {
  bool is_cancelling = run->state == RUN_CANCELLING;
  if (end->state == RUN_QUEUED && is_cancelling)
    return RUN_CANCELLED;
  bool is_left = end->is_retryable && !is_cancelling && run->failures + 1 < run->max_attempts;
  return end->state == RUN_FAILED && is_left ? RUN_RETRY_WAIT : end->state;
}

static enum kpi_code store_end(struct db_conn *c, const struct run_end *end, const struct run *run,
                               enum run_state state, int64_t now, struct err *err) {
  bool has_failed = state == RUN_FAILED || state == RUN_RETRY_WAIT;
  bool is_handed_back = state == RUN_QUEUED;
  uint64_t random;
  crypto_random(&random, sizeof random);
  int64_t wait = run_retry_wait_ms(run->failures + 1, random);
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = ?2, phase = NULL, updated_at = ?3, finished_at = ?9,"
         " attempt = attempt - ?4, boot_id = NULL, error_json = ?5, output_json = coalesce(?6, output_json),"
         " failures = failures + ?7, next_attempt_at = ?8, version = version + 1,"
         " engine_job_owner = iif(?9 IS NULL, engine_job_owner, NULL), " SET_PROGRESS " WHERE id = ?1");
  db_bind_text(s, 1, end->id);
  db_bind_text(s, 2, run_state_name(state));
  db_bind_int(s, 3, now);
  db_bind_int(s, 4, is_handed_back);
  db_bind_text(s, 5, has_failed ? end->error_json : NULL);
  db_bind_text(s, 6, end->output_json);
  db_bind_int(s, 7, has_failed);
  db_bind_time(s, 8, state == RUN_RETRY_WAIT ? now + wait : 0);
  db_bind_time(s, 9, run_state_is_terminal(state) ? now : 0);
  run_row_bind_progress(s, 10, &end->progress);
  enum kpi_code rc = db_run(c, s, err);
  if (rc || is_handed_back)
    return rc;
  return add_attempt(c, run, run_state_name(has_failed ? RUN_FAILED : state),
                     has_failed ? end->error_code : NULL, now, err);
}

static enum kpi_code do_finish(struct db_conn *c, void *arg, struct err *err) {
  struct finish_call *call = arg;
  struct run run = {0};
  enum kpi_code rc = run_row_get(c, view_of(call->end->id), &run, err);
  if (rc == KPI_OK && call->end->state == RUN_CANCELLED)
    rc = pass_cancelling(c, call->end->id, err);
  call->ended = state_after(call->end, &run);
  if (rc == KPI_OK)
    rc = store_end(c, call->end, &run, call->ended, clock_wall_ms(), err);
  run_clear(&run);
  return rc;
}

enum kpi_code run_store_finish(struct db *db, const struct run_end *end, enum run_state *ended,
                               struct err *err) {
  struct finish_call call = {end, end->state};
  enum kpi_code rc = db_call(db, DB_MUST_LAND, do_finish, &call, err);
  *ended = call.ended;
  return rc;
}

/* ---- what is due ---- */

static enum kpi_code is_any_due(struct db_conn *c, int64_t now, bool *any, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "SELECT EXISTS (SELECT 1 FROM runs INDEXED BY runs_to_try_again WHERE state = 'retry_wait'"
         " AND next_attempt_at <= ?1) OR EXISTS (SELECT 1 FROM runs INDEXED BY runs_to_expire WHERE"
         " state = 'queued' AND expires_at <= ?1 AND attempt = 0) OR EXISTS (SELECT 1 FROM backfills"
         " INDEXED BY backfills_to_search WHERE discovery = 'queued' AND next_attempt_at <= ?1)");
  db_bind_int(s, 1, now);
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  *any = sqlite3_column_int(s, 0) != 0;
  sqlite3_reset(s);
  return KPI_OK;
}

static enum kpi_code read_expired(struct db_conn *c, int64_t now, struct run_list *list, struct err *err) {
  run_list_clear(list);
  list->runs = calloc(EXPIRED_AT_ONCE_MAX, sizeof *list->runs);
  sqlite3_stmt *s = db_statement(c, "SELECT " RUN_COLUMNS " FROM runs INDEXED BY runs_to_expire WHERE"
                                    " state = 'queued' AND expires_at <= ?1 AND attempt = 0 LIMIT ?2");
  db_bind_int(s, 1, now);
  db_bind_int(s, 2, EXPIRED_AT_ONCE_MAX);
  if (!s || !list->runs)
    return db_failure(c, err);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    run_row_read(s, &list->runs[list->count++]);
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

/* Fails the run, and reads it again. */
static enum kpi_code expire(struct db_conn *c, struct run *run, int64_t now, struct err *err) {
  char id[UUID_TEXT_SIZE];
  view_to_cstr(view_of(run->id), id, sizeof id);
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = 'failed', finished_at = ?2, updated_at = ?2, version = version + 1,"
         " error_json = json_object('code', 'expired', 'category', 'client', 'retryable', json('false'),"
         " 'phase', NULL, 'message', 'the run was not started within its ' ||"
         " ((expires_at - created_at) / 1000) || ' seconds', 'hint', ?3, 'attempt', 0, 'at',"
         " strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1000.0, 'unixepoch'), 'details', json('{}')) WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, now);
  db_bind_text(s, 3, err_info(KPI_EXPIRED)->hint);
  enum kpi_code rc = db_run(c, s, err);
  return rc ? rc : run_row_get(c, view_of(id), run, err);
}

/* Queues runs, and searches for days, whose next attempt is due. */
static enum kpi_code queue_due(struct db_conn *c, int64_t now, bool *queued, struct err *err) {
  static const char *const steps[] = {
      "UPDATE runs SET state = 'queued', next_attempt_at = NULL, updated_at = ?1, version = version + 1"
      " WHERE state = 'retry_wait' AND next_attempt_at <= ?1",
      "UPDATE backfills SET next_attempt_at = NULL, updated_at = ?1, version = version + 1"
      " WHERE discovery = 'queued' AND next_attempt_at <= ?1"};
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < sizeof steps / sizeof steps[0]; i++) {
    sqlite3_stmt *s = db_statement(c, steps[i]);
    db_bind_int(s, 1, now);
    rc = db_run(c, s, err);
    *queued |= rc == KPI_OK && sqlite3_changes64(c->sqlite) > 0;
  }
  return rc;
}

static enum kpi_code do_wake(struct db_conn *c, void *arg, struct err *err) {
  struct run_wakes *out = arg;
  int64_t now = clock_wall_ms();
  bool any = false;
  enum kpi_code rc = is_any_due(c, now, &any, err);
  out->queued = false;
  if (rc || !any)
    return rc;
  rc = queue_due(c, now, &out->queued, err);
  if (rc == KPI_OK)
    rc = read_expired(c, now, &out->expired, err);
  for (size_t i = 0; rc == KPI_OK && i < out->expired.count; i++)
    rc = expire(c, &out->expired.runs[i], now, err);
  return rc;
}

enum kpi_code run_store_wake(struct db *db, struct run_wakes *out, struct err *err) {
  *out = (struct run_wakes){0};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_wake, out, err);
  if (rc)
    run_list_clear(&out->expired);
  return rc;
}
