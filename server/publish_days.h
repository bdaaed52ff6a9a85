/* SPDX-License-Identifier: MIT
 * Publishing many runs that were computed together, several at a time. Each has its own results and
 * publication; one that fails does not keep the others back. */
#ifndef KPID_SERVER_PUBLISH_DAYS_H
#define KPID_SERVER_PUBLISH_DAYS_H

#include "server/day_scan.h"

/* A claimed run whose day was computed. Borrowed from the owner until publish_days returns, or tells him that
 * it is over. */
struct day_run {
  const struct run *run; /* NULL: leave it out */
  struct run_live *live;
};

/* All borrowed. */
struct publish_days {
  const struct run_exec *x;
  const struct day_scan *scan;
  const struct stop_flag *stop; /* looked at between windows of runs */
  bool leaves_changed; /* runs are left as they are, not ended, when the inputs are no longer those */
  size_t count;        /* of runs */
  /* Hands out the run at `at` < count, of a day of the results. Errors: as of any run. Several threads at a
   * time, as with `over`. */
  enum kpi_code (*take)(void *arg, size_t at, struct day_run *out, struct err *err);
  /* What becomes of the run at `at` is decided from now on. False: the owner has ended it meanwhile, or will.
   * NULL: never. */
  bool (*begin)(void *arg, size_t at);
  /* The run at `at` has ended. */
  void (*over)(void *arg, size_t at);
  void *arg;
};

/* Publishes every run. The inputs are listed again after what is published was observed, so that newer
 * results of others are never overwritten. Goes on after a run that failed, but not when a whole window has
 * for reasons that are not in its data: the others are never handed out then. Errors: what keeps runs back
 * that were not ended (such a reason; what the source calls a change when the inputs are no longer those that
 * were read), or else that of the first run that failed; KPI_INTERRUPTED. */
KPI_MUST_CHECK enum kpi_code publish_days(const struct publish_days *p, struct err *err);

#endif
