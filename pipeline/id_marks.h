/* SPDX-License-Identifier: MIT
 * Marks of ids that were seen, one bit each, to tell whether any is repeated: where none is, counting rows
 * counts ids, and nobody needs sets of them. For ids that are close to each other, as numbers given in turn
 * are, and those of a dictionary. */
#ifndef KPID_PIPELINE_ID_MARKS_H
#define KPID_PIPELINE_ID_MARKS_H

#include "base/alloc.h"
#include "pipeline/id.h"

struct id_marks;

/* How many ids of a neighbourhood of some 260,000 have no room before it gets the memory for marks, which a
 * set takes for about as many. */
enum id_patience { ID_MARKS_AT_ONCE = 0, ID_MARKS_WHEN_DENSE = 2048 };

/* Returns owned, NULL when memory is exhausted. */
struct id_marks *id_marks_new(struct budget *budget, enum id_patience patience);

/* Accepts NULL. */
void id_marks_free(struct id_marks *m);

enum id_mark {
  ID_MARK_NEW,
  ID_MARK_REPEATED, /* it was marked before */
  ID_MARK_NO_ROOM   /* too great, too far from the others (or the first near it), or memory is exhausted */
};

/* Ids that stand close together are marked by one write for many. Of one thread; zero-initialised is empty.
 */
struct id_mark_run {
  _Atomic uint64_t *word; /* where they are to be marked; NULL: none wait */
  uint64_t base;          /* the code of bit 0 */
  uint64_t mask;
  uint64_t started; /* runs, this one included */
};

/* Writes the marks that wait. True when all of them are new. */
static inline bool id_marks_flush(struct id_mark_run *r) {
  uint64_t before = r->word ? atomic_fetch_or_explicit(r->word, r->mask, memory_order_relaxed) : 0;
  r->word = NULL;
  return (before & r->mask) == 0;
}

/* Flushes the run and begins another with this id. What it returns is said of both. */
enum id_mark id_marks_start_run(struct id_marks *m, struct id_mark_run *r, id_code code);

/* Marks an id, in a run of the caller's own. That one is repeated may be told only by a later call, or by
 * id_marks_flush. Any thread. */
static inline enum id_mark id_marks_add(struct id_marks *m, struct id_mark_run *r, id_code code) {
  const uint64_t at = code - r->base, bit = (uint64_t)1 << at % 64;
  if (!r->word || at >= 64)
    return id_marks_start_run(m, r, code);
  const bool is_repeated = r->mask & bit;
  r->mask |= bit;
  return is_repeated ? ID_MARK_REPEATED : ID_MARK_NEW;
}

/* True when the ids that bits stand for, of numbers in turn, are so close that ID_MARKS_WHEN_DENSE has not to
 * be waited for. */
bool id_marks_are_dense(const uint64_t *bits, size_t words);

/* Marks ids of a dense neighbourhood, one for each bit; `first`, that of bit 0, is a multiple of 64. False
 * when there is no room for them. Any thread. */
bool id_marks_add_word(struct id_marks *m, id_code first, uint64_t bits);

/* True when the id is marked. Any thread. */
bool id_marks_has(const struct id_marks *m, id_code code);

#endif
