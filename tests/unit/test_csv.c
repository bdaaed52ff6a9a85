/* SPDX-License-Identifier: MIT */
#include "pipeline/csv.h"

#include "base/scope.h"
#include "pipeline/csv_scan.h"

#include "unit.h"

/* Binds "id,category" of the products; the rest are the rows. */
static struct csv_binding bind_products(const char *header) {
  struct csv_binding binding;
  struct err err;
  size_t used;
  uint64_t lines;
  assert_int_equal(
      csv_bind(view_of(header), schema_of(DATASET_PRODUCTS), "products/a.csv", &binding, &used, &lines, &err),
      KPI_OK);
  assert_int_equal(used, strlen(header));
  return binding;
}

/* Writes the rows of a block as "id|category@line;" with their lines. */
static void rows_text(struct view block, struct buf *out) {
  struct csv_binding binding = bind_products("id,category\n");
  struct csv_cursor cursor;
  struct csv_row row;
  csv_init(&cursor);
  csv_start(&cursor, block);
  while (csv_next(&cursor, &binding, &row)) {
    buf_add(out, row.cells[PRODUCTS_ID]);
    buf_add_char(out, '|');
    buf_add(out, row.cells[PRODUCTS_CATEGORY]);
    buf_printf(out, "@%llu;", (unsigned long long)row.line);
  }
  if (cursor.problem)
    buf_printf(out, "problem %d@%llu", cursor.problem, (unsigned long long)row.line);
  csv_clear(&cursor);
}

static void rows_are_read_as_written(void **state) {
  (void)state;
  static const struct {
    const char *block, *rows;
  } cases[] = {
      {"1,A\n2,B\n", "1|A@0;2|B@1;"},
      {"1,A\r\n2,B\r\n", "1|A@0;2|B@1;"},
      {"1,A\r2,B\r", "1|A@0;2|B@1;"},
      {"1,A\n2,B", "1|A@0;2|B@1;"},
      {"1,A\n\n \t\n2,B\n", "1|A@0;2|B@3;"},
      {"1\n", "1|@0;"},
      {"1,A,x,y\n", "1|A@0;"},
      {"1,\"A,B\"\n", "1|A,B@0;"},
      {"1,\"A\"\"B\"\n", "1|A\"B@0;"},
      {"1,\"A\\\"B\"\n", "1|A\"B@0;"},
      {"1,\"A\nB\"\n2,C\n", "1|A\nB@0;2|C@2;"},
      {"1,\"A\r\nB\"\n2,C\n", "1|A\r\nB@0;2|C@2;"},
      {"1,\"\"\n", "1|@0;"},
      {"1,\"A\" \n", "1|A@0;"},
      {"1,\"A\"x\n", "1|\"A\"x@0;"},
      {"1, A \n", "1| A @0;"},
      {"#1,A\n", "#1|A@0;"},
      {"1,A\n2,\"B\n", "1|A@0;problem 4@1"},
      {"1,\"A\n2,\"B\n", "problem 5@0"},
      {"1,\"A\nB\" x\n", "problem 5@0"},
      {"", ""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct buf out;
    buf_init(&out, 4096);
    rows_text(view_of(cases[i].block), &out);
    assert_view(buf_view(&out), cases[i].rows);
    buf_clear(&out);
  }
}

/* Cutting a text anywhere and reading both parts gives the rows of the whole. */
static void every_cut_keeps_the_rows(void **state) {
  (void)state;
  static const char text[] = "1,\"a\nb\"\r\n2,\"c\"\"d\"\n\n3,\"e\\\"f\"\r4,g\r\n5,\"h,i\"\n6,j\n";
  struct view all = VIEW_LIT(text);
  struct buf expected, parts;
  buf_init(&expected, 4096);
  buf_init(&parts, 4096);
  struct csv_binding binding = bind_products("id,category\n");
  for (size_t split = 0; split <= all.len; split++) {
    bool open_quote;
    size_t cut = csv_cut((struct view){all.ptr, split}, false, &open_quote);
    assert_true(cut <= split);
    struct view halves[] = {{all.ptr, cut}, {all.ptr + cut, all.len - cut}};
    struct csv_cursor cursor;
    struct csv_row row;
    size_t rows = 0;
    csv_init(&cursor);
    for (int h = 0; h < 2; h++) {
      csv_start(&cursor, halves[h]);
      while (csv_next(&cursor, &binding, &row))
        assert_int_equal(row.cells[PRODUCTS_ID].ptr[0], '1' + (int)rows++);
      assert_int_equal(cursor.problem, CSV_FINE);
    }
    csv_clear(&cursor);
    assert_int_equal(rows, 6);
  }
  buf_clear(&expected);
  buf_clear(&parts);
}

static void last_cut_takes_everything(void **state) {
  (void)state;
  bool open_quote;
  assert_int_equal(csv_cut(VIEW_LIT("1,\"a"), true, &open_quote), 4);
  assert_true(open_quote);
  assert_int_equal(csv_cut(VIEW_LIT("1,\"a"), false, &open_quote), 0);
  assert_true(open_quote);
  assert_int_equal(csv_cut(VIEW_LIT("1,a\r"), false, &open_quote), 0);
}

static enum csv_problem problem_of(struct view block) {
  struct csv_binding binding = bind_products("id,category\n");
  struct csv_cursor cursor;
  struct csv_row row;
  csv_init(&cursor);
  csv_start(&cursor, block);
  while (csv_next(&cursor, &binding, &row)) {
  }
  enum csv_problem problem = cursor.problem;
  csv_clear(&cursor);
  return problem;
}

/* A row of `cells` cells of `width` bytes. */
static struct buf wide_row(size_t cells, size_t width) {
  struct buf row;
  buf_init(&row, SIZE_MAX);
  for (size_t c = 0; c < cells; c++) {
    if (c)
      buf_add_char(&row, ',');
    for (size_t i = 0; i < width; i++)
      buf_add_char(&row, 'x');
  }
  return row;
}

static void limits_hold_at_their_edge(void **state) {
  (void)state;
  static const struct {
    size_t cells, width;
    enum csv_problem problem;
  } cases[] = {
      {1, CSV_FIELD_MAX_BYTES - 1, CSV_FINE},
      {1, CSV_FIELD_MAX_BYTES, CSV_FINE},
      {1, CSV_FIELD_MAX_BYTES + 1, CSV_FIELD_TOO_LONG},
      {CSV_COLUMNS_MAX - 1, 1, CSV_FINE},
      {CSV_COLUMNS_MAX, 1, CSV_FINE},
      {CSV_COLUMNS_MAX + 1, 1, CSV_TOO_MANY_COLUMNS},
      {16, CSV_FIELD_MAX_BYTES - 1, CSV_FINE},
      {17, CSV_FIELD_MAX_BYTES - 1, CSV_LINE_TOO_LONG},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct buf row = wide_row(cases[i].cells, cases[i].width);
    assert_int_equal(problem_of(buf_view(&row)), cases[i].problem);
    buf_clear(&row);
  }
}

static void headers_are_bound_by_name(void **state) {
  (void)state;
  struct csv_binding b = bind_products("sku, Category ,\"ID\"\n");
  assert_int_equal(b.slot[0], -1);
  assert_int_equal(b.slot[1], PRODUCTS_CATEGORY);
  assert_int_equal(b.slot[2], PRODUCTS_ID);
  assert_view(b.header, "sku, Category ,\"ID\"");
  assert_true(bind_products("\xEF\xBB\xBFid,category\n").has[PRODUCTS_ID]);
}

static void wrong_headers_are_refused_with_words(void **state) {
  (void)state;
  static const struct {
    struct view data;
    enum kpi_code code;
    const char *says;
  } cases[] = {
      {VIEW_LIT("id,name\n"), KPI_CSV_HEADER_MISSING, "category"},
      {VIEW_LIT("1,Toys\n"), KPI_CSV_HEADER_MISSING, "\"id\""},
      {VIEW_LIT("id,category,ID\n"), KPI_CSV_HEADER_MISSING, "twice"},
      {VIEW_LIT("id;category\n"), KPI_CSV_HEADER_MISSING, "semicolons"},
      {VIEW_LIT("id\tcategory\n"), KPI_CSV_HEADER_MISSING, "tabs"},
      {VIEW_LIT("\xFF\xFEi\0d\0"), KPI_CSV_ENCODING, "UTF-16"},
      {VIEW_LIT("i\0d\0,\0\n"), KPI_CSV_ENCODING, "NUL"},
      {VIEW_LIT("<!doctype html>\n"), KPI_CSV_MALFORMED, "HTML"},
      {VIEW_LIT("\x1F\x8B\x08\n"), KPI_CSV_ENCODING, "gzip"},
      {VIEW_LIT("\x1F\x8B\x08\0\0\0\0\0"), KPI_CSV_ENCODING, "gzip"},
      {VIEW_LIT("id,\"category\n"), KPI_CSV_MALFORMED, "never closed"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct csv_binding binding;
    struct err err = {0};
    size_t used;
    uint64_t lines;
    assert_int_equal(
        csv_bind(cases[i].data, schema_of(DATASET_PRODUCTS), "products/a.csv", &binding, &used, &lines, &err),
        cases[i].code);
    assert_non_null(strstr(err.message, cases[i].says));
    assert_non_null(strstr(err.message, "products/a.csv:1"));
  }
}

static void delimiters_are_found_as_the_portable_way_finds_them(void **state) {
  (void)state;
  char bytes[CSV_SCAN_BYTES + 16];
  uint64_t seed = 88172645463325252u;
  for (int round = 0; round < 2000; round++) {
    for (size_t i = 0; i < sizeof bytes; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      bytes[i] = ",\n\r\"a\xff \t,"[(seed >> 33) % 9];
      if (round % 2)
        bytes[i] = (char)(seed >> 40);
    }
    const char *at = bytes + round % 16;
    assert_true(csv_scan_delimiters(at) == csv_scan_scalar(at));
  }
}

/* Rows of cells of every length, so that delimiters fall on every place of the windows that are scanned. */
static void rows_may_begin_and_end_anywhere(void **state) {
  (void)state;
  enum { LENGTHS = 150 };
  auto_buf struct buf block, expected, rows;
  buf_init(&block, 1 << 20);
  buf_init(&expected, 1 << 20);
  buf_init(&rows, 1 << 20);
  for (int n = 0; n < LENGTHS; n++) {
    const char *quote = n % 5 == 0 ? "\"" : "";
    buf_printf(&block, "%d,%s%.*d%s%s", n, quote, n + 1, n, quote, n % 3 ? "\n" : "\r\n");
    buf_printf(&expected, "%d|%.*d@%d;", n, n + 1, n, n);
  }
  for (size_t cut = 0; cut < 2; cut++) { /* with and without the last line end */
    buf_reset(&rows);
    rows_text((struct view){block.ptr, block.len - cut}, &rows);
    assert_view(buf_view(&rows), expected.ptr);
  }
}

static void blank_lines_before_the_header_are_counted(void **state) {
  (void)state;
  struct csv_binding binding;
  struct err err;
  size_t used;
  uint64_t lines;
  struct view data = VIEW_LIT("\n \nid,category\n1,A\n");
  assert_int_equal(csv_bind(data, schema_of(DATASET_PRODUCTS), "a", &binding, &used, &lines, &err), KPI_OK);
  assert_int_equal(lines, 3);
  assert_int_equal(used, 15);
  assert_int_equal(
      csv_bind(VIEW_LIT("\n\n"), schema_of(DATASET_PRODUCTS), "a", &binding, &used, &lines, &err), KPI_OK);
  assert_int_equal(used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_are_read_as_written),
      cmocka_unit_test(every_cut_keeps_the_rows),
      cmocka_unit_test(last_cut_takes_everything),
      cmocka_unit_test(limits_hold_at_their_edge),
      cmocka_unit_test(headers_are_bound_by_name),
      cmocka_unit_test(wrong_headers_are_refused_with_words),
      cmocka_unit_test(delimiters_are_found_as_the_portable_way_finds_them),
      cmocka_unit_test(rows_may_begin_and_end_anywhere),
      cmocka_unit_test(blank_lines_before_the_header_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
