/* SPDX-License-Identifier: MIT
 * Jobs that were handed to a cluster, in the database: one function an operation. Knows no cluster. */
#ifndef KPID_SERVER_ENGINE_JOB_STORE_H
#define KPID_SERVER_ENGINE_JOB_STORE_H

#include "pipeline/hand_off.h"
#include "server/db.h"

/* Finds the job that an owner is to go on with; as hand_off. *out is empty when there is none. */
KPI_MUST_CHECK enum kpi_code engine_job_store_find(struct db *db, const char *owner, struct handed_job *out,
                                                   bool *found, struct err *err);

/* Stores a new job, and which runs wait for it. Its number is one above all that the owner has or had. */
KPI_MUST_CHECK enum kpi_code engine_job_store_begin(struct db *db, const char *owner,
                                                    const char *const *run_ids, size_t count,
                                                    uint32_t *number, struct err *err);

/* Inside a transaction: a run has come from a disk that is gone, maybe with the job that it waits for (NULL:
 * none). Jobs that begin from now on get none of the numbers that were given there. */
KPI_MUST_CHECK enum kpi_code engine_job_rows_inherit(struct db_conn *c, const char *run_id,
                                                     const struct owned_job *job, struct err *err);

/* A job has come from a disk that is gone, and no run that waits for it: it is to be ended, if it is not
 * known here. *over: it is known to be over. */
KPI_MUST_CHECK enum kpi_code engine_job_store_inherit(struct db *db, const struct owned_job *job, bool *over,
                                                      struct err *err);

/* Stores what is known of a job. One whose id comes when it is over is to be ended. */
KPI_MUST_CHECK enum kpi_code engine_job_store_keep(struct db *db, const char *owner,
                                                   const struct handed_job *job, struct err *err);

/* Runs wait for a job no more, nor does the search of a backfill: it is to be ended unless others wait for
 * it. */
KPI_MUST_CHECK enum kpi_code engine_job_store_give_up(struct db *db, const char *owner,
                                                      const struct handed_job *job,
                                                      const char *const *run_ids, size_t count,
                                                      struct err *err);

/* A job that is to be ended. */
struct engine_job {
  char owner[UUID_TEXT_SIZE];
  struct handed_job job;
  int64_t age_ms;        /* since it was given up */
  uint32_t failed_tries; /* to end it, one after the other */
};

enum { ENGINE_JOBS_AT_ONCE = 32, ENGINE_JOB_WAIT_MS_MAX = 30 * 60 * 1000 };
#define ENGINE_JOBS_NEVER INT64_MAX

struct engine_jobs {
  struct engine_job at[ENGINE_JOBS_AT_ONCE]; /* that are to be ended now */
  size_t count;
  int64_t next_ms; /* until the first of the others is; ENGINE_JOBS_NEVER: there are none */
  uint64_t handed; /* how many are not to be ended, as somebody waits for them */
};

/* Gives up the jobs that nobody waits for, and lists those that are to be ended. */
KPI_MUST_CHECK enum kpi_code engine_job_store_to_end(struct db *db, struct engine_jobs *out, struct err *err);

/* A job is not over: to be tried again after at most ENGINE_JOB_WAIT_MS_MAX. Stores its failed_tries. */
KPI_MUST_CHECK enum kpi_code engine_job_store_defer(struct db *db, const struct engine_job *job,
                                                    int64_t wait_ms, struct err *err);

/* A job has ended, and its files are gone, or nothing more can be done about it. Its number stays. */
KPI_MUST_CHECK enum kpi_code engine_job_store_over(struct db *db, const char *owner, uint32_t number,
                                                   struct err *err);

#endif
