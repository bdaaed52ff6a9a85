/* SPDX-License-Identifier: MIT
 * The files of the database: the lock that keeps a second process out, opening with the settings that
 * durability needs, what happens to a damaged file, and the ballast that keeps room for last writes on a full
 * disk. Knows no table. */
#ifndef KPID_SERVER_DB_FILE_H
#define KPID_SERVER_DB_FILE_H

#include "base/err.h"

struct db_file;
struct sqlite3;

/* Opens for exclusive use; see db_open. Returns owned in *out and *sqlite. */
KPI_MUST_CHECK enum kpi_code db_file_open(const char *path, const char *what, struct db_file **out,
                                          struct sqlite3 **sqlite, struct err *err);

/* Opens a file that is there as it is, for exclusive use: neither made, migrated nor repaired, and its log
 * not written back when it is closed. Returns owned in *out and *sqlite. Errors: KPI_DB_LOCKED,
 * KPI_CONFIG_INVALID (there is none), KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code db_file_open_as_is(const char *path, const char *what, struct db_file **out,
                                                struct sqlite3 **sqlite, struct err *err);

/* Follows links in path. Returns owned in *out: the path that SQLite uses, also of a file that is not there
 * yet. Errors: KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code db_file_resolve(const char *path, char **out, struct err *err);

/* Gives the reserved space back to the disk. False when it was given back before. */
bool db_file_drop_ballast(struct db_file *f);

/* Closes the connection, which checkpoints, and releases the lock. Accepts NULL. */
void db_file_close(struct db_file *f, struct sqlite3 *sqlite);

#endif
