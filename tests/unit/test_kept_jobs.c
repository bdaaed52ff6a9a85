/* SPDX-License-Identifier: MIT
 * Jobs of a cluster that outlive the disk: what is kept of them in DynamoDB, and what becomes of it on
 * another disk. */
#include "base/log.h"
#include "server/engine_reaper.h"
#include "server/run_hand_off.h"

#include "engine_jobs.h"

#include "fake_dynamodb.h"

#define SOURCE "s3://bucket/prefix"
#define OTHER "01890000-0000-7000-8000-000000000001"

enum { CLOCK_NUMBER_MIN = 1700000000, LEAVE_MS = 8000 };

/* ---- bench ---- */

/* Intents, and what they have handed on, in that order: "run: job;" or "job;", a job as "owner#number id". */
struct bench {
  struct fake_dynamodb dynamodb;
  struct aws *aws;
  struct intents *intents;
  struct buf taken;
  bool is_over;      /* what is said of a job */
  unsigned refusals; /* so many runs cannot be taken now */
};

static void ignore_change(void *arg, const char *id) {
  (void)arg;
  (void)id;
}

static void note(struct bench *b, const struct owned_job *job) {
  if (job)
    buf_printf(&b->taken, "%.8s#%u %s;", job->owner, job->job.number, job->job.id);
  else
    buf_add_cstr(&b->taken, "none;");
}

static enum kpi_code take_intent(void *arg, const struct intent *found, bool *wanted, struct err *err) {
  struct bench *b = arg;
  (void)wanted;
  buf_printf(&b->taken, "%.8s: ", found->id);
  note(b, found->job);
  if (!b->refusals)
    return KPI_OK;
  b->refusals--;
  return err_set(err, KPI_DISK_FULL, "no room");
}

static enum kpi_code take_job(void *arg, const struct owned_job *found, bool *wanted, struct err *err) {
  struct bench *b = arg;
  (void)err;
  note(b, found);
  *wanted = !b->is_over;
  return KPI_OK;
}

static void open_intents(struct bench *b) {
  b->intents = intents_new(b->aws, "control", SOURCE, "boot", ignore_change, b);
  assert_non_null(b->intents);
}

static void bench_init(struct bench *b) {
  *b = (struct bench){.aws = NULL};
  b->aws = fake_dynamodb_init(&b->dynamodb);
  buf_init(&b->taken, 64 * 1024);
  open_intents(b);
}

/* Waits for what is under way. */
static void settle(struct bench *b) {
  intents_free(b->intents, LEAVE_MS);
  open_intents(b);
}

static void bench_clear(struct bench *b) {
  intents_free(b->intents, LEAVE_MS);
  fake_dynamodb_clear(&b->dynamodb, b->aws);
  buf_clear(&b->taken);
}

static void load(struct bench *b) {
  const struct intents_taker taker = {take_intent, take_job, b};
  buf_reset(&b->taken);
  intents_load(b->intents, &taker);
  while (!intents_are_loaded(b->intents))
    sched_yield();
}

/* "000000NN-..." */
static const char *id_of(unsigned n, char out[UUID_TEXT_SIZE]) {
  snprintf(out, UUID_TEXT_SIZE, "%08x-0000-7000-8000-000000000000", n);
  return out;
}

static struct owned_job owned(const char *owner, uint32_t number, const char *id) {
  struct owned_job job = {.job = job_of(number, id)};
  view_to_cstr(view_of(owner), job.owner, sizeof job.owner);
  return job;
}

static void put_intent(struct bench *b, const char *id) {
  const struct run_request q = {.date = 20000, .publish = true, .max_bad_rows = VIEW_LIT("1")};
  const struct submit_policy none = {0};
  struct err err;
  assert_int_equal(intents_put(b->intents, id, &q, &none, &err), KPI_OK);
  while (intents_state(b->intents, id, &err) == INTENT_UNDER_WAY)
    sched_yield();
}

static void keep_job(struct bench *b, const char *owner, uint32_t number, const char *const *runs,
                     size_t count) {
  const struct owned_job job = owned(owner, number, "");
  struct err err;
  assert_int_equal(intents_keep_job(b->intents, &job, runs, count, NULL, &err), KPI_OK);
}

static const json_t *item_of(struct bench *b, const char *owner, uint32_t number) {
  char key[64];
  snprintf(key, sizeof key, "job#%s#%u", owner, number);
  return fake_item(&b->dynamodb, "control", key);
}

/* ---- what is kept ---- */

static void job_is_kept_before_it_is_submitted_and_until_it_is_over(void **state) {
  (void)state;
  struct bench b;
  struct run_hand_off h;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  const struct stop_flag go_on = {0};
  struct handed_job job;
  struct err err;
  uint32_t number;
  bench_init(&b);
  submit(1, ENGINE_SPARK, run);
  run_hand_off_init(&h, db, NULL, run, false, runs, 1);
  run_hand_off_outlive(&h, b.intents, &go_on);
  assert_int_equal(h.base.begin(h.base.arg, &number, &err), KPI_OK);
  job = job_of(number, "");
  assert_int_equal(h.base.keep(h.base.arg, &job, &err), KPI_OK);
  const json_t *item = item_of(&b, run, 1); /* without waiting for anything else */
  assert_non_null(item);
  assert_string_equal(fake_text(item, "source"), SOURCE);
  assert_string_equal(fake_text(item, "spec_sha256"), "spec 1");
  const json_t *waiting = json_object_get(json_object_get(item, "runs"), "SS");
  assert_int_equal(json_array_size(waiting), 1);
  assert_string_equal(json_string_value(json_array_get(waiting, 0)), run);
  job = job_of(number, "job-1");
  assert_int_equal(h.base.keep(h.base.arg, &job, &err), KPI_OK);
  settle(&b);
  assert_string_equal(fake_text(item_of(&b, run, 1), "job_id"), "job-1");
  h.intents = b.intents;
  h.base.give_up(h.base.arg, &job);
  settle(&b);
  assert_null(json_object_get(item_of(&b, run, 1), "runs")); /* it is yet to be ended */
  const struct owned_job kept = owned(run, 1, "job-1");
  intents_remove_job(b.intents, run, 1);
  intents_name_job(b.intents, &kept); /* too late: that makes no new item */
  settle(&b);
  assert_null(item_of(&b, run, 1));
  bench_clear(&b);
}

/* Its number stays with the database, which has it ended. */
static void job_that_cannot_be_kept_is_not_to_be_submitted(void **state) {
  (void)state;
  struct bench b;
  struct run_hand_off h;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  const struct stop_flag go_on = {0};
  struct err err;
  uint32_t number;
  bench_init(&b);
  b.dynamodb.fault = FAULT_DENIED;
  b.dynamodb.times = 1;
  submit(1, ENGINE_SPARK, run);
  run_hand_off_init(&h, db, NULL, run, false, runs, 1);
  run_hand_off_outlive(&h, b.intents, &go_on);
  assert_int_equal(h.base.begin(h.base.arg, &number, &err), KPI_OK);
  const struct handed_job job = job_of(number, "");
  assert_int_equal(h.base.keep(h.base.arg, &job, &err), KPI_DYNAMODB_ACCESS_DENIED);
  h.base.give_up(h.base.arg, &job);
  assert_int_equal(list_to_end(0), 1);
  bench_clear(&b);
}

static enum kpi_code discard(struct engine *e, const struct unwanted_job *job, const struct stop_flag *stop,
                             bool *over, struct err *err) {
  (void)e;
  (void)job;
  (void)stop;
  (void)err;
  *over = true;
  return KPI_OK;
}

static void job_that_was_ended_is_kept_no_more(void **state) {
  (void)state;
  static const struct engine_vtable vtable = {.discard = discard};
  struct engine engine = {&vtable};
  struct bench b;
  const struct stop_flag go_on = {0};
  struct reaped reaped;
  struct err err;
  bench_init(&b);
  keep(STRANGER, 1, "job-1", NULL, 0);
  keep_job(&b, STRANGER, 1, NULL, 0);
  assert_non_null(item_of(&b, STRANGER, 1));
  const struct reaping with = {db, &engine, b.intents};
  assert_int_equal(engine_reap(&with, &go_on, &reaped, &err), KPI_OK);
  settle(&b);
  assert_null(item_of(&b, STRANGER, 1));
  bench_clear(&b);
}

/* ---- what is found ---- */

static void runs_are_handed_on_with_their_jobs_and_then_the_other_jobs(void **state) {
  (void)state;
  static const size_t pages[] = {0, 1, 2};
  for (size_t i = 0; i < COUNT_OF(pages); i++) {
    struct bench b;
    char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE], third[UUID_TEXT_SIZE];
    bench_init(&b);
    b.dynamodb.page = pages[i];
    const char *const both[] = {id_of(1, first), id_of(2, second)};
    keep_job(&b, first, 7, both, 2);
    keep_job(&b, OTHER, 1, NULL, 0);
    put_intent(&b, first);
    put_intent(&b, second);
    put_intent(&b, id_of(3, third));
    const struct owned_job named = owned(first, 7, "job-7");
    intents_name_job(b.intents, &named);
    settle(&b);
    load(&b);
    assert_view(buf_view(&b.taken), "00000001: 00000001#7 job-7;00000002: 00000001#7 job-7;00000003: none;"
                                    "00000001#7 job-7;01890000#1 ;");
    settle(&b);
    assert_non_null(item_of(&b, OTHER, 1));
    bench_clear(&b);
  }
}

/* What says that the run has left its last job is sent some time later, or not at all. */
static void of_two_jobs_a_run_waits_for_the_one_that_was_kept_last(void **state) {
  (void)state;
  for (unsigned order = 0; order < 2; order++) {
    struct bench b;
    char run[UUID_TEXT_SIZE];
    bench_init(&b);
    const char *const runs[] = {id_of(1, run)};
    put_intent(&b, run);
    keep_job(&b, order ? run : OTHER, 1, runs, 1);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    keep_job(&b, order ? OTHER : run, 1, runs, 1);
    load(&b);
    assert_true(view_starts(buf_view(&b.taken), order ? "00000001: 01890000#1 ;" : "00000001: 00000001#1 ;"));
    bench_clear(&b);
  }
}

static void no_job_is_ended_while_a_run_has_yet_to_be_taken(void **state) {
  (void)state;
  struct bench b;
  char run[UUID_TEXT_SIZE];
  bench_init(&b);
  const char *const runs[] = {id_of(1, run)};
  put_intent(&b, run);
  keep_job(&b, run, 1, runs, 1);
  b.refusals = 1;
  load(&b);
  assert_view(buf_view(&b.taken), "00000001: 00000001#1 ;00000001: 00000001#1 ;00000001#1 ;");
  bench_clear(&b);
}

static void job_that_is_known_to_be_over_is_removed(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  keep_job(&b, OTHER, 1, NULL, 0);
  b.is_over = true;
  load(&b);
  settle(&b);
  assert_null(item_of(&b, OTHER, 1));
  bench_clear(&b);
}

static void jobs_that_are_not_ours_are_left_alone(void **state) {
  (void)state;
  static const char *const items[] = {
      "{\"pk\":{\"S\":\"job#a\"},\"source\":{\"S\":\"s3://other\"},\"owner\":{\"S\":\"" OTHER
      "\"},\"number\":{\"N\":\"1\"}}",
      "{\"pk\":{\"S\":\"job#b\"},\"source\":{\"S\":\"" SOURCE "\"},\"owner\":{\"S\":\"nobody\"},"
      "\"number\":{\"N\":\"1\"}}",
      "{\"pk\":{\"S\":\"job#c\"},\"source\":{\"S\":\"" SOURCE "\"},\"owner\":{\"S\":\"" OTHER "\"}}",
      "{\"pk\":{\"S\":\"job#d\"},\"source\":{\"S\":\"" SOURCE "\"},\"owner\":{\"S\":\"" OTHER
      "\"},\"number\":{\"N\":\"0\"}}",
      "{\"pk\":{\"S\":\"job#e\"},\"source\":{\"S\":\"" SOURCE "\"},\"owner\":{\"S\":\"" OTHER
      "\"},\"number\":{\"N\":\"4294967296\"}}"};
  struct bench b;
  bench_init(&b);
  for (size_t i = 0; i < COUNT_OF(items); i++) {
    json_t *item = json_loads(items[i], 0, NULL);
    fake_put(&b.dynamodb, "control", item);
    json_decref(item);
  }
  load(&b);
  assert_int_equal(b.taken.len, 0);
  assert_int_equal(json_object_size(fake_table(&b.dynamodb, "control")), COUNT_OF(items));
  bench_clear(&b);
}

/* ---- on another disk ---- */

static void take_over(const char *id, enum engine_kind engine, const struct owned_job *job) {
  static day_t date = 100;
  const struct run_request q = {.id = id, .date = date++, .gate = GATE_WARN, .engine = engine};
  const struct submit_policy none = {0};
  const struct past past = {"this boot", 1, job};
  struct submitted done;
  struct recovery recovery;
  struct err err;
  assert_int_equal(run_store_take_over(db, &q, &none, &defaults, &past, &done, &recovery, &err), KPI_OK);
  assert_int_equal(done.run.state, RUN_QUEUED);
  assert_string_equal(done.run.engine_job_owner ? done.run.engine_job_owner : "", job ? job->owner : "");
  run_clear(&done.run);
  run_list_clear(&recovery.lost);
}

static uint32_t begin(const char *owner, const char *run) {
  uint32_t number;
  struct err err;
  assert_int_equal(engine_job_store_begin(db, owner, &run, 1, &number, &err), KPI_OK);
  return number;
}

static void give_up(const char *owner, uint32_t number, const char *run) {
  const struct handed_job job = {.number = number};
  struct err err;
  assert_int_equal(engine_job_store_give_up(db, owner, &job, &run, 1, &err), KPI_OK);
}

static void runs_go_on_with_the_job_that_they_waited_for(void **state) {
  (void)state;
  char first[UUID_TEXT_SIZE], second[UUID_TEXT_SIZE];
  const struct owned_job job = owned(id_of(1, first), 2, "job-2");
  take_over(first, ENGINE_SPARK, &job);
  take_over(id_of(2, second), ENGINE_AUTO, &job);
  assert_found(first, true, 2, "job-2");
  assert_int_equal(list_to_end(1), 0);
  give_up(first, 2, first);
  assert_int_equal(list_to_end(1), 0); /* the other one waits */
  give_up(first, 2, second);
  assert_int_equal(list_to_end(0), 1);
  assert_int_equal(to_end[0].job.number, 2);
}

/* Jobs that were over on the lost disk are not known here. */
static void no_job_gets_a_number_that_one_had_on_a_lost_disk(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE], of_others[UUID_TEXT_SIZE], native[UUID_TEXT_SIZE];
  const struct owned_job shared = owned(OTHER, 3, "job-3");
  take_over(id_of(1, run), ENGINE_SPARK, NULL);
  assert_found(run, false, 0, "");
  assert_true(begin(run, run) > CLOCK_NUMBER_MIN);
  take_over(id_of(2, of_others), ENGINE_SPARK, &shared);
  give_up(OTHER, 3, of_others);
  assert_true(begin(OTHER, of_others) > CLOCK_NUMBER_MIN);
  assert_true(begin(of_others, of_others) > CLOCK_NUMBER_MIN);
  take_over(id_of(3, native), ENGINE_NATIVE, NULL);
  assert_int_equal(begin(native, native), 1);
}

static void job_that_nobody_waits_for_is_to_be_ended(void **state) {
  (void)state;
  const struct owned_job job = owned(OTHER, 3, "job-3");
  struct err err;
  bool over;
  for (int times = 0; times < 2; times++) {
    assert_int_equal(engine_job_store_inherit(db, &job, &over, &err), KPI_OK);
    assert_false(over);
    assert_int_equal(list_to_end(0), 1);
    assert_string_equal(to_end[0].owner, OTHER);
    assert_int_equal(to_end[0].job.number, 3);
    assert_string_equal(to_end[0].job.id, "job-3");
  }
  assert_int_equal(engine_job_store_over(db, OTHER, 3, &err), KPI_OK);
  assert_int_equal(engine_job_store_inherit(db, &job, &over, &err), KPI_OK);
  assert_true(over);
  assert_int_equal(list_to_end(0), 0);
}

/* A start with the disk that has them finds their items too. */
static void jobs_that_are_known_stay_as_they_are(void **state) {
  (void)state;
  char run[UUID_TEXT_SIZE];
  const char *const runs[] = {run};
  struct err err;
  bool over;
  submit(1, ENGINE_SPARK, run);
  keep(run, 1, "job-1", runs, 1);
  const struct owned_job stale = owned(run, 1, "");
  assert_int_equal(engine_job_store_inherit(db, &stale, &over, &err), KPI_OK);
  assert_false(over);
  assert_found(run, true, 1, "job-1");
  assert_int_equal(list_to_end(1), 0);
}

static int quiet(void **state) {
  log_init(LOG_ERROR, STDOUT_FILENO);
  return open_db(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, quiet, close_db)
      TEST(job_is_kept_before_it_is_submitted_and_until_it_is_over),
      TEST(job_that_cannot_be_kept_is_not_to_be_submitted),
      TEST(job_that_was_ended_is_kept_no_more),
      TEST(runs_are_handed_on_with_their_jobs_and_then_the_other_jobs),
      TEST(of_two_jobs_a_run_waits_for_the_one_that_was_kept_last),
      TEST(no_job_is_ended_while_a_run_has_yet_to_be_taken),
      TEST(job_that_is_known_to_be_over_is_removed),
      TEST(jobs_that_are_not_ours_are_left_alone),
      TEST(runs_go_on_with_the_job_that_they_waited_for),
      TEST(no_job_gets_a_number_that_one_had_on_a_lost_disk),
      TEST(job_that_nobody_waits_for_is_to_be_ended),
      TEST(jobs_that_are_known_stay_as_they_are),
  };
  return cmocka_run_group_tests_name("kept jobs", tests, NULL, NULL);
}
