/* SPDX-License-Identifier: MIT */
#include "server/engine_reaper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/engine_job_store.h"

enum { LOOK_MS = 500 };

struct engine_reaper {
  struct db *db;
  struct engine *engine;
  pthread_t thread;
  struct stop_flag stop;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_woken, stopping;
  } synced;
};

/* True when the job is over. */
static bool end_job(struct db *db, struct engine *engine, const struct engine_job *j,
                    const struct stop_flag *stop) {
  struct err err;
  bool over = false;
  enum kpi_code rc = engine_discard(engine, j->owner, &j->job, stop, &over, &err);
  if (rc && stop_reason(stop) == STOP_NONE)
    log_at(LOG_WARN, "engine.job_not_ended", err.message, LOG_S("run_id", j->owner),
           LOG_S("job_id", j->job.id));
  if (rc || !over)
    return false;
  rc = engine_job_store_over(db, j->owner, j->job.number, &err);
  log_at(rc ? LOG_WARN : LOG_INFO, "engine.job_over",
         rc ? err.message : "the job is over, its files are removed", LOG_S("run_id", j->owner),
         LOG_S("job_id", j->job.id));
  return rc == KPI_OK;
}

uint64_t engine_reap(struct db *db, struct engine *engine, const struct stop_flag *stop, uint64_t *handed) {
  auto_free struct engine_job *jobs = calloc(ENGINE_JOBS_AT_ONCE, sizeof *jobs);
  struct err err;
  size_t count = 0, over = 0;
  *handed = 0;
  if (!jobs || engine_job_store_to_end(db, jobs, &count, handed, &err)) {
    log_at(LOG_WARN, "engine.jobs_not_read", jobs ? err.message : "no memory");
    return 1;
  }
  for (size_t i = 0; i < count && stop_reason(stop) == STOP_NONE; i++)
    over += end_job(db, engine, &jobs[i], stop);
  return count - over;
}

/* Waits for jobs, or a while for those there are. False when the thread is to stop. */
static bool wait_for_work(struct engine_reaper *r, bool has_jobs) {
  struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
  SCOPE_LOCK(&r->synced.lock);
  while (!r->synced.is_woken && !r->synced.stopping)
    if (!has_jobs)
      pthread_cond_wait(&r->synced.wake, &r->synced.lock);
    else if (pthread_cond_clockwait(&r->synced.wake, &r->synced.lock, CLOCK_MONOTONIC, &until) != 0)
      break;
  r->synced.is_woken = false;
  return !r->synced.stopping;
}

static void *reap(void *arg) {
  struct engine_reaper *r = arg;
  uint64_t left, handed;
  do
    left = engine_reap(r->db, r->engine, &r->stop, &handed);
  while (wait_for_work(r, left + handed > 0));
  return NULL;
}

struct engine_reaper *engine_reaper_new(struct db *db, struct engine *engine) {
  struct engine_reaper *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->db = db;
  r->engine = engine;
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
