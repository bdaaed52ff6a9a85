/* SPDX-License-Identifier: MIT
 * Reads an entry of the object cache: its directory when it is opened, orders and rows when they are asked
 * for. Every byte that is used has been summed before. Knows no folder. */
#ifndef KPID_PIPELINE_CACHED_OBJECT_H
#define KPID_PIPELINE_CACHED_OBJECT_H

#include "pipeline/cached_block.h"
#include "pipeline/csv_stream.h"

/* Zero-initialise; owns everything. */
struct cached_object {
  int fd;          /* valid once `directory` is set */
  char *directory; /* what the others point into */
  const struct cached_chunk *chunks;
  const struct cached_block *blocks;
  uint64_t chunk_count, block_count;
  struct csv_binding *bindings; /* CACHED_LAYOUTS of them */
};

/* Reads the directory of an entry. Takes the file over, also on failure: false when it is damaged, of another
 * name, or memory is exhausted. */
bool cached_object_open(struct cached_object *o, int fd, const char *name, const struct schema *schema);

/* Reads the orders of a chunk into a buffer, which they borrow. False when they are damaged. */
bool cached_object_orders(const struct cached_object *o, const struct cached_chunk *c,
                          struct csv_block *buffer, struct cached_orders *out);

/* Reads the rows of a block into a buffer, of which *lines borrows the line of each, from b->first_line on.
 * False when they are damaged. */
bool cached_object_rows(const struct cached_object *o, const struct cached_block *b, struct csv_block *buffer,
                        const uint32_t **lines);

/* Accepts a zeroed one. */
void cached_object_close(struct cached_object *o);

#endif
