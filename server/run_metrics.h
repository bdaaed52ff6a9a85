/* SPDX-License-Identifier: MIT
 * What is counted of runs for GET /metrics: their moves, phases, inputs and publications. Whoever drives,
 * stores or watches runs tells it here. Knows neither queue, database nor HTTP. All functions may be called
 * from any thread. */
#ifndef KPID_SERVER_RUN_METRICS_H
#define KPID_SERVER_RUN_METRICS_H

#include "base/metrics.h"
#include "pipeline/engine.h"
#include "pipeline/publish.h"
#include "server/run.h"

/* Returns what runs of a priority are called in the label `trigger`; static. */
const char *run_metrics_trigger(enum run_priority priority);

/* A run has come to a state. */
void run_metrics_moved(const struct run_move *move);

/* Which phase is at work, and since when. Zero-initialise. */
struct phase_clock {
  enum run_phase phase;
  int64_t since; /* monotonic ms */
};

/* Another phase begins; PHASE_NONE: none follows. Returns how long the one before took, in ms; 0 without one.
 */
int64_t run_metrics_phase(struct phase_clock *clock, enum run_phase next);

/* A pass over the inputs has ended, well or not. */
void run_metrics_scanned(const struct run_progress *progress);

/* What was computed for a day. */
void run_metrics_judged(const struct quality *quality);

/* What was written to a table. */
void run_metrics_published(enum kpi_table table, const struct publish_counts *counts);

/* An attempt has ended: `state` as it is stored. */
void run_metrics_attempt(enum run_state state, enum kpi_code code);

/* Log lines were not kept with their runs. */
void run_metrics_lines_dropped(uint64_t lines);

/* Makes the series appear that alerts ask for, so that a first increase is seen as one. */
void run_metrics_init(void);

/* Writes all. */
void run_metrics_write(const struct metrics_out *o);

#endif
