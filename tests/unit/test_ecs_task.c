/* SPDX-License-Identifier: MIT
 * When a task of ECS asks to be protected, and when no more. */
#include "server/ecs_task.h"

#include "unit.h"

enum { MINUTE_MS = 60 * 1000, NOW = 1000 * MINUTE_MS };

static void expect(struct ecs_protection p, int64_t now, enum ecs_wish wish, int64_t next) {
  int64_t found_next;
  assert_int_equal(ecs_protection_wish(&p, now, &found_next), wish);
  assert_true(found_next == next);
}

static void an_idle_task_asks_for_nothing(void **state) {
  (void)state;
  expect((struct ecs_protection){0}, NOW, ECS_NOTHING, INT64_MAX);
}

static void a_run_is_protected_at_once(void **state) {
  (void)state;
  expect((struct ecs_protection){.is_busy = true}, NOW, ECS_PROTECT, NOW);
}

static void protection_is_renewed_before_it_expires(void **state) {
  (void)state;
  struct ecs_protection p = {.is_busy = true, .is_on = true, .on_since = NOW};
  expect(p, NOW + 59 * MINUTE_MS, ECS_NOTHING, NOW + 60 * MINUTE_MS);
  expect(p, NOW + 60 * MINUTE_MS, ECS_PROTECT, NOW + 60 * MINUTE_MS);
}

static void protection_outlasts_a_short_pause(void **state) {
  (void)state;
  struct ecs_protection p = {.is_on = true, .on_since = NOW - MINUTE_MS, .busy_until = NOW};
  expect(p, NOW + 9999, ECS_NOTHING, NOW + 10000);
  expect(p, NOW + 10000, ECS_UNPROTECT, NOW + 10000);
}

static void an_agent_that_refuses_is_left_alone_for_a_while(void **state) {
  (void)state;
  struct ecs_protection p = {.is_busy = true, .not_before = NOW + 30000};
  expect(p, NOW, ECS_NOTHING, NOW + 30000);
  expect(p, NOW + 30000, ECS_PROTECT, NOW + 30000);
  p = (struct ecs_protection){.is_on = true, .busy_until = NOW - MINUTE_MS, .not_before = NOW + 30000};
  expect(p, NOW + 29999, ECS_NOTHING, NOW + 30000);
  expect(p, NOW + 30000, ECS_UNPROTECT, NOW + 30000);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_idle_task_asks_for_nothing),
      cmocka_unit_test(a_run_is_protected_at_once),
      cmocka_unit_test(protection_is_renewed_before_it_expires),
      cmocka_unit_test(protection_outlasts_a_short_pause),
      cmocka_unit_test(an_agent_that_refuses_is_left_alone_for_a_while),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
