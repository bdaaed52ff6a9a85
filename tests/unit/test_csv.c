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
  assert_int_equal(csv_bind(view_of(header), schema_of(DATASET_PRODUCTS), "products/a.csv", 1, &binding,
                            &used, &lines, &err),
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
    size_t cut = csv_cut((struct view){all.ptr, split}, false).whole;
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

/* The nth row of a long text: now rows of all kinds, now plain ones. */
static const char *mixed_row(size_t n) {
  static const char *const rows[] = {"1,\"a\nb\"\r\n", "2,\"c\"\"d\"\n", "\n",        "3,\"e\\\"f\"\r",
                                     "4,g\r\n",        "5,\"h,i\"\n",    "6,\"j\"\n", "7,\"k\"\r\n",
                                     "8,l\n",          "9,\"m\"\n"};
  return rows[n / 20 % 2 ? 5 + n % 5 : n % COUNT_OF(rows)];
}

/* As much as can be is cut off, so that blocks grow no larger than they must. */
static void a_cut_is_behind_the_last_whole_row(void **state) {
  (void)state;
  static char text[3 * CSV_MARKS_BYTES_MAX];
  size_t len = 0, whole = 0, open_quotes = 0;
  for (size_t n = 0; len + 16 < sizeof text; n++)
    len += (size_t)snprintf(text + len, sizeof text - len, "%s", mixed_row(n));
  for (size_t upto = 1, n = 0; upto < len; upto++) {
    for (size_t next; (next = whole + strlen(mixed_row(n))) <= upto; n++, whole = next)
      if (next == upto && text[next - 1] == '\r') /* perhaps half of a CRLF */
        break;
    if (upto > 2000 && upto % 13) /* every place of the first, some of the others */
      continue;
    const struct csv_cut cut = csv_cut((struct view){text, upto}, false);
    assert_int_equal(cut.whole, whole);
    open_quotes += cut.open_quote;
  }
  assert_in_range(open_quotes, 500, len);
}

static void last_cut_takes_everything(void **state) {
  (void)state;
  struct csv_cut cut = csv_cut(VIEW_LIT("1,\"a\n"), true);
  assert_true(cut.whole == 5 && cut.line_ends == 1 && cut.open_quote);
  cut = csv_cut(VIEW_LIT("1,\"a"), false);
  assert_true(cut.whole == 0 && cut.line_ends == 0 && cut.open_quote);
  cut = csv_cut(VIEW_LIT("1,a\r"), false);
  assert_true(cut.whole == 0 && cut.line_ends == 0 && !cut.open_quote);
  cut = csv_cut(VIEW_LIT("1,a\r\n2,b\r3,"), false);
  assert_true(cut.whole == 9 && cut.line_ends == 2 && !cut.open_quote);
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
    assert_int_equal(csv_bind(cases[i].data, schema_of(DATASET_PRODUCTS), "products/a.csv", 1, &binding,
                              &used, &lines, &err),
                     cases[i].code);
    assert_non_null(strstr(err.message, cases[i].says));
    assert_non_null(strstr(err.message, "products/a.csv:1"));
  }
}

/* What csv_scan promises, byte by byte. */
static void mark_slowly(const char *text, size_t len, struct csv_marks *out) {
  bool in_quotes = false, at_cell = true;
  out->count = out->row_count = 0;
  for (size_t i = 0; i < len; i++) {
    if (in_quotes) {
      if (strchr("\\\n\r", text[i]) && text[i])
        return;
      if (text[i] == '"' && (!text[i + 1] || !strchr(",\n\r", text[i + 1])))
        return;
      in_quotes = text[i] != '"';
      at_cell = false;
      continue;
    }
    if ((text[i] == '"' && !at_cell) || (text[i] == '\r' && text[i + 1] != '\n'))
      return;
    in_quotes = text[i] == '"';
    at_cell = text[i] == '\n' || text[i] == ',';
    if (text[i] == '\n')
      out->rows[out->row_count++] = (uint16_t)out->count;
    if (text[i] == '\n' || text[i] == ',')
      out->at[out->count++] = (uint16_t)i;
  }
}

static void assert_marks(const struct csv_marks *found, const struct csv_marks *expected) {
  assert_int_equal(found->count, expected->count);
  assert_int_equal(found->row_count, expected->row_count);
  assert_memory_equal(found->at, expected->at, expected->count * sizeof expected->at[0]);
  assert_memory_equal(found->rows, expected->rows, expected->row_count * sizeof expected->rows[0]);
}

/* Texts of several kinds: few plain bytes, any bytes, only commas, only line ends, no byte that stops. */
static void make_text(char *bytes, size_t len, int kind, uint64_t *seed) {
  static const char *const letters[] = {",\n\r\"a\xff \t,", "", ",", "\n", ",\na1-", ",abcdefgh\r\n", "\r\n"};
  const char *set = letters[kind % (int)COUNT_OF(letters)];
  size_t count = strlen(set);
  for (size_t i = 0; i < len; i++)
    bytes[i] = count ? set[unit_random(seed) % count] : (char)unit_random(seed);
  if (kind % 8 == 7) /* cells, most of them quoted as they should be */
    for (size_t i = 0; i + 8 < len;) {
      static const char *const cells[] = {"\"a,b\",", "abc,",      "\"\",", "\"x\"\n",
                                          "1\r\n",    "\"y\"\r\n", ",",     "\"abcde\","};
      size_t pick = unit_random(seed) % 400;
      const char *cell = pick == 8 ? "\"a\\" : pick == 9 ? "\"\"\"" : cells[pick % COUNT_OF(cells)];
      memcpy(bytes + i, cell, strlen(cell));
      i += strlen(cell);
    }
}

static size_t count_line_ends(const char *text, size_t len) {
  size_t count = 0;
  for (size_t i = 0; i < len; i++)
    count += text[i] == '\r' || (text[i] == '\n' && (i == 0 || text[i - 1] != '\r'));
  return count;
}

static void every_scanner_finds_the_same(void **state) {
  (void)state;
  enum { WORDS = 6, BYTES = WORDS * CSV_WORD_BYTES };
  static struct csv_marks found, expected;
  char bytes[BYTES + 64 + 1];
  uint64_t seed = 88172645463325252u;
  size_t usable = 0;
  for (size_t s = 0; csv_scanners[s]; s++) {
    if (!csv_scanners[s]->is_usable())
      continue;
    usable++;
    for (int round = 0; round < 5000; round++) {
      make_text(bytes, sizeof bytes, round, &seed);
      const char *text = bytes + round % 64;
      size_t base = round % 3 ? 0 : 4096;
      mark_slowly(text, BYTES, &expected);
      for (size_t i = 0; i < expected.count; i++)
        expected.at[i] = (uint16_t)(expected.at[i] + base);
      found.count = found.row_count = 0;
      found.is_ascii = true;
      found.in_quotes = false;
      found.at_cell = 1;
      bool is_whole = csv_scanners[s]->scan(text, WORDS, base, &found);
      assert_marks(&found, &expected);
      struct csv_survey survey = {0};
      csv_scanners[s]->survey(text, 1, &survey); /* and what follows, as one text */
      csv_scanners[s]->survey(text + CSV_WORD_BYTES, WORDS - 1, &survey);
      assert_int_equal(survey.line_ends, count_line_ends(text, BYTES));
      assert_int_equal(survey.has_quote, memchr(text, '"', BYTES) != NULL);
      assert_int_equal(survey.ends_in_cr, text[BYTES - 1] == '\r');
      size_t high = 0;
      for (size_t i = 0; i < BYTES; i++)
        high += (unsigned char)text[i] >= 0x80;
      assert_true(!is_whole || found.is_ascii == (high == 0));
    }
  }
  assert_true(usable >= 1);
}

/* The text ends where its memory ends: what is behind must not be read, nor matter. */
static void a_text_of_any_length_is_scanned_whole(void **state) {
  (void)state;
  static struct csv_marks found, expected;
  uint64_t seed = 1;
  for (size_t len = 0; len <= 300; len++) {
    char *text = malloc(len + 1);
    make_text(text, len, (int)len, &seed);
    text[len] = 'x';
    mark_slowly(text, len, &expected);
    text = realloc(text, len ? len : 1);
    csv_scan((struct view){text, len}, &found);
    assert_marks(&found, &expected);
    const struct csv_survey survey = csv_scan_survey((struct view){text, len});
    assert_int_equal(survey.line_ends, count_line_ends(text, len));
    assert_int_equal(survey.has_quote, len && memchr(text, '"', len));
    free(text);
  }
}

/* A plain text is marked as far as the array goes, whatever follows. */
static void a_long_text_is_marked_as_far_as_there_is_room(void **state) {
  (void)state;
  static struct csv_marks found;
  static char text[CSV_MARKS_BYTES_MAX + 1000];
  memset(text, '\n', sizeof text);
  csv_scan((struct view){text, sizeof text}, &found);
  assert_int_equal(found.count, CSV_MARKS_BYTES_MAX);
  assert_int_equal(found.row_count, CSV_MARKS_BYTES_MAX);
  assert_int_equal(found.at[CSV_MARKS_BYTES_MAX - 1], CSV_MARKS_BYTES_MAX - 1);
}

/* Whoever looks at marked rows sees what csv_next reads, and may step over them. */
static void a_plain_row_can_be_read_from_its_marks(void **state) {
  (void)state;
  static struct csv_cursor looked, read;
  const struct csv_binding binding = {.columns = 2,
                                      .slot = {[0] = 1, [1] = 0},
                                      .cell = {[0] = 1, [1] = 0},
                                      .needed = {{0, 1}, {1, 0}},
                                      .needed_count = 2};
  char bytes[4096];
  uint64_t seed = 7;
  size_t plain = 0;
  csv_init(&looked);
  csv_init(&read);
  for (int round = 0; round < 800; round++) {
    struct csv_row row;
    make_text(bytes, sizeof bytes, round, &seed);
    csv_start(&looked, (struct view){bytes, sizeof bytes});
    csv_start(&read, (struct view){bytes, sizeof bytes});
    while (csv_next(&read, &binding, &row)) {
      if (!csv_look(&looked) || !csv_count_plain(&looked, &binding, 1)) {
        assert_true(csv_next(&looked, &binding, &row));
        assert_ptr_equal(looked.at, read.at);
        continue;
      }
      plain++;
      for (int column = 0; column < 2; column++)
        assert_true(view_eq(csv_plain_cell(&looked, binding.cell[column]), row.cells[column]));
      assert_int_equal(looked.lines, row.line);
      csv_skip_plain(&looked);
      assert_ptr_equal(looked.at, read.at);
    }
  }
  csv_clear(&looked);
  csv_clear(&read);
  assert_in_range(plain, 10000, SIZE_MAX);
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
  assert_int_equal(csv_bind(data, schema_of(DATASET_PRODUCTS), "a", 1, &binding, &used, &lines, &err),
                   KPI_OK);
  assert_int_equal(lines, 3);
  assert_int_equal(used, 15);
  assert_int_equal(
      csv_bind(VIEW_LIT("\n\n"), schema_of(DATASET_PRODUCTS), "a", 1, &binding, &used, &lines, &err), KPI_OK);
  assert_int_equal(used, 0);
}

static void header_behind_the_first_block_is_named_by_its_line(void **state) {
  (void)state;
  struct csv_binding binding;
  struct err err;
  size_t used;
  uint64_t lines;
  assert_int_equal(
      csv_bind(VIEW_LIT("\nid,kind\n"), schema_of(DATASET_PRODUCTS), "a", 70, &binding, &used, &lines, &err),
      KPI_CSV_HEADER_MISSING);
  assert_int_equal(err.line, 71);
  assert_int_equal(csv_bind(VIEW_LIT("\xEF\xBB\xBFid,category\n"), schema_of(DATASET_PRODUCTS), "a", 70,
                            &binding, &used, &lines, &err),
                   KPI_CSV_HEADER_MISSING); /* a mark in the middle of a file is part of a name */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(header_behind_the_first_block_is_named_by_its_line),
      cmocka_unit_test(rows_are_read_as_written),
      cmocka_unit_test(every_cut_keeps_the_rows),
      cmocka_unit_test(a_cut_is_behind_the_last_whole_row),
      cmocka_unit_test(last_cut_takes_everything),
      cmocka_unit_test(limits_hold_at_their_edge),
      cmocka_unit_test(headers_are_bound_by_name),
      cmocka_unit_test(wrong_headers_are_refused_with_words),
      cmocka_unit_test(every_scanner_finds_the_same),
      cmocka_unit_test(a_text_of_any_length_is_scanned_whole),
      cmocka_unit_test(a_long_text_is_marked_as_far_as_there_is_room),
      cmocka_unit_test(rows_may_begin_and_end_anywhere),
      cmocka_unit_test(a_plain_row_can_be_read_from_its_marks),
      cmocka_unit_test(blank_lines_before_the_header_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
