/* SPDX-License-Identifier: MIT */
#include "aws/endpoint.h"

#include "unit.h"

#include <jansson.h>

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static enum aws_service service_of(const char *name) {
  for (int s = 0; s < AWS_SERVICE_COUNT; s++)
    if (strcmp(name, aws_service_name((enum aws_service)s)) == 0)
      return (enum aws_service)s;
  fail_msg("no service %s", name);
  return AWS_S3;
}

static enum kpi_code resolve(const json_t *c, struct endpoint *at, struct err *err) {
  struct endpoint_options o = {.region = text_of(c, "region"),
                               .custom = text_of(c, "custom"),
                               .use_fips = json_is_true(json_object_get(c, "fips")),
                               .use_dualstack = json_is_true(json_object_get(c, "dualstack")),
                               .s3_style =
                                   json_object_get(c, "path_style") ? S3_STYLE_PATH : S3_STYLE_VIRTUAL};
  enum kpi_code rc = endpoint_resolve(service_of(text_of(c, "service")), &o, at, err);
  if (rc == KPI_OK && text_of(c, "bucket"))
    rc = endpoint_add_bucket(at, &o, view_of(text_of(c, "bucket")), err);
  return rc;
}

static void check_vector(const json_t *c) {
  struct endpoint at;
  struct err err = {0};
  char url[1024] = "";
  enum kpi_code rc = resolve(c, &at, &err);
  if (rc == KPI_OK)
    snprintf(url, sizeof url, "%s://%s%s", at.is_https ? "https" : "http", at.host, at.path);
  const char *expected = text_of(c, "url");
  if (expected ? strcmp(url, expected) != 0 : rc != KPI_CONFIG_INVALID) {
    char *text = json_dumps(c, 0);
    fail_msg("%s gives %s %s", text, url, err.message);
  }
}

static void the_vectors_of_botocore_hold(void **state) {
  (void)state;
  json_t *vectors = json_load_file(TESTS_DIR "/data/endpoints/vectors.json", 0, NULL);
  assert_non_null(vectors);
  size_t i;
  json_t *c;
  json_array_foreach(vectors, i, c) check_vector(c);
  print_message("%zu vectors\n", json_array_size(vectors));
  assert_true(json_array_size(vectors) > 150);
  json_decref(vectors);
}

/* Differs from the SDKs on purpose: servers other than AWS seldom have a host name for each bucket. */
static void a_custom_endpoint_has_the_bucket_in_its_path(void **state) {
  (void)state;
  struct endpoint_options o = {.region = "us-east-1", .custom = "http://127.0.0.1:7070/"};
  struct endpoint at;
  struct err err;
  assert_int_equal(endpoint_resolve(AWS_S3, &o, &at, &err), KPI_OK);
  assert_int_equal(endpoint_add_bucket(&at, &o, VIEW_LIT("my.bucket"), &err), KPI_OK);
  assert_string_equal(at.host, "127.0.0.1:7070");
  assert_string_equal(at.path, "/my.bucket");
  assert_false(at.is_https);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_vectors_of_botocore_hold),
                                     cmocka_unit_test(a_custom_endpoint_has_the_bucket_in_its_path)};
  return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
