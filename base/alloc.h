/* SPDX-License-Identifier: MIT
 * Allocation with a budget: the memory of a run is accounted, and a request that would pass the budget
 * fails like an exhausted heap. A test hook makes the nth allocation fail. */
#ifndef KPID_BASE_ALLOC_H
#define KPID_BASE_ALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What one run may hold. Shared by its workers; all fields but the limit are atomic. */
struct budget {
  _Atomic size_t used;
  _Atomic size_t peak;
  size_t limit;          /* bytes; SIZE_MAX for none */
  _Atomic bool exceeded; /* an allocation was refused because of the limit */
};

/* Prepares a budget; limit 0 means none. */
void budget_init(struct budget *b, size_t limit);

/* As malloc, calloc, realloc and free, accounted to `b` (NULL: not accounted). Sizes are given back by
 * the caller: old_size is what the block was asked with. Return NULL on exhaustion of heap or budget;
 * a failed realloc leaves the block as it was. */
void *budget_alloc(struct budget *b, size_t size);
void *budget_calloc(struct budget *b, size_t count, size_t size);
void *budget_realloc(struct budget *b, void *p, size_t old_size, size_t new_size);
void budget_free(struct budget *b, void *p, size_t size);

/* As budget_calloc, for memory that will all be used, and read before it is written: its pages are there at
 * once. Else the first read of each would map one of zeros, and the first write fault again and interrupt all
 * threads. */
void *budget_zeroed(struct budget *b, size_t count, size_t size);

/* Many small things that are given back all at once; zero-initialise. A heap of a thread that is not the
 * first grows by a system call a page, and by more for the whole of a block. */
struct arena {
  struct arena_block *newest; /* owned, as those before it */
};

/* As budget_calloc, out of the newest block or a new one, which is accounted whole. Aligned for everything
 * unless the arena also gives bytes. */
void *arena_calloc(struct arena *a, struct budget *b, size_t size);

/* The same, aligned for nothing: one after the other. */
void *arena_bytes(struct arena *a, struct budget *b, size_t size);

/* Frees all of it. */
void arena_clear(struct arena *a, struct budget *b);

/* Makes room for one more item in an array that grows by doubling, not accounted. Returns the array, which
 * may have moved; NULL on exhaustion, which leaves it as it was. */
void *array_room(void *at, size_t count, size_t *cap, size_t item_bytes);

/* Test hook: the nth accounted allocation from now (1-based) fails, once; 0 switches it off. */
void alloc_fail_at(uint64_t nth);

#endif
