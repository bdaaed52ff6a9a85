/* SPDX-License-Identifier: MIT
 * The Spark engine and one job: what it is asked, what is shown of it, and what is made of its end. */
#include "pipeline/spark_report.h"
#include "pipeline/spark_spec.h"

#include "spark_bench.h"

#define RUN_FOLDER "kpi-runs/" OWNER "/1"

/* ---- success ---- */

static uint64_t orders_of(const struct bench *b, int day) {
  const struct day_result *r = day_results_find(&b->out, january(day));
  assert_non_null(r);
  assert_null(r->err);
  assert_non_null(r->result.quality.report_json);
  return r->result.tables[KPI_ORDERS].count ? r->result.tables[KPI_ORDERS].rows[0].orders : 0;
}

static void one_day_is_computed(void **state) {
  struct bench *b = *state;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->out.count, 1);
  assert_int_equal(orders_of(b, 15), 2);
  assert_int_equal(b->out.categories.count, 2);
  assert_int_equal(b->job_count, 1);
  assert_int_equal(b->cancels, 0);
}

static void several_days_are_computed_by_one_job(void **state) {
  struct bench *b = *state;
  const day_t days[] = {january(18), january(15), january(17)};
  assert_true(day_set_of(days, COUNT_OF(days), &b->job.days));
  enum kpi_code rc = compute(b);
  day_set_clear(&b->job.days);
  assert_int_equal(rc, KPI_OK);
  assert_int_equal(b->out.count, 3);
  assert_int_equal(orders_of(b, 15), 2);
  assert_int_equal(orders_of(b, 17), 2);
  assert_int_equal(orders_of(b, 18), 0);
  assert_int_equal(b->job_count, 1);
}

static void of_all_days_those_with_rows_are_computed(void **state) {
  struct bench *b = *state;
  b->job.days = day_set_range(DAY_MIN, DAY_MAX);
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->out.count, 2);
  assert_int_equal(orders_of(b, 15), 2);
  assert_int_equal(orders_of(b, 17), 2);
}

/* Who keeps jobs removes them when he has stored what they came to. */
static void files_stay_for_who_keeps_jobs_and_else_are_removed(void **state) {
  struct bench *b = *state;
  assert_int_equal(compute(b), KPI_OK);
  assert_true(b->is_handed);
  assert_true(has_file(b, b->jobs[0].folder, "manifest.json"));
  b->job.hand_off = NULL;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(orders_of(b, 15), 2);
  assert_string_not_equal(b->jobs[1].token, b->jobs[0].token);
  assert_false(has_file(b, b->jobs[1].folder, "spec.json"));
  assert_false(has_file(b, b->jobs[1].folder, "manifest.json"));
}

/* ---- spec ---- */

/* Computes, and compares the spec that was written with JSON. */
static void assert_spec(struct bench *b, const char *expected) {
  json_error_t why;
  assert_int_equal(compute(b), KPI_OK);
  char *text = file_of(b, RUN_FOLDER, "spec.json");
  assert_non_null(text);
  json_t *written = json_loads(text, 0, &why), *wanted = json_loads(expected, 0, NULL);
  if (!written)
    fail_msg("%s: %s", why.text, text);
  assert_non_null(wanted);
  if (!json_equal(written, wanted))
    fail_msg("%s", text);
  json_decref(written);
  json_decref(wanted);
  free(text);
}

static void list_awkward_names(struct bench *b) {
  static const struct {
    enum dataset dataset;
    const char *name, *version;
    bool is_gzip;
  } objects[] = {{DATASET_ORDERS, "orders/a \"b\"\\c\t\xc3\xbc'.csv", "v1", false},
                 {DATASET_ORDERS, "orders/50%20+#?.csv.gz", "v2", true},
                 {DATASET_ORDER_ITEMS, "order_items/x/part-0", "v3", false}};
  source_listing_clear(&b->listing);
  for (size_t i = 0; i < COUNT_OF(objects); i++) {
    struct source_object object = {.name = (char *)(uintptr_t)objects[i].name,
                                   .size = 10 + i,
                                   .modified_ms = 1700000000000 + (int64_t)i,
                                   .is_gzip = objects[i].is_gzip};
    snprintf(object.version, sizeof object.version, "%s", objects[i].version);
    list_object(b, objects[i].dataset, object);
  }
  finish_listing(b);
  strcpy(b->listing.fingerprint, "finger");
}

static void spec_says_all_of_the_job_and_of_files(void **state) {
  struct bench *b = *state;
  const day_t days[] = {january(17), january(15)};
  list_awkward_names(b);
  b->source.url = (char *)(uintptr_t) "file:///data/in put/";
  b->job.bad_rows = BAD_ROWS_SKIP;
  b->job.status_match = STATUS_EXACT;
  b->job.unknown_category = "none \"of\" these";
  b->job.timezone = "Europe/Berlin";
  b->job.timeout_seconds = 99;
  assert_true(day_set_of(days, COUNT_OF(days), &b->job.days));
  assert_spec(b,
              "{\"format\":1,\"run_id\":\"" OWNER "\",\"attempt\":1,\"input_fingerprint\":\"finger\","
              "\"job_sha256\":\"0123\",\"days\":[\"2023-01-15\",\"2023-01-17\"],\"bad_rows\":\"skip\","
              "\"status_match\":\"exact\",\"unknown_category\":\"none \\\"of\\\" these\","
              "\"timezone\":\"Europe/Berlin\",\"datasets\":{\"orders\":["
              "{\"name\":\"orders/50%20+#?.csv.gz\",\"uri\":\"file:///data/in put/orders/50%20+#?.csv.gz\","
              "\"size\":11,\"etag\":null,\"modified_ms\":1700000000001,\"gzip\":true},"
              "{\"name\":\"orders/a \\\"b\\\"\\\\c\\t\\u00fc'.csv\","
              "\"uri\":\"file:///data/in put/orders/a \\\"b\\\"\\\\c\\t\\u00fc'.csv\","
              "\"size\":10,\"etag\":null,\"modified_ms\":1700000000000,\"gzip\":false}],"
              "\"order_items\":[{\"name\":\"order_items/x/part-0\","
              "\"uri\":\"file:///data/in put/order_items/x/part-0\",\"size\":12,\"etag\":null,"
              "\"modified_ms\":1700000000002,\"gzip\":false}],\"products\":[]}}");
  day_set_clear(&b->job.days);
  assert_int_equal(b->timeout_seconds, 99);
  char expected[256];
  snprintf(expected, sizeof expected, "%s/" RUN_FOLDER "/spec.json", b->url);
  assert_string_equal(b->spec_uri, expected);
}

static void objects_of_s3_are_named_as_the_cluster_names_them(void **state) {
  struct bench *b = *state;
  b->source.url = (char *)(uintptr_t) "s3://bucket/Data";
  b->job.days = day_set_range(DAY_MIN, DAY_MAX);
  list_awkward_names(b);
  use_engine(b, &forgetful_cluster, "s3://work/prefix/", "0123");
  assert_spec(b, "{\"format\":1,\"run_id\":\"" OWNER "\",\"attempt\":1,\"input_fingerprint\":\"finger\","
                 "\"job_sha256\":\"0123\",\"days\":\"all\",\"bad_rows\":\"fail\",\"status_match\":\"folded\","
                 "\"unknown_category\":null,\"timezone\":\"UTC\",\"datasets\":{\"orders\":["
                 "{\"name\":\"orders/50%20+#?.csv.gz\",\"uri\":\"s3a://bucket/Data/orders/50%20+#?.csv.gz\","
                 "\"size\":11,\"etag\":\"v2\",\"modified_ms\":1700000000001,\"gzip\":true},"
                 "{\"name\":\"orders/a \\\"b\\\"\\\\c\\t\\u00fc'.csv\","
                 "\"uri\":\"s3a://bucket/Data/orders/a \\\"b\\\"\\\\c\\t\\u00fc'.csv\","
                 "\"size\":10,\"etag\":\"v1\",\"modified_ms\":1700000000000,\"gzip\":false}],"
                 "\"order_items\":[{\"name\":\"order_items/x/part-0\","
                 "\"uri\":\"s3a://bucket/Data/order_items/x/part-0\",\"size\":12,\"etag\":\"v3\","
                 "\"modified_ms\":1700000000002,\"gzip\":false}],\"products\":[]}}");
  assert_string_equal(b->spec_uri, "s3a://work/prefix/" RUN_FOLDER "/spec.json");
  use_engine(b, &idempotent_cluster, "s3://work", "0123");
  assert_int_equal(compute(b), KPI_OK);
  assert_string_equal(b->spec_uri, "s3://work/kpi-runs/" OWNER "/2/spec.json");
}

static void days_of_a_spec_are_read_and_nothing_else_of_it(void **state) {
  (void)state;
  static const char *const none[] = {"",
                                     "{}",
                                     "\"days\":",
                                     "\"days\":[]",
                                     "\"days\":[\"2023-01-15\"",
                                     "\"days\":[\"2023-01-15\",]",
                                     "\"days\":[\"2023-01-15\",7]",
                                     "\"days\":[\"2023-01-32\"]",
                                     "\"days\":[\"]",
                                     "\"days\":[,,,,]",
                                     "\"days\":\"some\""};
  struct day_set days;
  struct err err;
  for (size_t i = 0; i < COUNT_OF(none); i++)
    if (spark_spec_days(view_of(none[i]), &days, &err) != KPI_ENGINE_FAILED)
      fail_msg("%s", none[i]);
  assert_int_equal(
      spark_spec_days(VIEW_LIT("{\"a\":1,\"days\":[\"2023-01-17\",\"2023-01-15\"],[[[ \"days\":7"), &days,
                      &err),
      KPI_OK);
  assert_int_equal(day_set_count(&days), 2);
  assert_true(day_set_has(&days, january(15)) && day_set_has(&days, january(17)));
  day_set_clear(&days);
  assert_int_equal(spark_spec_days(VIEW_LIT("{\"days\":\"all\",\"bad"), &days, &err), KPI_OK);
  assert_true(day_set_is_all(&days));
}

/* ---- progress ---- */

#define PROGRESS(phase, orders, bytes)                                                                       \
  "{\"phase\":\"" phase "\",\"rows\":{\"orders\":" orders ",\"order_items\":2,\"products\":1},"              \
  "\"bytes_read\":" bytes ",\"files_done\":1,\"tasks\":[[1,2,3]]}"

static void waits_at_first(struct bench *b, struct fake_job *job, int nth) {
  assert_int_equal(b->progress.elsewhere, ELSEWHERE_WAITING);
  assert_int_equal(b->progress.beats, 0);
  job->state = SPARK_JOB_WAITING;
  if (nth == 2)
    succeed(b, job, nth);
}

static void a_job_that_waits_is_shown_as_waiting(void **state) {
  struct bench *b = *state;
  b->on_start = NULL;
  b->on_look = waits_at_first;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->looks, 2);
}

/* A job that is at work by what the cluster says, and by its own word waits from the first look to the third.
 */
static void waits_for_executors(struct bench *b, struct fake_job *job, int nth) {
  static const char *const progress[] = {"{\"waiting\":true}", NULL,
                                         "{\"waiting\":\"no\"}" /* this is no yes */};
  assert_int_equal(b->progress.elsewhere, nth <= 3 ? ELSEWHERE_WAITING : ELSEWHERE_RUNNING);
  if (nth > 3)
    succeed(b, job, nth);
  else if (progress[nth - 1])
    leave(b, job->folder, "progress.json", progress[nth - 1]);
}

static void a_job_that_waits_for_executors_is_shown_as_waiting(void **state) {
  struct bench *b = *state;
  b->on_start = NULL;
  b->on_look = waits_for_executors;
  assert_int_equal(compute(b), KPI_OK);
}

/* What is left at one look is shown at the next. */
static void tells_its_progress(struct bench *b, struct fake_job *job, int nth) {
  struct job_progress *p = &b->progress;
  assert_int_equal(p->elsewhere, nth == 1 ? ELSEWHERE_WAITING : ELSEWHERE_RUNNING);
  switch (nth) {
  case 1:
    leave(b, job->folder, "progress.json", PROGRESS("scanning", "3", "10"));
    break;
  case 2:
  case 3: /* the file has stayed the same */
    assert_int_equal(p->beats, 1);
    assert_int_equal(p->rows[DATASET_ORDERS], 3);
    assert_int_equal(p->rows[DATASET_ORDER_ITEMS], 2);
    assert_int_equal(p->rows[DATASET_PRODUCTS], 1);
    assert_int_equal(p->bytes_read, 10);
    assert_int_equal(p->files_done, 1);
    assert_int_equal(p->phase, PHASE_SCANNING);
    if (nth == 3)
      leave(b, job->folder, "progress.json", PROGRESS("aggregating", "4", "99"));
    break;
  default:
    assert_int_equal(p->beats, 2);
    assert_int_equal(p->rows[DATASET_ORDERS], 4);
    assert_int_equal(p->bytes_read, 20); /* no more than there is */
    assert_int_equal(p->phase, PHASE_AGGREGATING);
    succeed(b, job, nth);
  }
}

static void progress_is_shown(void **state) {
  struct bench *b = *state;
  b->on_start = NULL;
  b->on_look = tells_its_progress;
  b->progress.bytes_total = 20;
  b->progress.files_total = 2;
  b->progress.phase = PHASE_SCANNING;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->looks, 4);
}

/* Unlike that of progress, of which the same comes again and again: results are large. */
static void coming_of_results_is_progress(void **state) {
  struct bench *b = *state;
  assert_int_equal(compute(b), KPI_OK);
  assert_view(buf_view(&b->heard), " part-0.txt part-0.txt");
}

static void run_that_is_cancelled_while_results_come_ends(void **state) {
  struct bench *b = *state;
  b->is_cancelled_at = RESULTS_FILE;
  assert_int_equal(compute(b), KPI_CANCELLED);
  assert_int_equal(b->given_up.number, 1);
}

static void progress_that_cannot_be_read_changes_nothing(void **state) {
  (void)state;
  static const char *const texts[] = {"", "{", "[1", "{\"rows\":{\"orders\":1}} more",
                                      "{\"rows\":{\"orders\":1}"};
  struct job_progress p = {.bytes_total = 9, .phase = PHASE_SCANNING};
  bool waits = true;
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    if (spark_progress_read(view_of(texts[i]), &p, &waits) || p.rows[DATASET_ORDERS] || !waits)
      fail_msg("\"%s\" is taken", texts[i]);
  assert_true(spark_progress_read(VIEW_LIT("{\"rows\":{\"orders\":-1},\"bytes_read\":\"x\",\"phase\":7}"), &p,
                                  &waits));
  assert_false(waits);
  assert_int_equal(p.rows[DATASET_ORDERS], 0);
  assert_int_equal(p.bytes_read, 0);
  assert_int_equal(p.phase, PHASE_SCANNING);
}

/* ---- failure ---- */

static void end_job(struct fake_job *job, enum spark_job_state end, const char *reason) {
  job->state = end;
  job->reason = reason;
}

static void ends_with_an_error(struct bench *b, struct fake_job *job, int nth) {
  (void)nth;
  leave(b, job->folder, "error.json",
        "{\"run_id\":\"" OWNER
        "\",\"attempt\":1,\"code\":\"value_unparsable\",\"message\":\"orders/a.csv:4: bad\","
        "\"object\":\"orders/a.csv\",\"line\":4,\"column\":\"created_at\",\"value\":\"caf\\u00c3\\u00a9\"}");
  end_job(job, SPARK_JOB_FAILED, "exit code 1");
}

static void error_of_the_job_is_that_of_the_run(void **state) {
  struct bench *b = *state;
  b->on_start = ends_with_an_error;
  assert_int_equal(compute(b), KPI_VALUE_UNPARSABLE);
  assert_string_equal(b->err.message, "orders/a.csv:4: bad");
  assert_string_equal(b->err.object, "orders/a.csv");
  assert_int_equal(b->err.line, 4);
  assert_string_equal(b->err.column, "created_at");
  assert_string_equal(b->err.value, "caf\xc3\xa9");
  assert_int_equal(b->given_up.number, 1);
}

/* What the error of a job says of the spec that it is of. */
enum { SPEC_OWN, SPEC_OTHER, SPEC_NULL, SPEC_NOT_SAID } spec_of_error;

static void ends_with_an_error_of_a_spec(struct bench *b, struct fake_job *job, int nth) {
  char text[256], own[96];
  (void)nth;
  snprintf(own, sizeof own, "\"spec_sha256\":\"%s\",", b->kept.spec_sha256);
  const char *const spec[] = {own, "\"spec_sha256\":\"0123\",", "\"spec_sha256\":null,", ""};
  snprintf(text, sizeof text, "{%s\"code\":\"engine_failed\",\"message\":\"its own words\"}",
           spec[spec_of_error]);
  leave(b, job->folder, "error.json", text);
  end_job(job, SPARK_JOB_FAILED, "exit code 1");
}

/* A job that could not read its spec, and one of an earlier version, do not say which it had. */
static void error_of_another_spec_is_not_that_of_the_run(void **state) {
  struct bench *b = *state;
  b->on_start = ends_with_an_error_of_a_spec;
  for (spec_of_error = SPEC_OWN; spec_of_error <= SPEC_NOT_SAID; spec_of_error++)
    assert_fails(b, KPI_ENGINE_FAILED,
                 spec_of_error == SPEC_OTHER ? "has failed: exit code 1" : "its own words");
}

static void ends_with_no_error_that_is_known(struct bench *b, struct fake_job *job, int nth) {
  (void)nth;
  leave(b, job->folder, "error.json", "{\"code\":\"no-such-code\",\"message\":\"x\"}");
  end_job(job, SPARK_JOB_FAILED, "exit code 1");
}

static void succeeds_without_results(struct bench *b, struct fake_job *job, int nth) {
  (void)b;
  (void)nth;
  end_job(job, SPARK_JOB_SUCCEEDED, "");
}

static void is_killed(struct bench *b, struct fake_job *job, int nth) {
  (void)b;
  (void)nth;
  end_job(job, SPARK_JOB_FAILED, "the driver was killed");
}

static void is_cancelled_by_others(struct bench *b, struct fake_job *job, int nth) {
  (void)b;
  (void)nth;
  end_job(job, SPARK_JOB_CANCELLED, "");
}

static void end_without_results_is_a_failure_whatever_the_cluster_says(void **state) {
  struct bench *b = *state;
  static const struct {
    step_fn end;
    const char *words;
  } cases[] = {{ends_with_no_error_that_is_known, "has failed: exit code 1"},
               {succeeds_without_results, "the Spark job job-2 has ended without results"},
               {is_killed, "the Spark job job-3 has failed: the driver was killed"},
               {is_cancelled_by_others, "the Spark job job-4 was ended from outside"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    b->on_start = cases[i].end;
    assert_fails(b, KPI_ENGINE_FAILED, cases[i].words);
    assert_int_equal(b->given_up.number, i + 1);
  }
}

static void has_told_of_itself_before_it_failed(struct bench *b, struct fake_job *job, int nth) {
  leave(b, job->folder, "progress.json", PROGRESS("scanning", "3", "10"));
  is_killed(b, job, nth);
}

/* Its file, its spec or its libraries are not within reach of the cluster, which tells nothing of that. */
static void failure_of_a_job_that_never_began_says_where_to_look(void **state) {
  struct bench *b = *state;
  static const struct {
    step_fn end;
    bool says_so;
  } cases[] = {{is_killed, true},
               {succeeds_without_results, true},
               {has_told_of_itself_before_it_failed, false},
               {is_cancelled_by_others, false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    b->on_start = cases[i].end;
    assert_fails(b, KPI_ENGINE_FAILED, "the Spark job job-");
    assert_int_equal(!!strstr(b->err.message, "; it never began: "), cases[i].says_so);
  }
}

static void has_succeeded_but_is_said_to_have_failed(struct bench *b, struct fake_job *job, int nth) {
  succeed(b, job, nth);
  end_job(job, SPARK_JOB_FAILED, "so it is said");
}

static void manifest_is_success_whatever_the_cluster_says(void **state) {
  struct bench *b = *state;
  b->on_start = has_succeeded_but_is_said_to_have_failed;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(orders_of(b, 15), 2);
}

static void refusal_of_the_cluster_is_told(void **state) {
  struct bench *b = *state;
  b->refuses = true;
  assert_fails(b, KPI_ENGINE_FAILED, "the cluster refuses");
  assert_int_equal(b->looks, 0);
  assert_int_equal(b->given_up.number, 1);
}

/* ---- a cluster that forgets, or is away ---- */

static void forgets_the_job(struct bench *b, struct fake_job *job, int nth) {
  succeed(b, job, nth);
  job->id[0] = '\0';
}

static void forgotten_job_with_results_has_succeeded(void **state) {
  struct bench *b = *state;
  b->on_look = NULL;
  b->on_start = NULL;
  compute_and_leave(b);
  forgets_the_job(b, &b->jobs[0], 0);
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->job_count, 1);
}

static void is_forgotten(struct bench *b, struct fake_job *job, int nth) {
  (void)b;
  (void)nth;
  if (job)
    job->id[0] = '\0';
}

/* Not at once: a standby master learns of jobs by and by. */
static void forgotten_job_without_results_is_lost_after_a_while(void **state) {
  struct bench *b = *state;
  const int64_t from = clock_mono_ms();
  b->on_start = NULL;
  b->on_look = is_forgotten;
  assert_fails(b, KPI_ENGINE_FAILED, "the Spark job job-1 is not known to the cluster any more");
  assert_in_range(clock_mono_ms() - from, 5000, 20000);
  assert_true(b->looks > 2);
}

static void is_away_for_two_looks(struct bench *b, struct fake_job *job, int nth) {
  b->is_away = nth < 3;
  if (nth == 3)
    succeed(b, job, nth);
}

static void cluster_may_be_away_for_a_while(void **state) {
  struct bench *b = *state;
  b->on_start = NULL;
  b->on_look = is_away_for_two_looks;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->looks, 3);
}

static void is_away_at_the_end(struct bench *b, struct fake_job *job, int nth) {
  (void)job;
  (void)nth;
  b->is_away = true;
}

static void results_are_taken_also_while_the_cluster_is_away(void **state) {
  struct bench *b = *state;
  b->on_look = is_away_at_the_end;
  assert_int_equal(compute(b), KPI_OK);
  assert_int_equal(b->looks, 1);
}

/* ---- damage ---- */

static void manifests_of_something_else_are_no_success(void **state) {
  struct bench *b = *state;
  static const char *const cases[][2] = {
      {"{", "{{"},
      {"\"run_id\":\"0192", "\"run_id\":\"0193"},
      {"\"attempt\":", "\"attempt\":9"},
      {"\"spec_sha256\":\"", "\"spec_sha256\":\"0"},
      {"\"input_fingerprint\":\"", "\"input_fingerprint\":\"0"},
      {"\"sha256\":\"", "\"sha256\":\"0"}, /* a file of another hash */
      {RESULTS_FILE, "results/../manifest.json"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    b->manifest_from = cases[i][0];
    b->manifest_to = cases[i][1];
    if (compute(b) != KPI_ENGINE_FAILED || b->given_up.number != i + 1)
      fail_msg("%s is taken", cases[i][1]);
  }
}

static void loses_a_file(struct bench *b, struct fake_job *job, int nth) {
  char path[256];
  succeed(b, job, nth);
  snprintf(path, sizeof path, "%s/%s/" RESULTS_FILE, b->folder, job->folder);
  assert_int_equal(unlink(path), 0);
}

static void file_that_is_not_there_is_told(void **state) {
  struct bench *b = *state;
  b->on_start = loses_a_file;
  assert_fails(b, KPI_ENGINE_FAILED, RESULTS_FILE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      BENCH_TEST(one_day_is_computed),
      BENCH_TEST(several_days_are_computed_by_one_job),
      BENCH_TEST(of_all_days_those_with_rows_are_computed),
      BENCH_TEST(files_stay_for_who_keeps_jobs_and_else_are_removed),
      BENCH_TEST(spec_says_all_of_the_job_and_of_files),
      BENCH_TEST(objects_of_s3_are_named_as_the_cluster_names_them),
      cmocka_unit_test(days_of_a_spec_are_read_and_nothing_else_of_it),
      BENCH_TEST(a_job_that_waits_is_shown_as_waiting),
      BENCH_TEST(a_job_that_waits_for_executors_is_shown_as_waiting),
      BENCH_TEST(progress_is_shown),
      BENCH_TEST(coming_of_results_is_progress),
      BENCH_TEST(run_that_is_cancelled_while_results_come_ends),
      cmocka_unit_test(progress_that_cannot_be_read_changes_nothing),
      BENCH_TEST(error_of_the_job_is_that_of_the_run),
      BENCH_TEST(error_of_another_spec_is_not_that_of_the_run),
      BENCH_TEST(failure_of_a_job_that_never_began_says_where_to_look),
      BENCH_TEST(end_without_results_is_a_failure_whatever_the_cluster_says),
      BENCH_TEST(manifest_is_success_whatever_the_cluster_says),
      BENCH_TEST(refusal_of_the_cluster_is_told),
      BENCH_TEST(forgotten_job_with_results_has_succeeded),
      BENCH_TEST(forgotten_job_without_results_is_lost_after_a_while),
      BENCH_TEST(cluster_may_be_away_for_a_while),
      BENCH_TEST(results_are_taken_also_while_the_cluster_is_away),
      BENCH_TEST(manifests_of_something_else_are_no_success),
      BENCH_TEST(file_that_is_not_there_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
