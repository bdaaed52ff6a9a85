/* SPDX-License-Identifier: MIT */
#include "pipeline/kpi.h"
#include "server/result_view.h"

#include "unit.h"

static void add_row(struct kpi_rows *rows, const char *category, const char *revenue, uint64_t orders) {
  struct kpi_totals t = {.orders = orders, .item_rows = orders, .returned_item_rows = 1};
  decimal_parse(view_of(revenue), &t.revenue);
  kpi_category_day(&t, kpi_rows_add(rows, 0, view_of(category)));
}

/* The categories in the order of the view. */
static void assert_order(const struct result_view *v, const char *expected) {
  struct buf names;
  buf_init(&names, 4096);
  for (size_t i = 0; i < v->count; i++)
    buf_add(&names, (v->rows[i].now ? v->rows[i].now : v->rows[i].before)->category);
  assert_view(buf_view(&names), expected);
  buf_clear(&names);
}

static void sort_by(struct result_view *v, const char *name, bool descending) {
  const struct result_column *col = result_view_column(v, view_of(name));
  assert_non_null(col);
  result_view_sort(v, col, descending);
}

static void money_is_ordered_exactly(void **state) {
  (void)state;
  struct kpi_rows rows = {0};
  struct result_view v;
  add_row(&rows, "A", "9", 1);
  add_row(&rows, "B", "10", 1);
  add_row(&rows, "C", "98765432109876543.210000000000000001", 1);
  add_row(&rows, "D", "98765432109876543.210000000000000000", 1);
  add_row(&rows, "E", "-5", 1);
  add_row(&rows, "F", "9.0", 1);
  assert_true(result_view_init(&v, KPI_CATEGORIES, &rows, NULL));
  assert_int_equal(v.column_count, 10);
  sort_by(&v, "daily_revenue", false);
  assert_order(&v, "EAFBDC");
  sort_by(&v, "daily_revenue", true);
  assert_order(&v, "CDBAFE");
  assert_null(result_view_column(&v, VIEW_LIT("change")));
  result_view_clear(&v);
  kpi_rows_clear(&rows);
}

static void rows_are_paired_by_their_key(void **state) {
  (void)state;
  struct kpi_rows now = {0}, before = {0};
  struct result_view v;
  struct buf text;
  buf_init(&text, 8192);
  add_row(&now, "B", "0.3", 2);
  add_row(&now, "C", "5", 1);
  add_row(&before, "A", "1", 1);
  add_row(&before, "B", "0.1", 3);
  add_row(&before, "C", "5", 1);
  assert_true(result_view_init(&v, KPI_CATEGORIES, &now, &before));
  assert_order(&v, "ABC");
  result_row_json(&v, 1, &text);
  assert_non_null(strstr(text.ptr,
                         "\"change\":\"changed\",\"daily_revenue\":0.3,\"daily_revenue_previous\":0.1,"
                         "\"daily_revenue_difference\":0.2,"));
  assert_non_null(strstr(text.ptr, "\"order_count_difference\":-1,"));
  buf_reset(&text);
  result_row_csv(&v, 0, &text);
  assert_true(view_starts(buf_view(&text), "A,1970-01-01,removed,,1,,"));
  sort_by(&v, "daily_revenue_difference", true);
  assert_order(&v, "BCA");
  sort_by(&v, "change", false);
  assert_order(&v, "BAC");
  buf_clear(&text);
  result_view_clear(&v);
  kpi_rows_clear(&now);
  kpi_rows_clear(&before);
}

static void places_are_found_in_any_order(void **state) {
  (void)state;
  struct kpi_rows rows = {0};
  struct result_view v;
  char place[RESULT_PLACE_SIZE];
  size_t at;
  add_row(&rows, "A", "1", 1);
  add_row(&rows, "B", "2", 1);
  assert_true(result_view_init(&v, KPI_CATEGORIES, &rows, NULL));
  result_view_place(&v, 1, place);
  assert_true(result_view_find(&v, view_of(place), &at));
  assert_int_equal(at, 1);
  sort_by(&v, "daily_revenue", true);
  assert_true(result_view_find(&v, view_of(place), &at));
  assert_int_equal(at, 0);
  assert_false(result_view_find(&v, VIEW_LIT("none"), &at));
  result_view_clear(&v);
  kpi_rows_clear(&rows);
}

static void numbers_of_cells_are_exact(void **state) {
  (void)state;
  struct kpi_rows rows = {0};
  struct kpi_columns cols = kpi_table_columns(KPI_CATEGORIES);
  struct decimal number;
  char text[DECIMAL_TEXT_SIZE];
  static const char *const expected[] = {NULL, NULL, "1", "0.3333333333333333", "0.3333333333333333", "3"};
  add_row(&rows, "A", "1", 3);
  for (size_t i = 0; i < COUNT_OF(expected); i++) {
    assert_int_equal(kpi_cell_number(&rows.rows[0], &cols.at[i], &number), expected[i] != NULL);
    if (!expected[i])
      continue;
    decimal_text(&number, text);
    assert_string_equal(text, expected[i]);
  }
  kpi_rows_clear(&rows);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(money_is_ordered_exactly),
      cmocka_unit_test(rows_are_paired_by_their_key),
      cmocka_unit_test(places_are_found_in_any_order),
      cmocka_unit_test(numbers_of_cells_are_exact),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
