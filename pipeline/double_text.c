/* SPDX-License-Identifier: MIT */
#include "pipeline/double_text.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- doubles from 10^-4 to 10^15, which nearly all are: in integers alone, all of them exact ---- */

#define COMMON_MIN 1e-4
#define COMMON_MAX 1e15

enum { FRACTION_BITS = DBL_MANT_DIG - 1, EXPONENT_OF_UNITS = 1023 + FRACTION_BITS, QUARTER_BITS = 2 };

#define DIGITS_MIN UINT64_C(10000000000000000) /* the least number of 17 digits, which always suffice */

__extension__ typedef unsigned __int128 u128;

/* What a double is: exact / 2^shift, a number of 17 digits before the point, of which so many are decimals
 * of the double. Numbers that are no farther from it than below / 2^(shift + 2) and above / 2^(shift + 2)
 * read back as it, ends included if its last bit is 0. Of 10^17 * 2^68 at most, so 128 bits are enough. */
struct scaled {
  u128 exact, below, above;
  int shift, decimals;
  bool ends_are_its_own;
};

static struct scaled scale(double d) {
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  const uint64_t hidden = UINT64_C(1) << FRACTION_BITS, mantissa = hidden | (bits & (hidden - 1));
  struct scaled s = {.shift = EXPONENT_OF_UNITS - (int)(bits >> FRACTION_BITS),
                     .ends_are_its_own = mantissa % 2 == 0};
  /* d < 2^exponent, so that this many decimals, which are found by log10(2) = 1233 / 4096 rounded down (by a
   * shift, also below zero), give one or two digits too few. */
  const int exponent = FRACTION_BITS + 1 - s.shift;
  u128 power = 1;
  for (s.decimals = 0; s.decimals < DBL_DIG - (exponent * 1233 >> 12); s.decimals++)
    power *= 10;
  while ((mantissa * power) >> s.shift < DIGITS_MIN) {
    power *= 10;
    s.decimals++;
  }
  s.exact = mantissa * power;
  s.above = power << 1;
  s.below =
      mantissa == hidden ? power : s.above; /* a power of two has its lower neighbour half as far away */
  return s;
}

static bool reads_back(const struct scaled *s, uint64_t number) {
  const u128 wanted = s->exact << QUARTER_BITS, got = (u128)number << (s->shift + QUARTER_BITS);
  const u128 distance = got > wanted ? got - wanted : wanted - got;
  const u128 limit = got > wanted ? s->above : s->below;
  return distance < limit || (distance == limit && s->ends_are_its_own);
}

/* Rounds to a multiple of `step`, ties to even. */
static uint64_t round_to(const struct scaled *s, uint64_t step) {
  const uint64_t whole = (uint64_t)(s->exact >> s->shift), low = whole - whole % step;
  const u128 rest = s->exact - ((u128)low << s->shift), half = (u128)step << (s->shift - 1);
  const bool is_up = rest > half || (rest == half && low / step % 2 != 0);
  return is_up ? low + step : low;
}

/* Finds the number of the fewest digits that reads back, at the cost of zeros at its end. The nearest of few
 * digits may lie too low, where the next one above it does not: see `below`. */
static uint64_t fewest_digits(const struct scaled *s) {
  for (uint64_t step = 100; step > 1; step /= 10) {
    const uint64_t nearest = round_to(s, step);
    if (reads_back(s, nearest))
      return nearest;
    if (reads_back(s, nearest + step))
      return nearest + step;
  }
  return round_to(s, 1);
}

static size_t common_text(double d, char out[DOUBLE_TEXT_SIZE]) {
  const struct scaled s = scale(fabs(d));
  uint64_t number = fewest_digits(&s);
  char reversed[DOUBLE_TEXT_SIZE];
  int decimals = s.decimals, count = 0;
  while (decimals > 0 && number % 10 == 0) {
    number /= 10;
    decimals--;
  }
  for (int i = 0; number > 0 || i <= decimals; i++) {
    if (i == decimals && decimals > 0)
      reversed[count++] = '.';
    reversed[count++] = (char)('0' + number % 10);
    number /= 10;
  }
  if (d < 0)
    reversed[count++] = '-';
  for (int i = 0; i < count; i++)
    out[i] = reversed[count - 1 - i];
  out[count] = '\0';
  return (size_t)count;
}

/* ---- all others ---- */

/* Tries the same number of digits with the last one raised: around a power of two the interval of texts that
 * read back as d is lopsided, and only the farther, upper one may lie in it. Rewrites `text` when it fits. */
static bool raise_last_digit(double d, int precision, char text[DOUBLE_TEXT_SIZE]) {
  uint64_t digits = 0;
  const char *c = text + (text[0] == '-');
  for (; *c != 'e'; c++)
    if (*c != '.')
      digits = digits * 10 + (uint64_t)(*c - '0');
  char raised[DOUBLE_TEXT_SIZE];
  int len = snprintf(raised, sizeof raised, "%" PRIu64, digits + 1);
  int exponent = atoi(c + 1) - precision + len - 1;
  char candidate[2 * DOUBLE_TEXT_SIZE];
  snprintf(candidate, sizeof candidate, "%s%c.%se%+03d", d < 0 ? "-" : "", raised[0], raised + 1, exponent);
  if (strtod(candidate, NULL) != d)
    return false;
  snprintf(text, DOUBLE_TEXT_SIZE, "%.31s", candidate);
  return true;
}

/* Writes d with the fewest significant digits that read back as d, but for zeros at their end; 17 always
 * suffice. A text of up to DBL_DIG digits is what d gives with that many, unless d is subnormal. */
static void shortest_scientific(double d, char out[DOUBLE_TEXT_SIZE]) {
  for (int digits = fabs(d) < DBL_MIN ? 1 : DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
    snprintf(out, DOUBLE_TEXT_SIZE, "%.*e", digits - 1, d);
    if (digits == DBL_DECIMAL_DIG || strtod(out, NULL) == d ||
        (digits > 1 && raise_last_digit(d, digits - 1, out)))
      return;
  }
}

size_t double_text(double d, char out[DOUBLE_TEXT_SIZE]) {
  enum { FIXED_MIN_EXPONENT = -4, FIXED_MAX_EXPONENT = 16 }; /* as Python's repr chooses */
  if (d == 0) {
    memcpy(out, "0", sizeof "0");
    return 1;
  }
  if (fabs(d) >= COMMON_MIN && fabs(d) < COMMON_MAX)
    return common_text(d, out);
  char text[DOUBLE_TEXT_SIZE];
  shortest_scientific(d, text);
  char *e = strchr(text, 'e');
  int exponent = atoi(e + 1);
  char *last = e - 1;
  while (*last == '0' && last > text && memchr(text, '.', (size_t)(last - text)))
    last--;
  last -= *last == '.';
  int digits = (int)(last - text) + 1 - (text[0] == '-') - (memchr(text, '.', (size_t)(last - text)) != NULL);
  if (exponent >= FIXED_MIN_EXPONENT && exponent < FIXED_MAX_EXPONENT) {
    int decimals = digits - 1 - exponent;
    return (size_t)snprintf(out, DOUBLE_TEXT_SIZE, "%.*f", decimals > 0 ? decimals : 0, d);
  }
  return (size_t)snprintf(out, DOUBLE_TEXT_SIZE, "%.*s%s", (int)(last + 1 - text), text, e);
}
