/* SPDX-License-Identifier: MIT
 * Batches of plain rows, of every scanner and in two zones, against the readers of single cells. */
#include "fuzz.h"

#include "pipeline/plain_batch.h"
#include "pipeline/timestamp.h"
/* For its choice of a scanner, which is made once in the program. */
#include "pipeline/csv_scan.c"

enum { DAY, FIRST_ID, COLUMNS = FIRST_ID + PLAIN_BATCH_IDS };

static const struct plain_columns columns = {
    .day = DAY, .ids = {FIRST_ID, FIRST_ID + 1, FIRST_ID + 2}, .id_count = PLAIN_BATCH_IDS};

/* What the batch says of the next row must be what its cells say one by one, and it must say something of
 * those that are written as most are. */
static void require_right_row(const char *scanner, const struct csv_cursor *c,
                              const struct plain_batch *batch, size_t at, const struct tz *zone) {
  const struct view date = csv_plain_cell(c, DAY);
  day_t day = 0, common;
  id_code ids[PLAIN_BATCH_IDS];
  bool are_ids = true;
  for (size_t k = 0; k < PLAIN_BATCH_IDS; k++)
    are_ids &= id_read_plain(csv_plain_cell(c, FIRST_ID + k), &ids[k]);
  const bool is_date = timestamp_day(date, zone, &day);
  if (batch->is_odd[at]) {
    REQUIRE(!are_ids || !timestamp_day_of_common(date, &common), "%s: '%.*s' is odd", scanner, SHOWN(date));
    return;
  }
  REQUIRE(is_date && are_ids, "%s: the row of '%.*s' is not odd", scanner, SHOWN(date));
  REQUIRE(batch->days[at] == day, "%s: '%.*s' is day %ld, not %d", scanner, SHOWN(date),
          (long)batch->days[at], (int)day);
  for (size_t k = 0; k < PLAIN_BATCH_IDS; k++)
    REQUIRE(batch->ids[k][at] == ids[k], "%s: '%.*s' is %lu, not %lu", scanner,
            SHOWN(csv_plain_cell(c, FIRST_ID + k)), (unsigned long)batch->ids[k][at], (unsigned long)ids[k]);
}

static void require_right_batches(const struct csv_scanner *s, struct view block, const struct tz *zone) {
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
      plain_batch_read(&batch, &c, &binding, &columns, tz_is_utc(zone));
      at = c.row - batch.row;
    }
    if (at < batch.count) {
      require_right_row(s->name, &c, &batch, at, zone);
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
  static const char *const zones[] = {"UTC", "America/New_York"};
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
      for (size_t z = 0; z < sizeof zones / sizeof zones[0]; z++)
        require_right_batches(csv_scanners[i], (struct view){exact, text.len + sizeof end - 1},
                              tz_cached(view_of(zones[z])));
  free(exact);
  free(bytes);
  return 0;
}
