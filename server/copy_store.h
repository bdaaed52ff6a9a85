/* SPDX-License-Identifier: MIT
 * Consistent copies of the whole database, as it is at one moment. Knows no table. */
#ifndef KPID_SERVER_COPY_STORE_H
#define KPID_SERVER_COPY_STORE_H

#include "server/db.h"

/* Asked between steps; false gives the copy up. */
typedef bool (*copy_go_on_fn)(void *arg);

/* Copies an open database into the empty file `to`, in small steps between other calls. What is committed
 * meanwhile is in the copy too. Errors: KPI_DISK_FULL, KPI_STORAGE_UNAVAILABLE, KPI_DRAINING (given up). */
KPI_MUST_CHECK enum kpi_code copy_store_make(struct db *db, const char *to, copy_go_on_fn go_on, void *arg,
                                             struct err *err);

/* The same of a database that nobody has open; `path` is not changed. Errors: also KPI_DB_LOCKED,
 * KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code copy_store_make_closed(const char *path, const char *what, const char *to,
                                                    struct err *err);

/* Makes a copy a file of its own, which any tool opens without a log beside it, checks it whole, and writes
 * it to the disk. Errors: KPI_STORAGE_UNAVAILABLE: it is damaged, or cannot be written. */
KPI_MUST_CHECK enum kpi_code copy_store_finish(const char *copy, struct err *err);

#endif
