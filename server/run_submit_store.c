/* SPDX-License-Identifier: MIT */
#include "server/run_submit_store.h"

#include "base/clock.h"
#include "server/engine_job_store.h"
#include "server/key_rows.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <string.h>

/* Binds the key of a policy, if it has one, to a run. */
static enum kpi_code bind_key(struct db_conn *c, const struct submit_policy *policy, const char *run_id,
                              struct err *err) {
  struct key_owner owner = {0};
  memcpy(owner.run_id, run_id, sizeof owner.run_id);
  return key_row_bind(c, policy, &owner, err);
}

/* Tells whether no other run for a single day is queued or at work. */
static enum kpi_code is_alone(struct db_conn *c, const char *id, bool *alone, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "SELECT NOT EXISTS (SELECT 1 FROM runs WHERE state = 'queued' AND priority = 0 AND id <> ?1)"
         " AND NOT EXISTS (SELECT 1 FROM runs WHERE state IN ('running', 'cancelling') AND priority = 0"
         " AND id <> ?1)");
  db_bind_text(s, 1, id);
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  *alone = sqlite3_column_int(s, 0) != 0;
  sqlite3_reset(s);
  return KPI_OK;
}

/* ---- retry ---- */

struct retry_call {
  const struct retry_order *order;
  struct run *run;
};

static enum kpi_code do_retry(struct db_conn *c, void *arg, struct err *err) {
  struct retry_call *call = arg;
  return run_row_retry(c, call->order, call->run, err);
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
  enum kpi_code rc = run_row_retry(c, &order, run, err);
  return rc ? rc : answer(call, DISPOSITION_RETRIED, done);
}

static bool has_ended_badly(const struct run *run) {
  return run->state == RUN_FAILED || run->state == RUN_CANCELLED;
}

/* A key that was sent before: its own run answers, as it is now. */
static enum kpi_code meet_key(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  struct key_owner owner;
  enum kpi_code rc = key_row_find(c, call->policy, &owner, err);
  if (rc || !owner.run_id[0])
    return rc;
  rc = run_row_get(c, view_of(owner.run_id), &call->out->run, err);
  if (rc)
    return rc;
  if (call->policy->on_finished == ON_FINISHED_RETRY_FAILED && has_ended_badly(&call->out->run))
    return retry_found(c, call, done, err);
  return answer(call, DISPOSITION_REPLAYED, done);
}

/* A day that is asked for alone goes before backfills, also when one of them has queued it. */
static enum kpi_code bring_forward(struct db_conn *c, const struct run *run, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c,
      "UPDATE runs SET priority = ?2 WHERE id = ?1 AND priority <> ?2 AND state IN ('queued', 'retry_wait')");
  db_bind_text(s, 1, run->id);
  db_bind_int(s, 2, PRIORITY_DAY);
  return db_run(c, s, err);
}

static enum kpi_code attach(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  enum kpi_code rc = bring_forward(c, &call->out->run, err);
  if (rc == KPI_OK)
    rc = bind_key(c, call->policy, call->out->run.id, err);
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
  enum kpi_code rc = run_row_find_active(c, call->request->date, run, &found, err);
  if (rc || !found)
    return rc;
  if (call->policy->on_active == ON_ACTIVE_SUPERSEDE)
    return supersede(c, call, done, err);
  if (call->policy->on_active == ON_ACTIVE_REJECT || run->state == RUN_CANCELLING)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "run %s of the date is %s", run->id,
                   run_state_name(run->state));
  return attach(c, call, done, err);
}

/* The last run of the date, which has finished. */
static enum kpi_code meet_finished(struct db_conn *c, struct submit_call *call, bool *done, struct err *err) {
  const struct submit_policy *policy = call->policy;
  struct run *run = &call->out->run;
  bool found = false;
  if (policy->on_finished == ON_FINISHED_NEW || call->out->disposition == DISPOSITION_SUPERSEDED)
    return KPI_OK;
  enum kpi_code rc = run_row_find_finished(c, call->request->date, call->request->publish, run, &found, err);
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
  const struct new_run fresh = {
      .id = call->id, .date = call->request->date, .key = call->policy->key, .request = call->request};
  rc = run_rows_have_room(c, 1, err);
  if (rc == KPI_OK)
    rc = run_row_insert(c, &fresh, call->defaults, err);
  if (rc == KPI_OK)
    rc = bind_key(c, call->policy, call->id, err);
  if (rc == KPI_OK)
    rc = is_alone(c, call->id, &call->out->is_alone, err);
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
  struct key_owner owner;
  enum kpi_code rc = key_row_find(c, call->policy, &owner, err);
  if (rc == KPI_OK && owner.run_id[0]) {
    rc = run_row_get(c, view_of(owner.run_id), &run, err);
    found = rc == KPI_OK;
  } else if (rc == KPI_OK) {
    rc = run_row_find_finished(c, call->request->date, call->request->publish, &run, &found, err);
  }
  found = found && has_ended_badly(&run);
  view_to_cstr(found ? view_of(run.id) : (struct view){0}, call->id, UUID_TEXT_SIZE);
  run_clear(&run);
  return rc;
}

struct fingerprint_call {
  struct view key;
  char *fingerprint;
};

static enum kpi_code do_find_fingerprint(struct db_conn *c, void *arg, struct err *err) {
  const struct fingerprint_call *call = arg;
  return key_row_fingerprint(c, call->key, call->fingerprint, err);
}

enum kpi_code run_store_find_fingerprint(struct db *db, struct view key, char fingerprint[SHA256_HEX_SIZE],
                                         struct err *err) {
  struct fingerprint_call call = {key, fingerprint};
  fingerprint[0] = '\0';
  return db_call(db, DB_NORMAL, do_find_fingerprint, &call, err);
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

static void submit_call_init(struct submit_call *call, const struct run_request *request,
                             const struct submit_policy *policy, const struct run_defaults *defaults,
                             struct submitted *out) {
  *out = (struct submitted){0};
  *call = (struct submit_call){.request = request, .policy = policy, .defaults = defaults, .out = out};
  if (request->id)
    view_to_cstr(view_of(request->id), call->id, sizeof call->id);
  else
    crypto_uuid7(call->id);
}

enum kpi_code run_store_submit(struct db *db, const struct run_request *request,
                               const struct submit_policy *policy, const struct run_defaults *defaults,
                               struct submitted *out, struct err *err) {
  struct submit_call call;
  submit_call_init(&call, request, policy, defaults, out);
  enum kpi_code rc = db_call(db, DB_NORMAL, do_submit, &call, err);
  if (rc)
    run_clear(&out->run);
  return rc;
}

/* ---- taking over ---- */

struct take_over_call {
  struct submit_call submit;
  const struct past *past;
  struct recovery *recovery;
};

/* Puts a queued run where the last death has found it. */
static enum kpi_code restore_attempt(struct db_conn *c, const char *id, uint32_t deaths, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "UPDATE runs SET state = 'running', boot_id = '', attempt = ?2,"
                                    " crashes = ?2 - 1, started_at = ?3, updated_at = ?3,"
                                    " version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, deaths);
  db_bind_int(s, 3, clock_wall_ms());
  return db_run(c, s, err);
}

static enum kpi_code do_take_over(struct db_conn *c, void *arg, struct err *err) {
  struct take_over_call *call = arg;
  struct submit_call *submit = &call->submit;
  struct run *run = &submit->out->run;
  enum kpi_code rc = run_row_get(c, view_of(submit->id), run, err);
  if (rc != KPI_RUN_NOT_FOUND)
    return rc; /* the disk has not gone: what it says is so */
  rc = do_submit(c, submit, err);
  if (rc || submit->out->disposition != DISPOSITION_CREATED)
    return rc;
  if (submit->request->engine != ENGINE_NATIVE)
    rc = engine_job_rows_inherit(c, submit->id, call->past->job, err);
  if (rc || !call->past->deaths)
    return rc;
  rc = restore_attempt(c, submit->id, call->past->deaths, err);
  if (rc == KPI_OK)
    rc = upkeep_recover_rows(c, call->past->boot_id, call->recovery, err);
  return rc ? rc : run_row_get(c, view_of(submit->id), run, err);
}

enum kpi_code run_store_take_over(struct db *db, const struct run_request *request,
                                  const struct submit_policy *policy, const struct run_defaults *defaults,
                                  const struct past *past, struct submitted *out, struct recovery *recovery,
                                  struct err *err) {
  struct take_over_call call = {.past = past, .recovery = recovery};
  *recovery = (struct recovery){0};
  submit_call_init(&call.submit, request, policy, defaults, out);
  enum kpi_code rc = db_call(db, DB_NORMAL, do_take_over, &call, err);
  if (rc) {
    run_clear(&out->run);
    run_list_clear(&recovery->lost);
  }
  return rc;
}
