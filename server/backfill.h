/* SPDX-License-Identifier: MIT
 * Publishing many days that were computed together, several at a time. Each day has its own run, results and
 * publication; a day that fails does not keep the others back. */
#ifndef KPID_SERVER_BACKFILL_H
#define KPID_SERVER_BACKFILL_H

#include "server/run_exec.h"

/* All borrowed. */
struct backfill {
  const struct run_exec *x;
  day_t from, to;         /* inclusive */
  bool only_days_of_data; /* days without any row are left out */
  const struct run_input *input;
  const struct job_result *result; /* of all days */
  struct run_progress scanned;     /* what was read for all of them */
  const struct stop_flag *stop;    /* looked at between windows of days */
  /* Queues and claims the run of a day. Returns owned in *out. Several threads at a time. */
  enum kpi_code (*claim)(void *arg, day_t day, struct run *out, struct err *err);
  void *claim_arg;
};

/* Publishes every day. The inputs are listed again after what is published was observed, so that newer
 * results of others are never overwritten. Goes on after a day that failed, but not when a whole window has
 * for reasons that are not in its data. Errors: that of the first day that failed (what the source calls a
 * change when the inputs are no longer those that were read), KPI_INTERRUPTED. */
KPI_MUST_CHECK enum kpi_code backfill_publish(const struct backfill *b, struct err *err);

#endif
