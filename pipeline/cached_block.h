/* SPDX-License-Identifier: MIT
 * How an entry of the object cache is laid out: rows in blocks, those of a day together, some thousands of
 * rows to a chunk; then a directory, which says which days a block holds and which orders a chunk; then the
 * header lines. Rows stay CSV, so that there is one reader for all. */
#ifndef KPID_PIPELINE_CACHED_BLOCK_H
#define KPID_PIPELINE_CACHED_BLOCK_H

#include "base/crypto.h"
#include "pipeline/day.h"
#include "pipeline/id.h"

/* What a cache needs to know of a row, to tell without it whether it matters to a run. */
struct cached_facts {
  day_t day;
  id_code order;  /* ID_NULL: the row names none */
  uint16_t forms; /* bits of cached_form: what its other ids say of their columns */
};

/* The bits of an id's form in a column; nothing is to be said of null and plain ones. */
static inline uint16_t cached_form(enum id_column column, enum id_form form) {
  const unsigned text = form == ID_FORM_TEXT, number = form == ID_FORM_NUMBER;
  return (uint16_t)((text | number << 1) << 2 * column);
}

/* A block as the directory has it. Its bytes: line numbers, rows. */
struct cached_block {
  uint64_t at;         /* in the file */
  uint64_t crc;        /* of its bytes (CRC-64, ECMA-182) */
  uint64_t first_line; /* of the object; line numbers count from it */
  uint32_t rows, text_bytes;
  day_t first_day, last_day;
  uint64_t
      is_verbatim; /* rows as they stand in the object, which must be read; else of needed columns only */
};
_Static_assert(sizeof(struct cached_block) == 48, "no padding: it is summed and written as it is");

static inline uint64_t cached_lines_bytes(const struct cached_block *b) {
  return (uint64_t)b->rows * sizeof(uint32_t);
}

static inline uint64_t cached_bytes(const struct cached_block *b) {
  return cached_lines_bytes(b) + b->text_bytes;
}

/* In which block of its chunk an order is: its number and 1, or one of these. */
typedef uint16_t cached_where;
enum { CACHED_NOWHERE = 0, CACHED_IN_SEVERAL = UINT16_MAX, CACHED_CHUNK_BLOCKS_MAX = UINT16_MAX - 1 };

/* One of several blocks with an order. */
struct cached_pair {
  id_code order;
  uint64_t block;
};

/* How the orders of a chunk are written. */
enum cached_orders_kind {
  CACHED_SPAN, /* where each number from the least order on is */
  CACHED_IDS,  /* ids, then where each is */
  CACHED_BITS  /* a bit for each number from the least order on, a multiple of 64; not where it is */
};

/* A chunk as the directory has it. Its bytes, before those of its blocks: pairs, and orders as their kind
 * says. Rows that are kept verbatim name no orders here. */
struct cached_chunk {
  uint64_t at, crc;    /* as of a block */
  uint64_t blocks;     /* of the directory, behind those of the chunks before it */
  id_code least_order; /* 0 without orders */
  uint64_t orders;     /* numbers or ids */
  uint64_t pairs;
  uint32_t kind;
  uint32_t forms; /* of all rows that are not kept verbatim */
};
_Static_assert(sizeof(struct cached_chunk) == 56, "no padding");

static inline uint64_t cached_orders_at(const struct cached_chunk *c) {
  return c->pairs * sizeof(struct cached_pair);
}

static inline uint64_t cached_where_at(const struct cached_chunk *c) {
  return cached_orders_at(c) + (c->kind == CACHED_IDS ? c->orders * sizeof(id_code) : 0);
}

static inline uint64_t cached_orders_bytes(const struct cached_chunk *c) {
  return c->kind == CACHED_BITS ? cached_orders_at(c) + c->orders / 8
                                : cached_where_at(c) + c->orders * sizeof(cached_where);
}

/* The orders of a chunk, and where they are. Borrows all. */
struct cached_orders {
  enum cached_orders_kind kind;
  id_code least;
  uint64_t count, pair_count;
  const struct cached_pair *pairs;
  const id_code *ids;        /* of CACHED_IDS */
  const uint64_t *bits;      /* of CACHED_BITS */
  const cached_where *where; /* of the others */
};

enum { CACHED_COLUMNS_NEEDED, CACHED_VERBATIM, CACHED_LAYOUTS };

#define CACHED_MAGIC "kpidrow1" /* another one for another layout */

/* The start of an entry. The directory: chunks, then blocks. */
struct cached_head {
  char magic[8];
  char name[SHA256_HEX_SIZE + 7]; /* of the entry, with 0 behind it: no other file was put in its place */
  uint64_t directory_at, chunks, blocks;
  uint64_t header_bytes[CACHED_LAYOUTS];
  uint64_t directory_crc; /* of the directory and the headers */
  uint64_t crc;           /* of all before it */
};
_Static_assert(sizeof(struct cached_head) == 8 + SHA256_HEX_SIZE + 7 + 7 * 8, "no padding");

#endif
