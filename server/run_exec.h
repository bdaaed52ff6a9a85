/* SPDX-License-Identifier: MIT
 * Executes a run that was claimed: builds the job, drives run_job, stores each step and the end. Used by the
 * supervisors of the service and by the command line. Knows neither queue nor HTTP. */
#ifndef KPID_SERVER_RUN_EXEC_H
#define KPID_SERVER_RUN_EXEC_H

#include "pipeline/run_job.h"
#include "server/config.h"
#include "server/db.h"
#include "server/run.h"
#include "server/run_store.h"

/* What runs are executed with; borrowed. */
struct run_exec {
  const struct config *config;
  struct db *db;
  struct engines engines;
  struct engine_reaper *reaper; /* NULL: none */
  struct intents *intents;      /* NULL: none are kept */
  struct source *source;
  struct object_cache *cache; /* NULL: none */
  struct publisher *publisher;
  void (*changed)(void *arg, const char *run_id); /* the stored run has changed; may be NULL */
  void *changed_arg;
};

/* The live side of a run: others may raise the stop flag and look at the counters. Zero-initialise. */
struct run_live {
  struct stop_flag stop;
  struct stop_flag abandon; /* of publishing; raised after stop, when the process cannot wait any longer */
  struct job_progress progress;
  int64_t timeout_ms;          /* of the attempt; 0: none */
  int64_t overdue_ms;          /* monotonic: when it has taken too long; 0: never */
  bool is_scan;                /* of no run, but of a scan for several */
  char run_id[UUID_TEXT_SIZE]; /* as date, attempt and start: for those who look on; of a scan: the backfill
                                  that it is made for, or empty */
  day_t date;
  uint32_t attempt;
  int64_t started_at; /* Unix ms */
  /* live_runs' own, guarded by its lock. */
  struct run_live *scan, *next, **link;
  uint64_t progress_sum; /* what was counted when progress was last seen */
  int64_t progress_at;   /* monotonic ms */
};

/* The live side of an attempt that begins now. */
struct run_live run_live_of(const struct run *run);

/* Which days a job computes, by what, and by which rules for bad rows. Borrows everything. */
struct job_ask {
  struct day_set days;
  enum bad_rows bad_rows;
  const char *max_bad_rows; /* as written */
  enum engine_kind engine;
};

/* Fills a job from settings and what is asked for, whose days it borrows as `budget`, `live` and the source.
 * Errors: KPI_INTERNAL when max_bad_rows is unreadable; the budget is initialised also then. */
KPI_MUST_CHECK enum kpi_code run_exec_job(const struct run_exec *x, const struct job_ask *ask,
                                          struct budget *budget, struct run_live *live, struct job *out,
                                          struct err *err);

/* Reads what is published for the weeks before the days of a job, and among them. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code run_exec_history(const struct run_exec *x, const struct day_set *days,
                                              struct kpi_rows *out, struct err *err);

/* Executes a claimed run to its end and stores that end; tries until the database takes it or `live` is
 * stopped for a drain. Returns the code the run ended with; err says why. `result` is zero-initialised by the
 * caller and cleared by him. */
KPI_MUST_CHECK enum kpi_code run_exec(const struct run_exec *x, const struct run *run, struct run_live *live,
                                      struct job_result *result, struct err *err);

/* What was computed for a run elsewhere; borrowed. */
struct run_computed {
  const struct run_input *input;
  const struct job_result *result;
};

/* Ends a claimed run with results that were computed elsewhere, from inputs that are still those when they
 * are listed after `publication`, which is taken, was begun (NULL for a run that does not publish): judges,
 * keeps, publishes and stores the end. `live` says what was read. Errors: as run_exec. */
KPI_MUST_CHECK enum kpi_code run_exec_computed(const struct run_exec *x, const struct run *run,
                                               struct run_live *live, const struct run_computed *computed,
                                               struct publication *publication, struct err *err);

/* Lists the inputs and compares them with those that were read. Errors: what the source calls a change, and
 * those of source_list. */
KPI_MUST_CHECK enum kpi_code run_exec_check_inputs(const struct run_exec *x, const struct run_input *input,
                                                   const struct stop_flag *stop, struct err *err);

/* Ends a claimed run that has failed in the phase of `live`; err says why. `result` may hold a quality report
 * that tells more; NULL: there is none. Returns the code of the run. */
enum kpi_code run_exec_failed(const struct run_exec *x, const struct run *run, struct run_live *live,
                              const struct job_result *result, struct err *err);

enum { LISTING_BYTES_MAX = 4 * 1024 * 1024 };

/* Describes a listing; its text, which is left empty beyond LISTING_BYTES_MAX, goes into *text. */
void run_input_of(const struct source_listing *l, enum engine_kind engine, struct buf *text,
                  struct run_input *out);

/* Codes of the storage are no run errors: gives the error the word that the closed list has for them. */
void run_error_close(struct err *err);

/* Appends the run error object of the API. `phase` is where it happened. */
void run_error_json(const struct err *err, enum run_phase phase, uint32_t attempt, struct buf *out);

#endif
