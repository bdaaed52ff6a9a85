/* SPDX-License-Identifier: MIT */
#include "pipeline/decimal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define UNIT_PER_ONE UINT64_C(1000000000000000000) /* 10^18 */
#define UNIT_PER_PART (UNIT_PER_ONE / PARTS_PER_ONE)

enum {
  INT_DIGITS_MAX = 126,   /* digits before the point */
  CHUNK_DIGITS = 18,      /* decimal digits that are added to the limbs at once */
  EXPONENT_CAP = 1000000, /* exponents beyond are all the same: zero or too large */
  RATIO_SHIFT_LIMBS = 3,  /* see ratio(): gives every quotient more than 64 significant bits */
  RATIO_LIMBS = DECIMAL_LIMBS + RATIO_SHIFT_LIMBS,
  DOUBLE_BITS = 53,
  PARTS_PER_ONE = 10000
};

typedef decimal_small u128;

/* ---- limbs ---- */

static void mul_add(uint64_t *limb, int limbs, uint64_t factor, uint64_t addend) {
  u128 carry = addend;
  for (int i = 0; i < limbs; i++) {
    carry += (u128)limb[i] * factor;
    limb[i] = (uint64_t)carry;
    carry >>= 64;
  }
}

/* Divides in place and returns the remainder. */
static uint64_t div_small(uint64_t *limb, int limbs, uint64_t divisor) {
  u128 rest = 0;
  while (limbs > 0 && limb[limbs - 1] == 0)
    limbs--;
  for (int i = limbs - 1; i >= 0; i--) {
    rest = rest << 64 | limb[i];
    limb[i] = (uint64_t)(rest / divisor);
    rest %= divisor;
  }
  return (uint64_t)rest;
}

static void negate(struct decimal *d) {
  uint64_t carry = 1;
  for (int i = 0; i < DECIMAL_LIMBS; i++) {
    d->limb[i] = ~d->limb[i] + carry;
    carry = carry && d->limb[i] == 0;
  }
}

static struct decimal magnitude(const struct decimal *d) {
  struct decimal m = *d;
  if (decimal_is_negative(d))
    negate(&m);
  return m;
}

struct decimal decimal_of_small(decimal_small units) {
  return (struct decimal){{(uint64_t)units, (uint64_t)(units >> 64)}};
}

bool decimal_is_negative(const struct decimal *d) {
  return d->limb[DECIMAL_LIMBS - 1] >> 63;
}

bool decimal_is_zero(const struct decimal *d) {
  for (int i = 0; i < DECIMAL_LIMBS; i++)
    if (d->limb[i])
      return false;
  return true;
}

void decimal_add(struct decimal *sum, const struct decimal *add) {
  unsigned carry = 0;
  for (int i = 0; i < DECIMAL_LIMBS; i++) {
    u128 t = (u128)sum->limb[i] + add->limb[i] + carry;
    sum->limb[i] = (uint64_t)t;
    carry = (unsigned)(t >> 64);
  }
}

void decimal_sub(struct decimal *sum, const struct decimal *sub) {
  struct decimal n = *sub;
  negate(&n);
  decimal_add(sum, &n);
}

void decimal_add_times(struct decimal *sum, const struct decimal *add, uint64_t times) {
  struct decimal product = magnitude(add);
  if (times != 1)
    mul_add(product.limb, DECIMAL_LIMBS, times, 0);
  if (decimal_is_negative(add))
    negate(&product);
  decimal_add(sum, &product);
}

int decimal_cmp(const struct decimal *a, const struct decimal *b) {
  if (decimal_is_negative(a) != decimal_is_negative(b))
    return decimal_is_negative(a) ? -1 : 1;
  for (int i = DECIMAL_LIMBS - 1; i >= 0; i--)
    if (a->limb[i] != b->limb[i])
      return a->limb[i] < b->limb[i] ? -1 : 1;
  return 0;
}

/* ---- reading ---- */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_not_finite(struct view text) {
  static const char *const words[] = {"nan", "inf", "infinity"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (view_eq_fold(text, view_of(words[i])))
      return true;
  return false;
}

/* A number as text: digits with the point taken out of consideration. */
struct number_text {
  struct view mantissa; /* digits and at most one '.' */
  long exponent;        /* value = mantissa x 10^exponent */
};

/* Splits "12.5e-3"; false when the text is no such number. */
static bool split_number(struct view text, struct number_text *out) {
  size_t i = 0, digits = 0;
  bool point = false;
  for (; i < text.len && (is_digit(text.ptr[i]) || (text.ptr[i] == '.' && !point)); i++) {
    point |= text.ptr[i] == '.';
    digits += is_digit(text.ptr[i]);
  }
  *out = (struct number_text){{text.ptr, i}, 0};
  if (digits == 0)
    return false;
  if (i == text.len)
    return true;
  if (text.ptr[i] != 'e' && text.ptr[i] != 'E')
    return false;
  bool negative = ++i < text.len && text.ptr[i] == '-';
  i += i < text.len && (text.ptr[i] == '-' || text.ptr[i] == '+');
  if (i == text.len)
    return false;
  for (; i < text.len; i++) {
    if (!is_digit(text.ptr[i]))
      return false;
    if (out->exponent < EXPONENT_CAP)
      out->exponent = out->exponent * 10 + (text.ptr[i] - '0');
  }
  if (negative)
    out->exponent = -out->exponent;
  return true;
}

/* The common price: at most 18 digits on each side of the point and no exponent. */
static bool parse_plain(struct view m, struct decimal *out) {
  uint64_t whole = 0, part = 0;
  size_t i = 0, decimals = 0;
  for (; i < m.len && is_digit(m.ptr[i]); i++)
    whole = whole * 10 + (uint64_t)(m.ptr[i] - '0');
  if (i > CHUNK_DIGITS)
    return false;
  if (i < m.len)
    for (i++; i < m.len; i++, decimals++)
      part = part * 10 + (uint64_t)(m.ptr[i] - '0');
  if (decimals > DECIMAL_SCALE)
    return false;
  for (; decimals < DECIMAL_SCALE; decimals++)
    part *= 10;
  u128 units = (u128)whole * UNIT_PER_ONE + part;
  *out = (struct decimal){{(uint64_t)units, (uint64_t)(units >> 64)}};
  return true;
}

static long digits_before_point(struct view m) {
  const char *point = memchr(m.ptr, '.', m.len);
  return point ? point - m.ptr : (long)m.len;
}

/* Appends decimal digits to the limbs, 18 at a time. */
struct digit_sink {
  struct decimal *d;
  uint64_t chunk, scale;
};

static void sink_digit(struct digit_sink *s, unsigned digit) {
  s->chunk = s->chunk * 10 + digit;
  s->scale *= 10;
  if (s->scale == UNIT_PER_ONE) {
    mul_add(s->d->limb, DECIMAL_LIMBS, s->scale, s->chunk);
    *s = (struct digit_sink){s->d, 0, 1};
  }
}

static void sink_flush(struct digit_sink *s) {
  mul_add(s->d->limb, DECIMAL_LIMBS, s->scale, s->chunk);
}

/* Any number: takes the digits down to 10^-18 and rounds half to even on the rest. */
static enum decimal_parse parse_general(const struct number_text *t, struct decimal *out) {
  struct view m = t->mantissa;
  long weight = digits_before_point(m) + t->exponent; /* the next digit counts 10^(weight-1) */
  bool started = false, sticky = false;
  unsigned first_lost = 0, last_kept = 0;
  *out = (struct decimal){{0}};
  struct digit_sink sink = {out, 0, 1};
  for (size_t i = 0; i < m.len; i++) {
    if (m.ptr[i] == '.')
      continue;
    unsigned digit = (unsigned)(m.ptr[i] - '0');
    started |= digit != 0;
    if (started && weight > INT_DIGITS_MAX)
      return DECIMAL_TOO_LARGE;
    if (started && weight > -DECIMAL_SCALE)
      sink_digit(&sink, last_kept = digit);
    else if (weight == -DECIMAL_SCALE)
      first_lost = digit;
    else if (weight < -DECIMAL_SCALE)
      sticky |= digit != 0;
    weight--;
  }
  for (; started && weight > -DECIMAL_SCALE; weight--)
    sink_digit(&sink, last_kept = 0);
  sink_flush(&sink);
  if (first_lost > 5 || (first_lost == 5 && (sticky || last_kept % 2))) {
    char text[DECIMAL_TEXT_SIZE];
    mul_add(out->limb, DECIMAL_LIMBS, 1, 1);
    decimal_text(out, text);
    if (strcspn(text, ".") > INT_DIGITS_MAX) /* it was only nines */
      return DECIMAL_TOO_LARGE;
  }
  return first_lost || sticky ? DECIMAL_ROUNDED : DECIMAL_OK;
}

enum decimal_parse decimal_parse(struct view text, struct decimal *out) {
  text = view_trim(text);
  bool negative = text.len && text.ptr[0] == '-';
  if (text.len && (text.ptr[0] == '-' || text.ptr[0] == '+'))
    text = (struct view){text.ptr + 1, text.len - 1};
  struct number_text number;
  if (!split_number(text, &number))
    return is_not_finite(text) ? DECIMAL_NOT_FINITE : DECIMAL_NOT_A_NUMBER;
  enum decimal_parse result = DECIMAL_OK;
  struct decimal value;
  if (number.exponent != 0 || !parse_plain(number.mantissa, &value))
    result = parse_general(&number, &value);
  if (result == DECIMAL_TOO_LARGE)
    return result;
  if (negative)
    negate(&value);
  *out = value;
  return result;
}

/* ---- writing ---- */

size_t decimal_text(const struct decimal *d, char out[DECIMAL_TEXT_SIZE]) {
  struct decimal m = magnitude(d);
  char digits[DECIMAL_TEXT_SIZE];
  size_t at = sizeof digits; /* filled from the end, 18 digits at a time */
  bool any = true;
  while (any) {
    uint64_t chunk = div_small(m.limb, DECIMAL_LIMBS, UNIT_PER_ONE);
    for (int i = 0; i < CHUNK_DIGITS; i++, chunk /= 10)
      digits[--at] = (char)('0' + chunk % 10);
    any = !decimal_is_zero(&m);
  }
  const size_t point = sizeof digits - DECIMAL_SCALE;
  while (at + 1 < point && digits[at] == '0')
    at++;
  if (at == point)
    digits[--at] = '0';
  size_t decimals = DECIMAL_SCALE, len = 0;
  while (decimals && digits[point + decimals - 1] == '0')
    decimals--;
  if (decimal_is_negative(d))
    out[len++] = '-';
  memcpy(out + len, digits + at, point - at);
  len += point - at;
  if (decimals) {
    out[len++] = '.';
    memcpy(out + len, digits + point, decimals);
    len += decimals;
  }
  out[len] = '\0';
  return len;
}

static int bit_length(const uint64_t *limb, int limbs) {
  for (int i = limbs - 1; i >= 0; i--)
    if (limb[i])
      return 64 * i + 64 - __builtin_clzll(limb[i]);
  return 0;
}

/* Rounds quotient x 2^-(64 x RATIO_SHIFT_LIMBS) to 53 bits, ties to even; `sticky` says that more bits
 * follow. */
static double round_quotient(const uint64_t *q, bool sticky) {
  int bits = bit_length(q, RATIO_LIMBS);
  int drop = bits - (DOUBLE_BITS + 1); /* keep one rounding bit */
  uint64_t kept = q[drop / 64] >> (drop % 64);
  if (drop % 64 && drop / 64 + 1 < RATIO_LIMBS)
    kept |= q[drop / 64 + 1] << (64 - drop % 64);
  kept &= (UINT64_C(1) << (DOUBLE_BITS + 1)) - 1;
  for (int i = 0; i < drop / 64; i++)
    sticky |= q[i] != 0;
  sticky |= (q[drop / 64] & ((UINT64_C(1) << (drop % 64)) - 1)) != 0;
  bool half = kept & 1;
  kept >>= 1;
  if (half && (sticky || (kept & 1)))
    kept++;
  return ldexp((double)kept, drop + 1 - 64 * RATIO_SHIFT_LIMBS);
}

/* A double holds both: IEEE 754 rounds their quotient once, to the nearest. */
static bool are_doubles(u128 a, u128 b) {
  return a <= (u128)1 << DOUBLE_BITS && b <= (u128)1 << DOUBLE_BITS;
}

/* Of a sum of prices of up to four decimals that is neither negative nor great, as nearly all are. False for
 * others. */
static bool ratio_of_common(const struct decimal *d, uint64_t divisor, double *out) {
  uint64_t high = 0;
  for (int i = 2; i < DECIMAL_LIMBS; i++)
    high |= d->limb[i];
  const u128 units = (u128)d->limb[1] << 64 | d->limb[0], parts = units / UNIT_PER_PART;
  const u128 times = (u128)divisor * PARTS_PER_ONE;
  if (high || parts * UNIT_PER_PART != units || !are_doubles(parts, times))
    return false;
  *out = (double)parts / (double)times;
  return true;
}

double decimal_ratio(const struct decimal *d, uint64_t divisor) {
  double common;
  if (divisor == 0 || decimal_is_zero(d))
    return 0;
  if (ratio_of_common(d, divisor, &common))
    return common;
  /* d counts 10^-18; the shift by 192 bits leaves more than 64 bits after dividing by 10^18 and a 64-bit
   * count. */
  struct decimal m = magnitude(d);
  uint64_t q[RATIO_LIMBS] = {0};
  memcpy(q + RATIO_SHIFT_LIMBS, m.limb, sizeof m.limb);
  bool sticky = div_small(q, RATIO_LIMBS, UNIT_PER_ONE) != 0;
  sticky |= div_small(q, RATIO_LIMBS, divisor) != 0;
  double r = round_quotient(q, sticky);
  return decimal_is_negative(d) ? -r : r;
}

double count_ratio(uint64_t a, uint64_t b) {
  if (b && are_doubles(a, b))
    return (double)a / (double)b;
  u128 units = (u128)a * UNIT_PER_ONE;
  struct decimal d = {{(uint64_t)units, (uint64_t)(units >> 64)}};
  return decimal_ratio(&d, b);
}
