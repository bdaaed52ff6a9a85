/* SPDX-License-Identifier: MIT
 * Totals by day, or by day and category: sums of money, counts and sets of distinct ids. Each worker fills
 * its own; merging them gives the same totals in any order. Knows no formula: those are in kpi.h. */
#ifndef KPID_PIPELINE_AGGREGATE_H
#define KPID_PIPELINE_AGGREGATE_H

#include "base/pool.h"
#include "pipeline/day.h"
#include "pipeline/decimal.h"
#include "pipeline/idset.h"

/* Category of a group that belongs to the order table. */
#define GROUP_NO_CATEGORY UINT32_MAX

/* How many different ids the sets of a group hold. */
struct group_counts {
  uint64_t orders, returned_orders, users, items;
};

struct group {
  day_t day;
  uint32_t category;      /* number in the catalogue, or GROUP_NO_CATEGORY */
  uint64_t item_rows;     /* joined rows */
  uint64_t returned_rows; /* of these, with status returned */
  uint64_t order_id_rows; /* order rows with an id: more than distinct orders when ids repeat */
  uint64_t item_id_rows;  /* item rows with an id, each once */
  struct {
    uint64_t orders, returned_orders;
  } marked; /* distinct ids that are not in the sets, counted by marks of their own */
  struct decimal revenue;
  struct idset orders, returned_orders, users, items;
  struct group_counts counts; /* of the sets and marks, after aggregate_merge; the sets are empty then */
  struct group *next;         /* NULL: the last */
  struct group *next_of_day;  /* the same among those of its day, once these are told apart */
};

/* A group by its key, day and category. */
struct group_slot {
  uint64_t key;
  struct group *group; /* NULL: free */
};

/* Groups by key; zero-initialised is empty. */
struct aggregate {
  struct group_slot *slots; /* open addressing */
  size_t slot_count, count;
  struct group *first, *last; /* in the order in which they were asked for, as they lie in memory */
  struct arena arena;         /* of the groups */
};

/* Returns the group of a day and category, a new one when there is none; NULL when memory is exhausted.
 * Borrowed. */
struct group *aggregate_group(struct aggregate *a, struct budget *budget, day_t day, uint32_t category);

/* Moves everything of all parts into the first, and counts the ids of its groups, on the pool. False when
 * memory is exhausted. */
bool aggregate_merge(struct aggregate *const *parts, size_t count, struct pool *pool, struct pool_load *load,
                     struct budget *budget);

/* Frees all groups. */
void aggregate_clear(struct aggregate *a, struct budget *budget);

#endif
