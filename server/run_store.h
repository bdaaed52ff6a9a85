/* SPDX-License-Identifier: MIT
 * Runs in the database, read and kept while they work: one function an operation. The table is the queue.
 * run_submit_store puts runs into it, run_move_store moves them on. Knows no HTTP and no engine. */
#ifndef KPID_SERVER_RUN_STORE_H
#define KPID_SERVER_RUN_STORE_H

#include "server/db.h"
#include "server/service.h"

enum { QUEUE_MAX = 10000 };

/* What a new run gets beside its request. Borrows everything. */
struct run_defaults {
  const char *timezone, *source, *max_bad_rows;
};

/* Returns owned in *out. Errors: KPI_RUN_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code run_store_get(struct db *db, struct view id, struct run *out, struct err *err);
KPI_MUST_CHECK enum kpi_code run_store_list(struct db *db, const struct run_filter *filter,
                                            struct run_list *out, struct err *err);

/* Stores phase and counters of running runs. */
KPI_MUST_CHECK enum kpi_code run_store_progress(struct db *db, const char *const *ids, size_t count,
                                                enum run_phase phase, const struct run_progress *progress,
                                                struct err *err);

/* What the source held. Borrows its text. */
struct run_input {
  char fingerprint[SHA256_HEX_SIZE];
  uint64_t objects, bytes;
  enum engine_kind engine; /* that reads it */
  struct view listing;     /* source_listing_text; empty when it was too long to keep */
};

/* Stores what the source held for runs; a listing that is stored already is shared. */
KPI_MUST_CHECK enum kpi_code run_store_input(struct db *db, const char *const *ids, size_t count,
                                             const struct run_input *input, struct err *err);

#endif
