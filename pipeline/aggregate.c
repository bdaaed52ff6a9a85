/* SPDX-License-Identifier: MIT */
#include "pipeline/aggregate.h"

#include "pipeline/id.h"

enum { SLOTS_FIRST = 64 };

static uint64_t key_of(day_t day, uint32_t category) {
  return (uint64_t)(uint32_t)day << 32 | category;
}

static struct group_slot *find_slot(struct group_slot *slots, size_t slot_count, uint64_t key) {
  size_t mask = slot_count - 1;
  size_t at = id_hash(key) & mask;
  while (slots[at].group && slots[at].key != key)
    at = (at + 1) & mask;
  return &slots[at];
}

static bool grow(struct aggregate *a, struct budget *budget) {
  size_t count = a->slot_count ? a->slot_count * 2 : SLOTS_FIRST;
  struct group_slot *slots = budget_calloc(budget, count, sizeof *slots);
  if (!slots)
    return false;
  for (size_t i = 0; i < a->slot_count; i++)
    if (a->slots[i].group)
      *find_slot(slots, count, a->slots[i].key) = a->slots[i];
  budget_free(budget, a->slots, a->slot_count * sizeof *a->slots);
  a->slots = slots;
  a->slot_count = count;
  return true;
}

struct group *aggregate_group(struct aggregate *a, struct budget *budget, day_t day, uint32_t category) {
  const uint64_t key = key_of(day, category);
  if (2 * (a->count + 1) > a->slot_count && !grow(a, budget))
    return NULL;
  struct group_slot *slot = find_slot(a->slots, a->slot_count, key);
  if (!slot->group) {
    slot->group = budget_calloc(budget, 1, sizeof *slot->group);
    if (!slot->group)
      return NULL;
    slot->key = key;
    slot->group->day = day;
    slot->group->category = category;
    a->count++;
  }
  return slot->group;
}

static void group_free(struct group *g, struct budget *budget) {
  idset_clear(&g->orders, budget);
  idset_clear(&g->returned_orders, budget);
  idset_clear(&g->users, budget);
  idset_clear(&g->items, budget);
  budget_free(budget, g, sizeof *g);
}

/* The groups of a day and category, one a part at most. */
struct merge {
  struct group **groups; /* borrowed; NULL where a part has none; [0] takes the others */
  size_t count;
  struct budget *budget;
  bool ok;
};

static bool group_absorb(struct group *to, struct group *from, struct budget *budget) {
  decimal_add(&to->revenue, &from->revenue);
  to->item_rows += from->item_rows;
  to->returned_rows += from->returned_rows;
  to->order_id_rows += from->order_id_rows;
  to->item_id_rows += from->item_id_rows;
  to->marked_orders += from->marked_orders;
  return idset_absorb(&to->orders, &from->orders, budget) &&
         idset_absorb(&to->returned_orders, &from->returned_orders, budget) &&
         idset_absorb(&to->users, &from->users, budget) && idset_absorb(&to->items, &from->items, budget);
}

static uint64_t count_ids(struct idset *ids, struct budget *budget) {
  uint64_t count = idset_seal(ids);
  idset_clear(ids, budget);
  return count;
}

static void merge_groups(void *arg) {
  struct merge *m = arg;
  struct group *all = m->groups[0];
  m->ok = true;
  for (size_t i = 1; i < m->count; i++) {
    if (m->ok && m->groups[i])
      m->ok = group_absorb(all, m->groups[i], m->budget);
    if (m->groups[i])
      group_free(m->groups[i], m->budget);
  }
  all->counts = (struct group_counts){.orders = count_ids(&all->orders, m->budget) + all->marked_orders,
                                      .returned_orders = count_ids(&all->returned_orders, m->budget),
                                      .users = count_ids(&all->users, m->budget),
                                      .items = count_ids(&all->items, m->budget)};
}

/* Gives the first part a group for each that any part has. */
static bool complete_first(struct aggregate *const *parts, size_t count, struct budget *budget) {
  for (size_t p = 1; p < count; p++)
    for (size_t i = 0; i < parts[p]->slot_count; i++) {
      const struct group *g = parts[p]->slots[i].group;
      if (g && !aggregate_group(parts[0], budget, g->day, g->category))
        return false;
    }
  return true;
}

/* Finds a group of a part; NULL when it has none. */
static struct group *find_like(struct aggregate *a, const struct group *like) {
  return a->slot_count ? find_slot(a->slots, a->slot_count, key_of(like->day, like->category))->group : NULL;
}

bool aggregate_merge(struct aggregate *const *parts, size_t count, struct pool *pool, struct pool_load *load,
                     struct budget *budget) {
  if (!complete_first(parts, count, budget))
    return false;
  const struct aggregate *first = parts[0];
  struct merge *merges = budget_calloc(budget, first->count + 1, sizeof *merges);
  struct group **groups = budget_calloc(budget, first->count * count + 1, sizeof(struct group *));
  bool ok = merges && groups;
  size_t done = 0;
  for (size_t i = 0; ok && i < first->slot_count; i++) {
    if (!first->slots[i].group)
      continue;
    struct group **of = &groups[done * count];
    of[0] = first->slots[i].group;
    for (size_t p = 1; p < count; p++)
      of[p] = find_like(parts[p], of[0]);
    merges[done++] = (struct merge){of, count, budget, false};
  }
  for (size_t p = 1; ok && p < count; p++) { /* the merges have their groups */
    budget_free(budget, parts[p]->slots, parts[p]->slot_count * sizeof *parts[p]->slots);
    *parts[p] = (struct aggregate){0};
  }
  if (ok)
    pool_map(pool, load, merge_groups, merges, sizeof *merges, done);
  for (size_t i = 0; i < done; i++)
    ok &= merges[i].ok;
  budget_free(budget, merges, (first->count + 1) * sizeof *merges);
  budget_free(budget, (void *)groups, (first->count * count + 1) * sizeof(struct group *));
  return ok;
}

void aggregate_clear(struct aggregate *a, struct budget *budget) {
  for (size_t i = 0; i < a->slot_count; i++)
    if (a->slots[i].group)
      group_free(a->slots[i].group, budget);
  budget_free(budget, a->slots, a->slot_count * sizeof *a->slots);
  *a = (struct aggregate){0};
}
