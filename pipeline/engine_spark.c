/* SPDX-License-Identifier: MIT */
#include "pipeline/engine_spark.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "pipeline/spark_collect.h"
#include "pipeline/spark_report.h"
#include "pipeline/spark_spec.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  SPEC_BYTES_MAX = 1 << 30,
  REPORT_BYTES_MAX = 64 * 1024 * 1024, /* of progress, error and manifest */
  NAME_SIZE = 256,
  TOKEN_SIZE = 64,
  LOOK_MS_MIN = 500,
  LOOK_MS_MAX = 5000,
  STEP_MS = 100,              /* so often a stop flag is looked at */
  AWAY_MS_MAX = 60 * 1000,    /* so long a cluster may be out of reach, */
  FORGOTTEN_MS_MAX = 5000,    /* or know nothing of a job */
  SILENCE_MS_MAX = 60 * 1000, /* so long a driver is believed to wait that has told nothing new */
  CLOSE_MS_MAX = 20 * 1000,   /* so long a job may close that has left its results */
  END_MS_MAX = 30 * 1000,     /* so long the end of a job is awaited that nobody keeps */
};

_Static_assert((int)ENGINE_JOB_ID_SIZE == (int)SPARK_JOB_ID_SIZE, "one size of ids");

struct engine_spark {
  struct engine base;
  struct spark_cluster *cluster; /* owned */
  struct spark_store *store;     /* owned */
  const char *work_uri, *job_sha256;
};

/* A job while it is followed. */
struct following {
  struct engine_spark *engine;
  const struct job *job;
  const struct source_listing *listing;
  const char *owner;
  struct handed_job handed;
  struct day_set days; /* owned; of its spec: those of the job, and maybe some that nobody wants any more */
  struct buf manifest; /* owned; what there is of it when it has been found */
  bool has_manifest;
  char progress_seen[SHA256_HEX_SIZE]; /* of the progress file */
  bool waits;                          /* for executors, as that says */
  int64_t told_at;                     /* when it was new last */
  bool is_out_of_reach;                /* what was to be read last: it says nothing of the job */
};

/* ---- names ---- */

/* The name of a file of a job, or with "" its prefix. */
static void file_name(char out[NAME_SIZE], const char *owner, uint32_t number, const char *file) {
  snprintf(out, NAME_SIZE, "kpi-runs/%s/%u/%s", owner, number, file);
}

/* The token by which a job is submitted, and its name. */
static void write_token(char out[TOKEN_SIZE], const char *owner, uint32_t number) {
  snprintf(out, TOKEN_SIZE, "kpi-%s-%u", owner, number);
}

/* Reads a file of the job. A fault of the file itself is KPI_ENGINE_FAILED. `beats` NULL: that one comes is
 * no progress of the job. */
static enum kpi_code get_file(struct following *f, const char *file, _Atomic uint64_t *beats, struct buf *out,
                              bool *found, struct err *err) {
  char name[NAME_SIZE];
  file_name(name, f->owner, f->handed.number, file);
  enum kpi_code rc = spark_store_get(f->engine->store, name, f->job->stop, beats, out, found, err);
  f->is_out_of_reach = rc && rc != KPI_ENGINE_FAILED;
  return rc;
}

/* Reads the manifest if there is one. */
static enum kpi_code find_manifest(struct following *f, struct err *err) {
  buf_reset(&f->manifest);
  return get_file(f, "manifest.json", NULL, &f->manifest, &f->has_manifest, err);
}

static bool is_over(enum spark_job_state s) {
  return s != SPARK_JOB_WAITING && s != SPARK_JOB_RUNNING;
}

/* ---- keeping what was handed over ---- */

/* A job that nobody keeps has an owner of its own. */
static enum kpi_code begin(struct following *f, struct err *err) {
  const struct hand_off *h = f->job->hand_off;
  f->handed = (struct handed_job){.number = 1};
  return h ? h->begin(h->arg, &f->handed.number, err) : KPI_OK;
}

static enum kpi_code keep(const struct following *f, struct err *err) {
  const struct hand_off *h = f->job->hand_off;
  return h ? h->keep(h->arg, &f->handed, err) : KPI_OK;
}

/* Ends a job that nobody keeps. */
static void end_unkept(struct following *f) {
  const int64_t from = clock_mono_ms();
  struct unwanted_job unwanted = {f->owner, &f->handed, 0};
  struct err err;
  bool over = false;
  enum kpi_code rc;
  do {
    if (unwanted.age_ms)
      nanosleep(&(struct timespec){.tv_nsec = LOOK_MS_MIN * 1000000L}, NULL);
    rc = engine_discard(&f->engine->base, &unwanted, NULL, &over, &err);
    unwanted.age_ms = clock_mono_ms() - from + 1;
  } while (!over && unwanted.age_ms < END_MS_MAX);
  if (!over)
    log_at(LOG_WARN, "engine.job_not_ended", rc ? err.message : "the job goes on", LOG_S("run_id", f->owner),
           LOG_S("job_id", f->handed.id));
}

/* Nobody goes on with the job: who keeps jobs ends it in his own time, otherwise it is ended here. */
static void give_up(struct following *f) {
  const struct hand_off *h = f->job->hand_off;
  if (h)
    h->give_up(h->arg, &f->handed);
  else
    end_unkept(f);
}

/* ---- submitting ---- */

/* Writes the spec for the days of `f`. False when it is too large. */
static bool write_spec(const struct following *f, struct buf *out, char sha256[SHA256_HEX_SIZE]) {
  const struct spark_spec spec = {.owner = f->owner,
                                  .number = f->handed.number,
                                  .days = &f->days,
                                  .job_sha256 = f->engine->job_sha256,
                                  .s3_scheme = f->engine->cluster->vtable->s3_scheme};
  spark_spec_write(&spec, f->job, f->listing, out);
  if (!buf_failed(out))
    crypto_sha256_hex(buf_view(out), sha256);
  return !buf_failed(out);
}

static enum kpi_code start(struct following *f, struct err *err) {
  char name[NAME_SIZE], token[TOKEN_SIZE];
  auto_buf struct buf uri;
  const struct engine_spark *e = f->engine;
  file_name(name, f->owner, f->handed.number, "spec.json");
  write_token(token, f->owner, f->handed.number);
  buf_init(&uri, SIZE_MAX);
  spark_uri_write(e->work_uri, name, e->cluster->vtable->s3_scheme, &uri);
  if (buf_failed(&uri))
    return job_memory_err(f->job, err);
  const struct spark_submission s = {
      .token = token, .spec_uri = uri.ptr, .timeout_seconds = f->job->timeout_seconds, .stop = f->job->stop};
  enum kpi_code rc = spark_cluster_start(e->cluster, &s, f->handed.id, err);
  if (rc)
    return rc;
  log_at(LOG_INFO, "engine.job_submitted", "job handed to the cluster", LOG_S("run_id", f->owner),
         LOG_S("job_id", f->handed.id), LOG_S("token", token), LOG_I("days", day_set_count(&f->days)));
  return keep(f, err);
}

/* The intent is kept before anything is done: what follows can be undone by who finds it. */
static enum kpi_code submit(struct following *f, struct err *err) {
  char name[NAME_SIZE];
  auto_buf struct buf spec;
  buf_init(&spec, SPEC_BYTES_MAX);
  enum kpi_code rc = begin(f, err);
  if (rc)
    return rc;
  if (!write_spec(f, &spec, f->handed.spec_sha256))
    return job_memory_err(f->job, err);
  rc = keep(f, err);
  if (rc)
    return rc;
  file_name(name, f->owner, f->handed.number, "spec.json");
  rc = spark_store_put(f->engine->store, name, buf_view(&spec), f->job->stop, err);
  if (rc == KPI_OK)
    rc = start(f, err);
  return rc;
}

/* Memory that ran out says nothing of the job either: the next attempt finds it as it was. */
static enum kpi_code not_compared(struct following *f, struct err *err) {
  f->is_out_of_reach = true;
  return job_memory_err(f->job, err);
}

/* *same: a job that was handed over before does what is asked for now: its spec would be written again, byte
 * by byte, but for days that are no longer wanted. Errors: those of a store that is out of reach, and of
 * memory. */
static enum kpi_code compare_job(struct following *f, bool *same, struct err *err) {
  auto_buf struct buf spec;
  char sha256[SHA256_HEX_SIZE];
  bool found = false;
  *same = false;
  buf_init(&spec, SPEC_BYTES_MAX);
  enum kpi_code rc = get_file(f, "spec.json", NULL, &spec, &found, err);
  if (f->is_out_of_reach)
    return rc;
  rc = found ? spark_spec_days(buf_view(&spec), &f->days, err) : KPI_ENGINE_FAILED;
  buf_clear(&spec); /* it may be large: one at a time */
  if (rc == KPI_OUT_OF_MEMORY)
    return not_compared(f, err);
  if (rc || !day_set_has_all(&f->days, &f->job->days))
    return KPI_OK;
  if (!write_spec(f, &spec, sha256))
    return not_compared(f, err);
  *same = strcmp(sha256, f->handed.spec_sha256) == 0;
  return KPI_OK;
}

/* Goes on with a job. One that may or may not have been submitted is submitted again, if that is the same,
 * and it has left no results yet. */
static enum kpi_code adopt(struct following *f, bool *adopted, struct err *err) {
  bool same;
  *adopted = false;
  enum kpi_code rc = compare_job(f, &same, err);
  if (rc || !same)
    return rc;
  if (f->handed.id[0]) {
    *adopted = true;
  } else {
    rc = find_manifest(f, err);
    *adopted = f->has_manifest;
    if (rc == KPI_OK && !*adopted && f->engine->cluster->vtable->start_is_idempotent) {
      rc = start(f, err);
      *adopted = rc == KPI_OK;
    }
  }
  if (*adopted)
    log_at(LOG_INFO, "engine.job_found", "going on with a job that was handed to the cluster before",
           LOG_S("run_id", f->owner), LOG_S("job_id", f->handed.id));
  return rc;
}

/* Finds the job to go on with, or submits one. After an error there is none. */
static enum kpi_code hand_over(struct following *f, struct err *err) {
  const struct hand_off *h = f->job->hand_off;
  bool found = false, adopted = false;
  enum kpi_code rc = h ? h->find(h->arg, &f->handed, &found, err) : KPI_OK;
  if (rc == KPI_OK && found)
    rc = adopt(f, &adopted, err);
  if (rc == KPI_OK && !adopted) {
    if (found)
      give_up(f);
    day_set_clear(&f->days);
    rc = day_set_copy(&f->job->days, &f->days) ? submit(f, err) : job_memory_err(f->job, err);
  }
  return rc;
}

/* ---- following ---- */

/* Takes over what the job tells of its progress. False when it is nothing new, or cannot be read now. */
static bool show_progress(struct following *f) {
  auto_buf struct buf text;
  char digest[SHA256_HEX_SIZE];
  struct err err;
  bool found = false;
  buf_init(&text, REPORT_BYTES_MAX);
  if (get_file(f, "progress.json", NULL, &text, &found, &err) || !found || buf_failed(&text))
    return false;
  crypto_sha256_hex(buf_view(&text), digest);
  if (strcmp(digest, f->progress_seen) == 0 ||
      !spark_progress_read(buf_view(&text), f->job->progress, &f->waits))
    return false;
  memcpy(f->progress_seen, digest, sizeof digest);
  f->told_at = clock_mono_ms();
  atomic_fetch_add(&f->job->progress->beats, 1);
  return true;
}

/* A driver that waits goes on saying so: one that has fallen silent is not believed for long. */
static bool waits_for_executors(const struct following *f) {
  return f->waits && clock_mono_ms() - f->told_at < SILENCE_MS_MAX;
}

static void show_whether_it_waits(const struct following *f, bool waits) {
  atomic_store(&f->job->progress->elsewhere, waits ? ELSEWHERE_WAITING : ELSEWHERE_RUNNING);
}

/* Waits for the next look, or until the job is stopped. */
static void wait_a_while(const struct following *f, int64_t ms) {
  for (; ms > 0 && stop_reason(f->job->stop) == STOP_NONE; ms -= STEP_MS)
    nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

/* Looks at a job again and again. */
struct watching {
  struct spark_job_status status;      /* when it was last told */
  int64_t away_since, forgotten_since; /* monotonic ms; 0: it is not */
  struct err err;                      /* of the last look */
};

/* Looks at the job once. True when there is nothing more to be seen of it. */
static bool look(struct following *f, struct watching *w) {
  struct spark_job_status now = {.state = SPARK_JOB_WAITING};
  const int64_t at = clock_mono_ms();
  if (spark_cluster_look(f->engine->cluster, f->handed.id, f->job->stop, &now, &w->err)) {
    w->away_since = w->away_since ? w->away_since : at;
    return at - w->away_since > AWAY_MS_MAX;
  }
  w->away_since = 0;
  w->err.code = KPI_OK;
  w->status = now;
  if (now.state == SPARK_JOB_UNKNOWN) {
    w->forgotten_since = w->forgotten_since ? w->forgotten_since : at;
    return at - w->forgotten_since > FORGOTTEN_MS_MAX;
  }
  w->forgotten_since = 0;
  return is_over(now.state);
}

/* True of a job that has ended before it told of any progress: of that the cluster often knows no reason. */
static bool never_began(struct following *f, const struct watching *w) {
  auto_buf struct buf text;
  struct err err;
  bool found = false;
  buf_init(&text, REPORT_BYTES_MAX);
  if (w->status.state != SPARK_JOB_FAILED && w->status.state != SPARK_JOB_SUCCEEDED)
    return false;
  return !f->progress_seen[0] && get_file(f, "progress.json", NULL, &text, &found, &err) == KPI_OK && !found;
}

/* Why a job has left no manifest. */
static enum kpi_code failure(struct following *f, const struct watching *w, struct err *err) {
  static const char *const words[SPARK_JOB_STATE_COUNT] = {
      [SPARK_JOB_SUCCEEDED] = "has ended without results",
      [SPARK_JOB_FAILED] = "has failed",
      [SPARK_JOB_CANCELLED] = "was ended from outside",
      [SPARK_JOB_UNKNOWN] = "is not known to the cluster any more, and has left no results",
  };
  auto_buf struct buf text;
  struct err told = {0};
  bool found = false;
  buf_init(&text, REPORT_BYTES_MAX);
  if (get_file(f, "error.json", NULL, &text, &found, err))
    return err->code;
  if (found && spark_error_parse(buf_view(&text), f->handed.spec_sha256, &told)) {
    *err = told;
    return err->code;
  }
  if (w->err.code) {
    *err = w->err;
    return err->code;
  }
  return err_set(err, KPI_ENGINE_FAILED, "the Spark job %s %s%s%s%s", f->handed.id, words[w->status.state],
                 w->status.reason[0] ? ": " : "", w->status.reason,
                 never_began(f, w)
                     ? "; it never began: its log on the cluster says why, such as no access to "
                       "KPI_SPARK_JOB_URI or KPI_SPARK_WORK_URI"
                     : "");
}

/* Follows the job to its end unless its manifest has been read. Reads it, one that is out of reach again and
 * again until then. */
static enum kpi_code follow(struct following *f, struct err *err) {
  struct watching w = {0};
  int64_t wait_ms = LOOK_MS_MIN;
  while (!f->has_manifest) {
    const bool is_end = look(f, &w);
    if (stop_reason(f->job->stop) != STOP_NONE)
      return job_stopped_err(f->job, err);
    enum kpi_code rc = find_manifest(f, err);
    if (f->has_manifest)
      break;
    if (is_end)
      return rc ? rc : failure(f, &w, err);
    if (show_progress(f) && w.away_since)
      w.away_since = clock_mono_ms(); /* the job is well, whoever cannot be asked about it */
    show_whether_it_waits(f, w.status.state == SPARK_JOB_WAITING || waits_for_executors(f));
    wait_a_while(f, wait_ms);
    wait_ms = wait_ms * 2 < LOOK_MS_MAX ? wait_ms * 2 : LOOK_MS_MAX;
  }
  return KPI_OK;
}

/* ---- results ---- */

static enum kpi_code read_result(void *arg, const char *name, struct buf *out, struct err *err) {
  struct following *f = arg;
  return get_file(f, name, &f->job->progress->beats, out, NULL, err);
}

static enum kpi_code collect(struct following *f, struct day_results *out, struct err *err) {
  struct job job = *f->job;
  const struct spark_attempt attempt = {f->owner, f->handed.number, f->handed.spec_sha256};
  const struct spark_files files = {f, read_result};
  job.days = f->days;
  show_whether_it_waits(f, false);
  enum kpi_code rc = spark_collect(&job, f->listing, &attempt, buf_view(&f->manifest), &files, out, err);
  if (rc == KPI_OK)
    day_results_keep(out, &f->job->days);
  return rc;
}

/* ---- engine ---- */

/* A job is not given up that is for the next process, or for the next attempt: one of which nothing can be
 * said while the store is out of reach. */
static bool is_left(const struct following *f) {
  const enum stop_reason why = stop_reason(f->job->stop);
  return f->job->hand_off && (why == STOP_DRAIN || (why == STOP_NONE && f->is_out_of_reach));
}

static enum kpi_code compute(struct engine *e, const struct job *job, const struct source_listing *listing,
                             struct day_results *out, struct err *err) {
  char owner[UUID_TEXT_SIZE];
  crypto_uuid7(owner);
  struct following f = {.engine = (struct engine_spark *)e,
                        .job = job,
                        .listing = listing,
                        .owner = job->hand_off ? job->hand_off->owner : owner};
  buf_init(&f.manifest, REPORT_BYTES_MAX);
  atomic_store(&job->progress->elsewhere, ELSEWHERE_WAITING);
  enum kpi_code rc = hand_over(&f, err);
  if (rc == KPI_OK)
    rc = follow(&f, err);
  if (rc == KPI_OK)
    rc = collect(&f, out, err);
  if (rc && stop_reason(job->stop) != STOP_NONE)
    rc = job_stopped_err(job, err);
  if (f.handed.spec_sha256[0] && !is_left(&f) && (rc || !job->hand_off))
    give_up(&f);
  atomic_store(&job->progress->elsewhere, ELSEWHERE_NOT);
  day_set_clear(&f.days);
  buf_clear(&f.manifest);
  return rc;
}

/* True for a job that has done its work, and may be about to close. */
static bool has_results(const struct engine_spark *e, const char *prefix, const struct stop_flag *stop) {
  char name[NAME_SIZE + sizeof "manifest.json"];
  auto_buf struct buf manifest;
  struct err err;
  bool found;
  buf_init(&manifest, REPORT_BYTES_MAX);
  snprintf(name, sizeof name, "%smanifest.json", prefix);
  return spark_store_get(e->store, name, stop, NULL, &manifest, &found, &err) == KPI_OK && found;
}

/* Says how a job is, and its id: one whose id is not known may be at work all the same. */
static enum kpi_code look_for(const struct engine_spark *e, const struct unwanted_job *u,
                              const struct stop_flag *stop, char id[SPARK_JOB_ID_SIZE],
                              struct spark_job_status *out, struct err *err) {
  char token[TOKEN_SIZE];
  *out = (struct spark_job_status){.state = SPARK_JOB_UNKNOWN};
  view_to_cstr(view_of(u->job->id), id, SPARK_JOB_ID_SIZE);
  write_token(token, u->owner, u->job->number);
  enum kpi_code rc = id[0] ? KPI_OK : spark_cluster_find(e->cluster, token, stop, id, err);
  return rc || !id[0] ? rc : spark_cluster_look(e->cluster, id, stop, out, err);
}

/* Without its spec a job ends by itself, also one that the cluster cannot be asked about. What it has written
 * until then is removed at its end. */
static enum kpi_code discard(struct engine *e, const struct unwanted_job *u, const struct stop_flag *stop,
                             bool *over, struct err *err) {
  const struct engine_spark *spark = (const struct engine_spark *)e;
  struct spark_job_status status;
  char prefix[NAME_SIZE], id[SPARK_JOB_ID_SIZE];
  file_name(prefix, u->owner, u->job->number, "");
  const bool may_close = u->job->id[0] && u->age_ms < CLOSE_MS_MAX && has_results(spark, prefix, stop);
  enum kpi_code rc = may_close ? KPI_OK : spark_store_remove_all(spark->store, prefix, stop, err);
  enum kpi_code looked = look_for(spark, u, stop, id, &status, err);
  if (looked == KPI_OK && !is_over(status.state))
    return may_close ? KPI_OK : spark_cluster_cancel(spark->cluster, id, stop, err);
  if (looked == KPI_OK && rc == KPI_OK)
    rc = spark_store_remove_all(spark->store, prefix, stop, err);
  *over = looked == KPI_OK && rc == KPI_OK;
  return looked ? looked : rc;
}

static void engine_spark_free(struct engine *e) {
  struct engine_spark *spark = (struct engine_spark *)e;
  spark_cluster_free(spark->cluster);
  spark_store_free(spark->store);
  free(spark);
}

struct engine *engine_spark_new(const struct spark_options *options) {
  static const struct engine_vtable vtable = {compute, discard, engine_spark_free};
  struct engine_spark *spark = malloc(sizeof *spark);
  if (!spark) {
    spark_cluster_free(options->cluster);
    spark_store_free(options->store);
    return NULL;
  }
  *spark = (struct engine_spark){.base = {&vtable},
                                 .cluster = options->cluster,
                                 .store = options->store,
                                 .work_uri = options->work_uri,
                                 .job_sha256 = options->job_sha256};
  return &spark->base;
}
