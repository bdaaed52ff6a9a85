/* SPDX-License-Identifier: MIT
 * Ends the jobs of a cluster that nobody waits for any more, and removes their files: a thread that tries
 * until each is over, also those that an earlier process has left. Sleeps while there are no jobs. */
#ifndef KPID_SERVER_ENGINE_REAPER_H
#define KPID_SERVER_ENGINE_REAPER_H

#include "pipeline/engine.h"
#include "server/engine_job_store.h"
#include "server/intents.h"

struct engine_reaper;

/* What jobs are ended with; borrowed. */
struct reaping {
  struct db *db;
  struct engine *engine;
  struct intents *intents; /* NULL: none are kept */
};

/* Starts the thread. Returns owned, NULL when memory or threads are exhausted. */
struct engine_reaper *engine_reaper_new(const struct reaping *with);

/* A job was handed over or given up. Accepts NULL. Any thread. */
void engine_reaper_wake(struct engine_reaper *r);

/* Stops the thread: what is left is for the next one. Accepts NULL. */
void engine_reaper_free(struct engine_reaper *r);

/* What is left after a look at all jobs that are to be ended. */
struct reaped {
  int64_t next_ms; /* until the next look has something to do; ENGINE_JOBS_NEVER: nothing is to be ended */
  uint64_t handed; /* other jobs, which runs wait for */
};

/* Looks once at jobs that are to be ended, those first that were not tried yet, by the thread of the caller;
 * returns before it has seen all when that takes long. One that is not over is looked at again after a while
 * that grows to a minute, and while it cannot be ended to half an hour; after a day it is abandoned, which is
 * logged. Errors: those of the database. */
KPI_MUST_CHECK enum kpi_code engine_reap(const struct reaping *r, const struct stop_flag *stop,
                                         struct reaped *out, struct err *err);

#endif
