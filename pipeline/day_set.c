/* SPDX-License-Identifier: MIT */
#include "pipeline/day_set.h"

struct day_set day_set_range(day_t from, day_t to) {
  return (struct day_set){.from = from, .to = to};
}

bool day_set_of(const day_t *days, size_t count, struct day_set *out) {
  *out = (struct day_set){.from = days[0], .to = days[0]};
  for (size_t i = 1; i < count; i++) {
    out->from = days[i] < out->from ? days[i] : out->from;
    out->to = days[i] > out->to ? days[i] : out->to;
  }
  out->bits = calloc((size_t)(out->to - out->from) / 8 + 1, 1);
  for (size_t i = 0; out->bits && i < count; i++) {
    uint32_t at = (uint32_t)(days[i] - out->from);
    out->bits[at / 8] |= (uint8_t)(1u << at % 8);
  }
  return out->bits != NULL;
}

bool day_set_meets(const struct day_set *s, day_t from, day_t to) {
  from = from > s->from ? from : s->from;
  to = to < s->to ? to : s->to;
  for (day_t day = from; day <= to; day++)
    if (day_set_has(s, day))
      return true;
  return false;
}

bool day_set_is_all(const struct day_set *s) {
  return s->from == DAY_MIN && s->to == DAY_MAX && !s->bits;
}

size_t day_set_count(const struct day_set *s) {
  size_t count = 0;
  for (day_t day = s->from; day <= s->to; day++)
    count += day_set_has(s, day);
  return count;
}

void day_set_clear(struct day_set *s) {
  free(s->bits);
  *s = (struct day_set){.from = 1};
}
