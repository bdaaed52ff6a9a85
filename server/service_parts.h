/* SPDX-License-Identifier: MIT
 * What the two halves of the service share: service.c gives it its life and its threads, service_calls.c
 * answers the handlers. For these two only. */
#ifndef KPID_SERVER_SERVICE_PARTS_H
#define KPID_SERVER_SERVICE_PARTS_H

#include "server/backends.h"
#include "server/config.h"
#include "server/health.h"
#include "server/input_look.h"
#include "server/intents.h"
#include "server/run_slots.h"
#include "server/run_submit_store.h"
#include "server/service.h"
#include "server/watch.h"

enum { SERVICE_MS_PER_SECOND = 1000, SERVICE_MS_PER_DAY = 86400 * 1000 };

/* The thread that drives the runs of one slot. */
struct supervisor {
  struct service *service;
  size_t slot;
  pthread_t thread;
  bool started;
};

struct service {
  const struct config *config;
  struct db *db;
  struct pool *pool;
  struct engine *engine;
  struct backends backends;
  struct intents *intents; /* NULL: none are kept */
  struct input_look *input;
  struct watch *watch;
  char boot_id[UUID_TEXT_SIZE];
  struct {
    pthread_rwlock_t lock;
    service_changed_fn changed; /* guarded by lock, as arg */
    void *arg;
  } listener;
  pthread_t ticker;
  bool ticker_started;
  struct run_slots slots;
  struct health_board health;
  struct supervisor supervisors[RUN_SLOTS_MAX];
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool draining, stopping;
    uint64_t posted; /* grows when a run is queued; a supervisor that sees it unchanged may sleep */
  } synced;
};

/* Tells the listener. Without locks. */
void service_tell_changed(struct service *s, const char *run_id);

/* A run was queued. */
void service_wake_supervisors(struct service *s);

/* What a run is computed with here. */
struct run_defaults service_defaults_of(const struct service *s);

/* False once the service drains. *seen: to be compared with synced.posted. */
bool service_takes_runs(struct service *s, uint64_t *seen);

/* The intent of a run goes when the run has ended, not when it was handed back; that of no run goes too. */
void service_remove_intent_unless_active(struct service *s, const char *run_id);

/* False while runs that were accepted on a disk that is gone may still come to light. */
bool service_knows_its_runs(const struct service *s);

#endif
