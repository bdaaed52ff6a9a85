/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { ARRAY_ITEMS_FIRST = 32, ARENA_BLOCK_FIRST = 4096, ARENA_BLOCK_MOST = 64 * 1024 };

static _Atomic uint64_t fail_countdown;

void alloc_fail_at(uint64_t nth) {
  atomic_store(&fail_countdown, nth);
}

static bool must_fail(void) {
  if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) == 0)
    return false;
  return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

void budget_init(struct budget *b, size_t limit) {
  *b = (struct budget){.limit = limit ? limit : SIZE_MAX};
}

/* Reserves `size` bytes; false when that would pass the limit. */
static bool charge(struct budget *b, size_t size) {
  if (must_fail())
    return false;
  if (!b)
    return true;
  if (size > b->limit) { /* the sum might overflow */
    atomic_store(&b->exceeded, true);
    return false;
  }
  size_t now = atomic_fetch_add(&b->used, size) + size;
  if (now > b->limit) {
    atomic_fetch_sub(&b->used, size);
    atomic_store(&b->exceeded, true);
    return false;
  }
  size_t peak = atomic_load(&b->peak);
  while (now > peak && !atomic_compare_exchange_weak(&b->peak, &peak, now)) {
  }
  return true;
}

static void refund(struct budget *b, size_t size) {
  if (b)
    atomic_fetch_sub(&b->used, size);
}

void *budget_alloc(struct budget *b, size_t size) {
  if (!charge(b, size))
    return NULL;
  void *p = malloc(size ? size : 1);
  if (!p)
    refund(b, size);
  return p;
}

void *budget_calloc(struct budget *b, size_t count, size_t size) {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total) || !charge(b, total))
    return NULL;
  void *p = calloc(total ? total : 1, 1);
  if (!p)
    refund(b, total);
  return p;
}

void *budget_zeroed(struct budget *b, size_t count, size_t size) {
  size_t total;
  void *p = __builtin_mul_overflow(count, size, &total) ? NULL : budget_alloc(b, total);
  if (p)
    memset(p, 0, total); /* calloc would leave pages that are fresh to their first use */
  return p;
}

/* Its size includes its head. */
struct arena_block {
  struct arena_block *before;
  size_t size, used;
  _Alignas(max_align_t) char bytes[];
};

static struct arena_block *add_block(struct arena *a, struct budget *b, size_t size) {
  const size_t before = a->newest ? a->newest->size : ARENA_BLOCK_FIRST / 2;
  const size_t usual = before < ARENA_BLOCK_MOST / 2 ? 2 * before : ARENA_BLOCK_MOST;
  const size_t needed = sizeof(struct arena_block) + size;
  const size_t whole = needed > usual ? needed : usual;
  struct arena_block *block = needed < size ? NULL : budget_zeroed(b, 1, whole);
  if (!block)
    return NULL;
  block->before = a->newest;
  block->size = whole;
  block->used = sizeof *block;
  return a->newest = block;
}

void *arena_bytes(struct arena *a, struct budget *b, size_t size) {
  struct arena_block *block = a->newest;
  if ((!block || block->size - block->used < size) && !(block = add_block(a, b, size)))
    return NULL;
  void *p = (char *)block + block->used;
  block->used += size;
  return p;
}

void *arena_calloc(struct arena *a, struct budget *b, size_t size) {
  const size_t step = _Alignof(max_align_t), rounded = (size + step - 1) / step * step;
  return rounded < size ? NULL : arena_bytes(a, b, rounded);
}

void arena_clear(struct arena *a, struct budget *b) {
  for (struct arena_block *block; (block = a->newest) != NULL;) {
    a->newest = block->before;
    budget_free(b, block, block->size);
  }
}

void *array_room(void *at, size_t count, size_t *cap, size_t item_bytes) {
  if (count < *cap)
    return at;
  size_t grown = *cap ? *cap * 2 : ARRAY_ITEMS_FIRST;
  void *moved = reallocarray(at, grown, item_bytes);
  if (moved)
    *cap = grown;
  return moved;
}

void *budget_realloc(struct budget *b, void *p, size_t old_size, size_t new_size) {
  if (new_size > old_size && !charge(b, new_size - old_size))
    return NULL;
  void *moved = realloc(p, new_size ? new_size : 1);
  if (!moved) {
    if (new_size > old_size)
      refund(b, new_size - old_size);
    return NULL;
  }
  if (new_size < old_size)
    refund(b, old_size - new_size);
  return moved;
}

void budget_free(struct budget *b, void *p, size_t size) {
  if (!p)
    return;
  free(p);
  refund(b, size);
}
