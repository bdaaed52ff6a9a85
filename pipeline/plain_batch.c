/* SPDX-License-Identifier: MIT */
#include "pipeline/plain_batch.h"

#include "pipeline/timestamp.h"

/* How many plain rows from the next on have bytes enough behind them. */
static size_t count_rows(const struct csv_cursor *c, const struct csv_binding *b) {
  size_t count = csv_count_plain(c, b, PLAIN_BATCH_ROWS);
  while (count && c->end - csv_row_end(c, c->row + count - 1) <= PLAIN_BATCH_BYTES)
    count--;
  return count;
}

static void gather_days(const struct csv_cursor *c, size_t cell, size_t columns, size_t rows, bool is_utc,
                        struct plain_words *out) {
  for (size_t i = 0, mark = c->first + cell; i < rows; i++, mark += columns) {
    struct view text = csv_marked_cell(c, mark);
    if (is_utc && text.len != TIMESTAMP_COMMON_BYTES)
      text = timestamp_without_utc(text);
    out->date[i] = text.len == TIMESTAMP_COMMON_BYTES ? swar_load(text.ptr) : 0;
    out->date_end[i] = swar_load(text.ptr + 3);
    out->time[i] = swar_load(text.ptr + 11);
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
