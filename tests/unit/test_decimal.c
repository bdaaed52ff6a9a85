/* SPDX-License-Identifier: MIT */
#include "pipeline/decimal.h"

#include "unit.h"

#include <math.h>

static struct decimal number(const char *text) {
  struct decimal d = {0};
  enum decimal_parse rc = decimal_parse(view_of(text), &d);
  assert_true(rc == DECIMAL_OK || rc == DECIMAL_ROUNDED);
  return d;
}

static void assert_decimal(const struct decimal *d, const char *expected) {
  char text[DECIMAL_TEXT_SIZE];
  size_t len = decimal_text(d, text);
  assert_int_equal(len, strlen(text));
  assert_string_equal(text, expected);
}

static void prices_are_parsed_exactly(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"0", "0"},
      {"-0", "0"},
      {"12.50", "12.5"},
      {"+1", "1"},
      {".5", "0.5"},
      {"5.", "5"},
      {" 7.25 ", "7.25"},
      {"1e3", "1000"},
      {"1E-3", "0.001"},
      {"-1.5e2", "-150"},
      {"0.000000000000000001", "0.000000000000000001"},
      {"123456789012345678901234567890.123456789012345678",
       "123456789012345678901234567890.123456789012345678"},
      {"1e125", NULL},
      {"00012", "12"},
      {"-0.000", "0"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct decimal d = number(cases[i][0]);
    if (cases[i][1])
      assert_decimal(&d, cases[i][1]);
  }
}

static void digits_beyond_eighteen_round_half_to_even(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"0.0000000000000000005", "0"},
      {"0.0000000000000000015", "0.000000000000000002"},
      {"0.0000000000000000025", "0.000000000000000002"},
      {"0.00000000000000000250001", "0.000000000000000003"},
      {"-0.0000000000000000015", "-0.000000000000000002"},
      {"1e-19", "0"},
      {"0.9999999999999999995", "1"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct decimal d = {0};
    assert_int_equal(decimal_parse(view_of(cases[i][0]), &d), DECIMAL_ROUNDED);
    assert_decimal(&d, cases[i][1]);
  }
}

static void other_texts_are_told_apart(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum decimal_parse result;
  } cases[] = {
      {"", DECIMAL_NOT_A_NUMBER},    {" ", DECIMAL_NOT_A_NUMBER},      {"$1", DECIMAL_NOT_A_NUMBER},
      {"1,5", DECIMAL_NOT_A_NUMBER}, {"0x10", DECIMAL_NOT_A_NUMBER},   {"10d", DECIMAL_NOT_A_NUMBER},
      {"1 2", DECIMAL_NOT_A_NUMBER}, {".", DECIMAL_NOT_A_NUMBER},      {"1e", DECIMAL_NOT_A_NUMBER},
      {"--1", DECIMAL_NOT_A_NUMBER}, {"N/A", DECIMAL_NOT_A_NUMBER},    {"e5", DECIMAL_NOT_A_NUMBER},
      {"NaN", DECIMAL_NOT_FINITE},   {"Infinity", DECIMAL_NOT_FINITE}, {"-Infinity", DECIMAL_NOT_FINITE},
      {"1e126", DECIMAL_TOO_LARGE},  {"-1e126", DECIMAL_TOO_LARGE},    {"1e999999999999", DECIMAL_TOO_LARGE},
      {"9e125", DECIMAL_OK},         {"0e999999999999", DECIMAL_OK},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct decimal d;
    if (decimal_parse(view_of(cases[i].text), &d) != cases[i].result)
      fail_msg("%s", cases[i].text);
  }
}

static void sums_do_not_round(void **state) {
  (void)state;
  struct decimal sum = {0}, tiny = number("0.000000000000000001"), huge = number("9e125");
  decimal_add(&sum, &huge);
  decimal_add_times(&sum, &tiny, 1000000000000000003u);
  decimal_sub(&sum, &huge);
  assert_decimal(&sum, "1.000000000000000003");
  struct decimal third = number("0.1");
  struct decimal many = {0};
  for (int i = 0; i < 10; i++)
    decimal_add(&many, &third);
  assert_decimal(&many, "1");
  struct decimal minus = number("-2.5");
  decimal_add_times(&many, &minus, 3);
  assert_decimal(&many, "-6.5");
  assert_true(decimal_is_negative(&many));
}

static void order_is_by_value(void **state) {
  (void)state;
  static const char *const ascending[] = {"-9e125", "-1", "-0.000000000000000001", "0", "0.5", "1", "1e100"};
  for (size_t i = 0; i < COUNT_OF(ascending); i++)
    for (size_t j = 0; j < COUNT_OF(ascending); j++) {
      struct decimal a = number(ascending[i]), b = number(ascending[j]);
      int cmp = decimal_cmp(&a, &b);
      assert_int_equal((cmp > 0) - (cmp < 0), (i > j) - (i < j));
    }
}

static void ratios_are_the_nearest_double(void **state) {
  (void)state;
  struct decimal d = number("10");
  assert_true(decimal_ratio(&d, 3) == 10.0 / 3.0);
  assert_true(decimal_ratio(&d, 0) == 0.0);
  d = number("140416.72");
  assert_true(decimal_ratio(&d, 645) == 217.7003410852713);
  d = number("98765432109876543.21");
  assert_true(decimal_ratio(&d, 1) == 98765432109876543.21);
  assert_true(count_ratio(1, 3) == 1.0 / 3.0);
  assert_true(count_ratio(5, 1) == 5.0);
  assert_true(count_ratio(7, 0) == 0.0);
  assert_true(count_ratio(UINT64_MAX, UINT64_MAX) == 1.0);
}

/* A number of up to 64 bits, of any length. */
static uint64_t any_number(uint64_t *seed) {
  const uint64_t number = unit_random(seed) << 11 | unit_random(seed) >> 42;
  return number >> unit_random(seed) % 64;
}

/* Those of positive sums with few decimals are found in another way than those of negative ones. */
static void ratios_of_common_sums_are_those_of_all(void **state) {
  (void)state;
  static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000};
  uint64_t seed = 42;
  for (int i = 0; i < 200000; i++) {
    char text[64], negative[66];
    const int decimals = i % (int)COUNT_OF(powers);
    const uint64_t whole = any_number(&seed), divisor = any_number(&seed);
    snprintf(text, sizeof text, "%llu.%0*llu", (unsigned long long)whole, decimals,
             (unsigned long long)(unit_random(&seed) % powers[decimals]));
    snprintf(negative, sizeof negative, "-%s", text);
    const struct decimal d = number(text), minus = number(negative);
    if (decimal_ratio(&d, divisor) != -decimal_ratio(&minus, divisor))
      fail_msg("%s / %llu", text, (unsigned long long)divisor);
    const struct decimal count = number(strtok(negative, "."));
    if (count_ratio(whole, divisor) != -decimal_ratio(&count, divisor))
      fail_msg("%llu / %llu", (unsigned long long)whole, (unsigned long long)divisor);
  }
}

static void ratios_of_what_no_double_holds_are_rounded_once(void **state) {
  (void)state;
  const struct decimal sum = number("900719925474.0993"), minus = number("-900719925474.0993");
  assert_true(count_ratio(9007199254740993, 3) == 3002399751580331.0);
  assert_true(decimal_ratio(&sum, 11) == -decimal_ratio(&minus, 11));
}

static void rounding_up_may_make_a_price_too_large(void **state) {
  (void)state;
  char text[126 + 1 + 19 + 1];
  struct decimal d;
  memset(text, '9', sizeof text);
  text[126] = '.';
  assert_int_equal(decimal_parse((struct view){text, 126 + 1 + 18}, &d), DECIMAL_OK);
  assert_int_equal(decimal_parse((struct view){text, 126 + 1 + 19}, &d), DECIMAL_TOO_LARGE);
  text[126 + 1 + 18] = '4';
  assert_int_equal(decimal_parse((struct view){text, 126 + 1 + 19}, &d), DECIMAL_ROUNDED);
}

/* Texts of few kinds of characters: what is read small is what is read by the rule, and plain prices are. */
static void short_prices_are_read_in_one_look(void **state) {
  (void)state;
  static const char letters[] = "0123456789.0123456789.-";
  uint64_t seed = 3, read = 0;
  for (int round = 0; round < 200000; round++) {
    char text[24];
    const size_t len = (size_t)round % 10;
    for (size_t i = 0; i < sizeof text; i++)
      text[i] = letters[unit_random(&seed) % (sizeof letters - 1)];
    const struct view price = {text, len};
    decimal_small small = 0;
    struct decimal expected;
    const bool is_plain =
        len >= 1 && len <= 8 && !memchr(text, '-', len) && decimal_parse(price, &expected) == DECIMAL_OK;
    assert_int_equal(decimal_read_small(price, &small), is_plain);
    if (!is_plain)
      continue;
    read++;
    const struct decimal found = decimal_of_small(small);
    assert_int_equal(decimal_cmp(&found, &expected), 0);
  }
  assert_in_range(read, 50000, 200000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rounding_up_may_make_a_price_too_large),
      cmocka_unit_test(short_prices_are_read_in_one_look),
      cmocka_unit_test(prices_are_parsed_exactly),
      cmocka_unit_test(digits_beyond_eighteen_round_half_to_even),
      cmocka_unit_test(other_texts_are_told_apart),
      cmocka_unit_test(sums_do_not_round),
      cmocka_unit_test(order_is_by_value),
      cmocka_unit_test(ratios_are_the_nearest_double),
      cmocka_unit_test(ratios_of_common_sums_are_those_of_all),
      cmocka_unit_test(ratios_of_what_no_double_holds_are_rounded_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
