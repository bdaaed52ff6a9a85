/* SPDX-License-Identifier: MIT */
#include "aws/profile.h"

#include "aws/aws_call.h"
#include "aws/dynamodb.h"
#include "aws/s3.h"
#include "unit.h"

#include "fake_http.h"

#include <unistd.h>

static char config_path[64], credentials_path[64];

static void write_file(const char *path, const char *text) {
  FILE *f = fopen(path, "we");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static int set_files(void **state) {
  (void)state;
  snprintf(config_path, sizeof config_path, "/tmp/kpid-config-%d", getpid());
  snprintf(credentials_path, sizeof credentials_path, "/tmp/kpid-credentials-%d", getpid());
  setenv("AWS_CONFIG_FILE", config_path, 1);
  setenv("AWS_SHARED_CREDENTIALS_FILE", credentials_path, 1);
  unsetenv("AWS_PROFILE");
  return 0;
}

static int remove_files(void **state) {
  (void)state;
  unlink(config_path);
  unlink(credentials_path);
  return 0;
}

static void settings_are_found_as_the_sdks_find_them(void **state) {
  (void)state;
  struct profiles p;
  struct err err;
  write_file(
      config_path,
      "# a comment\n[default]\nregion = eu-west-1\n; another\n[ profile  x ]\nregion=us-east-2 # here\n"
      "s3 =\n  addressing_style = path\naws_access_key_id = FROM_CONFIG\n[profile y]\n\tregion = z\n");
  write_file(credentials_path, "[x]\naws_access_key_id = AKID\naws_secret_access_key = a=b#c\r\n");
  unsetenv("AWS_PROFILE");
  assert_int_equal(profiles_load(&p, &err), KPI_OK);
  assert_view(profiles_get(&p, "region"), "eu-west-1");
  assert_view(profiles_get(&p, "aws_access_key_id"), "");
  profiles_clear(&p);
  setenv("AWS_PROFILE", "y", 1);
  assert_int_equal(profiles_load(&p, &err), KPI_OK);
  profiles_clear(&p);
  setenv("AWS_PROFILE", "nobody", 1);
  assert_int_equal(profiles_load(&p, &err), KPI_CONFIG_INVALID);
  assert_non_null(strstr(err.message, "nobody"));
  unsetenv("AWS_PROFILE");
}

static void the_credentials_file_goes_before_the_configuration(void **state) {
  (void)state;
  struct profiles p;
  struct err err;
  write_file(config_path, "[profile x]\naws_access_key_id = FROM_CONFIG\nregion = eu-west-1\n");
  write_file(credentials_path, "[x]\naws_access_key_id = AKID\naws_secret_access_key = a=b#c\r\n");
  setenv("AWS_PROFILE", "x", 1);
  assert_int_equal(profiles_load(&p, &err), KPI_OK);
  assert_view(profiles_get(&p, "aws_access_key_id"), "AKID");
  assert_view(profiles_get(&p, "aws_secret_access_key"), "a=b#c");
  assert_view(profiles_get(&p, "region"), "eu-west-1");
  profiles_clear(&p);
  unsetenv("AWS_PROFILE");
}

/* ---- the vectors of botocore ---- */

static void write_settings(struct buf *out, json_t *settings, const char *indent) {
  const char *key;
  json_t *value;
  json_object_foreach(settings, key, value) {
    if (json_is_string(value)) {
      buf_printf(out, "%s%s = %s\n", indent, key, json_string_value(value));
      continue;
    }
    buf_printf(out, "%s%s =\n", indent, key);
    write_settings(out, value, "  ");
  }
}

static void write_profiles(json_t *suite) {
  const char *name;
  json_t *settings;
  struct buf text;
  buf_init(&text, 64 * 1024);
  json_t *profiles = json_object_get(suite, "profiles"), *services = json_object_get(suite, "services");
  json_object_foreach(profiles, name, settings) {
    buf_printf(&text, "[profile %s]\n", name);
    write_settings(&text, settings, "");
  }
  json_object_foreach(services, name, settings) {
    buf_printf(&text, "[services %s]\n", name);
    write_settings(&text, settings, "");
  }
  write_file(config_path, text.ptr);
  write_file(credentials_path, "");
  buf_clear(&text);
}

static void set_variables(json_t *environment) {
  static const char *const known[] = {"AWS_ENDPOINT_URL",
                                      "AWS_ENDPOINT_URL_S3",
                                      "AWS_ENDPOINT_URL_DYNAMODB",
                                      "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                                      "AWS_REGION",
                                      "AWS_DEFAULT_REGION"};
  const char *name;
  json_t *value;
  for (size_t i = 0; i < COUNT_OF(known); i++)
    unsetenv(known[i]);
  json_object_foreach(environment, name, value) setenv(name, json_string_value(value), 1);
}

/* The URL that a call to the service is sent to. */
static void called_url(const char *service, struct fake_http *f) {
  static const struct fake_reply script[] = {{HTTP_REPLIED, 403, NULL, "", 0}};
  struct aws *aws;
  struct err err;
  fake_http_init(f, script, 1);
  assert_int_equal(aws_new_with(&f->base, &aws, &err), KPI_OK);
  if (strcmp(service, "s3") == 0)
    assert_int_not_equal(s3_list(aws, VIEW_LIT("bucket"), VIEW_LIT(""), NULL, NULL, NULL, &err), KPI_OK);
  else
    assert_int_not_equal(dynamodb_call(aws, "GetItem", json_object(), NULL, NULL, NULL, &err), KPI_OK);
  aws_free(aws);
}

static void check_case(json_t *suite, json_t *c) {
  struct fake_http f;
  char expected[256];
  const char *service = json_string_value(json_object_get(c, "service"));
  const char *url = json_string_value(json_object_get(json_object_get(c, "output"), "endpointUrl"));
  const char *environment = json_string_value(json_object_get(c, "environment"));
  setenv("AWS_PROFILE", json_string_value(json_object_get(c, "profile")), 1);
  set_variables(json_object_get(json_object_get(suite, "environments"), environment));
  called_url(service, &f);
  snprintf(expected, sizeof expected, "%s/", url);
  if (!strstr(f.requests.ptr, expected) && !strstr(url, "amazonaws.com"))
    fail_msg("%s: %s not in %s", json_string_value(json_object_get(c, "name")), expected, f.requests.ptr);
  if (strstr(url, "amazonaws.com"))
    assert_non_null(strstr(f.requests.ptr, ".fake-region-10.amazonaws.com/"));
  buf_clear(&f.requests);
}

static void endpoints_come_from_where_botocore_takes_them(void **state) {
  (void)state;
  json_t *all = json_load_file(TESTS_DIR "/data/endpoints/profile-tests.json", 0, NULL);
  json_t *suite = json_array_get(json_object_get(all, "testSuites"), 0);
  json_t *cases = json_object_get(suite, "endpointUrlTests"), *c;
  size_t i;
  int checked = 0;
  assert_non_null(cases);
  write_profiles(suite);
  json_array_foreach(cases, i, c) {
    /* The others set options of botocore's client objects. */
    if (strcmp(json_string_value(json_object_get(c, "client_config")), "default") != 0)
      continue;
    check_case(suite, c);
    checked++;
  }
  print_message("%d cases\n", checked);
  assert_true(checked >= 15);
  unsetenv("AWS_PROFILE");
  set_variables(NULL);
  json_decref(all);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(settings_are_found_as_the_sdks_find_them),
                                     cmocka_unit_test(the_credentials_file_goes_before_the_configuration),
                                     cmocka_unit_test(endpoints_come_from_where_botocore_takes_them)};
  return cmocka_run_group_tests_name("profile", tests, set_files, remove_files);
}
