/* SPDX-License-Identifier: MIT
 * Brings a database to the schema of this program: forward only, all in one transaction. Knows the numbers of
 * migrations, not their content. */
#ifndef KPID_SERVER_MIGRATE_H
#define KPID_SERVER_MIGRATE_H

#include "base/err.h"
#include "server/assets.h"

struct sqlite3;

/* Reads the schema version of a database. */
KPI_MUST_CHECK enum kpi_code migrate_version(struct sqlite3 *sqlite, int *version, struct err *err);

/* Applies what is missing; makes a backup path.backup-v<old> of an older database first. Errors:
 * KPI_DB_TOO_NEW (nothing was written), KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code migrate_to_latest(struct sqlite3 *sqlite, const char *path,
                                               const struct asset_migration *migrations, size_t count,
                                               struct err *err);

#endif
