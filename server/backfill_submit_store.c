/* SPDX-License-Identifier: MIT */
#include "server/backfill_submit_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/backfill_rows.h"
#include "server/key_rows.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* ---- what becomes of a day ---- */

/* What the last run of a day, which has finished, means for it. */
static void judge_finished(const struct backfill_request *q, const struct submit_policy *policy,
                           const struct run *last, struct backfill_day *out) {
  const bool has_succeeded = last->state == RUN_SUCCEEDED;
  const bool is_same = has_succeeded && policy->listed && last->input_fingerprint &&
                       strcmp(last->input_fingerprint, policy->listed) == 0;
  out->action = DAY_RUN;
  if (q->reprocess == REPROCESS_ALL) {
    out->reason = REASON_REQUESTED;
  } else if (!has_succeeded) {
    out->reason = REASON_FAILED;
    out->action = q->reprocess == REPROCESS_MISSING ? DAY_SKIP : DAY_RUN;
  } else if (q->reprocess == REPROCESS_CHANGED) {
    out->reason = is_same ? REASON_UNCHANGED : REASON_CHANGED;
    out->action = is_same ? DAY_SKIP : DAY_RUN;
  } else {
    out->reason = REASON_SUCCEEDED;
    out->action = DAY_SKIP;
  }
}

/* Plans a day by the runs that are there. */
static enum kpi_code plan_day(struct db_conn *c, const struct backfill_request *q,
                              const struct submit_policy *policy, day_t day, struct backfill_day *out,
                              struct err *err) {
  struct run run = {0};
  bool found = false;
  *out = (struct backfill_day){.day = day, .action = DAY_RUN, .reason = REASON_MISSING};
  enum kpi_code rc = q->run->publish ? run_row_find_active(c, day, &run, &found, err) : KPI_OK;
  if (rc == KPI_OK && found) {
    out->action = DAY_ATTACH;
    out->reason = REASON_ACTIVE;
  } else if (rc == KPI_OK) {
    rc = run_row_find_finished(c, day, q->run->publish, &run, &found, err);
    if (rc == KPI_OK && found)
      judge_finished(q, policy, &run, out);
  }
  if (found && out->action != DAY_RUN) {
    memcpy(out->run_id, run.id, sizeof out->run_id);
    out->state = run.state;
  }
  run_clear(&run);
  return rc;
}

static enum kpi_code plan_days(struct db_conn *c, const struct backfill_request *q,
                               const struct submit_policy *policy, struct backfill_day *days, size_t *to_run,
                               struct err *err) {
  enum kpi_code rc = KPI_OK;
  *to_run = 0;
  for (size_t i = 0; rc == KPI_OK && i < q->count; i++) {
    rc = plan_day(c, q, policy, q->days[i], &days[i], err);
    *to_run += rc == KPI_OK && days[i].action == DAY_RUN;
  }
  return rc;
}

struct plan_call {
  const struct backfill_request *request;
  const struct submit_policy *policy;
  struct backfill_day *days;
};

static enum kpi_code do_plan(struct db_conn *c, void *arg, struct err *err) {
  const struct plan_call *call = arg;
  size_t to_run;
  return plan_days(c, call->request, call->policy, call->days, &to_run, err);
}

enum kpi_code backfill_store_plan(struct db *db, const struct backfill_request *request,
                                  const struct submit_policy *policy, struct backfill_day *days,
                                  struct err *err) {
  struct plan_call call = {request, policy, days};
  return db_call(db, DB_NORMAL, do_plan, &call, err);
}

/* ---- submitting ---- */

struct submit_call {
  const struct backfill_request *request;
  const struct submit_policy *policy;
  const struct run_defaults *defaults;
  struct backfill *out;
  enum disposition disposition;
  size_t queued;
};

static enum kpi_code insert_backfill(struct db_conn *c, const char *id, const struct submit_call *call,
                                     struct err *err) {
  const struct backfill_request *q = call->request;
  const struct run_request *r = q->run;
  int64_t now = clock_wall_ms();
  sqlite3_stmt *s = db_statement(
      c, "INSERT INTO backfills (id, created_at, updated_at, discovery, reprocess, day_order, publish,"
         " quality_gate, bad_rows, max_bad_rows, force, timeout_seconds, max_attempts, labels_json, reason,"
         " idempotency_key, principal, user_agent, request_id, trace_id, engine)"
         " VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
         " ?19, ?20)");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, now);
  db_bind_text(s, 3, discovery_name(q->count ? DISCOVERY_NONE : DISCOVERY_QUEUED));
  db_bind_text(s, 4, reprocess_name(q->reprocess));
  db_bind_text(s, 5, q->is_descending ? "desc" : "asc");
  db_bind_int(s, 6, r->publish);
  db_bind_text(s, 7, quality_gate_name(r->gate));
  db_bind_text(s, 8, bad_rows_name(r->bad_rows));
  db_bind_view(s, 9, r->max_bad_rows.len ? r->max_bad_rows : view_of(call->defaults->max_bad_rows));
  db_bind_int(s, 10, r->force);
  db_bind_int(s, 11, r->timeout_seconds ? r->timeout_seconds : TIMEOUT_SECONDS_DEFAULT);
  db_bind_int(s, 12, r->max_attempts ? r->max_attempts : ATTEMPTS_DEFAULT);
  db_bind_view(s, 13, r->labels_json.len ? r->labels_json : VIEW_LIT("{}"));
  db_bind_view(s, 14, r->reason);
  db_bind_view(s, 15, call->policy->key);
  db_bind_view(s, 16, r->principal);
  db_bind_view(s, 17, r->user_agent);
  db_bind_view(s, 18, r->request_id);
  db_bind_view(s, 19, r->trace_id);
  db_bind_text(s, 20, engine_kind_name(r->engine));
  return db_run(c, s, err);
}

static enum kpi_code insert_day(struct db_conn *c, const char *id, const struct backfill_day *day,
                                struct err *err) {
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(c, "INSERT INTO backfill_days (backfill_id, date, action, reason, run_id)"
                                    " VALUES (?1, ?2, ?3, ?4, ?5)");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, day_text(day->day, date));
  db_bind_text(s, 3, day_action_name(day->action));
  db_bind_text(s, 4, day_reason_name(day->reason));
  db_bind_view(s, 5, view_of(day->run_id));
  return db_run(c, s, err);
}

/* Notes what a backfill has decided, and queues its runs in its order: their ids ascend. */
static enum kpi_code add_days(struct db_conn *c, const char *id, const struct backfill_request *q,
                              const struct submit_policy *policy, const struct run_defaults *defaults,
                              size_t *queued, struct err *err) {
  auto_free struct backfill_day *days = calloc(q->count + 1, sizeof *days);
  if (!days)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu days", q->count);
  enum kpi_code rc = plan_days(c, q, policy, days, queued, err);
  if (rc == KPI_OK)
    rc = run_rows_have_room(c, *queued, err);
  for (size_t i = 0; rc == KPI_OK && i < q->count; i++) {
    struct backfill_day *day = &days[q->is_descending ? q->count - 1 - i : i];
    if (day->action == DAY_RUN) {
      crypto_uuid7(day->run_id);
      const struct new_run run = {
          .id = day->run_id, .date = day->day, .priority = PRIORITY_BACKFILL, .request = q->run};
      rc = run_row_insert(c, &run, defaults, err);
    }
    if (rc == KPI_OK)
      rc = insert_day(c, id, day, err);
  }
  return rc;
}

static enum kpi_code set_range(struct db_conn *c, const char *id, const struct backfill_request *q,
                               struct err *err) {
  char first[DAY_TEXT_SIZE], last[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(c, "UPDATE backfills SET first_date = ?2, last_date = ?3 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, day_text(q->days[0], first));
  db_bind_text(s, 3, day_text(q->days[q->count - 1], last));
  return db_run(c, s, err);
}

static enum kpi_code do_submit(struct db_conn *c, void *arg, struct err *err) {
  struct submit_call *call = arg;
  const struct backfill_request *q = call->request;
  struct key_owner owner;
  char id[UUID_TEXT_SIZE];
  call->queued = 0;
  call->disposition = DISPOSITION_REPLAYED;
  enum kpi_code rc = key_row_find(c, call->policy, &owner, err);
  if (rc)
    return rc;
  if (owner.backfill_id[0])
    return backfill_row_get(c, view_of(owner.backfill_id), call->out, err);
  crypto_uuid7(id);
  memcpy(owner.backfill_id, id, sizeof id);
  rc = insert_backfill(c, id, call, err);
  if (rc == KPI_OK && q->count)
    rc = add_days(c, id, q, call->policy, call->defaults, &call->queued, err);
  if (rc == KPI_OK)
    rc = backfill_row_may_attach(c, id, err);
  if (rc == KPI_OK && q->count)
    rc = set_range(c, id, q, err);
  if (rc == KPI_OK)
    rc = key_row_bind(c, call->policy, &owner, err);
  call->queued += q->count == 0;
  call->disposition = call->queued ? DISPOSITION_CREATED : DISPOSITION_ATTACHED;
  return rc ? rc : backfill_row_get(c, view_of(id), call->out, err);
}

enum kpi_code backfill_store_submit(struct db *db, const struct backfill_request *request,
                                    const struct submit_policy *policy, const struct run_defaults *defaults,
                                    struct backfill *out, enum disposition *disposition, struct err *err) {
  *out = (struct backfill){0};
  struct submit_call call = {.request = request, .policy = policy, .defaults = defaults, .out = out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_submit, &call, err);
  *disposition = call.disposition;
  if (rc)
    backfill_clear(out);
  return rc;
}

/* ---- every day of the data ---- */

struct claim_call {
  const char *boot_id;
  struct backfill *out;
  bool found;
};

static enum kpi_code do_claim(struct db_conn *c, void *arg, struct err *err) {
  struct claim_call *call = arg;
  char id[UUID_TEXT_SIZE];
  call->found = false;
  sqlite3_stmt *s =
      db_statement(c, "SELECT id FROM backfills WHERE discovery = 'queued' AND next_attempt_at IS NULL"
                      " ORDER BY id LIMIT 1");
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), id, sizeof id);
  sqlite3_reset(s);
  s = db_statement(c, "UPDATE backfills SET discovery = 'running', boot_id = ?2, error_json = NULL,"
                      " updated_at = ?3, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, call->boot_id);
  db_bind_int(s, 3, clock_wall_ms());
  enum kpi_code rc = db_run(c, s, err);
  call->found = rc == KPI_OK;
  return rc ? rc : backfill_row_get(c, view_of(id), call->out, err);
}

enum kpi_code backfill_store_claim(struct db *db, const char *boot_id, struct backfill *out, bool *found,
                                   struct err *err) {
  *out = (struct backfill){0};
  struct claim_call call = {boot_id, out, false};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_claim, &call, err);
  *found = rc == KPI_OK && call.found;
  if (!*found)
    backfill_clear(out);
  return rc;
}

/* Ends looking for days. */
static enum kpi_code set_discovery(struct db_conn *c, const char *id, enum discovery how,
                                   const char *error_json, struct err *err) {
  const int64_t now = clock_wall_ms();
  sqlite3_stmt *s = db_statement(c, "UPDATE backfills SET discovery = ?2, error_json = ?3, updated_at = ?4,"
                                    " finished_at = ?5, boot_id = NULL, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, discovery_name(how));
  db_bind_text(s, 3, error_json);
  db_bind_int(s, 4, now);
  db_bind_time(s, 5, how == DISCOVERY_QUEUED ? 0 : now);
  return db_run(c, s, err);
}

struct found_call {
  const char *id;
  const struct backfill_request *request;
  const struct submit_policy *policy;
  const struct run_defaults *defaults;
};

static enum kpi_code do_found(struct db_conn *c, void *arg, struct err *err) {
  const struct found_call *call = arg;
  const struct backfill_request *q = call->request;
  struct backfill b = {0};
  size_t queued = 0;
  enum kpi_code rc = backfill_row_get(c, view_of(call->id), &b, err);
  if (rc == KPI_OK && b.cancel_requested_at)
    rc = err_set(err, KPI_CANCELLED, "the backfill was cancelled");
  backfill_clear(&b);
  if (rc == KPI_OK && q->count)
    rc = add_days(c, call->id, q, call->policy, call->defaults, &queued, err);
  if (rc == KPI_OK && q->count)
    rc = set_range(c, call->id, q, err);
  return rc ? rc : set_discovery(c, call->id, DISCOVERY_DONE, NULL, err);
}

enum kpi_code backfill_store_found(struct db *db, const char *id, const struct backfill_request *request,
                                   const struct submit_policy *policy, const struct run_defaults *defaults,
                                   struct err *err) {
  struct found_call call = {id, request, policy, defaults};
  return db_call(db, DB_NORMAL, do_found, &call, err);
}

/* Queues the search once more, not before a while has passed. */
static enum kpi_code try_later(struct db_conn *c, const struct backfill *b, const char *error_json,
                               struct err *err) {
  const int64_t now = clock_wall_ms();
  uint64_t random;
  crypto_random(&random, sizeof random);
  sqlite3_stmt *s = db_statement(
      c,
      "UPDATE backfills SET discovery = 'queued', error_json = ?2, failures = failures + 1, updated_at = ?3,"
      " next_attempt_at = ?4, boot_id = NULL, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, b->id);
  db_bind_text(s, 2, error_json);
  db_bind_int(s, 3, now);
  db_bind_int(s, 4, now + run_retry_wait_ms(b->failures + 1, random));
  return db_run(c, s, err);
}

static enum kpi_code do_not_found(struct db_conn *c, void *arg, struct err *err) {
  const struct search_end *end = arg;
  struct backfill b = {0};
  enum kpi_code rc = backfill_row_get(c, view_of(end->id), &b, err);
  bool is_left = end->is_retryable && !b.cancel_requested_at && b.failures + 1 < b.max_attempts;
  if (rc == KPI_OK && end->how == DISCOVERY_FAILED && is_left)
    rc = try_later(c, &b, end->error_json, err);
  else if (rc == KPI_OK && end->how == DISCOVERY_QUEUED && b.cancel_requested_at)
    rc = set_discovery(c, end->id, DISCOVERY_CANCELLED, NULL, err);
  else if (rc == KPI_OK)
    rc = set_discovery(c, end->id, end->how, end->error_json, err);
  backfill_clear(&b);
  return rc;
}

enum kpi_code backfill_store_not_found(struct db *db, const struct search_end *end, struct err *err) {
  struct search_end call = *end;
  return db_call(db, DB_MUST_LAND, do_not_found, &call, err);
}
