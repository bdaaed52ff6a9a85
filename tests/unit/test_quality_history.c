/* SPDX-License-Identifier: MIT */
#include "pipeline/quality_history.h"

#include "unit.h"

enum { TODAY = 1000 };

/* A published day, `ago` days before. */
static void add_day(struct kpi_rows *rows, int ago, uint64_t orders, double rate) {
  struct kpi_row *row = kpi_rows_add(rows, TODAY - ago, (struct view){0});
  row->orders = orders;
  row->return_rate = rate;
}

static struct history_verdict orders_of(uint64_t orders, const struct kpi_rows *history) {
  const struct kpi_row row = {.day = TODAY, .orders = orders};
  return history_judge(&row, history, HISTORY_ORDERS);
}

static void seven_days_are_needed(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = 1; ago <= HISTORY_DAYS_MIN; ago++) {
    assert_false(orders_of(100, &history).is_judged);
    add_day(&history, ago, 100, 0);
  }
  struct history_verdict v = orders_of(100, &history);
  assert_true(v.is_judged);
  assert_false(v.is_weekday);
  assert_int_equal(v.days, HISTORY_DAYS_MIN);
  kpi_rows_clear(&history);
}

static void days_outside_the_window_do_not_count(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = -3; ago <= 0; ago++)
    add_day(&history, ago, 100, 0);
  for (int ago = HISTORY_DAYS + 1; ago < HISTORY_DAYS + 10; ago++)
    add_day(&history, ago, 100, 0);
  assert_int_equal(orders_of(100, &history).days, 0);
  add_day(&history, HISTORY_DAYS, 100, 0);
  assert_int_equal(orders_of(100, &history).days, 1);
  kpi_rows_clear(&history);
}

static void half_of_the_median_to_either_side_is_expected(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = 1; ago <= 8; ago++)
    add_day(&history, ago, ago <= 4 ? 90 : 110, 0);
  static const struct {
    uint64_t orders;
    bool deviates, is_lost;
  } cases[] = {{100, false, false}, {50, false, false}, {49, true, false},
               {150, false, false}, {151, true, false}, {0, true, true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct history_verdict v = orders_of(cases[i].orders, &history);
    assert_true(v.median == 100 && v.low == 50 && v.high == 150);
    assert_int_equal(history_deviates(&v), cases[i].deviates);
    assert_int_equal(history_is_lost(&v), cases[i].is_lost);
  }
  kpi_rows_clear(&history);
}

static void three_days_of_the_weekday_are_the_measure(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = 1; ago <= 20; ago++)
    add_day(&history, ago, ago % 7 == 0 ? 10 : 1000, 0);
  assert_true(orders_of(10, &history).median == 1000);
  add_day(&history, 21, 30, 0);
  struct history_verdict v = orders_of(10, &history);
  assert_true(v.is_weekday && v.measure == 3 && v.median == 10);
  add_day(&history, 28, 30, 0);
  v = orders_of(10, &history);
  assert_true(v.measure == 4 && v.median == 20);
  assert_false(history_deviates(&v));
  kpi_rows_clear(&history);
}

static void return_rates_have_some_slack(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = 1; ago <= 7; ago++)
    add_day(&history, ago, 100, 0.02);
  struct kpi_row row = {.day = TODAY, .return_rate = 0.069};
  struct history_verdict v = history_judge(&row, &history, HISTORY_RETURN_RATE);
  assert_false(history_deviates(&v));
  row.return_rate = 0.071;
  v = history_judge(&row, &history, HISTORY_RETURN_RATE);
  assert_true(history_deviates(&v));
  row.return_rate = 0;
  v = history_judge(&row, &history, HISTORY_RETURN_RATE);
  assert_true(v.low == 0 && !history_deviates(&v));
  kpi_rows_clear(&history);
}

static void a_weekday_that_is_always_closed_loses_nothing(void **state) {
  (void)state;
  struct kpi_rows history = {0};
  for (int ago = 1; ago <= 28; ago++)
    add_day(&history, ago, ago % 7 == 0 ? 0 : 100, 0);
  struct history_verdict v = orders_of(0, &history);
  assert_false(history_is_lost(&v) || history_deviates(&v));
  kpi_rows_clear(&history);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(seven_days_are_needed),
      cmocka_unit_test(days_outside_the_window_do_not_count),
      cmocka_unit_test(half_of_the_median_to_either_side_is_expected),
      cmocka_unit_test(three_days_of_the_weekday_are_the_measure),
      cmocka_unit_test(return_rates_have_some_slack),
      cmocka_unit_test(a_weekday_that_is_always_closed_loses_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
