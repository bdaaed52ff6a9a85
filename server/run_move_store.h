/* SPDX-License-Identifier: MIT
 * The moves of runs through their states once they are queued: claimed, cancelled, ended, due again. One
 * function an operation, each state change and its event in one transaction. Knows no HTTP and no engine. */
#ifndef KPID_SERVER_RUN_MOVE_STORE_H
#define KPID_SERVER_RUN_MOVE_STORE_H

#include "server/run_store.h"

/* Moves a queued run to running as a new attempt of this boot. It then says what `defaults` says of zone
 * and source, which it is computed with, whoever accepted it. *found false: it is not queued. Returns
 * owned in *out. */
KPI_MUST_CHECK enum kpi_code run_store_claim(struct db *db, const char *boot_id, const char *id,
                                             const struct run_defaults *defaults, struct run *out,
                                             bool *found, struct err *err);

/* Which queued runs to claim. */
struct claim_filter {
  enum run_priority priority;
  struct view backfill_id; /* that has made them; empty: any */
};

/* Moves queued runs to running that can be computed together: the first, and those with its rules for bad
 * rows, its engine and, if a cluster has a job for it already, that job; one that only publishes what it has
 * kept is alone. As run_store_claim. Returns owned in *out, in the
 * order of their ids; none when nothing is queued. */
KPI_MUST_CHECK enum kpi_code run_store_claim_together(struct db *db, const char *boot_id,
                                                      const struct claim_filter *filter,
                                                      const struct run_defaults *defaults,
                                                      struct run_list *out, struct err *err);

/* Calls fn, inside its db_fn, for each run that is being cancelled. */
KPI_MUST_CHECK enum kpi_code run_store_each_cancelling(struct db *db, void (*fn)(void *arg, const char *id),
                                                       void *arg, struct err *err);

/* Moves a queued or waiting run to cancelled, a running one to cancelling; leaves cancelling and cancelled as
 * they are. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RUN_ALREADY_FINISHED. */
KPI_MUST_CHECK enum kpi_code run_store_cancel(struct db *db, struct view id, struct run *out,
                                              struct err *err);

/* How an attempt has ended. */
struct run_end {
  const char *id;
  enum run_state state;    /* succeeded, failed, cancelled; queued: handed back, not charged */
  bool is_retryable;       /* failed, but another attempt may do better: waits for it while any is left */
  const char *error_json;  /* NULL if none */
  const char *error_code;  /* NULL if none */
  const char *output_json; /* NULL unless published */
  struct run_progress progress;
};

/* Ends the attempt: state, event and attempt row in one transaction, also on a full disk. A run handed back
 * while it was being cancelled becomes cancelled. *ended: the state that it has come to. */
KPI_MUST_CHECK enum kpi_code run_store_finish(struct db *db, const struct run_end *end, enum run_state *ended,
                                              struct err *err);

/* What run_store_wake has done. */
struct run_wakes {
  bool queued;             /* runs, or searches, that waited for another attempt are queued */
  struct run_list expired; /* owned: runs that were not started in time have failed */
};

/* Queues the runs, and the searches for days, whose time for another attempt has come, and fails those that
 * were not to start later than now. Writes nothing when there are none. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code run_store_wake(struct db *db, struct run_wakes *out, struct err *err);

#endif
