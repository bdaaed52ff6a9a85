/* SPDX-License-Identifier: MIT
 * What is done to all runs at once: taking over those of a process that died, counting, deleting
 * old ones, and trying whether another could be stored. */
#ifndef KPID_SERVER_UPKEEP_STORE_H
#define KPID_SERVER_UPKEEP_STORE_H

#include "server/db.h"
#include "server/service.h"

enum { CRASHES_MAX = 3 };

/* What a recovery has done. */
struct recovery {
  uint64_t moved;       /* runs, and searches for days */
  struct run_list lost; /* owned: the runs that have failed */
};

/* At boot, before anything else: runs of another boot go back to the queue, charged as a crash; after
 * CRASHES_MAX they fail as worker_lost; those being cancelled are cancelled. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code upkeep_recover(struct db *db, const char *boot_id, struct recovery *out,
                                            struct err *err);

/* The same inside a transaction, which may be tried again. */
KPI_MUST_CHECK enum kpi_code upkeep_recover_rows(struct db_conn *c, const char *boot_id, struct recovery *out,
                                                 struct err *err);

/* Deletes finished runs created before a time, except those whose results are published. */
KPI_MUST_CHECK enum kpi_code upkeep_prune(struct db *db, int64_t before_ms, struct err *err);

/* Counts what is not terminal, and finds the last day that is published; also proves that the database
 * answers. */
KPI_MUST_CHECK enum kpi_code upkeep_census(struct db *db, struct run_census *out, struct err *err);

/* Writes what accepting a run writes and takes it back in the same transaction: proves that a run could be
 * stored now. Errors: KPI_DISK_FULL, KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code upkeep_probe(struct db *db, struct err *err);

#endif
