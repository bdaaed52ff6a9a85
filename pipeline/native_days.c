/* SPDX-License-Identifier: MIT */
#include "pipeline/native_days.h"

#include "base/scope.h"

enum { CHUNK_BYTES = NATIVE_DAYS_CHUNK * sizeof(struct native_day *) };

struct native_day *native_days_at(struct native_days *d, struct budget *budget, day_t day) {
  uint32_t at = (uint32_t)(day - DAY_MIN);
  struct native_day ***chunk = &d->chunks[at / NATIVE_DAYS_CHUNK];
  if (!*chunk)
    *chunk = budget_calloc(budget, 1, CHUNK_BYTES);
  if (!*chunk)
    return NULL;
  struct native_day **home = &(*chunk)[at % NATIVE_DAYS_CHUNK];
  if (!*home) {
    *home = arena_calloc(&d->arena, budget, sizeof **home);
    d->count += *home != NULL;
  }
  return *home;
}

struct native_day *native_days_tallied(struct native_days *d, struct budget *budget, day_t day) {
  struct native_day *home = native_days_at(d, budget, day);
  if (home && !home->tally)
    home->tally = arena_calloc(&d->arena, budget, sizeof *home->tally);
  return home && home->tally ? home : NULL;
}

struct native_day *native_days_next(const struct native_days *d, day_t *day) {
  for (uint32_t at = (uint32_t)(*day - DAY_MIN); at <= (uint32_t)(DAY_MAX - DAY_MIN); at++) {
    struct native_day *const *chunk = d->chunks[at / NATIVE_DAYS_CHUNK];
    if (!chunk) {
      at |= NATIVE_DAYS_CHUNK - 1; /* on to the next one */
    } else if (chunk[at % NATIVE_DAYS_CHUNK]) {
      *day = DAY_MIN + (day_t)at;
      return chunk[at % NATIVE_DAYS_CHUNK];
    }
  }
  return NULL;
}

bool native_days_refuse(struct native_days *d, struct budget *budget, struct native_day *day,
                        const struct native_refusal *refusal) {
  struct native_refusal *kept = day->refusal;
  if (kept && (kept->dataset < refusal->dataset ||
               (kept->dataset == refusal->dataset && place_cmp(kept->place, refusal->place) <= 0)))
    return true;
  if (!kept)
    kept = day->refusal = arena_calloc(&d->arena, budget, sizeof *kept);
  if (kept)
    *kept = *refusal;
  return kept != NULL;
}

static bool absorb(struct native_days *d, day_t at, struct native_day *from, struct budget *budget) {
  struct native_day *to = from->tally ? native_days_tallied(d, budget, at) : native_days_at(d, budget, at);
  if (!to)
    return false;
  if (from->tally)
    quality_tally_merge(to->tally, from->tally);
  to->has_rows |= from->has_rows;
  return idset_absorb(&to->unjoinable_orders, &from->unjoinable_orders, budget) &&
         (!from->refusal || native_days_refuse(d, budget, to, from->refusal));
}

bool native_days_merge(struct native_days *to, struct native_days *from, struct budget *budget) {
  struct native_day *day;
  for (day_t at = DAY_MIN; (day = native_days_next(from, &at)) != NULL; at++)
    if (!absorb(to, at, day, budget))
      return false;
  native_days_clear(from, budget);
  return true;
}

void native_days_clear(struct native_days *d, struct budget *budget) {
  struct native_day *day;
  for (day_t at = DAY_MIN; (day = native_days_next(d, &at)) != NULL; at++) {
    if (day->tally)
      quality_tally_clear(day->tally);
    idset_clear(&day->unjoinable_orders, budget);
  }
  arena_clear(&d->arena, budget);
  for (size_t i = 0; i < NATIVE_DAYS_CHUNKS; i++)
    budget_free(budget, (void *)d->chunks[i], CHUNK_BYTES);
  *d = (struct native_days){0};
}
