/* SPDX-License-Identifier: MIT
 * How the Spark engine ends jobs that nobody waits for. */
#include "spark_bench.h"

#define FOLDER_OF(number) "kpi-runs/" OWNER "/" #number

static bool discard_after(struct bench *b, int64_t age_ms, enum kpi_code expected) {
  bool over = true;
  const struct handed_job job = b->kept;
  const struct unwanted_job unwanted = {OWNER, &job, age_ms};
  assert_int_equal(engine_discard(b->engine, &unwanted, NULL, &over, &b->err), expected);
  return over;
}

static bool discard(struct bench *b, enum kpi_code expected) {
  return discard_after(b, 0, expected);
}

static void running_job_is_cancelled_and_over_when_the_cluster_says_so(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->on_look = NULL;
  b->cancels_slowly = true;
  for (int times = 1; times <= 2; times++) {
    assert_false(discard(b, KPI_OK));
    assert_int_equal(b->cancels, times);
    assert_false(has_file(b, FOLDER_OF(1), "spec.json"));
  }
  leave(b, FOLDER_OF(1), "progress.json", "written until the end");
  b->jobs[0].state = SPARK_JOB_CANCELLED;
  assert_true(discard(b, KPI_OK));
  assert_false(has_file(b, FOLDER_OF(1), "progress.json"));
  assert_true(discard(b, KPI_OK)); /* and again */
  assert_int_equal(b->cancels, 2);
}

static void writes_at_the_last_moment(struct bench *b, struct fake_job *job, int nth) {
  (void)nth;
  leave(b, job->folder, "results/part-1.txt", "late");
}

static void job_that_is_over_leaves_nothing(void **state) {
  struct bench *b = *state;
  leave(b, FOLDER_OF(10), "spec.json", "of another number");
  assert_int_equal(compute(b), KPI_OK);
  b->on_look = writes_at_the_last_moment;
  assert_true(discard(b, KPI_OK));
  assert_false(has_file(b, FOLDER_OF(1), "manifest.json"));
  assert_false(has_file(b, FOLDER_OF(1), RESULTS_FILE));
  assert_false(has_file(b, FOLDER_OF(1), "results/part-1.txt"));
  assert_true(has_file(b, FOLDER_OF(10), "spec.json"));
  assert_int_equal(b->cancels, 0);
}

static void goes_on_closing(struct bench *b, struct fake_job *job, int nth) {
  succeed(b, job, nth);
  job->state = SPARK_JOB_RUNNING;
}

/* The cluster is to show a job as it has ended. */
static void job_that_has_left_its_results_is_let_close(void **state) {
  struct bench *b = *state;
  b->on_start = goes_on_closing;
  assert_int_equal(compute(b), KPI_OK);
  assert_false(discard_after(b, 0, KPI_OK));
  assert_false(discard_after(b, 19 * 1000, KPI_OK));
  assert_int_equal(b->cancels, 0);
  assert_true(has_file(b, FOLDER_OF(1), "spec.json")); /* without it the job would not end well */
  b->jobs[0].state = SPARK_JOB_SUCCEEDED;
  assert_true(discard_after(b, 19 * 1000, KPI_OK));
  assert_false(has_file(b, FOLDER_OF(1), "spec.json"));
}

static void so_long_as_that_may_take(void **state) {
  struct bench *b = *state;
  b->on_start = goes_on_closing;
  assert_int_equal(compute(b), KPI_OK);
  assert_false(discard_after(b, 20 * 1000, KPI_OK));
  assert_int_equal(b->cancels, 1);
  assert_false(has_file(b, FOLDER_OF(1), "manifest.json"));
  assert_true(discard_after(b, 21 * 1000, KPI_OK));
}

static void closes_at_the_second_look(struct bench *b, struct fake_job *job, int nth) {
  (void)b;
  if (nth == 3) /* the first was for the results */
    job->state = SPARK_JOB_SUCCEEDED;
}

static void so_is_one_that_nobody_keeps(void **state) {
  struct bench *b = *state;
  b->job.hand_off = NULL;
  b->on_start = goes_on_closing;
  b->on_look = closes_at_the_second_look;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->looks, 3);
  assert_int_equal(b->cancels, 0);
  assert_false(has_file(b, b->jobs[0].folder, "spec.json"));
}

static void job_of_unknown_id_and_forgotten_ones_are_over(void **state) {
  struct bench *b = *state;
  use_engine(b, &forgetful_cluster, b->url, "0123");
  compute_and_leave(b);
  b->on_look = NULL;
  b->looks = 0;
  b->kept.id[0] = '\0';
  assert_true(discard(b, KPI_OK));
  assert_int_equal(b->looks, 0);
  assert_false(has_file(b, FOLDER_OF(1), "spec.json"));
  strcpy(b->kept.id, "job-99");
  assert_true(discard(b, KPI_OK));
  assert_int_equal(b->cancels, 0);
}

static void job_of_unknown_id_is_found_by_its_token(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->on_look = NULL;
  b->kept.id[0] = '\0';
  b->is_away = true;
  assert_false(discard(b, KPI_ENGINE_UNAVAILABLE));
  b->is_away = false;
  assert_false(discard(b, KPI_OK));
  assert_int_equal(b->jobs[0].state, SPARK_JOB_CANCELLED);
  assert_true(discard(b, KPI_OK));
  assert_int_equal(b->cancels, 1);
}

static void nothing_is_over_while_the_cluster_is_away(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->on_look = NULL;
  b->is_away = true;
  assert_false(discard(b, KPI_ENGINE_UNAVAILABLE));
  assert_false(has_file(b, FOLDER_OF(1), "spec.json")); /* it ends by that all the same */
  b->is_away = false;
  assert_false(discard(b, KPI_OK));
  assert_true(discard(b, KPI_OK));
  assert_int_equal(b->jobs[0].state, SPARK_JOB_CANCELLED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BENCH_TEST(running_job_is_cancelled_and_over_when_the_cluster_says_so),
      BENCH_TEST(job_that_is_over_leaves_nothing),
      BENCH_TEST(job_that_has_left_its_results_is_let_close),
      BENCH_TEST(so_long_as_that_may_take),
      BENCH_TEST(so_is_one_that_nobody_keeps),
      BENCH_TEST(job_of_unknown_id_and_forgotten_ones_are_over),
      BENCH_TEST(job_of_unknown_id_is_found_by_its_token),
      BENCH_TEST(nothing_is_over_while_the_cluster_is_away),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
