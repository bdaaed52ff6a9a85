/* SPDX-License-Identifier: MIT */
#include "aws/aws_call.h"
#include "aws/dynamodb.h"
#include "aws/retry_budget.h"
#include "aws/s3.h"
#include "aws/s3_xml.h"
#include "aws/xml.h"

#include "aws_env.h"
#include "unit.h"

#include "fake_http.h"

#define JSON_ERROR(type) "{\"__type\":\"com.amazonaws.dynamodb.v20120810#" type "\",\"message\":\"why\"}"
#define XML_ERROR(code)                                                                                      \
  "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>why</Message>"                                \
  "<RequestId>R1</RequestId></Error>"

static int set_environment(void **state) {
  (void)state;
  aws_env_set();
  setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", 1);
  setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8", 1);
  return 0;
}

static struct aws *connect_to(struct fake_http *f, const struct fake_reply *script, size_t len) {
  struct aws *aws;
  struct err err;
  fake_http_init(f, script, len);
  assert_int_equal(aws_new_with(&f->base, &aws, &err), KPI_OK);
  return aws;
}

static void done_with(struct aws *aws, struct fake_http *f) {
  aws_free(aws);
  buf_clear(&f->requests);
}

/* Sends one call to DynamoDB; returns its code. */
static enum kpi_code ask_dynamodb(struct aws *aws, struct aws_error *error, struct err *err) {
  json_t *reply = NULL;
  enum kpi_code rc = dynamodb_call(aws, "GetItem", json_object(), NULL, &reply, error, err);
  json_decref(reply);
  return rc;
}

/* ---- retries ---- */

static void what_passes_is_tried_again_and_the_rest_is_not(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    size_t attempts;
    enum kpi_code code;
  } cases[] = {
      {{HTTP_REPLIED, 500, NULL, JSON_ERROR("InternalServerError"), 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_REPLIED, 502, NULL, "<html>bad gateway</html>", 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_REPLIED, 503, NULL, "", 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_BROKEN, 0, NULL, NULL, 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_UNREACHABLE, 0, NULL, NULL, 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_REPLIED, 200, "x-amz-crc32: 1\r\n", "{}", 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_REPLIED, 200, NULL, "<html>welcome</html>", 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_TOO_LARGE, 0, NULL, NULL, 0}, 3, KPI_DYNAMODB_UNAVAILABLE},
      {{HTTP_REPLIED, 400, NULL, JSON_ERROR("ValidationException"), 0}, 1, KPI_DYNAMODB_VALIDATION},
      {{HTTP_REPLIED, 400, NULL, JSON_ERROR("ResourceNotFoundException"), 0}, 1, KPI_DYNAMODB_TABLE_MISSING},
      {{HTTP_REPLIED, 400, NULL, JSON_ERROR("AccessDeniedException"), 0}, 1, KPI_DYNAMODB_ACCESS_DENIED},
      {{HTTP_REPLIED, 400, NULL,
        "{\"__type\":\"X#ValidationException\",\"Message\":\"The provided key element does "
        "not match the schema\"}",
        0},
       1,
       KPI_DYNAMODB_SCHEMA_MISMATCH},
      {{HTTP_REPLIED, 400, NULL, JSON_ERROR("ExpiredTokenException"), 0}, 2, KPI_CREDENTIALS_EXPIRED},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct fake_http f;
    struct err err = {0};
    struct aws *aws = connect_to(&f, &cases[i].reply, 1);
    assert_int_equal(ask_dynamodb(aws, NULL, &err), cases[i].code);
    assert_int_equal(f.asked, cases[i].attempts);
    assert_string_equal(err.remote.service, "dynamodb");
    assert_string_equal(err.remote.operation, "GetItem");
    done_with(aws, &f);
  }
}

static void a_retry_that_succeeds_is_a_success(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_BROKEN, 0, NULL, NULL, 0},
                                             {HTTP_REPLIED, 500, NULL, NULL, 0},
                                             {HTTP_REPLIED, 200, "x-amz-crc32: 2745614147\r\n", "{}", 0}};
  struct fake_http f;
  struct err err;
  struct aws *aws = connect_to(&f, script, COUNT_OF(script));
  assert_int_equal(ask_dynamodb(aws, NULL, &err), KPI_OK);
  assert_int_equal(f.asked, 3);
  assert_int_equal(fake_http_count(&f, "x-amz-target: DynamoDB_20120810.GetItem"), 3);
  assert_int_equal(fake_http_count(&f, "authorization: AWS4-HMAC-SHA256 Credential=AKID/"), 3);
  done_with(aws, &f);
}

/* 100 % failures: 500 tokens at 5 a retry are 100 retries, whatever the number of calls. */
static void a_service_in_trouble_is_not_sent_many_times_its_load(void **state) {
  (void)state;
  struct retry_budget b;
  int retries = 0;
  retry_budget_init(&b);
  for (int call = 0; call < 1000; call++)
    for (int attempt = 1; attempt < 3; attempt++)
      retries += retry_budget_take(&b);
  print_message("1000 calls, all throttled: amplification %.2f\n", (1000.0 + retries) / 1000.0);
  assert_int_equal(retries, RETRY_BUDGET_TOKENS / RETRY_COST);
  retry_budget_give(&b, true);
  assert_true(retry_budget_take(&b));
  assert_false(retry_budget_take(&b));
}

static void a_wrong_clock_is_corrected_once(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 403, "Date: Mon, 24 Nov 2036 03:00:00 GMT\r\n", XML_ERROR("RequestTimeTooSkewed"), 0}};
  struct fake_http f;
  struct err err;
  struct aws *aws = connect_to(&f, script, 1);
  enum kpi_code rc = s3_list(aws, VIEW_LIT("b"), VIEW_LIT("p/"), NULL, NULL, NULL, &err);
  assert_int_equal(rc, KPI_S3_ACCESS_DENIED);
  assert_int_equal(f.asked, 2);
  assert_int_equal(fake_http_count(&f, "x-amz-date: 20361124T0300"), 1);
  done_with(aws, &f);
}

static void a_cancelled_transaction_is_judged_by_its_reasons(void **state) {
  (void)state;
  static const struct {
    const char *reasons;
    size_t attempts;
    bool condition;
  } cases[] = {{"[{\"Code\":\"None\"},{\"Code\":\"TransactionConflict\"}]", 3, false},
               {"[{\"Code\":\"ConditionalCheckFailed\"},{\"Code\":\"None\"}]", 1, true},
               {"[{\"Code\":\"ConditionalCheckFailed\"},{\"Code\":\"TransactionConflict\"}]", 1, true},
               {"[{\"Code\":\"ValidationError\",\"Message\":\"Item size exceeded\"}]", 1, false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char body[512];
    snprintf(body, sizeof body, "{\"__type\":\"x#TransactionCanceledException\",\"CancellationReasons\":%s}",
             cases[i].reasons);
    const struct fake_reply script = {HTTP_REPLIED, 400, NULL, body, 0};
    struct fake_http f;
    struct err err;
    struct aws_error error;
    struct aws *aws = connect_to(&f, &script, 1);
    assert_int_not_equal(ask_dynamodb(aws, &error, &err), KPI_OK);
    assert_int_equal(f.asked, cases[i].attempts);
    assert_int_equal(aws_error_has_reason(&error, REASON_CONDITION), cases[i].condition);
    done_with(aws, &f);
  }
}

static void an_error_tells_where_it_came_from(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 404, "x-amz-request-id: ABC\r\n", XML_ERROR("NoSuchBucket"), 0}};
  struct fake_http f;
  struct err err;
  struct aws *aws = connect_to(&f, script, 1);
  assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT(""), NULL, NULL, NULL, &err), KPI_S3_NO_SUCH_BUCKET);
  assert_string_equal(err.remote.error, "NoSuchBucket");
  assert_string_equal(err.remote.request_id, "ABC");
  assert_string_equal(err.remote.bucket, "b");
  assert_int_equal(err.remote.http_status, 404);
  done_with(aws, &f);
}

static void a_redirect_names_the_region(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 301, "x-amz-bucket-region: ap-south-1\r\nLocation: http://x/\r\n", "", 0}};
  struct fake_http f;
  struct err err;
  struct aws *aws = connect_to(&f, script, 1);
  assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT(""), NULL, NULL, NULL, &err), KPI_S3_NO_SUCH_BUCKET);
  assert_non_null(strstr(err.message, "ap-south-1"));
  assert_int_equal(f.asked, 1);
  done_with(aws, &f);
}

/* ---- listing ---- */

static enum kpi_code collect_key(void *arg, const struct s3_object *o, struct err *err) {
  (void)err;
  struct buf *keys = arg;
  buf_printf(keys, "%.*s=%llu;", (int)o->key.len, o->key.ptr, (unsigned long long)o->size);
  return KPI_OK;
}

#define CONTENTS(key, size)                                                                                  \
  "<Contents><Key>" key                                                                                      \
  "</Key><LastModified>2026-11-24T03:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"                    \
  "<Size>" size "</Size></Contents>"

static void a_listing_goes_over_its_pages_and_decodes_keys(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL,
       "<ListBucketResult><IsTruncated>true</IsTruncated>" CONTENTS(
           "d/a%2Bb+c.csv", "1") "<NextContinuationToken>t/+=%&amp;</"
                                 "NextContinuationToken><EncodingType>url</EncodingType></ListBucketResult>",
       0},
      {HTTP_REPLIED, 200, NULL,
       "<ListBucketResult><IsTruncated>false</IsTruncated>" CONTENTS(
           "d/a%2Bb+c&amp;.csv", "18446744073709551615") "</ListBucketResult>",
       0}};
  struct fake_http f;
  struct err err;
  struct buf keys;
  buf_init(&keys, 1024);
  struct aws *aws = connect_to(&f, script, COUNT_OF(script));
  assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT("d/"), NULL, collect_key, &keys, &err), KPI_OK);
  assert_view(buf_view(&keys), "d/a+b c.csv=1;d/a%2Bb+c&.csv=18446744073709551615;");
  assert_int_equal(
      fake_http_count(&f, "continuation-token=t%2F%2B%3D%25%26&encoding-type=url&list-type=2&prefix=d%2F"),
      1);
  buf_clear(&keys);
  done_with(aws, &f);
}

#define MORE(token) "<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"
#define LISTING(content) "<ListBucketResult>" content "</ListBucketResult>"

/* What is no listing is asked for again; one that says nonsense is not. */
static void a_listing_that_is_none_is_refused(void **state) {
  (void)state;
  static const struct {
    const char *body;
    size_t asked;
  } cases[] = {{"<html>hello</html>", 3},
               {"", 3},
               {"<ListBucketResult><Contents><Key>a</Key>", 3},
               {"<!DOCTYPE x [<!ENTITY a \"b\">]>" LISTING("&a;"), 3},
               {LISTING("<IsTruncated>true</IsTruncated>"), 1},
               {LISTING("<Contents><Key>a</Key><Size>-1</Size></Contents>"), 1},
               {LISTING(MORE("same")), 2}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script = {HTTP_REPLIED, 200, NULL, cases[i].body, 0};
    struct fake_http f;
    struct err err;
    struct buf keys;
    buf_init(&keys, 1024);
    struct aws *aws = connect_to(&f, &script, 1);
    assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT(""), NULL, collect_key, &keys, &err),
                     KPI_S3_UNAVAILABLE);
    assert_int_equal(f.asked, cases[i].asked);
    assert_string_equal(err.remote.operation, "ListObjectsV2");
    assert_int_equal(keys.len, 0);
    buf_clear(&keys);
    done_with(aws, &f);
  }
}

/* A page that was damaged on its way is asked for again, and hands its objects on once. */
static void a_damaged_page_is_read_once(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL, "<ListBucketResult>" CONTENTS("a.csv", "1") "<Cont", 0},
      {HTTP_REPLIED, 200, NULL, LISTING(CONTENTS("a.csv", "1")), 0}};
  struct fake_http f;
  struct err err;
  struct buf keys;
  buf_init(&keys, 1024);
  struct aws *aws = connect_to(&f, script, COUNT_OF(script));
  assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT(""), NULL, collect_key, &keys, &err), KPI_OK);
  assert_view(buf_view(&keys), "a.csv=1;");
  buf_clear(&keys);
  done_with(aws, &f);
}

static void tokens_that_go_in_circles_end_a_listing(void **state) {
  (void)state;
  static const char *const tokens[] = {"x", "y", "a", "b", "c"};
  struct fake_reply script[50];
  char bodies[COUNT_OF(script)][160];
  for (size_t i = 0; i < COUNT_OF(script); i++) {
    snprintf(bodies[i], sizeof bodies[i], LISTING(MORE("%s")), tokens[i < 2 ? i : 2 + (i - 2) % 3]);
    script[i] = (struct fake_reply){HTTP_REPLIED, 200, NULL, bodies[i], 0};
  }
  struct fake_http f;
  struct err err;
  struct aws *aws = connect_to(&f, script, COUNT_OF(script));
  assert_int_equal(s3_list(aws, VIEW_LIT("b"), VIEW_LIT(""), NULL, NULL, NULL, &err), KPI_S3_UNAVAILABLE);
  assert_true(f.asked < 10);
  done_with(aws, &f);
}

/* ---- ranges ---- */

static void collect_bytes(void *arg, struct view bytes) {
  buf_add(arg, bytes);
}

static enum kpi_code get(struct fake_http *f, const struct fake_reply *script, size_t len, struct buf *out,
                         struct err *err) {
  struct aws *aws = connect_to(f, script, len);
  struct s3_range range = {.bucket = VIEW_LIT("b"),
                           .key = VIEW_LIT("d/a b+%.csv"),
                           .etag = VIEW_LIT("\"e1\""),
                           .object_size = 100,
                           .first = 10,
                           .size = 8};
  enum kpi_code rc = s3_get_range(aws, &range, collect_bytes, out, err);
  aws_free(aws);
  return rc;
}

static void a_range_that_breaks_off_is_resumed_where_it_did(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_BROKEN, 206, "Content-Range: bytes 10-17/100\r\nContent-Length: 8\r\nETag: \"e1\"\r\n",
       "abcdefgh", 3},
      {HTTP_REPLIED, 206, "Content-Range: bytes 13-17/100\r\nContent-Length: 5\r\nETag: \"e1\"\r\n", "defgh",
       0}};
  struct fake_http f;
  struct err err;
  struct buf got;
  buf_init(&got, 100);
  assert_int_equal(get(&f, script, COUNT_OF(script), &got, &err), KPI_OK);
  assert_view(buf_view(&got), "abcdefgh");
  assert_int_equal(fake_http_count(&f, "range: bytes=10-17"), 1);
  assert_int_equal(fake_http_count(&f, "range: bytes=13-17"), 1);
  assert_int_equal(fake_http_count(&f, "if-match: \"e1\""), 2);
  assert_int_equal(fake_http_count(&f, "GET http://127.0.0.1:9/b/d/a%20b%2B%25.csv\n"), 2);
  buf_clear(&got);
  buf_clear(&f.requests);
}

static void another_object_than_the_one_listed_is_refused(void **state) {
  (void)state;
  static const struct fake_reply cases[] = {
      {HTTP_REPLIED, 412, NULL, XML_ERROR("PreconditionFailed"), 0},
      {HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchKey"), 0},
      {HTTP_REPLIED, 416, NULL, XML_ERROR("InvalidRange"), 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 10-17/101\r\nContent-Length: 8\r\n", "abcdefgh", 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 0-7/100\r\nContent-Length: 8\r\n", "abcdefgh", 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 10-17/100\r\n", "abcdefgh", 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 10-17/100\r\nContent-Length: 9\r\n", "abcdefghi", 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 10-17/100\r\nContent-Length: 8\r\nETag: \"e2\"\r\n",
       "abcdefgh", 0},
      {HTTP_REPLIED, 200, "Content-Length: 8\r\n", "abcdefgh", 0}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct fake_http f;
    struct err err;
    struct buf got;
    buf_init(&got, 100);
    assert_int_equal(get(&f, &cases[i], 1, &got, &err), KPI_S3_OBJECT_CHANGED);
    assert_int_equal(got.len, 0);
    assert_int_equal(f.asked, 1);
    assert_string_equal(err.object, "d/a b+%.csv");
    buf_clear(&got);
    buf_clear(&f.requests);
  }
}

static void a_short_body_is_no_success(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 206, "Content-Range: bytes 10-17/100\r\nContent-Length: 8\r\n", "abc", 0},
      {HTTP_REPLIED, 206, "Content-Range: bytes 13-17/100\r\nContent-Length: 5\r\n", "", 0}};
  struct fake_http f;
  struct err err;
  struct buf got;
  buf_init(&got, 100);
  assert_int_equal(get(&f, script, COUNT_OF(script), &got, &err), KPI_S3_UNAVAILABLE);
  assert_int_equal(f.asked, 3);
  buf_clear(&got);
  buf_clear(&f.requests);
}

/* ---- credentials ---- */

static void credentials_are_cached_and_asked_again_when_refused(void **state) {
  (void)state;
  static const char first[] =
      "{\"AccessKeyId\":\"K1\",\"SecretAccessKey\":\"S\",\"Token\":\"T1\",\"Expiration\":"
      "\"2100-01-01T00:00:00.123456Z\"}";
  static const char second[] =
      "{\"AccessKeyId\":\"K2\",\"SecretAccessKey\":\"S\",\"Token\":\"T2\",\"Expiration\":"
      "\"2100-01-01T00:00:00Z\"}";
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL, first, 0},
      {HTTP_REPLIED, 200, NULL, "{}", 0},
      {HTTP_REPLIED, 400, NULL, JSON_ERROR("ExpiredTokenException"), 0},
      {HTTP_REPLIED, 200, NULL, second, 0},
      {HTTP_REPLIED, 200, NULL, "{}", 0}};
  struct fake_http f;
  struct err err;
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:7/creds", 1);
  struct aws *aws = connect_to(&f, script, COUNT_OF(script));
  assert_int_equal(ask_dynamodb(aws, NULL, &err), KPI_OK);
  assert_int_equal(ask_dynamodb(aws, NULL, &err), KPI_OK);
  assert_int_equal(fake_http_count(&f, "GET http://127.0.0.1:7/creds"), 2);
  assert_int_equal(fake_http_count(&f, "x-amz-security-token: T1"), 2);
  assert_int_equal(fake_http_count(&f, "x-amz-security-token: T2"), 1);
  done_with(aws, &f);
  unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  set_environment(NULL);
}

static void a_credential_address_that_is_not_documented_is_refused(void **state) {
  (void)state;
  static const char *const refused[] = {"http://evil.example/", "http://169.254.170.2@evil.example/",
                                        "ftp://127.0.0.1/", "http://127.0.0.1.evil.example/",
                                        "http://10.0.0.1/creds"};
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, "{}", 0}};
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
  for (size_t i = 0; i < COUNT_OF(refused); i++) {
    struct fake_http f;
    struct err err;
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", refused[i], 1);
    struct aws *aws = connect_to(&f, script, 1);
    assert_int_equal(ask_dynamodb(aws, NULL, &err), KPI_CREDENTIALS_MISSING);
    assert_int_equal(f.asked, 0);
    done_with(aws, &f);
  }
  unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  set_environment(NULL);
}

static void a_region_is_needed(void **state) {
  (void)state;
  struct fake_http f;
  struct aws *aws;
  struct err err;
  unsetenv("AWS_REGION");
  fake_http_init(&f, NULL, 0);
  assert_int_equal(aws_new_with(&f.base, &aws, &err), KPI_CONFIG_INVALID);
  assert_non_null(strstr(err.message, "AWS_REGION"));
  set_environment(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_passes_is_tried_again_and_the_rest_is_not),
      cmocka_unit_test(a_retry_that_succeeds_is_a_success),
      cmocka_unit_test(a_service_in_trouble_is_not_sent_many_times_its_load),
      cmocka_unit_test(a_wrong_clock_is_corrected_once),
      cmocka_unit_test(a_cancelled_transaction_is_judged_by_its_reasons),
      cmocka_unit_test(an_error_tells_where_it_came_from),
      cmocka_unit_test(a_redirect_names_the_region),
      cmocka_unit_test(a_listing_goes_over_its_pages_and_decodes_keys),
      cmocka_unit_test(a_listing_that_is_none_is_refused),
      cmocka_unit_test(a_damaged_page_is_read_once),
      cmocka_unit_test(tokens_that_go_in_circles_end_a_listing),
      cmocka_unit_test(a_range_that_breaks_off_is_resumed_where_it_did),
      cmocka_unit_test(another_object_than_the_one_listed_is_refused),
      cmocka_unit_test(a_short_body_is_no_success),
      cmocka_unit_test(credentials_are_cached_and_asked_again_when_refused),
      cmocka_unit_test(a_credential_address_that_is_not_documented_is_refused),
      cmocka_unit_test(a_region_is_needed),
  };
  return cmocka_run_group_tests_name("aws_call", tests, set_environment, NULL);
}
