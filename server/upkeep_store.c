/* SPDX-License-Identifier: MIT */
#include "server/upkeep_store.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <sqlite3.h>

struct recover_call {
  const char *boot_id;
  uint64_t recovered;
};

/* The error of what the service died under too often: ?2 is now, ?3 the hint. */
#define WORKER_LOST(phase, attempt, when)                                                                    \
  "json_object('code', 'worker_lost', 'category', 'internal', 'retryable', json('false'), 'phase', " phase   \
  ", 'message', 'the service died ' || (crashes + 1) || ' times " when "', 'hint', ?3, 'attempt', " attempt  \
  ", 'at', strftime('%Y-%m-%dT%H:%M:%fZ', ?2 / 1000.0, 'unixepoch'), 'details', json('{}'))"

static enum kpi_code do_recover(struct db_conn *c, void *arg, struct err *err) {
  struct recover_call *call = arg;
  static const char *const steps[] = {
      /* Every attempt that the crash cut off. */
      "INSERT OR REPLACE INTO attempts (run_id, attempt, started_at, finished_at, outcome, error_code)"
      " SELECT id, attempt, coalesce(started_at, ?2), ?2, 'crashed', NULL FROM runs"
      " WHERE state IN ('running', 'cancelling') AND boot_id IS NOT ?1",
      "UPDATE runs SET state = 'cancelled', phase = NULL, finished_at = ?2, updated_at = ?2, boot_id = NULL,"
      " version = version + 1 WHERE state = 'cancelling' AND boot_id IS NOT ?1",
      "UPDATE runs SET state = 'failed', phase = NULL, finished_at = ?2, updated_at = ?2, boot_id = NULL,"
      " crashes = crashes + 1, version = version + 1, error_json = " WORKER_LOST(
          "phase", "attempt",
          "under this run") " WHERE state = 'running' AND boot_id IS NOT ?1 AND crashes + 1 >= ?4",
      "UPDATE runs SET state = 'queued', phase = NULL, updated_at = ?2, boot_id = NULL, crashes = crashes + "
      "1,"
      " version = version + 1 WHERE state = 'running' AND boot_id IS NOT ?1",
      "UPDATE backfills SET discovery = 'cancelled', boot_id = NULL, finished_at = ?2, updated_at = ?2,"
      " version = version + 1 WHERE discovery = 'running' AND boot_id IS NOT ?1 AND cancel_requested_at IS "
      "NOT"
      " NULL",
      "UPDATE backfills SET discovery = 'failed', boot_id = NULL, finished_at = ?2, updated_at = ?2, crashes "
      "="
      " crashes + 1, version = version + 1, error_json = " WORKER_LOST(
          "NULL", "failures + 1", "while it looked for the days") " WHERE discovery = 'running' AND boot_id "
                                                                  "IS NOT ?1 AND crashes + 1 >= ?4",
      "UPDATE backfills SET discovery = 'queued', boot_id = NULL, updated_at = ?2, crashes = crashes + 1,"
      " version = version + 1 WHERE discovery = 'running' AND boot_id IS NOT ?1"};
  call->recovered = 0;
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    sqlite3_stmt *s = db_statement(c, steps[i]);
    if (!s)
      return db_failure(c, err);
    db_bind_text(s, 1, call->boot_id);
    db_bind_int(s, 2, clock_wall_ms());
    if (sqlite3_bind_parameter_count(s) > 2) {
      db_bind_text(s, 3, err_info(KPI_WORKER_LOST)->hint);
      db_bind_int(s, 4, CRASHES_MAX);
    }
    enum kpi_code rc = db_run(c, s, err);
    if (rc)
      return rc;
    call->recovered += i > 0 ? (uint64_t)sqlite3_changes64(c->sqlite) : 0;
  }
  return KPI_OK;
}

enum kpi_code upkeep_recover(struct db *db, const char *boot_id, uint64_t *recovered, struct err *err) {
  struct recover_call call = {.boot_id = boot_id};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_recover, &call, err);
  *recovered = call.recovered;
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
