/* SPDX-License-Identifier: MIT
 * The log lines of a run at work: what it found, how long its phases took, what it published, how it ended
 * and why. They are kept with the run, and must explain it when the container is gone. Knows no database. */
#ifndef KPID_SERVER_RUN_TRACE_H
#define KPID_SERVER_RUN_TRACE_H

#include "server/run_metrics.h"

/* Of one attempt; one thread. Borrows the run. */
struct run_trace {
  const struct run *run;
  char date[DAY_TEXT_SIZE];
  struct phase_clock clock;
  bool is_judged; /* the quality was logged */
};

/* Starts the trace of an attempt; nothing is logged. */
void run_trace_init(struct run_trace *t, const struct run *run);

/* A phase begins: the one before is logged with its time. PHASE_NONE: none follows. */
void run_trace_phase(struct run_trace *t, enum run_phase phase);

/* What the source holds. */
void run_trace_listed(const struct run_trace *t, const struct source_listing *listing);

/* What was computed, and what its quality is; the first time only. */
void run_trace_computed(struct run_trace *t, const struct job_result *result);

/* What was written to a table, which is called `name` here, and how long ago the day began in the zone: one
 * who watches the log sees by that whether it was yesterday. */
void run_trace_published(const struct run_trace *t, const struct tz *zone, enum kpi_table table,
                         const char *name, const struct publish_counts *counts);

/* How the attempt has ended: `state` as it is stored; err tells a failure whole. */
void run_trace_finished(struct run_trace *t, enum run_state state, const struct err *err,
                        const struct run_progress *progress, uint64_t memory_peak_bytes);

/* The same of a run, as it is stored now, that has ended with nobody at work on it: services died under it,
 * or it was not started in time. */
void run_trace_ended(const struct run *run);

/* The attempt has failed, but another one follows. */
void run_trace_waits(const struct run_trace *t);

#endif
