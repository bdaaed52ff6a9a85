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
  sqlite3_stmt *s = db_statement(c, "SELECT number, spec_sha256, job_id, stage = 'handed' FROM engine_jobs"
                                    " WHERE owner = ?1 ORDER BY number DESC LIMIT 1");
  db_bind_text(s, 1, call->owner);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  read_job(s, 0, call->out);
  call->found = sqlite3_column_int(s, 3) != 0;
  if (!call->found)
    *call->out = (struct handed_job){.number = call->out->number};
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

static enum kpi_code do_keep(struct db_conn *c, void *arg, struct err *err) {
  const struct job_call *call = arg;
  sqlite3_stmt *s =
      db_statement(c, "INSERT INTO engine_jobs (owner, number, stage, spec_sha256, job_id, created_at)"
                      " VALUES (?1, ?2, 'handed', ?3, nullif(?4, ''), ?5)"
                      " ON CONFLICT DO UPDATE SET spec_sha256 = ?3, job_id = nullif(?4, '')");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->job->number);
  db_bind_text(s, 3, call->job->spec_sha256);
  db_bind_text(s, 4, call->job->id);
  db_bind_int(s, 5, clock_wall_ms());
  enum kpi_code rc = db_run(c, s, err);
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    s = db_statement(c, "UPDATE runs SET engine_job_owner = ?2 WHERE id = ?1 AND engine_job_owner IS NOT ?2");
    db_bind_text(s, 1, call->run_ids[i]);
    db_bind_text(s, 2, call->owner);
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code engine_job_store_keep(struct db *db, const char *owner, const struct handed_job *job,
                                    const char *const *run_ids, size_t count, struct err *err) {
  struct job_call call = {.owner = owner, .job = job, .run_ids = run_ids, .count = count};
  return db_call(db, DB_NORMAL, do_keep, &call, err);
}

/* ---- ending ---- */

/* A run gives up its own claim only: others may have come to follow the job. One that is over already, though
 * its id was not known then, is ended once more. */
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
                   "UPDATE engine_jobs SET stage = 'given_up', job_id = coalesce(nullif(?3, ''), job_id)"
                   " WHERE owner = ?1 AND number = ?2 AND (stage <> 'over' OR (job_id IS NULL AND ?3 <> ''))"
                   " AND NOT EXISTS (SELECT 1 FROM runs WHERE"
                   " engine_job_owner = ?1 AND state IN " ACTIVE_STATES ")");
  db_bind_text(s, 1, call->owner);
  db_bind_int(s, 2, call->job->number);
  db_bind_text(s, 3, call->job->id);
  return db_run(c, s, err);
}

enum kpi_code engine_job_store_give_up(struct db *db, const char *owner, const struct handed_job *job,
                                       const char *const *run_ids, size_t count, struct err *err) {
  struct job_call call = {.owner = owner, .job = job, .run_ids = run_ids, .count = count};
  return db_call(db, DB_MUST_LAND, do_give_up, &call, err);
}

struct to_end_call {
  struct engine_job *jobs;
  size_t count;
  uint64_t handed;
};

static enum kpi_code give_up_unwanted(struct db_conn *c, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "UPDATE engine_jobs SET stage = 'given_up' WHERE stage = 'handed' AND NOT EXISTS (SELECT 1 FROM runs"
         " WHERE engine_job_owner = engine_jobs.owner AND state IN " ACTIVE_STATES
         ") AND NOT EXISTS (SELECT 1 FROM backfills WHERE id = engine_jobs.owner AND discovery IN ('queued',"
         " 'running'))");
  return s ? db_run(c, s, err) : db_failure(c, err);
}

static enum kpi_code do_to_end(struct db_conn *c, void *arg, struct err *err) {
  struct to_end_call *call = arg;
  enum kpi_code rc = give_up_unwanted(c, err);
  if (rc)
    return rc;
  sqlite3_stmt *s = db_statement(c, "SELECT owner, number, spec_sha256, job_id FROM engine_jobs"
                                    " WHERE stage = 'given_up' ORDER BY random() LIMIT ?1");
  db_bind_int(s, 1, ENGINE_JOBS_AT_ONCE);
  int step = SQLITE_ERROR;
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct engine_job *job = &call->jobs[call->count++];
    view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), job->owner, sizeof job->owner);
    read_job(s, 1, &job->job);
  }
  if (step != SQLITE_DONE)
    return db_failure(c, err);
  s = db_statement(c, "SELECT count(*) FROM engine_jobs WHERE stage = 'handed'");
  if (!s || sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  call->handed = (uint64_t)sqlite3_column_int64(s, 0);
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code engine_job_store_to_end(struct db *db, struct engine_job jobs[ENGINE_JOBS_AT_ONCE],
                                      size_t *count, uint64_t *handed, struct err *err) {
  struct to_end_call call = {.jobs = jobs};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_to_end, &call, err);
  *count = rc ? 0 : call.count;
  *handed = call.handed;
  return rc;
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
