/* SPDX-License-Identifier: MIT
 * Jobs that were handed to a cluster, in the database: one function an operation. Knows no cluster. */
#ifndef KPID_SERVER_ENGINE_JOB_STORE_H
#define KPID_SERVER_ENGINE_JOB_STORE_H

#include "pipeline/hand_off.h"
#include "server/db.h"

/* Finds the job that an owner is to go on with; as hand_off. */
KPI_MUST_CHECK enum kpi_code engine_job_store_find(struct db *db, const char *owner, struct handed_job *out,
                                                   bool *found, struct err *err);

/* Stores a job, and which runs wait for it. */
KPI_MUST_CHECK enum kpi_code engine_job_store_keep(struct db *db, const char *owner,
                                                   const struct handed_job *job, const char *const *run_ids,
                                                   size_t count, struct err *err);

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
};

enum { ENGINE_JOBS_AT_ONCE = 32 };

/* Gives up the jobs that nobody waits for, and lists those that are to be ended, *count. *handed: how many
 * are not. */
KPI_MUST_CHECK enum kpi_code engine_job_store_to_end(struct db *db,
                                                     struct engine_job jobs[ENGINE_JOBS_AT_ONCE],
                                                     size_t *count, uint64_t *handed, struct err *err);

/* A job has ended, and its files are gone. Its number stays. */
KPI_MUST_CHECK enum kpi_code engine_job_store_over(struct db *db, const char *owner, uint32_t number,
                                                   struct err *err);

#endif
