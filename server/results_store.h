/* SPDX-License-Identifier: MIT
 * What runs have computed, and what is published, in the database. Rows come back exactly as they went in; a
 * digest proves it before they are published. Knows no engine and no HTTP. */
#ifndef KPID_SERVER_RESULTS_STORE_H
#define KPID_SERVER_RESULTS_STORE_H

#include "pipeline/publish.h"
#include "server/db.h"
#include "server/service.h"

/* Stores rows, summary and quality report of a run in one transaction, in the place of those of an earlier
 * attempt. */
KPI_MUST_CHECK enum kpi_code results_store_keep(struct db *db, const char *run_id, day_t date,
                                                const struct job_result *result, struct err *err);

/* Stores the report of a run that failed before it had results. */
KPI_MUST_CHECK enum kpi_code results_store_keep_quality(struct db *db, const char *run_id,
                                                        const struct quality *quality, struct err *err);

/* Reads all rows of a table of a run, and those they are to be compared with, after comparing both with their
 * digests. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RESULTS_NOT_READY, KPI_INTERNAL when stored
 * rows are not what was computed. */
KPI_MUST_CHECK enum kpi_code results_store_rows(struct db *db, struct view run_id,
                                                const struct results_ask *ask, struct results *out,
                                                struct err *err);

/* Appends the quality report. Errors: KPI_RUN_NOT_FOUND, KPI_RESULTS_NOT_READY. */
KPI_MUST_CHECK enum kpi_code results_store_quality(struct db *db, struct view run_id, struct buf *out,
                                                   struct err *err);

/* What a run has kept: enough to publish it again. */
struct kept_results {
  struct job_result result; /* rows and categories; no quality report */
  char fingerprint[SHA256_HEX_SIZE];
};

/* Reads the kept results of a run after comparing them with their digest. Returns owned in *out;
 * job_result_clear frees it. Errors: KPI_RESULTS_NOT_READY, KPI_INTERNAL when the stored rows are not what
 * was computed. */
KPI_MUST_CHECK enum kpi_code results_store_read(struct db *db, const char *run_id, struct kept_results *out,
                                                struct err *err);

/* Adds a row from the columns order_date, revenue, orders, items, returned_items, returned_orders, and
 * customers or category, of a statement that stands on one. The averages follow from the totals by the same
 * formulas that made them. False when they cannot be read. For stores. */
bool results_row_read(struct sqlite3_stmt *s, enum kpi_table table, struct kpi_rows *rows);

/* Sets *orders to total_orders of what is published for a date, 0 when nothing is. */
KPI_MUST_CHECK enum kpi_code results_store_published_orders(struct db *db, day_t date, uint64_t *orders,
                                                            struct err *err);

/* Makes the stored results of a run those of a date, after comparing them with their digest. Safe to repeat.
 * Errors: KPI_INTERNAL when the stored rows are not what was computed. */
KPI_MUST_CHECK enum kpi_code results_store_publish(struct db *db, const char *run_id, day_t date,
                                                   struct publish_counts out[KPI_TABLE_COUNT],
                                                   struct err *err);

#endif
