/* SPDX-License-Identifier: MIT
 * Rows of the table backfills inside a transaction. */
#ifndef KPID_SERVER_BACKFILL_ROWS_H
#define KPID_SERVER_BACKFILL_ROWS_H

#include "server/backfill.h"
#include "server/db.h"

/* Reads a backfill in the place of what *out holds. Returns owned in *out. Errors: KPI_BACKFILL_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code backfill_row_get(struct db_conn *c, struct view id, struct backfill *out,
                                              struct err *err);

/* Refuses a backfill with a day whose run, another's, is being cancelled: it would end without being computed.
 * Errors: KPI_RUN_ALREADY_ACTIVE, which names the run. */
KPI_MUST_CHECK enum kpi_code backfill_row_may_attach(struct db_conn *c, const char *id, struct err *err);

#endif
