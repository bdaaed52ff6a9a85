/* SPDX-License-Identifier: MIT
 * For unit tests of jobs of a cluster as the service keeps them: runs that hand them over, and what is to be
 * ended. */
#ifndef KPID_TESTS_ENGINE_JOBS_H
#define KPID_TESTS_ENGINE_JOBS_H

#include "server/engine_job_store.h"
#include "server/run_submit_store.h"

#include "unit_db.h"

#include <sqlite3.h>

#define STRANGER "01890000-0000-7000-8000-000000000000"

static inline enum kpi_code do_sql(struct db_conn *c, void *arg, struct err *err) {
  return sqlite3_exec(c->sqlite, arg, NULL, NULL, NULL) == SQLITE_OK ? KPI_OK : db_failure(c, err);
}

static inline void run_sql(const char *sql) {
  struct err err = {0};
  if (db_call(db, DB_NORMAL, do_sql, (void *)(uintptr_t)sql, &err))
    fail_msg("%s", err.message);
}

static inline struct handed_job job_of(uint32_t number, const char *id) {
  struct handed_job job = {.number = number};
  snprintf(job.spec_sha256, sizeof job.spec_sha256, "spec %u", number);
  snprintf(job.id, sizeof job.id, "%s", id);
  return job;
}

static inline void submit(int day, enum engine_kind engine, char id[UUID_TEXT_SIZE]) {
  const struct run_request request = {.date = day, .gate = GATE_WARN, .engine = engine, .max_attempts = 2};
  const struct submit_policy policy = {0};
  struct submitted done;
  struct err err;
  assert_int_equal(run_store_submit(db, &request, &policy, &defaults, &done, &err), KPI_OK);
  memcpy(id, done.run.id, UUID_TEXT_SIZE);
  run_clear(&done.run);
}

static inline void keep(const char *owner, uint32_t number, const char *id, const char *const *runs,
                        size_t count) {
  const struct handed_job job = job_of(number, id);
  struct err err = {0};
  uint32_t begun;
  if (engine_job_store_begin(db, owner, runs, count, &begun, &err) ||
      engine_job_store_keep(db, owner, &job, &err))
    fail_msg("%s", err.message);
  assert_int_equal(begun, number);
}

static inline void assert_found(const char *owner, bool expected, uint32_t number, const char *id) {
  struct handed_job found;
  struct err err;
  bool is_found;
  const struct handed_job wanted = job_of(number, id);
  assert_int_equal(engine_job_store_find(db, owner, &found, &is_found, &err), KPI_OK);
  assert_int_equal(is_found, expected);
  assert_int_equal(found.number, number);
  assert_string_equal(found.id, expected ? id : "");
  assert_string_equal(found.spec_sha256, expected ? wanted.spec_sha256 : "");
}

static struct engine_jobs jobs;
static struct engine_job *const to_end = jobs.at;

static inline size_t list_to_end(uint64_t expected_handed) {
  struct err err;
  assert_int_equal(engine_job_store_to_end(db, &jobs, &err), KPI_OK);
  assert_int_equal(jobs.handed, expected_handed);
  return jobs.count;
}

#endif
