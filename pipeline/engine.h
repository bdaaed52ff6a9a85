/* SPDX-License-Identifier: MIT
 * What computes a job: an interface. The native engine does it in this process; others may hand it on. Knows
 * neither how results are published nor where runs are stored. */
#ifndef KPID_PIPELINE_ENGINE_H
#define KPID_PIPELINE_ENGINE_H

#include "pipeline/hand_off.h"
#include "pipeline/job.h"
#include "pipeline/kpi_table.h"
#include "pipeline/names.h"
#include "pipeline/quality.h"

/* What a day comes to. Zero-initialise; owned by the caller. */
struct job_result {
  struct kpi_rows tables[KPI_TABLE_COUNT];
  struct names categories; /* every category of the products data, sold or not */
  struct quality quality;  /* may be filled although the day failed: then it explains why */
};

/* Frees and empties. Accepts NULL. */
void job_result_clear(struct job_result *r);

/* One day of a job. */
struct day_result {
  day_t day;
  struct job_result result; /* categories are borrowed from those of all days */
  struct err *err; /* owned: why this day has failed, though the others may not have; NULL: it has not */
};

/* What a job gives: each day as if it had been computed alone. Zero-initialise; owned by the caller. */
struct day_results {
  struct day_result
      *at; /* by day: those of the job, without rows too; of a job of all days, those with rows */
  size_t count;
  struct names categories;
};

/* Returns the result of a day, NULL when there is none. */
struct day_result *day_results_find(const struct day_results *r, day_t day);

/* Takes what there is of a job of one day; `r` is empty afterwards. Errors: that of the day. */
KPI_MUST_CHECK enum kpi_code day_results_take(struct day_results *r, struct job_result *out, struct err *err);

/* Removes the days that are not in a set. */
void day_results_keep(struct day_results *r, const struct day_set *days);

/* Frees and empties. Accepts NULL. */
void day_results_clear(struct day_results *r);

/* A job that nobody waits for any more. Borrows all. */
struct unwanted_job {
  const char *owner;
  const struct handed_job *job;
  int64_t age_ms; /* since nobody has */
};

struct engine;
struct engine_vtable {
  enum kpi_code (*compute)(struct engine *e, const struct job *job, const struct source_listing *listing,
                           struct day_results *out, struct err *err);
  /* Of engines that hand jobs to a cluster; NULL: it does not. */
  enum kpi_code (*discard)(struct engine *e, const struct unwanted_job *job, const struct stop_flag *stop,
                           bool *over, struct err *err);
  void (*free)(struct engine *e);
};

/* The first member of every implementation. */
struct engine {
  const struct engine_vtable *vtable;
};

/* Computes a job over what was listed; blocks until it is done or stopped. May run for several jobs at once.
 * Errors: the run errors of err.h that no day of the job escapes; err names the place in the input. */
KPI_MUST_CHECK enum kpi_code engine_compute(struct engine *e, const struct job *job,
                                            const struct source_listing *listing, struct day_results *out,
                                            struct err *err);

/* Ends a job, and removes its files; one that has left its results may close by itself for a while. *over
 * false: to be called again after a while. */
KPI_MUST_CHECK enum kpi_code engine_discard(struct engine *e, const struct unwanted_job *job,
                                            const struct stop_flag *stop, bool *over, struct err *err);

/* Accepts NULL. */
void engine_free(struct engine *e);

/* The engine that computes on a worker pool of this process. Borrows the pool. Returns owned, NULL when
 * memory is exhausted. */
struct engine *engine_native_new(struct pool *pool);

/* The engines there are; borrowed. */
struct engines {
  struct engine *native;
  struct engine *spark;      /* NULL: no cluster is known */
  uint64_t native_max_bytes; /* auto: more is for Spark */
};

/* Says which engine computes so many bytes of input: native or Spark. */
enum engine_kind engines_choose(const struct engines *e, enum engine_kind asked, uint64_t bytes);

/* Writes why it is that one. */
void engines_explain(const struct engines *e, enum engine_kind asked, uint64_t bytes,
                     char out[ENGINE_REASON_SIZE]);

/* Returns the engine of a kind that was chosen. Errors: KPI_ENGINE_UNAVAILABLE when there is none. */
KPI_MUST_CHECK enum kpi_code engines_get(const struct engines *e, enum engine_kind chosen,
                                         struct engine **out, struct err *err);

#endif
