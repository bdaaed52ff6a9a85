/* SPDX-License-Identifier: MIT */
#include "aws/dynamodb.h"
#include "pipeline/dynamodb_items.h"

#include "unit.h"

#define STAMP ((struct item_stamp){"run-1", "2026-11-24T03:00:00.000Z", 7})

static struct kpi_row order_row(const char *revenue) {
  struct kpi_row row = {.day = 0,
                        .orders = 4,
                        .items = 8,
                        .customers = 3,
                        .returned_items = 6,
                        .returned_orders = 1,
                        .returned_orders_known = true,
                        .avg_order_value = 2.5,
                        .return_rate = 1.5,
                        .orders_returned_rate = 0.25};
  assert_int_equal(decimal_parse(view_of(revenue), &row.revenue), DECIMAL_OK);
  return row;
}

static void assert_item(json_t *item, const char *expected) {
  json_t *want = json_loads(expected, 0, NULL);
  assert_non_null(want);
  if (!json_equal(item, want)) {
    char *text = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS);
    fail_msg("%s", text);
  }
  json_decref(item);
  json_decref(want);
}

/* ---- shapes ---- */

static void full_items_have_all_columns_and_a_stamp(void **state) {
  (void)state;
  struct kpi_row row = order_row("10.5");
  assert_item(dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_FULL, &STAMP),
              "{\"order_date\":{\"S\":\"1970-01-01\"},\"total_orders\":{\"N\":\"4\"},"
              "\"total_revenue\":{\"N\":\"10.5\"},\"total_items_sold\":{\"N\":\"8\"},"
              "\"return_rate\":{\"N\":\"1.5\"},\"unique_customers\":{\"N\":\"3\"},"
              "\"returned_items\":{\"N\":\"6\"},\"returned_orders\":{\"N\":\"1\"},"
              "\"orders_returned_rate\":{\"N\":\"0.25\"},\"avg_order_value\":{\"N\":\"2.5\"},"
              "\"run_id\":{\"S\":\"run-1\"},\"published_at\":{\"S\":\"2026-11-24T03:00:00.000Z\"},"
              "\"publish_version\":{\"N\":\"7\"}}");
}

static void original_items_are_those_of_the_replaced_job(void **state) {
  (void)state;
  struct kpi_row row = order_row("10.5");
  assert_item(dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_ORIGINAL, &STAMP),
              "{\"order_date\":{\"S\":\"1970-01-01\"},\"total_orders\":{\"N\":\"4\"},"
              "\"total_revenue\":{\"N\":\"10.5\"},\"total_items_sold\":{\"N\":\"8\"},"
              "\"return_rate\":{\"N\":\"1.5\"},\"unique_customers\":{\"N\":\"3\"}}");
  row.category = VIEW_LIT("Toys \"&\" \xc3\xa4");
  assert_item(dynamodb_kpi_item(&row, KPI_CATEGORIES, SHAPE_ORIGINAL, &STAMP),
              "{\"category\":{\"S\":\"Toys \\\"&\\\" \xc3\xa4\"},\"order_date\":{\"S\":\"1970-01-01\"},"
              "\"daily_revenue\":{\"N\":\"10.5\"},\"avg_order_value\":{\"N\":\"2.5\"},"
              "\"avg_return_rate\":{\"N\":\"1.5\"}}");
}

static void what_is_not_known_is_left_out(void **state) {
  (void)state;
  struct kpi_row row = order_row("1");
  row.returned_orders_known = false;
  json_t *item = dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_FULL, &STAMP);
  assert_null(json_object_get(item, "returned_orders"));
  assert_null(json_object_get(item, "orders_returned_rate"));
  assert_non_null(json_object_get(item, "returned_items"));
  json_decref(item);
}

static void a_plain_item_has_no_version(void **state) {
  (void)state;
  struct kpi_row row = order_row("1");
  struct item_stamp stamp = STAMP;
  stamp.version = 0;
  json_t *item = dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_FULL, &stamp);
  assert_null(json_object_get(item, "publish_version"));
  assert_non_null(json_object_get(item, "run_id"));
  json_decref(item);
}

/* ---- numbers ---- */

#define NINES19 "9999999999999999999"
#define ZEROS20 "00000000000000000000"

/* Digits from the first to the last that is not 0. */
static size_t significant_digits(const char *number) {
  size_t digits = 0, last = 0;
  for (; *number && *number != 'E'; number++) {
    digits += *number >= '0' && *number <= '9' && (digits || *number != '0');
    if (*number >= '1' && *number <= '9')
      last = digits;
  }
  return last;
}

/* DynamoDB refuses more than 38 significant digits. */
static void money_is_rounded_to_what_dynamodb_keeps(void **state) {
  (void)state;
  static const struct {
    const char *exact, *kept;
  } cases[] = {
      {"0", "0"},
      {"-0.25", "-0.25"},
      {"0.000000000000000001", "0.000000000000000001"},
      {"-0.000000000000000001", "-0.000000000000000001"},
      {"1" ZEROS20 ZEROS20, "1E40"},
      {NINES19 NINES19, NINES19 NINES19},
      {"9" ZEROS20 ".12345678901234567", "9" ZEROS20 ".12345678901234567"},
      {"9" ZEROS20 ".123456789012345674", "9" ZEROS20 ".12345678901234567"},
      {"9" ZEROS20 ".123456789012345675", "9" ZEROS20 ".12345678901234568"},
      {"-9" ZEROS20 ".123456789012345675", "-9" ZEROS20 ".12345678901234568"},
      {NINES19 NINES19 "4", NINES19 NINES19 "E1"},
      {NINES19 NINES19 "5", "1E39"},
      {"-" NINES19 NINES19 ".5", "-1E38"},
      {"12345678901234567890123456789012345678901234567890", "12345678901234567890123456789012345679E12"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct kpi_row row = order_row(cases[i].exact);
    json_t *item = dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_ORIGINAL, &STAMP);
    const char *sent = json_string_value(json_object_get(json_object_get(item, "total_revenue"), "N"));
    struct decimal is, wanted;
    assert_int_equal(decimal_parse(view_of(sent), &is), DECIMAL_OK);
    assert_int_equal(decimal_parse(view_of(cases[i].kept), &wanted), DECIMAL_OK);
    if (decimal_cmp(&is, &wanted) != 0)
      fail_msg("%s became %s", cases[i].exact, sent);
    assert_in_range(significant_digits(sent), 0, 38);
    json_decref(item);
  }
}

static void counts_are_whole_up_to_64_bits(void **state) {
  (void)state;
  struct kpi_row row = order_row("1");
  row.orders = UINT64_MAX;
  json_t *item = dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_ORIGINAL, &STAMP);
  uint64_t back = 0;
  assert_true(dynamodb_get_count(item, "total_orders", &back));
  assert_true(back == UINT64_MAX);
  json_decref(item);
}

static void ratios_are_the_shortest_text(void **state) {
  (void)state;
  static const struct {
    double ratio;
    const char *text;
  } cases[] = {{0, "0"}, {0.1, "0.1"}, {1.0 / 3, "0.3333333333333333"}, {3, "3"}, {-0.5, "-0.5"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct kpi_row row = order_row("1");
    row.return_rate = cases[i].ratio;
    json_t *item = dynamodb_kpi_item(&row, KPI_ORDERS, SHAPE_ORIGINAL, &STAMP);
    assert_string_equal(json_string_value(json_object_get(json_object_get(item, "return_rate"), "N")),
                        cases[i].text);
    json_decref(item);
  }
}

/* ---- keys ---- */

static void keys_are_those_of_the_tables(void **state) {
  (void)state;
  char pk[CONTROL_PK_SIZE];
  assert_item(dynamodb_kpi_key(KPI_ORDERS, 0, VIEW_LIT("ignored")),
              "{\"order_date\":{\"S\":\"1970-01-01\"}}");
  assert_item(dynamodb_kpi_key(KPI_CATEGORIES, DAY_MAX, VIEW_LIT("a")),
              "{\"category\":{\"S\":\"a\"},\"order_date\":{\"S\":\"9999-12-31\"}}");
  control_pk(DAY_MIN, pk);
  assert_string_equal(pk, "date#0001-01-01");
  assert_item(control_key(pk), "{\"pk\":{\"S\":\"date#0001-01-01\"}}");
}

static void values_are_read_by_their_type(void **state) {
  (void)state;
  json_t *item = json_loads("{\"s\":{\"S\":\"text\"},\"n\":{\"N\":\"12\"},\"f\":{\"N\":\"1.5\"},"
                            "\"e\":{\"N\":\"\"},\"x\":\"bare\",\"l\":{\"L\":[]},\"i\":{\"N\":12}}",
                            0, NULL);
  uint64_t n = 99;
  assert_view(dynamodb_get_text(item, "s"), "text");
  static const char *const no_text[] = {"n", "x", "l", "absent"};
  for (size_t i = 0; i < COUNT_OF(no_text); i++)
    assert_int_equal(dynamodb_get_text(item, no_text[i]).len, 0);
  assert_true(dynamodb_get_count(item, "n", &n));
  assert_int_equal(n, 12);
  static const char *const no_count[] = {"s", "f", "e", "x", "l", "i", "absent"};
  for (size_t i = 0; i < COUNT_OF(no_count); i++)
    assert_false(dynamodb_get_count(item, no_count[i], &n));
  assert_int_equal(dynamodb_get_text(NULL, "s").len, 0);
  assert_false(dynamodb_get_count(NULL, "n", &n));
  json_decref(item);
}

static void a_text_that_is_no_utf8_is_no_value(void **state) {
  (void)state;
  assert_null(dynamodb_text(VIEW_LIT("a\xff")));
  assert_item(dynamodb_text((struct view){NULL, 0}), "{\"S\":\"\"}");
  struct kpi_row row = order_row("1");
  row.category = VIEW_LIT("\xff");
  assert_null(dynamodb_kpi_item(&row, KPI_CATEGORIES, SHAPE_FULL, &STAMP));
}

/* ---- control rows ---- */

#define ID "01890000-0000-7000-8000-000000000001"

static bool read_row(const char *text, struct control_row *out) {
  json_t *item = text ? json_loads(text, 0, NULL) : NULL;
  bool ok = control_row_read(item, out);
  json_decref(item);
  return ok;
}

static void a_control_row_is_read_back(void **state) {
  (void)state;
  struct control_row row;
  assert_true(read_row("{\"pk\":{\"S\":\"date#1970-01-01\"},\"ver\":{\"N\":\"3\"},"
                       "\"publish_id\":{\"S\":\"" ID
                       "\"},\"digest\":{\"S\":\"abc\"},\"orders\":{\"N\":\"9\"},"
                       "\"categories\":{\"L\":[{\"S\":\"b\"},{\"S\":\"a\"},{\"S\":\"b\"}]},"
                       "\"pending\":{\"N\":\"4\"},\"pending_id\":{\"S\":\"other\"},"
                       "\"pending_categories\":{\"L\":[{\"S\":\"z\"}]},\"unknown\":{\"BOOL\":true}}",
                       &row));
  assert_int_equal(row.control.version, 3);
  assert_int_equal(row.control.pending, 4);
  assert_string_equal(row.control.published_id, ID);
  assert_string_equal(row.control.pending_id, "other");
  assert_string_equal(row.digest, "abc");
  assert_int_equal(row.orders, 9);
  assert_int_equal(row.categories.count, 2);
  assert_view(row.categories.at[0], "a");
  assert_true(names_has(&row.pending_categories, VIEW_LIT("z")));
  control_row_clear(&row);
  control_row_clear(&row);
  control_row_clear(NULL);
}

static void no_row_is_an_empty_one(void **state) {
  (void)state;
  static const char *const cases[] = {NULL, "{}", "{\"pk\":{\"S\":\"date#1970-01-01\"}}"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct control_row row;
    assert_true(read_row(cases[i], &row));
    assert_int_equal(row.control.version + row.control.pending + row.orders, 0);
    assert_int_equal(row.categories.count + row.pending_categories.count, 0);
    control_row_clear(&row);
  }
}

static void a_damaged_row_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {
      "{\"ver\":{\"S\":\"3\"}}",
      "{\"ver\":{\"N\":\"1.5\"}}",
      "{\"ver\":{\"N\":\"-1\"}}",
      "{\"ver\":{\"N\":\"99999999999999999999\"}}",
      "{\"ver\":3}",
      "{\"pending\":{\"BOOL\":true}}",
      "{\"orders\":{\"N\":\"many\"}}",
      "{\"publish_id\":{\"S\":\"" ID "-and-more\"}}",
      "{\"pending_id\":{\"S\":\"" ID "-and-more\"}}",
      "{\"digest\":{\"S\":\"" ID ID "\"}}",
      "{\"categories\":{\"L\":[{\"N\":\"1\"}]}}",
      "{\"categories\":{\"L\":[{\"S\":\"a\"},\"b\"]}}",
      "{\"pending_categories\":{\"L\":[null]}}",
      /* half of what belongs together */
      "{\"ver\":{\"N\":\"3\"}}",
      "{\"ver\":{\"N\":\"0\"}}",
      "{\"publish_id\":{\"S\":\"" ID "\"}}",
      "{\"pending\":{\"N\":\"4\"}}",
      "{\"pending_id\":{\"S\":\"" ID "\"}}",
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct control_row row;
    if (read_row(cases[i], &row))
      fail_msg("%s was taken", cases[i]);
    assert_int_equal(row.categories.count, 0);
  }
}

static void names_are_written_as_they_are_read(void **state) {
  (void)state;
  struct names names = {0};
  struct control_row row;
  static const char *const texts[] = {"", "a,b", "Toys & \"Games\"", "\xc3\xa4"};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    names_add(&names, view_of(texts[i]));
  names_seal(&names);
  json_t *item = json_pack("{s:o}", "categories", control_names(&names));
  assert_true(control_row_read(item, &row));
  assert_int_equal(row.categories.count, COUNT_OF(texts));
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    assert_true(names_has(&row.categories, view_of(texts[i])));
  json_decref(item);
  control_row_clear(&row);
  names_clear(&names);
  assert_item(control_names(&names), "{\"L\":[]}");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_items_have_all_columns_and_a_stamp),
      cmocka_unit_test(original_items_are_those_of_the_replaced_job),
      cmocka_unit_test(what_is_not_known_is_left_out),
      cmocka_unit_test(a_plain_item_has_no_version),
      cmocka_unit_test(money_is_rounded_to_what_dynamodb_keeps),
      cmocka_unit_test(counts_are_whole_up_to_64_bits),
      cmocka_unit_test(ratios_are_the_shortest_text),
      cmocka_unit_test(keys_are_those_of_the_tables),
      cmocka_unit_test(values_are_read_by_their_type),
      cmocka_unit_test(a_text_that_is_no_utf8_is_no_value),
      cmocka_unit_test(a_control_row_is_read_back),
      cmocka_unit_test(no_row_is_an_empty_one),
      cmocka_unit_test(a_damaged_row_is_refused),
      cmocka_unit_test(names_are_written_as_they_are_read),
  };
  return cmocka_run_group_tests_name("dynamodb_items", tests, NULL, NULL);
}
