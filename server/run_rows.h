/* SPDX-License-Identifier: MIT
 * Rows of the table runs inside a transaction: what several stores do with them. */
#ifndef KPID_SERVER_RUN_ROWS_H
#define KPID_SERVER_RUN_ROWS_H

#include "server/db.h"
#include "server/run_store.h"

/* What a statement selects from runs for run_row_read. */
#define RUN_COLUMNS                                                                                          \
  "id, date, timezone, engine, engine_asked, engine_job_owner, state, phase, attempt, max_attempts, "        \
  "created_at, started_at, finished_at, "                                                                    \
  "updated_at, next_attempt_at, cancel_requested_at, published_at, expires_at, timeout_seconds, failures, "  \
  "version, publish, quality_gate, "                                                                         \
  "bad_rows, "                                                                                               \
  "max_bad_rows, force, from_publish, bytes_read, bytes_total, rows_orders, rows_order_items, "              \
  "rows_products, files_done, "                                                                              \
  "files_total, "                                                                                            \
  "items_published, items_total, input_base, input_fingerprint, input_objects, input_bytes, summary_json, "  \
  "quality_json, output_json, error_json, labels_json, reason, user_agent, request_id, service_version, "    \
  "principal, trace_id, idempotency_key, "                                                                   \
  "(SELECT json_group_array(json_object('attempt', attempt, 'started_at', "                                  \
  "strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch'), 'finished_at', "                        \
  "strftime('%Y-%m-%dT%H:%M:%fZ', finished_at / 1000.0, 'unixepoch'), 'outcome', outcome, 'error_code', "    \
  "error_code)) FROM attempts a WHERE a.run_id = runs.id), "                                                 \
  "(SELECT json_group_array(backfill_id) FROM backfill_days d WHERE d.run_id = runs.id)"

/* The states of a run that has not ended, as SQL. */
#define ACTIVE_STATES "('queued', 'running', 'retry_wait', 'cancelling')"

/* Reads the current row of a statement over RUN_COLUMNS. Returns owned in *out. */
void run_row_read(struct sqlite3_stmt *stmt, struct run *out);

/* Reads a run in the place of what *out holds. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code run_row_get(struct db_conn *c, struct view id, struct run *out, struct err *err);

/* Sets the counters that run_row_bind_progress binds from position 10 on. */
#define SET_PROGRESS                                                                                         \
  "bytes_read = ?10, bytes_total = ?11, rows_orders = ?12, rows_order_items = ?13, rows_products = ?14, "    \
  "files_done = ?15, files_total = ?16"

void run_row_bind_progress(struct sqlite3_stmt *stmt, int at, const struct run_progress *p);

/* Counts the queue. */
KPI_MUST_CHECK enum kpi_code run_rows_count_queued(struct db_conn *c, uint64_t *out, struct err *err);

/* Errors: KPI_QUEUE_FULL when the queue has no room for so many more. */
KPI_MUST_CHECK enum kpi_code run_rows_have_room(struct db_conn *c, size_t count, struct err *err);

/* A run that is to be queued. Borrows everything. */
struct new_run {
  const char *id;
  day_t date;
  enum run_priority priority;
  struct view key;                   /* idempotency key that makes it; empty: none */
  const struct run_request *request; /* its id and date are not looked at */
};

KPI_MUST_CHECK enum kpi_code run_row_insert(struct db_conn *c, const struct new_run *run,
                                            const struct run_defaults *defaults, struct err *err);

/* Finds the active run of a date that publishes. Returns owned in *out when *found. */
KPI_MUST_CHECK enum kpi_code run_row_find_active(struct db_conn *c, day_t date, struct run *out, bool *found,
                                                 struct err *err);

/* Finds the run of a date that has finished last, among those that publish or do not. Returns owned in *out
 * when *found. */
KPI_MUST_CHECK enum kpi_code run_row_find_finished(struct db_conn *c, day_t day, bool publish,
                                                   struct run *out, bool *found, struct err *err);

/* As run_store_retry. */
KPI_MUST_CHECK enum kpi_code run_row_retry(struct db_conn *c, const struct retry_order *order,
                                           struct run *out, struct err *err);

/* As run_store_cancel. */
KPI_MUST_CHECK enum kpi_code run_row_cancel(struct db_conn *c, struct view id, struct run *out,
                                            struct err *err);

#endif
