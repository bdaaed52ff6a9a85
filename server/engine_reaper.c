/* SPDX-License-Identifier: MIT */
#include "server/engine_reaper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

enum {
  LOOK_MS = 500,
  LONG_MS = 60 * 1000,
  LATE_MS = 60 * 1000, /* so late a job may begin that was asked for, whatever has come of that */
  DOUBLINGS_MAX = 8,   /* of LOOK_MS, until it is LONG_MS */
  ROUND_MS = 500,      /* after which new jobs go before those that are left of a round */
  PATIENCE = 60,       /* a part of the time that a job could not be ended is waited */
  ABANDON_MS = 24 * 60 * 60 * 1000, /* so long that is tried, */
  ABANDON_TRIES = 100,              /* and so often, as clocks may be wrong, and services down */
};

struct engine_reaper {
  struct reaping with;
  pthread_t thread;
  struct stop_flag stop;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_woken, stopping;
  } synced;
};

static int64_t at_most(int64_t ms, int64_t most) {
  return ms < most ? ms : most;
}

/* After so many failures, one after the other. */
static int64_t backoff_ms(uint32_t failures) {
  return failures < DOUBLINGS_MAX ? at_most((int64_t)LOOK_MS << (failures - 1), LONG_MS) : LONG_MS;
}

/* The first failures are logged, then ever fewer. */
static bool is_worth_a_line(uint32_t failures) {
  return (failures & (failures - 1)) == 0;
}

/* When a job that is not over is looked at again. */
static int64_t wait_ms_of(const struct engine_job *j) {
  if (j->failed_tries) {
    const int64_t ms = backoff_ms(j->failed_tries), long_ms = j->age_ms / PATIENCE;
    return ms < LONG_MS || long_ms < LONG_MS ? ms : at_most(long_ms, ENGINE_JOB_WAIT_MS_MAX);
  }
  const int64_t most = j->job.id[0] ? LONG_MS : LATE_MS - j->age_ms, ms = at_most(j->age_ms / 4, most);
  return ms > LOOK_MS ? ms : LOOK_MS;
}

/* Its application may have been deleted, or its bucket. */
static bool is_hopeless(const struct engine_job *j) {
  return j->failed_tries >= ABANDON_TRIES && j->age_ms >= ABANDON_MS;
}

static enum kpi_code note_over(const struct reaping *r, const struct engine_job *j, struct err *err) {
  enum kpi_code rc = engine_job_store_over(r->db, j->owner, j->job.number, err);
  if (rc == KPI_OK && r->intents)
    intents_remove_job(r->intents, j->owner, j->job.number);
  return rc;
}

static enum kpi_code abandon(const struct reaping *r, const struct engine_job *j, const struct err *why,
                             struct err *err) {
  log_at(LOG_WARN, "engine.job_abandoned", why->message, LOG_S("run_id", j->owner),
         LOG_S("job_id", j->job.id), LOG_I("attempt", j->job.number), LOG_I("tries", j->failed_tries));
  return note_over(r, j, err);
}

static enum kpi_code is_over(const struct reaping *r, const struct engine_job *j, struct err *err) {
  enum kpi_code rc = note_over(r, j, err);
  if (rc == KPI_OK)
    log_at(LOG_INFO, "engine.job_over", "the job is over, its files are removed", LOG_S("run_id", j->owner),
           LOG_S("job_id", j->job.id));
  return rc;
}

/* Tries to end a job. One whose id is not known may be about to begin, and find that nobody wants it: what it
 * has written until then is removed a while later. */
static enum kpi_code end_job(const struct reaping *r, struct engine_job *j, const struct stop_flag *stop,
                             struct reaped *out, struct err *err) {
  const struct unwanted_job unwanted = {j->owner, &j->job, j->age_ms};
  struct err why = {0};
  bool over = false;
  enum kpi_code rc = engine_discard(r->engine, &unwanted, stop, &over, &why);
  if (stop_reason(stop) != STOP_NONE)
    return KPI_OK;
  j->failed_tries = rc ? j->failed_tries + 1 : 0;
  if (rc && is_hopeless(j))
    return abandon(r, j, &why, err);
  if (rc && is_worth_a_line(j->failed_tries))
    log_at(LOG_WARN, "engine.job_not_ended", why.message, LOG_S("run_id", j->owner),
           LOG_S("job_id", j->job.id), LOG_I("tries", j->failed_tries));
  if (rc == KPI_OK && over && (j->job.id[0] || j->age_ms >= LATE_MS))
    return is_over(r, j, err);
  const int64_t wait_ms = wait_ms_of(j);
  out->next_ms = at_most(out->next_ms, wait_ms);
  return engine_job_store_defer(r->db, j, wait_ms, err);
}

enum kpi_code engine_reap(const struct reaping *r, const struct stop_flag *stop, struct reaped *out,
                          struct err *err) {
  auto_free struct engine_jobs *jobs = calloc(1, sizeof *jobs);
  *out = (struct reaped){.next_ms = ENGINE_JOBS_NEVER};
  if (!jobs)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the jobs that are to be ended");
  enum kpi_code rc = engine_job_store_to_end(r->db, jobs, err);
  if (rc)
    return rc;
  *out = (struct reaped){jobs->next_ms, jobs->handed};
  const int64_t until = clock_mono_ms() + ROUND_MS;
  for (size_t i = 0; rc == KPI_OK && i < jobs->count && stop_reason(stop) == STOP_NONE; i++) {
    if (clock_mono_ms() > until) {
      out->next_ms = 0;
      break;
    }
    rc = end_job(r, &jobs->at[i], stop, out, err);
  }
  return rc;
}

/* Looks once. Returns after how long to look again; a database that fails is told of once. */
static int64_t look(struct engine_reaper *r, uint32_t *failures) {
  struct reaped reaped;
  struct err err;
  if (engine_reap(&r->with, &r->stop, &reaped, &err) == KPI_OK) {
    *failures = 0;
    return reaped.handed ? at_most(reaped.next_ms, LOOK_MS) : reaped.next_ms;
  }
  if (++*failures == 1)
    log_at(LOG_WARN, "engine.jobs_not_read", err.message);
  return backoff_ms(*failures);
}

/* Waits for a call, or a while. False when the thread is to stop. */
static bool wait_for_work(struct engine_reaper *r, int64_t ms) {
  const bool is_timed = ms != ENGINE_JOBS_NEVER;
  struct timespec until = clock_timespec(clock_mono_ms() + (is_timed ? ms : 0));
  SCOPE_LOCK(&r->synced.lock);
  while (!r->synced.is_woken && !r->synced.stopping)
    if (!is_timed)
      pthread_cond_wait(&r->synced.wake, &r->synced.lock);
    else if (pthread_cond_clockwait(&r->synced.wake, &r->synced.lock, CLOCK_MONOTONIC, &until) != 0)
      break;
  r->synced.is_woken = false;
  return !r->synced.stopping;
}

static void *reap(void *arg) {
  struct engine_reaper *r = arg;
  uint32_t failures = 0;
  while (wait_for_work(r, look(r, &failures)))
    ;
  return NULL;
}

struct engine_reaper *engine_reaper_new(const struct reaping *with) {
  struct engine_reaper *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->with = *with;
  pthread_mutex_init(&r->synced.lock, NULL);
  pthread_cond_init(&r->synced.wake, NULL);
  if (pthread_create(&r->thread, NULL, reap, r) == 0)
    return r;
  pthread_cond_destroy(&r->synced.wake);
  pthread_mutex_destroy(&r->synced.lock);
  free(r);
  return NULL;
}

void engine_reaper_wake(struct engine_reaper *r) {
  if (!r)
    return;
  SCOPE_LOCK(&r->synced.lock);
  r->synced.is_woken = true;
  pthread_cond_signal(&r->synced.wake);
}

void engine_reaper_free(struct engine_reaper *r) {
  if (!r)
    return;
  stop_raise(&r->stop, STOP_DRAIN);
  pthread_mutex_lock(&r->synced.lock);
  r->synced.stopping = true;
  pthread_cond_signal(&r->synced.wake);
  pthread_mutex_unlock(&r->synced.lock);
  pthread_join(r->thread, NULL);
  pthread_cond_destroy(&r->synced.wake);
  pthread_mutex_destroy(&r->synced.lock);
  free(r);
}
