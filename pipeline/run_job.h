/* SPDX-License-Identifier: MIT
 * One run from start to end: observe, list, compute, check, keep, publish. Read this first. Used by the
 * service and by the command line alike; must not know how runs are queued or stored. */
#ifndef KPID_PIPELINE_RUN_JOB_H
#define KPID_PIPELINE_RUN_JOB_H

#include "pipeline/publish.h"

enum { RUN_RESTARTS_MAX = 3 }; /* how often a run starts again when others have overtaken it */

/* Who wants to know what a run has come to. Any function may be NULL; an error they return ends the run. */
struct run_listener {
  void *arg;
  /* A new phase has begun. */
  void (*phase)(void *arg, enum run_phase phase);
  /* The inputs are known, and what engine is going to read them. */
  enum kpi_code (*listed)(void *arg, const struct source_listing *listing, enum engine_kind engine,
                          struct err *err);
  /* The results are complete and may be published: time to keep them. Not called for results kept before. */
  enum kpi_code (*computed)(void *arg, const struct job_result *result, struct err *err);
};

struct run_plan {
  const char *run_id; /* NULL when nothing is published */
  const struct engines *engines;
  enum engine_kind engine; /* that is asked for */
  const struct job *job;
  enum quality_gate gate;
  struct publisher *publisher; /* NULL: compute only */
  bool force;                  /* publish also against the guard, and what is published already */
  const char *kept; /* fingerprint of the inputs that `result` holds the results of already: they are
                       published if the inputs are still those; NULL: none */
  struct run_listener listener;
};

/* Runs it. `result` is zero-initialised by the caller, who clears it also after an error: its quality report
 * may tell more. Nothing is published unless KPI_OK is returned. Errors: the run errors of err.h. */
KPI_MUST_CHECK enum kpi_code run_job(const struct run_plan *plan, struct job_result *result,
                                     struct publish_counts published[KPI_TABLE_COUNT], struct err *err);

/* Computes the days of the plan's job together, in one pass over the inputs; what the plan says of publishing
 * is idle. `out` is zero-initialised by the caller, who clears it also after an error. Errors: the run errors
 * of err.h that no day escapes. */
KPI_MUST_CHECK enum kpi_code run_job_days(const struct run_plan *plan, struct day_results *out,
                                          struct err *err);

/* Refuses results with a failed error-level check if the gate says so. Errors: KPI_QUALITY_BLOCKED. */
KPI_MUST_CHECK enum kpi_code run_job_gate(enum quality_gate gate, const struct quality *quality,
                                          struct err *err);

/* Refuses results without any row, and those that lose half or more of the orders that are published for the
 * day, unless `force`: more likely a missing file than the truth. Errors: KPI_QUALITY_BLOCKED. */
KPI_MUST_CHECK enum kpi_code run_job_guard(const struct publication *p, const struct job_result *result,
                                           bool force, struct err *err);

#endif
