/* SPDX-License-Identifier: MIT
 * Runs in the database: one function an operation. The table is the queue. Knows no HTTP and no engine. */
#ifndef KPID_SERVER_RUN_STORE_H
#define KPID_SERVER_RUN_STORE_H

#include "server/db.h"
#include "server/service.h"

enum { QUEUE_MAX = 10000, ATTEMPTS_MAX = 3 };

/* What a new run gets beside its request. Borrows everything. */
struct run_defaults {
  const char *timezone, *engine, *source, *max_bad_rows;
};

/* Inserts a queued run, or finds the active one to attach to. Returns owned in *out. Errors: KPI_QUEUE_FULL,
 * KPI_RUN_ALREADY_ACTIVE, and those of db_call, as for all functions here. */
KPI_MUST_CHECK enum kpi_code run_store_submit(struct db *db, const struct run_request *request,
                                              const struct run_defaults *defaults, struct run *out,
                                              enum disposition *disposition, struct err *err);

/* Returns owned in *out. Errors: KPI_RUN_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code run_store_get(struct db *db, struct view id, struct run *out, struct err *err);
KPI_MUST_CHECK enum kpi_code run_store_list(struct db *db, const struct run_filter *filter,
                                            struct run_list *out, struct err *err);

/* Moves a queued run to running as a new attempt of this boot: the oldest, or the one with `id`. It then says
 * what `defaults` says of engine, zone and source, which it is computed with, whoever accepted it. *found
 * false: there is none. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code run_store_claim(struct db *db, const char *boot_id, const char *id,
                                             const struct run_defaults *defaults, struct run *out,
                                             bool *found, struct err *err);

/* Moves a queued or waiting run to cancelled, a running one to cancelling; leaves cancelling and cancelled as
 * they are. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RUN_ALREADY_FINISHED. */
KPI_MUST_CHECK enum kpi_code run_store_cancel(struct db *db, struct view id, struct run *out,
                                              struct err *err);

/* Queues a failed or cancelled run again, in its place; `from_publish` to publish the results it has kept.
 * Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RUN_ALREADY_FINISHED (it has succeeded),
 * KPI_RUN_ALREADY_ACTIVE (it has not ended, or another run of its date is active), KPI_RESULTS_NOT_READY,
 * KPI_QUEUE_FULL. */
KPI_MUST_CHECK enum kpi_code run_store_retry(struct db *db, struct view id, bool from_publish,
                                             struct run *out, struct err *err);

/* Stores phase and counters of a running run. */
KPI_MUST_CHECK enum kpi_code run_store_progress(struct db *db, const char *id, enum run_phase phase,
                                                const struct run_progress *progress, struct err *err);

/* What the source held. Borrows its text. */
struct run_input {
  char fingerprint[SHA256_HEX_SIZE];
  uint64_t objects, bytes;
  struct view listing; /* source_listing_text; empty when it was too long to keep */
};

/* Stores what the source held; a listing that is stored already is shared. */
KPI_MUST_CHECK enum kpi_code run_store_input(struct db *db, const char *id, const struct run_input *input,
                                             struct err *err);

/* How an attempt has ended. */
struct run_end {
  const char *id;
  enum run_state state;    /* succeeded, failed, cancelled; queued: handed back, not charged */
  const char *error_json;  /* NULL if none */
  const char *error_code;  /* NULL if none */
  const char *output_json; /* NULL unless published */
  struct run_progress progress;
};

/* Ends the attempt: state, event and attempt row in one transaction, also on a full disk. A run handed back
 * while it was being cancelled becomes cancelled. */
KPI_MUST_CHECK enum kpi_code run_store_finish(struct db *db, const struct run_end *end, struct err *err);

/* Counts the queue; also proves that the database answers. */
KPI_MUST_CHECK enum kpi_code run_store_count_queued(struct db *db, uint64_t *queued, struct err *err);

#endif
