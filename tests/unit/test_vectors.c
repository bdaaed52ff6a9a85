/* SPDX-License-Identifier: MIT
 * The cells and CSV texts of tests/vectors, which the Spark job reads too (tests/spark/test_vectors.py): both
 * engines must take each for the same. */
#include "base/scope.h"
#include "pipeline/csv.h"
#include "pipeline/decimal.h"
#include "pipeline/id.h"
#include "pipeline/timestamp.h"

#include "unit.h"

#include <jansson.h>

/* Returns the cases of a file; owned. */
static json_t *load(const char *name) {
  char path[512];
  snprintf(path, sizeof path, TESTS_DIR "/vectors/%s.json", name);
  json_error_t error;
  json_t *file = json_load_file(path, JSON_ALLOW_NUL, &error);
  if (!file)
    fail_msg("%s:%d: %s", path, error.line, error.text);
  json_t *cases = json_incref(json_object_get(file, "cases"));
  json_decref(file);
  assert_true(json_array_size(cases) > 20);
  return cases;
}

static struct view text_of(const json_t *c, const char *key) {
  const json_t *text = json_object_get(c, key);
  return (struct view){json_string_value(text), json_string_length(text)};
}

/* ---- cells ---- */

static void prices_are_what_the_vectors_say(void **state) {
  (void)state;
  static const char *const results[] = {[DECIMAL_OK] = "ok",
                                        [DECIMAL_ROUNDED] = "rounded",
                                        [DECIMAL_NOT_A_NUMBER] = "not_a_number",
                                        [DECIMAL_NOT_FINITE] = "not_finite",
                                        [DECIMAL_TOO_LARGE] = "too_large"};
  json_t *cases = load("price");
  size_t i;
  json_t *c;
  json_array_foreach(cases, i, c) {
    struct decimal d;
    char value[DECIMAL_TEXT_SIZE] = "";
    enum decimal_parse rc = decimal_parse(text_of(c, "text"), &d);
    if (rc == DECIMAL_OK || rc == DECIMAL_ROUNDED)
      decimal_text(&d, value);
    if (!view_is(text_of(c, "result"), results[rc]) || !view_is(text_of(c, "value"), value))
      fail_msg("\"%s\" is %s %s", text_of(c, "text").ptr, results[rc], value);
  }
  json_decref(cases);
}

static void dates_are_what_the_vectors_say(void **state) {
  (void)state;
  json_t *cases = load("date");
  size_t i;
  json_t *c;
  json_array_foreach(cases, i, c) {
    const struct tz *zone = tz_cached(text_of(c, "zone"));
    char text[DAY_TEXT_SIZE] = "";
    day_t day;
    assert_non_null(zone);
    if (timestamp_day(text_of(c, "text"), zone, &day))
      day_text(day, text);
    if (!view_is(text_of(c, "day"), text))
      fail_msg("\"%s\" is of \"%s\"", text_of(c, "text").ptr, text);
  }
  json_decref(cases);
}

static void ids_are_what_the_vectors_say(void **state) {
  (void)state;
  static const char *const forms[] = {[ID_FORM_NULL] = "null",
                                      [ID_FORM_PLAIN] = "plain",
                                      [ID_FORM_NUMBER] = "number",
                                      [ID_FORM_TEXT] = "text"};
  json_t *cases = load("id");
  struct dict *dict = dict_new(NULL);
  id_code codes[256];
  size_t i;
  json_t *c;
  assert_non_null(dict);
  assert_true(json_array_size(cases) <= COUNT_OF(codes));
  json_array_foreach(cases, i, c) {
    enum id_form form = id_classify(text_of(c, "text"), &codes[i]);
    if (!view_is(text_of(c, "form"), forms[form]))
      fail_msg("\"%s\" is %s", text_of(c, "text").ptr, forms[form]);
    assert_true(id_encode(dict, ID_INTERN, text_of(c, "text"), ID_NUMERIC, &codes[i]));
  }
  json_array_foreach(cases, i, c) {
    for (size_t j = 0; j < i; j++) {
      const json_t *other = json_array_get(cases, j);
      struct view mine = text_of(c, "number"), its = text_of(other, "number");
      bool is_equal = mine.len && view_eq(mine, its);
      if (mine.len && is_equal != (codes[i] == codes[j]))
        fail_msg("\"%s\" and \"%s\" are taken for %s", text_of(c, "text").ptr, text_of(other, "text").ptr,
                 is_equal ? "different" : "equal");
    }
  }
  dict_free(dict);
  json_decref(cases);
}

/* ---- CSV ---- */

/* Bytes that stand in JSON as the characters U+0000 to U+00FF. */
static void add_bytes(struct buf *out, struct view text) {
  for (size_t i = 0; i < text.len; i++) {
    unsigned char byte = (unsigned char)text.ptr[i];
    if (byte >= 0xC0) /* the two bytes of U+0080 and beyond */
      byte = (unsigned char)((byte & 3) << 6 | ((unsigned char)text.ptr[++i] & 0x3F));
    buf_add_char(out, (char)byte);
  }
}

/* A text of many equal pieces would fill the file: {"text": "a", "repeat": 70000, "then": "b"}. */
static void add_text(struct buf *out, const json_t *c) {
  json_int_t times = json_integer_value(json_object_get(c, "repeat"));
  add_bytes(out, text_of(c, "before"));
  for (json_int_t i = 0; i < (times ? times : 1); i++)
    add_bytes(out, text_of(c, "text"));
  add_bytes(out, text_of(c, "after"));
}

/* What a reader makes of a text: rows as "line: cell|cell;", what it skipped and counted, how it ended. */
struct reading {
  struct buf rows;
  json_int_t repeated_header, ragged, undecodable;
  struct err err;
};

/* A cell as text; of a long one, how long. */
static void add_cell(struct buf *out, struct view cell) {
  if (cell.len <= 100)
    buf_add_utf8(out, cell);
  else
    buf_printf(out, "%zu bytes", cell.len);
}

static void read_rows(struct view data, const struct csv_binding *b, uint64_t line, struct reading *r) {
  struct csv_cursor cursor;
  struct csv_row row;
  csv_init(&cursor);
  csv_start(&cursor, data);
  while (csv_next(&cursor, b, &row)) {
    if (view_eq(row.raw, b->header)) {
      r->repeated_header++;
      continue;
    }
    r->ragged += row.cell_count != b->columns;
    r->undecodable += !view_is_utf8(row.raw);
    buf_printf(&r->rows, "%llu: ", (unsigned long long)(line + row.line));
    add_cell(&r->rows, row.cells[PRODUCTS_ID]);
    buf_add_char(&r->rows, '|');
    add_cell(&r->rows, row.cells[PRODUCTS_CATEGORY]);
    buf_add_char(&r->rows, ';');
  }
  if (cursor.problem)
    csv_problem_err(cursor.problem, "products/a.csv", line + row.line, &r->err);
  csv_clear(&cursor);
}

static void read_text(struct view text, struct reading *r) {
  struct csv_binding b;
  size_t used;
  uint64_t lines;
  enum kpi_code rc =
      csv_bind(text, schema_of(DATASET_PRODUCTS), "products/a.csv", 1, &b, &used, &lines, &r->err);
  if (rc == KPI_OK && used)
    read_rows((struct view){text.ptr + used, text.len - used}, &b, 1 + lines, r);
}

static void assert_reading(const char *name, const struct reading *r, const json_t *expected) {
  const char *error = r->err.code ? err_name(r->err.code) : "";
  json_int_t line = json_integer_value(json_object_get(expected, "line"));
  bool is_equal = view_is(text_of(expected, "error"), error) && (json_int_t)r->err.line == line &&
                  view_is(text_of(expected, "message"), r->err.message) &&
                  r->repeated_header == json_integer_value(json_object_get(expected, "repeated_header")) &&
                  r->ragged == json_integer_value(json_object_get(expected, "ragged")) &&
                  r->undecodable == json_integer_value(json_object_get(expected, "undecodable")) &&
                  (r->err.code || view_eq(text_of(expected, "rows"), buf_view(&r->rows)));
  if (!is_equal)
    fail_msg("%s: rows \"%.*s\", %lld headers, %lld ragged, %lld undecodable, error %s at %llu: %s", name,
             (int)r->rows.len, r->rows.ptr, r->repeated_header, r->ragged, r->undecodable, error,
             (unsigned long long)r->err.line, r->err.message);
}

static void csv_texts_are_what_the_vectors_say(void **state) {
  (void)state;
  json_t *cases = load("csv");
  size_t i;
  json_t *c;
  json_array_foreach(cases, i, c) {
    struct buf text;
    struct reading r = {0};
    buf_init(&text, SIZE_MAX);
    buf_init(&r.rows, SIZE_MAX);
    add_text(&text, c);
    read_text(buf_view(&text), &r);
    assert_false(buf_failed(&text) || buf_failed(&r.rows));
    assert_reading(text_of(c, "name").ptr, &r, json_object_get(c, "expected"));
    buf_clear(&text);
    buf_clear(&r.rows);
  }
  json_decref(cases);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prices_are_what_the_vectors_say),
      cmocka_unit_test(dates_are_what_the_vectors_say),
      cmocka_unit_test(ids_are_what_the_vectors_say),
      cmocka_unit_test(csv_texts_are_what_the_vectors_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
