/* SPDX-License-Identifier: MIT */
#include "pipeline/id_marks.h"

enum {
  WORD_BITS = 64,
  PAGE_WORDS = 4096, /* 32 KiB, for 262,144 ids */
  PAGE_BITS = PAGE_WORDS * WORD_BITS,
  PAGES = 1 << 14,       /* of numbers; as many of a dictionary */
  PAGES_USED_MAX = 2048, /* 64 MiB: more than half a billion ids that are given in turn */
  PAGE_RUNS_MANY = 64
};

struct id_marks {
  struct budget *budget;
  size_t patience;
  _Atomic size_t used;
  _Atomic(_Atomic uint64_t *) pages[2 * PAGES]; /* owned; made when needed often enough */
  _Atomic uint16_t wanted[2 * PAGES];           /* how often each was, until then */
};

enum { PAGE_BYTES = PAGE_WORDS * sizeof(uint64_t) };

struct id_marks *id_marks_new(struct budget *budget, enum id_patience patience) {
  struct id_marks *m = budget_calloc(budget, 1, sizeof *m);
  if (!m)
    return NULL;
  m->budget = budget;
  m->patience = patience;
  return m;
}

void id_marks_free(struct id_marks *m) {
  if (!m)
    return;
  for (size_t i = 0; i < 2 * PAGES; i++)
    budget_free(m->budget, (void *)atomic_load(&m->pages[i]), PAGE_BYTES);
  budget_free(m->budget, m, sizeof *m);
}

/* True when an id has to do without a page yet. */
static bool is_too_early(struct id_marks *m, size_t at, size_t patience) {
  return atomic_load_explicit(&m->wanted[at], memory_order_relaxed) < patience &&
         atomic_fetch_add_explicit(&m->wanted[at], 1, memory_order_relaxed) < patience;
}

/* Makes a page, or finds that another thread has; one that will be used all over, as those before it were by
 * so many runs, is there at once. NULL when there may be no more, or not yet. */
static _Atomic uint64_t *make_page(struct id_marks *m, size_t at, size_t patience, uint64_t runs) {
  _Atomic uint64_t *none = NULL;
  if (is_too_early(m, at, patience))
    return NULL;
  const size_t used = atomic_fetch_add(&m->used, 1);
  if (used >= PAGES_USED_MAX)
    return NULL;
  _Atomic uint64_t *page = runs / PAGE_RUNS_MANY >= used ? budget_zeroed(m->budget, 1, PAGE_BYTES)
                                                         : budget_calloc(m->budget, 1, PAGE_BYTES);
  if (!page || atomic_compare_exchange_strong(&m->pages[at], &none, page))
    return page;
  budget_free(m->budget, (void *)page, PAGE_BYTES);
  atomic_fetch_sub(&m->used, 1);
  return none;
}

/* Where the bit of a code is; page PAGES * 2 when there is none. */
struct bit {
  size_t page, word;
  uint64_t mask;
};

static struct bit bit_of(id_code code) {
  const id_code number = code & ~ID_INTERNED;
  if (number / PAGE_BITS >= PAGES)
    return (struct bit){.page = 2 * PAGES};
  return (struct bit){(size_t)(number / PAGE_BITS) + (code & ID_INTERNED ? PAGES : 0),
                      number % PAGE_BITS / WORD_BITS, (uint64_t)1 << number % WORD_BITS};
}

/* The word of a bit; NULL when there is no room. */
static _Atomic uint64_t *word_of(struct id_marks *m, struct bit bit, size_t patience, uint64_t runs) {
  if (bit.page == 2 * PAGES)
    return NULL;
  _Atomic uint64_t *page = atomic_load_explicit(&m->pages[bit.page], memory_order_acquire);
  if (!page)
    page = make_page(m, bit.page, patience, runs);
  return page ? &page[bit.word] : NULL;
}

enum id_mark id_marks_start_run(struct id_marks *m, struct id_mark_run *r, id_code code) {
  const struct bit bit = bit_of(code);
  const bool all_new = id_marks_flush(r);
  r->word = word_of(m, bit, m->patience, ++r->started);
  r->base = code - code % WORD_BITS;
  r->mask = bit.mask;
  if (!r->word)
    return ID_MARK_NO_ROOM;
  return all_new ? ID_MARK_NEW : ID_MARK_REPEATED;
}

bool id_marks_are_dense(const uint64_t *bits, size_t words) {
  size_t count = 0;
  for (size_t i = 0; i < words; i++)
    count += (size_t)__builtin_popcountll(bits[i]);
  return count >= (words + PAGE_WORDS - 1) / PAGE_WORDS * ID_MARKS_WHEN_DENSE;
}

bool id_marks_add_word(struct id_marks *m, id_code first, uint64_t bits) {
  _Atomic uint64_t *word = word_of(m, bit_of(first), ID_MARKS_AT_ONCE, UINT64_MAX);
  if (word)
    atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
  return word != NULL;
}

bool id_marks_has(const struct id_marks *m, id_code code) {
  const struct bit bit = bit_of(code);
  if (bit.page == 2 * PAGES)
    return false;
  const _Atomic uint64_t *page = atomic_load_explicit(&m->pages[bit.page], memory_order_acquire);
  return page && atomic_load_explicit(&page[bit.word], memory_order_relaxed) & bit.mask;
}
