/* SPDX-License-Identifier: MIT */
#include "server/engine_job_store.h"

#include "base/clock.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <string.h>

struct job_call {
  const char *owner;
  const struct handed_job *job;
  uint32_t number;
  const char *const *run_ids;
  size_t count;
  struct handed_job *out;
  bool found;
};

/* ---- finding and keeping ---- */

static void read_job(sqlite3_stmt *s, int column, struct handed_job *out) {
  *out = (struct handed_job){.number = (uint32_t)sqlite3_column_int64(s, column)};
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, column + 1)), out->spec_sha256,
               sizeof out->spec_sha256);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, column + 2)), out->id, sizeof out->id);
}

static enum kpi_code do_find(struct db_conn *c, void *arg, struct err *err) {
  struct job_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "SELECT number, spec_sha256, job_id FROM engine_jobs"
                                    " WHERE owner = ?1 AND stage = 'handed' ORDER BY number DESC LIMIT 1");
  db_bind_text(s, 1, call->owner);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  call->found = true;
  read_job(s, 0, call->out);
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code engine_job_store_find(struct db *db, const char *owner, struct handed_job *out, bool *found,
                                    struct err *err) {
  *out = (struct handed_job){0};
  struct job_call call = {.owner = owner, .out = out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_find, &call, err);
  *found = rc == KPI_OK && call.found;
  return rc;
}

static enum kpi_code set_waiting(struct db_conn *c, const char *run_id, const char *owner, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "UPDATE runs SET engine_job_owner = ?2 WHERE id = ?1 AND engine_job_owner IS NOT ?2");
  db_bind_text(s, 1, run_id);
  db_bind_text(s, 2, owner);
  return db_run(c, s, err);
}

static enum kpi_code do_begin(struct db_conn *c, void *arg, struct err *err) {
  struct job_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "INSERT INTO engine_jobs (owner, number, stage, spec_sha256, created_at)"
                                    " SELECT ?1, coalesce(max(number), 0) + 1, 'handed', '', ?2 FROM"
                                    " engine_jobs WHERE owner = ?1 RETURNING number");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, clock_wall_ms());
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  call->number = (uint32_t)sqlite3_column_int64(s, 0);
  enum kpi_code rc = db_run(c, s, err);
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++)
    rc = set_waiting(c, call->run_ids[i], call->owner, err);
  return rc;
}

enum kpi_code engine_job_store_begin(struct db *db, const char *owner, const char *const *run_ids,
                                     size_t count, uint32_t *number, struct err *err) {
  struct job_call call = {.owner = owner, .run_ids = run_ids, .count = count};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_begin, &call, err);
  *number = call.number;
  return rc;
}

/* One that was over before its id was known has begun late: it is to be ended once more. */
static enum kpi_code do_keep(struct db_conn *c, void *arg, struct err *err) {
  const struct job_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "UPDATE engine_jobs SET stage = 'given_up', given_up_at = ?4,"
                                    " next_try_at = NULL, failed_tries = 0 WHERE owner = ?1 AND number = ?2"
                                    " AND stage = 'over' AND job_id IS NULL AND ?3 <> ''");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->job->number);
  db_bind_text(s, 3, call->job->id);
  db_bind_int(s, 4, clock_wall_ms());
  enum kpi_code rc = db_run(c, s, err);
  if (rc)
    return rc;
  s = db_statement(c, "UPDATE engine_jobs SET spec_sha256 = ?3, job_id = nullif(?4, '')"
                      " WHERE owner = ?1 AND number = ?2");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->job->number);
  db_bind_text(s, 3, call->job->spec_sha256);
  db_bind_text(s, 4, call->job->id);
  return db_run(c, s, err);
}

enum kpi_code engine_job_store_keep(struct db *db, const char *owner, const struct handed_job *job,
                                    struct err *err) {
  struct job_call call = {.owner = owner, .job = job};
  return db_call(db, DB_NORMAL, do_keep, &call, err);
}

/* ---- from a disk that is gone ---- */

/* Numbers go on from the seconds of now, which no earlier disk has come to. */
static enum kpi_code begin_numbers(struct db_conn *c, const char *owner, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "INSERT INTO engine_jobs (owner, number, stage, spec_sha256, created_at)"
                                    " VALUES (?1, ?2 / 1000, 'over', '', ?2) ON CONFLICT DO NOTHING");
  db_bind_text(s, 1, owner);
  db_bind_int(s, 2, clock_wall_ms());
  return s ? db_run(c, s, err) : db_failure(c, err);
}

/* One that is known here stays as it is. */
static enum kpi_code insert_inherited(struct db_conn *c, const struct owned_job *job, bool is_wanted,
                                      struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "INSERT INTO engine_jobs (owner, number, stage, spec_sha256, job_id, created_at, given_up_at)"
         " VALUES (?1, ?2, iif(?6, 'handed', 'given_up'), ?3, nullif(?4, ''), ?5, iif(?6, NULL, ?5))"
         " ON CONFLICT DO NOTHING");
  db_bind_text(s, 1, job->owner);
  db_bind_int(s, 2, job->job.number);
  db_bind_text(s, 3, job->job.spec_sha256);
  db_bind_text(s, 4, job->job.id);
  db_bind_int(s, 5, clock_wall_ms());
  db_bind_int(s, 6, is_wanted);
  return s ? db_run(c, s, err) : db_failure(c, err);
}

enum kpi_code engine_job_rows_inherit(struct db_conn *c, const char *run_id, const struct owned_job *job,
                                      struct err *err) {
  enum kpi_code rc = begin_numbers(c, run_id, err);
  if (rc || !job)
    return rc;
  rc = begin_numbers(c, job->owner, err);
  if (rc == KPI_OK)
    rc = insert_inherited(c, job, true, err);
  return rc ? rc : set_waiting(c, run_id, job->owner, err);
}

struct inherit_call {
  const struct owned_job *job;
  bool over;
};

static enum kpi_code do_inherit(struct db_conn *c, void *arg, struct err *err) {
  struct inherit_call *call = arg;
  enum kpi_code rc = insert_inherited(c, call->job, false, err);
  if (rc)
    return rc;
  sqlite3_stmt *s =
      db_statement(c, "SELECT stage = 'over' FROM engine_jobs WHERE owner = ?1 AND number = ?2");
  db_bind_text(s, 1, call->job->owner);
  db_bind_int(s, 2, call->job->job.number);
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  call->over = sqlite3_column_int(s, 0) != 0;
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code engine_job_store_inherit(struct db *db, const struct owned_job *job, bool *over,
                                       struct err *err) {
  struct inherit_call call = {job, false};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_inherit, &call, err);
  *over = rc == KPI_OK && call.over;
  return rc;
}

/* ---- ending ---- */

/* A run gives up its own claim only: others may have come to follow the job. An id that could not be kept is
 * learnt here, also of a job that is over. */
static enum kpi_code do_give_up(struct db_conn *c, void *arg, struct err *err) {
  const struct job_call *call = arg;
  sqlite3_stmt *s;
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    s = db_statement(c, "UPDATE runs SET engine_job_owner = NULL WHERE id = ?1 AND engine_job_owner = ?2");
    db_bind_text(s, 1, call->run_ids[i]);
    db_bind_text(s, 2, call->owner);
    rc = db_run(c, s, err);
  }
  if (rc)
    return rc;
  s = db_statement(c,
                   "UPDATE engine_jobs SET stage = 'given_up', job_id = coalesce(nullif(?3, ''), job_id),"
                   " given_up_at = ?4, next_try_at = NULL, failed_tries = 0"
                   " WHERE owner = ?1 AND number = ?2 AND (stage <> 'over' OR (job_id IS NULL AND ?3 <> ''))"
                   " AND NOT EXISTS (SELECT 1 FROM runs WHERE"
                   " engine_job_owner = ?1 AND state IN " ACTIVE_STATES ")");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->job->number);
  db_bind_text(s, 3, call->job->id);
  db_bind_int(s, 4, clock_wall_ms());
  return db_run(c, s, err);
}

enum kpi_code engine_job_store_give_up(struct db *db, const char *owner, const struct handed_job *job,
                                       const char *const *run_ids, size_t count, struct err *err) {
  struct job_call call = {.owner = owner, .job = job, .run_ids = run_ids, .count = count};
  return db_call(db, DB_MUST_LAND, do_give_up, &call, err);
}

/* Of this and the next, `stage <> 'over'` is what the index of jobs that are not over is found by. */
static enum kpi_code give_up_unwanted(struct db_conn *c, int64_t now, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE engine_jobs SET stage = 'given_up', given_up_at = ?1 WHERE stage = 'handed' AND stage <> "
         "'over' AND NOT EXISTS"
         " (SELECT 1 FROM runs WHERE engine_job_owner = engine_jobs.owner AND state IN " ACTIVE_STATES
         ") AND NOT EXISTS (SELECT 1 FROM backfills WHERE id = engine_jobs.owner AND discovery IN ('queued',"
         " 'running'))");
  db_bind_int(s, 1, now);
  return s ? db_run(c, s, err) : db_failure(c, err);
}

/* Later than ever is what a clock has left behind that was set back. */
#define DUE "(next_try_at IS NULL OR next_try_at NOT BETWEEN ?1 + 1 AND ?1 + ?2)"

static sqlite3_stmt *prepare_due(struct db_conn *c, const char *sql, int64_t now) {
  sqlite3_stmt *s = db_statement(c, sql);
  db_bind_int(s, 1, now);
  db_bind_int(s, 2, ENGINE_JOB_WAIT_MS_MAX);
  return s;
}

static enum kpi_code list_due(struct db_conn *c, int64_t now, struct engine_jobs *out, struct err *err) {
  sqlite3_stmt *s = prepare_due(c,
                                "SELECT owner, number, spec_sha256, job_id, given_up_at, failed_tries FROM"
                                " engine_jobs WHERE stage = 'given_up' AND stage <> 'over' AND " DUE
                                " ORDER BY next_try_at LIMIT ?3",
                                now);
  db_bind_int(s, 3, ENGINE_JOBS_AT_ONCE);
  int step = SQLITE_ERROR;
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct engine_job *job = &out->at[out->count++];
    const int64_t given_up_at = sqlite3_column_int64(s, 4);
    view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), job->owner, sizeof job->owner);
    read_job(s, 1, &job->job);
    job->age_ms = given_up_at <= now ? now - given_up_at : INT64_MAX;
    job->failed_tries = (uint32_t)sqlite3_column_int64(s, 5);
  }
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code count_others(struct db_conn *c, int64_t now, struct engine_jobs *out, struct err *err) {
  sqlite3_stmt *s = prepare_due(c,
                                "SELECT total(stage = 'handed'), min(iif(stage = 'given_up' AND NOT " DUE
                                ", next_try_at, NULL)) FROM engine_jobs WHERE stage <> 'over'",
                                now);
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  out->handed = (uint64_t)sqlite3_column_int64(s, 0);
  const bool is_last = out->count < ENGINE_JOBS_AT_ONCE;
  const bool waits = sqlite3_column_type(s, 1) != SQLITE_NULL;
  out->next_ms = !is_last ? 0 : waits ? sqlite3_column_int64(s, 1) - now : ENGINE_JOBS_NEVER;
  sqlite3_reset(s);
  return KPI_OK;
}

static enum kpi_code do_to_end(struct db_conn *c, void *arg, struct err *err) {
  struct engine_jobs *out = arg;
  const int64_t now = clock_wall_ms();
  *out = (struct engine_jobs){0};
  enum kpi_code rc = give_up_unwanted(c, now, err);
  if (rc == KPI_OK)
    rc = list_due(c, now, out, err);
  return rc ? rc : count_others(c, now, out, err);
}

enum kpi_code engine_job_store_to_end(struct db *db, struct engine_jobs *out, struct err *err) {
  return db_call(db, DB_NORMAL, do_to_end, out, err);
}

struct defer_call {
  const struct engine_job *job;
  int64_t wait_ms;
};

static enum kpi_code do_defer(struct db_conn *c, void *arg, struct err *err) {
  const struct defer_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "UPDATE engine_jobs SET next_try_at = ?3, failed_tries = ?4"
                                    " WHERE owner = ?1 AND number = ?2 AND stage = 'given_up'");
  db_bind_text(s, 1, call->job->owner);
  db_bind_int(s, 2, call->job->job.number);
  db_bind_int(s, 3, clock_wall_ms() + call->wait_ms);
  db_bind_int(s, 4, call->job->failed_tries);
  return db_run(c, s, err);
}

enum kpi_code engine_job_store_defer(struct db *db, const struct engine_job *job, int64_t wait_ms,
                                     struct err *err) {
  struct defer_call call = {job, wait_ms};
  return db_call(db, DB_NORMAL, do_defer, &call, err);
}

static enum kpi_code do_over(struct db_conn *c, void *arg, struct err *err) {
  const struct job_call *call = arg;
  sqlite3_stmt *s = db_statement(c, "UPDATE engine_jobs SET stage = 'over' WHERE owner = ?1 AND number = ?2");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->number);
  return db_run(c, s, err);
}

enum kpi_code engine_job_store_over(struct db *db, const char *owner, uint32_t number, struct err *err) {
  struct job_call call = {.owner = owner, .number = number};
  return db_call(db, DB_NORMAL, do_over, &call, err);
}
