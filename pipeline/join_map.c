/* SPDX-License-Identifier: MIT */
#include "pipeline/join_map.h"

enum { PAIRS_FIRST = 1024, SLOTS_MIN = 16 };

bool join_pairs_add(struct join_pairs *p, struct budget *budget, id_code key, uint32_t value) {
  if (p->count == p->cap) {
    size_t cap = p->cap ? p->cap * 2 : PAIRS_FIRST;
    struct join_pair *at = budget_realloc(budget, p->at, p->cap * sizeof *at, cap * sizeof *at);
    if (!at)
      return false;
    p->at = at;
    p->cap = cap;
  }
  p->at[p->count++] = (struct join_pair){key, value, 1};
  return true;
}

void join_pairs_clear(struct join_pairs *p, struct budget *budget) {
  budget_free(budget, p->at, p->cap * sizeof *p->at);
  *p = (struct join_pairs){0};
}

bool join_map_init(struct join_map *m, struct budget *budget, size_t pairs) {
  size_t count = SLOTS_MIN;
  while (count < pairs * 2)
    count *= 2;
  m->slots = budget_calloc(budget, count, sizeof *m->slots);
  m->met = budget_calloc(budget, count, sizeof *m->met);
  m->slot_count = count;
  if (m->slots && m->met)
    return true;
  join_map_clear(m, budget);
  return false;
}

static void add_pair(struct join_map *m, const struct join_pair *pair) {
  size_t mask = m->slot_count - 1;
  for (size_t at = id_hash(pair->key) & mask;; at = (at + 1) & mask) {
    struct join_pair *slot = &m->slots[at];
    if (slot->times == 0) {
      *slot = *pair;
      return;
    }
    /* A multiplicity that would pass 32 bits goes on in a further slot of the chain. */
    if (slot->key == pair->key && slot->value == pair->value && slot->times < UINT32_MAX) {
      slot->times++;
      return;
    }
  }
}

void join_map_add(struct join_map *m, const struct join_pairs *p) {
  for (size_t i = 0; i < p->count; i++)
    add_pair(m, &p->at[i]);
}

void join_map_clear(struct join_map *m, struct budget *budget) {
  budget_free(budget, m->slots, m->slot_count * sizeof *m->slots);
  budget_free(budget, (void *)m->met, m->slot_count * sizeof *m->met);
  *m = (struct join_map){0};
}

const struct join_pair *join_map_next(const struct join_map *m, id_code key, struct join_walk *walk) {
  if (key >= ID_UNKNOWN || m->slot_count == 0)
    return NULL;
  size_t mask = m->slot_count - 1;
  size_t at = walk->begun ? walk->at : id_hash(key) & mask;
  walk->begun = true;
  for (; m->slots[at].times; at = (at + 1) & mask)
    if (m->slots[at].key == key) {
      walk->at = (at + 1) & mask;
      return &m->slots[at];
    }
  walk->at = at;
  return NULL;
}

void join_map_meet(const struct join_map *m, const struct join_pair *pair) {
  _Atomic uint8_t *met = &m->met[pair - m->slots];
  if (!atomic_load_explicit(met, memory_order_relaxed))
    atomic_store_explicit(met, 1, memory_order_relaxed);
}

void join_map_each_unmet(const struct join_map *m, void (*fn)(void *arg, const struct join_pair *pair),
                         void *arg) {
  for (size_t i = 0; i < m->slot_count; i++)
    if (m->slots[i].times && !m->met[i])
      fn(arg, &m->slots[i]);
}

/* True when no earlier slot of the probe chain has the same key. */
static bool is_first_of_key(const struct join_map *m, size_t slot) {
  size_t mask = m->slot_count - 1;
  for (size_t at = id_hash(m->slots[slot].key) & mask; at != slot; at = (at + 1) & mask)
    if (m->slots[at].key == m->slots[slot].key)
      return false;
  return true;
}

struct join_counts join_map_count(const struct join_map *m) {
  struct join_counts c = {0};
  for (size_t i = 0; i < m->slot_count; i++) {
    if (m->slots[i].times == 0)
      continue;
    c.pairs++;
    c.keys += is_first_of_key(m, i);
  }
  return c;
}
