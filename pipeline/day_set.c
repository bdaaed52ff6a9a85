/* SPDX-License-Identifier: MIT */
#include "pipeline/day_set.h"

#include <string.h>

struct day_set day_set_range(day_t from, day_t to) {
  return (struct day_set){.from = from, .to = to};
}

/* Bytes of the bits of a range. */
static size_t bits_size(day_t from, day_t to) {
  return (size_t)(to - from) / 8 + 1;
}

bool day_set_of(const day_t *days, size_t count, struct day_set *out) {
  *out = (struct day_set){.from = days[0], .to = days[0]};
  for (size_t i = 1; i < count; i++) {
    out->from = days[i] < out->from ? days[i] : out->from;
    out->to = days[i] > out->to ? days[i] : out->to;
  }
  out->bits = calloc(bits_size(out->from, out->to), 1);
  for (size_t i = 0; out->bits && i < count; i++) {
    uint32_t at = (uint32_t)(days[i] - out->from);
    out->bits[at / 8] |= (uint8_t)(1u << at % 8);
  }
  return out->bits != NULL;
}

bool day_set_copy(const struct day_set *s, struct day_set *out) {
  *out = *s;
  if (!s->bits)
    return true;
  const size_t size = bits_size(s->from, s->to);
  out->bits = malloc(size);
  if (out->bits)
    memcpy(out->bits, s->bits, size);
  else
    day_set_clear(out);
  return out->bits;
}

bool day_set_has_all(const struct day_set *s, const struct day_set *others) {
  for (day_t day = others->from; day <= others->to; day++)
    if (day_set_has(others, day) && !day_set_has(s, day))
      return false;
  return true;
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
