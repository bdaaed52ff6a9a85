/* SPDX-License-Identifier: MIT
 * For unit tests of the Spark engine: a cluster whose jobs a test leads by the hand, a keeper of jobs in
 * memory, and a folder where service and jobs meet. */
#ifndef KPID_TESTS_SPARK_BENCH_H
#define KPID_TESTS_SPARK_BENCH_H

#include "spark_files.h"

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/engine_spark.h"
#include "pipeline/source.h"

#include <jansson.h>
#include <unistd.h>

enum { FAKE_JOBS_MAX = 8, NAME_SIZE = 160, LOOKS_MAX = 12 /* whoever looks more often will not end */ };
#define OWNER "0192f0c1-2d3e-7a4b-8c5d-0123456789ab"

struct bench;
struct fake_job {
  char id[32], token[65];
  char folder[96]; /* of its files, in the store */
  uint32_t timeout_seconds;
  enum spark_job_state state;
  const char *reason;
};

/* What happens when a job was started, or when it is looked at the nth time; `job` NULL: there is none. */
typedef void (*step_fn)(struct bench *b, struct fake_job *job, int nth);

struct fake_cluster {
  struct spark_cluster base;
  struct bench *b;
};

/* A folder of which a file may be out of reach for a while, as those of S3. */
struct fake_store {
  struct spark_store base;
  struct spark_store *folder; /* owned */
  struct bench *b;
};

struct bench {
  struct fake_cluster cluster;
  struct fake_store store; /* the engine's */
  struct fake_job jobs[FAKE_JOBS_MAX];
  size_t job_count;
  step_fn on_start, on_look;
  int looks, cancels;
  bool is_away, refuses, loses_replies; /* the cluster; `loses`: after it has acted */
  bool cancels_slowly;                  /* a job is not over by being cancelled */
  char spec_uri[256];                   /* of the last start */
  uint32_t timeout_seconds;

  struct hand_off keeper;
  struct handed_job kept, given_up; /* the last ones */
  bool is_handed;                   /* kept is to be gone on with */
  uint32_t last_number;
  int keeps, keep_fails_at;
  struct buf events; /* of keeper and cluster */

  char folder[64], url[96];
  struct spark_store *files;   /* where the engine's store is */
  const char *out_of_reach;    /* how names end that the engine cannot read; NULL: none */
  const char *is_cancelled_at; /* how the name ends that is read when the run is cancelled; NULL: none */
  struct buf heard;            /* the files of which each piece is a sign of life */
  struct engine *engine;
  struct source source;
  struct source_listing listing;
  struct budget budget;
  struct stop_flag stop;
  struct job_progress progress;
  struct job job;
  struct day_results out;
  struct err err;
  const char *manifest_from, *manifest_to; /* what stands in manifests instead of what */
};

static inline void note(struct bench *b, const char *what, const char *id) {
  buf_printf(&b->events, "%s%s%s", b->events.len ? ", " : "", what, id);
}

/* ---- what jobs do ---- */

static inline void leave(struct bench *b, const char *folder, const char *file, const char *text) {
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%s/%s", folder, file);
  assert_int_equal(spark_store_put(b->files, name, view_of(text), NULL, &b->err), KPI_OK);
}

/* Reads a file of a job. Returns owned, NULL when there is none. */
static inline char *file_of(struct bench *b, const char *folder, const char *file) {
  char name[NAME_SIZE];
  struct buf text;
  bool found;
  buf_init(&text, 1 << 20);
  snprintf(name, sizeof name, "%s/%s", folder, file);
  assert_int_equal(spark_store_get(b->files, name, NULL, NULL, &text, &found, &b->err), KPI_OK);
  return found ? buf_take(&text) : NULL;
}

static inline bool has_file(struct bench *b, const char *folder, const char *file) {
  char *text = file_of(b, folder, file);
  free(text);
  return text;
}

static inline bool has_day(const json_t *days, const char *day) {
  const json_t *one;
  size_t i;
  bool found = json_is_string(days); /* all */
  json_array_foreach(days, i, one) found |= strcmp(json_string_value(one), day) == 0;
  return found;
}

/* Leaves what a job of a spec would compute, in a folder; the data have rows of two days. */
static inline void leave_results(struct bench *b, const char *spec, const char *folder) {
  static const char *const data[] = {"2023-01-15", "2023-01-17"};
  char sha256[SHA256_HEX_SIZE];
  struct buf lines, manifest;
  json_t *json = json_loads(spec, 0, NULL);
  assert_non_null(json);
  crypto_sha256_hex(view_of(spec), sha256);
  buf_init(&lines, 1 << 20);
  buf_init(&manifest, 1 << 20);
  buf_add_cstr(&lines, "");
  uint64_t rows = 0;
  for (size_t i = 0; i < COUNT_OF(data); i++)
    if (has_day(json_object_get(json, "days"), data[i])) {
      buf_printf(&lines, CATEGORY_LINE_OF("%s") DAY_LINE_OF("%s"), data[i], data[i]);
      rows += 2;
    }
  const struct left_files left = {.run_id = json_string_value(json_object_get(json, "run_id")),
                                  .number = (uint32_t)json_integer_value(json_object_get(json, "attempt")),
                                  .spec_sha256 = sha256,
                                  .fingerprint =
                                      json_string_value(json_object_get(json, "input_fingerprint")),
                                  .results = rows ? lines.ptr : "",
                                  .result_rows = rows};
  manifest_write(&left, b->manifest_from, b->manifest_to, &manifest);
  leave(b, folder, RESULTS_FILE, left.results);
  leave(b, folder, CATEGORIES_FILE, CATEGORY_NAMES);
  leave(b, folder, "manifest.json", manifest.ptr);
  json_decref(json);
  buf_clear(&lines);
  buf_clear(&manifest);
}

/* The job does what its spec says, and is over. */
static inline void succeed(struct bench *b, struct fake_job *job, int nth) {
  (void)nth;
  char *spec = file_of(b, job->folder, "spec.json");
  assert_non_null(spec);
  leave_results(b, spec, job->folder);
  job->state = SPARK_JOB_SUCCEEDED;
  free(spec);
}

/* ---- cluster ---- */

static inline struct fake_job *job_of(struct bench *b, const char *id) {
  for (size_t i = 0; i < b->job_count; i++)
    if (strcmp(b->jobs[i].id, id) == 0)
      return &b->jobs[i];
  return NULL;
}

static inline struct fake_job *job_with(struct bench *b, const char *token) {
  for (size_t i = 0; i < b->job_count; i++)
    if (strcmp(b->jobs[i].token, token) == 0)
      return &b->jobs[i];
  return NULL;
}

/* A job that runs, as its spec's URI says where. */
static inline struct fake_job *add_job(struct bench *b, const struct spark_submission *s) {
  const char *name = strstr(s->spec_uri, "kpi-runs/");
  assert_true(name && b->job_count < FAKE_JOBS_MAX);
  struct fake_job *job = &b->jobs[b->job_count++];
  *job = (struct fake_job){.state = SPARK_JOB_RUNNING, .reason = "", .timeout_seconds = s->timeout_seconds};
  snprintf(job->id, sizeof job->id, "job-%zu", b->job_count);
  snprintf(job->token, sizeof job->token, "%s", s->token);
  snprintf(job->folder, sizeof job->folder, "%.*s", (int)(strrchr(name, '/') - name), name);
  return job;
}

static inline enum kpi_code away(struct err *err) {
  return err_set(err, KPI_ENGINE_UNAVAILABLE, "the cluster is away");
}

static inline enum kpi_code fake_start(struct spark_cluster *c, const struct spark_submission *s,
                                       char id[SPARK_JOB_ID_SIZE], struct err *err) {
  struct bench *b = ((struct fake_cluster *)c)->b;
  note(b, "start ", s->token);
  snprintf(b->spec_uri, sizeof b->spec_uri, "%s", s->spec_uri);
  b->timeout_seconds = s->timeout_seconds;
  if (b->is_away)
    return away(err);
  if (b->refuses)
    return err_set(err, KPI_ENGINE_FAILED, "the cluster refuses");
  struct fake_job *job = c->vtable->start_is_idempotent ? job_with(b, s->token) : NULL;
  if (job && job->timeout_seconds != s->timeout_seconds)
    return err_set(err, KPI_ENGINE_FAILED, "the token was used with another body");
  if (!job) {
    job = add_job(b, s);
    if (b->on_start)
      b->on_start(b, job, 0);
  }
  snprintf(id, SPARK_JOB_ID_SIZE, "%s", b->loses_replies ? "" : job->id);
  return b->loses_replies ? away(err) : KPI_OK;
}

static inline enum kpi_code fake_find(struct spark_cluster *c, const char *token,
                                      const struct stop_flag *stop, char id[SPARK_JOB_ID_SIZE],
                                      struct err *err) {
  struct bench *b = ((struct fake_cluster *)c)->b;
  const struct fake_job *job = job_with(b, token);
  (void)stop;
  if (b->is_away)
    return away(err);
  snprintf(id, SPARK_JOB_ID_SIZE, "%s", job && job->state < SPARK_JOB_SUCCEEDED ? job->id : "");
  return KPI_OK;
}

static inline enum kpi_code fake_look(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                                      struct spark_job_status *out, struct err *err) {
  struct bench *b = ((struct fake_cluster *)c)->b;
  struct fake_job *job = job_of(b, id);
  (void)stop;
  assert_true(++b->looks <= LOOKS_MAX);
  if (b->on_look)
    b->on_look(b, job, b->looks);
  if (b->is_away)
    return away(err);
  out->state = job ? job->state : SPARK_JOB_UNKNOWN;
  snprintf(out->reason, sizeof out->reason, "%s", job ? job->reason : "");
  return KPI_OK;
}

static inline enum kpi_code fake_cancel(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                                        struct err *err) {
  struct bench *b = ((struct fake_cluster *)c)->b;
  struct fake_job *job = job_of(b, id);
  (void)stop;
  b->cancels++;
  if (b->is_away)
    return away(err);
  if (job && !b->cancels_slowly && job->state < SPARK_JOB_SUCCEEDED)
    job->state = SPARK_JOB_CANCELLED;
  return KPI_OK;
}

static inline void fake_free(struct spark_cluster *c) {
  (void)c; /* the test's own */
}

static const struct spark_cluster_vtable idempotent_cluster = {"s3",      true,        fake_start, fake_find,
                                                               fake_look, fake_cancel, fake_free};
static const struct spark_cluster_vtable forgetful_cluster = {"s3a",     false,       fake_start, NULL,
                                                              fake_look, fake_cancel, fake_free};

/* ---- store ---- */

static inline enum kpi_code fake_put(struct spark_store *s, const char *name, struct view bytes,
                                     const struct stop_flag *stop, struct err *err) {
  return spark_store_put(((struct fake_store *)s)->folder, name, bytes, stop, err);
}

static inline enum kpi_code fake_get(struct spark_store *s, const char *name, const struct stop_flag *stop,
                                     _Atomic uint64_t *beats, struct buf *out, bool *found, struct err *err) {
  const struct fake_store *store = (const struct fake_store *)s;
  struct bench *b = store->b;
  if (b->out_of_reach && view_ends(view_of(name), b->out_of_reach))
    return err_set(err, KPI_S3_UNAVAILABLE, "%s is out of reach", name);
  if (b->is_cancelled_at && view_ends(view_of(name), b->is_cancelled_at))
    stop_raise(&b->stop, STOP_CANCEL);
  if (beats == &b->progress.beats)
    buf_printf(&b->heard, "%s%s", b->progress.elsewhere == ELSEWHERE_RUNNING ? " " : " waiting ",
               strrchr(name, '/') + 1);
  return spark_store_get(store->folder, name, stop, beats, out, found, err);
}

static inline enum kpi_code fake_remove_all(struct spark_store *s, const char *prefix,
                                            const struct stop_flag *stop, struct err *err) {
  return spark_store_remove_all(((struct fake_store *)s)->folder, prefix, stop, err);
}

static inline void fake_store_free(struct spark_store *s) {
  spark_store_free(((struct fake_store *)s)->folder);
}

static const struct spark_store_vtable fake_store = {fake_put, fake_get, fake_remove_all, fake_store_free};

/* ---- keeper ---- */

static inline enum kpi_code fake_find_kept(void *arg, struct handed_job *out, bool *found, struct err *err) {
  struct bench *b = arg;
  (void)err;
  note(b, "find", "");
  *found = b->is_handed;
  *out = *found ? b->kept : (struct handed_job){0};
  return KPI_OK;
}

static inline enum kpi_code fake_begin(void *arg, uint32_t *number, struct err *err) {
  struct bench *b = arg;
  (void)err;
  *number = ++b->last_number;
  return KPI_OK;
}

static inline enum kpi_code fake_keep(void *arg, const struct handed_job *job, struct err *err) {
  struct bench *b = arg;
  char what[32];
  snprintf(what, sizeof what, "keep %u ", job->number);
  note(b, what, job->id[0] ? job->id : "-");
  if (++b->keeps == b->keep_fails_at)
    return err_set(err, KPI_DB_FAILED, "it cannot be kept");
  b->kept = *job;
  b->is_handed = true;
  return KPI_OK;
}

static inline void fake_give_up(void *arg, const struct handed_job *job) {
  struct bench *b = arg;
  char what[32];
  snprintf(what, sizeof what, "give up %u", job->number);
  note(b, what, "");
  b->given_up = *job;
  b->is_handed &= job->number != b->kept.number;
}

/* ---- bench ---- */

/* Lets another engine have the place and the cluster, as a service that was started again. */
static inline void use_engine(struct bench *b, const struct spark_cluster_vtable *vtable,
                              const char *work_uri, const char *job_sha256) {
  const struct spark_options options = {
      .cluster = &b->cluster.base, .store = &b->store.base, .work_uri = work_uri, .job_sha256 = job_sha256};
  engine_free(b->engine);
  b->cluster = (struct fake_cluster){{vtable}, b};
  b->store = (struct fake_store){.base = {&fake_store}, .b = b};
  assert_int_equal(spark_store_new(b->url, NULL, &b->store.folder, &b->err), KPI_OK);
  b->engine = engine_spark_new(&options);
  assert_non_null(b->engine);
}

static inline void list_object(struct bench *b, enum dataset d, struct source_object object) {
  assert_true(source_listing_add(&b->listing, d, &object));
}

static inline void finish_listing(struct bench *b) {
  assert_int_equal(source_listing_finish(&b->listing, &b->err), KPI_OK);
}

static inline day_t january(int day) {
  return day_from_civil(2023, 1, day);
}

static inline int bench_setup(void **state) {
  struct bench *b = calloc(1, sizeof *b);
  log_init(LOG_ERROR, STDERR_FILENO);
  strcpy(b->folder, "/tmp/kpid-unit-XXXXXX");
  if (!mkdtemp(b->folder))
    return 1;
  snprintf(b->url, sizeof b->url, "file://%s", b->folder);
  buf_init(&b->events, 1 << 16);
  buf_init(&b->heard, 1 << 16);
  budget_init(&b->budget, 0);
  if (spark_store_new(b->url, NULL, &b->files, &b->err))
    return 1;
  b->keeper = (struct hand_off){b, OWNER, fake_find_kept, fake_begin, fake_keep, fake_give_up};
  b->source.url = (char *)(uintptr_t) "file:///data";
  b->on_start = succeed;
  for (int d = 0; d < DATASET_COUNT; d++)
    list_object(b, (enum dataset)d, (struct source_object){.name = (char *)(uintptr_t) "a.csv", .size = 7});
  finish_listing(b);
  b->job = (struct job){.days = day_set_range(january(15), january(15)),
                        .max_bad_rows = {.is_percent = true, .percent = 1},
                        .zone = tz_cached(VIEW_LIT("UTC")),
                        .timezone = "UTC",
                        .source = &b->source,
                        .hand_off = &b->keeper,
                        .budget = &b->budget,
                        .stop = &b->stop,
                        .progress = &b->progress};
  use_engine(b, &idempotent_cluster, b->url, "0123");
  *state = b;
  return 0;
}

static inline int bench_teardown(void **state) {
  struct bench *b = *state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf %s", b->folder);
  day_results_clear(&b->out);
  source_listing_clear(&b->listing);
  engine_free(b->engine);
  spark_store_free(b->files);
  buf_clear(&b->events);
  buf_clear(&b->heard);
  free(b);
  return system(command);
}

#define BENCH_TEST(fn) cmocka_unit_test_setup_teardown(fn, bench_setup, bench_teardown)

/* Computes once more. Whatever comes of it, the run does not wait for a cluster any longer. */
static inline enum kpi_code compute(struct bench *b) {
  day_results_clear(&b->out);
  b->looks = 0;
  enum kpi_code rc = engine_compute(b->engine, &b->job, &b->listing, &b->out, &b->err);
  assert_int_equal(b->progress.elsewhere, ELSEWHERE_NOT);
  assert_true(rc == KPI_OK || (b->out.count == 0 && b->err.code == rc));
  return rc;
}

#define assert_fails(b, expected, words)                                                                     \
  do {                                                                                                       \
    assert_int_equal(compute(b), expected);                                                                  \
    if (!strstr((b)->err.message, words))                                                                    \
      fail_msg("\"%s\" does not say \"%s\"", (b)->err.message, words);                                       \
  } while (0)

#define assert_events(b, expected)                                                                           \
  do {                                                                                                       \
    assert_view(buf_view(&(b)->events), expected);                                                           \
    buf_reset(&(b)->events);                                                                                 \
  } while (0)

/* Computes, and leaves the job to who comes after, as a service that drains. */
static inline void drain_at_first_look(struct bench *b, struct fake_job *job, int nth) {
  (void)job;
  (void)nth;
  stop_raise(&b->stop, STOP_DRAIN);
}

static inline void compute_and_leave(struct bench *b) {
  const step_fn on_start = b->on_start, on_look = b->on_look;
  b->on_start = NULL;
  b->on_look = drain_at_first_look;
  assert_int_equal(compute(b), KPI_INTERRUPTED);
  b->on_start = on_start;
  b->on_look = on_look;
  b->stop = (struct stop_flag){0};
  buf_reset(&b->events);
}

#endif
