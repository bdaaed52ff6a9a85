/* SPDX-License-Identifier: MIT */
#include "pipeline/dict.h"

#include "unit.h"

/* Texts of all lengths, some of which differ only where the place in a memo is not decided. */
static void texts_met_again_have_the_same_number(void **state) {
  (void)state;
  struct budget budget;
  struct dict_memo memo = {0};
  uint64_t seed = 5;
  budget_init(&budget, 0);
  struct dict *d = dict_new(&budget);
  for (int round = 0; round < 200000; round++) {
    char text[DICT_MEMO_BYTES + 8];
    const size_t len = unit_random(&seed) % sizeof text;
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 2 && len; i++)
      text[unit_random(&seed) % len] = (char)('a' + unit_random(&seed) % 3);
    const struct view v = {text, len};
    uint64_t number, again;
    assert_true(dict_intern_again(d, &memo, v, &number));
    assert_true(dict_intern(d, v, &again));
    assert_int_equal(number, again);
    const struct view kept = dict_text(d, number);
    assert_int_equal(kept.len, len);
    assert_memory_equal(kept.ptr, text, len);
  }
  dict_free(d);
  assert_int_equal(budget.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(texts_met_again_have_the_same_number)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
