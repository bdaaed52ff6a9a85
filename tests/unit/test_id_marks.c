/* SPDX-License-Identifier: MIT */
#include "pipeline/id_marks.h"

#include "unit.h"

#include <pthread.h>

/* Marks an id alone. */
static enum id_mark mark(struct id_marks *m, id_code id) {
  struct id_mark_run run = {0};
  enum id_mark found = id_marks_add(m, &run, id);
  return id_marks_flush(&run) ? found : ID_MARK_REPEATED;
}

/* Ids in runs of any order are marked as they are alone, and a repeated one is told, at the latest by the
 * flush. */
static void runs_tell_what_is_repeated(void **state) {
  (void)state;
  uint64_t seed = 1;
  for (int round = 0; round < 300; round++) {
    struct id_marks *m = id_marks_new(NULL, ID_MARKS_AT_ONCE);
    struct id_mark_run run = {0};
    bool seen[400] = {false}, is_repeated = false, is_told = false;
    const uint64_t range = round % 2 ? 400 : 100000;
    for (int i = 0; i < 20; i++) {
      const id_code id = unit_random(&seed) % range;
      is_told |= id_marks_add(m, &run, id) == ID_MARK_REPEATED;
      if (id < COUNT_OF(seen)) {
        is_repeated |= seen[id];
        seen[id] = true;
      }
    }
    is_told |= !id_marks_flush(&run);
    assert_true(range > COUNT_OF(seen) || is_told == is_repeated);
    for (id_code id = 0; id < COUNT_OF(seen); id++)
      assert_int_equal(id_marks_has(m, id), seen[id]);
    id_marks_free(m);
  }
}

static void each_id_is_new_once(void **state) {
  (void)state;
  static const id_code ids[] = {0, 1, 63, 64, 262143, 262144, 4294967295, ID_INTERNED, ID_INTERNED | 1};
  struct budget budget;
  budget_init(&budget, 0);
  struct id_marks *m = id_marks_new(&budget, ID_MARKS_AT_ONCE);
  for (int again = 0; again < 2; again++)
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
      assert_int_equal(id_marks_has(m, ids[i]), again);
      assert_int_equal(mark(m, ids[i]), again ? ID_MARK_REPEATED : ID_MARK_NEW);
    }
  static const id_code others[] = {2, 62, 65, 262145, 4294967294, ID_INTERNED | 2, ID_DIRECT_MAX, ID_NULL};
  for (size_t i = 0; i < COUNT_OF(others); i++)
    assert_false(id_marks_has(m, others[i]));
  id_marks_free(m);
  assert_int_equal(budget.used, 0);
}

static void what_cannot_be_marked_is_refused(void **state) {
  (void)state;
  struct budget budget;
  budget_init(&budget, 0);
  struct id_marks *m = id_marks_new(&budget, ID_MARKS_AT_ONCE);
  assert_int_equal(mark(m, ID_DIRECT_MAX), ID_MARK_NO_ROOM);
  assert_int_equal(mark(m, (id_code)1 << 32), ID_MARK_NO_ROOM);
  assert_int_equal(mark(m, ID_NULL), ID_MARK_NO_ROOM);
  size_t spread = 0;
  while (spread < 4096 && mark(m, (id_code)spread * 262144) == ID_MARK_NEW) /* a page each */
    spread++;
  assert_int_equal(spread, 2048);
  id_marks_free(m);
  budget_init(&budget, 600000); /* room for the table and one page */
  m = id_marks_new(&budget, ID_MARKS_AT_ONCE);
  assert_int_equal(mark(m, 1), ID_MARK_NEW);
  for (id_code page = 1; page < 16; page++)
    if (mark(m, page * 262144) == ID_MARK_NO_ROOM) {
      id_marks_free(m);
      assert_int_equal(budget.used, 0);
      return;
    }
  fail();
}

static void few_ids_far_apart_take_no_memory(void **state) {
  (void)state;
  struct budget budget;
  budget_init(&budget, 0);
  struct id_marks *m = id_marks_new(&budget, ID_MARKS_WHEN_DENSE);
  const size_t empty = budget.used;
  for (id_code id = 0; id < 16000; id++)
    assert_int_equal(mark(m, id * 262144), ID_MARK_NO_ROOM);
  assert_int_equal(budget.used, empty);
  for (id_code id = 1; id < ID_MARKS_WHEN_DENSE; id++)
    assert_int_equal(mark(m, id), ID_MARK_NO_ROOM);
  assert_int_equal(mark(m, 5000), ID_MARK_NEW);
  assert_int_equal(mark(m, 5000), ID_MARK_REPEATED);
  assert_true(id_marks_has(m, 5000));
  assert_false(id_marks_has(m, 1)); /* it had no room: its owner keeps it */
  assert_in_range(budget.used, empty + 1, empty + 32768);
  id_marks_free(m);
  assert_int_equal(budget.used, 0);
}

static void dense_ids_are_marked_at_once(void **state) {
  (void)state;
  enum { PAGE_WORDS = 4096 };
  static uint64_t bits[PAGE_WORDS];
  struct budget budget;
  budget_init(&budget, 0);
  struct id_marks *m = id_marks_new(&budget, ID_MARKS_WHEN_DENSE);
  struct id_mark_run run = {0};
  assert_true(id_marks_add_word(m, 640, 1 | (uint64_t)1 << 63));
  assert_true(id_marks_has(m, 640));
  assert_false(id_marks_has(m, 641));
  assert_true(id_marks_has(m, 703));
  assert_int_equal(id_marks_add(m, &run, 650), ID_MARK_NEW); /* waits beside them */
  assert_true(id_marks_add_word(m, 640, 1 << 5));
  assert_true(id_marks_flush(&run));
  assert_int_equal(mark(m, 645), ID_MARK_REPEATED);
  assert_int_equal(mark(m, 650), ID_MARK_REPEATED);
  assert_false(id_marks_add_word(m, (uint64_t)1 << 32, 1)); /* too great */
  id_marks_free(m);
  assert_int_equal(budget.used, 0);
  bits[0] = 1;
  assert_false(id_marks_are_dense(bits, 1));
  for (size_t i = 0; i < PAGE_WORDS; i++)
    bits[i] = i % 2;
  assert_true(id_marks_are_dense(bits, PAGE_WORDS));
  bits[1] = 0;
  assert_false(id_marks_are_dense(bits, PAGE_WORDS));
}

enum { THREADS = 4, IDS = 600000 };

struct racer {
  struct id_marks *marks;
  size_t first_seen;
};

static void *mark_all(void *arg) {
  struct racer *r = arg;
  for (id_code id = 0; id < IDS; id++)
    r->first_seen += mark(r->marks, id) == ID_MARK_NEW;
  return NULL;
}

static void threads_agree_who_was_first(void **state) {
  (void)state;
  struct budget budget;
  struct racer racers[THREADS];
  pthread_t threads[THREADS];
  size_t first_seen = 0;
  budget_init(&budget, 0);
  struct id_marks *m = id_marks_new(&budget, ID_MARKS_AT_ONCE);
  for (size_t i = 0; i < THREADS; i++) {
    racers[i] = (struct racer){m, 0};
    assert_int_equal(pthread_create(&threads[i], NULL, mark_all, &racers[i]), 0);
  }
  for (size_t i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    first_seen += racers[i].first_seen;
  }
  assert_int_equal(first_seen, IDS);
  id_marks_free(m);
  assert_int_equal(budget.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_tell_what_is_repeated),       cmocka_unit_test(each_id_is_new_once),
      cmocka_unit_test(what_cannot_be_marked_is_refused), cmocka_unit_test(few_ids_far_apart_take_no_memory),
      cmocka_unit_test(dense_ids_are_marked_at_once),     cmocka_unit_test(threads_agree_who_was_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
