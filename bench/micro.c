/* SPDX-License-Identifier: MIT
 * The hot loops one by one, each beside something that everybody knows and that does the same or less, on the
 * same bytes in turn. Rows are those of `kpid sample`. Prints medians and ratios. usage: bench_micro [ROUNDS]
 */
#include "base/alloc.h"
#include "pipeline/csv.h"
#include "pipeline/decimal.h"
#include "pipeline/double_text.h"
#include "pipeline/id.h"
#include "pipeline/id_marks.h"
#include "pipeline/idset.h"
#include "pipeline/timestamp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 100 * 1000, ROW_BYTES_MAX = 128, ROUNDS = 9, ROUNDS_MAX = 99, CELLS = 10 };

/* What the loops work on: rows of order items, and the same cells as NUL-terminated texts. */
static struct {
  char *rows, *copy;
  size_t bytes, header;
  char price[ROWS][16], date[ROWS][20], id[ROWS][12];
  uint64_t code[ROWS];
  uint64_t bits[ROWS / 64 + 1];
} data;

/* Keeps the compiler from leaving a loop out. */
static volatile uint64_t kept;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static void fill_data(void) {
  uint64_t random = 42;
  data.rows = malloc((size_t)ROWS * ROW_BYTES_MAX);
  data.copy = malloc((size_t)ROWS * ROW_BYTES_MAX);
  if (!data.rows || !data.copy)
    exit(1);
  data.header =
      (size_t)sprintf(data.rows, "id,order_id,user_id,product_id,status,created_at,shipped_at,delivered_at,"
                                 "returned_at,sale_price\n");
  data.bytes = data.header;
  for (size_t i = 0; i < ROWS; i++) {
    uint64_t r = next_random(&random);
    data.code[i] = 3000000 + i / 3;
    snprintf(data.price[i], sizeof data.price[i], "%u.%02u", (unsigned)(r % 140 + 5),
             (unsigned)(r >> 8) % 100);
    snprintf(data.date[i], sizeof data.date[i], "2024-%02u-%02uT%02u:%02u:%02u", (unsigned)(r >> 16) % 12 + 1,
             (unsigned)(r >> 20) % 28 + 1, (unsigned)(r >> 26) % 24, (unsigned)(r >> 32) % 60,
             (unsigned)(r >> 38) % 60);
    snprintf(data.id[i], sizeof data.id[i], "%u", (unsigned)data.code[i]);
    data.bytes += (size_t)sprintf(data.rows + data.bytes, "%zu,%s,%u,%u,delivered,%s,,,,%s\n", 9000000 + i,
                                  data.id[i], (unsigned)(r >> 4) % 1250000, (unsigned)(r >> 44) % 20000 + 1,
                                  data.date[i], data.price[i]);
  }
}

/* ---- bytes ---- */

static const struct csv_scanner *scanner;
static struct csv_marks marks;

static uint64_t scan_marks(void) {
  uint64_t found = 0;
  for (size_t at = 0; at + CSV_MARKS_BYTES_MAX < data.bytes; at += CSV_MARKS_BYTES_MAX) {
    marks = (struct csv_marks){.count = 0, .at_cell = 1};
    scanner->scan(data.rows + at, CSV_MARKS_BYTES_MAX / CSV_WORD_BYTES, 0, &marks);
    found += marks.count;
  }
  return found;
}

static uint64_t find_line_ends(void) {
  uint64_t found = 0;
  const char *end = data.rows + data.bytes;
  for (const char *at = data.rows; (at = memchr(at, '\n', (size_t)(end - at))); at++)
    found++;
  return found;
}

static uint64_t copy_bytes(void) {
  memcpy(data.copy, data.rows, data.bytes);
  return (uint64_t)data.copy[data.bytes / 2];
}

/* ---- rows ---- */

static uint64_t cut_rows(void) {
  static struct csv_cursor cursor;
  struct csv_binding binding;
  struct csv_row row;
  struct err err;
  size_t used;
  uint64_t lines, found = 0;
  struct view text = {data.rows, data.bytes};
  if (csv_bind(text, schema_of(DATASET_ORDER_ITEMS), "rows", 1, &binding, &used, &lines, &err))
    exit(1);
  csv_init(&cursor);
  csv_start(&cursor, (struct view){text.ptr + used, text.len - used});
  while (csv_next(&cursor, &binding, &row))
    found += row.cells[ITEMS_SALE_PRICE].len + row.cells[ITEMS_ORDER_ID].len;
  csv_clear(&cursor);
  return found;
}

/* Knows no quotes, no CR and no limits. */
static uint64_t split_rows(void) {
  const char *end = data.rows + data.bytes, *next;
  uint64_t found = 0;
  for (const char *at = data.rows + data.header; at < end; at = next + 1) {
    struct view cells[CELLS];
    const char *from = at;
    next = memchr(at, '\n', (size_t)(end - at));
    for (size_t i = 0; i < CELLS; i++) {
      const char *to = memchr(from, ',', (size_t)(next - from));
      to = to ? to : next;
      cells[i] = (struct view){from, (size_t)(to - from)};
      from = to < next ? to + 1 : next;
    }
    found += cells[9].len + cells[1].len;
  }
  return found;
}

/* ---- cells ---- */

static uint64_t read_prices(void) {
  struct decimal sum = {{0}}, price;
  for (size_t i = 0; i < ROWS; i++)
    if (decimal_parse((struct view){data.price[i], strlen(data.price[i])}, &price) == DECIMAL_OK)
      decimal_add(&sum, &price);
  return sum.limb[0];
}

static uint64_t read_doubles(void) {
  double sum = 0;
  for (size_t i = 0; i < ROWS; i++)
    sum += strtod(data.price[i], NULL);
  return (uint64_t)sum;
}

static uint64_t read_dates(void) {
  const struct tz *utc = tz_cached(VIEW_LIT("UTC"));
  uint64_t sum = 0;
  day_t day;
  for (size_t i = 0; i < ROWS; i++)
    if (timestamp_day((struct view){data.date[i], sizeof data.date[i] - 1}, utc, &day))
      sum += (uint64_t)day;
  return sum;
}

static uint64_t read_tm(void) {
  uint64_t sum = 0;
  for (size_t i = 0; i < ROWS; i++) {
    struct tm tm = {0};
    if (strptime(data.date[i], "%Y-%m-%dT%H:%M:%S", &tm))
      sum += (uint64_t)timegm(&tm) / 86400;
  }
  return sum;
}

static uint64_t read_ids(void) {
  uint64_t sum = 0;
  id_code code;
  for (size_t i = 0; i < ROWS; i++)
    if (id_classify((struct view){data.id[i], 7}, &code) == ID_FORM_PLAIN)
      sum += code;
  return sum;
}

static uint64_t read_numbers(void) {
  uint64_t sum = 0;
  for (size_t i = 0; i < ROWS; i++)
    sum += strtoull(data.id[i], NULL, 10);
  return sum;
}

static uint64_t write_ratios(void) {
  char text[DOUBLE_TEXT_SIZE];
  uint64_t sum = 0;
  for (size_t i = 0; i < ROWS; i++)
    sum += double_text(count_ratio(data.code[i] * 97, i + 1), text);
  return sum;
}

static uint64_t print_doubles(void) {
  char text[DOUBLE_TEXT_SIZE];
  uint64_t sum = 0;
  for (size_t i = 0; i < ROWS; i++)
    sum += (uint64_t)snprintf(text, sizeof text, "%.17g", (double)(data.code[i] * 97) / (double)(i + 1));
  return sum;
}

/* ---- sets ---- */

static uint64_t count_by_set(void) {
  struct idset set = {0};
  for (size_t i = 0; i < ROWS; i++)
    if (!idset_add(&set, NULL, data.code[i]))
      exit(1);
  size_t count = idset_seal(&set);
  idset_clear(&set, NULL);
  return count;
}

static int by_code(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static uint64_t count_by_qsort(void) {
  uint64_t *codes = malloc(sizeof data.code), count = 0;
  if (!codes)
    exit(1);
  memcpy(codes, data.code, sizeof data.code);
  qsort(codes, ROWS, sizeof *codes, by_code);
  for (size_t i = 0; i < ROWS; i++)
    count += i == 0 || codes[i] != codes[i - 1];
  free(codes);
  return count;
}

static uint64_t mark_ids(void) {
  struct id_marks *m = id_marks_new(NULL, ID_MARKS_AT_ONCE);
  struct id_mark_run run = {0};
  uint64_t repeated = 0;
  for (size_t i = 0; m && i < ROWS; i++)
    repeated += id_marks_add(m, &run, data.code[i]) == ID_MARK_REPEATED;
  repeated += !id_marks_flush(&run);
  id_marks_free(m);
  return repeated;
}

static uint64_t set_bits(void) {
  uint64_t repeated = 0;
  memset(data.bits, 0, sizeof data.bits);
  for (size_t i = 0; i < ROWS; i++) {
    uint64_t at = data.code[i] - data.code[0], bit = (uint64_t)1 << at % 64;
    repeated += (data.bits[at / 64] & bit) != 0;
    data.bits[at / 64] |= bit;
  }
  return repeated;
}

/* ---- measuring ---- */

typedef uint64_t (*loop_fn)(void);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds_of(loop_fn loop) {
  double started = now();
  kept = loop();
  return now() - started;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, size_t count) {
  qsort(values, count, sizeof *values, by_value);
  return values[count / 2];
}

enum unit { GB_A_SECOND, NS_A_ROW };

/* A line of the table: both in turns. */
static void compare(const char *what, loop_fn ours, const char *peer_name, loop_fn peer, enum unit unit,
                    size_t rounds) {
  double a[ROUNDS_MAX], b[ROUNDS_MAX];
  for (size_t i = 0; i < rounds; i++) {
    a[i] = seconds_of(ours);
    b[i] = seconds_of(peer);
  }
  double x = median(a, rounds), y = median(b, rounds);
  const char *name = unit == GB_A_SECOND ? "GB/s" : "ns";
  double shown = unit == GB_A_SECOND ? (double)data.bytes / x / 1e9 : x * 1e9 / ROWS;
  double beside = unit == GB_A_SECOND ? (double)data.bytes / y / 1e9 : y * 1e9 / ROWS;
  printf("%-28s %8.2f %-5s %-34s %8.2f %-5s %6.2f x\n", what, shown, name, peer_name, beside, name, y / x);
}

int main(int argc, char **argv) {
  uint64_t rounds = ROUNDS;
  if (argc > 2 ||
      (argc == 2 && (!view_to_u64(view_of(argv[1]), &rounds) || rounds == 0 || rounds > ROUNDS_MAX))) {
    fprintf(stderr, "usage: bench_micro [ROUNDS]\n");
    return 64;
  }
  fill_data();
  printf(
      "%d rows, %.1f MB, one thread, medians of %u rounds in turn; x: how many times as fast as the other\n",
      ROWS, (double)data.bytes / 1e6, (unsigned)rounds);
  for (size_t i = 0; csv_scanners[i]; i++) {
    char what[64];
    if (!csv_scanners[i]->is_usable())
      continue;
    scanner = csv_scanners[i];
    snprintf(what, sizeof what, "scanner, %s", scanner->name);
    compare(what, scan_marks, "memchr for line ends", find_line_ends, GB_A_SECOND, rounds);
    compare(what, scan_marks, "memcpy", copy_bytes, GB_A_SECOND, rounds);
  }
  compare("rows of order items", cut_rows, "memchr for line ends and commas", split_rows, NS_A_ROW, rounds);
  compare("price, exact, and its sum", read_prices, "strtod", read_doubles, NS_A_ROW, rounds);
  compare("day of a timestamp", read_dates, "strptime, timegm", read_tm, NS_A_ROW, rounds);
  compare("id", read_ids, "strtoull", read_numbers, NS_A_ROW, rounds);
  compare("ratio, shortest text", write_ratios, "a / b, snprintf %.17g", print_doubles, NS_A_ROW, rounds);
  compare("distinct ids by idset", count_by_set, "array, qsort", count_by_qsort, NS_A_ROW, rounds);
  compare("marks of ids", mark_ids, "bits of one thread", set_bits, NS_A_ROW, rounds);
  free(data.rows);
  free(data.copy);
  return 0;
}
