/* SPDX-License-Identifier: MIT
 * Runs of several days that are computed together, in one pass over the inputs. Each keeps its own states,
 * results, stop flag and end; the pass goes on for the others when one is cancelled. Knows neither queue nor
 * HTTP. */
#ifndef KPID_SERVER_RUN_GROUP_H
#define KPID_SERVER_RUN_GROUP_H

#include "server/day_scan.h"
#include "server/live_runs.h"

/* One of the runs. Zero-initialise; who makes the group sets run and live. */
struct run_member {
  struct run run; /* claimed; owned by the group */
  struct run_live live;
  enum { MEMBER_WAITS, MEMBER_WORKS, MEMBER_OVER } state; /* guarded by the group's lock */
};

/* Called when a run has ended; the last thing that is done with it. Several threads at a time. */
typedef void (*run_group_over_fn)(void *arg, const struct run *run);

struct run_group {
  const struct run_exec *x;
  struct live_runs *live;     /* the members, and the scan, enter and leave it */
  struct run_member *members; /* owned; published in this order */
  size_t count;
  struct run_live scan;
  const struct day_scan *given; /* some of the days were computed already; borrowed; NULL: none was */
  run_group_over_fn over;
  void *over_arg;
  /* run_group's own. */
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
  } synced;
  enum kpi_code rc; /* of the scan */
  struct err err;
};

/* Makes a group of claimed runs, which are taken, at least one, of the same rules for bad rows, and enters
 * them in `live`. False when memory is exhausted: the list is left as it is. */
bool run_group_init(struct run_group *g, const struct run_exec *x, struct live_runs *live,
                    struct run_list *runs);

/* Executes all to their ends. Returns what came of the scan; *err says why. */
KPI_MUST_CHECK enum kpi_code run_group_exec(struct run_group *g, struct err *err);

/* Frees. All members have ended. */
void run_group_clear(struct run_group *g);

#endif
