/* SPDX-License-Identifier: MIT
 * The days that a job computes: every day of a range, or some of it. */
#ifndef KPID_PIPELINE_DAY_SET_H
#define KPID_PIPELINE_DAY_SET_H

#include "pipeline/day.h"

#include <stdlib.h>

struct day_set {
  day_t from, to; /* inclusive */
  uint8_t *bits;  /* owned; one for each day of the range; NULL: all of them */
};

/* Every day of a range; owns nothing. */
struct day_set day_set_range(day_t from, day_t to);

/* The days that are listed, in any order, at least one. False when memory is exhausted. */
bool day_set_of(const day_t *days, size_t count, struct day_set *out);

static inline bool day_set_has(const struct day_set *s, day_t day) {
  if (day < s->from || day > s->to)
    return false;
  uint32_t at = (uint32_t)(day - s->from);
  return !s->bits || (s->bits[at / 8] >> at % 8 & 1);
}

/* Copies a set. False when memory is exhausted: then *out is empty. */
bool day_set_copy(const struct day_set *s, struct day_set *out);

/* True when it has every day of another set. */
bool day_set_has_all(const struct day_set *s, const struct day_set *others);

/* True when it has one of the days of a range. */
bool day_set_meets(const struct day_set *s, day_t from, day_t to);

/* True when every day of the calendar is in it. */
bool day_set_is_all(const struct day_set *s);

/* How many days are in it. */
size_t day_set_count(const struct day_set *s);

/* Frees and leaves none. */
void day_set_clear(struct day_set *s);

#endif
