/* SPDX-License-Identifier: MIT
 * The reaper: jobs of a cluster that nobody waits for are ended, in whatever state their cluster is. */
#include "server/engine_reaper.h"

#include "base/log.h"
#include "pipeline/engine.h"

#include "engine_jobs.h"

#include <fcntl.h>
#include <time.h>

/* Counts the lines of an event in a log, and closes it. */
static size_t lines_of(int log, const char *event) {
  char bytes[8192] = {0};
  size_t lines = 0;
  assert_in_range(pread(log, bytes, sizeof bytes, 0), 0, sizeof bytes - 1);
  close(log);
  for (const char *at = bytes; (at = strstr(at, event)); at++)
    lines++;
  return lines;
}

static int open_log(void) {
  char name[96];
  snprintf(name, sizeof name, "%s/log", folder);
  const int log = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  assert_true(log >= 0);
  log_init(LOG_WARN, log);
  return log;
}

/* An engine of which the jobs are over when they are asked for a second time, unless their cluster is away.
 */
static struct {
  int times;
  bool is_away;
  int64_t away_ms;             /* so long it takes to find that out */
  int64_t age_ms;              /* of the last job */
  char id[ENGINE_JOB_ID_SIZE]; /* of the last one */
} cluster;

static enum kpi_code discard(struct engine *e, const struct unwanted_job *job, const struct stop_flag *stop,
                             bool *over, struct err *err) {
  (void)e;
  (void)stop;
  cluster.times++;
  cluster.age_ms = job->age_ms;
  view_to_cstr(view_of(job->job->id), cluster.id, sizeof cluster.id);
  if (cluster.is_away && cluster.away_ms)
    nanosleep(&(struct timespec){.tv_nsec = cluster.away_ms * 1000000L}, NULL);
  if (cluster.is_away)
    return err_set(err, KPI_ENGINE_UNAVAILABLE, "away");
  *over = !job->job->id[0] || cluster.times > 1;
  return KPI_OK;
}

static const struct engine_vtable reaped_vtable = {.discard = discard};
static struct engine reaped_engine = {&reaped_vtable};

/* Looks once. Returns after how many ms something is to be done. */
static int64_t reap(uint64_t expected_handed) {
  const struct stop_flag stop = {0};
  const struct reaping with = {.db = db, .engine = &reaped_engine};
  struct reaped reaped;
  struct err err = {0};
  if (engine_reap(&with, &stop, &reaped, &err))
    fail_msg("%s", err.message);
  assert_int_equal(reaped.handed, expected_handed);
  return reaped.next_ms;
}

/* All that is put off is to be done now. */
static void let_time_pass(void) {
  run_sql("UPDATE engine_jobs SET next_try_at = 1");
}

static void reaper_goes_on_until_each_job_is_over(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  cluster.times = 0;
  cluster.is_away = false;
  submit(1, ENGINE_SPARK, run);
  keep(run, 1, "job-1", runs, 1); /* is waited for */
  keep(STRANGER, 1, "job-2", NULL, 0);
  assert_int_equal(reap(1), 500);
  assert_in_range(reap(1), 1, 500); /* nothing yet */
  assert_int_equal(cluster.times, 1);
  let_time_pass();
  assert_int_equal(reap(1), ENGINE_JOBS_NEVER);
  assert_int_equal(cluster.times, 2);
  assert_in_range(cluster.age_ms, 0, 60 * 1000);
}

/* Its cluster may come back, or be gone for ever. */
static void job_that_cannot_be_ended_is_tried_and_told_of_ever_less(void **state) {
  (void)state;
  static const int64_t waits[] = {500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
  const int log = open_log();
  cluster.times = 0;
  cluster.is_away = true;
  keep(STRANGER, 1, "job-1", NULL, 0);
  for (size_t i = 0; i < COUNT_OF(waits); i++) {
    assert_int_equal(reap(0), waits[i]);
    let_time_pass();
  }
  cluster.is_away = false;
  assert_int_equal(reap(0), ENGINE_JOBS_NEVER);
  log_init(LOG_ERROR, STDERR_FILENO);
  assert_int_equal(lines_of(log, "engine.job_not_ended"),
                   4); /* of the first, second, fourth and eighth failure */
}

/* A job that was given up so many hours ago, and could not be ended so many times. */
static void keep_failing(uint32_t number, int hours, int tries) {
  char sql[160];
  keep(STRANGER, number, "job-1", NULL, 0);
  assert_int_equal(list_to_end(0), 1);
  snprintf(sql, sizeof sql,
           "UPDATE engine_jobs SET given_up_at = given_up_at - %d * 3600000 - 1000, failed_tries = %d"
           " WHERE number = %u",
           hours, tries, number);
  run_sql(sql);
}

static void job_that_cannot_be_ended_for_a_day_is_abandoned_by_name(void **state) {
  (void)state;
  static const struct {
    int hours, tries;
    int64_t wait_ms;
  } cases[] = {{0, 200, 60 * 1000},
               {2, 200, 120 * 1000},
               {23, 200, 23 * 60 * 1000},
               {40, 50, 30 * 60 * 1000}, /* the clock was set, or nobody has been there to try */
               {24, 200, ENGINE_JOBS_NEVER}};
  const int log = open_log();
  cluster.is_away = true;
  for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
    keep_failing(i + 1, cases[i].hours, cases[i].tries);
    const int64_t wait_ms = reap(0);
    const int64_t least = cases[i].wait_ms == ENGINE_JOBS_NEVER ? 0 : 100;
    assert_in_range(wait_ms, cases[i].wait_ms, cases[i].wait_ms + least);
    run_sql("UPDATE engine_jobs SET stage = 'over'");
  }
  log_init(LOG_ERROR, STDERR_FILENO);
  assert_int_equal(lines_of(log, "engine.job_abandoned"), 1);
}

static void job_that_was_abandoned_is_tried_no_more(void **state) {
  (void)state;
  cluster.times = 0;
  cluster.is_away = true;
  keep_failing(1, 24, 200);
  assert_int_equal(reap(0), ENGINE_JOBS_NEVER);
  let_time_pass();
  assert_int_equal(reap(0), ENGINE_JOBS_NEVER);
  assert_int_equal(cluster.times, 1);
  assert_found(STRANGER, false, 0, "");
}

static void jobs_that_take_long_to_fail_let_new_ones_go_before(void **state) {
  (void)state;
  cluster.times = 0;
  cluster.is_away = true;
  cluster.away_ms = 600;
  keep(STRANGER, 1, "old-1", NULL, 0);
  keep(STRANGER, 2, "old-2", NULL, 0);
  assert_int_equal(list_to_end(0), 2);
  let_time_pass();
  assert_int_equal(reap(0), 0);
  assert_int_equal(cluster.times, 1);
  keep(STRANGER, 3, "new", NULL, 0);
  assert_int_equal(reap(0), 0);
  assert_string_equal(cluster.id, "new");
  assert_int_equal(reap(0), 0);
  assert_string_equal(cluster.id, "old-2");
  assert_int_equal(cluster.times, 3);
  cluster.away_ms = 0;
}

static void job_without_an_id_is_ended_again_when_it_has_had_time_to_begin(void **state) {
  (void)state;
  cluster.times = 0;
  cluster.is_away = false;
  keep(STRANGER, 1, "", NULL, 0);
  assert_in_range(reap(0), 500, 2000); /* it may come late */
  assert_int_equal(cluster.times, 1);
  let_time_pass();
  run_sql("UPDATE engine_jobs SET given_up_at = given_up_at - 61000");
  assert_int_equal(reap(0), ENGINE_JOBS_NEVER);
  assert_int_equal(cluster.times, 2);
  assert_int_equal(list_to_end(0), 0);
}

/* The thread is told of nothing: it has to find out by itself that the table can be read again. */
static void database_that_fails_is_told_of_once_until_it_works_again(void **state) {
  (void)state;
  const int log = open_log();
  cluster.times = 1;
  cluster.is_away = false;
  keep(STRANGER, 1, "job-1", NULL, 0);
  run_sql("ALTER TABLE engine_jobs RENAME TO away");
  const struct reaping with = {.db = db, .engine = &reaped_engine};
  struct engine_reaper *reaper = engine_reaper_new(&with);
  assert_non_null(reaper);
  nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 800 * 1000 * 1000}, NULL); /* three looks */
  run_sql("ALTER TABLE away RENAME TO engine_jobs");
  engine_reaper_wake(reaper);
  for (int i = 0; i < 500 && list_to_end(0) > 0; i++)
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
  engine_reaper_free(reaper);
  log_init(LOG_ERROR, STDERR_FILENO);
  assert_int_equal(list_to_end(0), 0);
  assert_int_equal(lines_of(log, "engine.jobs_not_read"), 1);
}

#define DB_TEST(fn) cmocka_unit_test_setup_teardown(fn, open_db, close_db)

int main(void) {
  const struct CMUnitTest tests[] = {
      DB_TEST(reaper_goes_on_until_each_job_is_over),
      DB_TEST(job_that_cannot_be_ended_is_tried_and_told_of_ever_less),
      DB_TEST(job_that_cannot_be_ended_for_a_day_is_abandoned_by_name),
      DB_TEST(job_that_was_abandoned_is_tried_no_more),
      DB_TEST(jobs_that_take_long_to_fail_let_new_ones_go_before),
      DB_TEST(job_without_an_id_is_ended_again_when_it_has_had_time_to_begin),
      DB_TEST(database_that_fails_is_told_of_once_until_it_works_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
