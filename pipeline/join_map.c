/* SPDX-License-Identifier: MIT */
#include "pipeline/join_map.h"

#include <string.h>

enum {
  PAIRS_FIRST = 1024,
  SLOTS_MIN = 16,
  DIRECT_SPREAD_MAX = 2,      /* slots for a pair, as in a hashed map */
  KNOWN_BITS_MAX = 1 << 26,   /* 8 MiB */
  KNOWN_BITS_A_PAIR = 1 << 13 /* few pairs are found as fast */
};

/* ---- pairs ---- */

/* Pairs stay where they are: an array that grows would be copied. Each block is twice as large as the one
 * before it, so that the memory of most goes back to the system, as small blocks of a thread's heap would
 * not. */
struct join_block {
  struct join_block *before;
  size_t count, cap;
  struct join_pair at[];
};

static size_t block_bytes(size_t cap) {
  return sizeof(struct join_block) + cap * sizeof(struct join_pair);
}

static bool add_block(struct join_pairs *p, struct budget *budget) {
  const size_t cap = p->newest ? p->newest->cap * 2 : PAIRS_FIRST;
  struct join_block *b = budget_alloc(budget, block_bytes(cap));
  if (!b)
    return false;
  *b = (struct join_block){.before = p->newest, .cap = cap};
  p->newest = b;
  return true;
}

bool join_pairs_add(struct join_pairs *p, struct budget *budget, id_code key, uint32_t value) {
  if ((!p->newest || p->newest->count == p->newest->cap) && !add_block(p, budget))
    return false;
  if (p->count == 0 || key < p->least)
    p->least = key;
  if (p->count == 0 || key > p->greatest)
    p->greatest = key;
  p->count++;
  p->newest->at[p->newest->count++] = (struct join_pair){key, value};
  return true;
}

void join_pairs_clear(struct join_pairs *p, struct budget *budget) {
  for (struct join_block *b; (b = p->newest) != NULL;) {
    p->newest = b->before;
    budget_free(budget, b, block_bytes(b->cap));
  }
  *p = (struct join_pairs){0};
}

typedef bool (*put_fn)(struct join_map *m, const struct join_pair *pair);

/* Puts the pairs of all parts into the map. False as soon as one does not fit. */
static inline bool put_all(struct join_map *m, put_fn put, struct join_pairs *const *parts, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (const struct join_block *b = parts[i]->newest; b; b = b->before)
      for (size_t k = 0; k < b->count; k++)
        if (!put(m, &b->at[k]))
          return false;
  return true;
}

/* ---- slots ---- */

/* Makes free slots, and room for their keys unless they are direct. */
static bool make_slots(struct join_map *m, struct budget *budget, size_t count) {
  m->slots = budget_zeroed(budget, count, sizeof *m->slots);
  m->met = budget_zeroed(budget, count, sizeof *m->met);
  m->slot_count = count;
  if (!m->is_direct && (m->keys = budget_alloc(budget, count * sizeof *m->keys)) != NULL)
    memset(m->keys, 0xFF, count * sizeof *m->keys); /* ID_NULL */
  if (m->slots && m->met && (m->keys || m->is_direct))
    return true;
  join_map_clear(m, budget);
  return false;
}

/* ---- direct ---- */

/* What all parts hold. */
struct extent {
  size_t pairs;
  id_code least, greatest;
};

static struct extent extent_of(struct join_pairs *const *parts, size_t count) {
  struct extent e = {0};
  for (size_t i = 0; i < count; i++) {
    const struct join_pairs *p = parts[i];
    if (p->count == 0)
      continue;
    if (e.pairs == 0 || p->least < e.least)
      e.least = p->least;
    if (e.pairs == 0 || p->greatest > e.greatest)
      e.greatest = p->greatest;
    e.pairs += p->count;
  }
  return e;
}

/* True when a slot for every number between the keys takes no more room than hashing them. */
static bool is_dense(const struct extent *e) {
  return e->pairs > 0 && (e->greatest - e->least) / DIRECT_SPREAD_MAX < e->pairs;
}

/* Puts a pair into its own slot. False when the key has another value already. */
static bool put_direct(struct join_map *m, const struct join_pair *pair) {
  struct join_slot *slot = &m->slots[pair->key - m->least];
  if (slot->times == 0) {
    *slot = (struct join_slot){pair->value, 1};
    return true;
  }
  bool fits = slot->value == pair->value && slot->times < UINT32_MAX;
  slot->times += fits;
  return fits;
}

/* ---- hashed ---- */

static bool put_hashed(struct join_map *m, const struct join_pair *pair) {
  size_t mask = m->slot_count - 1;
  for (size_t at = id_hash(pair->key) & mask;; at = (at + 1) & mask) {
    struct join_slot *slot = &m->slots[at];
    if (m->keys[at] == ID_NULL) {
      m->keys[at] = pair->key;
      *slot = (struct join_slot){pair->value, 1};
      return true;
    }
    /* A multiplicity that would pass 32 bits goes on in a further slot of the chain. */
    if (m->keys[at] == pair->key && slot->value == pair->value && slot->times < UINT32_MAX) {
      slot->times++;
      return true;
    }
  }
}

static bool build_hashed(struct join_map *m, struct budget *budget, struct join_pairs *const *parts,
                         size_t count, size_t pairs) {
  size_t slots = SLOTS_MIN;
  while (slots < pairs * 2)
    slots *= 2;
  return make_slots(m, budget, slots) && put_all(m, put_hashed, parts, count);
}

/* Bits for the keys of a hashed map, if these are not too far apart and there is memory: it does without. */
static void mark_known(struct join_map *m, struct budget *budget, const struct extent *e) {
  const id_code bits = e->greatest - e->least + 1;
  if (bits > KNOWN_BITS_MAX || bits / KNOWN_BITS_A_PAIR > e->pairs)
    return;
  m->known = budget_calloc(budget, bits / 64 + 1, sizeof *m->known);
  m->known_count = bits;
  if (!m->known)
    return;
  for (size_t i = 0; i < m->slot_count; i++)
    if (m->slots[i].times) {
      const id_code at = m->keys[i] - e->least;
      m->known[at / 64] |= (uint64_t)1 << at % 64;
    }
}

/* ---- both ---- */

bool join_map_find_key(const struct join_map *m, id_code *key, id_code end) {
  enum { WORD_BITS = 64 };
  if (m->slot_count == 0)
    return false;
  if (*key < m->least)
    *key = m->least;
  if (m->known) {
    id_code at = *key - m->least;
    while (at < m->known_count && m->known[at / WORD_BITS] >> at % WORD_BITS == 0)
      at += WORD_BITS - at % WORD_BITS;
    if (at >= m->known_count)
      return false;
    *key = m->least + at + (id_code)__builtin_ctzll(m->known[at / WORD_BITS] >> at % WORD_BITS);
  }
  return *key < end && join_map_may_have(m, *key);
}

bool join_map_build(struct join_map *m, struct budget *budget, struct join_pairs *const *parts,
                    size_t count) {
  struct extent e = extent_of(parts, count);
  bool ok = true;
  *m = (struct join_map){.is_direct = is_dense(&e), .least = e.least};
  if (m->is_direct) {
    ok = make_slots(m, budget, e.greatest - e.least + 1);
    m->is_direct = ok && put_all(m, put_direct, parts, count);
    if (!m->is_direct)
      join_map_clear(m, budget);
    m->least = e.least;
  }
  if (ok && !m->is_direct && e.pairs > 0)
    ok = build_hashed(m, budget, parts, count, e.pairs);
  for (size_t i = 0; i < count; i++)
    join_pairs_clear(parts[i], budget);
  if (ok && !m->is_direct && e.pairs > 0)
    mark_known(m, budget, &e);
  return ok;
}

void join_map_clear(struct join_map *m, struct budget *budget) {
  budget_free(budget, m->known, m->known ? (m->known_count / 64 + 1) * sizeof *m->known : 0);
  budget_free(budget, m->slots, m->slot_count * sizeof *m->slots);
  budget_free(budget, m->keys, m->slot_count * sizeof *m->keys);
  budget_free(budget, (void *)m->met, m->slot_count * sizeof *m->met);
  *m = (struct join_map){0};
}

static const struct join_slot *next_direct(const struct join_map *m, id_code key, struct join_walk *walk) {
  id_code at = key - m->least;
  bool is_known = !walk->begun && key >= m->least && at < m->slot_count && m->slots[at].times;
  walk->begun = true; /* a key has one pair */
  return is_known ? &m->slots[at] : NULL;
}

const struct join_slot *join_map_next(const struct join_map *m, id_code key, struct join_walk *walk) {
  if (key >= ID_UNKNOWN || m->slot_count == 0)
    return NULL;
  if (m->is_direct)
    return next_direct(m, key, walk);
  size_t mask = m->slot_count - 1;
  size_t at = walk->begun ? walk->at : id_hash(key) & mask;
  walk->begun = true;
  for (; m->keys[at] != ID_NULL; at = (at + 1) & mask)
    if (m->keys[at] == key) {
      walk->at = (at + 1) & mask;
      return &m->slots[at];
    }
  walk->at = at;
  return NULL;
}

const struct join_slot *join_map_only_hashed(const struct join_map *m, id_code key) {
  struct join_walk walk = {0};
  const struct join_slot *slot = join_map_next(m, key, &walk);
  return slot && slot->times == 1 && !join_map_next(m, key, &walk) ? slot : NULL;
}

void join_map_meet(const struct join_map *m, const struct join_slot *slot) {
  _Atomic uint8_t *met = &m->met[slot - m->slots];
  if (!atomic_load_explicit(met, memory_order_relaxed))
    atomic_store_explicit(met, 1, memory_order_relaxed);
}

void join_map_each_unmet(const struct join_map *m, void (*fn)(void *arg, const struct join_slot *slot),
                         void *arg) {
  for (size_t i = 0; i < m->slot_count; i++)
    if (m->slots[i].times && !m->met[i])
      fn(arg, &m->slots[i]);
}

/* True when no earlier slot of the probe chain has the same key. */
static bool is_first_of_key(const struct join_map *m, size_t slot) {
  if (m->is_direct)
    return true;
  size_t mask = m->slot_count - 1;
  for (size_t at = id_hash(m->keys[slot]) & mask; at != slot; at = (at + 1) & mask)
    if (m->keys[at] == m->keys[slot])
      return false;
  return true;
}

struct join_counts join_map_count(const struct join_map *m, id_code end) {
  struct join_counts c = {0};
  for (size_t i = 0; i < m->slot_count; i++) {
    if (m->slots[i].times == 0 || (m->is_direct ? m->least + i : m->keys[i]) >= end)
      continue;
    c.pairs++;
    c.keys += is_first_of_key(m, i);
  }
  return c;
}
