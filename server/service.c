/* SPDX-License-Identifier: MIT */
#include "server/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/backends.h"
#include "server/config.h"
#include "server/intents.h"
#include "server/results_store.h"
#include "server/run_exec.h"
#include "server/run_store.h"
#include "server/upkeep_store.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  POOL_QUEUE = 1024,
  TICK_MS = 250,
  DATABASE_CHECK_MS = 5000,
  PRUNE_MS = 3600 * 1000,
  CLAIM_RETRY_MS = 1000,
  DRAIN_STEP_MS = 20,
  DRAIN_STOP_MS = 10 * 1000, /* how long stopped runs may take to notice */
  MS_PER_SECOND = 1000,
  MS_PER_DAY = 86400 * 1000,
  SLOTS_MAX = 64,
  CHECK_DATABASE = 0,
  CHECK_QUEUE,
  CHECK_SOURCE,
  CHECK_WORKERS,
  CHECKS
};

/* One run slot: a supervisor thread and the run it drives now. */
struct slot {
  struct service *service;
  pthread_t thread;
  bool started;
  char run_id[UUID_TEXT_SIZE]; /* guarded by the service's lock; empty: idle */
  struct run_live *live;       /* as run_id */
  uint64_t progress_sum;       /* ticker only: what was counted when progress was last seen */
  int64_t progress_at;         /* ticker only */
};

struct service {
  const struct config *config;
  struct db *db;
  struct pool *pool;
  struct engine *engine;
  struct backends backends;
  struct intents *intents; /* NULL: none are kept */
  char boot_id[UUID_TEXT_SIZE];
  struct {
    pthread_rwlock_t lock;
    service_changed_fn changed; /* guarded by lock, as arg */
    void *arg;
  } listener;
  pthread_t ticker;
  bool ticker_started;
  size_t slot_count;
  struct slot slots[SLOTS_MAX];
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool draining, stopping;
    uint64_t posted; /* grows when a run is queued; a supervisor that sees it unchanged may sleep */
    struct health_check checks[CHECKS];
    uint64_t queued;
    bool stuck; /* a stalled run did not stop when it was told to */
  } synced;
};

/* The listener is called under a lock of its own, so that none is called after it was taken away. */
static void tell_changed(struct service *s, const char *run_id) {
  pthread_rwlock_rdlock(&s->listener.lock);
  if (s->listener.changed)
    s->listener.changed(s->listener.arg, run_id);
  pthread_rwlock_unlock(&s->listener.lock);
}

static void on_run_changed(void *arg, const char *run_id) {
  tell_changed(arg, run_id);
}

static void set_check(struct service *s, int check, bool ok, const char *error) {
  SCOPE_LOCK(&s->synced.lock);
  struct health_check *c = &s->synced.checks[check];
  c->ok = ok;
  c->checked_at = clock_wall_ms();
  view_to_cstr(ok ? (struct view){0} : view_of(error), c->error, sizeof c->error);
}

/* A run was queued. */
static void wake_supervisors(struct service *s) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.posted++;
  pthread_cond_broadcast(&s->synced.wake);
}

/* ---- supervisors ---- */

/* Sleeps until a run was posted after `seen`, the service stops, or a while has passed. */
static void wait_for_runs(struct service *s, uint64_t seen, int64_t at_most_ms) {
  struct timespec until = clock_timespec(clock_mono_ms() + at_most_ms);
  SCOPE_LOCK(&s->synced.lock);
  while (s->synced.posted == seen && !s->synced.draining && !s->synced.stopping)
    if (pthread_cond_clockwait(&s->synced.wake, &s->synced.lock, CLOCK_MONOTONIC, &until) != 0)
      return;
}

static bool takes_runs(struct service *s, uint64_t *seen) {
  SCOPE_LOCK(&s->synced.lock);
  *seen = s->synced.posted;
  return !s->synced.draining && !s->synced.stopping;
}

static void occupy(struct slot *slot, const char *run_id, struct run_live *live) {
  struct service *s = slot->service;
  SCOPE_LOCK(&s->synced.lock);
  view_to_cstr(view_of(run_id), slot->run_id, sizeof slot->run_id);
  slot->live = live;
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

/* The intent of a run goes when the run has ended, not when it was handed back. */
static void remove_intent_if_over(struct service *s, const char *run_id) {
  struct run now;
  struct err err;
  if (!s->intents)
    return;
  if (run_store_get(s->db, view_of(run_id), &now, &err) == KPI_OK && run_state_is_terminal(now.state))
    intents_remove(s->intents, run_id);
  run_clear(&now);
}

static void drive(struct slot *slot, struct run *run) {
  struct service *s = slot->service;
  struct run_live live = {0};
  struct job_result result = {0};
  struct err err = {0};
  char date[DAY_TEXT_SIZE];
  struct run_exec x = {s->config,      s->db, s->engine, s->backends.source, s->backends.publisher,
                       on_run_changed, s};
  log_at(LOG_INFO, "run.started", "run started", LOG_S("run_id", run->id),
         LOG_S("date", day_text(run->date, date)), LOG_I("attempt", run->attempt));
  occupy(slot, run->id, &live);
  look_for_cancel(s, run, &live);
  tell_changed(s, run->id);
  enum kpi_code rc = run_exec(&x, run, &live, &result, &err);
  bool source_failed = rc && err_info(rc)->exit_code == err_info(KPI_SOURCE_NOT_FOUND)->exit_code;
  set_check(s, CHECK_SOURCE, !source_failed, err.message);
  occupy(slot, "", NULL);
  remove_intent_if_over(s, run->id);
  job_result_clear(&result);
}

static void *supervise(void *arg) {
  struct slot *slot = arg;
  struct service *s = slot->service;
  uint64_t seen;
  while (takes_runs(s, &seen)) {
    struct run run;
    struct err err;
    bool found;
    enum kpi_code rc = run_store_claim(s->db, s->boot_id, NULL, &run, &found, &err);
    if (found)
      drive(slot, &run);
    else
      wait_for_runs(s, seen, rc ? CLAIM_RETRY_MS : INT32_MAX);
    run_clear(&run);
  }
  return NULL;
}

/* ---- ticker: stalls, health, upkeep ---- */

static uint64_t progress_sum(const struct job_progress *p) {
  struct run_progress now = job_progress_copy(p);
  return now.bytes_read + now.rows_orders + now.rows_order_items + now.rows_products + now.files_done +
         now.items_published + (uint64_t)atomic_load(&p->phase);
}

/* A run that waits for workers which another run has is not stalled. */
static bool waits_for_workers(const struct job_progress *p) {
  return atomic_load(&p->phase) == PHASE_SCANNING && atomic_load(&p->busy_workers) == 0;
}

/* Stops runs that make no progress. Returns true when one has ignored that for as long again. */
static bool stop_stalled(struct service *s, int64_t now) {
  int64_t limit = (int64_t)s->config->stall_seconds * MS_PER_SECOND;
  bool stuck = false;
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->slot_count; i++) {
    struct slot *slot = &s->slots[i];
    uint64_t sum = slot->live ? progress_sum(&slot->live->progress) : 0;
    if (!slot->live || sum != slot->progress_sum || waits_for_workers(&slot->live->progress)) {
      slot->progress_sum = sum;
      slot->progress_at = now;
      continue;
    }
    if (now - slot->progress_at > limit)
      stop_raise(&slot->live->stop, STOP_STALLED);
    stuck |= now - slot->progress_at > 2 * limit;
  }
  s->synced.stuck = stuck;
  return stuck;
}

static void check_database(struct service *s) {
  uint64_t queued = 0;
  struct err err;
  enum kpi_code rc = run_store_count_queued(s->db, &queued, &err);
  set_check(s, CHECK_DATABASE, rc == KPI_OK, err.message);
  if (rc == KPI_OK)
    set_check(s, CHECK_QUEUE, queued < QUEUE_MAX, "the queue is full");
  SCOPE_LOCK(&s->synced.lock);
  s->synced.queued = queued;
}

static void prune(struct service *s) {
  struct err err;
  if (upkeep_prune(s->db, clock_wall_ms() - (int64_t)s->config->keep_days * MS_PER_DAY, &err))
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
  do {
    int64_t now = clock_mono_ms();
    set_check(s, CHECK_WORKERS, !stop_stalled(s, now), "a run has stalled and does not stop");
    if (checked_at == 0 || now - checked_at >= DATABASE_CHECK_MS) {
      checked_at = now;
      check_database(s);
    }
    if (pruned_at == 0 || now - pruned_at >= PRUNE_MS) {
      pruned_at = now;
      prune(s);
    }
  } while (next_tick(s));
  return NULL;
}

/* ---- intents ---- */

static struct run_defaults defaults_of(const struct service *s) {
  return (struct run_defaults){s->config->timezone, s->engine->vtable->name, s->config->source,
                               s->config->max_bad_rows_text};
}

/* An intent that was found at the start: a run that is not known here was accepted on a disk that is gone. */
static bool take_intent(void *arg, const char *id, const struct run_request *found) {
  struct service *s = arg;
  struct run run;
  struct err err;
  enum disposition disposition = DISPOSITION_CREATED;
  struct run_request request = *found;
  struct run_defaults defaults = defaults_of(s);
  request.id = id;
  enum kpi_code rc = run_store_submit(s->db, &request, &defaults, &run, &disposition, &err);
  bool wanted = rc || (disposition == DISPOSITION_CREATED && !run_state_is_terminal(run.state));
  if (rc)
    log_at(LOG_ERROR, "intents.run_not_created", err.message, LOG_S("run_id", id));
  else if (wanted)
    log_at(LOG_INFO, "intents.run_kept", "a run that was accepted before is queued", LOG_S("run_id", id));
  run_clear(&run);
  wake_supervisors(s);
  return wanted;
}

static enum kpi_code open_intents(struct service *s, struct err *err) {
  if (!s->config->intents_in_dynamodb)
    return KPI_OK;
  s->intents = intents_new(s->backends.aws, s->config->control_table, s->config->source, on_run_changed, s);
  if (!s->intents)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for the intents");
  intents_load(s->intents, take_intent, s);
  return KPI_OK;
}

/* ---- life ---- */

static void init_checks(struct service *s) {
  static const char *const names[CHECKS] = {"database", "queue", "source", "workers"};
  for (int i = 0; i < CHECKS; i++)
    s->synced.checks[i] = (struct health_check){.name = names[i], .ok = true, .checked_at = clock_wall_ms()};
}

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
    rc = backends_open(s->config, s->db, &s->backends, err);
  if (rc == KPI_OK)
    rc = recover(s, err);
  if (rc)
    return rc;
  s->pool = pool_new(s->config->threads, POOL_QUEUE);
  s->engine = s->pool ? engine_native_new(s->pool) : NULL;
  if (!s->engine)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for %llu workers",
                   (unsigned long long)s->config->threads);
  return open_intents(s, err);
}

static enum kpi_code start_threads(struct service *s, struct err *err) {
  s->slot_count = s->config->max_active_runs;
  for (size_t i = 0; i < s->slot_count; i++)
    s->slots[i].service = s;
  s->ticker_started = pthread_create(&s->ticker, NULL, tick, s) == 0;
  bool ok = s->ticker_started;
  for (size_t i = 0; ok && i < s->slot_count; i++)
    ok = s->slots[i].started = pthread_create(&s->slots[i].thread, NULL, supervise, &s->slots[i]) == 0;
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
  init_checks(s);
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
  tell_changed(s, NULL);
}

/* Milliseconds that a run still needs, from its bytes so far; 0 when that cannot be told yet. */
static int64_t remaining_ms(const struct slot *slot, int64_t running_ms) {
  struct run_progress p = job_progress_copy(&slot->live->progress);
  if (p.bytes_read == 0 || p.bytes_total <= p.bytes_read)
    return 0;
  return (int64_t)((double)running_ms * (double)(p.bytes_total - p.bytes_read) / (double)p.bytes_read);
}

/* Counts active runs, and stops those that cannot end within left_ms (all, when it is 0). */
static size_t active_runs(struct service *s, int64_t waited_ms, int64_t left_ms) {
  SCOPE_LOCK(&s->synced.lock);
  size_t active = 0;
  for (size_t i = 0; i < s->slot_count; i++) {
    struct slot *slot = &s->slots[i];
    if (!slot->live)
      continue;
    active++;
    bool is_hopeless = waited_ms >= MS_PER_SECOND && remaining_ms(slot, waited_ms) > left_ms * 2;
    if (left_ms <= 0 || is_hopeless)
      stop_raise(&slot->live->stop, STOP_DRAIN);
  }
  return active;
}

void service_drain(struct service *s) {
  int64_t start = clock_mono_ms(), limit = (int64_t)s->config->drain_seconds * MS_PER_SECOND;
  for (;;) {
    int64_t waited = clock_mono_ms() - start;
    if (active_runs(s, waited, limit - waited) == 0 || waited > limit + DRAIN_STOP_MS)
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
  active_runs(s, 0, 0);
  for (size_t i = 0; i < s->slot_count; i++)
    if (s->slots[i].started)
      pthread_join(s->slots[i].thread, NULL);
  if (s->ticker_started)
    pthread_join(s->ticker, NULL);
  engine_free(s->engine);
  pool_free(s->pool);
  intents_free(s->intents);
  backends_close(&s->backends);
  db_close(s->db);
  pthread_rwlock_destroy(&s->listener.lock);
  pthread_cond_destroy(&s->synced.wake);
  pthread_mutex_destroy(&s->synced.lock);
  free(s);
}

/* ---- what handlers ask ---- */

const struct config *service_config(const struct service *s) {
  return s->config;
}

day_t service_today(const struct service *s) {
  int64_t now = clock_wall_ms() / MS_PER_SECOND;
  return (day_t)((now + tz_offset_at_utc(s->config->zone, now)) / (MS_PER_DAY / MS_PER_SECOND));
}

enum bad_rows service_default_bad_rows(const struct service *s) {
  return s->config->bad_rows;
}

/* Lays the live counters over a run that is at work now. */
static void overlay_live(struct service *s, struct run *run) {
  if (run->state != RUN_RUNNING && run->state != RUN_CANCELLING)
    return;
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->slot_count; i++)
    if (s->slots[i].live && strcmp(s->slots[i].run_id, run->id) == 0) {
      run->progress = job_progress_copy(&s->slots[i].live->progress);
      run->phase = (enum run_phase)atomic_load(&s->slots[i].live->progress.phase);
    }
}

static enum kpi_code may_accept(struct service *s, const struct run_request *request, struct err *err) {
  uint64_t seen;
  char date[DAY_TEXT_SIZE];
  if (!takes_runs(s, &seen))
    return err_set(err, KPI_DRAINING, "the service is shutting down and takes no runs");
  if (request->date > service_today(s))
    return err_set(err, KPI_DATE_IN_FUTURE, "%s has not begun yet in %s", day_text(request->date, date),
                   s->config->timezone);
  return KPI_OK;
}

bool service_keeps_intents(const struct service *s) {
  return s->intents != NULL;
}

enum kpi_code service_intend(struct service *s, const struct run_request *request, char id[UUID_TEXT_SIZE],
                             struct err *err) {
  enum kpi_code rc = may_accept(s, request, err);
  crypto_uuid7(id);
  return rc ? rc : intents_put(s->intents, id, request, err);
}

enum kpi_code service_intended(struct service *s, const char *id, bool *stored, struct err *err) {
  struct err why;
  enum intent_state state = intents_state(s->intents, id, &why);
  *stored = state == INTENT_STORED;
  if (state != INTENT_FAILED)
    return KPI_OK;
  return err_set(err, KPI_STORAGE_UNAVAILABLE, "the run could not be kept in %s: %s",
                 s->config->control_table, why.message);
}

void service_forget_intent(struct service *s, const char *id) {
  intents_remove(s->intents, id);
}

enum kpi_code service_submit(struct service *s, const struct run_request *request, struct run *out,
                             enum disposition *disposition, struct err *err) {
  *out = (struct run){0};
  enum kpi_code refused = may_accept(s, request, err);
  if (refused)
    return refused;
  struct run_defaults defaults = defaults_of(s);
  enum kpi_code rc = run_store_submit(s->db, request, &defaults, out, disposition, err);
  if (s->intents && request->id && (rc || *disposition != DISPOSITION_CREATED))
    intents_remove(s->intents, request->id);
  if (rc)
    return rc;
  overlay_live(s, out);
  wake_supervisors(s);
  return KPI_OK;
}

enum kpi_code service_get_run(struct service *s, struct view id, struct run *out, struct err *err) {
  enum kpi_code rc = run_store_get(s->db, id, out, err);
  if (rc == KPI_OK)
    overlay_live(s, out);
  return rc;
}

enum kpi_code service_list_runs(struct service *s, const struct run_filter *filter, struct run_list *out,
                                struct err *err) {
  enum kpi_code rc = run_store_list(s->db, filter, out, err);
  for (size_t i = 0; rc == KPI_OK && i < out->count; i++)
    overlay_live(s, &out->runs[i]);
  return rc;
}

enum kpi_code service_cancel(struct service *s, struct view id, struct run *out, struct err *err) {
  enum kpi_code rc = run_store_cancel(s->db, id, out, err);
  if (rc)
    return rc;
  pthread_mutex_lock(&s->synced.lock);
  for (size_t i = 0; i < s->slot_count; i++)
    if (s->slots[i].live && view_is(id, s->slots[i].run_id))
      stop_raise(&s->slots[i].live->stop, STOP_CANCEL);
  pthread_mutex_unlock(&s->synced.lock);
  remove_intent_if_over(s, out->id);
  tell_changed(s, out->id);
  return KPI_OK;
}

enum kpi_code service_retry(struct service *s, struct view id, bool from_publish, struct run *out,
                            struct err *err) {
  uint64_t seen;
  *out = (struct run){0};
  if (!takes_runs(s, &seen))
    return err_set(err, KPI_DRAINING, "the service is shutting down and takes no runs");
  enum kpi_code rc = run_store_retry(s->db, id, from_publish, out, err);
  if (rc)
    return rc;
  wake_supervisors(s);
  tell_changed(s, out->id);
  return KPI_OK;
}

enum kpi_code service_results(struct service *s, struct view id, const struct results_page *page,
                              struct kpi_rows *out, bool *more, struct err *err) {
  return results_store_page(s->db, id, page, out, more, err);
}

enum kpi_code service_quality(struct service *s, struct view id, struct buf *out, struct err *err) {
  return results_store_quality(s->db, id, out, err);
}

void service_health(struct service *s, struct health *out) {
  *out = (struct health){0};
  SCOPE_LOCK(&s->synced.lock);
  out->alive = !s->synced.stuck && !db_is_broken(s->db);
  out->draining = s->synced.draining;
  out->ready = !out->draining;
  out->queued = s->synced.queued;
  for (size_t i = 0; i < s->slot_count; i++)
    out->active += s->slots[i].live != NULL;
  for (int i = 0; i < CHECKS; i++) {
    out->checks[i] = s->synced.checks[i];
    out->ready &= s->synced.checks[i].ok || i == CHECK_SOURCE;
  }
  out->check_count = CHECKS;
}
