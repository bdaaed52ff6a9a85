/* SPDX-License-Identifier: MIT
 * Writes an entry of the object cache while the object is read: gathers rows, puts those of a day together,
 * and appends them as blocks. Memory is bounded, whatever the size of the object. Knows no folder. */
#ifndef KPID_PIPELINE_CACHE_WRITER_H
#define KPID_PIPELINE_CACHE_WRITER_H

#include "pipeline/cached_block.h"
#include "pipeline/csv.h"

/* A row as it is kept. */
struct cached_row {
  struct cached_facts facts;
  uint64_t line;
  uint32_t at, len; /* of its text, with line end */
  bool is_verbatim;
};

/* Rows that one worker gathers, of one object. Zero-initialise. */
struct cached_rows {
  struct buf text;
  struct cached_row *at;
  size_t count, cap;
  bool failed; /* memory was exhausted: they are not all of the rows */
};

/* Adds a row as it stands in the object. */
void cached_rows_add_verbatim(struct cached_rows *r, const struct csv_row *row, uint64_t line);

/* Adds a row of which the cells that are needed say all. One that could not be read again from them alone is
 * added as it stands. */
void cached_rows_add(struct cached_rows *r, const struct csv_row *row, const struct csv_binding *binding,
                     uint64_t line, const struct cached_facts *facts);

/* Empties it, but keeps the memory. */
void cached_rows_reset(struct cached_rows *r);

/* Frees everything. */
void cached_rows_clear(struct cached_rows *r);

struct cache_writer;

/* Starts an entry in an empty file, which is borrowed; `asks_where`: readers need to know where orders are,
 * not just which there are. NULL when memory is exhausted. */
struct cache_writer *cache_writer_new(int fd, bool asks_where);

/* Takes gathered rows, which are empty afterwards. Any thread. */
void cache_writer_add(struct cache_writer *w, struct cached_rows *rows);

/* Writes what is left, the directory and the head; all rows were added. *bytes is set to the size of the
 * file. False when the entry is not whole: then it must not be used. */
bool cache_writer_finish(struct cache_writer *w, const char *name, const struct schema *schema,
                         const struct csv_binding *binding, uint64_t *bytes);

/* Accepts NULL. */
void cache_writer_free(struct cache_writer *w);

#endif
