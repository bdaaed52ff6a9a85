/* SPDX-License-Identifier: MIT */
#include "pipeline/kpi.h"

#include "unit.h"

static struct kpi_totals totals(const char *revenue) {
  struct kpi_totals t = {.orders = 4,
                         .item_rows = 9,
                         .distinct_items = 8,
                         .customers = 3,
                         .returned_item_rows = 6,
                         .returned_orders = 1,
                         .returned_orders_known = true};
  decimal_parse(view_of(revenue), &t.revenue);
  return t;
}

static void order_days_follow_the_definitions(void **state) {
  (void)state;
  struct kpi_row row = {.day = 0};
  struct kpi_totals t = totals("10.50");
  struct buf out;
  buf_init(&out, 4096);
  kpi_order_day(&t, &row);
  kpi_row_csv(&row, KPI_ORDERS, false, &out);
  assert_view(buf_view(&out), "1970-01-01,4,10.5,8,1.5,3,6,1,0.25,2.625\n");
  buf_clear(&out);
}

static void categories_follow_the_definitions(void **state) {
  (void)state;
  struct kpi_row row = {.day = 0, .category = VIEW_LIT("A,\"B\"")};
  struct kpi_totals t = totals("10.50");
  struct buf out;
  buf_init(&out, 4096);
  kpi_category_day(&t, &row);
  kpi_row_csv(&row, KPI_CATEGORIES, false, &out);
  assert_view(buf_view(&out), "\"A,\"\"B\"\"\",1970-01-01,10.5,2.625,1.5,4,9,6,1,0.25\n");
  buf_clear(&out);
}

static void ratios_over_no_orders_are_zero(void **state) {
  (void)state;
  struct kpi_row row = {.day = 0};
  struct kpi_totals t = totals("5");
  t.orders = 0;
  kpi_category_day(&t, &row);
  assert_true(row.avg_order_value == 0 && row.return_rate == 0 && row.orders_returned_rate == 0);
}

static void unknown_order_status_is_null(void **state) {
  (void)state;
  struct kpi_row row = {.day = 0};
  struct kpi_totals t = totals("5");
  struct buf out;
  t.returned_orders_known = false;
  buf_init(&out, 4096);
  kpi_order_day(&t, &row);
  kpi_row_json(&row, KPI_ORDERS, &out);
  assert_view(buf_view(&out),
              "{\"order_date\":\"1970-01-01\",\"total_orders\":4,\"total_revenue\":5,\"total_items_sold\":8,"
              "\"return_rate\":1.5,\"unique_customers\":3,\"returned_items\":6,\"returned_orders\":null,"
              "\"orders_returned_rate\":null,\"avg_order_value\":1.25}");
  buf_clear(&out);
}

static void money_beyond_seventeen_digits_has_a_twin(void **state) {
  (void)state;
  static const struct {
    const char *money;
    bool has_twin;
  } cases[] = {{"12345678901234567", false},
               {"123456789012345678", true},
               {"0.12345678901234567", false},
               {"1.12345678901234567", true},
               {"-9999999999999999.25", true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct kpi_row row = {.day = 0};
    struct kpi_totals t = totals(cases[i].money);
    struct buf out;
    buf_init(&out, 4096);
    kpi_order_day(&t, &row);
    kpi_row_json(&row, KPI_ORDERS, &out);
    buf_add_char(&out, '\0');
    assert_int_equal(strstr(out.ptr, "total_revenue_exact") != NULL, cases[i].has_twin);
    assert_non_null(strstr(out.ptr, cases[i].has_twin ? "_exact\":\"" : cases[i].money));
    buf_clear(&out);
  }
}

static void formulas_are_guarded_only_when_asked(void **state) {
  (void)state;
  static const char *const cases[][3] = {{"=1", "=1,", "'=1,"},
                                         {"+1", "+1,", "'+1,"},
                                         {"-1", "-1,", "'-1,"},
                                         {"@a", "@a,", "'@a,"},
                                         {"a=1", "a=1,", "a=1,"},
                                         {"\tx", "\tx,", "'\tx,"},
                                         {"=a,b", "\"=a,b\",", "\"'=a,b\","}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    for (int guard = 0; guard < 2; guard++) {
      struct kpi_row row = {.day = 0, .category = view_of(cases[i][0])};
      struct buf out;
      buf_init(&out, 4096);
      kpi_row_csv(&row, KPI_CATEGORIES, guard == 1, &out);
      assert_true(view_starts(buf_view(&out), cases[i][1 + guard]));
      buf_clear(&out);
    }
}

static void rows_sort_by_day_then_category_bytes(void **state) {
  (void)state;
  struct kpi_rows rows = {0};
  static const struct {
    day_t day;
    const char *category;
  } order[] = {{1, ""}, {1, "A"}, {1, "AB"}, {1, "a"}, {1, "\xc3\xa4"}, {2, "A"}};
  for (size_t i = COUNT_OF(order); i > 0; i--)
    assert_non_null(kpi_rows_add(&rows, order[i - 1].day, view_of(order[i - 1].category)));
  kpi_rows_sort(&rows);
  for (size_t i = 0; i < COUNT_OF(order); i++) {
    assert_int_equal(rows.rows[i].day, order[i].day);
    assert_view(rows.rows[i].category, order[i].category);
  }
  kpi_rows_clear(&rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_days_follow_the_definitions),
      cmocka_unit_test(categories_follow_the_definitions),
      cmocka_unit_test(ratios_over_no_orders_are_zero),
      cmocka_unit_test(unknown_order_status_is_null),
      cmocka_unit_test(money_beyond_seventeen_digits_has_a_twin),
      cmocka_unit_test(formulas_are_guarded_only_when_asked),
      cmocka_unit_test(rows_sort_by_day_then_category_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
