/* SPDX-License-Identifier: MIT */
#include "pipeline/aggregate.h"

#include "pipeline/id.h"

enum { SLOTS_FIRST = 64 };

static struct group **find_slot(struct group **slots, size_t slot_count, day_t day, uint32_t category) {
  size_t mask = slot_count - 1;
  size_t at = id_hash((uint64_t)(uint32_t)day << 32 | category) & mask;
  while (slots[at] && (slots[at]->day != day || slots[at]->category != category))
    at = (at + 1) & mask;
  return &slots[at];
}

static bool grow(struct aggregate *a, struct budget *budget) {
  size_t count = a->slot_count ? a->slot_count * 2 : SLOTS_FIRST;
  struct group **slots = budget_calloc(budget, count, sizeof(struct group *));
  if (!slots)
    return false;
  for (size_t i = 0; i < a->slot_count; i++)
    if (a->slots[i])
      *find_slot(slots, count, a->slots[i]->day, a->slots[i]->category) = a->slots[i];
  budget_free(budget, (void *)a->slots, a->slot_count * sizeof(struct group *));
  a->slots = slots;
  a->slot_count = count;
  return true;
}

struct group *aggregate_group(struct aggregate *a, struct budget *budget, day_t day, uint32_t category) {
  if (a->last && a->last->day == day && a->last->category == category)
    return a->last;
  if (2 * (a->count + 1) > a->slot_count && !grow(a, budget))
    return NULL;
  struct group **slot = find_slot(a->slots, a->slot_count, day, category);
  if (!*slot) {
    *slot = budget_calloc(budget, 1, sizeof **slot);
    if (!*slot)
      return NULL;
    (*slot)->day = day;
    (*slot)->category = category;
    a->count++;
  }
  return a->last = *slot;
}

static void group_free(struct group *g, struct budget *budget) {
  idset_clear(&g->orders, budget);
  idset_clear(&g->returned_orders, budget);
  idset_clear(&g->users, budget);
  idset_clear(&g->items, budget);
  budget_free(budget, g, sizeof *g);
}

static bool group_absorb(struct group *to, struct group *from, struct budget *budget) {
  decimal_add(&to->revenue, &from->revenue);
  to->item_rows += from->item_rows;
  to->returned_rows += from->returned_rows;
  to->order_id_rows += from->order_id_rows;
  to->item_id_rows += from->item_id_rows;
  return idset_absorb(&to->orders, &from->orders, budget) &&
         idset_absorb(&to->returned_orders, &from->returned_orders, budget) &&
         idset_absorb(&to->users, &from->users, budget) && idset_absorb(&to->items, &from->items, budget);
}

bool aggregate_merge(struct aggregate *to, struct aggregate *from, struct budget *budget) {
  for (size_t i = 0; i < from->slot_count; i++) {
    struct group *g = from->slots[i];
    if (!g)
      continue;
    struct group *home = aggregate_group(to, budget, g->day, g->category);
    if (!home || !group_absorb(home, g, budget))
      return false;
    from->slots[i] = NULL;
    group_free(g, budget);
  }
  aggregate_clear(from, budget);
  return true;
}

struct group_counts group_seal(struct group *g) {
  return (struct group_counts){.orders = idset_seal(&g->orders),
                               .returned_orders = idset_seal(&g->returned_orders),
                               .users = idset_seal(&g->users),
                               .items = idset_seal(&g->items)};
}

void aggregate_clear(struct aggregate *a, struct budget *budget) {
  for (size_t i = 0; i < a->slot_count; i++)
    if (a->slots[i])
      group_free(a->slots[i], budget);
  budget_free(budget, (void *)a->slots, a->slot_count * sizeof(struct group *));
  *a = (struct aggregate){0};
}
