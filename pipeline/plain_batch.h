/* SPDX-License-Identifier: MIT
 * The days and ids of many plain rows at a time: their cells are gathered as words of eight characters, which
 * the same few operations then read for all rows at once. What they say is what timestamp_day_of_common (of
 * the common part, or of a date at midnight) and id_read_plain would, cell by cell. Knows no data set. */
#ifndef KPID_PIPELINE_PLAIN_BATCH_H
#define KPID_PIPELINE_PLAIN_BATCH_H

#include "pipeline/csv.h"
#include "pipeline/day.h"
#include "pipeline/id.h"

enum {
  PLAIN_BATCH_ROWS = 64,
  PLAIN_BATCH_IDS = 3,
  PLAIN_BATCH_BYTES = 24 /* from the start of any cell on, that may be looked at */
};

/* Which columns of a data set are read. */
struct plain_columns {
  int day, ids[PLAIN_BATCH_IDS];
  size_t id_count;
};

/* The cells as text; the rows' words of a kind stand together. */
struct plain_words {
  uint64_t date[PLAIN_BATCH_ROWS];     /* YYYY-MM-; 0: the cell has another form */
  uint64_t date_end[PLAIN_BATCH_ROWS]; /* Y-MM-DDT */
  uint64_t time[PLAIN_BATCH_ROWS];     /* HH:MM:SS */
  struct plain_id_words {
    uint64_t len[PLAIN_BATCH_ROWS];
    uint64_t start[PLAIN_BATCH_ROWS]; /* its first characters, and what follows them */
    uint64_t end[PLAIN_BATCH_ROWS];   /* the last eight, if it has more than that */
    bool is_long;                     /* one has */
  } ids[PLAIN_BATCH_IDS];
};

/* What they say. */
struct plain_batch {
  uint64_t looks;    /* the cursor's when it was read; 0: nothing was */
  size_t row, count; /* the cursor's row that is the first, and how many */
  int64_t days[PLAIN_BATCH_ROWS];
  id_code ids[PLAIN_BATCH_IDS][PLAIN_BATCH_ROWS];
  uint64_t is_odd[PLAIN_BATCH_ROWS]; /* not 0: a cell is written in another way, and the above says nothing */
};

/* Sees to it that the batch begins with or holds the cursor's next row and, as far as they are like it, those
 * behind it. Without any row that one has to be read in another way. `is_utc`: the days are those of UTC. */
void plain_batch_read(struct plain_batch *batch, const struct csv_cursor *c, const struct csv_binding *b,
                      const struct plain_columns *columns, bool is_utc);

#endif
