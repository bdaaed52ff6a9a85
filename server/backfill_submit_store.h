/* SPDX-License-Identifier: MIT
 * How backfills come into the database: what becomes of each day is decided, and its runs are queued, in one
 * transaction with the backfill; or, where only the data knows the days, when these were found. Knows no HTTP
 * and no engine. */
#ifndef KPID_SERVER_BACKFILL_SUBMIT_STORE_H
#define KPID_SERVER_BACKFILL_SUBMIT_STORE_H

#include "server/backfill.h"
#include "server/run_store.h"

/* Inserts a backfill and queues the runs of its days; one whose key was sent before is replayed.
 * DISPOSITION_ATTACHED: nothing was queued, all days are others' or done. `listed` of the policy is the
 * fingerprint of the inputs, needed for REPROCESS_CHANGED. Returns owned in *out. Errors:
 * KPI_IDEMPOTENCY_KEY_REUSED, KPI_QUEUE_FULL, KPI_RUN_ALREADY_ACTIVE (that of a day is being cancelled), and those of db_call, as for all functions here. */
KPI_MUST_CHECK enum kpi_code backfill_store_submit(struct db *db, const struct backfill_request *request,
                                                   const struct submit_policy *policy,
                                                   const struct run_defaults *defaults, struct backfill *out,
                                                   enum disposition *disposition, struct err *err);

/* Tells what backfill_store_submit would do with the days now, into days[request->count]. */
KPI_MUST_CHECK enum kpi_code backfill_store_plan(struct db *db, const struct backfill_request *request,
                                                 const struct submit_policy *policy,
                                                 struct backfill_day *days, struct err *err);

/* ---- every day of the data ---- */

/* Takes the first backfill whose days are to be found. *found false: there is none. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code backfill_store_claim(struct db *db, const char *boot_id, struct backfill *out,
                                                  bool *found, struct err *err);

/* Decides what becomes of the days that were found, ascending, and queues their runs. Errors: KPI_QUEUE_FULL;
 * KPI_CANCELLED when that was asked for meanwhile. */
KPI_MUST_CHECK enum kpi_code backfill_store_found(struct db *db, const char *id,
                                                  const struct backfill_request *request,
                                                  const struct submit_policy *policy,
                                                  const struct run_defaults *defaults, struct err *err);

/* Ends looking for days without any: DISCOVERY_FAILED with an error object, DISCOVERY_CANCELLED, or
 * DISCOVERY_QUEUED, to be done again. */
KPI_MUST_CHECK enum kpi_code backfill_store_not_found(struct db *db, const char *id, enum discovery how,
                                                      const char *error_json, struct err *err);

#endif
