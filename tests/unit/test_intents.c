/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "pipeline/day.h"
#include "server/intents.h"

#include "unit.h"

#include "fake_dynamodb.h"
#include "quiet_log.h"

#include <assert.h>

enum { UNDER_WAY_MAX = 256, LEAVE_MS = 8000 };

#define SOURCE "s3://bucket/prefix"

static const struct submit_policy no_key = {.on_active = ON_ACTIVE_ATTACH};

static struct run_request request(const char *reason) {
  return (struct run_request){.date = 20000,
                              .publish = true,
                              .gate = GATE_BLOCK,
                              .bad_rows = BAD_ROWS_SKIP,
                              .force = true,
                              .max_bad_rows = VIEW_LIT("0.5%"),
                              .labels_json = VIEW_LIT("{\"a\":\"b\"}"),
                              .reason = view_of(reason),
                              .user_agent = VIEW_LIT("curl/8"),
                              .request_id = VIEW_LIT("rq-1")};
}

/* Intents with what a service does with them: a gate before the store, and what it was told. */
struct bench {
  struct fake_dynamodb db;
  struct aws *aws;
  struct intents *intents;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool closed;    /* requests wait */
    size_t waiting; /* requests that do, or did */
    size_t changes;
    struct buf loaded; /* "id xDEATHS date gate bad_rows publish force max labels reason agent request;" */
    bool is_unwanted;  /* what the loader says of an intent */
    unsigned refusals; /* so many intents cannot be taken now */
  } synced;
};

static void pass_gate(void *arg) {
  struct bench *b = arg;
  SCOPE_LOCK(&b->synced.lock);
  b->synced.waiting++;
  pthread_cond_broadcast(&b->synced.change);
  while (b->synced.closed)
    pthread_cond_wait(&b->synced.change, &b->synced.lock);
}

static void set_gate(struct bench *b, bool closed) {
  SCOPE_LOCK(&b->synced.lock);
  b->synced.closed = closed;
  pthread_cond_broadcast(&b->synced.change);
}

static void await_waiting(struct bench *b, size_t count) {
  SCOPE_LOCK(&b->synced.lock);
  while (b->synced.waiting < count)
    pthread_cond_wait(&b->synced.change, &b->synced.lock);
}

static void note_change(void *arg, const char *id) {
  struct bench *b = arg;
  assert(strlen(id) == 36);
  SCOPE_LOCK(&b->synced.lock);
  b->synced.changes++;
  pthread_cond_broadcast(&b->synced.change);
}

static void await_changes(struct bench *b, size_t count) {
  SCOPE_LOCK(&b->synced.lock);
  while (b->synced.changes < count)
    pthread_cond_wait(&b->synced.change, &b->synced.lock);
}

static enum kpi_code note_intent(void *arg, const struct intent *found, bool *wanted, struct err *err) {
  struct bench *b = arg;
  const struct run_request *q = &found->request;
  assert_int_equal(found->policy.key.len, 0);
  assert_string_equal(q->id, found->id);
  char date[DAY_TEXT_SIZE];
  SCOPE_LOCK(&b->synced.lock);
  buf_printf(&b->synced.loaded, "%.8s x%u %s %s %s %d%d %.*s %.*s %.*s %.*s %.*s;", found->id, found->deaths,
             day_text(q->date, date), quality_gate_name(q->gate), bad_rows_name(q->bad_rows), q->publish,
             q->force, (int)q->max_bad_rows.len, q->max_bad_rows.ptr, (int)q->labels_json.len,
             q->labels_json.ptr, (int)q->reason.len, q->reason.ptr ? q->reason.ptr : "",
             (int)q->user_agent.len, q->user_agent.ptr, (int)q->request_id.len, q->request_id.ptr);
  *wanted = !b->synced.is_unwanted;
  if (!b->synced.refusals)
    return KPI_OK;
  b->synced.refusals--;
  return err_set(err, KPI_DISK_FULL, "no room");
}

static void bench_init(struct bench *b) {
  *b = (struct bench){.aws = NULL};
  b->aws = fake_dynamodb_init(&b->db);
  b->db.before = pass_gate;
  b->db.before_arg = b;
  pthread_mutex_init(&b->synced.lock, NULL);
  pthread_cond_init(&b->synced.change, NULL);
  buf_init(&b->synced.loaded, 64 * 1024);
  b->intents = intents_new(b->aws, "control", SOURCE, "this-boot", note_change, b);
  assert_non_null(b->intents);
}

/* Waits for what is under way; what the store holds may be looked at afterwards. */
static void finish(struct bench *b) {
  intents_free(b->intents, LEAVE_MS);
  b->intents = NULL;
}

static void bench_clear(struct bench *b) {
  finish(b);
  fake_dynamodb_clear(&b->db, b->aws);
  buf_clear(&b->synced.loaded);
  pthread_cond_destroy(&b->synced.change);
  pthread_mutex_destroy(&b->synced.lock);
}

/* "00000000-..." with the number in the first group. */
static const char *id_of(unsigned n, char out[UUID_TEXT_SIZE]) {
  snprintf(out, UUID_TEXT_SIZE, "%08x-0000-7000-8000-000000000000", n);
  return out;
}

static void put(struct bench *b, unsigned n) {
  char id[UUID_TEXT_SIZE];
  struct err err;
  struct run_request q = request("why");
  assert_int_equal(intents_put(b->intents, id_of(n, id), &q, &no_key, &err), KPI_OK);
}

static size_t stored(struct bench *b) {
  return json_object_size(fake_table(&b->db, "control"));
}

/* Puts one and takes the answer; its id goes into `id`. */
static void store(struct bench *b, unsigned n, char id[UUID_TEXT_SIZE]) {
  struct err err;
  pthread_mutex_lock(&b->synced.lock);
  const size_t before = b->synced.changes;
  pthread_mutex_unlock(&b->synced.lock);
  put(b, n);
  await_changes(b, before + 1);
  assert_int_equal(intents_state(b->intents, id_of(n, id), &err), INTENT_STORED);
}

static void load(struct bench *b) {
  const struct intents_taker taker = {.intent = note_intent, .arg = b};
  intents_load(b->intents, &taker);
  while (!intents_are_loaded(b->intents))
    sched_yield();
}

/* ---- putting ---- */

static void an_intent_is_stored_and_told(void **state) {
  (void)state;
  struct bench b;
  struct err err;
  char id[UUID_TEXT_SIZE], key[64];
  bench_init(&b);
  store(&b, 1, id);
  assert_int_equal(intents_state(b.intents, id, &err), INTENT_STORED); /* whoever asks, and however often */
  finish(&b);
  snprintf(key, sizeof key, "intent#%s", id);
  const json_t *item = fake_item(&b.db, "control", key);
  assert_non_null(item);
  assert_string_equal(fake_text(item, "source"), SOURCE);
  assert_string_equal(fake_text(item, "date"), "2024-10-04");
  assert_string_equal(fake_text(item, "reason"), "why");
  assert_int_equal(strlen(fake_text(item, "accepted_at")), 24);
  bench_clear(&b);
}

static void a_put_that_waits_is_under_way(void **state) {
  (void)state;
  struct bench b;
  struct err err;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  set_gate(&b, true);
  put(&b, 1);
  await_waiting(&b, 1);
  assert_int_equal(intents_state(b.intents, id_of(1, id), &err), INTENT_UNDER_WAY);
  set_gate(&b, false);
  await_changes(&b, 1);
  assert_int_equal(intents_state(b.intents, id, &err), INTENT_STORED);
  bench_clear(&b);
}

static void a_put_that_fails_says_why(void **state) {
  (void)state;
  struct bench b;
  struct err err;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  b.db.fault = FAULT_DENIED;
  b.db.times = 1;
  put(&b, 1);
  await_changes(&b, 1);
  assert_int_equal(intents_state(b.intents, id_of(1, id), &err), INTENT_FAILED);
  assert_int_equal(err.code, KPI_DYNAMODB_ACCESS_DENIED);
  assert_string_equal(err.remote.operation, "PutItem");
  bench_clear(&b);
}

static void too_many_under_way_are_refused(void **state) {
  (void)state;
  struct bench b;
  struct err err;
  char id[UUID_TEXT_SIZE];
  struct run_request q = request("why");
  bench_init(&b);
  set_gate(&b, true);
  for (unsigned i = 0; i < UNDER_WAY_MAX; i++)
    put(&b, i);
  assert_int_equal(intents_put(b.intents, id_of(UNDER_WAY_MAX, id), &q, &no_key, &err), KPI_QUEUE_FULL);
  set_gate(&b, false);
  await_changes(&b, UNDER_WAY_MAX);
  /* Answers that nobody has asked for yet count as well: asking makes room. */
  assert_int_equal(intents_put(b.intents, id, &q, &no_key, &err), KPI_QUEUE_FULL);
  assert_int_equal(intents_state(b.intents, id_of(0, id), &err), INTENT_STORED);
  put(&b, UNDER_WAY_MAX);
  await_changes(&b, UNDER_WAY_MAX + 1);
  finish(&b);
  assert_int_equal(stored(&b), UNDER_WAY_MAX + 1);
  bench_clear(&b);
}

/* ---- removing ---- */

static void what_is_removed_is_gone(void **state) {
  (void)state;
  struct bench b;
  struct err err;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  put(&b, 1);
  put(&b, 2);
  await_changes(&b, 2);
  assert_int_equal(intents_state(b.intents, id_of(1, id), &err), INTENT_STORED);
  intents_remove(b.intents, id);
  intents_remove(b.intents, id_of(2, id)); /* its answer was not asked for */
  intents_remove(b.intents, id_of(3, id)); /* never put: nothing is asked of DynamoDB */
  finish(&b);
  assert_int_equal(stored(&b), 0);
  assert_int_equal(fake_count(&b.db, "DeleteItem"), 2);
  bench_clear(&b);
}

/* The client has gone while the put was on its way: it must not come back as a run at the next start. */
static void a_put_that_is_abandoned_undoes_itself(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  set_gate(&b, true);
  put(&b, 1);
  await_waiting(&b, 1);
  intents_remove(b.intents, id_of(1, id));
  set_gate(&b, false);
  finish(&b);
  assert_int_equal(stored(&b), 0);
  assert_int_equal(fake_count(&b.db, "PutItem"), 1);
  assert_int_equal(fake_count(&b.db, "DeleteItem"), 1);
  assert_int_equal(b.synced.changes, 0); /* nobody asks any more */
  bench_clear(&b);
}

static void a_removal_that_may_do_later_is_repeated(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  store(&b, 1, id);
  b.db.wanted = "DeleteItem";
  b.db.fault = FAULT_SERVER_ERROR;
  b.db.times = 8; /* more often than one call tries */
  intents_remove(b.intents, id);
  finish(&b);
  assert_int_equal(stored(&b), 0);
  assert_int_equal(fake_count(&b.db, "DeleteItem"), 9);
  bench_clear(&b);
}

/* A run that failed is queued again while its intent is still being removed. */
static void what_is_asked_of_one_intent_is_done_in_that_order(void **state) {
  (void)state;
  for (unsigned round = 0; round < 20; round++) {
    struct bench b;
    struct err err;
    char id[UUID_TEXT_SIZE], key[64];
    bench_init(&b);
    store(&b, 1, id);
    set_gate(&b, true);
    intents_begin_attempt(b.intents, id, 1);
    intents_end_attempt(b.intents, id, 1);
    intents_remove(b.intents, id);
    put(&b, 1);
    intents_begin_attempt(b.intents, id, 2);
    set_gate(&b, false);
    await_changes(&b, 2);
    assert_int_equal(intents_state(b.intents, id, &err), INTENT_STORED);
    finish(&b);
    snprintf(key, sizeof key, "intent#%s", id);
    const json_t *open =
        json_object_get(json_object_get(fake_item(&b.db, "control", key), "open_attempts"), "SS");
    assert_int_equal(json_array_size(open), 1);
    assert_string_equal(json_string_value(json_array_get(open, 0)), "this-boot#2");
    bench_clear(&b);
  }
}

/* DynamoDB does not answer: whoever asks does not wait for it. */
static void nobody_waits_to_ask(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  put(&b, 1);
  await_changes(&b, 1);
  set_gate(&b, true);
  for (uint32_t n = 1; n <= 2000; n++)
    intents_begin_attempt(b.intents, id_of(1, id), n);
  intents_remove(b.intents, id);
  set_gate(&b, false);
  finish(&b);
  assert_int_equal(stored(&b), 0);
  bench_clear(&b);
}

static void a_removal_that_fails_is_left_to_the_next_start(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  store(&b, 1, id);
  b.db.wanted = "DeleteItem";
  b.db.fault = FAULT_DENIED;
  b.db.times = 1;
  intents_remove(b.intents, id);
  finish(&b);
  assert_int_equal(stored(&b), 1);
  bench_clear(&b);
}

/* ---- shutting down ---- */

static void shutting_down_waits_for_what_is_under_way(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  for (unsigned i = 0; i < 20; i++)
    put(&b, i);
  finish(&b);
  assert_int_equal(stored(&b), 20);
  bench_clear(&b);
  intents_free(NULL, LEAVE_MS);
}

/* ---- loading ---- */

static void intents_are_found_again_as_they_were_put(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  put(&b, 1);
  await_changes(&b, 1);
  load(&b);
  assert_view(buf_view(&b.synced.loaded),
              "00000001 x0 2024-10-04 block skip 11 0.5% {\"a\":\"b\"} why curl/8 rq-1;");
  finish(&b);
  assert_int_equal(stored(&b), 1);
  bench_clear(&b);
}

static void all_pages_are_loaded(void **state) {
  (void)state;
  static const size_t pages[] = {1, 2, 5, 7};
  for (size_t i = 0; i < COUNT_OF(pages); i++) {
    struct bench b;
    bench_init(&b);
    b.db.page = pages[i];
    for (unsigned n = 0; n < 5; n++)
      put(&b, n);
    await_changes(&b, 5);
    load(&b);
    size_t found = 0;
    for (const char *at = b.synced.loaded.ptr; (at = strchr(at, ';')) != NULL; at++)
      found++;
    assert_int_equal(found, 5);
    assert_int_equal(fake_count(&b.db, "Scan"), (5 + pages[i] - 1) / pages[i]);
    bench_clear(&b);
  }
}

static uint32_t deaths_found(struct bench *b) {
  unsigned deaths = UINT32_MAX;
  load(b);
  assert_int_equal(sscanf(b->synced.loaded.ptr, "%*s x%u", &deaths), 1);
  return deaths;
}

/* Opens the intents as another service does; it knows none before it has loaded them. */
static void move_to(struct bench *b, const char *boot_id) {
  intents_free(b->intents, LEAVE_MS);
  b->intents = intents_new(b->aws, "control", SOURCE, boot_id, note_change, b);
  assert_non_null(b->intents);
  buf_reset(&b->synced.loaded);
}

/* Each step is an attempt of a service of its own: "+" begins one, "-" ends it, "." dies before either. */
static void attempts_that_nobody_has_ended_are_deaths(void **state) {
  (void)state;
  static const struct {
    const char *steps;
    uint32_t deaths;
  } cases[] = {{".", 0}, {"+", 1}, {"++", 2}, {"+++", 3}, {"-", 0}, {"+-+", 2}, {".-.+", 1}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    char id[UUID_TEXT_SIZE], boot[32];
    bench_init(&b);
    store(&b, 1, id);
    for (size_t n = 0; cases[i].steps[n]; n++) {
      snprintf(boot, sizeof boot, "boot-%zu", n);
      move_to(&b, boot);
      deaths_found(&b);
      if (cases[i].steps[n] != '.')
        intents_begin_attempt(b.intents, id_of(1, id), 1);
      if (cases[i].steps[n] == '-')
        intents_end_attempt(b.intents, id_of(1, id), 1);
    }
    move_to(&b, "the last");
    assert_int_equal(deaths_found(&b), cases[i].deaths);
    bench_clear(&b);
  }
}

/* Loading may find what this service itself is at work on. */
static void own_attempts_are_no_deaths(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  store(&b, 1, id);
  intents_begin_attempt(b.intents, id, 1);
  move_to(&b, "this-boot");
  assert_int_equal(deaths_found(&b), 0);
  bench_clear(&b);
}

/* A day of a backfill, or a run that has ended meanwhile. */
static void an_attempt_makes_no_intent(void **state) {
  (void)state;
  struct bench b;
  char id[UUID_TEXT_SIZE];
  bench_init(&b);
  intents_begin_attempt(b.intents, id_of(1, id), 1);
  intents_end_attempt(b.intents, id, 1);
  finish(&b);
  assert_int_equal(fake_count(&b.db, "UpdateItem"), 0);
  assert_int_equal(stored(&b), 0);
  bench_clear(&b);
}

static void what_cannot_be_taken_now_is_taken_later(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  put(&b, 1);
  put(&b, 2);
  await_changes(&b, 2);
  b.synced.refusals = 1;
  load(&b);
  assert_int_equal(fake_count(&b.db, "Scan"), 2);
  assert_int_equal(b.synced.refusals, 0);
  finish(&b);
  assert_int_equal(stored(&b), 2);
  bench_clear(&b);
}

static void what_is_no_longer_wanted_is_removed(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  put(&b, 1);
  put(&b, 2);
  await_changes(&b, 2);
  b.synced.is_unwanted = true;
  load(&b);
  finish(&b);
  assert_int_equal(stored(&b), 0);
  bench_clear(&b);
}

/* Other services share the table; a damaged item must keep nobody from starting. */
static void items_that_are_not_ours_are_left_alone(void **state) {
  (void)state;
  static const char *const items[] = {
      "{\"pk\":{\"S\":\"date#2024-10-04\"},\"ver\":{\"N\":\"1\"}}",
      "{\"pk\":{\"S\":\"intent#00000001-0000-7000-8000-000000000000\"},\"source\":{\"S\":\"s3://other\"},"
      "\"date\":{\"S\":\"2024-02-29\"},\"quality_gate\":{\"S\":\"off\"},\"bad_rows\":{\"S\":\"fail\"},"
      "\"publish\":{\"N\":\"1\"},\"force\":{\"N\":\"0\"}}",
      "{\"pk\":{\"S\":\"intent#nonsense\"},\"source\":{\"S\":\"" SOURCE "\"}}",
      "{\"pk\":{\"S\":\"intent#00000002-0000-7000-8000-000000000000\"},\"source\":{\"S\":\"" SOURCE "\"}}",
      "{\"pk\":{\"S\":\"intent#00000003-0000-7000-8000-000000000000\"},\"source\":{\"S\":\"" SOURCE "\"},"
      "\"date\":{\"S\":\"2024-02-30\"},\"quality_gate\":{\"S\":\"off\"},\"bad_rows\":{\"S\":\"fail\"},"
      "\"publish\":{\"N\":\"1\"},\"force\":{\"N\":\"0\"}}",
      "{\"pk\":{\"S\":\"intent#00000004-0000-7000-8000-000000000000\"},\"source\":{\"S\":\"" SOURCE "\"},"
      "\"date\":{\"S\":\"2024-02-29\"},\"quality_gate\":{\"S\":\"maybe\"},\"bad_rows\":{\"S\":\"fail\"},"
      "\"publish\":{\"N\":\"1\"},\"force\":{\"N\":\"0\"}}",
      "{\"pk\":{\"S\":\"intent#00000005-0000-7000-8000-000000000000\"},\"source\":{\"S\":\"" SOURCE "\"},"
      "\"date\":{\"S\":\"2024-02-29\"},\"quality_gate\":{\"S\":\"off\"},\"bad_rows\":{\"S\":\"fail\"},"
      "\"publish\":{\"S\":\"yes\"},\"force\":{\"N\":\"0\"}}",
  };
  struct bench b;
  bench_init(&b);
  for (size_t i = 0; i < COUNT_OF(items); i++) {
    json_t *item = json_loads(items[i], 0, NULL);
    fake_put(&b.db, "control", item);
    json_decref(item);
  }
  put(&b, 9);
  await_changes(&b, 1);
  load(&b);
  assert_true(view_starts(buf_view(&b.synced.loaded), "00000009 "));
  assert_ptr_equal(strchr(b.synced.loaded.ptr, ';'), b.synced.loaded.ptr + b.synced.loaded.len - 1);
  finish(&b);
  assert_int_equal(stored(&b), COUNT_OF(items) + 1);
  bench_clear(&b);
}

static void a_service_that_ends_does_not_go_on_asking(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  b.db.wanted = "Scan";
  b.db.fault = FAULT_DENIED;
  b.db.times = 1000;
  const struct intents_taker taker = {.intent = note_intent, .arg = &b};
  intents_load(b.intents, &taker);
  await_waiting(&b, 1);
  assert_false(intents_are_loaded(b.intents));
  finish(&b); /* within a tenth of a second, not after the pause of five */
  assert_int_equal(fake_count(&b.db, "Scan"), 1);
  bench_clear(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_intent_is_stored_and_told),
      cmocka_unit_test(a_put_that_waits_is_under_way),
      cmocka_unit_test(a_put_that_fails_says_why),
      cmocka_unit_test(too_many_under_way_are_refused),
      cmocka_unit_test(what_is_removed_is_gone),
      cmocka_unit_test(a_put_that_is_abandoned_undoes_itself),
      cmocka_unit_test(a_removal_that_may_do_later_is_repeated),
      cmocka_unit_test(what_is_asked_of_one_intent_is_done_in_that_order),
      cmocka_unit_test(nobody_waits_to_ask),
      cmocka_unit_test(what_cannot_be_taken_now_is_taken_later),
      cmocka_unit_test(a_removal_that_fails_is_left_to_the_next_start),
      cmocka_unit_test(shutting_down_waits_for_what_is_under_way),
      cmocka_unit_test(intents_are_found_again_as_they_were_put),
      cmocka_unit_test(all_pages_are_loaded),
      cmocka_unit_test(attempts_that_nobody_has_ended_are_deaths),
      cmocka_unit_test(own_attempts_are_no_deaths),
      cmocka_unit_test(an_attempt_makes_no_intent),
      cmocka_unit_test(what_is_no_longer_wanted_is_removed),
      cmocka_unit_test(items_that_are_not_ours_are_left_alone),
      cmocka_unit_test(a_service_that_ends_does_not_go_on_asking),
  };
  return cmocka_run_group_tests_name("intents", tests, quiet_log, NULL);
}
