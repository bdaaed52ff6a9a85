/* SPDX-License-Identifier: MIT
 * The REST protocol of standalone clusters, behind a scripted transport. */
#include "pipeline/spark_cluster.h"

#include "unit.h"

#include "fake_http.h"

#include <jansson.h>
#include <unistd.h>

#define REST "http://master:6066"
#define CREATED(id)                                                                                          \
  "{\"action\":\"CreateSubmissionResponse\",\"serverSparkVersion\":\"3.5.9\",\"submissionId\":\"" id         \
  "\",\"success\":true}"
#define REFUSED(message) "{\"action\":\"x\",\"success\":false,\"message\":\"" message "\"}"
#define STATUS(state)                                                                                        \
  "{\"action\":\"SubmissionStatusResponse\",\"driverState\":\"" state "\",\"submissionId\":\"driver-1\","    \
  "\"success\":true}"
#define STANDBY "Current state is not alive: STANDBY. Can only accept driver submissions in ALIVE state."

struct bench {
  struct fake_http http;
  struct spark_cluster *cluster;
  struct spark_job_status status;
  char id[SPARK_JOB_ID_SIZE];
  struct err err;
};

static const struct spark_property properties[] = {
    {VIEW_LIT("spark.executor.memory"), VIEW_LIT("4g")},
    {VIEW_LIT("spark.executor.extraJavaOptions"), VIEW_LIT("-Da=\"b c\" -Dd=\\e")},
    {VIEW_LIT("spark.master"), VIEW_LIT("local[*]")},
    {VIEW_LIT("spark.empty"), {NULL, 0}},
    {VIEW_LIT("spark.driver.extraJavaOptions"), VIEW_LIT("-Xss4m")}};
static const struct spark_job_file files[] = {{"s3://bk/jobs/kpi_job.py", properties, 4},
                                              {"file:///opt/kpi_job.py", properties, 5}};

static void bench_init(struct bench *b, const struct fake_reply *script, size_t len, const char *url,
                       const char *token_file, const struct spark_job_file *file) {
  *b = (struct bench){0};
  fake_http_init(&b->http, script, len);
  b->cluster = spark_standalone_new(&b->http.base, url, "spark://master:7077", token_file, file);
  assert_non_null(b->cluster);
  assert_string_equal(b->cluster->vtable->s3_scheme, "s3a");
  assert_false(b->cluster->vtable->start_is_idempotent);
}

static void bench_clear(struct bench *b) {
  spark_cluster_free(b->cluster);
  buf_clear(&b->http.requests);
}

static enum kpi_code start(struct bench *b) {
  const struct spark_submission s = {"kpi-r-1", "s3a://bk/w/kpi-runs/r/1/spec.json", 600, NULL};
  return spark_cluster_start(b->cluster, &s, b->id, &b->err);
}

static enum kpi_code look(struct bench *b) {
  return spark_cluster_look(b->cluster, "driver-1", NULL, &b->status, &b->err);
}

static enum kpi_code cancel(struct bench *b) {
  return spark_cluster_cancel(b->cluster, "driver-1", NULL, &b->err);
}

static void assert_property(const json_t *body, const char *name, const char *value) {
  assert_string_equal(json_string_value(json_object_get(json_object_get(body, "sparkProperties"), name)),
                      value);
}

/* ---- starting ---- */

static void a_job_is_a_command_line_of_spark_submit(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, CREATED("driver-20261129-0001"), 0}};
  static const char *const args[] = {"--master",
                                     "spark://master:7077",
                                     "--deploy-mode",
                                     "client",
                                     "--name",
                                     "kpi-r-1",
                                     "--conf",
                                     "spark.executor.memory=4g",
                                     "--conf",
                                     "spark.executor.extraJavaOptions=-Da=\"b c\" -Dd=\\e",
                                     "--conf",
                                     "spark.empty=",
                                     "s3a://bk/jobs/kpi_job.py",
                                     "s3a://bk/w/kpi-runs/r/1/spec.json"};
  struct bench b;
  bench_init(&b, script, 1, REST "//", NULL, &files[0]);
  assert_int_equal(start(&b), KPI_OK);
  assert_string_equal(b.id, "driver-20261129-0001");
  assert_int_equal(fake_http_count(&b.http, "POST " REST "/v1/submissions/create\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "Content-Type: application/json;charset=UTF-8\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "Authorization"), 0);
  json_t *body = fake_http_sent(&b.http), *list = json_object_get(body, "appArgs");
  assert_int_equal(json_object_size(body), 7);
  assert_string_equal(json_string_value(json_object_get(body, "action")), "CreateSubmissionRequest");
  assert_string_equal(json_string_value(json_object_get(body, "mainClass")),
                      "org.apache.spark.deploy.SparkSubmit");
  assert_string_equal(json_string_value(json_object_get(body, "appResource")), "");
  assert_string_equal(json_string_value(json_object_get(body, "clientSparkVersion")), "3.5.0");
  assert_int_equal(json_object_size(json_object_get(body, "environmentVariables")), 1);
  assert_int_equal(json_array_size(list), COUNT_OF(args));
  for (size_t i = 0; i < COUNT_OF(args); i++)
    assert_string_equal(json_string_value(json_array_get(list, i)), args[i]);
  assert_int_equal(json_object_size(json_object_get(body, "sparkProperties")), 8);
  assert_property(body, "spark.app.name", "kpi-r-1");
  assert_property(body, "spark.master", "spark://master:7077");
  assert_property(body, "spark.submit.deployMode", "cluster");
  assert_property(body, "spark.driver.supervise", "false");
  assert_property(body, "spark.executor.memory", "4g");
  assert_property(body, "spark.executor.extraJavaOptions", "-Da=\"b c\" -Dd=\\e");
  assert_property(body, "spark.empty", "");
  const json_t *options =
      json_object_get(json_object_get(body, "sparkProperties"), "spark.driver.extraJavaOptions");
  assert_non_null(strstr(json_string_value(options), "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED "));
  json_decref(body);
  bench_clear(&b);
}

static void java_options_of_the_user_replace_ours(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, CREATED("driver-1"), 0}};
  struct bench b;
  bench_init(&b, script, 1, REST, NULL, &files[1]);
  assert_int_equal(start(&b), KPI_OK);
  assert_int_equal(fake_http_count(&b.http, "--add-opens"), 0);
  assert_int_equal(fake_http_count(&b.http, "\"file:///opt/kpi_job.py\""), 1);
  json_t *body = fake_http_sent(&b.http);
  assert_property(body, "spark.driver.extraJavaOptions", "-Xss4m");
  json_decref(body);
  bench_clear(&b);
}

static void each_reply_to_a_start_has_its_code(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
    const char *says;
  } cases[] = {
      {{HTTP_REPLIED, 200, NULL, REFUSED("no room"), 0}, KPI_ENGINE_FAILED, "no room"},
      {{HTTP_REPLIED, 200, NULL, REFUSED(STANDBY), 0}, KPI_ENGINE_UNAVAILABLE, "STANDBY"},
      {{HTTP_REPLIED, 200, NULL, "{\"success\":true}", 0}, KPI_ENGINE_UNAVAILABLE, "submissionId"},
      {{HTTP_REPLIED, 200, NULL, CREATED("../x"), 0}, KPI_ENGINE_UNAVAILABLE, "submissionId"},
      {{HTTP_REPLIED, 200, NULL, CREATED(""), 0}, KPI_ENGINE_UNAVAILABLE, "submissionId"},
      {{HTTP_REPLIED, 200, NULL, "{}", 0}, KPI_ENGINE_UNAVAILABLE, "submissionId"},
      {{HTTP_REPLIED, 200, NULL, "[1]", 0}, KPI_ENGINE_UNAVAILABLE, "no JSON object"},
      {{HTTP_REPLIED, 200, NULL, "", 0}, KPI_ENGINE_UNAVAILABLE, "no JSON object"},
      {{HTTP_REPLIED, 200, NULL, "{\"success\":tru", 0}, KPI_ENGINE_UNAVAILABLE, "no JSON object"},
      {{HTTP_REPLIED, 400, NULL, REFUSED("Malformed request"), 0}, KPI_ENGINE_FAILED, "Malformed request"},
      {{HTTP_REPLIED, 468, NULL, REFUSED("version"), 0}, KPI_ENGINE_FAILED, "version"},
      {{HTTP_REPLIED, 302, NULL, "", 0}, KPI_ENGINE_FAILED, "REST server"},
      {{HTTP_REPLIED, 404, NULL, "<html>", 0}, KPI_ENGINE_FAILED, "REST server"},
      {{HTTP_REPLIED, 401, NULL, "", 0}, KPI_ENGINE_FAILED, "KPI_SPARK_TOKEN_FILE"},
      {{HTTP_REPLIED, 403, NULL, "", 0}, KPI_ENGINE_FAILED, "KPI_SPARK_TOKEN_FILE"},
      {{HTTP_REPLIED, 500, NULL, REFUSED("boom"), 0}, KPI_ENGINE_UNAVAILABLE, "boom"},
      {{HTTP_REPLIED, 429, NULL, "", 0}, KPI_ENGINE_UNAVAILABLE, "429"},
      {{HTTP_UNREACHABLE, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, "scripted"},
      {{HTTP_TIMED_OUT, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, "scripted"},
      {{HTTP_BROKEN, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, "scripted"},
      {{HTTP_TOO_LARGE, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE, "too large"},
      {{HTTP_NO_MEMORY, 0, NULL, NULL, 0}, KPI_OUT_OF_MEMORY, "scripted"},
      {{HTTP_STOPPED, 0, NULL, NULL, 0}, KPI_CANCELLED, "scripted"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, &cases[i].reply, 1, REST, NULL, &files[0]);
    assert_int_equal(start(&b), cases[i].code);
    assert_int_equal(b.err.code, cases[i].code);
    assert_string_equal(b.id, "");
    if (!strstr(b.err.message, cases[i].says))
      fail_msg("\"%s\" does not say %s", b.err.message, cases[i].says);
    assert_int_equal(b.http.asked, 1); /* a start is never sent twice */
    assert_string_equal(b.err.remote.service, "spark");
    assert_string_equal(b.err.remote.operation, "create");
    assert_int_equal(b.err.remote.http_status, cases[i].reply.status);
    bench_clear(&b);
  }
}

/* ---- looking and cancelling ---- */

static void each_state_of_a_driver_is_known(void **state) {
  (void)state;
  static const struct {
    const char *body;
    enum spark_job_state state;
    const char *reason;
  } cases[] = {
      {STATUS("SUBMITTED"), SPARK_JOB_WAITING, "SUBMITTED"},
      {STATUS("RELAUNCHING"), SPARK_JOB_WAITING, "RELAUNCHING"},
      {STATUS("UNKNOWN"), SPARK_JOB_WAITING, "UNKNOWN"},
      {STATUS("RUNNING"), SPARK_JOB_RUNNING, "RUNNING"},
      {STATUS("FINISHED"), SPARK_JOB_SUCCEEDED, "FINISHED"},
      {STATUS("FAILED"), SPARK_JOB_FAILED, "FAILED"},
      {STATUS("KILLED"), SPARK_JOB_CANCELLED, "KILLED"},
      {"{\"driverState\":\"ERROR\",\"message\":\"Exception from the cluster:\\njava.io.IOException: No "
       "space\\n\\tat x\",\"success\":true}",
       SPARK_JOB_FAILED, "ERROR: java.io.IOException: No space"},
      {"{\"submissionId\":\"driver-1\",\"success\":false}", SPARK_JOB_UNKNOWN,
       "the master knows no such driver"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script = {HTTP_REPLIED, 200, NULL, cases[i].body, 0};
    struct bench b;
    bench_init(&b, &script, 1, REST, NULL, &files[0]);
    assert_int_equal(look(&b), KPI_OK);
    assert_int_equal(b.status.state, cases[i].state);
    assert_string_equal(b.status.reason, cases[i].reason);
    assert_int_equal(fake_http_count(&b.http, "GET " REST "/v1/submissions/status/driver-1\n"), 1);
    bench_clear(&b);
  }
}

static void a_look_that_tells_nothing_is_no_state(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
  } cases[] = {
      {{HTTP_REPLIED, 200, NULL, STATUS("HAPPY"), 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 200, NULL, "{\"success\":true}", 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 200, NULL, "{\"driverState\":\"RUNNING\"}", 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 200, NULL, REFUSED("Exception from the cluster:\\njava.lang.Exception: " STANDBY), 0},
       KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 503, NULL, "", 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_TIMED_OUT, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 403, NULL, "", 0}, KPI_ENGINE_FAILED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, &cases[i].reply, 1, REST, NULL, &files[0]);
    assert_int_equal(look(&b), cases[i].code);
    assert_string_equal(b.err.remote.operation, "status");
    bench_clear(&b);
  }
}

static void a_cancel_of_what_is_over_is_no_error(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
  } cases[] = {
      {{HTTP_REPLIED, 200, NULL, "{\"message\":\"Kill request for driver-1 submitted\",\"success\":true}", 0},
       KPI_OK},
      {{HTTP_REPLIED, 200, NULL, REFUSED("Driver driver-1 has already finished or does not exist"), 0},
       KPI_OK},
      {{HTTP_REPLIED, 200, NULL, REFUSED(STANDBY), 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 200, NULL, "{}", 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 500, NULL, "", 0}, KPI_ENGINE_UNAVAILABLE},
      {{HTTP_REPLIED, 401, NULL, "", 0}, KPI_ENGINE_FAILED},
      {{HTTP_BROKEN, 0, NULL, NULL, 0}, KPI_ENGINE_UNAVAILABLE}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, &cases[i].reply, 1, REST, NULL, &files[0]);
    assert_int_equal(cancel(&b), cases[i].code);
    assert_int_equal(fake_http_count(&b.http, "POST " REST "/v1/submissions/kill/driver-1\n"), 1);
    bench_clear(&b);
  }
}

/* ---- the token ---- */

static void write_token(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void the_token_is_read_before_every_call(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STATUS("RUNNING"), 0},
                                             {HTTP_REPLIED, 200, NULL, STATUS("RUNNING"), 0},
                                             {HTTP_REPLIED, 403, NULL, "", 0}};
  struct bench b;
  char path[] = "/tmp/kpid_token_XXXXXX";
  close(mkstemp(path));
  bench_init(&b, script, COUNT_OF(script), REST, path, &files[0]);
  write_token(path, " \nfirst.token\r\n\n");
  assert_int_equal(look(&b), KPI_OK);
  write_token(path, "second.token");
  assert_int_equal(look(&b), KPI_OK);
  assert_int_equal(fake_http_count(&b.http, "\nAuthorization: Bearer first.token\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "\nAuthorization: Bearer second.token\n"), 1);
  assert_int_equal(look(&b), KPI_ENGINE_FAILED);
  assert_non_null(strstr(b.err.message, "KPI_SPARK_TOKEN_FILE names is refused"));
  assert_null(strstr(b.err.message, "second.token"));
  unlink(path);
  bench_clear(&b);
}

static void a_file_without_a_token_is_named_and_nothing_is_sent(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STATUS("RUNNING"), 0}};
  static const char *const texts[] = {"", " \n", "two tokens", "a\nX-Evil: b", "\x7f", "\xc3\xa4"};
  struct bench b;
  char path[] = "/tmp/kpid_token_XXXXXX", large[20 * 1024];
  close(mkstemp(path));
  bench_init(&b, script, 1, REST, path, &files[0]);
  for (size_t i = 0; i <= COUNT_OF(texts); i++) {
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    write_token(path, i < COUNT_OF(texts) ? texts[i] : large);
    assert_int_equal(look(&b), KPI_ENGINE_FAILED);
    assert_non_null(strstr(b.err.message, "KPI_SPARK_TOKEN_FILE="));
  }
  unlink(path);
  assert_int_equal(start(&b), KPI_ENGINE_FAILED);
  assert_non_null(strstr(b.err.message, "cannot be read: No such file"));
  assert_int_equal(b.http.asked, 0);
  bench_clear(&b);
}

static void a_cluster_without_a_client_is_none(void **state) {
  (void)state;
  assert_null(spark_standalone_new(NULL, REST, "spark://master:7077", NULL, &files[0]));
  spark_cluster_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_job_is_a_command_line_of_spark_submit),
                                     cmocka_unit_test(java_options_of_the_user_replace_ours),
                                     cmocka_unit_test(each_reply_to_a_start_has_its_code),
                                     cmocka_unit_test(each_state_of_a_driver_is_known),
                                     cmocka_unit_test(a_look_that_tells_nothing_is_no_state),
                                     cmocka_unit_test(a_cancel_of_what_is_over_is_no_error),
                                     cmocka_unit_test(the_token_is_read_before_every_call),
                                     cmocka_unit_test(a_file_without_a_token_is_named_and_nothing_is_sent),
                                     cmocka_unit_test(a_cluster_without_a_client_is_none)};
  return cmocka_run_group_tests_name("spark_standalone", tests, NULL, NULL);
}
