/* SPDX-License-Identifier: MIT
 * A backfill of every day in the data: one scan finds the days and computes them, then their runs are made
 * and published from it. Knows no HTTP. */
#ifndef KPID_SERVER_DISCOVERY_H
#define KPID_SERVER_DISCOVERY_H

#include "server/backfill.h"
#include "server/run_group.h"

/* All borrowed. */
struct discovery_plan {
  const struct run_exec *x;
  struct live_runs *live; /* the scan enters it under the id of the backfill */
  const char *boot_id;
  const struct run_defaults *defaults;
  /* Something was entered in `live`: who was asked to stop it before has found nothing. */
  void (*entered)(void *arg);
  run_group_over_fn over;
  void *arg;
};

/* Executes a backfill that was claimed by backfill_store_claim, with the runs that it makes, to their ends.
 * Returns what came of the scan; *err says why. */
KPI_MUST_CHECK enum kpi_code discovery_exec(const struct discovery_plan *p, const struct backfill *b,
                                            struct err *err);

#endif
