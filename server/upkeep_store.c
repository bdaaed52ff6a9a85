/* SPDX-License-Identifier: MIT */
#include "server/upkeep_store.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdlib.h>

/* The error of what the service died under too often: ?2 is now, ?3 the hint. */
#define WORKER_LOST(phase, attempt, when)                                                                    \
  "json_object('code', 'worker_lost', 'category', 'internal', 'retryable', json('false'), 'phase', " phase   \
  ", 'message', 'the service died ' || (crashes + 1) || ' times " when "', 'hint', ?3, 'attempt', " attempt  \
  ", 'at', strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1000.0, 'unixepoch'), 'details', json('{}'))"

/* What a recovery does, in this order: ?1 is the boot, ?2 now, ?3 the hint of worker_lost, ?4 CRASHES_MAX. */
enum recover_step {
  NOTE_ATTEMPTS, /* every one that the death cut off */
  CANCEL_RUNS,
  FAIL_RUNS,
  QUEUE_RUNS,
  CANCEL_SEARCHES,
  FAIL_SEARCHES,
  QUEUE_SEARCHES,
  RECOVER_STEPS
};

#define MOVE_RUNS "UPDATE runs SET phase = NULL, updated_at = ?2, boot_id = NULL, version = version + 1"
#define MOVE_SEARCHES "UPDATE backfills SET updated_at = ?2, boot_id = NULL, version = version + 1"
#define CHARGED ", crashes = crashes + 1"
#define TOO_OFTEN " AND crashes + 1 >= ?4"
#define OF_THE_DEAD " AND boot_id IS NOT ?1"
#define RUN_LOST WORKER_LOST("phase", "attempt", "under this run")
#define SEARCH_LOST WORKER_LOST("NULL", "failures + 1", "while it looked for the days")

static const char *const recover_steps[RECOVER_STEPS] = {
    [NOTE_ATTEMPTS] =
        "INSERT OR REPLACE INTO attempts (run_id, attempt, started_at, finished_at, outcome, error_code)"
        " SELECT id, attempt, coalesce(started_at, ?2), ?2, 'crashed', NULL FROM runs"
        " WHERE state IN ('running', 'cancelling')" OF_THE_DEAD,
    [CANCEL_RUNS] = MOVE_RUNS ", state = 'cancelled', finished_at = ?2"
                              " WHERE state = 'cancelling'" OF_THE_DEAD,
    [FAIL_RUNS] = MOVE_RUNS CHARGED ", state = 'failed', finished_at = ?2, error_json = " RUN_LOST
                                    " WHERE state = 'running'" TOO_OFTEN OF_THE_DEAD,
    [QUEUE_RUNS] = MOVE_RUNS CHARGED ", state = 'queued' WHERE state = 'running'" OF_THE_DEAD,
    [CANCEL_SEARCHES] =
        MOVE_SEARCHES ", discovery = 'cancelled', finished_at = ?2"
                      " WHERE discovery = 'running' AND cancel_requested_at IS NOT NULL" OF_THE_DEAD,
    [FAIL_SEARCHES] =
        MOVE_SEARCHES CHARGED ", discovery = 'failed', finished_at = ?2, error_json = " SEARCH_LOST
                              " WHERE discovery = 'running'" TOO_OFTEN OF_THE_DEAD,
    [QUEUE_SEARCHES] =
        MOVE_SEARCHES CHARGED ", discovery = 'queued' WHERE discovery = 'running'" OF_THE_DEAD};

/* Reads the runs, so many, that a recovery at a time has failed. */
static enum kpi_code read_lost(struct db_conn *c, int64_t now, uint64_t count, struct run_list *out,
                               struct err *err) {
  int step = SQLITE_ERROR;
  run_list_clear(out);
  sqlite3_stmt *s = db_statement(c, "SELECT " RUN_COLUMNS " FROM runs WHERE state = 'failed' AND finished_at"
                                    " = ?1 AND json_extract(error_json, '$.code') = ?2 LIMIT ?3");
  if (!s || (count && !(out->runs = calloc(count, sizeof *out->runs))))
    return db_failure(c, err);
  db_bind_int(s, 1, now);
  db_bind_text(s, 2, err_name(KPI_WORKER_LOST));
  db_bind_int(s, 3, (int64_t)count);
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    run_row_read(s, &out->runs[out->count++]);
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code upkeep_recover_rows(struct db_conn *c, const char *boot_id, struct recovery *out,
                                  struct err *err) {
  const int64_t now = clock_wall_ms();
  uint64_t changed[RECOVER_STEPS];
  out->moved = 0;
  for (int i = 0; i < RECOVER_STEPS; i++) {
    sqlite3_stmt *s = db_statement(c, recover_steps[i]);
    if (!s)
      return db_failure(c, err);
    db_bind_text(s, 1, boot_id);
    db_bind_int(s, 2, now);
    if (sqlite3_bind_parameter_count(s) > 2) {
      db_bind_text(s, 3, err_info(KPI_WORKER_LOST)->hint);
      db_bind_int(s, 4, CRASHES_MAX);
    }
    enum kpi_code rc = db_run(c, s, err);
    if (rc)
      return rc;
    changed[i] = (uint64_t)sqlite3_changes64(c->sqlite);
    out->moved += i == NOTE_ATTEMPTS ? 0 : changed[i];
  }
  return read_lost(c, now, changed[FAIL_RUNS], &out->lost, err);
}

struct recover_call {
  const char *boot_id;
  struct recovery *out;
};

static enum kpi_code do_recover(struct db_conn *c, void *arg, struct err *err) {
  const struct recover_call *call = arg;
  return upkeep_recover_rows(c, call->boot_id, call->out, err);
}

enum kpi_code upkeep_recover(struct db *db, const char *boot_id, struct recovery *out, struct err *err) {
  *out = (struct recovery){0};
  struct recover_call call = {boot_id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_recover, &call, err);
  if (rc)
    run_list_clear(&out->lost);
  return rc;
}

static enum kpi_code count_active(struct db_conn *c, struct run_census *out, struct err *err) {
  int step = SQLITE_ERROR;
  sqlite3_stmt *s =
      db_statement(c, "SELECT state, priority, count(*), min(updated_at) FROM runs WHERE state IN"
                      " ('queued', 'running', 'retry_wait', 'cancelling') GROUP BY state, priority");
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW) {
    enum run_state state;
    int64_t oldest = sqlite3_column_int64(s, 3);
    if (!run_state_of(view_of((const char *)sqlite3_column_text(s, 0)), &state))
      continue;
    out->active[state][sqlite3_column_int(s, 1)] = (uint64_t)sqlite3_column_int64(s, 2);
    if (state == RUN_QUEUED && (out->oldest_queued_at == 0 || oldest < out->oldest_queued_at))
      out->oldest_queued_at = oldest;
  }
  for (int p = 0; p < PRIORITY_COUNT; p++)
    out->queued += out->active[RUN_QUEUED][p];
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code find_last_published(struct db_conn *c, struct run_census *out, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "SELECT max(order_date) FROM published");
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  const char *day = (const char *)sqlite3_column_text(s, 0);
  out->has_published = day && day_parse(view_of(day), &out->last_published);
  return KPI_OK;
}

static enum kpi_code do_census(struct db_conn *c, void *arg, struct err *err) {
  struct run_census *out = arg;
  *out = (struct run_census){0};
  enum kpi_code rc = count_active(c, out, err);
  return rc ? rc : find_last_published(c, out, err);
}

enum kpi_code upkeep_census(struct db *db, struct run_census *out, struct err *err) {
  return db_call(db, DB_NORMAL, do_census, out, err);
}

static enum kpi_code do_prune(struct db_conn *c, void *arg, struct err *err) {
  static const char *const shared[] = {
      "DELETE FROM backfills WHERE created_at < ?1 AND (discovery IS NULL OR discovery NOT IN ('queued',"
      " 'running')) AND NOT EXISTS (SELECT 1 FROM backfill_days d JOIN runs r ON r.id = d.run_id"
      " WHERE d.backfill_id = backfills.id AND r.state IN ('queued', 'running', 'retry_wait', 'cancelling'))",
      "DELETE FROM engine_jobs WHERE stage = 'over' AND owner NOT IN (SELECT id FROM runs)"
      " AND owner NOT IN (SELECT id FROM backfills)",
      "DELETE FROM manifests WHERE fingerprint NOT IN"
      " (SELECT input_fingerprint FROM runs WHERE input_fingerprint IS NOT NULL)",
      "DELETE FROM category_lists WHERE key NOT IN"
      " (SELECT category_list FROM runs WHERE category_list IS NOT NULL)"};
  sqlite3_stmt *s = db_statement(
      c, "DELETE FROM runs WHERE created_at < ?1 AND state IN ('succeeded', 'failed', 'cancelled')"
         " AND id NOT IN (SELECT run_id FROM published)");
  db_bind_int(s, 1, *(const int64_t *)arg);
  enum kpi_code rc = db_run(c, s, err);
  for (size_t i = 0; rc == KPI_OK && i < sizeof shared / sizeof shared[0]; i++) {
    s = db_statement(c, shared[i]);
    if (sqlite3_bind_parameter_count(s) > 0)
      db_bind_int(s, 1, *(const int64_t *)arg);
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code upkeep_prune(struct db *db, int64_t before_ms, struct err *err) {
  return db_call(db, DB_NORMAL, do_prune, &before_ms, err);
}

static enum kpi_code do_probe(struct db_conn *c, void *arg, struct err *err) {
  (void)arg;
  static const char *const steps[] = {
      "INSERT INTO runs (id, date, timezone, engine, state, created_at, updated_at, publish, quality_gate,"
      " bad_rows, max_bad_rows, input_base, service_version) VALUES (?1, '0000-00-00', '', 'native', "
      "'queued',"
      " 0, 0, 1, 'off', 'fail', '', '', '')",
      "DELETE FROM runs WHERE id = ?1"};
  char id[UUID_TEXT_SIZE];
  crypto_uuid7(id);
  return db_run_each(c, steps, sizeof steps / sizeof steps[0], id, err);
}

enum kpi_code upkeep_probe(struct db *db, struct err *err) {
  return db_call(db, DB_NORMAL, do_probe, NULL, err);
}
