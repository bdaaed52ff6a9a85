/* SPDX-License-Identifier: MIT */
#include "pipeline/idset.h"

#include "unit.h"

static uint64_t next_random(uint64_t *rng) {
  uint64_t z = *rng += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static void sealed_sets_count_distinct_codes(void **state) {
  (void)state;
  static const uint64_t ranges[] = {1, 2, 100, 5000, 1u << 20, UINT64_MAX};
  for (size_t r = 0; r < COUNT_OF(ranges); r++) {
    struct idset set = {0};
    uint64_t rng = r, seen[5000];
    size_t distinct = 0;
    for (size_t i = 0; i < COUNT_OF(seen); i++) {
      seen[i] = next_random(&rng) % ranges[r];
      assert_true(idset_add(&set, NULL, seen[i]));
      size_t j = 0;
      while (j < i && seen[j] != seen[i])
        j++;
      distinct += j == i;
    }
    assert_int_equal(idset_seal(&set), distinct);
    for (size_t i = 1; i < set.count; i++)
      assert_true(set.codes[i - 1] < set.codes[i]);
    for (size_t i = 0; i < COUNT_OF(seen); i++)
      assert_true(idset_has(&set, seen[i]));
    idset_clear(&set, NULL);
  }
}

static void codes_that_were_not_added_are_not_there(void **state) {
  (void)state;
  struct idset set = {0};
  assert_false(idset_has(&set, 0));
  for (uint64_t i = 0; i < 1000; i++)
    assert_true(idset_add(&set, NULL, i * 2));
  idset_seal(&set);
  for (uint64_t i = 0; i < 2100; i++)
    assert_int_equal(idset_has(&set, i), i % 2 == 0 && i < 2000);
  idset_clear(&set, NULL);
}

static void absorbing_is_the_union(void **state) {
  (void)state;
  struct idset parts[3] = {0}, all = {0};
  for (uint64_t i = 0; i < 3000; i++)
    assert_true(idset_add(&parts[i % 3], NULL, i % 700));
  for (int p = 0; p < 3; p++)
    assert_true(idset_absorb(&all, &parts[p], NULL));
  assert_int_equal(idset_seal(&all), 700);
  assert_int_equal(parts[1].cap, 0);
  idset_clear(&all, NULL);
}

/* Codes close to each other and far apart, in sets of any size, one of them empty. */
static void sets_are_counted_together(void **state) {
  (void)state;
  static const uint64_t ranges[] = {1, 40, 5000, 1u << 25, 1u << 27, UINT64_MAX};
  struct budget budget;
  struct idset_scratch scratch = {0};
  uint64_t rng = 5;
  budget_init(&budget, 0);
  for (int round = 0; round < 200; round++) {
    const uint64_t range = ranges[(size_t)round % COUNT_OF(ranges)],
                   least = next_random(&rng) >> (round % 40 + 1);
    struct idset sets[3] = {0}, all = {0}, *list[] = {&sets[0], &sets[1], &sets[2]};
    uint64_t found;
    for (uint64_t i = next_random(&rng) % (round % 5 ? 60 : 3000); i > 0; i--) {
      const uint64_t code = least + next_random(&rng) % range;
      assert_true(idset_add(&sets[code % 2 ? i % 2 : 0], &budget, code) && idset_add(&all, &budget, code));
    }
    assert_true(idset_count_together(list, 3, &scratch, &budget, &found));
    assert_int_equal(found, idset_seal(&all));
    idset_clear(&all, &budget);
    assert_int_equal(budget.used, scratch.words * sizeof *scratch.bits);
    for (size_t w = 0; w < scratch.words; w++)
      assert_int_equal(scratch.bits[w], 0);
  }
  assert_true(scratch.words > 0);
  idset_scratch_clear(&scratch, &budget);
  assert_int_equal(budget.used, 0);
}

static void memory_is_asked_for_distinct_codes_only(void **state) {
  (void)state;
  struct budget budget;
  struct idset set = {0};
  budget_init(&budget, 64 * 1024);
  for (uint64_t i = 0; i < 1000000; i++)
    assert_true(idset_add(&set, &budget, i % 1000));
  assert_int_equal(idset_seal(&set), 1000);
  bool ok = true;
  for (uint64_t i = 0; ok && i < 1000000; i++)
    ok = idset_add(&set, &budget, i);
  assert_false(ok);
  idset_clear(&set, &budget);
  assert_int_equal(budget.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sealed_sets_count_distinct_codes),
      cmocka_unit_test(codes_that_were_not_added_are_not_there),
      cmocka_unit_test(absorbing_is_the_union),
      cmocka_unit_test(sets_are_counted_together),
      cmocka_unit_test(memory_is_asked_for_distinct_codes_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
