/* SPDX-License-Identifier: MIT
 * How runs come into the queue: by a new request, which may meet runs that are there, or once more by hand.
 * Knows no HTTP and no engine. */
#ifndef KPID_SERVER_RUN_SUBMIT_STORE_H
#define KPID_SERVER_RUN_SUBMIT_STORE_H

#include "pipeline/hand_off.h"
#include "server/run_store.h"
#include "server/upkeep_store.h"

/* Inserts a queued run, or finds the one that answers by the policy: key and run in one transaction. Returns
 * owned in *out. Errors: KPI_IDEMPOTENCY_KEY_REUSED, KPI_QUEUE_FULL, KPI_RUN_ALREADY_ACTIVE,
 * KPI_RUN_ALREADY_FINISHED, and those of db_call, as for all functions here. */
KPI_MUST_CHECK enum kpi_code run_store_submit(struct db *db, const struct run_request *request,
                                              const struct submit_policy *policy,
                                              const struct run_defaults *defaults, struct submitted *out,
                                              struct err *err);

/* What is known of a run that was accepted on a disk that is gone. */
struct past {
  const char *boot_id;         /* of the service that takes the run over */
  uint32_t deaths;             /* of services that were at work on it */
  const struct owned_job *job; /* of a cluster, that it waits for; NULL: none */
};

/* As run_store_submit, of a run that was accepted on another disk, charged with the deaths as upkeep_recover
 * does it, and waiting for its job. One that is known here stays as it is. Returns owned in *out, and in
 * *recovery. */
KPI_MUST_CHECK enum kpi_code run_store_take_over(struct db *db, const struct run_request *request,
                                                 const struct submit_policy *policy,
                                                 const struct run_defaults *defaults, const struct past *past,
                                                 struct submitted *out, struct recovery *recovery,
                                                 struct err *err);

/* Finds the run that this submission would queue again, so that its intent can be stored under its id; `id`
 * is empty when there is none. Errors: KPI_IDEMPOTENCY_KEY_REUSED. */
KPI_MUST_CHECK enum kpi_code run_store_find_retryable(struct db *db, const struct run_request *request,
                                                      const struct submit_policy *policy,
                                                      char id[UUID_TEXT_SIZE], struct err *err);

/* Finds the fingerprint that a key is bound to; empty when it is bound to none. */
KPI_MUST_CHECK enum kpi_code run_store_find_fingerprint(struct db *db, struct view key,
                                                        char fingerprint[SHA256_HEX_SIZE], struct err *err);

/* Queues a failed or cancelled run again, in its place. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND,
 * KPI_PRECONDITION_FAILED, KPI_RUN_ALREADY_FINISHED (it has succeeded), KPI_RUN_ALREADY_ACTIVE (it has not
 * ended, or another run of its date is active), KPI_RESULTS_NOT_READY, KPI_QUEUE_FULL. */
KPI_MUST_CHECK enum kpi_code run_store_retry(struct db *db, const struct retry_order *order, struct run *out,
                                             struct err *err);

#endif
