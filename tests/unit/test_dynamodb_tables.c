/* SPDX-License-Identifier: MIT */
#include "aws/aws_call.h"
#include "pipeline/dynamodb_tables.h"

#include "aws_env.h"
#include "unit.h"

#include "fake_http.h"

static const struct dynamodb_tables three = {{[KPI_ORDERS] = "ord", [KPI_CATEGORIES] = "cat"}, "ctl"};
static const struct dynamodb_tables two = {{[KPI_ORDERS] = "ord", [KPI_CATEGORIES] = "cat"}, NULL};

#define KEY(name, type) "{\"AttributeName\":\"" name "\",\"KeyType\":\"" type "\"}"
#define TYPE(name, type) "{\"AttributeName\":\"" name "\",\"AttributeType\":\"" type "\"}"
#define KEYS_AND_TYPES(keys, types) "\"KeySchema\":[" keys "],\"AttributeDefinitions\":[" types "]"
#define TABLE(status, keys, types)                                                                           \
  "{\"Table\":{\"TableStatus\":\"" status "\"," KEYS_AND_TYPES(keys, types) "}}"
#define CATEGORY_KEYS KEY("category", "HASH") "," KEY("order_date", "RANGE")
#define CATEGORY_TYPES TYPE("category", "S") "," TYPE("order_date", "S")
#define CATEGORIES(status) TABLE(status, CATEGORY_KEYS, CATEGORY_TYPES)
#define ORDERS(status) TABLE(status, KEY("order_date", "HASH"), TYPE("order_date", "S"))
#define CONTROL(status) TABLE(status, KEY("pk", "HASH"), TYPE("pk", "S"))
#define OK(body)                                                                                             \
  { HTTP_REPLIED, 200, NULL, body, 0 }
#define REFUSED(type)                                                                                        \
  { HTTP_REPLIED, 400, NULL, "{\"__type\":\"x#" type "\",\"message\":\"why\"}", 0 }

static int set_environment(void **state) {
  (void)state;
  aws_env_set();
  return 0;
}

struct asked {
  struct fake_http http;
  struct table_report report[DYNAMODB_TABLE_COUNT];
  size_t count;
  struct err err;
  enum kpi_code rc;
};

typedef enum kpi_code (*tables_fn)(struct aws *a, const struct dynamodb_tables *t,
                                   struct table_report report[DYNAMODB_TABLE_COUNT], size_t *count,
                                   struct err *err);

static struct asked ask(tables_fn fn, const struct dynamodb_tables *t, const struct fake_reply *script,
                        size_t len) {
  struct asked a = {.count = 0};
  struct aws *aws;
  fake_http_init(&a.http, script, len);
  assert_int_equal(aws_new_with(&a.http.base, &aws, &a.err), KPI_OK);
  a.rc = fn(aws, t, a.report, &a.count, &a.err);
  aws_free(aws);
  return a;
}

/* ---- check ---- */

static void tables_that_are_right_are_reported(void **state) {
  (void)state;
  static const struct fake_reply script[] = {OK(CATEGORIES("ACTIVE")), OK(ORDERS("UPDATING")),
                                             OK(CONTROL("ACTIVE"))};
  struct asked a = ask(dynamodb_tables_check, &three, script, 3);
  assert_int_equal(a.rc, KPI_OK);
  assert_int_equal(a.count, 3);
  static const char *const names[] = {"cat", "ord", "ctl"};
  for (size_t i = 0; i < 3; i++) {
    assert_string_equal(a.report[i].name, names[i]);
    assert_int_equal(a.report[i].finding, TABLE_OK);
  }
  assert_int_equal(fake_http_count(&a.http, "DynamoDB_20120810.DescribeTable"), 3);
  buf_clear(&a.http.requests);
}

static void plain_mode_needs_no_control_table(void **state) {
  (void)state;
  static const struct fake_reply script[] = {OK(CATEGORIES("ACTIVE")), OK(ORDERS("ACTIVE"))};
  struct asked a = ask(dynamodb_tables_check, &two, script, 2);
  assert_int_equal(a.rc, KPI_OK);
  assert_int_equal(a.count, 2);
  assert_int_equal(a.http.asked, 2);
  buf_clear(&a.http.requests);
}

static void a_table_with_other_keys_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {
      TABLE("ACTIVE", KEY("category", "HASH"), CATEGORY_TYPES),
      TABLE("ACTIVE", KEY("order_date", "HASH") "," KEY("category", "RANGE"), CATEGORY_TYPES),
      TABLE("ACTIVE", KEY("category", "RANGE") "," KEY("order_date", "HASH"), CATEGORY_TYPES),
      TABLE("ACTIVE", KEY("Category", "HASH") "," KEY("order_date", "RANGE"), CATEGORY_TYPES),
      TABLE("ACTIVE", CATEGORY_KEYS "," KEY("x", "RANGE"), CATEGORY_TYPES),
      TABLE("ACTIVE", CATEGORY_KEYS, TYPE("category", "S") "," TYPE("order_date", "N")),
      TABLE("ACTIVE", CATEGORY_KEYS, TYPE("category", "B") "," TYPE("order_date", "S")),
      TABLE("ACTIVE", CATEGORY_KEYS, TYPE("category", "S")),
      TABLE("ACTIVE", "", ""),
      "{\"Table\":{\"TableStatus\":\"ACTIVE\"}}",
      "{\"Table\":{\"TableStatus\":\"ACTIVE\",\"KeySchema\":\"x\",\"AttributeDefinitions\":7}}",
      "{\"Table\":{\"TableStatus\":\"ACTIVE\",\"KeySchema\":[1,null],\"AttributeDefinitions\":[[]]}}",
      "{\"Table\":[]}",
      "{}",
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script = OK(cases[i]);
    struct asked a = ask(dynamodb_tables_check, &three, &script, 1);
    if (a.rc != KPI_DYNAMODB_SCHEMA_MISMATCH)
      fail_msg("%s: %s", cases[i], err_name(a.rc));
    assert_ptr_equal(strstr(a.err.message, "cat: "), a.err.message);
    assert_non_null(strstr(a.err.message, "category (HASH, S) and order_date (RANGE, S)"));
    assert_string_equal(a.err.remote.operation, "DescribeTable");
    assert_int_equal(a.http.asked, 1);
    buf_clear(&a.http.requests);
  }
}

static void a_table_with_one_key_is_described_without_a_second(void **state) {
  (void)state;
  static const struct fake_reply script[] = {OK(CATEGORIES("ACTIVE")), OK(CATEGORIES("ACTIVE"))};
  struct asked a = ask(dynamodb_tables_check, &two, script, 2);
  assert_int_equal(a.rc, KPI_DYNAMODB_SCHEMA_MISMATCH);
  assert_non_null(strstr(a.err.message, "ord: "));
  assert_non_null(strstr(a.err.message, "order_date (HASH, S)"));
  assert_null(strstr(a.err.message, "RANGE"));
  buf_clear(&a.http.requests);
}

static void a_table_that_is_not_active_is_not_usable(void **state) {
  (void)state;
  static const char *const statuses[] = {CATEGORIES("CREATING"), CATEGORIES("DELETING"),
                                         CATEGORIES("ARCHIVED"), CATEGORIES("")};
  for (size_t i = 0; i < COUNT_OF(statuses); i++) {
    const struct fake_reply script = OK(statuses[i]);
    struct asked a = ask(dynamodb_tables_check, &three, &script, 1);
    assert_int_equal(a.rc, KPI_DYNAMODB_UNAVAILABLE);
    assert_non_null(strstr(a.err.message, "cat: "));
    buf_clear(&a.http.requests);
  }
}

static void a_refusal_names_the_table(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
  } cases[] = {{REFUSED("ResourceNotFoundException"), KPI_DYNAMODB_TABLE_MISSING},
               {REFUSED("AccessDeniedException"), KPI_DYNAMODB_ACCESS_DENIED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    const struct fake_reply script[] = {OK(CATEGORIES("ACTIVE")), cases[i].reply};
    struct asked a = ask(dynamodb_tables_check, &three, script, 2);
    assert_int_equal(a.rc, cases[i].code);
    assert_ptr_equal(strstr(a.err.message, "ord: "), a.err.message);
    assert_string_equal(a.err.remote.service, "dynamodb");
    buf_clear(&a.http.requests);
  }
}

/* ---- create ---- */

#define CREATED "{\"TableDescription\":{\"TableStatus\":\"CREATING\"}}"

static void missing_tables_are_created_with_recovery(void **state) {
  (void)state;
  static const struct fake_reply script[] = {OK(CREATED),
                                             OK(CATEGORIES("ACTIVE")),
                                             OK("{}"),
                                             OK(CREATED),
                                             OK(ORDERS("ACTIVE")),
                                             OK("{}"),
                                             OK(CREATED),
                                             REFUSED("ResourceNotFoundException"),
                                             OK(CONTROL("ACTIVE")),
                                             OK("{}")};
  struct asked a = ask(dynamodb_tables_create, &three, script, COUNT_OF(script));
  assert_int_equal(a.rc, KPI_OK);
  assert_int_equal(a.count, 3);
  for (size_t i = 0; i < 3; i++)
    assert_true(a.report[i].finding == TABLE_CREATED && a.report[i].recovery == RECOVERY_ON);
  assert_int_equal(a.http.asked, COUNT_OF(script));
  assert_int_equal(fake_http_count(&a.http, "\"BillingMode\":\"PAY_PER_REQUEST\""), 3);
  assert_int_equal(fake_http_count(&a.http, "\"PointInTimeRecoveryEnabled\":true"), 3);
  assert_int_equal(fake_http_count(&a.http, "\"KeySchema\":[" CATEGORY_KEYS "]"), 1);
  assert_int_equal(fake_http_count(&a.http, "\"AttributeDefinitions\":[" CATEGORY_TYPES "]"), 1);
  assert_int_equal(fake_http_count(&a.http, "\"KeySchema\":[" KEY("pk", "HASH") "]"), 1);
  buf_clear(&a.http.requests);
}

static void recovery_is_switched_on_for_tables_that_exist(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      REFUSED("ResourceInUseException"), OK(CATEGORIES("ACTIVE")), OK("{}"),
      REFUSED("ResourceInUseException"), OK(ORDERS("ACTIVE")),     OK("{}")};
  struct asked a = ask(dynamodb_tables_create, &two, script, COUNT_OF(script));
  assert_int_equal(a.rc, KPI_OK);
  for (size_t i = 0; i < 2; i++)
    assert_true(a.report[i].finding == TABLE_OK && a.report[i].recovery == RECOVERY_ON);
  assert_int_equal(fake_http_count(&a.http, "DynamoDB_20120810.UpdateContinuousBackups"), 2);
  buf_clear(&a.http.requests);
}

static void recovery_is_waited_for(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      OK(CREATED), OK(CATEGORIES("ACTIVE")),          REFUSED("ContinuousBackupsUnavailableException"),
      OK("{}"),    REFUSED("ResourceInUseException"), OK(ORDERS("ACTIVE")),
      OK("{}")};
  struct asked a = ask(dynamodb_tables_create, &two, script, COUNT_OF(script));
  assert_int_equal(a.rc, KPI_OK);
  assert_int_equal(a.report[0].recovery, RECOVERY_ON);
  assert_int_equal(a.http.asked, COUNT_OF(script));
  buf_clear(&a.http.requests);
}

static void an_emulator_without_recovery_is_told(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      OK(CREATED), OK(CATEGORIES("ACTIVE")), REFUSED("UnknownOperationException"),
      OK(CREATED), OK(ORDERS("ACTIVE")),     REFUSED("UnknownOperationException")};
  struct asked a = ask(dynamodb_tables_create, &two, script, COUNT_OF(script));
  assert_int_equal(a.rc, KPI_OK);
  for (size_t i = 0; i < 2; i++)
    assert_true(a.report[i].finding == TABLE_CREATED && a.report[i].recovery == RECOVERY_UNSUPPORTED);
  buf_clear(&a.http.requests);
}

/* The first table is in trouble, at one step or another; the second is created all the same. */
static void one_tables_trouble_keeps_the_others_from_nothing(void **state) {
  (void)state;
  static const struct {
    struct fake_reply script[3];
    const char *operation;
    enum kpi_code code;
    enum table_finding finding;
  } cases[] = {
      {{REFUSED("AccessDeniedException")}, "CreateTable", KPI_DYNAMODB_ACCESS_DENIED, TABLE_UNUSABLE},
      {{OK(CREATED), REFUSED("AccessDeniedException")},
       "DescribeTable",
       KPI_DYNAMODB_ACCESS_DENIED,
       TABLE_CREATED},
      {{REFUSED("ResourceInUseException"), OK(ORDERS("ACTIVE"))},
       "DescribeTable",
       KPI_DYNAMODB_SCHEMA_MISMATCH,
       TABLE_UNUSABLE},
      {{OK(CREATED), OK(CATEGORIES("ACTIVE")), REFUSED("AccessDeniedException")},
       "UpdateContinuousBackups",
       KPI_DYNAMODB_ACCESS_DENIED,
       TABLE_CREATED}};
  static const struct fake_reply good[] = {OK(CREATED), OK(ORDERS("ACTIVE")), OK("{}")};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct fake_reply script[6];
    size_t len = 0;
    while (len < 3 && cases[i].script[len].status) {
      script[len] = cases[i].script[len];
      len++;
    }
    memcpy(script + len, good, sizeof good);
    struct asked a = ask(dynamodb_tables_create, &two, script, len + 3);
    assert_int_equal(a.rc, cases[i].code);
    assert_ptr_equal(strstr(a.err.message, "cat: "), a.err.message);
    assert_string_equal(a.err.remote.operation, cases[i].operation);
    assert_int_equal(a.report[0].finding, cases[i].finding);
    assert_int_equal(a.report[0].trouble.code, cases[i].code);
    assert_int_equal(a.report[1].finding, TABLE_CREATED);
    assert_int_equal(a.report[1].trouble.code, KPI_OK);
    assert_int_equal(a.count, 2);
    assert_int_equal(a.http.asked, len + 3);
    buf_clear(&a.http.requests);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tables_that_are_right_are_reported),
      cmocka_unit_test(plain_mode_needs_no_control_table),
      cmocka_unit_test(a_table_with_other_keys_is_refused),
      cmocka_unit_test(a_table_with_one_key_is_described_without_a_second),
      cmocka_unit_test(a_table_that_is_not_active_is_not_usable),
      cmocka_unit_test(a_refusal_names_the_table),
      cmocka_unit_test(missing_tables_are_created_with_recovery),
      cmocka_unit_test(recovery_is_switched_on_for_tables_that_exist),
      cmocka_unit_test(recovery_is_waited_for),
      cmocka_unit_test(an_emulator_without_recovery_is_told),
      cmocka_unit_test(one_tables_trouble_keeps_the_others_from_nothing),
  };
  return cmocka_run_group_tests_name("dynamodb_tables", tests, set_environment, NULL);
}
