/* SPDX-License-Identifier: MIT */
#include "server/run_submit_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_move_store.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { MS_PER_SECOND = 1000 };

/* ---- rows ---- */

static enum kpi_code check_queue(struct db_conn *c, struct err *err) {
  uint64_t queued = 0;
  enum kpi_code rc = run_rows_count_queued(c, &queued, err);
  if (rc == KPI_OK && queued >= QUEUE_MAX)
    rc = err_set(err, KPI_QUEUE_FULL, "%llu runs are queued already, %d is the most",
                 (unsigned long long)queued, QUEUE_MAX);
  return rc;
}

static enum kpi_code insert_run(struct db_conn *c, const char *id, const struct run_request *q,
                                struct view key, const struct run_defaults *defaults, struct err *err) {
  char date[DAY_TEXT_SIZE];
  int64_t now = clock_wall_ms();
  sqlite3_stmt *s = db_statement(
      c, "INSERT INTO runs (id, date, timezone, engine, state, max_attempts, created_at, updated_at, publish,"
         " quality_gate, bad_rows, max_bad_rows, input_base, labels_json, reason, user_agent, request_id,"
         " service_version, force, timeout_seconds, expires_at, idempotency_key, principal, trace_id)"
         " VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
         " ?18, ?19, ?20, ?21, ?22)");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, day_text(q->date, date));
  db_bind_text(s, 3, defaults->timezone);
  db_bind_text(s, 4, defaults->engine);
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
  db_bind_view(s, 20, key);
  db_bind_view(s, 21, q->principal);
  db_bind_view(s, 22, q->trace_id);
  return db_run(c, s, err);
}

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

static enum kpi_code find_active(struct db_conn *c, day_t date, struct run *out, bool *found,
                                 struct err *err) {
  char text[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(c, "SELECT " RUN_COLUMNS
                                    " FROM runs WHERE date = ?1 AND publish = 1 AND state IN " ACTIVE_STATES);
  db_bind_text(s, 1, day_text(date, text));
  return read_found(c, s, out, found, err);
}

/* ---- keys ---- */

/* Finds the run that a key stands for; `run_id` is empty when it stands for none. Errors:
 * KPI_IDEMPOTENCY_KEY_REUSED when it was bound to another fingerprint. */
static enum kpi_code find_key(struct db_conn *c, const struct submit_policy *policy,
                              char run_id[UUID_TEXT_SIZE], struct err *err) {
  run_id[0] = '\0';
  if (policy->key.len == 0)
    return KPI_OK;
  sqlite3_stmt *s = db_statement(c, "SELECT fingerprint, run_id FROM idempotency_keys WHERE key = ?1");
  db_bind_view(s, 1, policy->key);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  bool is_same = view_is(view_of((const char *)sqlite3_column_text(s, 0)), policy->fingerprint);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 1)), run_id, UUID_TEXT_SIZE);
  sqlite3_reset(s);
  return is_same ? KPI_OK
                 : err_set(err, KPI_IDEMPOTENCY_KEY_REUSED,
                           "the key was sent before with another request: it stands for run %s", run_id);
}

/* Binds the key of the policy, if it has one. */
static enum kpi_code bind_key(struct db_conn *c, const struct submit_policy *policy, const char *run_id,
                              struct err *err) {
  if (policy->key.len == 0)
    return KPI_OK;
  sqlite3_stmt *s =
      db_statement(c, "INSERT INTO idempotency_keys (key, fingerprint, run_id) VALUES (?1, ?2, ?3)");
  db_bind_view(s, 1, policy->key);
  db_bind_text(s, 2, policy->fingerprint);
  db_bind_text(s, 3, run_id);
  return db_run(c, s, err);
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
  enum kpi_code rc = run->publish ? find_active(c, run->date, &active, &found, err) : KPI_OK;
  if (rc == KPI_OK && found)
    rc = err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of the same date is %s", active.id,
                 run_state_name(active.state));
  run_clear(&active);
  return rc;
}

/* Queues a run that has ended again; its record is read anew. */
static enum kpi_code requeue(struct db_conn *c, struct run *run, bool from_publish, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE runs SET state = 'queued', from_publish = ?2, updated_at = ?3, finished_at = NULL,"
         " error_json = NULL, cancel_requested_at = NULL, crashes = 0, failures = 0, expires_at = NULL,"
         " version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, run->id);
  db_bind_int(s, 2, from_publish);
  db_bind_int(s, 3, clock_wall_ms());
  enum kpi_code rc = db_run(c, s, err);
  return rc ? rc : run_row_get(c, view_of(run->id), run, err);
}

static enum kpi_code retry_run(struct db_conn *c, const struct retry_order *order, struct run *out,
                               struct err *err) {
  enum kpi_code rc = run_row_get(c, order->id, out, err);
  if (rc == KPI_OK && order->if_version && order->if_version != out->version)
    rc = err_set(err, KPI_PRECONDITION_FAILED, "the run has changed: it is %s", run_state_name(out->state));
  if (rc == KPI_OK)
    rc = may_retry(c, out, err);
  if (rc == KPI_OK && order->from_publish)
    rc = has_results(c, order->id, err);
  if (rc == KPI_OK)
    rc = check_queue(c, err);
  return rc ? rc : requeue(c, out, order->from_publish, err);
}

struct retry_call {
  const struct retry_order *order;
  struct run *run;
};

static enum kpi_code do_retry(struct db_conn *c, void *arg, struct err *err) {
  struct retry_call *call = arg;
  return retry_run(c, call->order, call->run, err);
}

enum kpi_code run_store_retry(struct db *db, const struct retry_order *order, struct run *out,
                              struct err *err) {
  *out = (struct run){0};
  struct retry_call call = {order, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_retry, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

/* ---- submitting ---- */

struct submit_call {
  const struct run_request *request;
  const struct submit_policy *policy;
  const struct run_defaults *defaults;
  char id[UUID_TEXT_SIZE];
  struct submitted *out;
};

/* Ends a submission that an existing run answers. */
static enum kpi_code answer(struct submit_call *call, enum disposition disposition, bool *done) {
  call->out->disposition = disposition;
  *done = true;
  return KPI_OK;
}

/* Queues the run in *out again. Where intents are kept, that of this request must be the run's own. */
static enum kpi_code retry_found(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  struct run *run = &call->out->run;
  char id[UUID_TEXT_SIZE];
  memcpy(id, run->id, sizeof id);
  if (call->request->id && strcmp(call->request->id, id) != 0)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s has ended meanwhile; send it again", id);
  struct retry_order order = {.id = view_of(id)};
  enum kpi_code rc = retry_run(c, &order, run, err);
  return rc ? rc : answer(call, DISPOSITION_RETRIED, done);
}

static bool has_ended_badly(const struct run *run) {
  return run->state == RUN_FAILED || run->state == RUN_CANCELLED;
}

/* A key that was sent before: its own run answers, as it is now. */
static enum kpi_code meet_key(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  char run_id[UUID_TEXT_SIZE];
  enum kpi_code rc = find_key(c, call->policy, run_id, err);
  if (rc || !run_id[0])
    return rc;
  rc = run_row_get(c, view_of(run_id), &call->out->run, err);
  if (rc)
    return rc;
  if (call->policy->on_finished == ON_FINISHED_RETRY_FAILED && has_ended_badly(&call->out->run))
    return retry_found(c, call, done, err);
  return answer(call, DISPOSITION_REPLAYED, done);
}

static enum kpi_code attach(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  enum kpi_code rc = bind_key(c, call->policy, call->out->run.id, err);
  return rc ? rc : answer(call, DISPOSITION_ATTACHED, done);
}

/* Cancels the active run. One that works has to end first: the request waits for that. */
static enum kpi_code supersede(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  struct run *run = &call->out->run;
  char id[UUID_TEXT_SIZE];
  memcpy(id, run->id, sizeof id);
  enum kpi_code rc = run_row_cancel(c, view_of(id), run, err);
  memcpy(call->out->superseded, id, sizeof id);
  call->out->must_wait = run->state == RUN_CANCELLING;
  call->out->disposition = DISPOSITION_SUPERSEDED;
  *done = call->out->must_wait;
  return rc;
}

/* Another active run of the date that publishes too. */
static enum kpi_code meet_active(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  struct run *run = &call->out->run;
  bool found = false;
  if (!call->request->publish)
    return KPI_OK;
  enum kpi_code rc = find_active(c, call->request->date, run, &found, err);
  if (rc || !found)
    return rc;
  if (call->policy->on_active == ON_ACTIVE_SUPERSEDE)
    return supersede(c, call, done, err);
  if (call->policy->on_active == ON_ACTIVE_REJECT || run->state == RUN_CANCELLING)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of the date is %s", run->id,
                   run_state_name(run->state));
  return attach(c, call, done, err);
}

static enum kpi_code find_last_finished(struct db_conn *c, const struct run_request *q, struct run *out,
                                        bool *found, struct err *err) {
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s =
      db_statement(c, "SELECT " RUN_COLUMNS " FROM runs WHERE date = ?1 AND publish = ?2"
                      " AND state IN ('succeeded', 'failed', 'cancelled') ORDER BY finished_at DESC, id DESC"
                      " LIMIT 1");
  db_bind_text(s, 1, day_text(q->date, date));
  db_bind_int(s, 2, q->publish);
  return read_found(c, s, out, found, err);
}

/* The last run of the date, which has finished. */
static enum kpi_code meet_finished(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  const struct submit_policy *policy = call->policy;
  struct run *run = &call->out->run;
  bool found = false;
  if (policy->on_finished == ON_FINISHED_NEW || call->out->disposition == DISPOSITION_SUPERSEDED)
    return KPI_OK;
  enum kpi_code rc = find_last_finished(c, call->request, run, &found, err);
  if (rc || !found)
    return rc;
  bool is_same = policy->listed && run->state == RUN_SUCCEEDED && run->input_fingerprint &&
                 strcmp(run->input_fingerprint, policy->listed) == 0;
  switch (policy->on_finished) {
  case ON_FINISHED_REJECT:
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "run %s of the date has %s", run->id,
                   run_state_name(run->state));
  case ON_FINISHED_RETRY_FAILED:
    rc = bind_key(c, policy, run->id, err);
    if (rc == KPI_OK && has_ended_badly(run))
      return retry_found(c, call, done, err);
    return rc ? rc : answer(call, DISPOSITION_ATTACHED, done);
  case ON_FINISHED_ATTACH:
    rc = bind_key(c, policy, run->id, err);
    return rc ? rc : answer(call, DISPOSITION_ATTACHED, done);
  case ON_FINISHED_IF_CHANGED:
    rc = is_same ? bind_key(c, policy, run->id, err) : KPI_OK;
    return rc || !is_same ? rc : answer(call, DISPOSITION_UNCHANGED, done);
  case ON_FINISHED_NEW:
  case ON_FINISHED_COUNT:
    break;
  }
  return KPI_OK;
}

static enum kpi_code do_submit(struct db_conn *c, void *arg, struct err *err) {
  struct submit_call *call = arg;
  struct run *run = &call->out->run;
  bool done = false;
  call->out->disposition = DISPOSITION_CREATED;
  call->out->must_wait = false;
  call->out->superseded[0] = '\0';
  enum kpi_code rc = meet_key(c, call, &done, err);
  /* The intent of a run that is being accepted may have been loaded, and the run created, before. */
  if (rc == KPI_OK && !done && call->request->id && run_row_get(c, view_of(call->id), run, err) == KPI_OK &&
      !has_ended_badly(run))
    return KPI_OK;
  if (rc == KPI_OK && !done)
    rc = meet_active(c, call, &done, err);
  if (rc == KPI_OK && !done)
    rc = meet_finished(c, call, &done, err);
  if (rc || done)
    return rc;
  rc = check_queue(c, err);
  if (rc == KPI_OK)
    rc = insert_run(c, call->id, call->request, call->policy->key, call->defaults, err);
  if (rc == KPI_OK)
    rc = bind_key(c, call->policy, call->id, err);
  return rc ? rc : run_row_get(c, view_of(call->id), run, err);
}

struct find_call {
  const struct run_request *request;
  const struct submit_policy *policy;
  char *id;
};

static enum kpi_code do_find_retryable(struct db_conn *c, void *arg, struct err *err) {
  struct find_call *call = arg;
  struct run run = {0};
  bool found = false;
  enum kpi_code rc = find_key(c, call->policy, call->id, err);
  if (rc == KPI_OK && call->id[0]) {
    rc = run_row_get(c, view_of(call->id), &run, err);
    found = rc == KPI_OK;
  } else if (rc == KPI_OK) {
    rc = find_last_finished(c, call->request, &run, &found, err);
  }
  found = found && has_ended_badly(&run);
  view_to_cstr(found ? view_of(run.id) : (struct view){0}, call->id, UUID_TEXT_SIZE);
  run_clear(&run);
  return rc;
}

enum kpi_code run_store_find_retryable(struct db *db, const struct run_request *request,
                                       const struct submit_policy *policy, char id[UUID_TEXT_SIZE],
                                       struct err *err) {
  struct find_call call = {request, policy, id};
  id[0] = '\0';
  return policy->on_finished == ON_FINISHED_RETRY_FAILED
             ? db_call(db, DB_NORMAL, do_find_retryable, &call, err)
             : KPI_OK;
}

enum kpi_code run_store_submit(struct db *db, const struct run_request *request,
                               const struct submit_policy *policy, const struct run_defaults *defaults,
                               struct submitted *out, struct err *err) {
  *out = (struct submitted){0};
  struct submit_call call = {.request = request, .policy = policy, .defaults = defaults, .out = out};
  if (request->id)
    view_to_cstr(view_of(request->id), call.id, sizeof call.id);
  else
    crypto_uuid7(call.id);
  enum kpi_code rc = db_call(db, DB_NORMAL, do_submit, &call, err);
  if (rc)
    run_clear(&out->run);
  return rc;
}
