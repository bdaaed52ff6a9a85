/* SPDX-License-Identifier: MIT
 * Backfills in the database, read, cancelled and tried again: one function an operation.
 * backfill_submit_store puts them there. Knows no HTTP and no engine. */
#ifndef KPID_SERVER_BACKFILL_STORE_H
#define KPID_SERVER_BACKFILL_STORE_H

#include "server/db.h"
#include "server/service.h"

/* Returns owned in *out. Errors: KPI_BACKFILL_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code backfill_store_get(struct db *db, struct view id, struct backfill *out,
                                                struct err *err);

/* Tells whether it has not ended; much cheaper than all that backfill_store_get counts. *active is false for
 * one that is not there. */
KPI_MUST_CHECK enum kpi_code backfill_store_is_active(struct db *db, struct view id, bool *active,
                                                      struct err *err);

/* Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code backfill_store_list(struct db *db, const struct backfill_filter *filter,
                                                 struct backfill_list *out, struct err *err);

/* Reads the days from `from` on, at most `limit`. */
KPI_MUST_CHECK enum kpi_code backfill_store_days(struct db *db, struct view id, day_t from, size_t limit,
                                                 struct backfill_days *out, struct err *err);

/* Cancels what is left of the runs that it has made; those it was attached to are others'. Returns owned in
 * *out. Errors: KPI_BACKFILL_NOT_FOUND, KPI_RUN_ALREADY_FINISHED. */
KPI_MUST_CHECK enum kpi_code backfill_store_cancel(struct db *db, struct view id, struct backfill *out,
                                                   struct err *err);

/* Queues its days again that have failed or were cancelled. Returns owned in *out. Errors:
 * KPI_BACKFILL_NOT_FOUND, KPI_RUN_ALREADY_FINISHED (there are none), KPI_RUN_ALREADY_ACTIVE (none yet;
 * or another's run of a day is being cancelled), KPI_QUEUE_FULL. */
KPI_MUST_CHECK enum kpi_code backfill_store_retry(struct db *db, struct view id, struct backfill *out,
                                                  struct err *err);

#endif
