/* SPDX-License-Identifier: MIT */
#include "server/backfill_store.h"

#include "base/clock.h"
#include "server/backfill_rows.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

/* One row a backfill, with what its runs have come to. The order is that of read_backfill. The version that
 * counts also the changes of its runs is for who watches one: it takes whole runs to be read. */
#define BACKFILL_COLUMNS(version)                                                                            \
  "b.id, b.created_at, b.updated_at, b.cancel_requested_at, b.first_date, b.last_date, b.discovery, "        \
  "b.error_json, b.reprocess, b.day_order = 'desc', b.publish, b.force, b.quality_gate, b.bad_rows, "        \
  "b.max_bad_rows, b.timeout_seconds, b.max_attempts, b.labels_json, b.reason, b.idempotency_key, "          \
  "b.principal, b.user_agent, b.request_id, b.trace_id, b.failures, b.next_attempt_at, b.engine, " version   \
  ", coalesce(max(r.finished_at), b.finished_at, b.created_at), "                                            \
  "count(*) FILTER (WHERE r.state = 'queued'), count(*) FILTER (WHERE r.state = 'running'), "                \
  "count(*) FILTER (WHERE r.state = 'retry_wait'), count(*) FILTER (WHERE r.state = 'cancelling'), "         \
  "count(*) FILTER (WHERE r.state = 'succeeded'), count(*) FILTER (WHERE r.state = 'failed'), "              \
  "count(*) FILTER (WHERE r.state = 'cancelled'), count(*) FILTER (WHERE d.action = 'skip'), "               \
  "count(*) FILTER (WHERE d.action <> 'skip' AND r.id IS NULL)"

#define FROM_BACKFILLS(index)                                                                                \
  " FROM backfills b LEFT JOIN backfill_days d ON d.backfill_id = b.id"                                      \
  " LEFT JOIN runs r " index " ON r.id = d.run_id AND d.action <> 'skip' "

static struct view text_at(sqlite3_stmt *s, int column) {
  return view_of((const char *)sqlite3_column_text(s, column));
}

static char *copy_at(sqlite3_stmt *s, int column) {
  const char *text = (const char *)sqlite3_column_text(s, column);
  return text ? strdup(text) : NULL;
}

static void read_backfill(sqlite3_stmt *s, struct backfill *out) {
  *out = (struct backfill){.created_at = sqlite3_column_int64(s, 1),
                           .updated_at = sqlite3_column_int64(s, 2),
                           .cancel_requested_at = sqlite3_column_int64(s, 3),
                           .error_json = copy_at(s, 7),
                           .is_descending = sqlite3_column_int(s, 9) != 0,
                           .publish = sqlite3_column_int(s, 10) != 0,
                           .force = sqlite3_column_int(s, 11) != 0,
                           .max_bad_rows = copy_at(s, 14),
                           .timeout_seconds = (uint32_t)sqlite3_column_int64(s, 15),
                           .max_attempts = (uint32_t)sqlite3_column_int64(s, 16),
                           .labels_json = copy_at(s, 17),
                           .reason = copy_at(s, 18),
                           .idempotency_key = copy_at(s, 19),
                           .principal = copy_at(s, 20),
                           .user_agent = copy_at(s, 21),
                           .request_id = copy_at(s, 22),
                           .trace_id = copy_at(s, 23),
                           .failures = (uint32_t)sqlite3_column_int64(s, 24),
                           .next_attempt_at = sqlite3_column_int64(s, 25),
                           .version = (uint64_t)sqlite3_column_int64(s, 27)};
  view_to_cstr(text_at(s, 0), out->id, sizeof out->id);
  out->has_days = day_parse(text_at(s, 4), &out->first) && day_parse(text_at(s, 5), &out->last);
  discovery_of(text_at(s, 6), &out->discovery);
  reprocess_of(text_at(s, 8), &out->reprocess);
  quality_gate_of(text_at(s, 12), &out->gate);
  bad_rows_of(text_at(s, 13), &out->bad_rows);
  engine_kind_of(text_at(s, 26), &out->engine);
  for (int i = 0; i < RUN_STATE_COUNT; i++)
    out->counts.by_state[i] = (uint64_t)sqlite3_column_int64(s, 29 + i);
  out->counts.skipped = (uint64_t)sqlite3_column_int64(s, 29 + RUN_STATE_COUNT);
  out->counts.pruned = (uint64_t)sqlite3_column_int64(s, 30 + RUN_STATE_COUNT);
  bool is_over = run_state_is_terminal(backfill_state(out));
  out->finished_at = is_over ? sqlite3_column_int64(s, 28) : 0;
}

enum kpi_code backfill_row_get(struct db_conn *c, struct view id, struct backfill *out, struct err *err) {
  char wanted[UUID_TEXT_SIZE]; /* the id may be that of *out */
  bool is_id = view_to_cstr(id, wanted, sizeof wanted);
  backfill_clear(out);
  sqlite3_stmt *s = db_statement(c, "SELECT " BACKFILL_COLUMNS("b.version + coalesce(sum(r.version), 0)")
                                        FROM_BACKFILLS("") "WHERE b.id = ?1 GROUP BY b.id");
  db_bind_text(s, 1, is_id ? wanted : "");
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step == SQLITE_DONE)
    return err_set(err, KPI_BACKFILL_NOT_FOUND, "there is no backfill %s", wanted);
  if (step != SQLITE_ROW)
    return db_failure(c, err);
  read_backfill(s, out);
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code backfill_row_may_attach(struct db_conn *c, const char *id, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "SELECT r.id, r.date FROM backfill_days d JOIN runs r ON r.id = d.run_id WHERE"
                      " d.backfill_id = ?1 AND d.action = 'attach' AND r.state = 'cancelling' LIMIT 1");
  db_bind_text(s, 1, id);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step == SQLITE_ROW)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE,
                   "run %s of %s is being cancelled; send it again when it has ended",
                   sqlite3_column_text(s, 0), sqlite3_column_text(s, 1));
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

/* One backfill by id, in and out. */
struct backfill_call {
  struct view id;
  struct backfill *out;
};

static enum kpi_code do_get(struct db_conn *c, void *arg, struct err *err) {
  struct backfill_call *call = arg;
  return backfill_row_get(c, call->id, call->out, err);
}

/* Calls a function of one backfill. */
static enum kpi_code call_one(struct db *db, db_fn fn, struct view id, struct backfill *out,
                              struct err *err) {
  *out = (struct backfill){0};
  struct backfill_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, fn, &call, err);
  if (rc)
    backfill_clear(out);
  return rc;
}

enum kpi_code backfill_store_get(struct db *db, struct view id, struct backfill *out, struct err *err) {
  return call_one(db, do_get, id, out, err);
}

struct active_call {
  struct view id;
  bool active;
};

/* Whether a day is active. Days end in the order of the backfill: the last is looked at first. */
#define ACTIVE_DAY(direction)                                                                                \
  "(SELECT 1 FROM backfill_days d CROSS JOIN runs r INDEXED BY runs_counted ON r.id = d.run_id WHERE"        \
  " d.backfill_id = b.id AND d.action <> 'skip' AND r.state IN " ACTIVE_STATES " ORDER BY d.date " direction \
  " LIMIT 1)"

static enum kpi_code do_is_active(struct db_conn *c, void *arg, struct err *err) {
  struct active_call *call = arg;
  sqlite3_stmt *s = db_statement(
      c,
      "SELECT CASE WHEN discovery IN ('queued', 'running') THEN 1 WHEN discovery IN ('failed', 'cancelled')"
      " THEN 0 WHEN day_order = 'desc' THEN " ACTIVE_DAY("ASC") " ELSE " ACTIVE_DAY(
          "DESC") " END FROM backfills b WHERE id = ?1");
  db_bind_view(s, 1, call->id);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  call->active = step == SQLITE_ROW && sqlite3_column_int(s, 0) != 0;
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code backfill_store_is_active(struct db *db, struct view id, bool *active, struct err *err) {
  struct active_call call = {id, false};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_is_active, &call, err);
  *active = rc == KPI_OK && call.active;
  return rc;
}

struct list_call {
  const struct backfill_filter *filter;
  struct backfill_list *list;
};

static enum kpi_code do_list(struct db_conn *c, void *arg, struct err *err) {
  const struct list_call *call = arg;
  struct backfill_list *list = call->list;
  backfill_list_clear(list);
  list->at = calloc(call->filter->limit, sizeof *list->at);
  sqlite3_stmt *s =
      db_statement(c, "SELECT " BACKFILL_COLUMNS("b.version") FROM_BACKFILLS(
                          "INDEXED BY runs_counted") "WHERE b.id IN (SELECT id FROM backfills"
                                                     " WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2)"
                                                     " GROUP BY b.id ORDER BY b.id DESC");
  if (!s || !list->at)
    return db_failure(c, err);
  db_bind_view(s, 1, call->filter->before_id);
  db_bind_int(s, 2, (int64_t)call->filter->limit + 1);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW && list->count < call->filter->limit)
    read_backfill(s, &list->at[list->count++]);
  list->more = step == SQLITE_ROW;
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code backfill_store_list(struct db *db, const struct backfill_filter *filter,
                                  struct backfill_list *out, struct err *err) {
  *out = (struct backfill_list){0};
  struct list_call call = {filter, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_list, &call, err);
  if (rc)
    backfill_list_clear(out);
  return rc;
}

struct days_call {
  struct view id;
  day_t from;
  size_t limit;
  struct backfill_days *out;
};

static void read_day(sqlite3_stmt *s, struct backfill_day *out) {
  *out = (struct backfill_day){0};
  day_parse(text_at(s, 0), &out->day);
  day_action_of(text_at(s, 1), &out->action);
  day_reason_of(text_at(s, 2), &out->reason);
  view_to_cstr(text_at(s, 3), out->run_id, sizeof out->run_id);
  run_state_of(text_at(s, 4), &out->state);
  view_to_cstr(text_at(s, 5), out->quality, sizeof out->quality);
  view_to_cstr(text_at(s, 6), out->error_code, sizeof out->error_code);
}

static enum kpi_code do_days(struct db_conn *c, void *arg, struct err *err) {
  struct days_call *call = arg;
  char from[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(
      c, "SELECT d.date, d.action, d.reason, r.id, r.state, json_extract(r.quality_json, '$.status'),"
         " json_extract(r.error_json, '$.code') FROM backfill_days d LEFT JOIN runs r ON r.id = d.run_id"
         " WHERE d.backfill_id = ?1 AND d.date >= ?2 ORDER BY d.date LIMIT ?3");
  db_bind_view(s, 1, call->id);
  db_bind_text(s, 2, day_text(call->from, from));
  db_bind_int(s, 3, (int64_t)call->limit + 1);
  struct backfill_days *days = call->out;
  days->count = 0;
  int step = SQLITE_ERROR;
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW && days->count < call->limit)
    read_day(s, &days->at[days->count++]);
  days->more = step == SQLITE_ROW;
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code backfill_store_days(struct db *db, struct view id, day_t from, size_t limit,
                                  struct backfill_days *out, struct err *err) {
  struct days_call call = {id, from, limit, out};
  return db_call(db, DB_NORMAL, do_days, &call, err);
}

/* ---- cancelling and trying again ---- */

/* Its days with a run, and that run. */
struct own_runs {
  struct own_run {
    char id[UUID_TEXT_SIZE];
    day_t date;
    enum run_state state;
    bool is_attached;
  } * at; /* owned */
  size_t count;
};

static enum kpi_code list_own_runs(struct db_conn *c, const char *id, struct own_runs *out, struct err *err) {
  *out = (struct own_runs){.at = calloc(QUEUE_MAX, sizeof *out->at)};
  sqlite3_stmt *s = db_statement(
      c, "SELECT r.id, r.date, r.state, d.action = 'attach' FROM backfill_days d JOIN runs r"
         " ON r.id = d.run_id WHERE d.backfill_id = ?1 AND d.action <> 'skip' ORDER BY r.id LIMIT ?2");
  if (!s || !out->at)
    return db_failure(c, err);
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, QUEUE_MAX);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW) {
    struct own_run *run = &out->at[out->count++];
    view_to_cstr(text_at(s, 0), run->id, sizeof run->id);
    day_parse(text_at(s, 1), &run->date);
    run_state_of(text_at(s, 2), &run->state);
    run->is_attached = sqlite3_column_int(s, 3) != 0;
  }
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code set_cancelled(struct db_conn *c, const char *id, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "UPDATE backfills SET cancel_requested_at = ?2, updated_at = ?2, version = version + 1,"
                      " next_attempt_at = NULL, finished_at = iif(discovery = 'queued', ?2, finished_at),"
                      " discovery = iif(discovery = 'queued', 'cancelled', discovery) WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, clock_wall_ms());
  return db_run(c, s, err);
}

static enum kpi_code cancel_all(struct db_conn *c, const struct own_runs *runs, struct err *err) {
  struct run run = {0};
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < runs->count; i++)
    if (!runs->at[i].is_attached && !run_state_is_terminal(runs->at[i].state))
      rc = run_row_cancel(c, view_of(runs->at[i].id), &run, err);
  run_clear(&run);
  return rc;
}

static enum kpi_code do_cancel(struct db_conn *c, void *arg, struct err *err) {
  struct backfill_call *call = arg;
  struct backfill *b = call->out;
  struct own_runs runs = {0};
  enum kpi_code rc = backfill_row_get(c, call->id, b, err);
  if (rc)
    return rc;
  enum run_state state = backfill_state(b);
  if (state == RUN_CANCELLED || state == RUN_CANCELLING)
    return KPI_OK;
  if (run_state_is_terminal(state))
    return err_set(err, KPI_RUN_ALREADY_FINISHED, "the backfill has %s", run_state_name(state));
  rc = list_own_runs(c, b->id, &runs, err);
  if (rc == KPI_OK)
    rc = set_cancelled(c, b->id, err);
  if (rc == KPI_OK)
    rc = cancel_all(c, &runs, err);
  free(runs.at);
  return rc ? rc : backfill_row_get(c, view_of(b->id), b, err);
}

enum kpi_code backfill_store_cancel(struct db *db, struct view id, struct backfill *out, struct err *err) {
  return call_one(db, do_cancel, id, out, err);
}

static enum kpi_code attach_day(struct db_conn *c, const char *id, const struct run *run, struct err *err) {
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s =
      db_statement(c, "UPDATE backfill_days SET action = 'attach', reason = 'active', run_id = ?3"
                      " WHERE backfill_id = ?1 AND date = ?2");
  db_bind_text(s, 1, id);
  db_bind_text(s, 2, day_text(run->date, date));
  db_bind_text(s, 3, run->id);
  return db_run(c, s, err);
}

/* Queues the run of a day again; where another run of the day is active, that one is the day's. */
static enum kpi_code retry_day(struct db_conn *c, const struct backfill *b, const struct own_run *own,
                               struct err *err) {
  struct run run = {0};
  bool found = false;
  enum kpi_code rc = b->publish ? run_row_find_active(c, own->date, &run, &found, err) : KPI_OK;
  if (rc == KPI_OK && found) {
    rc = attach_day(c, b->id, &run, err);
  } else if (rc == KPI_OK) {
    struct retry_order order = {.id = view_of(own->id)};
    rc = run_row_retry(c, &order, &run, err);
  }
  run_clear(&run);
  return rc;
}

/* It is tried again, with looking for its days if that did not come to an end. */
static enum kpi_code set_retried(struct db_conn *c, const char *id, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE backfills SET cancel_requested_at = NULL, updated_at = ?2, version = version + 1,"
         " finished_at = NULL, error_json = NULL, failures = 0, crashes = 0,"
         " discovery = iif(discovery IN ('failed', 'cancelled'), 'queued', discovery) WHERE id = ?1");
  db_bind_text(s, 1, id);
  db_bind_int(s, 2, clock_wall_ms());
  return db_run(c, s, err);
}

static enum kpi_code do_retry(struct db_conn *c, void *arg, struct err *err) {
  struct backfill_call *call = arg;
  struct backfill *b = call->out;
  struct own_runs runs = {0};
  enum kpi_code rc = backfill_row_get(c, call->id, b, err);
  if (rc)
    return rc;
  size_t retried = b->discovery == DISCOVERY_FAILED || b->discovery == DISCOVERY_CANCELLED;
  rc = list_own_runs(c, b->id, &runs, err);
  for (size_t i = 0; rc == KPI_OK && i < runs.count; i++)
    if (runs.at[i].state == RUN_FAILED || runs.at[i].state == RUN_CANCELLED) {
      rc = retry_day(c, b, &runs.at[i], err);
      retried++;
    }
  free(runs.at);
  if (rc == KPI_OK)
    rc = backfill_row_may_attach(c, b->id, err);
  if (rc == KPI_OK && retried == 0)
    rc = run_state_is_terminal(backfill_state(b))
             ? err_set(err, KPI_RUN_ALREADY_FINISHED, "no day of the backfill has failed or was cancelled")
             : err_set(err, KPI_RUN_ALREADY_ACTIVE, "no day of the backfill has failed yet");
  if (rc == KPI_OK)
    rc = set_retried(c, b->id, err);
  return rc ? rc : backfill_row_get(c, view_of(b->id), b, err);
}

enum kpi_code backfill_store_retry(struct db *db, struct view id, struct backfill *out, struct err *err) {
  return call_one(db, do_retry, id, out, err);
}
