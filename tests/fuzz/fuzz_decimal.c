/* SPDX-License-Identifier: MIT
 * Prices against arithmetic with decimal digits on paper, and doubles against the C library. */
#include "fuzz.h"

#include "pipeline/decimal.h"
#include "pipeline/double_text.h"
#include "plain_text.h"

#include <math.h>

enum {
  WHOLE_DIGITS_MAX = 126,
  UNITS_MAX = WHOLE_DIGITS_MAX + DECIMAL_SCALE,
  TIMES_MAX = 7,
  DIGITS_OF_DOUBLE = 17
};

/* A count of 10^-18 units as text without leading zeros. */
struct units {
  char digits[UNITS_MAX + 2];
  size_t count;
};

static void add_one(struct units *u) {
  size_t i = u->count;
  while (i > 0 && u->digits[i - 1] == '9')
    u->digits[--i] = '0';
  if (i > 0) {
    u->digits[i - 1]++;
    return;
  }
  memmove(u->digits + 1, u->digits, u->count++);
  u->digits[0] = '1';
}

/* Reads a price digit by digit. */
static enum decimal_parse plain_parse(const struct view groups[GROUPS_MAX], struct units *out) {
  size_t count = groups[NUMBER_WHOLE].len + groups[NUMBER_FRACTION].len;
  long kept =
      (long)groups[NUMBER_WHOLE].len + exponent_of(groups) + DECIMAL_SCALE; /* digits down to 10^-18 */
  int above_half = 0; /* of what is lost: beside one half */
  bool is_lost = false;
  out->count = 0;
  for (long i = 0; i < kept || i < (long)count; i++) {
    char digit = i < (long)count ? digit_at(groups, (size_t)i) : '0';
    if (i >= kept) {
      above_half = i == kept                         ? (digit > '5') - (digit < '5')
                   : above_half == 0 && digit != '0' ? 1
                                                     : above_half;
      is_lost |= digit != '0';
    } else if (out->count > 0 || digit != '0') {
      if (out->count == UNITS_MAX)
        return DECIMAL_TOO_LARGE;
      out->digits[out->count++] = digit;
    } else if (i >= (long)count) {
      break; /* zero, however many more follow */
    }
  }
  if (kept < 0)
    above_half = -1; /* at most a tenth of a unit */
  if (is_lost &&
      (above_half > 0 || (above_half == 0 && out->count && (out->digits[out->count - 1] - '0') % 2)))
    add_one(out);
  return is_lost ? DECIMAL_ROUNDED : DECIMAL_OK;
}

/* The units of a text that the program has written. */
static struct units units_of(const char *text, bool *negative) {
  struct units u = {.count = 0};
  *negative = *text == '-';
  text += *negative;
  const char *point = strchr(text, '.');
  size_t whole = point ? (size_t)(point - text) : strlen(text), decimals = point ? strlen(point + 1) : 0;
  REQUIRE(whole > 0 && decimals <= DECIMAL_SCALE && (!point || text[strlen(text) - 1] != '0'),
          "written as '%s'", text);
  for (size_t i = 0; i < whole + DECIMAL_SCALE; i++) {
    char digit = i < whole ? text[i] : i - whole < decimals ? point[1 + i - whole] : '0';
    if (u.count > 0 || digit != '0')
      u.digits[u.count++] = digit;
  }
  return u;
}

static bool is_no_number_word(struct view text) {
  static const char *const words[] = {"nan", "inf", "infinity"};
  text = view_trim(text);
  if (text.len && (text.ptr[0] == '-' || text.ptr[0] == '+'))
    text = (struct view){text.ptr + 1, text.len - 1};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (view_eq_fold(text, view_of(words[i])))
      return true;
  return false;
}

/* Parses a price in both ways. True when it is one. */
static bool require_right_parse(struct view text, struct decimal *out) {
  struct view groups[GROUPS_MAX];
  struct units want;
  enum decimal_parse found = decimal_parse(text, out), wanted;
  if (is_number(text, groups))
    wanted = plain_parse(groups, &want);
  else
    wanted = is_no_number_word(text) ? DECIMAL_NOT_FINITE : DECIMAL_NOT_A_NUMBER;
  REQUIRE(found == wanted, "'%.*s': %d, not %d", SHOWN(text), (int)found, (int)wanted);
  if (found != DECIMAL_OK && found != DECIMAL_ROUNDED)
    return false;
  char written[DECIMAL_TEXT_SIZE];
  bool negative;
  size_t len = decimal_text(out, written);
  struct units got = units_of(written, &negative);
  REQUIRE(len == strlen(written) && got.count == want.count &&
              memcmp(got.digits, want.digits, got.count) == 0,
          "'%.*s' is '%s', not '%.*s' units", SHOWN(text), written, (int)want.count, want.digits);
  REQUIRE(negative == (want.count > 0 && view_is(groups[NUMBER_SIGN], "-")), "'%.*s' is '%s'", SHOWN(text),
          written);
  return true;
}

static void require_right_sums(const struct decimal *a, const struct decimal *b, unsigned times) {
  struct decimal sum = *a, again = *a;
  decimal_add(&sum, b);
  decimal_sub(&sum, b);
  REQUIRE(decimal_cmp(&sum, a) == 0, "a + b - b is not a");
  decimal_add_times(&sum, b, times);
  for (unsigned i = 0; i < times; i++)
    decimal_add(&again, b);
  REQUIRE(decimal_cmp(&sum, &again) == 0, "b times %u is not b + b + ...", times);
  decimal_sub(&again, a);
  REQUIRE(times != 1 || decimal_cmp(&again, b) == 0, "a + b - a is not b");
  REQUIRE((decimal_cmp(a, b) > 0) == (decimal_cmp(b, a) < 0), "a > b, but not b < a");
}

/* The shortest text that reads back. */
static void require_right_double(double d) {
  char text[DOUBLE_TEXT_SIZE], shorter[2 * DOUBLE_TEXT_SIZE];
  if (!isfinite(d))
    return;
  REQUIRE(double_text(d, text) == strlen(text) && strtod(text, NULL) == d, "%a is written as %s", d, text);
  int digits = 0, zeros = 0;
  for (const char *c = text; *c && *c != 'e'; c++)
    if (*c >= '0' && *c <= '9' && (digits > 0 || *c != '0')) {
      digits++;
      zeros = *c == '0' ? zeros + 1 : 0;
    }
  digits -= strchr(text, '.') ? 0 : zeros; /* of a whole number they are no decimals */
  REQUIRE(digits <= DIGITS_OF_DOUBLE, "%a is written as %s", d, text);
  for (int fewer = 1; fewer < digits; fewer++) {
    snprintf(shorter, sizeof shorter, "%.*e", fewer - 1, d);
    REQUIRE(strtod(shorter, NULL) != d, "%s would do for %s", shorter, text);
  }
}

/* The nearest double; a long double has eleven bits more. */
static void require_right_ratio(uint64_t a, uint64_t b) {
  double found = count_ratio(a, b);
  if (b == 0) {
    REQUIRE(found == 0, "a ratio over nothing is %a", found);
    return;
  }
  long double exact = (long double)a / (long double)b;
  long double step = (long double)nextafter(found, INFINITY) - (long double)found;
  REQUIRE(fabsl((long double)found - exact) <= step * 0.501L, "%llu / %llu is %a", (unsigned long long)a,
          (unsigned long long)b, found);
}

static uint64_t take_number(struct view *input) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++)
    value = value << 8 | take_knob(input);
  return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct view input = input_of(data, size);
  struct view rest = input, first = view_split(&rest, '\n');
  struct decimal a, b;
  char *one = exact_copy(first), *other = exact_copy(rest);
  bool is_a = require_right_parse((struct view){one, first.len}, &a);
  bool is_b = require_right_parse((struct view){other, rest.len}, &b);
  if (is_a && is_b)
    require_right_sums(&a, &b, (unsigned)size % (TIMES_MAX + 1));
  free(one);
  free(other);
  uint64_t bits = take_number(&input), divisor = take_number(&input);
  double d;
  memcpy(&d, &bits, sizeof d);
  require_right_double(d);
  require_right_double(count_ratio(bits, divisor));
  require_right_ratio(bits, divisor);
  return 0;
}
