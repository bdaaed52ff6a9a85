/* SPDX-License-Identifier: MIT
 * A multimap from join codes to 32-bit values with multiplicities: product id -> category, order id -> day.
 * Filled as plain pairs by each worker, then built once and read by all. Knows no meaning of the values. */
#ifndef KPID_PIPELINE_JOIN_MAP_H
#define KPID_PIPELINE_JOIN_MAP_H

#include "pipeline/id.h"

struct join_pair {
  id_code key;
  uint32_t value;
};

/* A pair that so many rows have, without its key. */
struct join_slot {
  uint32_t value;
  uint32_t times; /* 0: free */
};

/* Pairs of one worker; zero-initialised is empty. */
struct join_pairs {
  struct join_block *newest; /* owned, as those before it */
  size_t count;
  id_code least, greatest; /* keys; of no pairs: not set */
};

/* Appends a pair. False when memory is exhausted. */
bool join_pairs_add(struct join_pairs *p, struct budget *budget, id_code key, uint32_t value);

/* Frees the pairs and leaves none. */
void join_pairs_clear(struct join_pairs *p, struct budget *budget);

struct join_map {
  struct join_slot *slots; /* direct: by key; else open addressing: those of a key stand on one probe chain */
  id_code *keys;           /* of the slots; ID_NULL: free; NULL: they are direct */
  _Atomic uint8_t *met;    /* one for each slot, see join_map_meet */
  size_t slot_count;       /* 0 when empty; a power of two unless direct */
  bool is_direct;          /* keys are numbers close to each other, with one value each */
  id_code least;           /* of all keys; that of the first slot, if direct */
  uint64_t *known; /* hashed: a bit for each number from `least` on that is a key; NULL: keys are far apart */
  id_code known_count; /* bits */
};

/* False when no pair has the key, which is mostly found without a look at the map; true when one may have. */
static inline bool join_map_may_have(const struct join_map *m, id_code key) {
  const id_code at = key - m->least;
  if (m->slot_count == 0)
    return false;
  if (m->known)
    return at < m->known_count && (m->known[at / 64] >> at % 64 & 1);
  return !m->is_direct || at < m->slot_count;
}

/* Moves *key on to the next, itself included, that join_map_may_have is true for. False when there is none
 * before `end`. */
bool join_map_find_key(const struct join_map *m, id_code *key, id_code end);

/* As join_map_only, of a map that is hashed. */
const struct join_slot *join_map_only_hashed(const struct join_map *m, id_code key);

/* Returns the slot of a key that has one pair, of one row; NULL for all others. Any thread. */
static inline const struct join_slot *join_map_only(const struct join_map *m, id_code key) {
  const id_code at = key - m->least;
  if (!m->is_direct)
    return join_map_only_hashed(m, key);
  return at < m->slot_count && m->slots[at].times == 1 ? &m->slots[at] : NULL;
}

/* Builds a map of the pairs of all workers, which are freed, also on failure: equal pairs become one with a
 * multiplicity. False when memory is exhausted. */
bool join_map_build(struct join_map *m, struct budget *budget, struct join_pairs *const *parts, size_t count);

/* Frees the map. */
void join_map_clear(struct join_map *m, struct budget *budget);

/* Where a walk over the pairs of a key is; zero-initialised is before the first. */
struct join_walk {
  size_t at;
  bool begun;
};

/* Returns the next slot of a key, NULL at the end. ID_NULL and ID_UNKNOWN have none. Any thread. */
const struct join_slot *join_map_next(const struct join_map *m, id_code key, struct join_walk *walk);

/* True when some pair has the key. Any thread. */
static inline bool join_map_has(const struct join_map *m, id_code key) {
  struct join_walk walk = {0};
  return join_map_may_have(m, key) && join_map_next(m, key, &walk) != NULL;
}

/* Marks a pair as met by a row of the other side. Any thread. */
void join_map_meet(const struct join_map *m, const struct join_slot *slot);

/* Calls fn for each slot whose pair nothing has met. */
void join_map_each_unmet(const struct join_map *m, void (*fn)(void *arg, const struct join_slot *slot),
                         void *arg);

/* How many pairs of some keys a map has, and distinct keys of these. */
struct join_counts {
  uint64_t pairs, keys;
};

/* Counts those of keys below `end`; ID_NULL: of all. */
struct join_counts join_map_count(const struct join_map *m, id_code end);

#endif
