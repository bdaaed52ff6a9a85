/* SPDX-License-Identifier: MIT
 * What the native engine does with each row of the three data sets: products and orders fill the join maps,
 * items are looked up in both and added to the totals. Must not know how rows are read or results are
 * written. */
#ifndef KPID_PIPELINE_NATIVE_ROWS_H
#define KPID_PIPELINE_NATIVE_ROWS_H

#include "pipeline/aggregate.h"
#include "pipeline/dict.h"
#include "pipeline/id_marks.h"
#include "pipeline/join_map.h"
#include "pipeline/native_days.h"
#include "pipeline/scan.h"

#include <pthread.h>

enum {
  CATEGORY_BYTES_MAX = 2048,
  CATEGORY_MARKS_MAX = 64,
  CATEGORY_MARKS_HALF = CATEGORY_MARKS_MAX / 2,
  CATEGORY_NUMBERS_MAX = 1024
};
enum { CATEGORY_BIT_KNOWN = 0x80 };
_Static_assert((int)CATEGORY_MARKS_MAX <= (int)CATEGORY_BIT_KNOWN, "bits do not look like the flag");

/* A product that must not be sold: its category is null or too long to be a key. */
struct bad_product {
  struct place place;
  bool is_null;
};

/* In a join map of products: the value is an index into the bad products. */
#define PRODUCT_IS_BAD ((uint32_t)1 << 31)

/* Of each order of the job's days, in its slot of the join map: the categories in which it was counted, and
 * in which as one with a returned item; a bit each, the latter in the high half of a word, or in a second
 * word. */
struct category_marks {
  _Atomic uint64_t *words; /* owned; NULL: there are none, sets count */
  size_t words_an_order;   /* 1 or 2 */
};

/* One pass over the input; shared by all workers. Only what is marked changes while rows are read. */
struct native_pass {
  const struct job *job;
  const struct source_listing *listing;
  enum id_kind kinds[ID_COLUMN_COUNT];
  struct dict *ids, *categories; /* filled concurrently */
  struct join_map products;      /* product id -> category; built after the products */
  struct join_map orders;      /* order id -> day, of the orders of the job's days; built after the orders */
  struct id_marks *all_orders; /* hashed ids of every order; NULL when the job covers all days */
  struct idset other_orders;   /* those that cannot be marked */
  bool covers_all_days;
  /* Of orders and items that count, as long as none is repeated: rows count them. NULL: sets do. */
  struct id_marks *order_marks, *item_marks;
  struct category_marks category_marks;
  unsigned char category_bits[CATEGORY_NUMBERS_MAX]; /* by number in `categories` */
  size_t category_count;                             /* that have a bit */
  /* Of each product in its slot of a direct join map: CATEGORY_BIT_KNOWN and the bit of its category, where
   * it is one row that can be sold. Takes a fraction of the cache that the slots take. NULL: there is none.
   */
  unsigned char *product_bits;
  _Atomic bool ids_repeat; /* against that: what this pass comes to is void */
  pthread_mutex_t lock;
  struct { /* guarded by lock */
    struct bad_product *at;
    size_t count, cap;
  } bad_products;
};

struct native_worker {
  struct native_pass *pass;
  struct join_pairs products, orders;
  struct idset other_orders;
  struct id_mark_run order_run, item_run, all_orders_run; /* of the pass's marks */
  struct aggregate groups;
  struct id_seen seen[ID_COLUMN_COUNT];
  uint64_t product_id_rows;   /* product rows with an id */
  uint64_t product_text_rows; /* of these, with one that is no number */
  struct quality_tally whole; /* of what bears on every day: products, and rows without a date */
  struct native_days days;
  struct dict_memo known_categories; /* of the pass's */
  struct status_cache statuses;
  struct plain_statuses plain_statuses;
  POOL_GAP;
};

/* True for a status that the job takes for returned. */
bool native_is_returned(const struct native_worker *w, struct view status);

/* True when the pass has to be made again, whatever the rows say. */
static inline bool native_is_void(const struct native_worker *w) {
  return atomic_load_explicit(&w->pass->ids_repeat, memory_order_relaxed);
}

/* Keeps the id of an order, whatever its day: an item of another day's order is no orphan. False when memory
 * is exhausted. */
bool native_keep_for_orphans(struct native_worker *w, id_code order);

/* The same of the ids that bits stand for; that of the first bit is a multiple of 64. */
bool native_keep_bits_for_orphans(struct native_worker *w, id_code first, const uint64_t *bits, size_t words);

/* Marks an id as seen; one that was seen makes the pass void. */
static inline void native_mark_id(struct native_worker *w, struct id_marks *marks, struct id_mark_run *run,
                                  id_code id) {
  if (id_marks_add(marks, run, id) != ID_MARK_NEW)
    atomic_store_explicit(&w->pass->ids_repeat, true, memory_order_relaxed);
}

/* Writes the marks that the worker has not written yet, at the end of a scan. */
void native_flush_marks(struct native_worker *w);

/* Counts an order, which has a slot in the join map, in a category, which has a bit, and with a returned item
 * among those with one; each once. Without a look at the marks before: see budget_zeroed. */
static inline void native_count_order(const struct native_pass *p, const struct join_slot *order,
                                      unsigned category, bool is_returned, uint64_t *orders,
                                      uint64_t *returned_orders) {
  const size_t words = p->category_marks.words_an_order;
  _Atomic uint64_t *word = &p->category_marks.words[(size_t)(order - p->orders.slots) * words];
  const uint64_t sold = (uint64_t)1 << category, returned = words == 1 ? sold << CATEGORY_MARKS_HALF : sold;
  const bool is_one_write = is_returned && words == 1;
  const uint64_t before =
      atomic_fetch_or_explicit(word, is_one_write ? sold | returned : sold, memory_order_relaxed);
  *orders += !(before & sold);
  if (is_one_write)
    *returned_orders += !(before & returned);
  else if (is_returned)
    *returned_orders += !(atomic_fetch_or_explicit(word + 1, returned, memory_order_relaxed) & returned);
}

/* The scan_row_fn of each data set; `worker` is a struct native_worker. */
enum kpi_code native_product_row(void *worker, const struct scan_row *row, struct err *err);
enum kpi_code native_order_row(void *worker, const struct scan_row *row, struct err *err);
enum kpi_code native_item_row(void *worker, const struct scan_row *row, struct err *err);

#endif
