/* SPDX-License-Identifier: MIT
 * The Spark engine and those who come after: what is kept of a job, and who goes on with it. */
#include "spark_bench.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#define FOLDER_OF(number) "kpi-runs/" OWNER "/" #number
#define TOKEN_OF(number) "kpi-" OWNER "-" #number

/* ---- keeping ---- */

static void checks_the_intent(struct bench *b, struct fake_job *job, int nth) {
  char sha256[SHA256_HEX_SIZE];
  char *spec = file_of(b, job->folder, "spec.json");
  assert_non_null(spec);
  crypto_sha256_hex(view_of(spec), sha256);
  free(spec);
  assert_string_equal(b->kept.spec_sha256, sha256);
  assert_int_equal(b->kept.number, 1);
  assert_string_equal(b->kept.id, "");
  succeed(b, job, nth);
}

static void intent_is_kept_before_the_start_and_the_id_after_it(void **state) {
  struct bench *b = *state;
  b->on_start = checks_the_intent;
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find, keep 1 -, start " TOKEN_OF(1) ", keep 1 job-1");
  assert_string_equal(b->kept.id, "job-1");
}

static void what_cannot_be_kept_is_not_started(void **state) {
  struct bench *b = *state;
  b->keep_fails_at = 1;
  assert_fails(b, KPI_DB_FAILED, "it cannot be kept");
  assert_events(b, "find, keep 1 -, give up 1");
  assert_false(has_file(b, FOLDER_OF(1), "spec.json"));
}

static void job_whose_id_cannot_be_kept_is_given_up(void **state) {
  struct bench *b = *state;
  b->keep_fails_at = 2;
  assert_fails(b, KPI_DB_FAILED, "it cannot be kept");
  assert_events(b, "find, keep 1 -, start " TOKEN_OF(1) ", keep 1 job-1, give up 1");
  assert_string_equal(b->given_up.id, "job-1");
}

static void spec_that_cannot_be_written_starts_nothing(void **state) {
  struct bench *b = *state;
  leave(b, "kpi-runs", OWNER, "a file where a folder has to be");
  assert_fails(b, KPI_ENGINE_FAILED, "spec.json");
  assert_events(b, "find, keep 1 -, give up 1");
}

static void numbers_are_never_used_again(void **state) {
  struct bench *b = *state;
  b->last_number = 7; /* was given up */
  b->refuses = true;
  assert_int_equal(compute(b), KPI_ENGINE_FAILED);
  b->refuses = false;
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find, keep 8 -, start " TOKEN_OF(8) ", give up 8, find, keep 9 -, start " TOKEN_OF(
                       9) ", keep 9 job-1");
}

/* ---- going on with a job ---- */

static void same_job_is_gone_on_with(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  assert_int_equal(b->jobs[0].state, SPARK_JOB_RUNNING);
  assert_true(b->is_handed);
  b->on_look = succeed;
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find");
  assert_int_equal(b->out.count, 1);
  assert_int_equal(b->job_count, 1);
}

static void results_that_were_left_meanwhile_are_taken(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  succeed(b, &b->jobs[0], 0);
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find");
}

/* The process ended before it had the id: nothing is to be started for what is there. */
static void results_of_a_job_without_an_id_are_taken_before_anything_is_started(void **state) {
  struct bench *b = *state;
  const struct spark_cluster_vtable *const clusters[] = {&idempotent_cluster, &forgetful_cluster};
  for (size_t i = 0; i < COUNT_OF(clusters); i++) {
    use_engine(b, clusters[i], b->url, "0123");
    compute_and_leave(b);
    succeed(b, &b->jobs[i], 0);
    b->kept.id[0] = '\0';
    b->is_away = true; /* and nobody is to be asked */
    assert_int_equal(compute(b), KPI_OK);
    assert_events(b, "find");
    assert_int_equal(b->looks, 0);
    assert_int_equal(b->out.count, 1);
    b->is_away = false;
    b->is_handed = false;
  }
  assert_int_equal(b->job_count, 2);
}

static void job_without_an_id_stays_while_its_results_cannot_be_looked_for(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->kept.id[0] = '\0';
  b->out_of_reach = "manifest.json";
  assert_fails(b, KPI_S3_UNAVAILABLE, "is out of reach");
  assert_events(b, "find");
  assert_true(b->is_handed);
}

/* A reply that was lost, and the process with it. */
static void job_without_an_id_is_started_again_with_its_token(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->kept.id[0] = '\0';
  b->on_look = succeed;
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find, start " TOKEN_OF(1) ", keep 1 job-1");
  assert_int_equal(b->job_count, 1);
}

/* The cluster takes it for another job: it is one that nobody can go on with. */
static void token_that_was_used_with_another_body_is_named_and_not_used_again(void **state) {
  struct bench *b = *state;
  b->job.timeout_seconds = 600;
  compute_and_leave(b);
  b->kept.id[0] = '\0';
  b->job.timeout_seconds = 900;
  assert_fails(b, KPI_ENGINE_FAILED, "the token was used with another body");
  assert_events(b, "find, start " TOKEN_OF(1) ", give up 1");
  assert_false(b->is_handed);
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find, keep 2 -, start " TOKEN_OF(2) ", keep 2 job-2");
}

static void where_starts_are_not_idempotent_it_is_given_up(void **state) {
  struct bench *b = *state;
  use_engine(b, &forgetful_cluster, b->url, "0123");
  compute_and_leave(b);
  b->kept.id[0] = '\0';
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find, give up 1, keep 2 -, start " TOKEN_OF(2) ", keep 2 job-2");
  assert_string_equal(b->given_up.id, "");
}

static void lost_reply_to_a_start_fails_the_attempt_and_gives_the_job_up(void **state) {
  struct bench *b = *state;
  const struct spark_cluster_vtable *const clusters[] = {&idempotent_cluster, &forgetful_cluster};
  bool over;
  for (uint32_t i = 0; i < COUNT_OF(clusters); i++) {
    use_engine(b, clusters[i], b->url, "0123");
    b->loses_replies = true;
    b->on_start = NULL;
    assert_fails(b, KPI_ENGINE_UNAVAILABLE, "the cluster is away");
    assert_int_equal(b->given_up.number, 2 * i + 1);
    assert_string_equal(b->given_up.id, "");
    const struct unwanted_job lost = {OWNER, &b->given_up, 0};
    assert_int_equal(engine_discard(b->engine, &lost, NULL, &over, &b->err), KPI_OK);
    assert_int_equal(over, clusters[i] == &forgetful_cluster);
    assert_int_equal(b->jobs[b->job_count - 1].state, over ? SPARK_JOB_RUNNING : SPARK_JOB_CANCELLED);
    assert_int_equal(engine_discard(b->engine, &lost, NULL, &over, &b->err), KPI_OK);
    assert_true(over);
    assert_false(has_file(b, b->jobs[b->job_count - 1].folder, "spec.json")); /* it ends by that */
    b->loses_replies = false;
    b->on_start = succeed;
    assert_int_equal(compute(b), KPI_OK);
    b->is_handed = false;
  }
  assert_int_equal(b->job_count, 4);
}

static void days_that_are_no_longer_wanted_are_left_out(void **state) {
  struct bench *b = *state;
  const day_t days[] = {january(15), january(16), january(17), january(20)},
              wanted[] = {january(20), january(17)};
  assert_true(day_set_of(days, COUNT_OF(days), &b->job.days));
  compute_and_leave(b);
  day_set_clear(&b->job.days);
  assert_true(day_set_of(wanted, COUNT_OF(wanted), &b->job.days));
  b->on_look = succeed;
  enum kpi_code rc = compute(b);
  day_set_clear(&b->job.days);
  assert_int_equal(rc, KPI_OK);
  assert_events(b, "find");
  assert_int_equal(b->out.count, 2);
  assert_int_equal(b->out.at[0].day, january(17));
  assert_int_equal(b->out.at[0].result.tables[KPI_ORDERS].count, 1);
  assert_int_equal(b->out.at[1].day, january(20));
  assert_int_equal(b->out.at[1].result.tables[KPI_ORDERS].count, 0);
}

static void of_all_days_those_that_are_wanted_are_taken(void **state) {
  struct bench *b = *state;
  b->job.days = day_set_range(DAY_MIN, DAY_MAX);
  compute_and_leave(b);
  b->job.days = day_set_range(january(17), january(17));
  b->on_look = succeed;
  assert_int_equal(compute(b), KPI_OK);
  assert_events(b, "find");
  assert_int_equal(b->out.count, 1);
  assert_int_equal(b->out.at[0].day, january(17));
}

/* ---- a job that does something else ---- */

static void wants_more_days(struct bench *b) {
  b->job.days = day_set_range(january(15), january(16));
}

static void wants_all_days(struct bench *b) {
  b->job.days = day_set_range(DAY_MIN, DAY_MAX);
}

static void has_other_input(struct bench *b) {
  strcpy(b->listing.fingerprint, "other");
}

static void reads_elsewhere(struct bench *b) {
  b->source.url = (char *)(uintptr_t) "file:///elsewhere";
}

static void skips_bad_rows(struct bench *b) {
  b->job.bad_rows = BAD_ROWS_SKIP;
}

static void takes_statuses_exactly(struct bench *b) {
  b->job.status_match = STATUS_EXACT;
}

static void names_unknown_categories(struct bench *b) {
  b->job.unknown_category = "unknown";
}

static void is_in_another_zone(struct bench *b) {
  b->job.timezone = "Europe/Berlin";
}

static void has_another_job_file(struct bench *b) {
  use_engine(b, &idempotent_cluster, b->url, "4567");
}

static void has_lost_its_spec(struct bench *b) {
  assert_int_equal(spark_store_remove_all(b->files, FOLDER_OF(1) "/", NULL, &b->err), KPI_OK);
}

static void has_a_damaged_spec(struct bench *b) {
  leave(b, FOLDER_OF(1), "spec.json", "{\"days\":[\"2023-01-15\",7]}");
}

static void has_kept_another_spec(struct bench *b) {
  b->kept.spec_sha256[0] ^= 1;
}

static void job_that_does_something_else_is_given_up(void **state) {
  static void (*const changes[])(struct bench *) = {
      wants_more_days,   wants_all_days,           has_other_input,    reads_elsewhere,
      skips_bad_rows,    takes_statuses_exactly,   is_in_another_zone, has_another_job_file,
      has_lost_its_spec, names_unknown_categories, has_a_damaged_spec, has_kept_another_spec,
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(changes); i++) {
    void *fresh;
    assert_int_equal(bench_setup(&fresh), 0);
    struct bench *b = fresh;
    compute_and_leave(b);
    changes[i](b);
    if (compute(b) != KPI_OK || b->given_up.number != 1 || b->kept.number != 2)
      fail_msg("change %zu is not seen: %s", i, b->err.message);
    assert_events(b, "find, give up 1, keep 2 -, start " TOKEN_OF(2) ", keep 2 job-2");
    assert_string_equal(b->given_up.id, "job-1");
    bench_teardown(&fresh);
  }
}

/* The job of an earlier number goes on all the same, and ends well; this one does not. */
static void zombie_ends_well(struct bench *b, struct fake_job *job, int nth) {
  if (b->jobs[0].state == SPARK_JOB_RUNNING)
    succeed(b, &b->jobs[0], nth);
  job->state = SPARK_JOB_FAILED;
}

static void copies_the_results_of_the_zombie(struct bench *b, struct fake_job *job, int nth) {
  char *spec = file_of(b, FOLDER_OF(1), "spec.json");
  (void)nth;
  leave_results(b, spec, job->folder);
  free(spec);
}

static void results_of_an_earlier_number_are_none(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  skips_bad_rows(b);
  b->on_start = NULL;
  b->on_look = zombie_ends_well;
  assert_fails(b, KPI_ENGINE_FAILED, "the Spark job job-2 has failed");
  assert_true(has_file(b, FOLDER_OF(1), "manifest.json"));
  b->on_look = copies_the_results_of_the_zombie;
  assert_fails(b, KPI_ENGINE_FAILED, "another run, attempt");
}

/* ---- a store that is out of reach ---- */

/* What cannot be read says nothing of the job: the next attempt finds it as it was. */
static void job_stays_while_its_files_cannot_be_read(void **state) {
  struct bench *b = *state;
  static const char *const files[] = {"spec.json", "manifest.json", RESULTS_FILE};
  compute_and_leave(b);
  succeed(b, &b->jobs[0], 0);
  for (size_t i = 0; i < COUNT_OF(files); i++) {
    b->out_of_reach = files[i];
    assert_fails(b, KPI_S3_UNAVAILABLE, "is out of reach");
    assert_events(b, "find");
    assert_true(b->is_handed);
  }
  b->out_of_reach = NULL;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->job_count, 1);
}

static void so_does_one_whose_error_cannot_be_read(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  b->jobs[0].state = SPARK_JOB_FAILED;
  b->out_of_reach = "error.json";
  assert_fails(b, KPI_S3_UNAVAILABLE, "is out of reach");
  assert_events(b, "find");
  b->out_of_reach = NULL;
  assert_fails(b, KPI_ENGINE_FAILED, "the Spark job job-1 has failed");
  assert_events(b, "find, give up 1");
}

static void nobody_comes_after_a_job_that_is_not_kept(void **state) {
  struct bench *b = *state;
  b->job.hand_off = NULL;
  b->out_of_reach = "manifest.json";
  assert_fails(b, KPI_S3_UNAVAILABLE, "is out of reach");
  assert_false(has_file(b, b->jobs[0].folder, "spec.json"));
}

/* ---- stopping ---- */

struct stopper {
  struct bench *b;
  enum stop_reason why;
  pthread_t thread;
  _Atomic int64_t at;
};

static struct stopper stopper;

/* Between two looks. */
static void *stop_soon(void *arg) {
  struct stopper *s = arg;
  nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
  s->at = clock_mono_ms();
  stop_raise(&s->b->stop, s->why);
  return NULL;
}

static void is_stopped_soon(struct bench *b, struct fake_job *job, int nth) {
  (void)job;
  stopper.b = b;
  if (nth == 1)
    assert_int_equal(pthread_create(&stopper.thread, NULL, stop_soon, &stopper), 0);
}

/* Computes until it is stopped. Returns after how many ms it has ended. */
static int64_t compute_stopped(struct bench *b, enum stop_reason why, enum kpi_code expected) {
  stopper.why = why;
  b->on_start = NULL;
  b->on_look = is_stopped_soon;
  b->stop = (struct stop_flag){0};
  assert_int_equal(compute(b), expected);
  const int64_t now = clock_mono_ms();
  pthread_join(stopper.thread, NULL);
  return now - stopper.at;
}

static void stopped_job_is_given_up_at_once(void **state) {
  struct bench *b = *state;
  static const struct {
    enum stop_reason why;
    enum kpi_code code;
  } cases[] = {{STOP_CANCEL, KPI_CANCELLED}, {STOP_STALLED, KPI_STALLED}, {STOP_TIMEOUT, KPI_TIMEOUT}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    int64_t ms = INT64_MAX;
    for (int tries = 0; ms > 300 && tries < 3; tries++) { /* the machine may have its mind elsewhere */
      ms = compute_stopped(b, cases[i].why, cases[i].code);
      assert_int_equal(b->given_up.number, b->kept.number);
      assert_false(b->is_handed);
    }
    assert_in_range(ms, 0, 300);
  }
  assert_int_equal(b->cancels, 0); /* who keeps jobs ends them */
}

static void job_of_a_service_that_drains_is_left(void **state) {
  struct bench *b = *state;
  assert_in_range(compute_stopped(b, STOP_DRAIN, KPI_INTERRUPTED), 0, 5000);
  assert_events(b, "find, keep 1 -, start " TOKEN_OF(1) ", keep 1 job-1");
  assert_true(b->is_handed);
  assert_int_equal(b->jobs[0].state, SPARK_JOB_RUNNING);
  assert_true(has_file(b, FOLDER_OF(1), "spec.json"));
}

/* Before it has found out whose job it is. */
static void service_that_drains_at_once_leaves_what_there_is(void **state) {
  struct bench *b = *state;
  compute_and_leave(b);
  stop_raise(&b->stop, STOP_DRAIN);
  assert_int_equal(compute(b), KPI_INTERRUPTED);
  assert_events(b, "find");
  assert_true(b->is_handed);
  b->stop = (struct stop_flag){0};
  stop_raise(&b->stop, STOP_CANCEL);
  assert_int_equal(compute(b), KPI_CANCELLED);
  assert_events(b, "find, give up 1");
}

static void job_that_nobody_keeps_is_ended_when_it_is_stopped(void **state) {
  struct bench *b = *state;
  static const enum stop_reason whys[] = {STOP_DRAIN, STOP_CANCEL};
  b->job.hand_off = NULL;
  for (size_t i = 0; i < COUNT_OF(whys); i++) {
    compute_stopped(b, whys[i], i ? KPI_CANCELLED : KPI_INTERRUPTED);
    b->on_look = NULL;
    assert_int_equal(b->jobs[i].state, SPARK_JOB_CANCELLED);
    assert_false(has_file(b, b->jobs[i].folder, "spec.json"));
  }
  assert_int_equal(b->job_count, 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BENCH_TEST(intent_is_kept_before_the_start_and_the_id_after_it),
      BENCH_TEST(what_cannot_be_kept_is_not_started),
      BENCH_TEST(job_whose_id_cannot_be_kept_is_given_up),
      BENCH_TEST(spec_that_cannot_be_written_starts_nothing),
      BENCH_TEST(numbers_are_never_used_again),
      BENCH_TEST(same_job_is_gone_on_with),
      BENCH_TEST(results_that_were_left_meanwhile_are_taken),
      BENCH_TEST(results_of_a_job_without_an_id_are_taken_before_anything_is_started),
      BENCH_TEST(job_without_an_id_stays_while_its_results_cannot_be_looked_for),
      BENCH_TEST(job_without_an_id_is_started_again_with_its_token),
      BENCH_TEST(token_that_was_used_with_another_body_is_named_and_not_used_again),
      BENCH_TEST(where_starts_are_not_idempotent_it_is_given_up),
      BENCH_TEST(lost_reply_to_a_start_fails_the_attempt_and_gives_the_job_up),
      BENCH_TEST(days_that_are_no_longer_wanted_are_left_out),
      BENCH_TEST(of_all_days_those_that_are_wanted_are_taken),
      cmocka_unit_test(job_that_does_something_else_is_given_up),
      BENCH_TEST(results_of_an_earlier_number_are_none),
      BENCH_TEST(job_stays_while_its_files_cannot_be_read),
      BENCH_TEST(so_does_one_whose_error_cannot_be_read),
      BENCH_TEST(nobody_comes_after_a_job_that_is_not_kept),
      BENCH_TEST(stopped_job_is_given_up_at_once),
      BENCH_TEST(job_of_a_service_that_drains_is_left),
      BENCH_TEST(service_that_drains_at_once_leaves_what_there_is),
      BENCH_TEST(job_that_nobody_keeps_is_ended_when_it_is_stopped),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
