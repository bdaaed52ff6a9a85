/* SPDX-License-Identifier: MIT
 * Jobs of a cluster as the service keeps them: which is gone on with, who waits for it, when nobody does. And
 * which engine a run is given. */
#include "pipeline/engine.h"
#include "server/backfill_submit_store.h"
#include "server/run_hand_off.h"

#include "engine_jobs.h"

/* ---- bench ---- */

/* Claims what can be computed together. Returns the number of runs; their ids one after the other in `ids`.
 */
static size_t claim(char ids[][UUID_TEXT_SIZE], size_t most) {
  const struct claim_filter filter = {.priority = PRIORITY_DAY};
  struct run_list list;
  struct err err;
  assert_int_equal(run_store_claim_together(db, "boot", &filter, &defaults, &list, &err), KPI_OK);
  const size_t count = list.count;
  assert_true(count <= most);
  for (size_t i = 0; i < count; i++)
    memcpy(ids[i], list.runs[i].id, UUID_TEXT_SIZE);
  run_list_clear(&list);
  return count;
}

static enum run_state end(const char *id, enum run_state state, bool is_retryable) {
  const struct run_end e = {.id = id,
                            .state = state,
                            .is_retryable = is_retryable,
                            .error_json = "{\"code\":\"engine_failed\"}",
                            .error_code = "engine_failed"};
  enum run_state ended;
  struct err err;
  assert_int_equal(run_store_finish(db, &e, &ended, &err), KPI_OK);
  return ended;
}

/* By the run of that id, or the backfill. */
static void give_up_of(const char *owner, const struct handed_job *job, const char *run) {
  struct err err;
  const char *const runs[] = {run};
  assert_int_equal(engine_job_store_give_up(db, owner, job, runs, 1, &err), KPI_OK);
}

static void give_up(const char *owner, uint32_t number) {
  const struct handed_job job = {.number = number};
  give_up_of(owner, &job, owner);
}

static void assert_waits_for(const char *run, const char *owner) {
  struct run now;
  struct err err;
  assert_int_equal(run_store_get(db, view_of(run), &now, &err), KPI_OK);
  assert_string_equal(now.engine_job_owner ? now.engine_job_owner : "", owner);
  run_clear(&now);
}

/* ---- finding ---- */

static void job_is_found_with_all_that_is_known_of_it(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  const struct handed_job known = job_of(1, "job-1");
  struct err err;
  submit(1, ENGINE_SPARK, run);
  assert_found(run, false, 0, "");
  keep(run, 1, "", runs, 1);
  assert_found(run, true, 1, "");
  assert_int_equal(engine_job_store_keep(db, run, &known, &err), KPI_OK);
  assert_found(run, true, 1, "job-1");
  assert_found(STRANGER, false, 0, "");
}

/* Those that wait for one job may come to replace it at the same time. */
static void jobs_that_begin_after_the_same_find_have_numbers_of_their_own(void **state) {
  (void)state;
  char ids[2][UUID_TEXT_SIZE];
  const char *const runs[] = {ids[0], ids[1]};
  struct run_hand_off both[2];
  struct handed_job found;
  struct err err;
  bool is_found;
  uint32_t numbers[2];
  submit(1, ENGINE_SPARK, ids[0]);
  submit(2, ENGINE_SPARK, ids[1]);
  keep(ids[0], 1, "job-1", runs, 2);
  for (size_t i = 0; i < 2; i++) {
    run_hand_off_init(&both[i], db, NULL, ids[0], true, &runs[i], 1);
    assert_int_equal(both[i].base.find(both[i].base.arg, &found, &is_found, &err), KPI_OK);
    assert_true(is_found);
  }
  for (size_t i = 0; i < 2; i++)
    assert_int_equal(both[i].base.begin(both[i].base.arg, &numbers[i], &err), KPI_OK);
  assert_int_equal(numbers[0], 2);
  assert_int_equal(numbers[1], 3);
}

/* The reaper may come before more is known of it. */
static void job_that_has_just_begun_is_waited_for(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  struct err err;
  uint32_t number;
  submit(1, ENGINE_SPARK, run);
  assert_int_equal(engine_job_store_begin(db, run, runs, 1, &number, &err), KPI_OK);
  assert_waits_for(run, run);
  assert_int_equal(list_to_end(1), 0);
}

static void of_a_job_that_was_given_up_the_number_stays(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  struct err err;
  submit(1, ENGINE_SPARK, run);
  keep(run, 1, "job-1", runs, 1);
  give_up(run, 1);
  assert_found(run, false, 0, "");
  keep(run, 2, "job-2", runs, 1);
  assert_found(run, true, 2, "job-2");
  give_up(run, 1); /* once more, which says nothing of the other */
  assert_found(run, true, 2, "job-2");
  give_up(run, 2);
  assert_int_equal(engine_job_store_over(db, run, 2, &err), KPI_OK);
  assert_found(run, false, 0, "");
  give_up(run, 2); /* nor does it bring a job back that is over */
  assert_int_equal(list_to_end(0), 1);
  assert_int_equal(to_end[0].job.number, 1);
}

static void a_job_that_others_follow_is_not_given_up(void **state) {
  (void)state;
  char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
  const char *const runs[] = {first, second};
  const struct handed_job job = job_of(1, "job-1");
  submit(1, ENGINE_SPARK, first);
  submit(2, ENGINE_SPARK, second);
  keep(first, 1, "job-1", runs, 2);
  give_up_of(first, &job, first);
  assert_waits_for(first, "");
  assert_waits_for(second, first);
  assert_found(first, true, 1, "job-1");
  assert_int_equal(list_to_end(1), 0);
  give_up_of(first, &job, second);
  assert_int_equal(list_to_end(0), 1);
}

/* The cluster has answered a minute after the job was given up: the id is kept, or that could not be done and
 * it comes with what gives the job up once more. */
static void a_job_whose_id_comes_late_is_ended_all_the_same(void **state) {
  (void)state;
  for (int can_be_kept = 0; can_be_kept < 2; can_be_kept++) {
    char run[UUID_TEXT_SIZE];
    const char *const runs[] = {run};
    const struct handed_job job = job_of(1, "job-1");
    struct err err;
    submit(1 + can_be_kept, ENGINE_SPARK, run);
    keep(run, 1, "", runs, 1);
    give_up(run, 1);
    assert_int_equal(engine_job_store_over(db, run, 1, &err), KPI_OK);
    assert_int_equal(list_to_end(0), 0);
    if (can_be_kept)
      assert_int_equal(engine_job_store_keep(db, run, &job, &err), KPI_OK);
    else
      give_up_of(run, &job, run);
    assert_int_equal(list_to_end(0), 1);
    assert_string_equal(to_end[0].job.id, "job-1");
    assert_in_range(to_end[0].age_ms, 0, 60 * 1000);
    assert_int_equal(engine_job_store_over(db, run, 1, &err), KPI_OK);
    assert_int_equal(engine_job_store_keep(db, run, &job, &err), KPI_OK); /* says nothing new */
    give_up_of(run, &job, run);
    assert_int_equal(list_to_end(0), 0);
  }
}

static void a_run_without_claim_leaves_the_job_to_others(void **state) {
  (void)state;
  char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
  const char *const runs[] = {first, second}, *const own[] = {first};
  struct run_hand_off h;
  struct handed_job found, own_job = job_of(1, "job-2");
  struct err err;
  bool is_found;
  uint32_t number;
  submit(1, ENGINE_SPARK, first);
  submit(2, ENGINE_SPARK, second);
  keep(first, 1, "job-1", runs, 2);
  run_hand_off_init(&h, db, NULL, first, false, own, 1);
  assert_int_equal(h.base.find(h.base.arg, &found, &is_found, &err), KPI_OK);
  assert_false(is_found);
  assert_int_equal(found.number, 0);
  assert_string_not_equal(h.base.owner, first);
  assert_int_equal(h.base.begin(h.base.arg, &number, &err), KPI_OK);
  assert_int_equal(number, 1);
  assert_int_equal(h.base.keep(h.base.arg, &own_job, &err), KPI_OK);
  assert_int_equal(h.base.find(h.base.arg, &found, &is_found, &err), KPI_OK);
  assert_true(is_found);
  assert_string_equal(found.id, "job-2");
  assert_waits_for(first, h.base.owner);
  /* The others go on; their job is no reason to keep that one. */
  h.base.give_up(h.base.arg, &own_job);
  assert_int_equal(list_to_end(1), 1);
  assert_string_equal(to_end[0].job.id, "job-2");
  run_hand_off_init(&h, db, NULL, first, true, runs, 2);
  assert_int_equal(h.base.find(h.base.arg, &found, &is_found, &err), KPI_OK);
  assert_true(is_found);
  assert_string_equal(found.id, "job-1");
}

static void the_engine_is_given_what_is_stored(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  struct run_hand_off h;
  struct handed_job found, job = job_of(1, "job-1");
  struct err err;
  bool is_found;
  uint32_t number;
  submit(1, ENGINE_SPARK, run);
  run_hand_off_init(&h, db, NULL, run, false, runs, 1);
  assert_string_equal(h.base.owner, run);
  assert_int_equal(h.base.begin(h.base.arg, &number, &err), KPI_OK);
  assert_int_equal(number, 1);
  assert_int_equal(h.base.keep(h.base.arg, &job, &err), KPI_OK);
  assert_waits_for(run, run);
  assert_int_equal(h.base.find(h.base.arg, &found, &is_found, &err), KPI_OK);
  assert_true(is_found);
  assert_string_equal(found.id, "job-1");
  h.base.give_up(h.base.arg, &job);
  assert_found(run, false, 0, "");
  assert_waits_for(run, "");
}

/* ---- ending ---- */

static void job_is_to_be_ended_when_no_run_waits_for_it(void **state) {
  (void)state;
  static const enum run_state ends[] = {RUN_SUCCEEDED, RUN_FAILED, RUN_CANCELLED};
  for (size_t i = 0; i < COUNT_OF(ends); i++) {
    char ids[2][UUID_TEXT_SIZE];
    const char *const runs[] = {ids[0], ids[1]};
    struct err err;
    submit(1 + 2 * (int)i, ENGINE_SPARK, ids[0]);
    submit(2 + 2 * (int)i, ENGINE_SPARK, ids[1]);
    keep(ids[0], 1, "job-1", runs, 2);
    assert_int_equal(list_to_end(1), 0); /* queued */
    assert_int_equal(claim(ids, 2), 2);
    assert_int_equal(list_to_end(1), 0); /* running */
    assert_int_equal(end(ids[0], RUN_SUCCEEDED, false), RUN_SUCCEEDED);
    assert_int_equal(list_to_end(1), 0); /* of the other one, too */
    assert_int_equal(end(ids[1], ends[i], false), ends[i]);
    assert_int_equal(list_to_end(0), 1);
    assert_string_equal(to_end[0].owner, ids[0]);
    assert_string_equal(to_end[0].job.id, "job-1");
    assert_int_equal(list_to_end(0), 1); /* until it is over */
    assert_int_equal(engine_job_store_over(db, ids[0], 1, &err), KPI_OK);
    assert_int_equal(list_to_end(0), 0);
  }
}

static void run_that_is_to_try_again_waits_for_its_job(void **state) {
  (void)state;
  char ids[1][UUID_TEXT_SIZE];
  const char *const runs[] = {ids[0]};
  struct run cancelled;
  struct err err;
  submit(1, ENGINE_SPARK, ids[0]);
  keep(ids[0], 1, "job-1", runs, 1);
  assert_int_equal(claim(ids, 1), 1);
  assert_int_equal(end(ids[0], RUN_FAILED, true), RUN_RETRY_WAIT);
  assert_int_equal(list_to_end(1), 0);
  assert_int_equal(run_store_cancel(db, view_of(ids[0]), &cancelled, &err), KPI_OK);
  run_clear(&cancelled);
  assert_int_equal(list_to_end(0), 1);
}

static void job_that_was_given_up_is_to_be_ended_though_its_run_goes_on(void **state) {
  (void)state;
  char ids[1][UUID_TEXT_SIZE];
  const char *const runs[] = {ids[0]};
  submit(1, ENGINE_SPARK, ids[0]);
  keep(ids[0], 1, "job-1", runs, 1);
  assert_int_equal(claim(ids, 1), 1);
  give_up(ids[0], 1);
  keep(ids[0], 2, "", runs, 1);
  assert_int_equal(list_to_end(1), 1);
  assert_int_equal(to_end[0].job.number, 1);
}

static void search_of_a_backfill_waits_for_its_job(void **state) {
  (void)state;
  static const enum discovery ends[] = {DISCOVERY_FAILED, DISCOVERY_CANCELLED};
  const struct run_request run = {.engine = ENGINE_SPARK, .labels_json = VIEW_LIT("{}")};
  const struct backfill_request request = {.run = &run, .reprocess = REPROCESS_ALL};
  const struct submit_policy policy = {0};
  for (size_t i = 0; i < COUNT_OF(ends); i++) {
    struct backfill made, claimed;
    enum disposition disposition;
    struct err err;
    bool found;
    assert_int_equal(backfill_store_submit(db, &request, &policy, &defaults, &made, &disposition, &err),
                     KPI_OK);
    keep(made.id, 1, "job-1", NULL, 0);
    assert_int_equal(list_to_end(1), 0);
    assert_int_equal(backfill_store_claim(db, "boot", &claimed, &found, &err), KPI_OK);
    assert_true(found);
    assert_int_equal(list_to_end(1), 0);
    assert_found(made.id, true, 1, "job-1");
    const struct search_end e = {.id = made.id, .how = ends[i], .error_json = "{}"};
    assert_int_equal(backfill_store_not_found(db, &e, &err), KPI_OK);
    assert_int_equal(list_to_end(0), 1);
    assert_string_equal(to_end[0].owner, made.id);
    assert_int_equal(engine_job_store_over(db, made.id, 1, &err), KPI_OK);
    backfill_clear(&made);
    backfill_clear(&claimed);
  }
}

static void many_jobs_are_listed_by_and_by(void **state) {
  (void)state;
  struct err err;
  for (uint32_t number = 1; number <= ENGINE_JOBS_AT_ONCE + 3; number++)
    keep(STRANGER, number, "", NULL, 0);
  assert_int_equal(list_to_end(0), ENGINE_JOBS_AT_ONCE);
  assert_int_equal(jobs.next_ms, 0);
  for (size_t i = 0; i < ENGINE_JOBS_AT_ONCE; i++)
    assert_int_equal(engine_job_store_over(db, STRANGER, to_end[i].job.number, &err), KPI_OK);
  assert_int_equal(list_to_end(0), 3);
  assert_int_equal(jobs.next_ms, ENGINE_JOBS_NEVER);
}

static void job_that_is_put_off_makes_room_for_others(void **state) {
  (void)state;
  struct err err;
  keep(STRANGER, 1, "job-1", NULL, 0);
  assert_int_equal(list_to_end(0), 1);
  to_end[0].failed_tries = 7;
  assert_int_equal(engine_job_store_defer(db, &to_end[0], 40 * 1000, &err), KPI_OK);
  assert_int_equal(list_to_end(0), 0);
  assert_in_range(jobs.next_ms, 30 * 1000, 40 * 1000);
  keep(STRANGER, 2, "job-2", NULL, 0);
  assert_int_equal(list_to_end(0), 1);
  assert_int_equal(to_end[0].job.number, 2);
  assert_int_equal(to_end[0].failed_tries, 0);
  run_sql("UPDATE engine_jobs SET next_try_at = next_try_at - 50000");
  assert_int_equal(list_to_end(0), 2);
  assert_int_equal(to_end[1].failed_tries, 7);
  run_sql("UPDATE engine_jobs SET next_try_at = next_try_at + 3600000"); /* the clock was set back */
  assert_int_equal(list_to_end(0), 2);
}

/* ---- claiming ---- */

static void runs_of_a_job_are_claimed_together_and_apart_from_others(void **state) {
  (void)state;
  char ids[5][UUID_TEXT_SIZE], claimed[5][UUID_TEXT_SIZE];
  for (int i = 0; i < 5; i++)
    submit(1 + i, i == 4 ? ENGINE_NATIVE : ENGINE_SPARK, ids[i]);
  const char *const of_job[] = {ids[1], ids[3]};
  keep(ids[1], 1, "job-1", of_job, COUNT_OF(of_job));
  assert_int_equal(claim(claimed, 5), 2);
  assert_string_equal(claimed[0], ids[0]);
  assert_string_equal(claimed[1], ids[2]);
  assert_int_equal(claim(claimed, 5), 2);
  assert_string_equal(claimed[0], ids[1]);
  assert_string_equal(claimed[1], ids[3]);
  assert_waits_for(claimed[1], ids[1]);
  assert_int_equal(claim(claimed, 5), 1);
  assert_string_equal(claimed[0], ids[4]);
  assert_int_equal(claim(claimed, 5), 0);
}

/* After a drain they are queued again, whoever has owned the job. */
static void runs_of_a_job_come_back_together_without_its_owner(void **state) {
  (void)state;
  char ids[3][UUID_TEXT_SIZE], other[UUID_TEXT_SIZE], claimed[4][UUID_TEXT_SIZE];
  const char *const runs[] = {ids[0], ids[1], ids[2]};
  for (int i = 0; i < 3; i++)
    submit(1 + i, ENGINE_SPARK, ids[i]);
  assert_int_equal(claim(claimed, 4), 3);
  keep(ids[0], 1, "job-1", runs, 3);
  submit(9, ENGINE_SPARK, other);
  assert_int_equal(end(ids[0], RUN_CANCELLED, false), RUN_CANCELLED);
  for (int i = 1; i < 3; i++)
    assert_int_equal(end(ids[i], RUN_QUEUED, false), RUN_QUEUED);
  assert_int_equal(claim(claimed, 4), 2);
  assert_string_equal(claimed[0], ids[1]);
  assert_string_equal(claimed[1], ids[2]);
  assert_int_equal(list_to_end(1), 0);
  assert_found(ids[0], true, 1, "job-1");
}

static void after_a_job_was_given_up_its_runs_are_as_others(void **state) {
  (void)state;
  char ids[3][UUID_TEXT_SIZE], claimed[3][UUID_TEXT_SIZE];
  const char *const of_job[] = {ids[0], ids[1]};
  for (int i = 0; i < 3; i++)
    submit(1 + i, ENGINE_SPARK, ids[i]);
  keep(ids[0], 1, "job-1", of_job, COUNT_OF(of_job));
  give_up(ids[0], 1);
  give_up_of(ids[0], &(struct handed_job){.number = 1}, ids[1]);
  assert_int_equal(claim(claimed, 3), 3);
}

/* ---- choosing ---- */

static void auto_takes_spark_for_more_than_the_limit(void **state) {
  (void)state;
  struct engine native, spark;
  char why[ENGINE_REASON_SIZE];
  const struct engines both = {&native, &spark, 1000};
  static const struct {
    uint64_t bytes;
    enum engine_kind chosen;
    const char *why;
  } cases[] = {
      {999, ENGINE_NATIVE, "auto: 999 bytes of input are not more than KPI_NATIVE_MAX_BYTES, 1000"},
      {1000, ENGINE_NATIVE, "auto: 1000 bytes of input are not more than KPI_NATIVE_MAX_BYTES, 1000"},
      {1001, ENGINE_SPARK, "auto: 1001 bytes of input are more than KPI_NATIVE_MAX_BYTES, 1000"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    assert_int_equal(engines_choose(&both, ENGINE_AUTO, cases[i].bytes), cases[i].chosen);
    engines_explain(&both, ENGINE_AUTO, cases[i].bytes, why);
    assert_string_equal(why, cases[i].why);
  }
  engines_explain(&both, ENGINE_AUTO, UINT64_MAX, why);
  assert_non_null(strstr(why, "KPI_NATIVE_MAX_BYTES, 1000"));
}

static void what_is_asked_for_is_taken_whatever_there_is_to_read(void **state) {
  (void)state;
  struct engine native, spark, *got;
  struct err err;
  char why[ENGINE_REASON_SIZE];
  const struct engines both = {&native, &spark, 1000}, one = {&native, NULL, 1000};
  assert_int_equal(engines_choose(&both, ENGINE_SPARK, 1), ENGINE_SPARK);
  assert_int_equal(engines_choose(&both, ENGINE_NATIVE, 1001), ENGINE_NATIVE);
  engines_explain(&both, ENGINE_SPARK, 1, why);
  assert_string_equal(why, "spark is what was asked for");
  assert_int_equal(engines_get(&both, ENGINE_SPARK, &got, &err), KPI_OK);
  assert_ptr_equal(got, &spark);
  assert_int_equal(engines_get(&both, ENGINE_NATIVE, &got, &err), KPI_OK);
  assert_ptr_equal(got, &native);
  assert_int_equal(engines_choose(&one, ENGINE_AUTO, 1001), ENGINE_NATIVE);
  engines_explain(&one, ENGINE_AUTO, 1001, why);
  assert_string_equal(why, "auto: there is no Spark cluster, KPI_SPARK_KIND is not set");
  assert_int_equal(engines_choose(&one, ENGINE_SPARK, 1), ENGINE_SPARK);
  assert_int_equal(engines_get(&one, ENGINE_SPARK, &got, &err), KPI_ENGINE_UNAVAILABLE);
}

#define DB_TEST(fn) cmocka_unit_test_setup_teardown(fn, open_db, close_db)

int main(void) {
  const struct CMUnitTest tests[] = {
      DB_TEST(job_is_found_with_all_that_is_known_of_it),
      DB_TEST(jobs_that_begin_after_the_same_find_have_numbers_of_their_own),
      DB_TEST(job_that_has_just_begun_is_waited_for),
      DB_TEST(of_a_job_that_was_given_up_the_number_stays),
      DB_TEST(a_job_that_others_follow_is_not_given_up),
      DB_TEST(a_job_whose_id_comes_late_is_ended_all_the_same),
      DB_TEST(a_run_without_claim_leaves_the_job_to_others),
      DB_TEST(the_engine_is_given_what_is_stored),
      DB_TEST(job_is_to_be_ended_when_no_run_waits_for_it),
      DB_TEST(run_that_is_to_try_again_waits_for_its_job),
      DB_TEST(job_that_was_given_up_is_to_be_ended_though_its_run_goes_on),
      DB_TEST(search_of_a_backfill_waits_for_its_job),
      DB_TEST(many_jobs_are_listed_by_and_by),
      DB_TEST(job_that_is_put_off_makes_room_for_others),
      DB_TEST(runs_of_a_job_are_claimed_together_and_apart_from_others),
      DB_TEST(runs_of_a_job_come_back_together_without_its_owner),
      DB_TEST(after_a_job_was_given_up_its_runs_are_as_others),
      cmocka_unit_test(auto_takes_spark_for_more_than_the_limit),
      cmocka_unit_test(what_is_asked_for_is_taken_whatever_there_is_to_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
