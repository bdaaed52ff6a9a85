/* SPDX-License-Identifier: MIT */
#include "pipeline/plain_batch.h"

#include "pipeline/timestamp.h"

#define MIDNIGHT 0x30303A30303A3030u /* 00:00:00 */

/* How many plain rows from the next on have bytes enough behind them. */
static size_t count_rows(const struct csv_cursor *c, const struct csv_binding *b) {
  size_t count = csv_count_plain(c, b, PLAIN_BATCH_ROWS);
  while (count && c->end - csv_row_end(c, c->row + count - 1) <= PLAIN_BATCH_BYTES)
    count--;
  return count;
}

/* Corrects the words of a time that is not of the common length: what follows its common part says nothing
 * about the day, and a date is as good as its midnight. As a call it takes a third of the time of such rows.
 */
static inline __attribute__((always_inline)) void gather_other_day(struct view text, bool is_utc, size_t i,
                                                                   struct plain_words *out) {
  text = timestamp_common_part(text, is_utc);
  if (text.len == TIMESTAMP_DATE_BYTES) {
    out->date_end[i] = out->date_end[i] << 8 >> 8 | (uint64_t)' ' << 56;
    out->time[i] = MIDNIGHT;
  } else if (text.len != TIMESTAMP_COMMON_BYTES) {
    out->date[i] = 0;
  }
}

static void gather_days(const struct csv_cursor *c, size_t cell, size_t columns, size_t rows, bool is_utc,
                        struct plain_words *out) {
  for (size_t i = 0, mark = c->first + cell; i < rows; i++, mark += columns) {
    const struct view text = csv_marked_cell(c, mark);
    out->date[i] = swar_load(text.ptr);
    out->date_end[i] = swar_load(text.ptr + 3);
    out->time[i] = swar_load(text.ptr + 11);
    if (text.len != TIMESTAMP_COMMON_BYTES)
      gather_other_day(text, is_utc, i, out);
  }
}

static void gather_ids(const struct csv_cursor *c, size_t cell, size_t columns, size_t rows,
                       struct plain_id_words *out) {
  out->is_long = false;
  for (size_t i = 0, mark = c->first + cell; i < rows; i++, mark += columns) {
    const struct view text = csv_marked_cell(c, mark);
    out->len[i] = text.len;
    out->start[i] = swar_load(text.ptr);
    if (text.len > 8) {
      out->end[i] = swar_load(text.ptr + text.len - 8);
      out->is_long = true;
    }
  }
}

static bool has_row(const struct plain_batch *batch, const struct csv_cursor *c) {
  return batch->looks == c->looks && c->row - batch->row < batch->count;
}

void plain_batch_read(struct plain_batch *batch, const struct csv_cursor *c, const struct csv_binding *b,
                      const struct plain_columns *columns, bool is_utc) {
  if (has_row(batch, c))
    return;
  KPI_UNSET struct plain_words words;
  batch->looks = c->looks;
  batch->row = c->row;
  batch->count = count_rows(c, b);
  if (!batch->count)
    return;
  gather_days(c, b->cell[columns->day], b->columns, batch->count, is_utc, &words);
  for (size_t k = 0; k < columns->id_count; k++)
    gather_ids(c, b->cell[columns->ids[k]], b->columns, batch->count, &words.ids[k]);
  csv_scanner()->read_batch(&words, columns->id_count, batch);
}
