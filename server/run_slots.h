/* SPDX-License-Identifier: MIT
 * The runs at work now, one a slot: who drives them raises and lowers their entry, others look at their
 * counters or stop them. Knows no queue, no database and no HTTP. */
#ifndef KPID_SERVER_RUN_SLOTS_H
#define KPID_SERVER_RUN_SLOTS_H

#include "server/run_exec.h"

enum { RUN_SLOTS_MAX = 64 };

/* All functions may be called from any thread. */
struct run_slots {
  size_t count;
  struct {
    pthread_mutex_t lock;
    struct {
      char run_id[UUID_TEXT_SIZE];
      struct run_live *live; /* NULL: idle; borrowed from the driver */
      uint64_t progress_sum; /* what was counted when progress was last seen */
      int64_t progress_at;   /* monotonic ms */
    } at[RUN_SLOTS_MAX];
  } synced;
};

/* Prepares `count` idle slots, 1 to RUN_SLOTS_MAX. */
void run_slots_init(struct run_slots *s, size_t count);

/* All slots must be idle. */
void run_slots_clear(struct run_slots *s);

/* A run is driven in a slot from now on; `live` is borrowed until run_slots_leave. */
void run_slots_enter(struct run_slots *s, size_t slot, const char *run_id, struct run_live *live);

/* The run of that slot is driven no more. */
void run_slots_leave(struct run_slots *s, size_t slot);

/* Raises the stop flag of a run if it is at work. */
void run_slots_stop(struct run_slots *s, struct view run_id, enum stop_reason why);

/* Stops runs that have made no progress for limit_ms. Returns true when one has ignored that for as long
 * again. To be called by one thread, again and again; now_ms is monotonic. */
bool run_slots_stop_stalled(struct run_slots *s, int64_t now_ms, int64_t limit_ms);

/* Stops the runs whose attempt has taken too long. */
void run_slots_stop_overdue(struct run_slots *s, int64_t now_ms);

/* Waited for waited_ms already, stops the runs that will not end within left_ms by the look of their bytes;
 * all, when left_ms is not positive. Returns how many are at work. */
size_t run_slots_drain(struct run_slots *s, int64_t waited_ms, int64_t left_ms);

/* Lays the live counters and phase over a stored run that is at work now. */
void run_slots_overlay(struct run_slots *s, struct run *run);

/* Fills what is known of the runs at work: id, date, attempt, start, phase and counters; state running;
 * nothing owned. Returns how many. */
size_t run_slots_live(struct run_slots *s, struct run runs[RUN_SLOTS_MAX]);

/* Returns how many runs are at work. */
size_t run_slots_active(struct run_slots *s);

#endif
