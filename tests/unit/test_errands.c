/* SPDX-License-Identifier: MIT
 * Errands while DynamoDB cannot be reached: who asks is not kept waiting, and what can still be sent is. */
#include "server/errands.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/intents.h"

#include "unit.h"

#include "fake_dynamodb.h"
#include "quiet_log.h"

#include <time.h>

struct bench {
  struct fake_dynamodb dynamodb;
  struct aws *aws;
  struct errands *errands;
  _Atomic int told, failed; /* of those that wanted to be told */
};

static void bench_init(struct bench *b) {
  *b = (struct bench){.aws = NULL};
  b->aws = fake_dynamodb_init(&b->dynamodb);
  b->errands = errands_new(b->aws);
  assert_non_null(b->errands);
}

static void leave(struct bench *b, int64_t wait_ms) {
  errands_free(b->errands, wait_ms);
  b->errands = NULL;
}

static void bench_clear(struct bench *b) {
  leave(b, 0);
  fake_dynamodb_clear(&b->dynamodb, b->aws);
}

/* DynamoDB fails so often. */
static void break_down(struct bench *b, size_t times) {
  SCOPE_LOCK(&b->dynamodb.synced.lock);
  b->dynamodb.fault = FAULT_SERVER_ERROR;
  b->dynamodb.times = times;
}

static void on_done(void *arg, enum kpi_code rc, const struct err *err) {
  struct bench *b = arg;
  assert_int_equal(rc, rc ? err->code : KPI_OK);
  atomic_fetch_add(&b->told, 1);
  atomic_fetch_add(&b->failed, rc == KPI_DRAINING);
}

static void ask(struct bench *b, unsigned n, bool is_told) {
  char id[UUID_TEXT_SIZE];
  snprintf(id, sizeof id, "%08x-0000-7000-8000-%012x", n, n);
  json_t *body = json_pack("{s:s, s:{s:{s:s}}}", "TableName", "control", "Item", "pk", "S", id);
  assert_true(errands_add(b->errands, id, "PutItem", body, is_told ? on_done : NULL, b));
}

static size_t stored(struct bench *b) {
  SCOPE_LOCK(&b->dynamodb.synced.lock);
  return json_object_size(fake_table(&b->dynamodb, "control"));
}

static void pause_ms(int64_t ms) {
  nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* Waits until nothing is tried for a while. */
static void await_quiet(struct bench *b) {
  for (size_t before = 0, now = 1; now != before; pause_ms(200)) {
    before = now;
    now = fake_count(&b->dynamodb, NULL);
  }
}

/* Each run has one that is to be tried again, and one that comes after it. */
static void who_asks_is_not_kept_waiting_by_thousands_that_wait(void **state) {
  (void)state;
  enum { RUNS = 10000, ROUNDS = 5 };
  struct bench b;
  int64_t took = 0;
  bench_init(&b);
  break_down(&b, SIZE_MAX);
  for (unsigned n = 0; n < 2 * RUNS; n++)
    ask(&b, n % RUNS, false);
  for (unsigned n = 0; n < ROUNDS; n++) {
    await_quiet(&b);
    const int64_t began = clock_mono_ms();
    for (unsigned more = 0; more < 3; more++) {
      ask(&b, RUNS + 3 * n + more, false);
      pause_ms(1); /* somebody else may have the lock */
    }
    took += clock_mono_ms() - began;
  }
  assert_in_range(took, 0, 300);
  bench_clear(&b);
}

/* The pause before the next try is longer than there is time. */
static void what_waits_to_be_tried_again_is_tried_at_the_end(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  break_down(&b, 3); /* as often as one call tries */
  ask(&b, 1, false);
  ask(&b, 1, true);
  while (fake_count(&b.dynamodb, NULL) < 3)
    pause_ms(5);
  pause_ms(100);
  assert_int_equal(stored(&b), 0);
  const int64_t began = clock_mono_ms();
  leave(&b, 10 * 1000);
  assert_in_range(clock_mono_ms() - began, 0, 700);
  assert_int_equal(stored(&b), 1);
  assert_int_equal(b.told, 1);
  assert_int_equal(b.failed, 0);
  bench_clear(&b);
}

/* A pause that grows as it does at other times would use up the time of the end. */
static void what_fails_at_the_end_is_tried_again_while_there_is_time(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  break_down(&b, 9); /* three rounds: one before the end, two in it */
  ask(&b, 1, false);
  ask(&b, 1, true);
  while (fake_count(&b.dynamodb, NULL) < 3)
    pause_ms(5);
  pause_ms(100);
  leave(&b, 4500);
  assert_int_equal(stored(&b), 1);
  assert_int_equal(b.told, 1);
  assert_int_equal(b.failed, 0);
  bench_clear(&b);
}

static void what_fails_for_one_run_holds_up_no_other(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  break_down(&b, 3);
  ask(&b, 1, false);
  while (fake_count(&b.dynamodb, NULL) < 3)
    pause_ms(5);
  for (unsigned n = 2; n < 100; n++)
    ask(&b, n, false);
  for (int64_t until = clock_mono_ms() + 700; stored(&b) < 98 && clock_mono_ms() < until;)
    pause_ms(5);
  assert_int_equal(stored(&b), 98);
  bench_clear(&b);
}

static void who_wants_to_be_told_is_when_there_is_no_time_left(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  break_down(&b, SIZE_MAX);
  ask(&b, 1, false);
  ask(&b, 1, true); /* it comes after what cannot be sent */
  leave(&b, 50);
  assert_int_equal(b.told, 1);
  assert_int_equal(b.failed, 1);
  bench_clear(&b);
}

static void ignore_change(void *arg, const char *id) {
  (void)arg;
  (void)id;
}

/* Clients that are told to try again do, for hours. */
static void no_run_is_accepted_while_too_much_waits_to_be_sent(void **state) {
  (void)state;
  struct bench b;
  const struct run_request q = {.date = 20000, .max_bad_rows = VIEW_LIT("1")};
  const struct submit_policy none = {0};
  struct err err = {0};
  bench_init(&b);
  break_down(&b, SIZE_MAX);
  struct intents *intents = intents_new(b.aws, "control", "s3://a", "boot", ignore_change, NULL);
  enum kpi_code rc = KPI_OK;
  unsigned accepted = 0;
  for (; accepted < 100000 && rc == KPI_OK; accepted++) {
    char id[UUID_TEXT_SIZE];
    crypto_uuid7(id);
    rc = intents_put(intents, id, &q, &none, &err);
    intents_remove(intents, id); /* nobody waits for it any more */
  }
  assert_int_equal(rc, KPI_QUEUE_FULL);
  assert_in_range(accepted, 1000, 50000);
  intents_free(intents, 0);
  bench_clear(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_asks_is_not_kept_waiting_by_thousands_that_wait),
      cmocka_unit_test(what_waits_to_be_tried_again_is_tried_at_the_end),
      cmocka_unit_test(what_fails_at_the_end_is_tried_again_while_there_is_time),
      cmocka_unit_test(what_fails_for_one_run_holds_up_no_other),
      cmocka_unit_test(who_wants_to_be_told_is_when_there_is_no_time_left),
      cmocka_unit_test(no_run_is_accepted_while_too_much_waits_to_be_sent),
  };
  return cmocka_run_group_tests_name("errands", tests, quiet_log, NULL);
}
