/* SPDX-License-Identifier: MIT
 * How a request meets the runs that are there: keys, active and finished runs, attempts and expiry. */
#include "base/log.h"
#include "base/scope.h"
#include "server/run_move_store.h"
#include "server/run_submit_store.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct db *db;
static char folder[64];
static const struct run_defaults defaults = {"UTC", "file:///data", "1%"};

#define FINGERPRINT_A "a000000000000000000000000000000000000000000000000000000000000000"
#define FINGERPRINT_B "b000000000000000000000000000000000000000000000000000000000000000"

static int setup(void **state) {
  char path[96];
  struct err err;
  (void)state;
  log_init(LOG_ERROR, STDERR_FILENO);
  strcpy(folder, "/tmp/kpid-submit-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/kpid.db", folder);
  return db_open(path, "test", &db, &err) ? -1 : 0;
}

static int teardown(void **state) {
  char command[128];
  (void)state;
  db_close(db);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

/* ---- the bench ---- */

static struct submit_policy keyed(const char *key, const char *fingerprint) {
  return (struct submit_policy){.key = view_of(key), .fingerprint = fingerprint};
}

static enum kpi_code try_submit(day_t date, const struct submit_policy *policy, struct submitted *out) {
  struct run_request q = {.date = date, .publish = true, .gate = GATE_WARN};
  struct err err;
  return run_store_submit(db, &q, policy, &defaults, out, &err);
}

/* Submits; the run's id goes into `id`. */
static enum disposition submit(day_t date, const struct submit_policy *policy, char id[UUID_TEXT_SIZE]) {
  struct submitted done;
  assert_int_equal(try_submit(date, policy, &done), KPI_OK);
  assert_false(done.must_wait);
  memcpy(id, done.run.id, UUID_TEXT_SIZE);
  run_clear(&done.run);
  return done.disposition;
}

static struct run get(const char *id) {
  struct run run;
  struct err err;
  assert_int_equal(run_store_get(db, view_of(id), &run, &err), KPI_OK);
  return run;
}

static enum run_state state_of(const char *id) {
  struct run run = get(id);
  enum run_state state = run.state;
  run_clear(&run);
  return state;
}

static void start(const char *id) {
  struct run run;
  struct err err;
  bool found;
  assert_int_equal(run_store_claim(db, "boot", id, &defaults, &run, &found, &err), KPI_OK);
  assert_true(found);
  run_clear(&run);
}

static enum run_state end(const char *id, enum run_state state, bool is_retryable) {
  struct run_end e = {.id = id,
                      .state = state,
                      .is_retryable = is_retryable,
                      .error_json = state == RUN_FAILED ? "{\"code\":\"timeout\"}" : NULL,
                      .error_code = state == RUN_FAILED ? "timeout" : NULL};
  enum run_state ended;
  struct err err;
  assert_int_equal(run_store_finish(db, &e, &ended, &err), KPI_OK);
  assert_int_equal(state_of(id), ended);
  return ended;
}

static void run_to(const char *id, enum run_state state) {
  start(id);
  assert_int_equal(end(id, state, false), state);
}

/* ---- keys ---- */

static void key_sent_again_gives_its_own_run_whatever_became_of_it(void **state) {
  (void)state;
  struct submit_policy p = keyed("k", FINGERPRINT_A);
  char first[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE];
  assert_int_equal(submit(10, &p, first), DISPOSITION_CREATED);
  assert_int_equal(submit(10, &p, again), DISPOSITION_REPLAYED);
  assert_string_equal(first, again);
  run_to(first, RUN_FAILED);
  assert_int_equal(submit(10, &p, again), DISPOSITION_REPLAYED);
  assert_string_equal(first, again);
  p.on_finished = ON_FINISHED_REJECT; /* that is about other requests' runs */
  assert_int_equal(submit(10, &p, again), DISPOSITION_REPLAYED);
  assert_int_equal(state_of(first), RUN_FAILED);
}

static void key_sent_with_another_request_is_refused(void **state) {
  (void)state;
  struct submit_policy p = keyed("k", FINGERPRINT_A), other = keyed("k", FINGERPRINT_B);
  char id[UUID_TEXT_SIZE];
  struct submitted done;
  submit(10, &p, id);
  assert_int_equal(try_submit(10, &other, &done), KPI_IDEMPOTENCY_KEY_REUSED);
  assert_int_equal(submit(10, &p, id), DISPOSITION_REPLAYED);
}

static void key_that_attached_stands_for_that_run_ever_after(void **state) {
  (void)state;
  struct submit_policy a = keyed("a", FINGERPRINT_A), b = keyed("b", FINGERPRINT_A);
  char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
  submit(10, &a, first);
  assert_int_equal(submit(10, &b, second), DISPOSITION_ATTACHED);
  assert_string_equal(first, second);
  run_to(first, RUN_SUCCEEDED);
  assert_int_equal(submit(10, &b, second), DISPOSITION_REPLAYED);
  assert_string_equal(first, second);
}

static void refused_request_leaves_no_key(void **state) {
  (void)state;
  struct submit_policy none = {0}, p = keyed("k", FINGERPRINT_A);
  char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
  struct submitted done;
  submit(10, &none, id);
  p.on_active = ON_ACTIVE_REJECT;
  assert_int_equal(try_submit(10, &p, &done), KPI_RUN_ALREADY_ACTIVE);
  run_to(id, RUN_SUCCEEDED);
  p.fingerprint = FINGERPRINT_B; /* the key is free */
  assert_int_equal(submit(10, &p, other), DISPOSITION_CREATED);
  assert_string_not_equal(id, other);
}

static void key_of_a_failed_run_queues_it_again_when_asked(void **state) {
  (void)state;
  struct submit_policy p = keyed("k", FINGERPRINT_A);
  char id[UUID_TEXT_SIZE], again[UUID_TEXT_SIZE];
  submit(10, &p, id);
  run_to(id, RUN_FAILED);
  p.on_finished = ON_FINISHED_RETRY_FAILED;
  assert_int_equal(submit(10, &p, again), DISPOSITION_RETRIED);
  assert_string_equal(id, again);
  assert_int_equal(state_of(id), RUN_QUEUED);
  assert_int_equal(submit(10, &p, again), DISPOSITION_REPLAYED); /* a repeat of the repeat */
  run_to(id, RUN_SUCCEEDED);
  assert_int_equal(submit(10, &p, again), DISPOSITION_REPLAYED);
  struct run run = get(id);
  assert_int_equal(run.attempt, 2);
  run_clear(&run);
}

/* ---- active and finished runs ---- */

static void superseding_cancels_what_waits_and_waits_for_what_works(void **state) {
  (void)state;
  struct submit_policy none = {0}, p = {.on_active = ON_ACTIVE_SUPERSEDE};
  char queued[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE], third[UUID_TEXT_SIZE];
  submit(10, &none, queued);
  assert_int_equal(submit(10, &p, second), DISPOSITION_SUPERSEDED);
  assert_string_not_equal(queued, second);
  assert_int_equal(state_of(queued), RUN_CANCELLED);
  start(second);
  for (int again = 0; again < 2; again++) {
    struct submitted done;
    assert_int_equal(try_submit(10, &p, &done), KPI_OK);
    assert_true(done.must_wait);
    assert_string_equal(done.run.id, second);
    run_clear(&done.run);
    assert_int_equal(state_of(second), RUN_CANCELLING);
  }
  end(second, RUN_CANCELLED, false);
  assert_int_equal(submit(10, &p, third), DISPOSITION_CREATED);
}

static void policy_for_finished_runs_decides_what_answers(void **state) {
  (void)state;
  static const struct {
    enum run_state last;
    enum on_finished policy;
    enum kpi_code rc;
    enum disposition disposition;
  } cases[] = {{RUN_SUCCEEDED, ON_FINISHED_NEW, KPI_OK, DISPOSITION_CREATED},
               {RUN_FAILED, ON_FINISHED_NEW, KPI_OK, DISPOSITION_CREATED},
               {RUN_SUCCEEDED, ON_FINISHED_ATTACH, KPI_OK, DISPOSITION_ATTACHED},
               {RUN_FAILED, ON_FINISHED_ATTACH, KPI_OK, DISPOSITION_ATTACHED},
               {RUN_SUCCEEDED, ON_FINISHED_RETRY_FAILED, KPI_OK, DISPOSITION_ATTACHED},
               {RUN_FAILED, ON_FINISHED_RETRY_FAILED, KPI_OK, DISPOSITION_RETRIED},
               {RUN_SUCCEEDED, ON_FINISHED_REJECT, KPI_RUN_ALREADY_FINISHED, DISPOSITION_CREATED},
               {RUN_FAILED, ON_FINISHED_REJECT, KPI_RUN_ALREADY_FINISHED, DISPOSITION_CREATED},
               {RUN_FAILED, ON_FINISHED_IF_CHANGED, KPI_OK, DISPOSITION_CREATED}};
  struct submit_policy none = {0};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char first[UUID_TEXT_SIZE];
    struct submitted done;
    struct submit_policy p = {.on_finished = cases[i].policy, .listed = FINGERPRINT_A};
    day_t day = 100 + (day_t)i;
    submit(day, &none, first);
    run_to(first, cases[i].last);
    assert_int_equal(try_submit(day, &p, &done), cases[i].rc);
    if (cases[i].rc == KPI_OK) {
      assert_int_equal(done.disposition, cases[i].disposition);
      assert_int_equal(strcmp(done.run.id, first) == 0, cases[i].disposition != DISPOSITION_CREATED);
      run_clear(&done.run);
    }
  }
}

static void run_over_the_same_inputs_is_unchanged(void **state) {
  (void)state;
  struct submit_policy none = {0}, p = {.on_finished = ON_FINISHED_IF_CHANGED, .listed = FINGERPRINT_A};
  char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
  struct run_input input = {.fingerprint = FINGERPRINT_A, .objects = 3, .bytes = 9};
  struct err err;
  submit(10, &none, id);
  start(id);
  const char *const listed = id;
  assert_int_equal(run_store_input(db, &listed, 1, &input, &err), KPI_OK);
  end(id, RUN_SUCCEEDED, false);
  assert_int_equal(submit(10, &p, other), DISPOSITION_UNCHANGED);
  assert_string_equal(id, other);
  p.listed = NULL; /* it could not be listed */
  assert_int_equal(submit(10, &p, other), DISPOSITION_CREATED);
  run_to(other, RUN_SUCCEEDED);
  p.listed = FINGERPRINT_B;
  assert_int_equal(submit(10, &p, other), DISPOSITION_CREATED);
}

/* ---- attempts ---- */

static void retryable_failures_wait_until_no_attempt_is_left(void **state) {
  (void)state;
  struct submit_policy none = {0};
  char id[UUID_TEXT_SIZE];
  submit(10, &none, id);
  for (int attempt = 1; attempt <= ATTEMPTS_DEFAULT; attempt++) {
    start(id);
    enum run_state ended = end(id, RUN_FAILED, true);
    assert_int_equal(ended, attempt < ATTEMPTS_DEFAULT ? RUN_RETRY_WAIT : RUN_FAILED);
    struct run run = get(id);
    assert_int_equal(run.attempt, attempt);
    assert_non_null(run.error_json);
    assert_int_equal(run.next_attempt_at > run.updated_at, ended == RUN_RETRY_WAIT);
    assert_int_equal(run.finished_at != 0, ended == RUN_FAILED);
    run_clear(&run);
    if (ended == RUN_RETRY_WAIT) { /* the time passes */
      struct run_wakes wakes;
      struct err err;
      for (int i = 0; i < 200 && state_of(id) == RUN_RETRY_WAIT; i++) {
        assert_int_equal(run_store_wake(db, &wakes, &err), KPI_OK);
        run_list_clear(&wakes.expired);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
      }
      assert_int_equal(state_of(id), RUN_QUEUED);
    }
  }
  struct retry_order order = {.id = view_of(id)};
  struct run run;
  struct err err;
  assert_int_equal(run_store_retry(db, &order, &run, &err), KPI_OK);
  run_clear(&run);
  start(id);
  assert_int_equal(end(id, RUN_FAILED, true), RUN_RETRY_WAIT); /* by hand: all attempts anew */
}

/* Returns the state that the run has come to; *lost: whether the deaths have ended it just now. */
static enum run_state take_over(const char *id, uint32_t deaths, bool *lost) {
  const struct run_request q = {.id = id, .date = 30, .publish = true, .gate = GATE_WARN};
  const struct submit_policy none = {0};
  const struct past charged = {"this boot", deaths, NULL};
  struct submitted done;
  struct recovery recovery;
  struct err err;
  assert_int_equal(run_store_take_over(db, &q, &none, &defaults, &charged, &done, &recovery, &err), KPI_OK);
  assert_string_equal(done.run.id, id);
  enum run_state state = done.run.state;
  *lost = recovery.lost.count == 1 && strcmp(recovery.lost.runs[0].id, id) == 0;
  run_clear(&done.run);
  run_list_clear(&recovery.lost);
  return state;
}

/* Of services whose disks have gone with them. */
static void deaths_elsewhere_are_charged_to_a_run_that_is_taken_over(void **state) {
  (void)state;
  for (uint32_t deaths = 0; deaths <= CRASHES_MAX + 1; deaths++) {
    char id[UUID_TEXT_SIZE];
    bool lost, is_lost = deaths >= CRASHES_MAX;
    crypto_uuid7(id);
    assert_int_equal(take_over(id, deaths, &lost), is_lost ? RUN_FAILED : RUN_QUEUED);
    assert_int_equal(lost, is_lost);
    struct run run = get(id);
    assert_int_equal(run.attempt, deaths);
    assert_int_equal(is_lost, run.error_json && strstr(run.error_json, "worker_lost"));
    assert_int_equal(deaths > 0, strstr(run.attempts_json, "crashed") != NULL);
    run_clear(&run);
    /* A run that is known stays as it is. */
    assert_int_equal(take_over(id, CRASHES_MAX, &lost), is_lost ? RUN_FAILED : RUN_QUEUED);
    assert_false(lost);
    if (!is_lost)
      run_to(id, RUN_CANCELLED);
  }
}

static void retry_of_a_record_that_has_changed_is_refused(void **state) {
  (void)state;
  struct submit_policy none = {0};
  char id[UUID_TEXT_SIZE];
  struct err err;
  submit(10, &none, id);
  run_to(id, RUN_FAILED);
  struct run run = get(id);
  struct retry_order order = {.id = view_of(id), .if_version = run.version - 1};
  run_clear(&run);
  assert_int_equal(run_store_retry(db, &order, &run, &err), KPI_PRECONDITION_FAILED);
  order.if_version++;
  assert_int_equal(run_store_retry(db, &order, &run, &err), KPI_OK);
  run_clear(&run);
}

static void run_that_was_not_started_in_time_fails_as_expired(void **state) {
  (void)state;
  struct submit_policy none = {0};
  struct run_request q = {.date = 10, .publish = true, .expires_in_seconds = 1};
  struct run_wakes wakes;
  struct submitted done;
  struct err err;
  char other[UUID_TEXT_SIZE];
  submit(11, &none, other);
  assert_int_equal(run_store_submit(db, &q, &none, &defaults, &done, &err), KPI_OK);
  assert_int_equal(run_store_wake(db, &wakes, &err), KPI_OK);
  assert_int_equal(wakes.expired.count, 0);
  run_list_clear(&wakes.expired);
  nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 50000000}, NULL);
  struct run_list claimed; /* a supervisor may come before the ticker */
  const struct claim_filter filter = {.priority = PRIORITY_DAY};
  assert_int_equal(run_store_claim_together(db, "boot", &filter, &defaults, &claimed, &err), KPI_OK);
  assert_int_equal(claimed.count, 1);
  assert_string_equal(claimed.runs[0].id, other);
  run_list_clear(&claimed);
  assert_int_equal(run_store_wake(db, &wakes, &err), KPI_OK);
  assert_int_equal(wakes.expired.count, 1);
  assert_string_equal(wakes.expired.runs[0].id, done.run.id);
  run_list_clear(&wakes.expired);
  struct run run = get(done.run.id);
  assert_int_equal(run.state, RUN_FAILED);
  assert_non_null(strstr(run.error_json, "\"code\":\"expired\""));
  run_clear(&run);
  run_clear(&done.run);
  assert_int_equal(state_of(other), RUN_RUNNING);
}

static void waits_double_to_a_most_and_never_fall_below_the_least(void **state) {
  (void)state;
  for (uint32_t failures = 1; failures < 40; failures++)
    for (uint64_t random = 0; random < 1000000; random += 99991) {
      int64_t ms = run_retry_wait_ms(failures, random);
      int64_t most = failures < 8 ? (int64_t)RETRY_WAIT_MS_MIN << failures : RETRY_WAIT_MS_MAX;
      assert_in_range(ms, RETRY_WAIT_MS_MIN, most < RETRY_WAIT_MS_MAX ? most : RETRY_WAIT_MS_MAX);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      TEST(key_sent_again_gives_its_own_run_whatever_became_of_it),
      TEST(key_sent_with_another_request_is_refused),
      TEST(key_that_attached_stands_for_that_run_ever_after),
      TEST(refused_request_leaves_no_key),
      TEST(key_of_a_failed_run_queues_it_again_when_asked),
      TEST(superseding_cancels_what_waits_and_waits_for_what_works),
      TEST(policy_for_finished_runs_decides_what_answers),
      TEST(run_over_the_same_inputs_is_unchanged),
      TEST(retryable_failures_wait_until_no_attempt_is_left),
      TEST(deaths_elsewhere_are_charged_to_a_run_that_is_taken_over),
      TEST(retry_of_a_record_that_has_changed_is_refused),
      TEST(run_that_was_not_started_in_time_fails_as_expired),
      TEST(waits_double_to_a_most_and_never_fall_below_the_least),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
