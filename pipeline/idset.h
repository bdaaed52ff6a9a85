/* SPDX-License-Identifier: MIT
 * A set of 64-bit codes that is filled first and counted at the end: an appended vector that is sorted and
 * deduplicated when it is full. Exact; no hashing. Knows no meaning of the codes. */
#ifndef KPID_PIPELINE_IDSET_H
#define KPID_PIPELINE_IDSET_H

#include "base/alloc.h"

/* Zero-initialised is empty. Not thread-safe: each worker fills its own. */
struct idset {
  uint64_t *codes;
  size_t count, cap;
  size_t sorted; /* the first `sorted` codes ascend without repeats */
};

/* Adds a code. False when memory is exhausted. */
bool idset_add(struct idset *s, struct budget *budget, uint64_t code);

/* Sorts, drops repeats and returns the number of distinct codes. */
size_t idset_seal(struct idset *s);

/* True when a sealed set holds the code. */
bool idset_has(const struct idset *s, uint64_t code);

/* Moves all codes of `from` into `to` and frees `from`. False when memory is exhausted. */
bool idset_absorb(struct idset *to, struct idset *from, struct budget *budget);

/* Room for counting, used again and again; zero-initialised has none yet. */
struct idset_scratch {
  uint64_t *bits; /* owned; all 0 between counts */
  size_t words;
};

/* Frees the room; accounted to the same budget as idset_count_together. */
void idset_scratch_clear(struct idset_scratch *s, struct budget *budget);

/* Counts the different codes of some sets together, and frees them. False when memory is exhausted. */
bool idset_count_together(struct idset *const *sets, size_t set_count, struct idset_scratch *scratch,
                          struct budget *budget, uint64_t *out);

/* Frees the codes; accounted to the same budget as idset_add. */
void idset_clear(struct idset *s, struct budget *budget);

#endif
