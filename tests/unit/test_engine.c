/* SPDX-License-Identifier: MIT */
#include "pipeline/run_job.h"

#include "unit.h"

#include <sys/stat.h>
#include <unistd.h>

/* The engine over small folders, for what only it shows: threads, errors in order, memory, stopping. */

static char folder[64];

static void write_file(const char *name, const char *text) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static int make_folder(void **state) {
  (void)state;
  static const char *const sub[] = {"orders", "order_items", "products"};
  char path[160];
  strcpy(folder, "/tmp/kpid-unit-XXXXXX");
  if (!mkdtemp(folder))
    return 1;
  for (size_t i = 0; i < COUNT_OF(sub); i++) {
    snprintf(path, sizeof path, "%s/%s", folder, sub[i]);
    mkdir(path, 0700);
  }
  write_file(
      "orders/a.csv",
      "order_id,user_id,status,created_at\n1,1,c,2023-01-15\n2,2,returned,2023-01-15\n3,1,c,2023-01-16\n");
  write_file("order_items/a.csv",
             "id,order_id,product_id,sale_price,status,created_at\n1,1,1,10.5,c,2023-01-15\n"
             "2,2,2,20,Returned,2023-01-15\n3,3,1,1,c,2023-01-16\n4,9,9,5,c,2023-01-15\n");
  write_file("products/a.csv", "id,category\n1,Toys\n2,Books\n");
  return 0;
}

static int remove_folder(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

/* What a computation came to. */
struct outcome {
  enum kpi_code code;
  struct err err;
  struct day_results days;
  struct budget budget;
};

static void compute(size_t threads, size_t memory, enum stop_reason stopped, day_t from, day_t to,
                    struct outcome *o) {
  char url[96];
  struct pool *pool = pool_new(threads, 64);
  struct engine *engine = engine_native_new(pool);
  struct stop_flag stop = {0};
  struct job_progress progress = {0};
  memset(o, 0, sizeof *o);
  snprintf(url, sizeof url, "file://%s", folder);
  budget_init(&o->budget, memory);
  if (stopped)
    stop_raise(&stop, stopped);
  struct job job = {.days = day_set_range(from, to),
                    .zone = tz_cached(VIEW_LIT("UTC")),
                    .budget = &o->budget,
                    .stop = &stop,
                    .progress = &progress};
  assert_int_equal(source_new(url, NULL, 1, &job.source, &o->err), KPI_OK);
  const struct engines engines = {.native = engine};
  struct run_plan plan = {.engines = &engines, .job = &job};
  o->code = run_job_days(&plan, &o->days, &o->err);
  source_free(job.source);
  engine_free(engine);
  pool_free(pool);
  assert_int_equal(o->budget.used, 0);
}

static void rows_text(const struct day_results *days, struct buf *out) {
  buf_init(out, SIZE_MAX);
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    for (size_t d = 0; d < days->count; d++) {
      const struct kpi_rows *rows = &days->at[d].result.tables[t];
      for (size_t i = 0; i < rows->count; i++)
        kpi_row_csv(&rows->rows[i], (enum kpi_table)t, false, out);
    }
}

static void results_are_the_same_for_any_thread_count(void **state) {
  (void)state;
  static const char expected[] = "2023-01-15,2,30.5,2,0.5,2,1,1,0.5,15.25\n"
                                 "2023-01-16,1,1,1,0,1,0,0,0,1\n"
                                 "Books,2023-01-15,20,20,1,1,1,1,1,1\n"
                                 "Toys,2023-01-15,10.5,10.5,0,1,1,0,0,0\n"
                                 "Toys,2023-01-16,1,1,0,1,1,0,0,0\n";
  for (size_t threads = 1; threads <= 8; threads++) {
    struct outcome o;
    struct buf text;
    compute(threads, 0, STOP_NONE, DAY_MIN, DAY_MAX, &o);
    assert_int_equal(o.code, KPI_OK);
    rows_text(&o.days, &text);
    assert_view(buf_view(&text), expected);
    buf_clear(&text);
    day_results_clear(&o.days);
  }
}

static void first_error_of_the_input_wins(void **state) {
  (void)state;
  for (char name = 'b'; name <= 'z'; name++) {
    char file[32];
    snprintf(file, sizeof file, "orders/%c.csv", name);
    write_file(file, "order_id,user_id,created_at\n7,7,2023-01-15\n8,8,garbage\n9,9,worse\n");
  }
  for (int i = 0; i < 30; i++) {
    struct outcome o;
    compute(8, 0, STOP_NONE, DAY_MIN, DAY_MAX, &o);
    assert_int_equal(o.code, KPI_VALUE_UNPARSABLE);
    assert_string_equal(o.err.object, "orders/b.csv");
    assert_int_equal(o.err.line, 3);
    assert_string_equal(o.err.column, "created_at");
    assert_string_equal(o.err.value, "garbage");
    day_results_clear(&o.days);
  }
}

/* Appends rows until a file spans several blocks, with one bad row near its end. */
static void lines_are_exact_in_later_blocks(void **state) {
  (void)state;
  struct buf text;
  buf_init(&text, SIZE_MAX);
  buf_add_cstr(&text, "order_id,user_id,note,created_at\r\n");
  for (int i = 0; i < 40000; i++)
    buf_printf(&text, i % 3 ? "%d,1,x,2023-01-15\r\n" : "%d,1,\"two\nlines\",2023-01-15\r\n", i);
  buf_add_cstr(&text, "1,1,x,nope\r\n");
  write_file("orders/a.csv", text.ptr);
  uint64_t line = 1;
  for (const char *at = text.ptr; (at = strchr(at, '\n')) != NULL && strncmp(at + 1, "1,1,x,nope", 10) != 0;
       at++)
    line++;
  buf_clear(&text);
  for (size_t threads = 1; threads <= 4; threads++) {
    struct outcome o;
    compute(threads, 0, STOP_NONE, DAY_MIN, DAY_MAX, &o);
    assert_int_equal(o.code, KPI_VALUE_UNPARSABLE);
    assert_int_equal(o.err.line, line + 1);
    day_results_clear(&o.days);
  }
}

static void memory_limit_ends_the_job_and_nothing_stays(void **state) {
  (void)state;
  enum kpi_code last = KPI_OUT_OF_MEMORY;
  for (size_t limit = 64; limit < 1 << 22; limit *= 2) {
    struct outcome o;
    compute(2, limit, STOP_NONE, DAY_MIN, DAY_MAX, &o);
    assert_true(o.code == KPI_OK || o.code == KPI_OUT_OF_MEMORY);
    assert_true(o.code == KPI_OK || strstr(o.err.message, "KPI_MEMORY_LIMIT") != NULL);
    assert_true(o.budget.peak <= limit);
    last = o.code;
    day_results_clear(&o.days);
  }
  assert_int_equal(last, KPI_OK);
}

static void each_failing_allocation_is_survived(void **state) {
  (void)state;
  enum kpi_code code = KPI_OUT_OF_MEMORY;
  for (uint64_t nth = 1; nth < 500 && code != KPI_OK; nth++) {
    struct outcome o;
    alloc_fail_at(nth);
    compute(1, 0, STOP_NONE, DAY_MIN, DAY_MAX, &o);
    alloc_fail_at(0);
    assert_true(o.code == KPI_OK || o.code == KPI_OUT_OF_MEMORY);
    code = o.code;
    day_results_clear(&o.days);
  }
  assert_int_equal(code, KPI_OK);
}

static void stopped_jobs_say_why(void **state) {
  (void)state;
  static const struct {
    enum stop_reason reason;
    enum kpi_code code;
  } cases[] = {{STOP_CANCEL, KPI_CANCELLED},
               {STOP_DRAIN, KPI_INTERRUPTED},
               {STOP_STALLED, KPI_STALLED},
               {STOP_TIMEOUT, KPI_TIMEOUT}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct outcome o;
    compute(2, 0, cases[i].reason, DAY_MIN, DAY_MAX, &o);
    assert_int_equal(o.code, cases[i].code);
    day_results_clear(&o.days);
  }
}

static void quality_names_losses_with_their_revenue(void **state) {
  (void)state;
  struct outcome o;
  day_t day = day_from_civil(2023, 1, 15);
  compute(2, 0, STOP_NONE, day, day, &o);
  assert_int_equal(o.code, KPI_OK);
  assert_int_equal(o.days.count, 1);
  const char *report = o.days.at[0].result.quality.report_json;
  assert_non_null(strstr(report, "\"id\":\"items_without_product\""));
  assert_non_null(strstr(report, "\"observed\":\"1 rows with revenue 5\""));
  assert_non_null(strstr(report, "{\"object\":\"order_items/a.csv\",\"line\":5,\"value\":\"9\"}"));
  assert_int_equal(o.days.at[0].result.quality.status, QUALITY_WARNED);
  day_results_clear(&o.days);
}

#define ENGINE_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void) {
  const struct CMUnitTest tests[] = {
      ENGINE_TEST(results_are_the_same_for_any_thread_count),
      ENGINE_TEST(first_error_of_the_input_wins),
      ENGINE_TEST(lines_are_exact_in_later_blocks),
      ENGINE_TEST(memory_limit_ends_the_job_and_nothing_stays),
      ENGINE_TEST(each_failing_allocation_is_survived),
      ENGINE_TEST(stopped_jobs_say_why),
      ENGINE_TEST(quality_names_losses_with_their_revenue),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
