/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_collect.h"

#include "spark_files.h"

#define DAY_LINE DAY_LINE_OF("2023-01-15")
#define CATEGORY_LINE CATEGORY_LINE_OF("2023-01-15")
#define EMPTY_DAY_LINE                                                                                       \
  "{\"day\":\"2023-01-16\",\"category\":null,\"has_rows\":false,\"refusal\":null,\"categories\":0,"          \
  "\"totals\":null,\"tally\":" NO_TALLY "}\n"

/* What a job has left, and what it is collected for. */
struct bench {
  struct source_object objects[DATASET_COUNT];
  struct source_listing listing;
  struct budget budget;
  struct job_progress progress;
  struct stop_flag stop;
  struct job job;
  struct spark_attempt attempt;
  const char *results; /* lines */
  uint64_t result_rows;
  uint64_t beats[2]; /* before the file of results was read, and after that */
  struct day_results out;
  struct err err;
};

static int bench_setup(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  for (int d = 0; d < DATASET_COUNT; d++) {
    b->objects[d] = (struct source_object){.name = (char *)(uintptr_t) "x.csv"};
    b->listing.datasets[d] = (struct source_objects){.at = &b->objects[d], .count = 1};
  }
  strcpy(b->listing.fingerprint, "finger");
  budget_init(&b->budget, 0);
  b->job = (struct job){.days = day_set_range(day_from_civil(2023, 1, 14), day_from_civil(2023, 1, 16)),
                        .max_bad_rows = {.is_percent = true, .percent = 1},
                        .zone = tz_cached(VIEW_LIT("UTC")),
                        .budget = &b->budget,
                        .stop = &b->stop,
                        .progress = &b->progress};
  b->attempt = (struct spark_attempt){"run", 2, "spec"};
  b->results = CATEGORY_LINE DAY_LINE EMPTY_DAY_LINE;
  b->result_rows = 3;
  *state = b;
  return 0;
}

static int bench_teardown(void **state) {
  struct bench *b = *state;
  day_results_clear(&b->out);
  free(b);
  return 0;
}

static enum kpi_code read_file(void *arg, const char *name, struct buf *out, struct err *err) {
  struct bench *b = arg;
  const bool is_results = strcmp(name, RESULTS_FILE) == 0;
  b->beats[is_results ? 0 : 1] = b->progress.beats;
  if (is_results)
    buf_add_cstr(out, b->results);
  else if (strcmp(name, CATEGORIES_FILE) == 0)
    buf_add_cstr(out, CATEGORY_NAMES);
  else
    return err_set(err, KPI_SOURCE_NOT_FOUND, "no %s", name);
  return KPI_OK;
}

static enum kpi_code collect_with(struct bench *b, const char *from, const char *to) {
  struct buf manifest;
  const struct spark_files files = {b, read_file};
  const struct left_files left = {"run", 2, "spec", "finger", b->results, b->result_rows};
  buf_init(&manifest, 1 << 20);
  manifest_write(&left, from, to, &manifest);
  day_results_clear(&b->out);
  enum kpi_code rc =
      spark_collect(&b->job, &b->listing, &b->attempt, buf_view(&manifest), &files, &b->out, &b->err);
  buf_clear(&manifest);
  assert_true(rc == KPI_OK || b->out.count == 0);
  return rc;
}

static enum kpi_code collect(struct bench *b) {
  return collect_with(b, NULL, NULL);
}

static void days_have_their_rows_and_reports(void **state) {
  struct bench *b = *state;
  assert_int_equal(collect(b), KPI_OK);
  assert_int_equal(b->out.count, 3);
  const struct job_result *of = &b->out.at[1].result;
  const struct kpi_row *day = &of->tables[KPI_ORDERS].rows[0], *home = &of->tables[KPI_CATEGORIES].rows[0];
  assert_int_equal(of->tables[KPI_ORDERS].count, 1);
  assert_int_equal(day->orders, 2);
  assert_int_equal(day->items, 3);
  assert_int_equal(day->customers, 2);
  assert_true(day->returned_orders_known);
  assert_true(day->avg_order_value == 23.25 && day->return_rate == 0.5);
  assert_view(home->category, "Home");
  assert_true(home->avg_order_value == 10.75 && home->return_rate == 0.5);
  assert_int_equal(b->out.categories.count, 2);
  assert_non_null(strstr(of->quality.report_json, "\"unexpected_count\":7"));
  assert_non_null(strstr(of->quality.report_json, "caf\xc3\xa9"));
  assert_non_null(strstr(of->quality.report_json, "\"19.99\""));
}

static void days_that_were_asked_for_are_there_without_a_line(void **state) {
  struct bench *b = *state;
  assert_int_equal(collect(b), KPI_OK);
  for (size_t i = 0; i < 3; i += 2) {
    assert_int_equal(b->out.at[i].result.tables[KPI_ORDERS].count, 0);
    assert_non_null(b->out.at[i].result.quality.report_json);
    assert_null(b->out.at[i].err);
  }
}

static void of_all_days_those_with_rows_are_there(void **state) {
  struct bench *b = *state;
  b->job.days = day_set_range(DAY_MIN, DAY_MAX);
  assert_int_equal(collect(b), KPI_OK);
  assert_int_equal(b->out.count, 1);
  assert_int_equal(b->out.at[0].day, day_from_civil(2023, 1, 15));
}

static void status_column_decides_on_returned_orders(void **state) {
  struct bench *b = *state;
  assert_int_equal(collect_with(b, ",\"status\"", ""), KPI_OK);
  assert_false(b->out.at[1].result.tables[KPI_ORDERS].rows[0].returned_orders_known);
}

static void bad_rows_beyond_the_limit_fail_the_day(void **state) {
  struct bench *b = *state;
  b->job.max_bad_rows.percent = 0;
  assert_int_equal(collect_with(b, "\"bad_rows\":{\"orders\":0", "\"bad_rows\":{\"orders\":1"), KPI_OK);
  assert_non_null(b->out.at[1].err);
  assert_int_equal(b->out.at[1].err->code, KPI_TOO_MANY_BAD_ROWS);
}

static void refused_day_fails_alone(void **state) {
  struct bench *b = *state;
  b->results = CATEGORY_LINE DAY_LINE
      "{\"day\":\"2023-01-16\",\"category\":null,\"has_rows\":false,\"refusal\":{\"code\":\"value_"
      "unparsable\","
      "\"message\":\"x.csv:4: "
      "sale_price\",\"object\":\"x.csv\",\"line\":4,\"column\":\"sale_price\",\"value\":\"NaN\"},"
      "\"categories\":0,\"totals\":null,\"tally\":" NO_TALLY "}\n";
  assert_int_equal(collect(b), KPI_OK);
  assert_null(b->out.at[1].err);
  const struct err *why = b->out.at[2].err;
  assert_non_null(why);
  assert_int_equal(why->code, KPI_VALUE_UNPARSABLE);
  assert_string_equal(why->message, "x.csv:4: sale_price");
  assert_string_equal(why->value, "NaN");
  assert_int_equal(why->line, 4);
}

static void too_many_categories_fail_the_day(void **state) {
  struct bench *b = *state;
  b->results = "{\"day\":\"2023-01-15\",\"category\":null,\"has_rows\":true,\"refusal\":null,"
               "\"categories\":5001," DAY_NUMBERS ",\"tally\":" DAY_TALLY "}\n";
  b->result_rows = 1;
  assert_int_equal(collect(b), KPI_OK);
  assert_int_equal(b->out.at[1].err->code, KPI_VALUE_UNPARSABLE);
}

static void foreign_or_damaged_manifests_are_refused(void **state) {
  struct bench *b = *state;
  static const char *const cases[][2] = {
      {"\"run_id\":\"run\"", "\"run_id\":\"other\""},
      {"\"attempt\":2", "\"attempt\":1"},
      {"\"format\":1", "\"format\":2"},
      {"\"spec_sha256\":\"spec\"", "\"spec_sha256\":\"other\""},
      {"finger", "other"},
      {"\"rows\":3", "\"rows\":4"},
      {"\"sha256\":\"", "\"sha256\":\"0"},
      {"\"bytes\":", "\"bytes\":1"},
      {"results/part-0.txt", "results/../part-0.txt"},
      {"results/part-0.txt", "other/part-0.txt"},
      {"results/part-0.txt", "results/part-/0.txt"},
      {"\"files\":[", "\"files\":{},\"x\":["},
      {"\"orders\":{\"rows\":2", "\"orders\":{\"rows\":-2"},
      {"orders.user_id", "orders.nothing"},
      {"\"item_revenue\":\"0\"", "\"item_revenue\":\"x\""},
      {"\"item_revenue\":\"0\"", "\"item_revenue\":0"},
      {"\"found\":{}", "\"found\":{\"no_such_check\":{\"count\":1,\"examples\":[]}}"},
      {"\"found\":{}", "\"found\":{\"orders_encoding\":{\"count\":1,\"examples\":[[1,2,\"x\"]]}}"},
      {"\"found\":{}", "\"found\":{\"orders_encoding\":{\"count\":1,\"examples\":[[0,2,\"\\u0100\"]]}}"},
      {"\"columns\":{}", "\"columns\":{\"orders.created_at\":[0,\"x\",\"x\"]}"},
      {"}", ""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (collect_with(b, cases[i][0], cases[i][1]) != KPI_ENGINE_FAILED)
      fail_msg("%s instead of %s is taken", cases[i][1], cases[i][0]);
}

static void lines_that_do_not_fit_are_refused(void **state) {
  struct bench *b = *state;
  static const struct {
    const char *lines;
    uint64_t rows;
  } cases[] = {
      {CATEGORY_LINE, 1},                        /* without its day */
      {DAY_LINE, 1},                             /* without its category */
      {CATEGORY_LINE CATEGORY_LINE DAY_LINE, 3}, /* twice the same */
      {CATEGORY_LINE DAY_LINE DAY_LINE, 3},      /* a day twice */
      {"{\"day\":\"2023-02-01\",\"category\":null}\n", 1},
      {"{\"day\":\"2023-01-15\",\"category\":\"Home\"}\n", 1},
      {"{\"day\":\"2023-01-15\",\"category\":null}\n", 1},
      {"{\"category\":null}\n", 1},
      {"{\n", 1},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    b->results = cases[i].lines;
    b->result_rows = cases[i].rows;
    if (collect(b) != KPI_ENGINE_FAILED)
      fail_msg("case %zu is taken: %s", i, cases[i].lines);
  }
}

static void file_that_cannot_be_read_is_told(void **state) {
  struct bench *b = *state;
  assert_int_equal(collect_with(b, "results/part-0.txt", "results/part-1.txt"), KPI_SOURCE_NOT_FOUND);
}

/* ---- what takes long ---- */

static void each_file_line_and_day_is_a_sign_of_life(void **state) {
  struct bench *b = *state;
  assert_int_equal(collect(b), KPI_OK);
  assert_true(b->beats[0] > 0);
  assert_true(b->beats[1] >= b->beats[0] + b->result_rows);
  assert_true(b->progress.beats >= b->beats[1] + b->out.count);
}

static void stopped_job_is_collected_no_further(void **state) {
  struct bench *b = *state;
  stop_raise(&b->stop, STOP_TIMEOUT);
  assert_int_equal(collect(b), KPI_TIMEOUT);
  assert_int_equal(b->out.count, 0);
}

#define COLLECT_TEST(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      COLLECT_TEST(days_have_their_rows_and_reports),
      COLLECT_TEST(days_that_were_asked_for_are_there_without_a_line),
      COLLECT_TEST(of_all_days_those_with_rows_are_there),
      COLLECT_TEST(status_column_decides_on_returned_orders),
      COLLECT_TEST(bad_rows_beyond_the_limit_fail_the_day),
      COLLECT_TEST(refused_day_fails_alone),
      COLLECT_TEST(too_many_categories_fail_the_day),
      COLLECT_TEST(foreign_or_damaged_manifests_are_refused),
      COLLECT_TEST(lines_that_do_not_fit_are_refused),
      COLLECT_TEST(file_that_cannot_be_read_is_told),
      COLLECT_TEST(each_file_line_and_day_is_a_sign_of_life),
      COLLECT_TEST(stopped_job_is_collected_no_further),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
