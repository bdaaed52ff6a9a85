/* SPDX-License-Identifier: MIT */
#include "base/cgroup.h"
#include "base/scope.h"
#include "server/config.h"

#include "unit.h"

/* Leaves no setting in the environment but those of a test. */
static void unset_all(void) {
  for (char **entry = environ; *entry;) {
    struct view rest = view_of(*entry), name = view_split(&rest, '=');
    char text[128];
    if (view_starts(name, "KPI_") && view_to_cstr(name, text, sizeof text))
      unsetenv(text); /* moves the following entries up */
    else
      entry++;
  }
}

static int clean(void **state) {
  (void)state;
  unset_all();
  return 0;
}

static enum kpi_code load_with(const char *name, const char *value, struct config *out, struct err *err) {
  setenv(name, value, 1);
  enum kpi_code rc = config_load(out, err);
  unsetenv(name);
  return rc;
}

static void defaults_are_those_of_the_documents(void **state) {
  (void)state;
  struct config c;
  struct err err;
  assert_int_equal(config_load(&c, &err), KPI_OK);
  assert_string_equal(c.listen, "127.0.0.1:8080");
  assert_null(c.health_listen);
  assert_null(c.source);
  assert_string_equal(c.db, "./kpid.db");
  assert_true(c.threads >= 1);
  assert_int_equal(c.max_active_runs, 1);
  assert_string_equal(c.timezone, "UTC");
  assert_non_null(c.zone);
  assert_int_equal(c.bad_rows, BAD_ROWS_FAIL);
  assert_true(c.max_bad_rows.is_percent && c.max_bad_rows.percent == 1);
  assert_int_equal(c.status_match, STATUS_FOLDED);
  assert_null(c.unknown_category);
  assert_int_equal(c.log_level, LOG_INFO);
  assert_int_equal(c.drain_seconds, 20);
  assert_int_equal(c.stall_seconds, 120);
  assert_int_equal(c.keep_days, 90);
  assert_true(c.memory_limit_bytes == 0);
  assert_int_equal(c.s3_concurrency, 8);
  assert_false(c.publish_to_dynamodb || c.publish_plain || c.intents_in_dynamodb);
  assert_null(c.item_shape);
  assert_string_equal(c.control_table, "kpi_control");
}

static void runs_share_what_the_control_group_allows(void **state) {
  (void)state;
  const uint64_t mib = 1024 * 1024;
  struct config few = {.s3_concurrency = 8}, many = {.s3_concurrency = 16}, told = {.memory_limit_bytes = 5};
  assert_true(config_memory_share(&few, UINT64_MAX, 2) == 0);
  assert_true(config_memory_share(&few, 512 * mib, 1) == 400 * mib);
  assert_true(config_memory_share(&few, 512 * mib, 2) == 200 * mib);
  assert_true(config_memory_share(&many, 1024 * mib, 5) == 832 * mib / 5);
  assert_true(config_memory_share(&few, 100 * mib, 2) == 16 * mib); /* a small run is always possible */
  assert_true(config_memory_share(&few, 8 * mib, 1) == 16 * mib);
  config_share_memory(&few, 2);
  assert_true(few.memory_limit_bytes == config_memory_share(&few, cgroup_memory_limit(NULL, NULL), 2));
  config_share_memory(&told, 2);
  assert_true(told.memory_limit_bytes == 5);
}

static void secrets_of_a_cluster_are_refused_and_not_repeated(void **state) {
  (void)state;
  static const char *const names[] = {"KPI_SPARK_REST_URL", "KPI_SPARK_CONF_spark_hadoop_fs_s3a_secret_key"};
  static const char *const values[] = {"http://user:hunter2@master:6066", "hunter2"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    struct config c;
    struct err err;
    assert_int_equal(load_with(names[i], values[i], &c, &err), KPI_CONFIG_INVALID);
    assert_non_null(strstr(err.message, names[i]));
    assert_null(strstr(err.message, "hunter2"));
  }
}

static void numbers_have_a_least_and_a_most(void **state) {
  (void)state;
  static const struct {
    const char *name;
    uint64_t least, most;
    size_t offset;
  } settings[] = {{"KPI_THREADS", 1, 256, offsetof(struct config, threads)},
                  {"KPI_MAX_ACTIVE_RUNS", 1, 64, offsetof(struct config, max_active_runs)},
                  {"KPI_S3_CONCURRENCY", 1, 64, offsetof(struct config, s3_concurrency)},
                  {"KPI_DRAIN_SECONDS", 0, 3600, offsetof(struct config, drain_seconds)},
                  {"KPI_STALL_SECONDS", 1, 86400, offsetof(struct config, stall_seconds)},
                  {"KPI_KEEP_DAYS", 1, 36500, offsetof(struct config, keep_days)}};
  static const char *const nonsense[] = {"-1", "1.5", "1s", "0x10", " 1", "one", "18446744073709551616"};
  for (size_t i = 0; i < COUNT_OF(settings); i++) {
    struct config c;
    struct err err;
    char text[32];
    for (int edge = 0; edge < 4; edge++) {
      uint64_t value = edge < 2 ? settings[i].least - (edge == 0) : settings[i].most + (edge == 3);
      bool ok = edge == 1 || edge == 2;
      snprintf(text, sizeof text, "%lld", (long long)value);
      if (load_with(settings[i].name, text, &c, &err) != (ok ? KPI_OK : KPI_CONFIG_INVALID))
        fail_msg("%s=%s", settings[i].name, text);
      if (ok)
        assert_int_equal(*(uint64_t *)((char *)&c + settings[i].offset), value);
    }
    for (size_t n = 0; n < COUNT_OF(nonsense); n++)
      assert_int_equal(load_with(settings[i].name, nonsense[n], &c, &err), KPI_CONFIG_INVALID);
  }
}

static void values_are_taken_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *name, *value;
    bool ok;
  } cases[] = {
      {"KPI_LISTEN", ":8080", true},
      {"KPI_LISTEN", "[::1]:1", true},
      {"KPI_LISTEN", "host.example:65535", true},
      {"KPI_LISTEN", "127.0.0.1:0", true},
      {"KPI_LISTEN", "127.0.0.1:65536", false},
      {"KPI_LISTEN", "127.0.0.1", false},
      {"KPI_LISTEN", "127.0.0.1:", false},
      {"KPI_LISTEN", "127.0.0.1:http", false},
      {"KPI_HEALTH_LISTEN", ":9090", true},
      {"KPI_HEALTH_LISTEN", "9090", false},
      {"KPI_SOURCE", "file:///data", true},
      {"KPI_SOURCE", "s3://bucket/prefix", true},
      {"KPI_SOURCE", "file://data", false},
      {"KPI_SOURCE", "/data", false},
      {"KPI_SOURCE", "s3://", false},
      {"KPI_SOURCE", "http://bucket", false},
      {"KPI_DB", "/var/lib/kpid.db", true},
      {"KPI_TIMEZONE", "Europe/Berlin", true},
      {"KPI_TIMEZONE", "Mars/Olympus", false},
      {"KPI_TIMEZONE", "../../etc/passwd", false},
      {"KPI_PUBLISH", "dynamodb", true},
      {"KPI_PUBLISH", "local", true},
      {"KPI_PUBLISH", "DynamoDB", false},
      {"KPI_PUBLISH_MODE", "plain", true},
      {"KPI_PUBLISH_MODE", "atomic", true},
      {"KPI_PUBLISH_MODE", "both", false},
      {"KPI_INTENTS", "dynamodb", true},
      {"KPI_INTENTS", "yes", false},
      {"KPI_ITEM_SHAPE", "full", true},
      {"KPI_ITEM_SHAPE", "original", true},
      {"KPI_ITEM_SHAPE", "Full", false},
      {"KPI_BAD_ROWS", "skip", true},
      {"KPI_BAD_ROWS", "ignore", false},
      {"KPI_MAX_BAD_ROWS", "0", true},
      {"KPI_MAX_BAD_ROWS", "100%", true},
      {"KPI_MAX_BAD_ROWS", "0.5%", true},
      {"KPI_MAX_BAD_ROWS", "101%", false},
      {"KPI_MAX_BAD_ROWS", "-1", false},
      {"KPI_MAX_BAD_ROWS", "1 %", false},
      {"KPI_STATUS_MATCH", "exact", true},
      {"KPI_STATUS_MATCH", "strict", false},
      {"KPI_UNKNOWN_CATEGORY", "\xc3\xa4", true},
      {"KPI_UNKNOWN_CATEGORY", "\xff", false},
      {"KPI_LOG_LEVEL", "debug", true},
      {"KPI_LOG_LEVEL", "INFO", false},
      {"KPI_CATEGORY_TABLE", "abc", true},
      {"KPI_CATEGORY_TABLE", "a.b-c_9", true},
      {"KPI_CATEGORY_TABLE", "ab", false},
      {"KPI_ORDER_TABLE", "a/b", false},
      {"KPI_CONTROL_TABLE",
       "t\xc3\xa4"
       "b",
       false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct config c;
    struct err err = {0};
    enum kpi_code rc = load_with(cases[i].name, cases[i].value, &c, &err);
    if (rc != (cases[i].ok ? KPI_OK : KPI_CONFIG_INVALID))
      fail_msg("%s=%s: %s", cases[i].name, cases[i].value, err.message);
    if (!cases[i].ok) {
      assert_non_null(strstr(err.message, cases[i].name));
      assert_non_null(strstr(err.message, "must be"));
    }
  }
}

static void lengths_have_a_most(void **state) {
  (void)state;
  static const struct {
    const char *name;
    size_t most;
  } settings[] = {{"KPI_CONTROL_TABLE", 255}, {"KPI_UNKNOWN_CATEGORY", 2048}};
  for (size_t i = 0; i < COUNT_OF(settings); i++) {
    struct config c;
    struct err err;
    char text[3000];
    memset(text, 'x', sizeof text);
    text[settings[i].most + 1] = '\0';
    assert_int_equal(load_with(settings[i].name, text, &c, &err), KPI_CONFIG_INVALID);
    text[settings[i].most] = '\0';
    assert_int_equal(load_with(settings[i].name, text, &c, &err), KPI_OK);
  }
}

static void memory_is_bytes_or_a_unit(void **state) {
  (void)state;
  static const struct {
    const char *text;
    uint64_t bytes; /* 0: refused */
  } cases[] = {{"1048576", 1048576},
               {"1048575", 0},
               {"1024KiB", 1048576},
               {"1023KiB", 0},
               {"1MiB", 1048576},
               {"3 GiB", 3221225472},
               {"0GiB", 0},
               {"GiB", 0},
               {"1GB", 0},
               {"1gib", 0},
               {"1.5GiB", 0},
               {"-1MiB", 0},
               {"1MiB2", 0},
               {"16777215GiB", 16777215ull << 30},
               {"67108864GiB", 0},
               {"17179869184GiB", 0},
               {"18446744073709551615", 0},
               {"99999999999999999999MiB", 0}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct config c;
    struct err err;
    enum kpi_code rc = load_with("KPI_MEMORY_LIMIT", cases[i].text, &c, &err);
    if (rc != (cases[i].bytes ? KPI_OK : KPI_CONFIG_INVALID))
      fail_msg("%s", cases[i].text);
    if (rc == KPI_OK)
      assert_true(c.memory_limit_bytes == cases[i].bytes);
  }
}

static void an_empty_setting_is_an_unset_one(void **state) {
  (void)state;
  static const char *const names[] = {"KPI_LISTEN",       "KPI_DB",      "KPI_TIMEZONE",
                                      "KPI_MEMORY_LIMIT", "KPI_THREADS", "KPI_KEEP_DAYS"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    struct config c;
    struct err err;
    assert_int_equal(load_with(names[i], "", &c, &err), KPI_OK);
    assert_string_equal(c.timezone, "UTC");
    assert_string_equal(c.db, "./kpid.db");
  }
}

static void a_name_that_is_no_setting_is_refused(void **state) {
  (void)state;
  struct config c;
  struct err err;
  static const char *const names[] = {"KPI_LISTENER", "KPI_", "KPI_listen", "KPI_KEEP_DAY"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    assert_int_equal(load_with(names[i], "1", &c, &err), KPI_CONFIG_INVALID);
    assert_non_null(strstr(err.message, names[i]));
  }
  assert_int_equal(load_with("KPID_ANYTHING", "1", &c, &err), KPI_OK);
  assert_int_equal(load_with("kpi_listen", "1", &c, &err), KPI_OK);
}

static void words_set_what_they_say(void **state) {
  (void)state;
  struct config c;
  struct err err;
  setenv("KPI_PUBLISH", "dynamodb", 1);
  setenv("KPI_PUBLISH_MODE", "plain", 1);
  setenv("KPI_INTENTS", "dynamodb", 1);
  setenv("KPI_ITEM_SHAPE", "original", 1);
  setenv("KPI_BAD_ROWS", "skip", 1);
  setenv("KPI_STATUS_MATCH", "exact", 1);
  setenv("KPI_LOG_LEVEL", "error", 1);
  setenv("KPI_MAX_BAD_ROWS", "12", 1);
  assert_int_equal(config_load(&c, &err), KPI_OK);
  assert_true(c.publish_to_dynamodb && c.publish_plain && c.intents_in_dynamodb);
  assert_string_equal(c.item_shape, "original");
  assert_int_equal(c.bad_rows, BAD_ROWS_SKIP);
  assert_int_equal(c.status_match, STATUS_EXACT);
  assert_int_equal(c.log_level, LOG_ERROR);
  assert_true(!c.max_bad_rows.is_percent && c.max_bad_rows.count == 12);
}

static void the_description_shows_what_is_in_effect(void **state) {
  (void)state;
  auto_buf struct buf text;
  buf_init(&text, 64 * 1024);
  setenv("KPI_KEEP_DAYS", "7", 1);
  config_describe(&text);
  assert_non_null(strstr(text.ptr, "KPI_KEEP_DAYS=7   (set)\n"));
  assert_non_null(strstr(text.ptr, "range: 1-36500   default: 90\n"));
  assert_non_null(strstr(text.ptr, "KPI_PUBLISH=local\n"));
  assert_non_null(strstr(text.ptr, "default: (unset)\n"));
}

#define CLEAN(test) cmocka_unit_test_setup_teardown(test, clean, clean)

int main(void) {
  const struct CMUnitTest tests[] = {
      CLEAN(defaults_are_those_of_the_documents),
      CLEAN(runs_share_what_the_control_group_allows),
      CLEAN(secrets_of_a_cluster_are_refused_and_not_repeated),
      CLEAN(numbers_have_a_least_and_a_most),
      CLEAN(values_are_taken_or_refused),
      CLEAN(lengths_have_a_most),
      CLEAN(memory_is_bytes_or_a_unit),
      CLEAN(an_empty_setting_is_an_unset_one),
      CLEAN(a_name_that_is_no_setting_is_refused),
      CLEAN(words_set_what_they_say),
      CLEAN(the_description_shows_what_is_in_effect),
  };
  return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
