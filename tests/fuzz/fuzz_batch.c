/* SPDX-License-Identifier: MIT
 * Batches of plain rows, of every scanner, against the readers of single cells. */
#include "fuzz.h"

#include "pipeline/plain_batch.h"
#include "pipeline/timestamp.h"
/* For its choice of a scanner, which is made once in the program. */
#include "pipeline/csv_scan.c"

enum { DAY, FIRST_ID, COLUMNS = FIRST_ID + PLAIN_BATCH_IDS };

static const struct plain_columns columns = {
    .day = DAY, .ids = {FIRST_ID, FIRST_ID + 1, FIRST_ID + 2}, .id_count = PLAIN_BATCH_IDS};

/* A date alone is that of its midnight. */
static bool day_of(struct view text, day_t *out) {
  char midnight[TIMESTAMP_COMMON_BYTES + 1];
  text = timestamp_common_part(text, true);
  if (text.len != TIMESTAMP_DATE_BYTES)
    return timestamp_day_of_common(text, out);
  snprintf(midnight, sizeof midnight, "%.*s 00:00:00", SHOWN(text));
  return timestamp_day_of_common((struct view){midnight, TIMESTAMP_COMMON_BYTES}, out);
}

/* True when all cells of the next row are plain; then they must be what the batch says. */
static bool is_plain_row(const struct csv_cursor *c, const struct plain_batch *batch, size_t at) {
  day_t day;
  id_code ids[PLAIN_BATCH_IDS];
  const struct view date = csv_plain_cell(c, DAY);
  bool is_plain = day_of(date, &day);
  for (size_t k = 0; k < PLAIN_BATCH_IDS; k++)
    is_plain &= id_read_plain(csv_plain_cell(c, FIRST_ID + k), &ids[k]);
  if (!is_plain || batch->is_odd[at])
    return is_plain;
  REQUIRE(batch->days[at] == day, "'%.*s' is day %ld, not %d", SHOWN(date), (long)batch->days[at], (int)day);
  for (size_t k = 0; k < PLAIN_BATCH_IDS; k++)
    REQUIRE(batch->ids[k][at] == ids[k], "'%.*s' is %lu, not %lu", SHOWN(csv_plain_cell(c, FIRST_ID + k)),
            (unsigned long)batch->ids[k][at], (unsigned long)ids[k]);
  return true;
}

static void require_right_batches(const struct csv_scanner *s, struct view block) {
  static struct csv_cursor c;
  static struct plain_batch batch;
  const struct csv_binding binding = {
      .columns = COLUMNS, .slot = {0, 1, 2, 3}, .cell = {[DAY] = 0, [FIRST_ID] = 1, 2, 3}};
  struct csv_row row;
  chosen = s;
  csv_init(&c);
  csv_start(&c, block);
  batch = (struct plain_batch){0};
  for (;;) {
    size_t at = batch.count;
    if (csv_look(&c)) {
      plain_batch_read(&batch, &c, &binding, &columns, true);
      at = c.row - batch.row;
    }
    if (at < batch.count) {
      const bool is_plain = is_plain_row(&c, &batch, at);
      REQUIRE(is_plain == !batch.is_odd[at], "%s: a row is %s", s->name, is_plain ? "plain" : "not plain");
      csv_skip_plain(&c);
    } else if (!csv_next(&c, &binding, &row)) {
      break;
    }
  }
  csv_clear(&c);
}

/* The input is followed by plain rows, so that its own have bytes enough behind them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char end[] = "\n2024-02-29 23:59:59,1,22,333\n2024-02-29 23:59:59,1,22,333\n";
  const struct view text = input_of(data, size);
  char *bytes = malloc(text.len + sizeof end);
  REQUIRE(bytes, "no memory");
  if (text.len)
    memcpy(bytes, text.ptr, text.len);
  memcpy(bytes + text.len, end, sizeof end);
  char *exact = exact_copy((struct view){bytes, text.len + sizeof end - 1});
  csv_scanner(); /* makes its choice now, and not later */
  for (size_t i = 0; csv_scanners[i]; i++)
    if (csv_scanners[i]->is_usable())
      require_right_batches(csv_scanners[i], (struct view){exact, text.len + sizeof end - 1});
  free(exact);
  free(bytes);
  return 0;
}
