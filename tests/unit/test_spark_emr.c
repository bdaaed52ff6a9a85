/* SPDX-License-Identifier: MIT
 * Jobs on EMR Serverless, behind a scripted transport. */
#include "aws/emr_serverless.h"
#include "pipeline/spark_cluster.h"

#include "aws_env.h"
#include "unit.h"

#include "fake_http.h"

#define RUNS "http://127.0.0.1:7/applications/00app/jobruns"
#define ERROR_TYPE(code)                                                                                     \
  "x-amzn-ErrorType: " code ":http://internal.amazon.com/coral/\r\nx-amzn-RequestId: R1\r\n"
#define MESSAGE(text) "{\"message\":\"" text "\"}"
#define STARTED "{\"applicationId\":\"00app\",\"jobRunId\":\"00run1\",\"arn\":\"arn:x\"}"
#define RUN(state, details)                                                                                  \
  "{\"jobRun\":{\"jobRunId\":\"00run1\",\"state\":\"" state "\",\"stateDetails\":\"" details "\"}}"

struct bench {
  struct fake_http http;
  struct aws *aws;
  struct spark_cluster *cluster;
  struct spark_job_status status;
  char id[SPARK_JOB_ID_SIZE];
  struct err err;
};

static const struct spark_property properties[] = {
    {VIEW_LIT("spark.executor.memory"), VIEW_LIT("4g")},
    {VIEW_LIT("spark.executor.extraJavaOptions"), VIEW_LIT("-Da=\"b c\" -Dd=\\e")},
    {VIEW_LIT("spark.jars"), VIEW_LIT("s3://bk/a.jar,s3://bk/b.jar")},
    {VIEW_LIT("spark.note"), VIEW_LIT("it's")}};
static const struct spark_job_file plain = {"s3://bk/jobs/kpi_job.py", NULL, 0};
static const struct spark_job_file full = {"s3://bk/jobs/kpi_job.py", properties, COUNT_OF(properties)};

static void bench_init(struct bench *b, const struct fake_reply *script, size_t len,
                       const struct spark_job_file *file) {
  *b = (struct bench){0};
  fake_http_init(&b->http, script, len);
  assert_int_equal(aws_new_with(&b->http.base, &b->aws, &b->err), KPI_OK);
  b->cluster = spark_emr_new(b->aws, "00app", "arn:aws:iam::123456789012:role/kpi-job", file);
  assert_non_null(b->cluster);
  assert_string_equal(b->cluster->vtable->s3_scheme, "s3");
  assert_true(b->cluster->vtable->start_is_idempotent);
}

static void bench_clear(struct bench *b) {
  spark_cluster_free(b->cluster);
  aws_free(b->aws);
  buf_clear(&b->http.requests);
}

static enum kpi_code start(struct bench *b, uint32_t timeout_seconds) {
  const struct spark_submission s = {"kpi-r-1", "s3://bk/w/kpi-runs/r/1/spec.json", timeout_seconds, NULL};
  return spark_cluster_start(b->cluster, &s, b->id, &b->err);
}

static enum kpi_code look(struct bench *b) {
  return spark_cluster_look(b->cluster, "00run1", NULL, &b->status, &b->err);
}

static enum kpi_code cancel(struct bench *b) {
  return spark_cluster_cancel(b->cluster, "00run1", NULL, &b->err);
}

/* ---- starting ---- */

static void a_job_run_is_signed_and_has_its_token_and_one_attempt(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STARTED, 0}};
  struct bench b;
  bench_init(&b, script, 1, &plain);
  assert_int_equal(start(&b, 3601), KPI_OK);
  assert_string_equal(b.id, "00run1");
  assert_int_equal(fake_http_count(&b.http, "POST " RUNS "\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "content-type: application/json\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "/eu-west-1/emr-serverless/aws4_request, SignedHeaders="), 1);
  json_t *body = fake_http_sent(&b.http);
  json_t *expected = json_pack(
      "{s:s, s:s, s:s, s:i, s:{s:i}, s:{s:{s:s, s:[s]}}}", "clientToken", "kpi-r-1", "name", "kpi-r-1",
      "executionRoleArn", "arn:aws:iam::123456789012:role/kpi-job", "executionTimeoutMinutes", 61,
      "retryPolicy", "maxAttempts", 1, "jobDriver", "sparkSubmit", "entryPoint", "s3://bk/jobs/kpi_job.py",
      "entryPointArguments", "s3://bk/w/kpi-runs/r/1/spec.json");
  assert_true(json_equal(body, expected));
  json_decref(expected);
  json_decref(body);
  bench_clear(&b);
}

static void settings_are_quoted_where_they_have_to_be(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STARTED, 0}};
  struct bench b;
  bench_init(&b, script, 1, &full);
  assert_int_equal(start(&b, 0), KPI_OK);
  json_t *body = fake_http_sent(&b.http),
         *submit = json_object_get(json_object_get(body, "jobDriver"), "sparkSubmit");
  assert_string_equal(
      json_string_value(json_object_get(submit, "sparkSubmitParameters")),
      "--conf spark.executor.memory=4g --conf \"spark.executor.extraJavaOptions=-Da=\\\"b c\\\" "
      "-Dd=\\\\e\" --conf spark.jars=s3://bk/a.jar,s3://bk/b.jar --conf \"spark.note=it's\"");
  json_decref(body);
  bench_clear(&b);
}

static void time_is_told_in_minutes_that_aws_takes(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STARTED, 0}};
  static const struct {
    uint32_t seconds;
    int minutes;
  } cases[] = {{0, 10080}, {1, 5}, {300, 5}, {301, 6}, {3600, 60}, {604800, 10080}, {UINT32_MAX, 10080}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, script, 1, &plain);
    assert_int_equal(start(&b, cases[i].seconds), KPI_OK);
    json_t *body = fake_http_sent(&b.http);
    assert_int_equal(json_integer_value(json_object_get(body, "executionTimeoutMinutes")), cases[i].minutes);
    json_decref(body);
    bench_clear(&b);
  }
}

static void settings_without_end_are_refused_before_they_are_sent(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STARTED, 0}};
  size_t size = 200 * 1024;
  char *large = malloc(size);
  assert_non_null(large);
  memset(large, 'x', size);
  struct spark_property property = {VIEW_LIT("spark.x"), {large, size}};
  struct spark_job_file file = {"s3://bk/kpi_job.py", &property, 1};
  struct bench b;
  bench_init(&b, script, 1, &file);
  assert_int_equal(start(&b, 0), KPI_ENGINE_FAILED);
  assert_int_equal(b.http.asked, 0);
  bench_clear(&b);
  free(large);
}

static void a_start_whose_reply_was_lost_is_sent_again_with_its_token(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_BROKEN, 0, NULL, NULL, 0},
      {HTTP_REPLIED, 500, ERROR_TYPE("InternalServerException"), MESSAGE("x"), 0},
      {HTTP_REPLIED, 200, NULL, STARTED, 0}};
  struct bench b;
  bench_init(&b, script, COUNT_OF(script), &plain);
  assert_int_equal(start(&b, 0), KPI_OK);
  assert_int_equal(fake_http_count(&b.http, "\"clientToken\":\"kpi-r-1\""), 3);
  bench_clear(&b);
}

static void each_refusal_has_its_code_and_its_words(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
    size_t asked;
    const char *error, *says;
  } cases[] = {
      {{HTTP_REPLIED, 400, ERROR_TYPE("ValidationException"), MESSAGE("auto start is off"), 0},
       KPI_ENGINE_FAILED,
       1,
       "ValidationException",
       "auto start is off"},
      {{HTTP_REPLIED, 403, ERROR_TYPE("AccessDeniedException"),
        "{\"Message\":\"not authorized to perform: iam:PassRole\"}", 0},
       KPI_ENGINE_FAILED,
       1,
       "AccessDeniedException",
       "iam:PassRole"},
      {{HTTP_REPLIED, 404, ERROR_TYPE("ResourceNotFoundException"), MESSAGE("Application 00app not found"),
        0},
       KPI_ENGINE_FAILED,
       1,
       "ResourceNotFoundException",
       "Application 00app"},
      {{HTTP_REPLIED, 409, ERROR_TYPE("ConflictException"), MESSAGE("conflict"), 0},
       KPI_ENGINE_FAILED,
       1,
       "ConflictException",
       "the token kpi-r-1 was used before, for another job"},
      {{HTTP_REPLIED, 402, ERROR_TYPE("ServiceQuotaExceededException"), MESSAGE("quota"), 0},
       KPI_ENGINE_UNAVAILABLE,
       1,
       "ServiceQuotaExceededException",
       "quota"},
      {{HTTP_REPLIED, 429, ERROR_TYPE("ThrottlingException"), MESSAGE("slow down"), 0},
       KPI_ENGINE_UNAVAILABLE,
       3,
       "ThrottlingException",
       "slow down"},
      {{HTTP_REPLIED, 500, ERROR_TYPE("InternalServerException"), MESSAGE("sorry"), 0},
       KPI_ENGINE_UNAVAILABLE,
       3,
       "InternalServerException",
       "sorry"},
      {{HTTP_REPLIED, 503, NULL, "<html>", 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "503"},
      {{HTTP_REPLIED, 400, NULL, "{\"__type\":\"a.b#SerializationException\",\"message\":\"m\"}", 0},
       KPI_ENGINE_FAILED,
       1,
       "SerializationException",
       "m"},
      {{HTTP_REPLIED, 403, ERROR_TYPE("ExpiredTokenException"), MESSAGE("old"), 0},
       KPI_CREDENTIALS_EXPIRED,
       2,
       "ExpiredTokenException",
       "old"},
      {{HTTP_REPLIED, 403, ERROR_TYPE("UnrecognizedClientException"), MESSAGE("who"), 0},
       KPI_ENGINE_FAILED,
       1,
       "UnrecognizedClientException",
       "who"},
      {{HTTP_REPLIED, 200, NULL, "garbage", 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "no JSON"},
      {{HTTP_REPLIED, 200, NULL, "[]", 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "no JSON"},
      {{HTTP_REPLIED, 200, NULL, "{\"jobRunId\":7}", 0}, KPI_ENGINE_UNAVAILABLE, 1, "", "jobRunId"},
      {{HTTP_REPLIED, 200, NULL,
        "{\"jobRunId\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", 0},
       KPI_ENGINE_UNAVAILABLE,
       1,
       "",
       "jobRunId"},
      {{HTTP_TOO_LARGE, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "scripted"},
      {{HTTP_UNREACHABLE, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "scripted"},
      {{HTTP_TIMED_OUT, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, 3, "", "scripted"},
      {{HTTP_STOPPED, 0, NULL, NULL, 0}, KPI_CANCELLED, 1, "", "scripted"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, &cases[i].reply, 1, &plain);
    assert_int_equal(start(&b, 0), cases[i].code);
    assert_int_equal(b.err.code, cases[i].code);
    assert_string_equal(b.id, "");
    assert_int_equal(b.http.asked, cases[i].asked);
    assert_string_equal(b.err.remote.service, "emr-serverless");
    assert_string_equal(b.err.remote.operation, "StartJobRun");
    assert_string_equal(b.err.remote.error, cases[i].error);
    if (b.err.remote.error[0])
      assert_int_equal(b.err.remote.http_status, cases[i].reply.status);
    if (cases[i].reply.head)
      assert_string_equal(b.err.remote.request_id, "R1");
    if (!strstr(b.err.message, cases[i].says))
      fail_msg("\"%s\" does not say %s", b.err.message, cases[i].says);
    bench_clear(&b);
  }
}

/* ---- looking ---- */

static void each_state_of_a_job_run_is_known(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum spark_job_state state;
  } cases[] = {{"SUBMITTED", SPARK_JOB_WAITING},   {"PENDING", SPARK_JOB_WAITING},
               {"QUEUED", SPARK_JOB_WAITING},      {"SCHEDULED", SPARK_JOB_WAITING},
               {"RUNNING", SPARK_JOB_RUNNING},     {"CANCELLING", SPARK_JOB_WAITING},
               {"SUCCESS", SPARK_JOB_SUCCEEDED},   {"FAILED", SPARK_JOB_FAILED},
               {"CANCELLED", SPARK_JOB_CANCELLED}, {"INVENTED", SPARK_JOB_WAITING}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char body[256], reason[64];
    snprintf(body, sizeof body, RUN("%s", "why"), cases[i].name);
    snprintf(reason, sizeof reason, "%s: why", cases[i].name);
    const struct fake_reply script = {HTTP_REPLIED, 200, NULL, body, 0};
    struct bench b;
    bench_init(&b, &script, 1, &plain);
    assert_int_equal(look(&b), KPI_OK);
    assert_int_equal(b.status.state, cases[i].state);
    assert_string_equal(b.status.reason, reason);
    assert_int_equal(fake_http_count(&b.http, "GET " RUNS "/00run1\n"), 1);
    bench_clear(&b);
  }
}

static void a_long_reason_is_cut(void **state) {
  (void)state;
  char details[301], body[512];
  memset(details, 'x', 300);
  details[300] = '\0';
  snprintf(body, sizeof body, RUN("FAILED", "%s"), details);
  const struct fake_reply script = {HTTP_REPLIED, 200, NULL, body, 0};
  struct bench b;
  bench_init(&b, &script, 1, &plain);
  assert_int_equal(look(&b), KPI_OK);
  assert_int_equal(strlen(b.status.reason), SPARK_REASON_SIZE - 1);
  bench_clear(&b);
}

static void a_missing_job_run_is_told_from_a_missing_application(void **state) {
  (void)state;
  static const struct {
    const char *body;
    enum kpi_code code;
  } cases[] = {{MESSAGE("Job run 00run1 does not exist"), KPI_OK},
               {MESSAGE("Job run 00run1 of application 00app not found"), KPI_OK},
               {MESSAGE("not found"), KPI_OK},
               {MESSAGE("Application 00app does not exist"), KPI_ENGINE_FAILED},
               {MESSAGE("Application not found"), KPI_ENGINE_FAILED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script = {HTTP_REPLIED, 404, ERROR_TYPE("ResourceNotFoundException"),
                                      cases[i].body, 0};
    struct bench b;
    bench_init(&b, &script, 1, &plain);
    assert_int_equal(look(&b), cases[i].code);
    assert_int_equal(b.status.state, cases[i].code ? SPARK_JOB_WAITING : SPARK_JOB_UNKNOWN);
    assert_int_equal(cancel(&b), cases[i].code);
    assert_int_equal(b.err.code, cases[i].code);
    bench_clear(&b);
  }
}

static void a_look_that_tells_nothing_is_no_state(void **state) {
  (void)state;
  static const char *const bodies[] = {
      "{}", "{\"jobRun\":[]}", "{\"jobRun\":{\"state\":\"\"}}",
      "{\"jobRun\":{\"state\":\"A_STATE_THAT_HAS_MANY_MORE_LETTERS_THAN_ANY\"}}"};
  for (size_t i = 0; i < COUNT_OF(bodies); i++) {
    const struct fake_reply script = {HTTP_REPLIED, 200, NULL, bodies[i], 0};
    struct bench b;
    bench_init(&b, &script, 1, &plain);
    assert_int_equal(look(&b), KPI_ENGINE_UNAVAILABLE);
    assert_string_equal(b.err.remote.operation, "GetJobRun");
    bench_clear(&b);
  }
}

/* ---- cancelling ---- */

static void a_cancel_of_what_is_over_is_no_error(void **state) {
  (void)state;
  static const struct fake_reply refusal = {HTTP_REPLIED, 400, ERROR_TYPE("ValidationException"),
                                            MESSAGE("cannot be cancelled"), 0};
  static const struct {
    struct fake_reply script[2];
    size_t asked;
    enum kpi_code code;
  } cases[] = {{{{HTTP_REPLIED, 200, NULL, STARTED, 0}, {0}}, 1, KPI_OK},
               {{refusal, {HTTP_REPLIED, 200, NULL, RUN("SUCCESS", ""), 0}}, 2, KPI_OK},
               {{refusal, {HTTP_REPLIED, 200, NULL, RUN("CANCELLED", ""), 0}}, 2, KPI_OK},
               {{refusal, {HTTP_REPLIED, 200, NULL, RUN("RUNNING", ""), 0}}, 2, KPI_ENGINE_FAILED},
               {{refusal, {HTTP_REPLIED, 403, ERROR_TYPE("AccessDeniedException"), MESSAGE("no"), 0}},
                2,
                KPI_ENGINE_FAILED},
               {{{HTTP_REPLIED, 403, ERROR_TYPE("AccessDeniedException"), MESSAGE("no"), 0}, {0}},
                1,
                KPI_ENGINE_FAILED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, cases[i].script, 2, &plain);
    assert_int_equal(cancel(&b), cases[i].code);
    assert_int_equal(b.err.code, cases[i].code);
    assert_int_equal(b.http.asked, cases[i].asked);
    assert_int_equal(fake_http_count(&b.http, "DELETE " RUNS "/00run1\n"), 1);
    if (cases[i].code)
      assert_string_equal(b.err.remote.operation, "CancelJobRun");
    bench_clear(&b);
  }
}

/* ---- finding ---- */

#define LISTED(id, name) "{\"applicationId\":\"00app\",\"id\":\"" id "\",\"name\":\"" name "\"}"
#define LIST(runs, more) "{\"jobRuns\":[" runs "]" more "}"

static enum kpi_code find(struct bench *b) {
  strcpy(b->id, "?");
  return spark_cluster_find(b->cluster, "kpi-r-1", NULL, b->id, &b->err);
}

static void a_job_run_is_found_by_its_name_among_those_that_are_not_over(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL,
       LIST(LISTED("00a", "kpi-r-11") ",{\"id\":\"00b\"},7", ",\"nextToken\":\"a=b_c-d\""), 0},
      {HTTP_REPLIED, 200, NULL, LIST("", ",\"nextToken\":\"e\""), 0},
      {HTTP_REPLIED, 200, NULL, LIST(LISTED("00c", "other") "," LISTED("00d", "kpi-r-1"), ""), 0}};
  struct bench b;
  bench_init(&b, script, COUNT_OF(script), &plain);
  assert_int_equal(find(&b), KPI_OK);
  assert_string_equal(b.id, "00d");
  assert_int_equal(b.http.asked, 3);
  assert_int_equal(fake_http_count(&b.http, "GET " RUNS "?maxResults=50&states=CANCELLING&states=PENDING"
                                            "&states=QUEUED&states=RUNNING&states=SCHEDULED"
                                            "&states=SUBMITTED\n"),
                   1);
  assert_int_equal(fake_http_count(&b.http, "&nextToken=a%3Db_c-d&"), 1);
  assert_int_equal(fake_http_count(&b.http, "&nextToken=e&"), 1);
  bench_clear(&b);
}

static void a_job_run_that_is_not_listed_has_no_id(void **state) {
  (void)state;
  static const char *const bodies[] = {LIST("", ""), LIST(LISTED("00a", "other"), ",\"nextToken\":null"),
                                       LIST(LISTED("", "kpi-r-1"), "")};
  for (size_t i = 0; i < COUNT_OF(bodies); i++) {
    const struct fake_reply script = {HTTP_REPLIED, 200, NULL, bodies[i], 0};
    struct bench b;
    bench_init(&b, &script, 1, &plain);
    assert_int_equal(find(&b), KPI_OK);
    assert_string_equal(b.id, "");
    bench_clear(&b);
  }
}

static void a_list_that_tells_nothing_or_never_ends_is_an_error(void **state) {
  (void)state;
  static const struct {
    long status;
    const char *head, *body;
    enum kpi_code code;
  } cases[] = {{200, NULL, "{}", KPI_ENGINE_UNAVAILABLE},
               {200, NULL, "{\"jobRuns\":{}}", KPI_ENGINE_UNAVAILABLE},
               {200, NULL, LIST("", ",\"nextToken\":\"again\""), KPI_ENGINE_UNAVAILABLE},
               {403, ERROR_TYPE("AccessDeniedException"), MESSAGE("no"), KPI_ENGINE_FAILED},
               {404, ERROR_TYPE("ResourceNotFoundException"), MESSAGE("Application 00app does not exist"),
                KPI_ENGINE_FAILED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script = {HTTP_REPLIED, cases[i].status, cases[i].head, cases[i].body, 0};
    struct bench b;
    bench_init(&b, &script, 1, &plain);
    assert_int_equal(find(&b), cases[i].code);
    assert_string_equal(b.id, "");
    assert_string_equal(b.err.remote.operation, "ListJobRuns");
    assert_in_range(b.http.asked, 1, 100);
    bench_clear(&b);
  }
}

/* ---- where it is ---- */

static void the_service_is_found_as_the_others_are(void **state) {
  (void)state;
  static const struct {
    const char *own, *common, *region, *fips, *url;
  } cases[] = {
      {NULL, NULL, "eu-west-1", NULL, "https://emr-serverless.eu-west-1.amazonaws.com/"},
      {NULL, NULL, "us-gov-west-1", "true", "https://emr-serverless-fips.us-gov-west-1.amazonaws.com/"},
      {NULL, NULL, "cn-north-1", NULL, "https://emr-serverless.cn-north-1.amazonaws.com.cn/"},
      {NULL, "http://127.0.0.1:6", "eu-west-1", NULL, "http://127.0.0.1:6/"},
      {"http://127.0.0.1:5/x", "http://127.0.0.1:6", "eu-west-1", NULL, "http://127.0.0.1:5/x/"}};
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, RUN("RUNNING", ""), 0}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char line[160];
    struct bench b;
    cases[i].own ? setenv("AWS_ENDPOINT_URL_EMR_SERVERLESS", cases[i].own, 1)
                 : unsetenv("AWS_ENDPOINT_URL_EMR_SERVERLESS");
    cases[i].common ? setenv("AWS_ENDPOINT_URL", cases[i].common, 1) : unsetenv("AWS_ENDPOINT_URL");
    cases[i].fips ? setenv("AWS_USE_FIPS_ENDPOINT", cases[i].fips, 1) : unsetenv("AWS_USE_FIPS_ENDPOINT");
    setenv("AWS_REGION", cases[i].region, 1);
    bench_init(&b, script, 1, &plain);
    assert_int_equal(look(&b), KPI_OK);
    snprintf(line, sizeof line, "GET %sapplications/00app/jobruns/00run1\n", cases[i].url);
    assert_int_equal(fake_http_count(&b.http, line), 1);
    bench_clear(&b);
  }
}

static int set_environment(void **state) {
  (void)state;
  aws_env_set();
  setenv("AWS_ENDPOINT_URL_EMR_SERVERLESS", "http://127.0.0.1:7", 1);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_job_run_is_signed_and_has_its_token_and_one_attempt),
      cmocka_unit_test(settings_are_quoted_where_they_have_to_be),
      cmocka_unit_test(time_is_told_in_minutes_that_aws_takes),
      cmocka_unit_test(settings_without_end_are_refused_before_they_are_sent),
      cmocka_unit_test(a_start_whose_reply_was_lost_is_sent_again_with_its_token),
      cmocka_unit_test(each_refusal_has_its_code_and_its_words),
      cmocka_unit_test(each_state_of_a_job_run_is_known),
      cmocka_unit_test(a_long_reason_is_cut),
      cmocka_unit_test(a_missing_job_run_is_told_from_a_missing_application),
      cmocka_unit_test(a_look_that_tells_nothing_is_no_state),
      cmocka_unit_test(a_cancel_of_what_is_over_is_no_error),
      cmocka_unit_test(a_job_run_is_found_by_its_name_among_those_that_are_not_over),
      cmocka_unit_test(a_job_run_that_is_not_listed_has_no_id),
      cmocka_unit_test(a_list_that_tells_nothing_or_never_ends_is_an_error),
      cmocka_unit_test_setup(the_service_is_found_as_the_others_are, set_environment)};
  return cmocka_run_group_tests_name("spark_emr", tests, set_environment, NULL);
}
