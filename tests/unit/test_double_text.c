/* SPDX-License-Identifier: MIT */
#include "pipeline/double_text.h"

#include "unit.h"

#include <float.h>
#include <math.h>
#include <string.h>

static void texts_are_those_of_python(void **state) {
  (void)state;
  static const struct {
    double value;
    const char *text;
  } cases[] = {{0, "0"},
               {0.5, "0.5"},
               {3, "3"},
               {0.1, "0.1"},
               {1.0 / 3.0, "0.3333333333333333"},
               {1e22, "1e+22"},
               {1e-7, "1e-07"},
               {5e-324, "5e-324"},
               {1.5e300, "1.5e+300"},
               {9007199254740993e3, "9.007199254740993e+18"},
               {9.5367431640625e-07, "9.5367431640625e-07"},
               {2.2250738585072014e-308, "2.2250738585072014e-308"},
               {-1234567.25, "-1234567.25"},
               {217.7003410852713, "217.7003410852713"},
               {0.0001, "0.0001"},
               {0.00009999999999999999, "9.999999999999999e-05"},
               {999999999999999.9, "999999999999999.9"},
               {1e15, "1000000000000000"},
               {99.999999999999986, "99.99999999999999"},
               {-0.0009765625, "-0.0009765625"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char text[DOUBLE_TEXT_SIZE];
    double_text(cases[i].value, text);
    assert_string_equal(text, cases[i].text);
  }
}

/* The fewest digits that read back, found by trying all of printf's; as a fixed number. */
static void try_all(double d, char out[64]) {
  int digits = 1, exponent;
  char text[64];
  snprintf(text, sizeof text, "%.0e", d);
  while (strtod(text, NULL) != d)
    snprintf(text, sizeof text, "%.*e", digits++, d);
  assert_int_equal(sscanf(text, "%*[^e]e%d", &exponent), 1);
  const int decimals = digits - 1 - exponent;
  snprintf(out, 64, "%.*f", decimals > 0 ? decimals : 0, d);
}

static void assert_shortest(double d) {
  char text[DOUBLE_TEXT_SIZE], expected[64];
  const size_t len = double_text(d, text);
  assert_int_equal(len, strlen(text));
  assert_true(strtod(text, NULL) == d);
  try_all(d, expected);
  assert_string_equal(text, expected);
}

/* Ratios of counts, prices, and any bits between the limits of fixed notation. */
static void no_shorter_text_reads_back(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int i = 0; i < 50000; i++) {
    const uint64_t count = 1 + unit_random(&seed) % 1000000;
    const double ratio = (double)(1 + unit_random(&seed) % count) / (double)count;
    const double exponent = (double)(unit_random(&seed) % 63) - 13;
    const double any = ldexp(1.0 + (double)unit_random(&seed) / 9007199254740992.0, (int)exponent);
    if (ratio >= 1e-4)
      assert_shortest(ratio);
    assert_shortest((double)(unit_random(&seed) % 100000000) / 100 + 0.01);
    assert_shortest(i % 2 ? any : -any);
  }
}

static void powers_of_ten_and_their_neighbours_read_back(void **state) {
  (void)state;
  for (int e = -4; e < 15; e++) {
    char text[16];
    snprintf(text, sizeof text, "1e%d", e);
    const double power = strtod(text, NULL);
    assert_shortest(power);
    assert_shortest(nextafter(power, INFINITY));
    if (e > -4)
      assert_shortest(nextafter(power, 0));
  }
}

/* Below a power of two its neighbours are nearer than above. */
static void powers_of_two_and_their_neighbours_read_back(void **state) {
  (void)state;
  for (int e = -13; e < 50; e++) {
    const double power = ldexp(1, e);
    char text[DOUBLE_TEXT_SIZE];
    double_text(power, text);
    assert_true(strtod(text, NULL) == power);
    assert_shortest(nextafter(power, INFINITY));
    if (e > -13)
      assert_shortest(nextafter(power, 0));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(texts_are_those_of_python),
      cmocka_unit_test(no_shorter_text_reads_back),
      cmocka_unit_test(powers_of_ten_and_their_neighbours_read_back),
      cmocka_unit_test(powers_of_two_and_their_neighbours_read_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
