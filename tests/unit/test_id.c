/* SPDX-License-Identifier: MIT */
#include "pipeline/id.h"

#include "unit.h"

static struct dict *dict;

static int make_dict(void **state) {
  (void)state;
  dict = dict_new(NULL);
  return dict == NULL;
}

static int free_dict(void **state) {
  (void)state;
  dict_free(dict);
  return 0;
}

static id_code code(const char *text, enum id_kind kind) {
  id_code out;
  assert_true(id_encode(dict, ID_INTERN, view_of(text), kind, &out));
  return out;
}

static void forms_are_told_apart(void **state) {
  (void)state;
  static const struct {
    const char *text;
    enum id_form form;
  } cases[] = {
      {"", ID_FORM_NULL},      {"0", ID_FORM_PLAIN},
      {"42", ID_FORM_PLAIN},   {"999999999999999999", ID_FORM_PLAIN},
      {"001", ID_FORM_NUMBER}, {"1.0", ID_FORM_NUMBER},
      {" 1", ID_FORM_NUMBER},  {"-1", ID_FORM_NUMBER},
      {"1e5", ID_FORM_NUMBER}, {"9999999999999999999999", ID_FORM_NUMBER},
      {"+1", ID_FORM_NUMBER},  {".5", ID_FORM_NUMBER},
      {"5.", ID_FORM_NUMBER},  {"a", ID_FORM_TEXT},
      {"1a", ID_FORM_TEXT},    {" ", ID_FORM_TEXT},
      {".", ID_FORM_TEXT},     {"1e", ID_FORM_TEXT},
      {"0x1", ID_FORM_TEXT},   {"1-2", ID_FORM_TEXT},
      {"--1", ID_FORM_TEXT},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    id_code ignored;
    if (id_classify(view_of(cases[i].text), &ignored) != cases[i].form)
      fail_msg("%s", cases[i].text);
  }
}

/* Texts of digits, of which every third has another character somewhere. */
static void plain_numbers_are_read_in_one_look(void **state) {
  (void)state;
  uint64_t seed = 1, read = 0;
  for (int round = 0; round < 100000; round++) {
    char text[20];
    size_t len = (size_t)round % 20;
    for (size_t i = 0; i < sizeof text; i++)
      text[i] = (char)('0' + unit_random(&seed) % 10);
    if (len && round % 3 == 0)
      text[unit_random(&seed) % len] = (char)unit_random(&seed);
    struct view cell = {text, len};
    id_code found, expected;
    bool is_plain = id_classify(cell, &expected) == ID_FORM_PLAIN && len <= ID_FAST_DIGITS_MAX;
    assert_int_equal(id_read_plain(cell, &found), is_plain);
    if (is_plain && ++read)
      assert_int_equal(found, expected);
  }
  assert_in_range(read, 30000, 100000);
}

static void numbers_are_equal_by_value(void **state) {
  (void)state;
  static const char *const equal[][2] = {
      {"1", "001"},        {"1", "1.0"},
      {"1", " 1"},         {"1", "+1"},
      {"1", "10e-1"},      {"100000", "1e5"},
      {"0", "-0.00"},      {"-5", "-5.0"},
      {"0.5", ".50"},      {"9223372036854775808", "9223372036854775808.0"},
      {"1e400", "10e399"}, {"12345678901234567890123", "12345678901234567890123.000"},
  };
  static const char *const different[][2] = {
      {"1", "-1"},
      {"1", "10"},
      {"0.1", "0.01"},
      {"9223372036854775807", "9223372036854775808"},
      {"1", "1.0000000000000000000001"},
      {"12345678901234567890123", "12345678901234567890124"},
  };
  for (size_t i = 0; i < COUNT_OF(equal); i++)
    assert_int_equal(code(equal[i][0], ID_NUMERIC), code(equal[i][1], ID_NUMERIC));
  for (size_t i = 0; i < COUNT_OF(different); i++)
    assert_int_not_equal(code(different[i][0], ID_NUMERIC), code(different[i][1], ID_NUMERIC));
}

static void texts_are_equal_by_bytes(void **state) {
  (void)state;
  assert_int_not_equal(code("1", ID_TEXT), code("01", ID_TEXT));
  assert_int_not_equal(code("a", ID_TEXT), code("A", ID_TEXT));
  assert_int_not_equal(code("a", ID_TEXT), code("a ", ID_TEXT));
  assert_int_equal(code("a", ID_TEXT), code("a", ID_TEXT));
  assert_int_equal(code("x\xff", ID_TEXT), code("x\xfe", ID_TEXT)); /* both are read as U+FFFD */
  assert_int_equal(code("", ID_TEXT), ID_NULL);
}

static void text_meets_numbers_as_number(void **state) {
  (void)state;
  static const struct {
    const char *text, *number;
    bool meets;
  } cases[] = {{"1", "1", true},    {"01", "1", true}, {" 1 ", "1.0", true}, {"1e5", "100000", false},
               {"abc", "1", false}, {"", "1", false},  {"1.5", "1.50", true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    id_code text, number;
    assert_true(id_join_code(dict, ID_INTERN, view_of(cases[i].text), ID_TEXT, ID_NUMERIC, &text));
    assert_true(id_join_code(dict, ID_INTERN, view_of(cases[i].number), ID_NUMERIC, ID_TEXT, &number));
    assert_int_equal(text == number, cases[i].meets);
  }
}

static void finding_does_not_intern(void **state) {
  (void)state;
  id_code first, second;
  assert_true(id_encode(dict, ID_FIND, VIEW_LIT("never seen"), ID_TEXT, &first));
  assert_int_equal(first, ID_UNKNOWN);
  assert_true(id_encode(dict, ID_INTERN, VIEW_LIT("seen"), ID_TEXT, &first));
  assert_true(id_encode(dict, ID_FIND, VIEW_LIT("seen"), ID_TEXT, &second));
  assert_int_equal(first, second);
  assert_true(id_encode(dict, ID_HASH, VIEW_LIT("other"), ID_TEXT, &first));
  assert_true(id_encode(dict, ID_HASH, VIEW_LIT("other"), ID_TEXT, &second));
  assert_int_equal(first, second);
  assert_true(first < ID_UNKNOWN && first > ID_DIRECT_MAX);
}

static void exhausted_memory_is_told_and_leaks_nothing(void **state) {
  (void)state;
  for (size_t limit = 1; limit < 200000; limit *= 2) {
    struct budget budget;
    budget_init(&budget, limit);
    struct dict *small = dict_new(&budget);
    char text[32];
    bool ok = true;
    for (int i = 0; ok && i < 100000; i++) {
      id_code ignored;
      snprintf(text, sizeof text, "id-%d", i);
      ok = id_encode(small, ID_INTERN, view_of(text), ID_TEXT, &ignored);
    }
    assert_false(ok);
    assert_true(budget.exceeded);
    assert_true(budget.peak <= limit);
    dict_free(small);
    assert_int_equal(budget.used, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(forms_are_told_apart),
      cmocka_unit_test(plain_numbers_are_read_in_one_look),
      cmocka_unit_test(numbers_are_equal_by_value),
      cmocka_unit_test(texts_are_equal_by_bytes),
      cmocka_unit_test(text_meets_numbers_as_number),
      cmocka_unit_test(finding_does_not_intern),
      cmocka_unit_test(exhausted_memory_is_told_and_leaks_nothing),
  };
  return cmocka_run_group_tests(tests, make_dict, free_dict);
}
