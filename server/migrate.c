/* SPDX-License-Identifier: MIT */
#include "server/migrate.h"

#include "base/log.h"
#include "base/scope.h"

#include <sqlite3.h>
#include <stdio.h>

static enum kpi_code failure(sqlite3 *sqlite, struct err *err, const char *doing) {
  enum kpi_code code = sqlite3_errcode(sqlite) == SQLITE_FULL ? KPI_DISK_FULL : KPI_STORAGE_UNAVAILABLE;
  return err_set(err, code, "%s: %s", doing, sqlite3_errmsg(sqlite));
}

enum kpi_code migrate_version(sqlite3 *sqlite, int *version, struct err *err) {
  sqlite3_stmt *stmt = NULL;
  if (sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK ||
      sqlite3_step(stmt) != SQLITE_ROW) {
    sqlite3_finalize(stmt);
    return failure(sqlite, err, "reading the schema version");
  }
  *version = sqlite3_column_int(stmt, 0);
  sqlite3_finalize(stmt);
  return KPI_OK;
}

static enum kpi_code back_up(sqlite3 *sqlite, const char *path, int version, struct err *err) {
  auto_free char *target = NULL;
  sqlite3_stmt *stmt = NULL;
  if (asprintf(&target, "%s.backup-v%d", path, version) < 0)
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "no memory for the backup");
  unlink(target);
  bool ok = sqlite3_prepare_v2(sqlite, "VACUUM INTO ?1", -1, &stmt, NULL) == SQLITE_OK &&
            sqlite3_bind_text(stmt, 1, target, -1, SQLITE_STATIC) == SQLITE_OK &&
            sqlite3_step(stmt) == SQLITE_DONE;
  enum kpi_code rc = ok ? KPI_OK : failure(sqlite, err, "backing up before a migration");
  sqlite3_finalize(stmt);
  return rc;
}

static bool apply(sqlite3 *sqlite, const struct asset_migration *migrations, size_t from, size_t count) {
  char set_version[64];
  snprintf(set_version, sizeof set_version, "PRAGMA user_version = %zu", count);
  if (sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
    return false;
  for (size_t i = from; i < count; i++)
    if (sqlite3_exec(sqlite, migrations[i].sql, NULL, NULL, NULL) != SQLITE_OK)
      return false;
  return sqlite3_exec(sqlite, set_version, NULL, NULL, NULL) == SQLITE_OK &&
         sqlite3_exec(sqlite, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

enum kpi_code migrate_to_latest(sqlite3 *sqlite, const char *path, const struct asset_migration *migrations,
                                size_t count, struct err *err) {
  int version = 0;
  enum kpi_code rc = migrate_version(sqlite, &version, err);
  if (rc)
    return rc;
  if (version > (int)count)
    return err_set(err, KPI_DB_TOO_NEW, "%s has schema version %d, this program knows %zu", path, version,
                   count);
  if (version == (int)count)
    return KPI_OK;
  if (version > 0 && (rc = back_up(sqlite, path, version, err)) != KPI_OK)
    return rc;
  if (!apply(sqlite, migrations, (size_t)version, count)) {
    rc = failure(sqlite, err, "migrating the database");
    sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return rc;
  }
  log_at(LOG_INFO, "db.migrated", "schema brought up to date", LOG_S("path", path), LOG_I("from", version),
         LOG_I("to", count));
  return KPI_OK;
}
