/* SPDX-License-Identifier: MIT */
#include "server/service_parts.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/backfill_submit_store.h"
#include "server/discovery.h"
#include "server/run_metrics.h"
#include "server/run_move_store.h"
#include "server/run_trace.h"
#include "server/upkeep_store.h"
#include "server/watch.h"

#include <string.h>
#include <time.h>

enum {
  POOL_QUEUE = 1024,
  TICK_MS = 250,
  DATABASE_CHECK_MS = 5000, /* so often at least, */
  CENSUS_MS = 1000,         /* and so often at most while runs move */
  PRUNE_MS = 3600 * 1000,
  QUEUE_QUIET_MS = 5 * 1000, /* that runs wait is told when one has for so long, */
  QUEUE_TELL_MS = 60 * 1000, /* and so often then */
  CLAIM_RETRY_MS = 1000,
  BURST_QUIET_MS = 100,     /* a burst of posted days is over when none has followed for so long, */
  BURST_MS_MAX = 10 * 1000, /* or when it has lasted so long */
  DRAIN_STEP_MS = 20,
  DRAIN_STOP_MS = 10 * 1000, /* how long stopped runs may take to notice */
  LEAVE_MS = 8 * 1000 /* how long DynamoDB may take to be told of them; more if runs left time for it */
};

/* The listener is called under a lock of its own, so that none is called after it was taken away. */
void service_tell_changed(struct service *s, const char *run_id) {
  pthread_rwlock_rdlock(&s->listener.lock);
  if (s->listener.changed)
    s->listener.changed(s->listener.arg, run_id);
  pthread_rwlock_unlock(&s->listener.lock);
}

static void on_run_changed(void *arg, const char *run_id) {
  struct service *s = arg;
  atomic_store(&s->runs_moved, true);
  service_tell_changed(s, run_id);
}

void service_wake_supervisors(struct service *s) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.posted++;
  pthread_cond_broadcast(&s->synced.wake);
}

void service_note_burst(struct service *s) {
  int64_t now = clock_mono_ms();
  SCOPE_LOCK(&s->synced.lock);
  if (now - s->synced.burst_grew > BURST_QUIET_MS)
    s->synced.burst_began = now;
  s->synced.burst_grew = now;
}

/* ---- supervisors ---- */

struct engines service_engines_of(const struct service *s) {
  return (struct engines){s->native, s->backends.spark, s->config->native_max_bytes};
}

struct run_defaults service_defaults_of(const struct service *s) {
  return (struct run_defaults){s->config->timezone, s->config->source, s->config->max_bad_rows_text};
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

/* Waits until a burst of posted days is over, so that they are computed together. */
static void wait_for_the_burst(struct service *s) {
  SCOPE_LOCK(&s->synced.lock);
  for (;;) {
    int64_t quiet = s->synced.burst_grew + BURST_QUIET_MS, latest = s->synced.burst_began + BURST_MS_MAX;
    int64_t until = quiet < latest ? quiet : latest;
    if (s->synced.burst_grew == 0 || clock_mono_ms() >= until || s->synced.draining || s->synced.stopping)
      return;
    struct timespec at = clock_timespec(until);
    pthread_cond_clockwait(&s->synced.wake, &s->synced.lock, CLOCK_MONOTONIC, &at);
  }
}

static void stop_cancelling(void *arg, const char *id) {
  struct service *s = arg;
  live_runs_stop(&s->live, view_of(id), STOP_CANCEL);
}

void service_stop_cancelling(struct service *s) {
  struct err err;
  if (run_store_each_cancelling(s->db, stop_cancelling, s, &err))
    log_at(LOG_WARN, "service.cancelling", err.message);
}

/* Runs may have been asked to stop between their claim and the moment their flags could be raised. */
static void stop_what_should(void *arg) {
  struct service *s = arg;
  service_stop_cancelling(s);
  SCOPE_LOCK(&s->synced.lock);
  if (s->synced.stopping)
    live_runs_drain(&s->live, 0, 0);
}

bool service_remove_intent_unless_active(struct service *s, const char *run_id) {
  struct run now;
  struct err err;
  if (!s->intents)
    return false;
  enum kpi_code rc = run_store_get(s->db, view_of(run_id), &now, &err);
  bool is_over = rc == KPI_RUN_NOT_FOUND || (rc == KPI_OK && run_state_is_terminal(now.state));
  if (is_over)
    intents_remove(s->intents, run_id);
  run_clear(&now);
  return is_over;
}

/* An intent says who is at work on its run: should the disk go with the service, the next one knows. */
static void on_attempt_begins(struct service *s, const struct run *run) {
  if (s->intents)
    intents_begin_attempt(s->intents, run->id, run->attempt);
}

static void on_attempt_ended(void *arg, const struct run *run) {
  struct service *s = arg;
  if (s->intents && !service_remove_intent_unless_active(s, run->id))
    intents_end_attempt(s->intents, run->id, run->attempt);
}

static void say_started(struct service *s, const struct run *run) {
  char date[DAY_TEXT_SIZE];
  log_at(LOG_INFO, "run.started", "run started", LOG_S("run_id", run->id),
         LOG_S("date", day_text(run->date, date)), LOG_I("attempt", run->attempt),
         LOG_S("trace_id", run->trace_id));
  on_attempt_begins(s, run);
  service_tell_changed(s, run->id);
}

/* What came of reading the source. */
static void note_source(struct service *s, enum kpi_code rc, const struct err *err) {
  bool failed = rc && err_info(rc)->exit_code == err_info(KPI_SOURCE_NOT_FOUND)->exit_code;
  health_board_set(&s->health, CHECK_SOURCE, !failed, err->message);
}

static void drive_one(struct service *s, const struct run_exec *x, struct run *run) {
  struct run_live live = run_live_of(run);
  struct job_result result = {0};
  struct err err = {0};
  live_runs_enter(&s->live, &live);
  stop_what_should(s);
  say_started(s, run);
  note_source(s, run_exec(x, run, &live, &result, &err), &err);
  live_runs_leave(&s->live, &live);
  on_attempt_ended(s, run);
  job_result_clear(&result);
}

static void drive_together(struct service *s, const struct run_exec *x, struct run_list *runs) {
  struct run_group group;
  struct err err = {0};
  for (size_t i = 0; i < runs->count; i++)
    say_started(s, &runs->runs[i]);
  if (!run_group_init(&group, x, &s->live, runs)) {
    for (size_t i = 0; i < runs->count; i++) /* there is no memory for all: one after the other */
      drive_one(s, x, &runs->runs[i]);
    return;
  }
  group.over = on_attempt_ended;
  group.over_arg = s;
  stop_what_should(s);
  note_source(s, run_group_exec(&group, &err), &err);
  run_group_clear(&group);
}

/* Claims runs and drives them to their ends. *found false: there were none. */
static enum kpi_code drive_runs(struct service *s, const struct run_exec *x, enum run_priority priority,
                                bool *found) {
  const struct claim_filter filter = {.priority = priority};
  const struct run_defaults defaults = service_defaults_of(s);
  struct run_list runs;
  struct err err;
  enum kpi_code rc = run_store_claim_together(s->db, s->boot_id, &filter, &defaults, &runs, &err);
  *found = runs.count > 0;
  if (runs.count == 1)
    drive_one(s, x, runs.runs);
  else if (runs.count)
    drive_together(s, x, &runs);
  run_list_clear(&runs);
  return rc;
}

/* The same with a backfill whose days are to be found. */
static enum kpi_code drive_discovery(struct service *s, const struct run_exec *x, bool *found) {
  const struct run_defaults defaults = service_defaults_of(s);
  const struct discovery_plan plan = {x, &s->live, s->boot_id, &defaults, stop_what_should, on_attempt_ended,
                                      s};
  struct backfill backfill;
  struct err err = {0};
  enum kpi_code rc = backfill_store_claim(s->db, s->boot_id, &backfill, found, &err);
  if (*found) {
    service_tell_changed(s, backfill.id);
    note_source(s, discovery_exec(&plan, &backfill, &err), &err);
  }
  backfill_clear(&backfill);
  return rc;
}

static void *supervise(void *arg) {
  const struct supervisor *me = arg;
  struct service *s = me->service;
  const struct run_exec x = {.config = s->config,
                             .db = s->db,
                             .engines = service_engines_of(s),
                             .reaper = s->reaper,
                             .intents = s->intents,
                             .source = s->backends.source,
                             .cache = s->backends.cache,
                             .publisher = s->backends.publisher,
                             .changed = on_run_changed,
                             .changed_arg = s};
  uint64_t seen;
  while (service_takes_runs(s, &seen)) {
    bool found;
    if (me->priority == PRIORITY_DAY)
      wait_for_the_burst(s);
    enum kpi_code rc = drive_runs(s, &x, me->priority, &found);
    if (!found && rc == KPI_OK && me->priority == PRIORITY_BACKFILL)
      rc = drive_discovery(s, &x, &found);
    if (!found)
      wait_for_runs(s, seen, rc ? CLAIM_RETRY_MS : INT32_MAX);
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
      live_runs_stop_stalled(&s->live, now, (int64_t)s->config->stall_seconds * SERVICE_MS_PER_SECOND);
  health_board_set_stuck(&s->health, stuck);
  return stuck;
}

/* Says how long the oldest queued run has waited: for those who watch the log and do not scrape metrics. */
static void tell_of_queue(struct service *s, const struct run_census *census) {
  int64_t waits_ms = census->oldest_queued_at ? clock_wall_ms() - census->oldest_queued_at : 0;
  int64_t now = clock_mono_ms();
  if (waits_ms < QUEUE_QUIET_MS || (s->queue_told_at && now - s->queue_told_at < QUEUE_TELL_MS))
    return;
  s->queue_told_at = now;
  log_at(LOG_INFO, "queue.waits", "runs are waiting", LOG_I("queued", census->queued),
         LOG_I("oldest_seconds", waits_ms / SERVICE_MS_PER_SECOND));
}

/* Reads, and, when the disk has refused something, writes too: a full disk can still be read. */
static void check_database(struct service *s) {
  struct run_census census;
  struct err err;
  enum kpi_code rc = upkeep_census(s->db, &census, &err);
  if (rc == KPI_OK) {
    health_board_set(&s->health, CHECK_QUEUE, census.queued < QUEUE_MAX, "the queue is full");
    health_board_set_census(&s->health, &census);
    tell_of_queue(s, &census);
  }
  if (rc == KPI_OK && db_refuses_writes(s->db))
    rc = upkeep_probe(s->db, &err);
  health_board_set(&s->health, CHECK_DATABASE, rc == KPI_OK, err.message);
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
    run_trace_ended(&wakes.expired.runs[i]);
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
    live_runs_stop_overdue(&s->live, now);
    ecs_task_set_busy(s->ecs, live_runs_active(&s->live) > 0);
    check_intents(s);
    wake_runs(s);
    int64_t check_ms = atomic_load(&s->runs_moved) ? CENSUS_MS : DATABASE_CHECK_MS;
    if (checked_at == 0 || now - checked_at >= check_ms || db_refuses_writes(s->db) != was_refusing) {
      atomic_store(&s->runs_moved, false);
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

/* Runs that too many services have died under. */
static void tell_lost(struct recovery *recovery) {
  for (size_t i = 0; i < recovery->lost.count; i++)
    run_trace_ended(&recovery->lost.runs[i]);
  run_list_clear(&recovery->lost);
}

/* ---- intents ---- */

/* An intent that was found at the start: a run that is not known here was accepted on a disk that is gone.
 * What cannot be stored now may be later; what is refused for good keeps nobody from knowing the others. */
static enum kpi_code take_intent(void *arg, const struct intent *found, bool *wanted, struct err *err) {
  struct service *s = arg;
  struct submitted done;
  struct recovery recovery;
  const struct run_defaults defaults = service_defaults_of(s);
  const struct past past = {s->boot_id, found->deaths, found->job};
  enum kpi_code rc =
      run_store_take_over(s->db, &found->request, &found->policy, &defaults, &past, &done, &recovery, err);
  if (rc) {
    log_at(LOG_ERROR, "intents.run_not_created", err->message, LOG_S("run_id", found->id));
    return err_info(rc)->retryable ? rc : KPI_OK;
  }
  const bool is_own = strcmp(done.run.id, found->id) == 0;
  *wanted = is_own && !run_state_is_terminal(done.run.state);
  if (!is_own)
    log_at(LOG_WARN, "intents.run_attached", "another run of its date answers for one that was accepted",
           LOG_S("run_id", found->id), LOG_S("answered_by", done.run.id));
  else if (*wanted)
    log_at(LOG_INFO, "intents.run_kept", "a run that was accepted before is queued",
           LOG_S("run_id", found->id), LOG_I("deaths", found->deaths));
  tell_lost(&recovery);
  run_clear(&done.run);
  service_note_burst(s); /* those that wait for one job go on with it together */
  service_wake_supervisors(s);
  return KPI_OK;
}

/* A job of a disk that is gone that no run waits for: the search of a backfill had it, or it was being ended.
 */
static enum kpi_code take_job(void *arg, const struct owned_job *found, bool *wanted, struct err *err) {
  struct service *s = arg;
  bool is_over;
  enum kpi_code rc = engine_job_store_inherit(s->db, found, &is_over, err);
  if (rc) {
    log_at(LOG_ERROR, "intents.job_not_taken", err->message, LOG_S("run_id", found->owner));
    return err_info(rc)->retryable ? rc : KPI_OK;
  }
  *wanted = !is_over;
  engine_reaper_wake(s->reaper);
  return KPI_OK;
}

static enum kpi_code open_intents(struct service *s, struct err *err) {
  if (!s->config->intents_in_dynamodb)
    return KPI_OK;
  s->intents = intents_new(s->backends.aws, s->config->control_table, s->config->source, s->boot_id,
                           on_run_changed, s);
  if (!s->intents)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for the intents");
  check_intents(s); /* before the first tick: nobody may be told that all are known */
  return KPI_OK;
}

static void load_intents(struct service *s) {
  const struct intents_taker taker = {take_intent, s->backends.spark ? take_job : NULL, s};
  if (s->intents)
    intents_load(s->intents, &taker);
}

/* ---- life ---- */

static enum kpi_code recover(struct service *s, struct err *err) {
  struct recovery recovery;
  enum kpi_code rc = upkeep_recover(s->db, s->boot_id, &recovery, err);
  if (rc == KPI_OK && recovery.moved > 0)
    log_at(LOG_WARN, "service.recovered", "runs of a service that died were taken over",
           LOG_I("runs", recovery.moved));
  tell_lost(&recovery);
  return rc;
}

static enum kpi_code open_parts(struct service *s, struct err *err) {
  enum kpi_code rc = db_open(s->config->db, "kpid serve", &s->db, err);
  if (rc == KPI_OK)
    rc = watch_start(s->db, &s->live, on_run_changed, s, &s->watch, err);
  if (rc == KPI_OK)
    rc = backends_open(s->config, s->db, &s->backends, err);
  if (rc == KPI_OK)
    rc = recover(s, err);
  if (rc)
    return rc;
  s->pool = pool_new_background(s->config->threads, POOL_QUEUE);
  s->native = s->pool ? engine_native_new(s->pool) : NULL;
  s->input = input_look_new(s->backends.source, on_run_changed, s);
  rc = open_intents(s, err);
  if (rc)
    return rc;
  const struct reaping reaping = {s->db, s->backends.spark, s->intents};
  if (s->backends.spark)
    s->reaper = engine_reaper_new(&reaping);
  if (!s->native || !s->input || (s->backends.spark && !s->reaper))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for %llu workers",
                   (unsigned long long)s->config->threads);
  rc = ecs_task_start(&s->ecs, err);
  if (rc == KPI_OK)
    load_intents(s);
  return rc;
}

static enum kpi_code start_threads(struct service *s, struct err *err) {
  s->ticker_started = pthread_create(&s->ticker, NULL, tick, s) == 0;
  bool ok = s->ticker_started;
  for (size_t i = 0; ok && i <= s->config->max_active_runs; i++) {
    struct supervisor *p = &s->supervisors[i];
    *p = (struct supervisor){.service = s, .priority = i ? PRIORITY_DAY : PRIORITY_BACKFILL};
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
  live_runs_init(&s->live);
  run_metrics_init();
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
  if (!s->synced.draining)
    s->synced.drain_began = clock_mono_ms();
  s->synced.draining = true;
  pthread_cond_broadcast(&s->synced.wake);
  pthread_mutex_unlock(&s->synced.lock);
  service_tell_changed(s, NULL);
}

void service_drain(struct service *s) {
  int64_t start = clock_mono_ms(), limit = (int64_t)s->config->drain_seconds * SERVICE_MS_PER_SECOND;
  for (;;) {
    int64_t waited = clock_mono_ms() - start;
    if (live_runs_drain(&s->live, waited, limit - waited) == 0 || waited > limit + DRAIN_STOP_MS)
      return;
    nanosleep(&(struct timespec){.tv_nsec = DRAIN_STEP_MS * 1000000L}, NULL);
  }
}

/* What of the time for draining is left. */
static int64_t drain_left_ms(const struct service *s) {
  const int64_t left =
      s->synced.drain_began + (int64_t)s->config->drain_seconds * SERVICE_MS_PER_SECOND - clock_mono_ms();
  return left > 0 ? left : 0;
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
  live_runs_drain(&s->live, 0, 0);
  for (size_t i = 0; i <= ACTIVE_RUNS_MAX; i++)
    if (s->supervisors[i].started)
      pthread_join(s->supervisors[i].thread, NULL);
  if (s->ticker_started)
    pthread_join(s->ticker, NULL);
  ecs_task_free(s->ecs);
  engine_reaper_free(s->reaper);
  engine_free(s->native);
  pool_free(s->pool);
  input_look_free(s->input);
  intents_free(s->intents, LEAVE_MS + drain_left_ms(s));
  backends_close(&s->backends);
  watch_free(s->watch);
  db_close(s->db);
  live_runs_clear(&s->live);
  health_board_clear(&s->health);
  pthread_rwlock_destroy(&s->listener.lock);
  pthread_cond_destroy(&s->synced.wake);
  pthread_mutex_destroy(&s->synced.lock);
  free(s);
}
