/* SPDX-License-Identifier: MIT
 * Exact decimals for money: a 512-bit two's complement count of 10^-18 units. That holds every price below
 * 10^126 (DynamoDB's own limit) and the sum of 2^32 of them without rounding. Knows no KPI. */
#ifndef KPID_PIPELINE_DECIMAL_H
#define KPID_PIPELINE_DECIMAL_H

#include "base/buf.h"
#include "base/view.h"
#include "pipeline/swar.h"

#include <stdint.h>

enum { DECIMAL_LIMBS = 8, DECIMAL_SCALE = 18, DECIMAL_TEXT_SIZE = 176 };

/* Zero-initialised is 0. limb[0] is the least significant. */
struct decimal {
  uint64_t limb[DECIMAL_LIMBS];
};

enum decimal_parse {
  DECIMAL_OK,
  DECIMAL_ROUNDED,      /* more than 18 decimals: rounded half to even */
  DECIMAL_NOT_A_NUMBER, /* any other text */
  DECIMAL_NOT_FINITE,   /* NaN or an infinity in a spelling that Java's parser takes */
  DECIMAL_TOO_LARGE     /* magnitude of 10^126 or more */
};

/* Parses a price: optional blanks and sign, digits with an optional point (".5", "5."), optional exponent.
 * Writes *out for DECIMAL_OK and DECIMAL_ROUNDED only. */
enum decimal_parse decimal_parse(struct view text, struct decimal *out);

/* Units of a decimal that is neither negative nor great: what nearly all prices are, and their sums. */
__extension__ typedef unsigned __int128 decimal_small;

struct decimal decimal_of_small(decimal_small units);

/* Parses digits with an optional point, up to 8 characters, of which 8 can be read. False for any other text.
 */
static inline bool decimal_read_small(struct view text, decimal_small *out) {
  static const uint64_t scales[] = {1000000000000000000u, 100000000000000000u, 10000000000000000u,
                                    1000000000000000u,    100000000000000u,    10000000000000u,
                                    1000000000000u,       100000000000u};
  if (text.len - 1 >= 8)
    return false;
  uint64_t word = swar_load(text.ptr), value;
  const uint64_t points = swar_equal(word, '.') & swar_mask(text.len);
  const size_t point = points ? (size_t)__builtin_ctzll(points) / 8 : text.len;
  const size_t digits = text.len - (points != 0);
  const uint64_t before = swar_mask(point);
  word = (word & before) | (word >> 8 & ~before); /* without the point */
  if (digits == 0 || !swar_eight_digits(swar_first(word, digits), &value))
    return false;
  *out = (decimal_small)value * scales[digits - point];
  return true;
}

/* sum += add. */
void decimal_add(struct decimal *sum, const struct decimal *add);

/* sum += add * times. */
void decimal_add_times(struct decimal *sum, const struct decimal *add, uint64_t times);

/* sum -= sub. */
void decimal_sub(struct decimal *sum, const struct decimal *sub);

/* Returns <0, 0, >0. */
int decimal_cmp(const struct decimal *a, const struct decimal *b);

/* True for less than 0. */
bool decimal_is_negative(const struct decimal *d);

/* True for 0. */
bool decimal_is_zero(const struct decimal *d);

/* Writes the exact value without exponent or trailing zeros: "21.5", "-0.25", "0". Returns the length. */
size_t decimal_text(const struct decimal *d, char out[DECIMAL_TEXT_SIZE]);

/* Returns the double nearest to d / divisor, ties to even; 0 when divisor is 0. */
double decimal_ratio(const struct decimal *d, uint64_t divisor);

/* Returns the double nearest to a / b; 0 when b is 0. Exact for any 64-bit counts. */
double count_ratio(uint64_t a, uint64_t b);

#endif
