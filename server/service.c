/* SPDX-License-Identifier: MIT */
#include "server/service_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/run_move_store.h"
#include "server/upkeep_store.h"
#include "server/watch.h"

#include <string.h>
#include <time.h>

enum {
  POOL_QUEUE = 1024,
  TICK_MS = 250,
  DATABASE_CHECK_MS = 5000,
  PRUNE_MS = 3600 * 1000,
  CLAIM_RETRY_MS = 1000,
  DRAIN_STEP_MS = 20,
  DRAIN_STOP_MS = 10 * 1000 /* how long stopped runs may take to notice */
};

/* The listener is called under a lock of its own, so that none is called after it was taken away. */
void service_tell_changed(struct service *s, const char *run_id) {
  pthread_rwlock_rdlock(&s->listener.lock);
  if (s->listener.changed)
    s->listener.changed(s->listener.arg, run_id);
  pthread_rwlock_unlock(&s->listener.lock);
}

static void on_run_changed(void *arg, const char *run_id) {
  service_tell_changed(arg, run_id);
}

void service_wake_supervisors(struct service *s) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.posted++;
  pthread_cond_broadcast(&s->synced.wake);
}

/* ---- supervisors ---- */

struct run_defaults service_defaults_of(const struct service *s) {
  return (struct run_defaults){s->config->timezone, s->engine->vtable->name, s->config->source,
                               s->config->max_bad_rows_text};
}

/* Sleeps until a run was posted after `seen`, the service stops, or a while has passed. */
static void wait_for_runs(struct service *s, uint64_t seen, int64_t at_most_ms) {
  struct timespec until = clock_timespec(clock_mono_ms() + at_most_ms);
  SCOPE_LOCK(&s->synced.lock);
  while (s->synced.posted == seen && !s->synced.draining && !s->synced.stopping)
    if (pthread_cond_clockwait(&s->synced.wake, &s->synced.lock, CLOCK_MONOTONIC, &until) != 0)
      return;
}

bool service_takes_runs(struct service *s, uint64_t *seen) {
  SCOPE_LOCK(&s->synced.lock);
  *seen = s->synced.posted;
  return !s->synced.draining && !s->synced.stopping;
}

/* A run may have been asked to stop between its claim and the moment its flag could be raised. */
static void look_for_cancel(struct service *s, const struct run *run, struct run_live *live) {
  struct run now;
  struct err err;
  if (run_store_get(s->db, view_of(run->id), &now, &err) == KPI_OK && now.state == RUN_CANCELLING)
    stop_raise(&live->stop, STOP_CANCEL);
  run_clear(&now);
  SCOPE_LOCK(&s->synced.lock);
  if (s->synced.stopping)
    stop_raise(&live->stop, STOP_DRAIN);
}

void service_remove_intent_unless_active(struct service *s, const char *run_id) {
  struct run now;
  struct err err;
  if (!s->intents)
    return;
  enum kpi_code rc = run_store_get(s->db, view_of(run_id), &now, &err);
  if (rc == KPI_RUN_NOT_FOUND || (rc == KPI_OK && run_state_is_terminal(now.state)))
    intents_remove(s->intents, run_id);
  run_clear(&now);
}

static void drive(struct service *s, size_t slot, struct run *run) {
  struct run_live live = {.date = run->date, .attempt = run->attempt, .started_at = run->started_at};
  struct job_result result = {0};
  struct err err = {0};
  char date[DAY_TEXT_SIZE];
  struct run_exec x = {s->config,      s->db, s->engine, s->backends.source, s->backends.publisher,
                       on_run_changed, s};
  log_at(LOG_INFO, "run.started", "run started", LOG_S("run_id", run->id),
         LOG_S("date", day_text(run->date, date)), LOG_I("attempt", run->attempt),
         LOG_S("trace_id", run->trace_id));
  live.overdue_ms = clock_mono_ms() + (int64_t)run->timeout_seconds * SERVICE_MS_PER_SECOND;
  run_slots_enter(&s->slots, slot, run->id, &live);
  look_for_cancel(s, run, &live);
  service_tell_changed(s, run->id);
  enum kpi_code rc = run_exec(&x, run, &live, &result, &err);
  bool source_failed = rc && err_info(rc)->exit_code == err_info(KPI_SOURCE_NOT_FOUND)->exit_code;
  health_board_set(&s->health, CHECK_SOURCE, !source_failed, err.message);
  run_slots_leave(&s->slots, slot);
  service_remove_intent_unless_active(s, run->id);
  job_result_clear(&result);
}

static void *supervise(void *arg) {
  const struct supervisor *me = arg;
  struct service *s = me->service;
  uint64_t seen;
  while (service_takes_runs(s, &seen)) {
    struct run run;
    struct err err;
    bool found;
    struct run_defaults defaults = service_defaults_of(s);
    enum kpi_code rc = run_store_claim(s->db, s->boot_id, NULL, &defaults, &run, &found, &err);
    if (found)
      drive(s, me->slot, &run);
    else
      wait_for_runs(s, seen, rc ? CLAIM_RETRY_MS : INT32_MAX);
    run_clear(&run);
  }
  return NULL;
}

/* ---- ticker: stalls, health, upkeep ---- */

bool service_knows_its_runs(const struct service *s) {
  return !s->intents || intents_are_loaded(s->intents);
}

static void check_intents(struct service *s) {
  health_board_set(&s->health, CHECK_INTENTS, service_knows_its_runs(s),
                   "the runs kept in DynamoDB are not loaded yet");
}

/* Returns true when a stalled run does not stop. */
static bool stop_stalled(struct service *s, int64_t now) {
  bool stuck =
      run_slots_stop_stalled(&s->slots, now, (int64_t)s->config->stall_seconds * SERVICE_MS_PER_SECOND);
  health_board_set_stuck(&s->health, stuck);
  return stuck;
}

/* Reads, and, when the disk has refused something, writes too: a full disk can still be read. */
static void check_database(struct service *s) {
  uint64_t queued = 0;
  struct err err;
  enum kpi_code rc = run_store_count_queued(s->db, &queued, &err);
  if (rc == KPI_OK)
    health_board_set(&s->health, CHECK_QUEUE, queued < QUEUE_MAX, "the queue is full");
  if (rc == KPI_OK && db_refuses_writes(s->db))
    rc = upkeep_probe(s->db, &err);
  health_board_set(&s->health, CHECK_DATABASE, rc == KPI_OK, err.message);
  health_board_set_queued(&s->health, queued);
}

/* Runs whose next attempt is due, and those that were not to start so late. */
static void wake_runs(struct service *s) {
  struct run_wakes wakes;
  struct err err;
  if (run_store_wake(s->db, &wakes, &err))
    return; /* check_database says it */
  if (wakes.queued) {
    service_wake_supervisors(s);
    service_tell_changed(s, NULL);
  }
  for (size_t i = 0; i < wakes.expired.count; i++) {
    service_remove_intent_unless_active(s, wakes.expired.runs[i].id);
    service_tell_changed(s, wakes.expired.runs[i].id);
  }
  run_list_clear(&wakes.expired);
}

static void prune(struct service *s) {
  struct err err;
  if (upkeep_prune(s->db, clock_wall_ms() - (int64_t)s->config->keep_days * SERVICE_MS_PER_DAY, &err))
    log_at(LOG_WARN, "service.prune", err.message);
}

/* Sleeps one tick; false when the service stops. */
static bool next_tick(struct service *s) {
  struct timespec until = clock_timespec(clock_mono_ms() + TICK_MS);
  SCOPE_LOCK(&s->synced.lock);
  while (!s->synced.stopping &&
         pthread_cond_clockwait(&s->synced.wake, &s->synced.lock, CLOCK_MONOTONIC, &until) == 0) {
  }
  return !s->synced.stopping;
}

static void *tick(void *arg) {
  struct service *s = arg;
  int64_t checked_at = 0, pruned_at = 0;
  bool was_refusing = false;
  do {
    int64_t now = clock_mono_ms();
    health_board_set(&s->health, CHECK_WORKERS, !stop_stalled(s, now), "a run has stalled and does not stop");
    run_slots_stop_overdue(&s->slots, now);
    check_intents(s);
    wake_runs(s);
    if (checked_at == 0 || now - checked_at >= DATABASE_CHECK_MS ||
        db_refuses_writes(s->db) != was_refusing) {
      checked_at = now;
      check_database(s);
      was_refusing = db_refuses_writes(s->db);
    }
    if (pruned_at == 0 || now - pruned_at >= PRUNE_MS) {
      pruned_at = now;
      prune(s);
    }
  } while (next_tick(s));
  return NULL;
}

/* ---- intents ---- */

/* An intent that was found at the start: a run that is not known here was accepted on a disk that is gone. */
static bool take_intent(void *arg, const char *id, const struct run_request *found,
                        const struct submit_policy *policy) {
  struct service *s = arg;
  struct submitted done;
  struct err err;
  struct run_request request = *found;
  struct run_defaults defaults = service_defaults_of(s);
  request.id = id;
  enum kpi_code rc = run_store_submit(s->db, &request, policy, &defaults, &done, &err);
  bool is_own = rc || strcmp(done.run.id, id) == 0;
  bool wanted = is_own && (rc || !run_state_is_terminal(done.run.state));
  if (rc)
    log_at(LOG_ERROR, "intents.run_not_created", err.message, LOG_S("run_id", id));
  else if (wanted)
    log_at(LOG_INFO, "intents.run_kept", "a run that was accepted before is queued", LOG_S("run_id", id));
  run_clear(&done.run);
  service_wake_supervisors(s);
  return wanted;
}

static enum kpi_code open_intents(struct service *s, struct err *err) {
  if (!s->config->intents_in_dynamodb)
    return KPI_OK;
  s->intents = intents_new(s->backends.aws, s->config->control_table, s->config->source, on_run_changed, s);
  if (!s->intents)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for the intents");
  check_intents(s); /* before the first tick: nobody may be told that all are known */
  intents_load(s->intents, take_intent, s);
  return KPI_OK;
}

/* ---- life ---- */

static enum kpi_code recover(struct service *s, struct err *err) {
  uint64_t recovered;
  enum kpi_code rc = upkeep_recover(s->db, s->boot_id, &recovered, err);
  if (rc == KPI_OK && recovered > 0)
    log_at(LOG_WARN, "service.recovered", "runs of a service that died were taken over",
           LOG_I("runs", recovered));
  return rc;
}

static enum kpi_code open_parts(struct service *s, struct err *err) {
  enum kpi_code rc = db_open(s->config->db, "kpid serve", &s->db, err);
  if (rc == KPI_OK)
    rc = watch_start(s->db, &s->slots, on_run_changed, s, &s->watch, err);
  if (rc == KPI_OK)
    rc = backends_open(s->config, s->db, &s->backends, err);
  if (rc == KPI_OK)
    rc = recover(s, err);
  if (rc)
    return rc;
  s->pool = pool_new(s->config->threads, POOL_QUEUE);
  s->engine = s->pool ? engine_native_new(s->pool) : NULL;
  s->input = input_look_new(s->backends.source, on_run_changed, s);
  if (!s->engine || !s->input)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for %llu workers",
                   (unsigned long long)s->config->threads);
  return open_intents(s, err);
}

static enum kpi_code start_threads(struct service *s, struct err *err) {
  s->ticker_started = pthread_create(&s->ticker, NULL, tick, s) == 0;
  bool ok = s->ticker_started;
  for (size_t i = 0; ok && i < s->slots.count; i++) {
    struct supervisor *p = &s->supervisors[i];
    *p = (struct supervisor){.service = s, .slot = i};
    ok = p->started = pthread_create(&p->thread, NULL, supervise, p) == 0;
  }
  return ok ? KPI_OK : err_set(err, KPI_INTERNAL, "the supervisors cannot be started");
}

enum kpi_code service_start(const struct config *config, struct service **out, struct err *err) {
  *out = NULL;
  struct service *s = calloc(1, sizeof *s);
  if (!s)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the service");
  s->config = config;
  crypto_uuid7(s->boot_id);
  pthread_mutex_init(&s->synced.lock, NULL);
  pthread_cond_init(&s->synced.wake, NULL);
  pthread_rwlock_init(&s->listener.lock, NULL);
  run_slots_init(&s->slots, config->max_active_runs);
  health_board_init(&s->health);
  enum kpi_code rc = open_parts(s, err);
  if (rc == KPI_OK)
    rc = start_threads(s, err);
  if (rc) {
    service_stop(s);
    return rc;
  }
  *out = s;
  return KPI_OK;
}

void service_on_change(struct service *s, service_changed_fn fn, void *arg) {
  pthread_rwlock_wrlock(&s->listener.lock);
  s->listener.changed = fn;
  s->listener.arg = arg;
  pthread_rwlock_unlock(&s->listener.lock);
}

bool service_is_broken(const struct service *s) {
  return db_is_broken(s->db);
}

void service_begin_drain(struct service *s) {
  pthread_mutex_lock(&s->synced.lock);
  s->synced.draining = true;
  pthread_cond_broadcast(&s->synced.wake);
  pthread_mutex_unlock(&s->synced.lock);
  service_tell_changed(s, NULL);
}

void service_drain(struct service *s) {
  int64_t start = clock_mono_ms(), limit = (int64_t)s->config->drain_seconds * SERVICE_MS_PER_SECOND;
  for (;;) {
    int64_t waited = clock_mono_ms() - start;
    if (run_slots_drain(&s->slots, waited, limit - waited) == 0 || waited > limit + DRAIN_STOP_MS)
      return;
    nanosleep(&(struct timespec){.tv_nsec = DRAIN_STEP_MS * 1000000L}, NULL);
  }
}

void service_stop(struct service *s) {
  if (!s)
    return;
  service_begin_drain(s);
  service_drain(s);
  pthread_mutex_lock(&s->synced.lock);
  s->synced.stopping = true;
  pthread_cond_broadcast(&s->synced.wake);
  pthread_mutex_unlock(&s->synced.lock);
  run_slots_drain(&s->slots, 0, 0);
  for (size_t i = 0; i < s->slots.count; i++)
    if (s->supervisors[i].started)
      pthread_join(s->supervisors[i].thread, NULL);
  if (s->ticker_started)
    pthread_join(s->ticker, NULL);
  engine_free(s->engine);
  pool_free(s->pool);
  input_look_free(s->input);
  intents_free(s->intents);
  backends_close(&s->backends);
  watch_free(s->watch);
  db_close(s->db);
  run_slots_clear(&s->slots);
  health_board_clear(&s->health);
  pthread_rwlock_destroy(&s->listener.lock);
  pthread_cond_destroy(&s->synced.wake);
  pthread_mutex_destroy(&s->synced.lock);
  free(s);
}
