/* SPDX-License-Identifier: MIT */
#include "pipeline/join_map.h"

#include "unit.h"

static bool build(struct join_map *m, struct join_pairs *parts, size_t count) {
  struct join_pairs *list[8] = {0};
  for (size_t i = 0; i < count; i++)
    list[i] = &parts[i];
  return join_map_build(m, NULL, list, count);
}

static uint64_t times_of(const struct join_map *m, id_code key, uint32_t value) {
  struct join_walk walk = {0};
  const struct join_slot *pair;
  uint64_t times = 0;
  while ((pair = join_map_next(m, key, &walk)) != NULL)
    times += pair->value == value ? pair->times : 0;
  return times;
}

static void pairs_keep_their_multiplicity(void **state) {
  (void)state;
  struct join_pairs pairs = {0};
  struct join_map map;
  for (int i = 0; i < 3; i++)
    assert_true(join_pairs_add(&pairs, NULL, 7, 1));
  assert_true(join_pairs_add(&pairs, NULL, 7, 2));
  assert_true(join_pairs_add(&pairs, NULL, 8, 1));
  assert_true(build(&map, &pairs, 1));
  assert_int_equal(times_of(&map, 7, 1), 3);
  assert_int_equal(times_of(&map, 7, 2), 1);
  assert_int_equal(times_of(&map, 8, 1), 1);
  assert_int_equal(times_of(&map, 9, 1), 0);
  assert_int_equal(join_map_count(&map, ID_NULL).keys, 2);
  assert_int_equal(join_map_count(&map, ID_NULL).pairs, 3);
  join_map_clear(&map, NULL);
  join_pairs_clear(&pairs, NULL);
}

static void nulls_and_unknown_ids_meet_nothing(void **state) {
  (void)state;
  struct join_map map;
  struct join_walk walk = {0};
  assert_true(build(&map, NULL, 0));
  assert_null(join_map_next(&map, ID_NULL, &walk));
  assert_null(join_map_next(&map, ID_UNKNOWN, &walk));
  assert_null(join_map_next(&map, 1, &walk));
  join_map_clear(&map, NULL);
  walk = (struct join_walk){0};
  assert_null(join_map_next(&map, 1, &walk));
}

static void many_keys_are_all_found(void **state) {
  (void)state;
  struct join_pairs parts[2] = {0};
  struct join_map map;
  enum { KEYS = 20000 };
  for (id_code k = 0; k < KEYS; k++)
    assert_true(join_pairs_add(&parts[k % 2], NULL, k * 4096, (uint32_t)k));
  assert_true(build(&map, parts, 2));
  for (id_code k = 0; k < KEYS; k++)
    assert_int_equal(times_of(&map, k * 4096, (uint32_t)k), 1);
  assert_int_equal(join_map_count(&map, ID_NULL).keys, KEYS);
  join_map_clear(&map, NULL);
  join_pairs_clear(&parts[0], NULL);
  join_pairs_clear(&parts[1], NULL);
}

static void count_unmet(void *arg, const struct join_slot *pair) {
  assert_true(pair->value == 0);
  ++*(int *)arg;
}

static void met_pairs_are_left_out_of_the_unmet(void **state) {
  (void)state;
  struct join_pairs pairs = {0};
  struct join_map map;
  for (id_code k = 0; k < 10; k++)
    assert_true(join_pairs_add(&pairs, NULL, k, 0));
  assert_true(build(&map, &pairs, 1));
  for (int again = 0; again < 2; again++)
    for (id_code k = 0; k < 4; k++) {
      struct join_walk walk = {0};
      join_map_meet(&map, join_map_next(&map, k, &walk));
    }
  int unmet = 0;
  join_map_each_unmet(&map, count_unmet, &unmet);
  assert_int_equal(unmet, 6);
  join_map_clear(&map, NULL);
  join_pairs_clear(&pairs, NULL);
}

/* Keys close to each other get a slot each, others and those with two values are hashed: nobody can tell. */
static void dense_and_sparse_keys_are_found_alike(void **state) {
  (void)state;
  enum { PAIRS = 4000 };
  for (int again = 0; again < 2; again++)
    for (id_code step = 1; step <= 4; step++) {
      struct join_pairs parts[3] = {{0}};
      struct join_map map;
      const id_code first = step == 2 ? ID_INTERNED : 1000000007;
      for (id_code k = 0; k < PAIRS; k++)
        assert_true(join_pairs_add(&parts[k * 7 % 3], NULL, first + k * step, (uint32_t)k));
      assert_true(join_pairs_add(&parts[1], NULL, first + 5 * step, 5)); /* once more */
      if (again)
        assert_true(join_pairs_add(&parts[2], NULL, first + 6 * step, 7)); /* another value */
      assert_true(build(&map, parts, 3));
      assert_int_equal(map.is_direct, !again && step <= 2);
      for (id_code k = 0; k < PAIRS; k++)
        assert_int_equal(times_of(&map, first + k * step, (uint32_t)k), k == 5 ? 2 : 1);
      assert_int_equal(times_of(&map, first + 6 * step, 7), again);
      struct join_walk walk = {0};
      assert_null(join_map_next(&map, first - 1, &walk));
      walk = (struct join_walk){0};
      assert_null(join_map_next(&map, first + PAIRS * step, &walk));
      walk = (struct join_walk){0};
      assert_true((join_map_next(&map, first + 1, &walk) != NULL) == (step == 1));
      assert_int_equal(join_map_count(&map, ID_NULL).keys, PAIRS);
      assert_int_equal(join_map_count(&map, first + 3 * step).keys, 3);
      assert_int_equal(join_map_count(&map, ID_NULL).pairs, PAIRS + again);
      join_map_clear(&map, NULL);
    }
}

static void each_refused_allocation_is_told(void **state) {
  (void)state;
  for (uint64_t nth = 1; nth <= 3; nth++) {
    struct budget budget;
    struct join_pairs pairs = {0};
    struct join_pairs *part = &pairs;
    struct join_map map = {0};
    budget_init(&budget, 0);
    alloc_fail_at(nth);
    bool ok = join_pairs_add(&pairs, &budget, 1, 1) && join_map_build(&map, &budget, &part, 1);
    alloc_fail_at(0);
    assert_false(ok);
    join_map_clear(&map, &budget);
    join_pairs_clear(&pairs, &budget);
    assert_int_equal(budget.used, 0);
  }
}

static void bits_of_known_keys_are_done_without(void **state) {
  (void)state;
  for (uint64_t nth = 0; nth <= 5; nth += 5) { /* the fifth is that of the bits */
    struct budget budget;
    struct join_pairs pairs = {0};
    struct join_pairs *part = &pairs;
    struct join_map map = {0};
    budget_init(&budget, 0);
    alloc_fail_at(nth);
    for (id_code key = 1; key <= 5001; key += 5000)
      assert_true(join_pairs_add(&pairs, &budget, key, 7));
    assert_true(join_map_build(&map, &budget, &part, 1));
    alloc_fail_at(0);
    assert_true((map.known == NULL) == (nth == 5));
    assert_true(join_map_may_have(&map, 2) == (nth == 5));
    assert_true(join_map_may_have(&map, 5001));
    assert_int_equal(times_of(&map, 5001, 7), 1);
    join_map_clear(&map, &budget);
    assert_int_equal(budget.used, 0);
  }
}

/* Adds up the keys that are found from `from` on. */
static uint64_t sum_of_keys(const struct join_map *map, id_code from, id_code end) {
  uint64_t sum = 0;
  for (id_code key = from; join_map_find_key(map, &key, end); key++)
    sum += join_map_may_have(map, key) ? key : UINT32_MAX;
  return sum;
}

static void next_key_of_a_range_is_found(void **state) {
  (void)state;
  enum { LEAST = 70, GREATEST = 5000 };
  struct join_pairs few = {0}, many = {0};
  struct join_map sparse, dense;
  for (id_code key = LEAST; key <= GREATEST; key += GREATEST - LEAST)
    assert_true(join_pairs_add(&few, NULL, key, 7));
  for (id_code key = LEAST; key < LEAST + 3; key++)
    assert_true(join_pairs_add(&many, NULL, key, 7));
  assert_true(build(&sparse, &few, 1) && build(&dense, &many, 1));
  assert_true(sparse.known && dense.is_direct);
  assert_int_equal(sum_of_keys(&sparse, 0, GREATEST + 1), LEAST + GREATEST);
  assert_int_equal(sum_of_keys(&sparse, LEAST, GREATEST), LEAST);
  assert_int_equal(sum_of_keys(&sparse, LEAST + 1, GREATEST * 2), GREATEST);
  assert_int_equal(sum_of_keys(&sparse, GREATEST + 1, GREATEST * 2), 0);
  assert_int_equal(sum_of_keys(&sparse, 0, LEAST), 0);
  assert_int_equal(sum_of_keys(&dense, 0, LEAST + 2), 2 * LEAST + 1);
  assert_int_equal(sum_of_keys(&dense, LEAST + 1, GREATEST), 2 * LEAST + 3);
  join_map_clear(&sparse, NULL);
  join_map_clear(&dense, NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pairs_keep_their_multiplicity),
      cmocka_unit_test(nulls_and_unknown_ids_meet_nothing),
      cmocka_unit_test(many_keys_are_all_found),
      cmocka_unit_test(met_pairs_are_left_out_of_the_unmet),
      cmocka_unit_test(dense_and_sparse_keys_are_found_alike),
      cmocka_unit_test(each_refused_allocation_is_told),
      cmocka_unit_test(bits_of_known_keys_are_done_without),
      cmocka_unit_test(next_key_of_a_range_is_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
