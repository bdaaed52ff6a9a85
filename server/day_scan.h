/* SPDX-License-Identifier: MIT
 * One pass over the inputs for several days, without what follows from it: used by the command line, by
 * groups of runs, and to find the days that the data has. Knows neither queue nor HTTP. */
#ifndef KPID_SERVER_DAY_SCAN_H
#define KPID_SERVER_DAY_SCAN_H

#include "server/run_exec.h"

/* What a pass has come to. Zero-initialise; day_scan_clear. */
struct day_scan {
  struct run_input input; /* what was read */
  struct buf listing;     /* text of input */
  struct day_results results;
  uint64_t memory_peak_bytes;
};

/* Frees and empties. */
void day_scan_clear(struct day_scan *s);

/* What to compute, and who wants to know how far it is. Borrows everything. */
struct day_scan_plan {
  const struct run_exec *x; /* without a database no history is judged by */
  struct job_ask ask;
  struct run_live *live;
  const struct hand_off *hand_off; /* NULL: what is handed to a cluster is not kept */
  bool without_reports;            /* as of the job */
  /* Any may be NULL. */
  void (*phase)(void *arg, enum run_phase phase);
  void (*listed)(void *arg, const struct run_input *input);
  void *arg;
};

/* Computes the days together. `out` is cleared first, and by the caller also after an error. Errors: the run
 * errors of err.h that no day escapes. */
KPI_MUST_CHECK enum kpi_code day_scan_compute(const struct day_scan_plan *plan, struct day_scan *out,
                                              struct err *err);

#endif
