/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "server/live_runs.h"

#include "unit.h"

enum { RUNS = 3, LIMIT_MS = 1000 };

#define A "01890000-0000-7000-8000-00000000000a"
#define B "01890000-0000-7000-8000-00000000000b"

struct bench {
  struct live_runs runs;
  struct run_live live[RUNS];
  int64_t now;
};

static void bench_init(struct bench *b) {
  *b = (struct bench){.now = clock_mono_ms()};
  live_runs_init(&b->runs);
}

static void enter(struct bench *b, size_t n, const char *id) {
  strcpy(b->live[n].run_id, id);
  live_runs_enter(&b->runs, &b->live[n]);
}

static void leave(struct bench *b, size_t n) {
  live_runs_leave(&b->runs, &b->live[n]);
}

/* Looks `ms` after the beginning; true when a run ignores that it was stopped. */
static bool look(struct bench *b, int64_t ms) {
  return live_runs_stop_stalled(&b->runs, b->now + ms, LIMIT_MS);
}

static bool is_stopped(struct bench *b, size_t n, enum stop_reason why) {
  return stop_reason(&b->live[n].stop) == why;
}

static void runs_that_entered_are_active_until_they_leave(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  assert_int_equal(live_runs_active(&b.runs), 0);
  enter(&b, 0, A);
  enter(&b, 2, B);
  assert_int_equal(live_runs_active(&b.runs), 2);
  leave(&b, 0);
  assert_int_equal(live_runs_active(&b.runs), 1);
  leave(&b, 2);
  assert_int_equal(live_runs_active(&b.runs), 0);
  live_runs_clear(&b.runs);
}

static void one_run_is_stopped_by_its_id(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter(&b, 0, A);
  enter(&b, 1, B);
  live_runs_stop(&b.runs, VIEW_LIT(B), STOP_CANCEL);
  assert_true(is_stopped(&b, 0, STOP_NONE));
  assert_true(is_stopped(&b, 1, STOP_CANCEL));
  leave(&b, 0);
  live_runs_stop(&b.runs, VIEW_LIT(A), STOP_CANCEL); /* not at work any more */
  live_runs_stop(&b.runs, VIEW_LIT(""), STOP_CANCEL);
  assert_true(is_stopped(&b, 0, STOP_NONE));
  live_runs_clear(&b.runs);
}

/* ---- stalls ---- */

static void a_run_without_progress_is_stopped_after_the_limit(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter(&b, 0, A);
  assert_false(look(&b, LIMIT_MS - 100));
  assert_true(is_stopped(&b, 0, STOP_NONE));
  assert_false(look(&b, LIMIT_MS + 500));
  assert_true(is_stopped(&b, 0, STOP_STALLED));
  live_runs_clear(&b.runs);
}

static void one_that_ignores_it_for_as_long_again_is_told(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter(&b, 0, A);
  assert_false(look(&b, LIMIT_MS + 500));
  assert_true(look(&b, 2 * LIMIT_MS + 500));
  leave(&b, 0);
  assert_false(look(&b, 5 * LIMIT_MS));
  live_runs_clear(&b.runs);
}

/* Whatever is counted is progress. */
static void any_progress_puts_the_limit_off(void **state) {
  (void)state;
  for (int what = 0; what < 7; what++) {
    struct bench b;
    bench_init(&b);
    struct job_progress *p = &b.live[0].progress;
    _Atomic uint64_t *const counters[] = {&p->bytes_read, &p->files_done, &p->rows[0],
                                          &p->rows[1],    &p->rows[2],    &p->items_published};
    enter(&b, 0, A);
    assert_false(look(&b, 900));
    if (what < 6)
      atomic_fetch_add(counters[what], 1);
    else
      atomic_store(&p->phase, PHASE_AGGREGATING);
    assert_false(look(&b, 1500)); /* the progress is seen here */
    assert_false(look(&b, 2400));
    assert_true(is_stopped(&b, 0, STOP_NONE));
    assert_false(look(&b, 2600));
    assert_true(is_stopped(&b, 0, STOP_STALLED));
    live_runs_clear(&b.runs);
  }
}

static void a_run_that_waits_for_workers_is_not_stalled(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter(&b, 0, A);
  atomic_store(&b.live[0].progress.phase, PHASE_AGGREGATING);
  atomic_store(&b.live[0].progress.tasks.pending, 2);
  for (int64_t ms = 500; ms < 10 * LIMIT_MS; ms += 500)
    assert_false(look(&b, ms));
  assert_true(is_stopped(&b, 0, STOP_NONE));
  atomic_store(&b.live[0].progress.tasks.running, 1);
  look(&b, 10 * LIMIT_MS);
  look(&b, 11 * LIMIT_MS + 500);
  assert_true(is_stopped(&b, 0, STOP_STALLED));
  live_runs_clear(&b.runs);
}

static void a_run_that_waits_for_a_cluster_is_not_stalled_but_may_be_late(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter(&b, 0, A);
  b.live[0].overdue_ms = b.now + 20 * LIMIT_MS;
  atomic_store(&b.live[0].progress.elsewhere, ELSEWHERE_WAITING);
  assert_false(look(&b, 10 * LIMIT_MS));
  live_runs_stop_overdue(&b.runs, b.now + 10 * LIMIT_MS);
  assert_true(is_stopped(&b, 0, STOP_NONE));
  live_runs_stop_overdue(&b.runs, b.now + 20 * LIMIT_MS);
  assert_true(is_stopped(&b, 0, STOP_TIMEOUT));
  live_runs_clear(&b.runs);
}

static void a_new_run_starts_afresh(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  atomic_store(&b.live[0].progress.bytes_read, 5);
  enter(&b, 0, A);
  look(&b, 100);
  leave(&b, 0);
  enter(&b, 1, B);
  assert_false(look(&b, LIMIT_MS - 100));
  assert_true(is_stopped(&b, 1, STOP_NONE));
  live_runs_clear(&b.runs);
}

/* ---- draining ---- */

static void draining_stops_what_will_not_end_in_time(void **state) {
  (void)state;
  static const struct {
    uint64_t read, total;
    int64_t waited_ms, left_ms;
    bool is_stopped;
  } cases[] = {
      {10, 100, 900, 1, false},                                  /* too early to tell */
      {90, 100, 1000, 18000, false},                             /* a ninth of a second to go */
      {10, 100, 1000, 18000, false},                             /* 9 s to go, 18 s left */
      {1, 100, 1000, 19000, true},                               /* 99 s to go */
      {10, 100, 2000, 9000, false},                              /* 18 s: twice of what is left is let go */
      {10, 100, 2000, 8999, true},   {0, 100, 5000, 1, false},   /* nothing is known yet */
      {0, 0, 5000, 1, false},        {100, 100, 5000, 1, false}, /* publishing */
      {90, 100, 1000, 0, true},                                  /* time is up */
      {90, 100, 0, -1, true},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b);
    enter(&b, 1, A);
    atomic_store(&b.live[1].progress.bytes_read, cases[i].read);
    atomic_store(&b.live[1].progress.bytes_total, cases[i].total);
    assert_int_equal(live_runs_drain(&b.runs, cases[i].waited_ms, cases[i].left_ms), 1);
    if (is_stopped(&b, 1, STOP_DRAIN) != cases[i].is_stopped)
      fail_msg("case %zu", i);
    live_runs_clear(&b.runs);
  }
}

static void draining_counts_what_is_left(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  assert_int_equal(live_runs_drain(&b.runs, 0, 0), 0);
  enter(&b, 0, A);
  enter(&b, 1, B);
  assert_int_equal(live_runs_drain(&b.runs, 0, 0), 2);
  assert_true(is_stopped(&b, 0, STOP_DRAIN) && is_stopped(&b, 1, STOP_DRAIN));
  assert_true(is_stopped(&b, 2, STOP_NONE));
  live_runs_clear(&b.runs);
}

/* ---- looking ---- */

static void live_counters_lie_over_a_run_at_work(void **state) {
  (void)state;
  static const struct {
    const char *id;
    enum run_state state;
    bool is_live;
  } cases[] = {{A, RUN_RUNNING, true},    {A, RUN_CANCELLING, true}, {A, RUN_QUEUED, false},
               {A, RUN_SUCCEEDED, false}, {B, RUN_RUNNING, false},   {"", RUN_RUNNING, false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    struct run run = {.state = cases[i].state, .progress = {.bytes_read = 7}};
    strcpy(run.id, cases[i].id);
    bench_init(&b);
    enter(&b, 1, A);
    atomic_store(&b.live[1].progress.bytes_read, 50);
    atomic_store(&b.live[1].progress.phase, PHASE_SCANNING);
    live_runs_overlay(&b.runs, &run);
    assert_int_equal(run.progress.bytes_read, cases[i].is_live ? 50 : 7);
    assert_int_equal(run.phase, cases[i].is_live ? PHASE_SCANNING : PHASE_NONE);
    live_runs_clear(&b.runs);
  }
}

/* ---- scans for several ---- */

/* Puts A and B to wait for a scan, which has entered as the third. */
static void enter_waiting(struct bench *b) {
  enter(b, 0, A);
  enter(b, 1, B);
  b->live[2].is_scan = true;
  enter(b, 2, "");
  for (size_t i = 0; i < 2; i++)
    live_runs_scan(&b->runs, &b->live[i], &b->live[2]);
  atomic_store(&b->live[2].progress.phase, PHASE_SCANNING);
  atomic_store(&b->live[2].progress.bytes_read, 50);
  atomic_store(&b->live[2].progress.tasks.running, 1);
}

static void runs_that_wait_show_their_scan_and_keep_what_it_counted(void **state) {
  (void)state;
  struct bench b;
  struct run run = {.id = A, .state = RUN_RUNNING}, shown[LIVE_RUNS_SHOWN_MAX];
  bench_init(&b);
  enter_waiting(&b);
  assert_int_equal(live_runs_active(&b.runs), 2); /* the scan is no run */
  assert_int_equal(live_runs_show(&b.runs, (struct view){0}, shown), 2);
  assert_int_equal(live_runs_show(&b.runs, VIEW_LIT(B), shown), 1);
  assert_int_equal(shown[0].progress.bytes_read, 50);
  live_runs_scan(&b.runs, &b.live[0], NULL);
  atomic_store(&b.live[2].progress.bytes_read, 90);
  live_runs_overlay(&b.runs, &run);
  assert_int_equal(run.progress.bytes_read, 50);
  assert_int_equal(run.phase, PHASE_SCANNING);
  live_runs_clear(&b.runs);
}

static void a_scan_that_stalls_is_stopped_not_the_runs_that_wait(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter_waiting(&b);
  look(&b, 0);
  assert_false(look(&b, LIMIT_MS + 500));
  assert_true(is_stopped(&b, 2, STOP_STALLED));
  assert_true(is_stopped(&b, 0, STOP_NONE) && is_stopped(&b, 1, STOP_NONE));
  assert_true(look(&b, 2 * LIMIT_MS + 500));
  atomic_store(&b.live[2].progress.phase, PHASE_PUBLISHING); /* the runs wait for their turn */
  assert_false(look(&b, 9 * LIMIT_MS));
  assert_false(look(&b, 20 * LIMIT_MS));
  live_runs_clear(&b.runs);
}

static void a_run_is_late_by_its_scan_or_its_publishing_not_by_waiting(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  b.live[0].timeout_ms = b.live[1].timeout_ms = 10 * LIMIT_MS;
  enter_waiting(&b);
  live_runs_stop_overdue(&b.runs, b.now + 9 * LIMIT_MS);
  assert_true(is_stopped(&b, 0, STOP_NONE));
  atomic_store(&b.live[2].progress.phase, PHASE_PUBLISHING);
  live_runs_stop_overdue(&b.runs, b.now + 50 * LIMIT_MS);
  assert_true(is_stopped(&b, 0, STOP_NONE));
  live_runs_scan(&b.runs, &b.live[0], NULL); /* its turn */
  live_runs_stop_overdue(&b.runs, b.now + 50 * LIMIT_MS);
  assert_true(is_stopped(&b, 0, STOP_TIMEOUT) && is_stopped(&b, 1, STOP_NONE));
  atomic_store(&b.live[2].progress.phase, PHASE_SCANNING); /* the inputs have changed: once more */
  live_runs_stop_overdue(&b.runs, b.now + 50 * LIMIT_MS);
  assert_true(is_stopped(&b, 1, STOP_TIMEOUT));
  live_runs_clear(&b.runs);
}

static void a_scan_that_will_not_end_in_time_is_stopped_not_the_runs_that_wait(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  enter_waiting(&b);
  atomic_store(&b.live[2].progress.bytes_total, 5000);
  assert_int_equal(live_runs_drain(&b.runs, 1000, 1000), 3);
  assert_true(is_stopped(&b, 2, STOP_DRAIN) && is_stopped(&b, 0, STOP_NONE));
  live_runs_drain(&b.runs, 2000, 0);
  assert_true(is_stopped(&b, 0, STOP_DRAIN) && is_stopped(&b, 1, STOP_DRAIN));
  live_runs_clear(&b.runs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_that_entered_are_active_until_they_leave),
      cmocka_unit_test(one_run_is_stopped_by_its_id),
      cmocka_unit_test(a_run_without_progress_is_stopped_after_the_limit),
      cmocka_unit_test(one_that_ignores_it_for_as_long_again_is_told),
      cmocka_unit_test(any_progress_puts_the_limit_off),
      cmocka_unit_test(a_run_that_waits_for_workers_is_not_stalled),
      cmocka_unit_test(a_run_that_waits_for_a_cluster_is_not_stalled_but_may_be_late),
      cmocka_unit_test(a_new_run_starts_afresh),
      cmocka_unit_test(draining_stops_what_will_not_end_in_time),
      cmocka_unit_test(draining_counts_what_is_left),
      cmocka_unit_test(live_counters_lie_over_a_run_at_work),
      cmocka_unit_test(runs_that_wait_show_their_scan_and_keep_what_it_counted),
      cmocka_unit_test(a_scan_that_stalls_is_stopped_not_the_runs_that_wait),
      cmocka_unit_test(a_run_is_late_by_its_scan_or_its_publishing_not_by_waiting),
      cmocka_unit_test(a_scan_that_will_not_end_in_time_is_stopped_not_the_runs_that_wait),
  };
  return cmocka_run_group_tests_name("live_runs", tests, NULL, NULL);
}
