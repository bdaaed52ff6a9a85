/* SPDX-License-Identifier: MIT */
#include "pipeline/cache_writer.h"
#include "pipeline/cached_object.h"

#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* An entry of orders or items, written row by row and read again. */
struct bench {
  char path[64];
  int fd;
  struct cache_writer *writer;
  struct cached_rows rows;
  struct csv_binding binding;
  struct cached_object object;
  struct csv_block buffer;
};

static const char entry_name[] = "0123456789abcdef";
static const struct schema *schema(void) {
  return schema_of(DATASET_ORDERS);
}

static int bench_setup(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  size_t used;
  uint64_t lines;
  struct err err;
  strcpy(b->path, "/tmp/kpid-cached-XXXXXX");
  b->fd = mkstemp(b->path);
  assert_int_equal(csv_bind(VIEW_LIT("extra,created_at,order_id,user_id\n"), schema(), "x", 1, &b->binding,
                            &used, &lines, &err),
                   KPI_OK);
  *state = b;
  return 0;
}

static int bench_teardown(void **state) {
  struct bench *b = *state;
  cached_rows_clear(&b->rows);
  cached_object_close(&b->object);
  csv_block_clear(&b->buffer);
  close(b->fd);
  unlink(b->path);
  free(b);
  return 0;
}

/* A row as the reader gives it. */
static struct csv_row row_of(const char *raw, const char *order, const char *day) {
  struct csv_row row = {.raw = view_of(raw), .cell_count = 4, .is_utf8 = true};
  row.cells[ORDERS_ORDER_ID] = view_of(order);
  row.cells[ORDERS_USER_ID] = VIEW_LIT("5");
  row.cells[ORDERS_CREATED_AT] = view_of(day);
  return row;
}

static void add(struct bench *b, id_code order, day_t day, uint64_t line) {
  char text[32], date[DAY_TEXT_SIZE];
  snprintf(text, sizeof text, "%llu", (unsigned long long)order);
  const struct csv_row row = row_of("raw", order == ID_NULL ? "" : text, day_text(day, date));
  const struct cached_facts facts = {
      .day = day, .order = order, .forms = cached_form(ID_ORDERS_USER, ID_FORM_PLAIN)};
  cached_rows_add(&b->rows, &row, &b->binding, line, &facts);
}

static void start(struct bench *b, bool asks_where) {
  b->writer = cache_writer_new(b->fd, asks_where);
  assert_non_null(b->writer);
}

/* Ends the entry and opens it. */
static void finish(struct bench *b) {
  uint64_t bytes;
  cache_writer_add(b->writer, &b->rows);
  assert_true(cache_writer_finish(b->writer, entry_name, schema(), &b->binding, &bytes));
  assert_int_equal(bytes, lseek(b->fd, 0, SEEK_END));
  cache_writer_free(b->writer);
  assert_true(cached_object_open(&b->object, dup(b->fd), entry_name, schema()));
}

static struct cached_orders orders_of(struct bench *b, uint64_t chunk) {
  struct cached_orders orders;
  assert_true(cached_object_orders(&b->object, &b->object.chunks[chunk], &b->buffer, &orders));
  return orders;
}

static struct view rows_of(struct bench *b, uint64_t block, const uint32_t **lines) {
  assert_true(cached_object_rows(&b->object, &b->object.blocks[block], &b->buffer, lines));
  return b->buffer.rows;
}

static void rows_of_a_day_stand_together_with_their_lines(void **state) {
  struct bench *b = *state;
  const uint32_t *lines;
  start(b, false);
  add(b, 7, 20, 2);
  add(b, 8, 10, 3);
  add(b, 9, 20, 9);
  finish(b);
  assert_int_equal(b->object.chunk_count, 1);
  assert_int_equal(b->object.block_count, 2);
  const struct cached_block *blocks = b->object.blocks;
  assert_int_equal(blocks[0].first_day, 10);
  assert_int_equal(blocks[0].last_day, 10);
  assert_int_equal(blocks[1].first_day, 20);
  assert_view(rows_of(b, 0, &lines), "8,5,1970-01-11\n");
  assert_int_equal(blocks[0].first_line + lines[0], 3);
  assert_view(rows_of(b, 1, &lines), "7,5,1970-01-21\n9,5,1970-01-21\n");
  assert_int_equal(blocks[1].first_line + lines[0], 2);
  assert_int_equal(blocks[1].first_line + lines[1], 9);
  assert_true(b->object.bindings[CACHED_COLUMNS_NEEDED].has[ORDERS_CREATED_AT]);
  assert_false(b->object.bindings[CACHED_COLUMNS_NEEDED].has[ORDERS_STATUS]);
  assert_int_equal(b->object.bindings[CACHED_VERBATIM].columns, 4);
}

static void rows_that_cells_do_not_tell_are_kept_as_they_stand(void **state) {
  struct bench *b = *state;
  const uint32_t *lines;
  const struct cached_facts facts = {.day = 1, .order = 1};
  struct csv_row cases[] = {row_of("comma", "1,2", "1970-01-02"), row_of("quote", "1\"", "1970-01-02"),
                            row_of("line\"\n\"", "1\n", "1970-01-02"), row_of("short", "1", "1970-01-02"),
                            row_of("bad \xff", "1", "1970-01-02")};
  enum { CASES = sizeof cases / sizeof cases[0] };
  cases[3].cell_count = 3;
  cases[4].is_utf8 = false;
  start(b, true);
  for (size_t i = 0; i < CASES; i++)
    cached_rows_add(&b->rows, &cases[i], &b->binding, i + 2, &facts);
  add(b, 4, 5, 100);
  finish(b);
  assert_int_equal(b->object.block_count, 2);
  assert_true(b->object.blocks[0].is_verbatim);
  assert_view(rows_of(b, 0, &lines), "comma\nquote\nline\"\n\"\nshort\nbad \xff\n");
  assert_int_equal(b->object.blocks[0].rows, CASES);
  assert_false(b->object.blocks[1].is_verbatim);
  const struct cached_orders orders = orders_of(b, 0);
  assert_int_equal(orders.count, 1);
  assert_int_equal(orders.least, 4);
}

static void orders_that_are_only_asked_for_are_bits(void **state) {
  struct bench *b = *state;
  start(b, false);
  add(b, 130, 1, 2);
  add(b, ID_NULL, 1, 3);
  add(b, 190, 1, 4);
  add(b, 192, 1, 5);
  finish(b);
  const struct cached_orders orders = orders_of(b, 0);
  assert_int_equal(orders.kind, CACHED_BITS);
  assert_int_equal(orders.least, 128);
  assert_int_equal(orders.count, 128);
  assert_true(orders.bits[0] == ((uint64_t)1 << 2 | (uint64_t)1 << 62));
  assert_true(orders.bits[1] == 1);
}

/* Enough rows of each of some days for blocks of their own; order `step * i` on day i % days. */
static void add_days(struct bench *b, size_t count, int days, uint64_t step) {
  for (size_t i = 0; i < count; i++)
    add(b, 1 + step * i, (day_t)(i % (size_t)days), i + 2);
}

/* The block, from 0 on, with rows of a day; there is one. */
static uint64_t block_of_day(const struct bench *b, day_t day) {
  for (uint64_t i = 0; i < b->object.block_count; i++)
    if (b->object.blocks[i].first_day <= day && day <= b->object.blocks[i].last_day)
      return i;
  fail();
  return 0;
}

static void orders_say_in_which_block_they_are(void **state) {
  struct bench *b = *state;
  enum { ROWS = 6000, DAYS = 8 };
  start(b, true);
  add_days(b, ROWS, DAYS, 1);
  add(b, 1, DAYS - 1, 9000); /* the first order is of two days */
  finish(b);
  const struct cached_orders orders = orders_of(b, 0);
  assert_int_equal(orders.kind, CACHED_SPAN);
  assert_int_equal(orders.least, 1);
  assert_int_equal(orders.count, ROWS);
  assert_true(b->object.block_count >= DAYS);
  for (uint64_t i = 1; i < ROWS; i++)
    assert_int_equal(orders.where[i], block_of_day(b, (day_t)(i % DAYS)) + 1);
  assert_int_equal(orders.where[0], CACHED_IN_SEVERAL);
  assert_int_equal(orders.pair_count, 2);
  assert_int_equal(orders.pairs[0].order, 1);
  assert_int_equal(orders.pairs[0].block + orders.pairs[1].block,
                   block_of_day(b, 0) + block_of_day(b, DAYS - 1));
}

static void orders_far_apart_are_ids(void **state) {
  struct bench *b = *state;
  enum { ROWS = 6000, DAYS = 8, STEP = 1000003 };
  start(b, true);
  add_days(b, ROWS, DAYS, STEP);
  add(b, 1, DAYS - 1, 9000);
  finish(b);
  const struct cached_orders orders = orders_of(b, 0);
  assert_int_equal(orders.kind, CACHED_IDS);
  assert_int_equal(orders.count, ROWS);
  for (uint64_t i = 1; i < ROWS; i++) {
    assert_true(orders.ids[i] == 1 + i * STEP);
    assert_int_equal(orders.where[i], block_of_day(b, (day_t)(i % DAYS)) + 1);
  }
  assert_int_equal(orders.where[0], CACHED_IN_SEVERAL);
  assert_int_equal(orders.pair_count, 2);
}

static void many_rows_are_several_chunks(void **state) {
  struct bench *b = *state;
  enum { ROWS = 150000, AT_ONCE = 5000 };
  const uint32_t *lines;
  uint64_t rows = 0, line_sum = 0;
  start(b, false);
  for (uint64_t i = 0; i < ROWS; i++) {
    add(b, i, (day_t)(i % 500), i + 2);
    if (b->rows.count == AT_ONCE)
      cache_writer_add(b->writer, &b->rows);
  }
  finish(b);
  assert_true(b->object.chunk_count >= 2);
  for (uint64_t k = 0; k < b->object.block_count; k++) {
    (void)rows_of(b, k, &lines);
    rows += b->object.blocks[k].rows;
    for (uint32_t i = 0; i < b->object.blocks[k].rows; i++)
      line_sum += b->object.blocks[k].first_line + lines[i];
  }
  assert_int_equal(rows, ROWS);
  assert_true(line_sum == (uint64_t)ROWS * (ROWS + 3) / 2);
}

static void object_without_rows_is_kept_too(void **state) {
  struct bench *b = *state;
  start(b, true);
  finish(b);
  assert_int_equal(b->object.chunk_count, 0);
  assert_int_equal(b->object.block_count, 0);
}

static void entry_of_another_name_or_length_is_refused(void **state) {
  struct bench *b = *state;
  struct cached_object other = {0};
  start(b, true);
  add(b, 1, 1, 2);
  finish(b);
  assert_false(cached_object_open(&other, dup(b->fd), "another", schema()));
  assert_false(cached_object_open(&other, dup(b->fd), entry_name, schema_of(DATASET_PRODUCTS)));
  assert_int_equal(ftruncate(b->fd, lseek(b->fd, 0, SEEK_END) - 1), 0);
  assert_false(cached_object_open(&other, dup(b->fd), entry_name, schema()));
}

static void writer_that_cannot_write_says_so(void **state) {
  struct bench *b = *state;
  uint64_t bytes;
  int fd = open(b->path, O_RDONLY);
  b->writer = cache_writer_new(fd, true);
  add(b, 1, 1, 2);
  cache_writer_add(b->writer, &b->rows);
  assert_false(cache_writer_finish(b->writer, entry_name, schema(), &b->binding, &bytes));
  cache_writer_free(b->writer);
  close(fd);
}

#define CACHE_TEST(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      CACHE_TEST(rows_of_a_day_stand_together_with_their_lines),
      CACHE_TEST(rows_that_cells_do_not_tell_are_kept_as_they_stand),
      CACHE_TEST(orders_that_are_only_asked_for_are_bits),
      CACHE_TEST(orders_say_in_which_block_they_are),
      CACHE_TEST(orders_far_apart_are_ids),
      CACHE_TEST(many_rows_are_several_chunks),
      CACHE_TEST(object_without_rows_is_kept_too),
      CACHE_TEST(entry_of_another_name_or_length_is_refused),
      CACHE_TEST(writer_that_cannot_write_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
