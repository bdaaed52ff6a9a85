/* SPDX-License-Identifier: MIT
 * What the plain rows of a day add up to, as plain numbers close to each other: most rows are plain, and
 * adding one touches few cache lines. Taken into the day's tally and groups when all rows are read. Knows no
 * row. */
#ifndef KPID_PIPELINE_PLAIN_DAY_H
#define KPID_PIPELINE_PLAIN_DAY_H

#include "pipeline/decimal.h"
#include "pipeline/id.h"
#include "pipeline/quality.h"

/* The range of values; zero-initialised is of none. */
struct plain_range {
  uint64_t max, max_inverted; /* of the values, and of their complements */
};

static inline void plain_range_add(struct plain_range *r, uint64_t value) {
  r->max = value > r->max ? value : r->max;
  r->max_inverted = ~value > r->max_inverted ? ~value : r->max_inverted;
}

/* Widens the range of a column's profile. Of at least one value. */
void plain_range_settle(const struct plain_range *r, struct column_stats *stats);

/* Sold items of a category, each of one product and of an order of the day. */
struct plain_category {
  decimal_small revenue;
  uint64_t rows, returned_rows, orders, returned_orders;
};

/* Zero-initialise. */
struct plain_day {
  struct {
    uint64_t rows, returned_rows;
    struct plain_range id, order, product;
    decimal_small revenue, price_max, price_max_inverted;
    uint32_t statuses; /* bits of plain_statuses */
  } items;
  struct {
    uint64_t rows;
    struct plain_range order, user;
    uint32_t statuses;
  } orders;
  struct group *group;               /* of the order table; borrowed; NULL: not yet looked up */
  struct plain_category *categories; /* of the arena; by bit; NULL: no items yet */
};

/* Makes room for so many categories, the same number each time. False when memory is exhausted. */
static inline bool plain_day_reserve(struct plain_day *d, struct arena *arena, struct budget *budget,
                                     size_t category_count) {
  if (!d->categories)
    d->categories = arena_calloc(arena, budget, category_count * sizeof *d->categories);
  return d->categories != NULL;
}

enum { PLAIN_STATUS_BYTES = 16, PLAIN_STATUS_HOMES = 64, PLAIN_STATUSES_MAX = 32 };

/* A status that is known, and no near miss of another. */
struct plain_status {
  uint64_t head, tail; /* its characters, with 0 behind them */
  size_t len;          /* 0: none */
  uint32_t bit;
  bool is_returned;
  char text[PLAIN_STATUS_BYTES + 1];
};

/* Those that were seen, by a hash of the text; zero-initialise. */
struct plain_statuses {
  struct plain_status homes[PLAIN_STATUS_HOMES];
  unsigned count;
};

/* Returns the home of a text of which PLAIN_STATUS_BYTES can be read, and sets its characters in *key. */
static inline struct plain_status *plain_status_home(struct plain_statuses *s, struct view text,
                                                     struct plain_status *key) {
  key->len = text.len;
  key->head = swar_load(text.ptr) & swar_mask(text.len);
  key->tail = text.len > 8 ? swar_load(text.ptr + 8) & swar_mask(text.len - 8) : 0;
  return &s->homes[id_hash(key->head ^ key->tail * 3) % PLAIN_STATUS_HOMES];
}

static inline bool plain_status_is(const struct plain_status *s, const struct plain_status *key) {
  return s->head == key->head && s->tail == key->tail && s->len == key->len;
}

/* Widens the range of a column's profile by the statuses of some bits. */
void plain_statuses_settle(const struct plain_statuses *s, uint32_t bits, struct column_stats *stats);

#endif
