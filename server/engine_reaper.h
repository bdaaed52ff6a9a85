/* SPDX-License-Identifier: MIT
 * Ends the jobs of a cluster that nobody waits for any more, and removes their files: a thread that tries
 * until each is over, also those that an earlier process has left. Sleeps while there are no jobs. */
#ifndef KPID_SERVER_ENGINE_REAPER_H
#define KPID_SERVER_ENGINE_REAPER_H

#include "pipeline/engine.h"
#include "server/db.h"

struct engine_reaper;

/* Starts the thread. Borrows both. Returns owned, NULL when memory or threads are exhausted. */
struct engine_reaper *engine_reaper_new(struct db *db, struct engine *engine);

/* A job was handed over or given up. Accepts NULL. Any thread. */
void engine_reaper_wake(struct engine_reaper *r);

/* Stops the thread: what is left is for the next one. Accepts NULL. */
void engine_reaper_free(struct engine_reaper *r);

/* One look at jobs that are to be ended, by the thread of the caller. Returns how many are not over yet;
 * *handed: how many others there are, which runs wait for. */
uint64_t engine_reap(struct db *db, struct engine *engine, const struct stop_flag *stop, uint64_t *handed);

#endif
