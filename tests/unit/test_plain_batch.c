/* SPDX-License-Identifier: MIT */
#include "pipeline/plain_batch.h"

#include "base/scope.h"
#include "pipeline/timestamp.h"

#include "unit.h"

/* What a row holds, as text with PLAIN_BATCH_BYTES behind every cell. */
struct texts {
  char day[24 + PLAIN_BATCH_BYTES], ids[PLAIN_BATCH_IDS][24 + PLAIN_BATCH_BYTES];
};

static uint64_t word_at(const char *text) {
  return swar_load(text);
}

/* Takes a row to its place in the words, as struct plain_words says. */
static void put_words(const struct texts *row, size_t at, struct plain_words *out) {
  out->date[at] = strlen(row->day) == 19 ? word_at(row->day) : 0;
  out->date_end[at] = word_at(row->day + 3);
  out->time[at] = word_at(row->day + 11);
  for (int k = 0; k < PLAIN_BATCH_IDS; k++) {
    struct plain_id_words *id = &out->ids[k];
    const size_t len = strlen(row->ids[k]);
    id->len[at] = len;
    id->start[at] = word_at(row->ids[k]);
    id->end[at] = len > 8 ? word_at(row->ids[k] + len - 8) : unit_random(&(uint64_t){at});
    id->is_long |= len > 8;
  }
}

/* What the functions for one cell make of a row. False when one of them refuses it. */
static bool read_row(const struct texts *row, day_t *day, id_code ids[PLAIN_BATCH_IDS]) {
  bool is_plain = timestamp_day_of_common(view_of(row->day), day);
  for (int k = 0; k < PLAIN_BATCH_IDS; k++)
    is_plain &= id_read_plain(view_of(row->ids[k]), &ids[k]);
  return is_plain;
}

/* Has every scanner read the rows, and compares. Returns how many are plain. */
static size_t compare(const struct texts *rows, size_t count) {
  static struct plain_words words;
  static struct plain_batch batch;
  size_t plain = 0;
  memset(&words, 0xA5, sizeof words);
  for (int k = 0; k < PLAIN_BATCH_IDS; k++)
    words.ids[k].is_long = false;
  for (size_t i = 0; i < count; i++)
    put_words(&rows[i], i, &words);
  for (size_t s = 0; csv_scanners[s]; s++) {
    if (!csv_scanners[s]->is_usable())
      continue;
    memset(&batch, 0x5A, sizeof batch);
    batch.count = count;
    csv_scanners[s]->read_batch(&words, PLAIN_BATCH_IDS, &batch);
    plain = 0;
    for (size_t i = 0; i < count; i++) {
      day_t day;
      id_code ids[PLAIN_BATCH_IDS];
      const bool is_plain = read_row(&rows[i], &day, ids);
      if (is_plain != !batch.is_odd[i])
        fail_msg("%s: %s %s %s %s: %d", csv_scanners[s]->name, rows[i].day, rows[i].ids[0], rows[i].ids[1],
                 rows[i].ids[2], is_plain);
      plain += is_plain;
      for (int k = 0; is_plain && k < PLAIN_BATCH_IDS; k++)
        assert_int_equal(batch.ids[k][i], ids[k]);
      if (is_plain && batch.days[i] != day)
        fail_msg("%s: %s is day %d", csv_scanners[s]->name, rows[i].day, (int)batch.days[i]);
    }
  }
  return plain;
}

static struct texts row_of(int year, int month, int day, unsigned time, const char *id) {
  struct texts row;
  memset(&row, '7', sizeof row);
  snprintf(row.day, sizeof row.day, "%04d-%02d-%02d%c%02u:%02u:%02u", year, month, day, "T "[time % 2],
           time % 24, time % 60, time % 60);
  for (int k = 0; k < PLAIN_BATCH_IDS; k++)
    snprintf(row.ids[k], sizeof row.ids[k], "%s", id);
  return row;
}

/* Every month of all years, with days before, at and after its ends. */
static void every_end_of_a_month_is_read(void **state) {
  (void)state;
  static const int days[] = {0, 1, 28, 29, 30, 31, 32, 99};
  struct texts rows[PLAIN_BATCH_ROWS];
  size_t count = 0, plain = 0;
  for (int year = 0; year <= 9999; year++)
    for (int month = 0; month <= 13; month++)
      for (size_t d = 0; d < COUNT_OF(days); d++) {
        rows[count++] = row_of(year, month, days[d], (unsigned)(year + month), "1");
        if (count == PLAIN_BATCH_ROWS) {
          plain += compare(rows, count);
          count = 0;
        }
      }
  plain += compare(rows, count);
  /* A year has twelve firsts and 28ths, eleven 29ths and 30ths, seven 31sts, and every fourth or so a 29 Feb.
   */
  assert_int_equal(plain, 9999 * (12 + 12 + 11 + 11 + 7) + 2424);
}

static const char *a_number(uint64_t *seed, size_t len, char out[32]) {
  for (size_t i = 0; i < len; i++)
    out[i] = (char)('0' + unit_random(seed) % 10);
  out[len] = '\0';
  return out;
}

/* Rows with numbers of every length and times of all hours, of which half have another character somewhere.
 */
static void what_is_not_plain_is_found(void **state) {
  (void)state;
  static const char others[] = "09/:-. TZ+a\x01\x7f";
  uint64_t seed = 3;
  size_t plain = 0, rounds = 4000;
  for (size_t round = 0; round < rounds; round++) {
    struct texts rows[PLAIN_BATCH_ROWS];
    const size_t count = 1 + unit_random(&seed) % PLAIN_BATCH_ROWS;
    for (size_t i = 0; i < count; i++) {
      char number[32];
      const size_t longest = round % 2 ? 8 : 18;
      rows[i] = row_of(1900 + (int)(unit_random(&seed) % 200), 1 + (int)(unit_random(&seed) % 12),
                       1 + (int)(unit_random(&seed) % 29), (unsigned)unit_random(&seed) % 60,
                       a_number(&seed, unit_random(&seed) % (longest + 1), number));
      char *cell = unit_random(&seed) % 2 ? rows[i].day : rows[i].ids[unit_random(&seed) % PLAIN_BATCH_IDS];
      if (unit_random(&seed) % 2 && cell[0])
        cell[unit_random(&seed) % strlen(cell)] = others[unit_random(&seed) % (sizeof others - 1)];
    }
    plain += compare(rows, count);
  }
  assert_in_range(plain, rounds * PLAIN_BATCH_ROWS / 10, rounds * PLAIN_BATCH_ROWS / 2);
}

/* ---- of a text ---- */

static const struct plain_columns item_columns = {
    .day = ITEMS_CREATED_AT, .ids = {ITEMS_ID, ITEMS_ORDER_ID, ITEMS_PRODUCT_ID}, .id_count = 3};

#define ITEMS_HEADER "id,order_id,status,created_at,sale_price,product_id\n"

static struct csv_binding bind_items(void) {
  struct csv_binding binding;
  struct err err;
  size_t used;
  uint64_t lines;
  assert_int_equal(csv_bind(VIEW_LIT(ITEMS_HEADER), schema_of(DATASET_ORDER_ITEMS), "order_items/a.csv", 1,
                            &binding, &used, &lines, &err),
                   KPI_OK);
  return binding;
}

/* Reads a block of items in batches, and by csv_next what no batch has; both ways in one sum. Returns how
 * often rows were read into a batch. */
static size_t read_block(struct view block, bool is_utc, size_t *rows, size_t *plain) {
  static struct csv_cursor c;
  static struct plain_batch batch;
  const struct csv_binding binding = bind_items();
  struct csv_row row;
  size_t batches = 0;
  csv_init(&c);
  batch = (struct plain_batch){0};
  csv_start(&c, block);
  *rows = *plain = 0;
  for (;;) {
    const uint64_t looks = batch.looks, first = batch.row;
    size_t i = batch.count;
    if (csv_look(&c)) {
      plain_batch_read(&batch, &c, &binding, &item_columns, is_utc);
      batches += batch.looks != looks || batch.row != first;
      i = c.row - batch.row;
    }
    if (i < batch.count && !batch.is_odd[i]) {
      day_t day;
      id_code id;
      assert_true(timestamp_day(csv_plain_cell(&c, binding.cell[ITEMS_CREATED_AT]),
                                tz_cached(VIEW_LIT("UTC")), &day));
      assert_int_equal(batch.days[i], day);
      for (size_t k = 0; k < item_columns.id_count; k++) {
        assert_true(id_read_plain(csv_plain_cell(&c, binding.cell[item_columns.ids[k]]), &id));
        assert_int_equal(batch.ids[k][i], id);
      }
      csv_skip_plain(&c);
      ++*plain;
    } else if (!csv_next(&c, &binding, &row)) {
      break;
    }
    ++*rows;
  }
  csv_clear(&c);
  return batches;
}

/* The block ends where its memory ends. */
static size_t read_rows(const char *row, size_t count, const char *end, bool is_utc, size_t *rows,
                        size_t *plain) {
  auto_buf struct buf text;
  buf_init(&text, 1 << 20);
  for (size_t i = 0; i < count; i++)
    buf_add_cstr(&text, row);
  buf_add_cstr(&text, end);
  auto_free char *exact = malloc(text.len);
  assert_non_null(exact);
  memcpy(exact, text.ptr, text.len);
  return read_block((struct view){exact, text.len}, is_utc, rows, plain);
}

static void rows_of_a_text_are_read(void **state) {
  (void)state;
  static const char *const plain_rows[] = {"1,2,shipped,2024-03-15 10:00:00,9.99,3\n",
                                           "1,2,shipped,2024-03-15T10:00:00,9.99,3\r\n",
                                           "1,2,shipped,2024-03-15 10:00:00.123456,9.99,3\n",
                                           "1,2,shipped,2024-03-15,9.99,3\n",
                                           "1,2,sh\xC3\xA4,2024-03-15 10:00:00.1,9.99,3\n",
                                           "\"1\",\"2\",\"in, transit\",\"2024-03-15 10:00:00\",9.99,\"3\"\n",
                                           "123456789012,2,,2024-03-15 10:00:00,,3\n"};
  for (size_t i = 0; i < COUNT_OF(plain_rows); i++) {
    size_t rows, plain;
    read_rows(plain_rows[i], 1000, "", false, &rows, &plain);
    assert_int_equal(rows, 1000);
    assert_int_equal(plain, 999); /* what is behind the last may not be looked at */
  }
}

static void rows_of_other_shapes_are_left(void **state) {
  (void)state;
  static const char *const odd_rows[] = {
      "1,2,shipped,2024-03-15 10:00:00,9.99\n",       "1,2,shipped,2024-03-15 10:00:00,9.99,3,4\n",
      "1,2,sh\xE4,2024-03-15 10:00:00,9.99,3\n",      "1,2,a\"b,2024-03-15 10:00:00,9.99,3\n",
      "1,2,shipped,2024-03-15 10:00:00 UTC,9.99,3\n", "1,x,shipped,2024-03-15 10:00:00,9.99,3\n"};
  for (size_t i = 0; i < COUNT_OF(odd_rows); i++) {
    size_t rows, plain;
    read_rows(odd_rows[i], 300, "1,2,shipped,2024-03-15 10:00:00,9.99,3\n", false, &rows, &plain);
    assert_int_equal(rows, 301);
    assert_int_equal(plain, 0);
  }
}

/* A zone at the end is none to speak of where days are those of UTC. */
static void times_in_utc_are_read(void **state) {
  (void)state;
  static const char *const zoned_rows[] = {
      "1,2,,2024-03-15 23:59:59 UTC,9.99,3\n",           "1,2,,2024-03-15T23:59:59Z,9.99,3\n",
      "1,2,,\"2024-03-15 23:59:59+00:00\",9.99,3\n",     "1,2,,2024-03-15T23:59:59.5Z,9.99,3\n",
      "1,2,,2024-03-15 23:59:59.123456789 UTC,9.99,3\n", "1,2,,2024-03-15 23:59:59.430543+00:00,9.99,3\n"};
  static const char *const others[] = {"1,2,,2024-03-15 23:59:59 utc,9.99,3\n",
                                       "1,2,,2024-03-15T23:59:59z,9.99,3\n",
                                       "1,2,,2024-03-15T23:59:59+01:00,9.99,3\n",
                                       "1,2,,2024-03-15T23:59:59.,9.99,3\n",
                                       "1,2,,2024-03-15T23:59:59.5x,9.99,3\n",
                                       "1,2,,2024-03-15T23:59:59.1234567890,9.99,3\n",
                                       "1,2,,2024-03-15 ,9.99,3\n",
                                       "1,2,,2024-02-30,9.99,3\n",
                                       "1,2,,2024-3-15,9.99,3\n"};
  size_t rows, plain;
  for (size_t i = 0; i < COUNT_OF(zoned_rows); i++) {
    read_rows(zoned_rows[i], 100, "", true, &rows, &plain);
    assert_int_equal(plain, 99);
    read_rows(zoned_rows[i], 100, "", false, &rows, &plain);
    assert_int_equal(plain, 0);
  }
  for (size_t i = 0; i < COUNT_OF(others); i++) {
    read_rows(others[i], 100, "", true, &rows, &plain);
    assert_int_equal(plain, 0);
  }
}

/* Rows that are left to others do not make the batch be read again: all would take a batch each. */
static void a_batch_is_read_once(void **state) {
  (void)state;
  size_t rows, plain;
  const size_t batches =
      read_rows("1,2,shipped,2024-03-15 10:00:00 UTC,9.99,3\n", 6400, "", false, &rows, &plain);
  assert_int_equal(rows, 6400);
  assert_in_range(batches, 100, 150);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_end_of_a_month_is_read), cmocka_unit_test(what_is_not_plain_is_found),
      cmocka_unit_test(rows_of_a_text_are_read),      cmocka_unit_test(rows_of_other_shapes_are_left),
      cmocka_unit_test(times_in_utc_are_read),        cmocka_unit_test(a_batch_is_read_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
