/* SPDX-License-Identifier: MIT
 * What computes a job: an interface. The native engine does it in this process; others may hand it on. Knows
 * neither how results are published nor where runs are stored. */
#ifndef KPID_PIPELINE_ENGINE_H
#define KPID_PIPELINE_ENGINE_H

#include "pipeline/job.h"
#include "pipeline/kpi_table.h"
#include "pipeline/names.h"
#include "pipeline/quality.h"

/* What a job gives. Zero-initialise; owned by the caller. */
struct job_result {
  struct kpi_rows tables[KPI_TABLE_COUNT];
  struct names categories; /* every category of the products data, sold or not */
  struct quality quality;  /* may be filled although the job failed: then it explains why */
  struct quality
      empty_day; /* as quality, of a day of the job that has no row; of jobs of several days only */
};

/* Frees and empties. Accepts NULL. */
void job_result_clear(struct job_result *r);

struct engine;
struct engine_vtable {
  const char *name; /* "native" */
  enum kpi_code (*compute)(struct engine *e, const struct job *job, const struct source_listing *listing,
                           struct job_result *out, struct err *err);
  void (*free)(struct engine *e);
};

/* The first member of every implementation. */
struct engine {
  const struct engine_vtable *vtable;
};

/* Computes a job over what was listed; blocks until it is done or stopped. May run for several jobs at once.
 * Errors: the run errors of err.h; err names the place in the input. */
KPI_MUST_CHECK enum kpi_code engine_compute(struct engine *e, const struct job *job,
                                            const struct source_listing *listing, struct job_result *out,
                                            struct err *err);

/* Accepts NULL. */
void engine_free(struct engine *e);

/* The engine that computes on a worker pool of this process. Borrows the pool. Returns owned, NULL when
 * memory is exhausted. */
struct engine *engine_native_new(struct pool *pool);

#endif
