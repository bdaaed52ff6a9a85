/* SPDX-License-Identifier: MIT */
#include "pipeline/idset.h"

#include <string.h>

enum {
  CODES_FIRST = 4,
  SEALED_MIN = 1 << 13, /* fewer codes are not worth being sorted to save their memory */
  INSERTION_SORT_MAX = 32,
  BYTE_VALUES = 256,
  CODE_BYTES = 8,
  WORD_BITS = 64,
  SCRATCH_BITS_MAX = 1 << 26 /* 8 MiB */
};

static void insertion_sort(uint64_t *a, size_t n) {
  for (size_t i = 1; i < n; i++) {
    uint64_t v = a[i];
    size_t j = i;
    for (; j > 0 && a[j - 1] > v; j--)
      a[j] = a[j - 1];
    a[j] = v;
  }
}

/* In-place most-significant-byte-first radix sort ("American flag sort"): no second array, so that sorting
 * never doubles the memory of a set. */
static void radix_sort(uint64_t *a, size_t n, int byte) {
  if (n <= INSERTION_SORT_MAX) {
    insertion_sort(a, n);
    return;
  }
  size_t next[BYTE_VALUES] = {0}, end[BYTE_VALUES];
  int shift = byte * 8;
  for (size_t i = 0; i < n; i++)
    next[a[i] >> shift & 0xff]++;
  size_t at = 0;
  for (int v = 0; v < BYTE_VALUES; v++) {
    size_t count = next[v];
    next[v] = at;
    at += count;
    end[v] = at;
  }
  for (int v = 0; v < BYTE_VALUES; v++)
    while (next[v] < end[v]) {
      size_t home = a[next[v]] >> shift & 0xff;
      if (home == (size_t)v) {
        next[v]++;
        continue;
      }
      uint64_t moved = a[next[home]];
      a[next[home]++] = a[next[v]];
      a[next[v]] = moved;
    }
  for (int v = 0; byte > 0 && v < BYTE_VALUES; v++) {
    size_t start = v ? end[v - 1] : 0;
    if (end[v] - start > 1)
      radix_sort(a + start, end[v] - start, byte - 1);
  }
}

/* Returns the highest byte in which the codes differ from 0. */
static int highest_byte(const uint64_t *a, size_t n) {
  uint64_t all = 0;
  for (size_t i = 0; i < n; i++)
    all |= a[i];
  int byte = CODE_BYTES - 1;
  while (byte > 0 && all >> (byte * 8) == 0)
    byte--;
  return byte;
}

size_t idset_seal(struct idset *s) {
  if (s->sorted == s->count)
    return s->count;
  radix_sort(s->codes, s->count, highest_byte(s->codes, s->count));
  size_t kept = 1;
  for (size_t i = 1; i < s->count; i++)
    if (s->codes[i] != s->codes[kept - 1])
      s->codes[kept++] = s->codes[i];
  s->count = s->sorted = kept;
  return kept;
}

static bool reserve(struct idset *s, struct budget *budget, size_t cap) {
  if (cap <= s->cap)
    return true;
  uint64_t *codes = budget_realloc(budget, s->codes, s->cap * sizeof *codes, cap * sizeof *codes);
  if (!codes)
    return false;
  s->codes = codes;
  s->cap = cap;
  return true;
}

bool idset_add(struct idset *s, struct budget *budget, uint64_t code) {
  if (s->count && s->codes[s->count - 1] == code)
    return true;
  if (s->count == s->cap) {
    /* Repeats are dropped before memory is asked for; growing only when more than half was new keeps the cost
     * of sealing proportional to the codes added. */
    if (s->cap < SEALED_MIN || idset_seal(s) > s->cap / 2) {
      if (!reserve(s, budget, s->cap ? s->cap * 2 : CODES_FIRST))
        return false;
    }
  }
  if (s->sorted == s->count && (s->count == 0 || s->codes[s->count - 1] < code))
    s->sorted++;
  s->codes[s->count++] = code;
  return true;
}

bool idset_has(const struct idset *s, uint64_t code) {
  size_t low = 0, high = s->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (s->codes[middle] < code)
      low = middle + 1;
    else
      high = middle;
  }
  return low < s->count && s->codes[low] == code;
}

bool idset_absorb(struct idset *to, struct idset *from, struct budget *budget) {
  if (to->count == 0) {
    struct idset empty = *to;
    *to = *from;
    *from = empty;
  } else if (from->count) {
    idset_seal(to);
    idset_seal(from);
    if (!reserve(to, budget, to->count + from->count))
      return false;
    memcpy(to->codes + to->count, from->codes, from->count * sizeof *from->codes);
    to->count += from->count;
    idset_seal(to);
  }
  idset_clear(from, budget);
  return true;
}

/* ---- counting ---- */

void idset_scratch_clear(struct idset_scratch *s, struct budget *budget) {
  budget_free(budget, s->bits, s->words * sizeof *s->bits);
  *s = (struct idset_scratch){0};
}

/* Makes room for a bit each of so many codes. False when they are too many. */
static bool has_room(struct idset_scratch *s, struct budget *budget, uint64_t codes) {
  if (codes > SCRATCH_BITS_MAX)
    return false;
  const size_t words = codes / WORD_BITS + 1;
  if (words <= s->words)
    return true;
  idset_scratch_clear(s, budget);
  s->bits = budget_calloc(budget, words, sizeof *s->bits);
  s->words = s->bits ? words : 0;
  return s->bits != NULL;
}

struct extent {
  uint64_t least, greatest;
  size_t count;
};

static struct extent extent_of(struct idset *const *sets, size_t set_count) {
  struct extent e = {.least = UINT64_MAX};
  for (size_t i = 0; i < set_count; i++) {
    e.count += sets[i]->count;
    for (size_t c = 0; c < sets[i]->count; c++) {
      const uint64_t code = sets[i]->codes[c];
      e.least = code < e.least ? code : e.least;
      e.greatest = code > e.greatest ? code : e.greatest;
    }
  }
  return e;
}

/* Sets the bit of each code that has none yet, then clears all of them. Returns how many there were. */
static uint64_t count_bits(struct idset *const *sets, size_t set_count, uint64_t least, uint64_t *bits) {
  uint64_t count = 0;
  for (size_t i = 0; i < set_count; i++)
    for (size_t c = 0; c < sets[i]->count; c++) {
      const uint64_t at = sets[i]->codes[c] - least;
      count += ~bits[at / WORD_BITS] >> at % WORD_BITS & 1;
      bits[at / WORD_BITS] |= (uint64_t)1 << at % WORD_BITS;
    }
  for (size_t i = 0; i < set_count; i++)
    for (size_t c = 0; c < sets[i]->count; c++)
      bits[(sets[i]->codes[c] - least) / WORD_BITS] = 0;
  return count;
}

/* Codes that are close to each other, as numbers given in turn are, are counted by bits, which takes a
 * fraction of the time of sorting them. */
bool idset_count_together(struct idset *const *sets, size_t set_count, struct idset_scratch *scratch,
                          struct budget *budget, uint64_t *out) {
  const struct extent e = extent_of(sets, set_count);
  bool ok = true;
  *out = 0;
  if (e.count > INSERTION_SORT_MAX && has_room(scratch, budget, e.greatest - e.least + 1)) {
    *out = count_bits(sets, set_count, e.least, scratch->bits);
  } else if (e.count) {
    for (size_t i = 1; ok && i < set_count; i++)
      ok = idset_absorb(sets[0], sets[i], budget);
    *out = idset_seal(sets[0]);
  }
  for (size_t i = 0; i < set_count; i++)
    idset_clear(sets[i], budget);
  return ok;
}

void idset_clear(struct idset *s, struct budget *budget) {
  budget_free(budget, s->codes, s->cap * sizeof *s->codes);
  *s = (struct idset){0};
}
