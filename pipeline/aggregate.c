/* SPDX-License-Identifier: MIT */
#include "pipeline/aggregate.h"

#include "pipeline/id.h"

#include <stddef.h>
#include <stdlib.h>

enum { SLOTS_FIRST = 64, TASKS_A_WORKER = 8 };

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
  if (slot->group)
    return slot->group;
  struct group *g = arena_calloc(&a->arena, budget, sizeof *g);
  if (!g)
    return NULL;
  g->day = day;
  g->category = category;
  *slot = (struct group_slot){key, g};
  *(a->last ? &a->last->next : &a->first) = g;
  a->last = g;
  a->count++;
  return g;
}

/* Merges that one worker makes one after the other: of so many groups each, one of each part; NULL where a
 * part has none. The first of each takes the others. */
struct merge_task {
  struct group **groups; /* borrowed */
  size_t merge_count, part_count;
  struct budget *budget;
  struct idset **sets; /* owned while it runs; room for one of each part */
  struct idset_scratch scratch;
  bool ok;
};

static void add_sums(struct group *to, const struct group *from) {
  decimal_add(&to->revenue, &from->revenue);
  to->item_rows += from->item_rows;
  to->returned_rows += from->returned_rows;
  to->order_id_rows += from->order_id_rows;
  to->item_id_rows += from->item_id_rows;
  to->marked.orders += from->marked.orders;
  to->marked.returned_orders += from->marked.returned_orders;
}

/* Counts what the sets that stand at `offset` in each group hold together. */
static uint64_t count_sets(struct merge_task *t, struct group *const *groups, size_t offset) {
  size_t count = 0;
  uint64_t ids = 0;
  for (size_t p = 0; p < t->part_count; p++)
    if (groups[p])
      t->sets[count++] = (struct idset *)((char *)groups[p] + offset);
  t->ok &= idset_count_together(t->sets, count, &t->scratch, t->budget, &ids);
  return ids;
}

static void merge(struct merge_task *t, struct group **groups) {
  struct group *all = groups[0];
  all->counts =
      (struct group_counts){.orders = count_sets(t, groups, offsetof(struct group, orders)),
                            .returned_orders = count_sets(t, groups, offsetof(struct group, returned_orders)),
                            .users = count_sets(t, groups, offsetof(struct group, users)),
                            .items = count_sets(t, groups, offsetof(struct group, items))};
  for (size_t p = 1; p < t->part_count; p++)
    if (groups[p])
      add_sums(all, groups[p]);
  all->counts.orders += all->marked.orders;
  all->counts.returned_orders += all->marked.returned_orders;
}

static void make_merges(void *arg) {
  struct merge_task *t = arg;
  t->sets = (struct idset **)calloc(t->part_count, sizeof *t->sets);
  t->ok = t->sets != NULL;
  for (size_t i = 0; t->ok && i < t->merge_count; i++)
    merge(t, t->groups + i * t->part_count);
  idset_scratch_clear(&t->scratch, t->budget);
  free((void *)t->sets);
}

/* Shares the merges out over the pool. False when memory is exhausted. */
static bool make_all_merges(struct group **groups, size_t merge_count, size_t part_count, struct pool *pool,
                            struct pool_load *load, struct budget *budget) {
  const size_t task_count = TASKS_A_WORKER * pool_threads(pool);
  struct merge_task *tasks = budget_calloc(budget, task_count, sizeof *tasks);
  bool ok = tasks != NULL;
  for (size_t i = 0; ok && i < task_count; i++) {
    const size_t from = merge_count * i / task_count, to = merge_count * (i + 1) / task_count;
    tasks[i] = (struct merge_task){.groups = groups + from * part_count,
                                   .merge_count = to - from,
                                   .part_count = part_count,
                                   .budget = budget};
  }
  if (ok)
    pool_map(pool, load, make_merges, tasks, sizeof *tasks, task_count);
  for (size_t i = 0; ok && i < task_count; i++)
    ok = tasks[i].ok;
  budget_free(budget, tasks, task_count * sizeof *tasks);
  return ok;
}

/* Gives the first part a group for each that any part has. */
static bool complete_first(struct aggregate *const *parts, size_t count, struct budget *budget) {
  for (size_t p = 1; p < count; p++)
    for (const struct group *g = parts[p]->first; g; g = g->next)
      if (!aggregate_group(parts[0], budget, g->day, g->category))
        return false;
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
  struct group **groups = budget_calloc(budget, first->count * count + 1, sizeof(struct group *));
  struct group **of = groups;
  for (struct group *g = first->first; groups && g; g = g->next, of += count) {
    of[0] = g;
    for (size_t p = 1; p < count; p++)
      of[p] = find_like(parts[p], g);
  }
  bool ok = groups && make_all_merges(groups, first->count, count, pool, load, budget);
  budget_free(budget, (void *)groups, (first->count * count + 1) * sizeof(struct group *));
  for (size_t p = 1; ok && p < count; p++)
    aggregate_clear(parts[p], budget);
  return ok;
}

void aggregate_clear(struct aggregate *a, struct budget *budget) {
  for (struct group *g = a->first; g; g = g->next) {
    idset_clear(&g->orders, budget);
    idset_clear(&g->returned_orders, budget);
    idset_clear(&g->users, budget);
    idset_clear(&g->items, budget);
  }
  arena_clear(&a->arena, budget);
  budget_free(budget, a->slots, a->slot_count * sizeof *a->slots);
  *a = (struct aggregate){0};
}
