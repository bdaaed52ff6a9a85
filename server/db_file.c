/* SPDX-License-Identifier: MIT */
#include "server/db_file.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/migrate.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { BALLAST_BYTES = 1024 * 1024, HOLDER_BYTES = 200 };

struct db_file {
  char *path;
  int lock_fd;
  bool has_ballast;
};

/* Returns owned: path with a suffix; NULL when memory is exhausted. */
static char *beside(const char *path, const char *suffix) {
  char *name = NULL;
  return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

/* SQLite follows links; what lies beside the database, the lock first, must do so too. */
enum kpi_code db_file_resolve(const char *path, char **out, struct err *err) {
  sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
  *out = vfs ? calloc(1, (size_t)vfs->mxPathname + 1) : NULL;
  if (!*out)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  if ((vfs->xFullPathname(vfs, path, vfs->mxPathname + 1, *out) & 0xff) != SQLITE_OK)
    return err_set_errno(err, KPI_CONFIG_INVALID, errno, "KPI_DB=%s: user %u cannot follow the path", path,
                         (unsigned)geteuid());
  return KPI_OK;
}

/* ---- lock ---- */

static enum kpi_code locked_err(int fd, const char *path, struct err *err) {
  char holder[HOLDER_BYTES] = {0};
  ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
  return err_set(err, KPI_DB_LOCKED, "%s is used by %s", path, n > 0 ? holder : "another process");
}

/* Takes path.lock for the life of the process, and writes into it who holds it. */
static enum kpi_code take_lock(struct db_file *f, const char *what, struct err *err) {
  auto_free char *name = beside(f->path, ".lock");
  if (!name)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  f->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (f->lock_fd < 0)
    return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_CONFIG_INVALID, errno,
                         "KPI_DB=%s: user %u cannot create %s", f->path, (unsigned)geteuid(), name);
  if (flock(f->lock_fd, LOCK_EX | LOCK_NB) != 0)
    return errno == EWOULDBLOCK ? locked_err(f->lock_fd, f->path, err)
                                : err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno, "cannot lock %s", name);
  char holder[HOLDER_BYTES];
  int n = snprintf(holder, sizeof holder, "process %d (%s)", (int)getpid(), what);
  /* Only for people: a full disk must not keep the service from starting. */
  if (ftruncate(f->lock_fd, 0) != 0 || pwrite(f->lock_fd, holder, (size_t)n, 0) != n)
    log_at(LOG_WARN, "db.lock_note", "the lock file could not be written", LOG_S("path", name));
  return KPI_OK;
}

/* ---- ballast ---- */

static void take_ballast(struct db_file *f) {
  auto_free char *name = beside(f->path, ".ballast");
  if (!name)
    return;
  auto_close int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  f->has_ballast = fd >= 0 && posix_fallocate(fd, 0, BALLAST_BYTES) == 0;
  if (!f->has_ballast)
    log_at(LOG_WARN, "db.no_ballast", "no space is reserved for last writes: the disk is nearly full",
           LOG_S("path", name));
}

bool db_file_drop_ballast(struct db_file *f) {
  auto_free char *name = f->has_ballast ? beside(f->path, ".ballast") : NULL;
  f->has_ballast = false;
  if (!name || truncate(name, 0) != 0)
    return false;
  log_at(LOG_WARN, "db.ballast_used", "the disk is full: the reserved space is used for last writes");
  return true;
}

/* ---- opening ---- */

/* Returns the first column of the first row of a query as text; empty on failure. */
static void query_text(sqlite3 *sqlite, const char *sql, char *out, size_t size) {
  sqlite3_stmt *stmt = NULL;
  out[0] = '\0';
  if (sqlite3_prepare_v2(sqlite, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
    view_to_cstr(view_of((const char *)sqlite3_column_text(stmt, 0)), out, size);
  sqlite3_finalize(stmt);
}

/* SQLite opens a file that it may not write as one to read, without a word. */
static enum kpi_code refuse_read_only(sqlite3 *sqlite, const char *path, struct err *err) {
  if (sqlite3_db_readonly(sqlite, "main") == 0)
    return KPI_OK;
  return err_set(err, KPI_STORAGE_UNAVAILABLE,
                 "KPI_DB=%s: the file is read-only for this process (owner, mode, attributes or mount)",
                 path);
}

/* Sets what durability rests on, and reads it back: SQLite ignores what it cannot do. */
static enum kpi_code apply_settings(sqlite3 *sqlite, const char *path, struct err *err) {
  static const struct {
    const char *set, *get, *want;
  } settings[] = {{"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA locking_mode", "exclusive"},
                  {"PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal"},
                  {"PRAGMA synchronous=FULL", "PRAGMA synchronous", "2"},
                  {"PRAGMA foreign_keys=ON", "PRAGMA foreign_keys", "1"}};
  for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
    char now[32];
    sqlite3_exec(sqlite, settings[i].set, NULL, NULL, NULL);
    query_text(sqlite, settings[i].get, now, sizeof now);
    if (strcmp(now, settings[i].want) != 0)
      return err_set(err, KPI_STORAGE_UNAVAILABLE, "KPI_DB=%s: %s is %s, must be %s: %s", path,
                     settings[i].get + strlen("PRAGMA "), now[0] ? now : "not readable", settings[i].want,
                     sqlite3_errmsg(sqlite));
  }
  return KPI_OK;
}

static enum kpi_code open_with(const char *path, int create, sqlite3 **out, struct err *err) {
  int flags = SQLITE_OPEN_READWRITE | create | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (sqlite3_open_v2(path, out, flags, NULL) == SQLITE_OK)
    return KPI_OK;
  err_set(err, KPI_STORAGE_UNAVAILABLE, "KPI_DB=%s: %s", path, sqlite3_errmsg(*out));
  sqlite3_close(*out);
  *out = NULL;
  return err->code;
}

static enum kpi_code open_connection(const char *path, sqlite3 **out, struct err *err) {
  return open_with(path, SQLITE_OPEN_CREATE, out, err);
}

/* Refuses a database of a later version before anything, a checkpoint on closing included, writes to it. */
static enum kpi_code refuse_newer(sqlite3 *sqlite, const char *path, struct err *err) {
  int version = 0;
  struct err unreadable;
  sqlite3_exec(sqlite, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
  sqlite3_db_config(sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  if (migrate_version(sqlite, &version, &unreadable) == KPI_OK && version > (int)asset_migration_count)
    return err_set(err, KPI_DB_TOO_NEW, "%s has schema version %d, this program knows %zu", path, version,
                   asset_migration_count);
  sqlite3_db_config(sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
  return KPI_OK;
}

static bool is_damaged(sqlite3 *sqlite) {
  char verdict[64];
  query_text(sqlite, "PRAGMA quick_check(1)", verdict, sizeof verdict);
  int code = sqlite3_errcode(sqlite) & 0xff;
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB || (verdict[0] && strcmp(verdict, "ok") != 0);
}

/* ---- damaged files ---- */

static bool copy_file(const char *from, const char *to) {
  auto_close int in = open(from, O_RDONLY | O_CLOEXEC);
  auto_close int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  struct stat st;
  if (in < 0 || out < 0 || fstat(in, &st) != 0)
    return false;
  for (off_t left = st.st_size; left > 0;) {
    ssize_t n = copy_file_range(in, NULL, out, NULL, (size_t)left, 0);
    if (n <= 0)
      return false;
    left -= n;
  }
  return fsync(out) == 0;
}

/* Puts the newest backup that is whole in the place of the file; false when there is none. */
static bool restore_backup(const char *path) {
  auto_free char *pattern = beside(path, ".backup-v*");
  glob_t found = {0};
  bool restored = false;
  if (pattern && glob(pattern, 0, NULL, &found) == 0)
    for (size_t i = found.gl_pathc; i > 0 && !restored; i--) {
      sqlite3 *backup = NULL;
      struct err err;
      if (open_connection(found.gl_pathv[i - 1], &backup, &err) == KPI_OK)
        restored = !is_damaged(backup) && copy_file(found.gl_pathv[i - 1], path);
      sqlite3_close(backup);
    }
  globfree(&found);
  return restored;
}

/* Renames the file and its log; nothing is ever deleted. */
static enum kpi_code set_aside(const char *path, struct err *err) {
  auto_free char *aside = NULL;
  if (asprintf(&aside, "%s.corrupt-%lld", path, (long long)clock_wall_ms()) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  auto_free char *log = beside(path, "-wal");
  auto_free char *log_aside = beside(aside, "-wal");
  if (rename(path, aside) != 0)
    return err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno, "the damaged %s cannot be renamed", path);
  if (log && log_aside && access(log, F_OK) == 0 && rename(log, log_aside) != 0)
    return err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno, "the damaged %s cannot be renamed", log);
  bool restored = restore_backup(path);
  log_at(LOG_ERROR, "db.set_aside", "the database was damaged and set aside", LOG_S("path", aside),
         LOG_S("continues_with", restored ? "newest backup" : "an empty database"));
  return KPI_OK;
}

static enum kpi_code open_checked(struct db_file *f, sqlite3 **sqlite, struct err *err) {
  enum kpi_code rc = open_connection(f->path, sqlite, err);
  if (rc == KPI_OK)
    rc = refuse_read_only(*sqlite, f->path, err);
  if (rc == KPI_OK)
    rc = refuse_newer(*sqlite, f->path, err);
  if (rc == KPI_OK && is_damaged(*sqlite)) {
    sqlite3_close(TAKE(*sqlite));
    rc = set_aside(f->path, err);
    if (rc == KPI_OK)
      rc = open_connection(f->path, sqlite, err);
  }
  if (rc == KPI_OK)
    rc = apply_settings(*sqlite, f->path, err);
  return rc ? rc : migrate_to_latest(*sqlite, f->path, asset_migrations, asset_migration_count, err);
}

/* Makes the object and takes the lock. `must_exist`: the database has to be there. */
static enum kpi_code lock_file(const char *path, const char *what, bool must_exist, struct db_file **out,
                               struct err *err) {
  *out = calloc(1, sizeof **out);
  if (!*out)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  (*out)->lock_fd = -1;
  enum kpi_code rc = db_file_resolve(path, &(*out)->path, err);
  if (rc)
    return rc;
  assert((*out)->path);
  if (must_exist && access((*out)->path, F_OK) != 0)
    return err_set_errno(err, KPI_CONFIG_INVALID, errno, "KPI_DB=%s: cannot be read", path);
  return take_lock(*out, what, err);
}

enum kpi_code db_file_open(const char *path, const char *what, struct db_file **out, sqlite3 **sqlite,
                           struct err *err) {
  *sqlite = NULL;
  enum kpi_code rc = lock_file(path, what, false, out, err);
  if (rc == KPI_OK)
    rc = open_checked(*out, sqlite, err);
  if (rc == KPI_OK)
    take_ballast(*out);
  return rc;
}

enum kpi_code db_file_open_as_is(const char *path, const char *what, struct db_file **out, sqlite3 **sqlite,
                                 struct err *err) {
  *sqlite = NULL;
  enum kpi_code rc = lock_file(path, what, true, out, err);
  if (rc == KPI_OK)
    rc = open_with((*out)->path, 0, sqlite, err);
  if (rc)
    return rc;
  sqlite3_exec(*sqlite, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
  sqlite3_db_config(*sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  return KPI_OK;
}

void db_file_close(struct db_file *f, sqlite3 *sqlite) {
  sqlite3_close(sqlite);
  if (!f)
    return;
  if (f->lock_fd >= 0)
    close(f->lock_fd);
  free(f->path);
  free(f);
}
