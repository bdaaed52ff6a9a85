/* SPDX-License-Identifier: MIT
 * The runs at work now: who drives one enters and leaves it, others look at its counters or stop it. Knows no
 * queue, no database and no HTTP. */
#ifndef KPID_SERVER_LIVE_RUNS_H
#define KPID_SERVER_LIVE_RUNS_H

#include "server/run_exec.h"

enum { LIVE_RUNS_SHOWN_MAX = 64 };

/* All functions may be called from any thread. */
struct live_runs {
  struct {
    pthread_mutex_t lock;
    struct run_live *first;
  } synced;
};

/* Prepares an empty register. */
void live_runs_init(struct live_runs *r);

/* All must have left. */
void live_runs_clear(struct live_runs *r);

/* A run, or a scan for several, is driven from now on; it is borrowed until live_runs_leave. */
void live_runs_enter(struct live_runs *r, struct run_live *live);

/* It is driven no more. Nothing happens when it has not entered. */
void live_runs_leave(struct live_runs *r, struct run_live *live);

/* A run only waits from now on: for that scan, whose counters it shows, and then for its turn to be
 * published. NULL: no more; what the scan has counted is its own then. */
void live_runs_scan(struct live_runs *r, struct run_live *live, struct run_live *scan);

/* Raises the stop flag of a run if it is at work. */
void live_runs_stop(struct live_runs *r, struct view run_id, enum stop_reason why);

/* Stops what has made no progress for limit_ms. Returns true when something has ignored that for as long
 * again. To be called by one thread, again and again; now_ms is monotonic. */
bool live_runs_stop_stalled(struct live_runs *r, int64_t now_ms, int64_t limit_ms);

/* Stops the runs whose attempt has taken too long; waiting for a turn to be published is not counted. */
void live_runs_stop_overdue(struct live_runs *r, int64_t now_ms);

/* Waited for waited_ms already, stops what will not end within left_ms by the look of its bytes; all, when
 * left_ms is not positive. Returns how many are at work. */
size_t live_runs_drain(struct live_runs *r, int64_t waited_ms, int64_t left_ms);

/* Lays the live counters and phase over a stored run that is at work now. */
void live_runs_overlay(struct live_runs *r, struct run *run);

/* Fills what is known of the runs at work, or of one when the id is not empty: id, date, attempt, start,
 * phase and counters; state running; nothing owned. Returns how many: of many, those that entered last. */
size_t live_runs_show(struct live_runs *r, struct view run_id, struct run runs[LIVE_RUNS_SHOWN_MAX]);

/* Returns how many runs are at work. */
size_t live_runs_active(struct live_runs *r);

#endif
