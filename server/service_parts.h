/* SPDX-License-Identifier: MIT
 * What the parts of the service share: service.c gives it its life and its threads, service_calls.c and
 * service_backfills.c answer the handlers. For these only. */
#ifndef KPID_SERVER_SERVICE_PARTS_H
#define KPID_SERVER_SERVICE_PARTS_H

#include "server/backends.h"
#include "server/config.h"
#include "server/ecs_task.h"
#include "server/engine_reaper.h"
#include "server/health.h"
#include "server/input_look.h"
#include "server/intents.h"
#include "server/live_runs.h"
#include "server/run_submit_store.h"
#include "server/service.h"
#include "server/watch.h"

enum { SERVICE_MS_PER_SECOND = 1000, SERVICE_MS_PER_DAY = 86400 * 1000 };

/* A thread that claims runs of its priority and drives them to their ends. */
struct supervisor {
  struct service *service;
  enum run_priority priority;
  pthread_t thread;
  bool started;
};

struct service {
  const struct config *config;
  struct db *db;
  struct pool *pool;
  struct engine *native;
  struct backends backends;
  struct engine_reaper *reaper; /* NULL: no cluster is configured */
  struct intents *intents;      /* NULL: none are kept */
  struct ecs_task *ecs;         /* NULL: not there */
  struct input_look *input;
  struct watch *watch;
  char boot_id[UUID_TEXT_SIZE];
  _Atomic bool runs_moved; /* since they were counted last */
  struct {
    pthread_rwlock_t lock;
    service_changed_fn changed; /* guarded by lock, as arg */
    void *arg;
  } listener;
  int64_t queue_told_at; /* the ticker's: when it last said how long runs wait; 0 for never */
  pthread_t ticker;
  bool ticker_started;
  struct live_runs live;
  struct health_board health;
  struct supervisor supervisors[ACTIVE_RUNS_MAX + 1];
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool draining, stopping;
    int64_t drain_began; /* monotonic ms */
    uint64_t posted;     /* grows when a run is queued; a supervisor that sees it unchanged may sleep */
    int64_t burst_began, burst_grew; /* monotonic ms: days that were posted one after the other */
  } synced;
};

/* Tells the listener. Without locks. */
void service_tell_changed(struct service *s, const char *run_id);

/* A run was queued. */
void service_wake_supervisors(struct service *s);

/* A run was queued while others are under way: more may follow, which can be computed together. */
void service_note_burst(struct service *s);

/* What can compute. */
struct engines service_engines_of(const struct service *s);

/* What a run is computed with here. */
struct run_defaults service_defaults_of(const struct service *s);

/* False once the service drains. *seen: to be compared with synced.posted. */
bool service_takes_runs(struct service *s, uint64_t *seen);

/* The intent of a run goes when the run has ended, not when it was handed back; that of no run goes too. True
 * when it does. */
bool service_remove_intent_unless_active(struct service *s, const char *run_id);

/* False while runs that were accepted on a disk that is gone may still come to light. */
bool service_knows_its_runs(const struct service *s);

/* Errors: KPI_DRAINING, KPI_STARTING, KPI_DATE_IN_FUTURE: why nothing for that date can be accepted. */
KPI_MUST_CHECK enum kpi_code service_may_accept(struct service *s, day_t date, struct err *err);

/* Stops the runs at work that are to be cancelled. */
void service_stop_cancelling(struct service *s);

#endif
