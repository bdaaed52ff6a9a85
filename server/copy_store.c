/* SPDX-License-Identifier: MIT */
#include "server/copy_store.h"

#include "base/scope.h"
#include "server/db_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>

enum { PAGES_A_STEP = 64, BUSY_RETRY_MS = 2, NS_PER_MS = 1000000 };

/* A copy on its way; between its steps only the connection that is copied knows of it. */
struct copy {
  const char *path;
  sqlite3 *to;            /* owned */
  sqlite3_backup *backup; /* owned */
  int step;               /* what the last step gave */
};

static enum kpi_code failure(const struct copy *c, struct err *err) {
  int code = (c->step ? c->step : sqlite3_errcode(c->to)) & 0xff;
  return err_set(err, code == SQLITE_FULL ? KPI_DISK_FULL : KPI_STORAGE_UNAVAILABLE,
                 "%s: the copy cannot be made: %s", c->path, sqlite3_errstr(code));
}

/* The copy is checked and written to the disk when it is whole; until then nobody has use for it. */
static enum kpi_code copy_begin(struct copy *c, sqlite3 *from, struct err *err) {
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
  c->step = sqlite3_open_v2(c->path, &c->to, flags, NULL);
  if (c->step)
    return failure(c, err);
  sqlite3_exec(c->to, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", NULL, NULL, NULL);
  c->backup = sqlite3_backup_init(c->to, "main", from, "main");
  return c->backup ? KPI_OK : failure(c, err);
}

static void copy_end(struct copy *c) {
  sqlite3_backup_finish(c->backup);
  sqlite3_close(c->to);
}

/* ---- of an open database ---- */

struct copy_call {
  struct copy *copy;
  enum kpi_code rc; /* of the copy; the database itself is well, whatever becomes of it */
  struct err *err;
};

static enum kpi_code do_begin(struct db_conn *c, void *arg, struct err *err) {
  struct copy_call *call = arg;
  (void)err;
  if (!call->copy->backup && !call->rc)
    call->rc = copy_begin(call->copy, c->sqlite, call->err);
  return KPI_OK;
}

/* Busy when other calls of the same transaction have written: the next one may be free. */
static enum kpi_code do_step(struct db_conn *c, void *arg, struct err *err) {
  struct copy_call *call = arg;
  (void)c;
  (void)err;
  if (call->copy->step != SQLITE_DONE)
    call->copy->step = sqlite3_backup_step(call->copy->backup, PAGES_A_STEP);
  return KPI_OK;
}

static enum kpi_code do_end(struct db_conn *c, void *arg, struct err *err) {
  struct copy_call *call = arg;
  (void)c;
  (void)err;
  copy_end(call->copy);
  *call->copy = (struct copy){.path = call->copy->path};
  return KPI_OK;
}

static bool is_busy(int step) {
  return step == SQLITE_BUSY || step == SQLITE_LOCKED;
}

static enum kpi_code take_steps(struct db *db, struct copy_call *call, copy_go_on_fn go_on, void *arg,
                                struct err *err) {
  struct copy *copy = call->copy;
  while (copy->step != SQLITE_DONE) {
    if (!go_on(arg))
      return err_set(err, KPI_DRAINING, "%s: the copy was given up: the service is shutting down",
                     copy->path);
    enum kpi_code rc = db_call(db, DB_NORMAL, do_step, call, err);
    if (rc)
      return rc;
    if (is_busy(copy->step))
      nanosleep(&(struct timespec){.tv_nsec = BUSY_RETRY_MS * NS_PER_MS}, NULL);
    else if (copy->step != SQLITE_OK && copy->step != SQLITE_DONE)
      return failure(copy, err);
  }
  return KPI_OK;
}

enum kpi_code copy_store_make(struct db *db, const char *to, copy_go_on_fn go_on, void *arg,
                              struct err *err) {
  struct copy copy = {.path = to};
  struct copy_call call = {.copy = &copy, .err = err};
  struct err unused;
  enum kpi_code rc = db_call(db, DB_NORMAL, do_begin, &call, err);
  if (rc == KPI_OK)
    rc = call.rc ? call.rc : take_steps(db, &call, go_on, arg, err);
  enum kpi_code ended = db_call(db, DB_NORMAL, do_end, &call, &unused);
  return rc ? rc : ended;
}

/* ---- of a closed one ---- */

enum kpi_code copy_store_make_closed(const char *path, const char *what, const char *to, struct err *err) {
  struct copy copy = {.path = to};
  struct db_file *file;
  sqlite3 *from;
  enum kpi_code rc = db_file_open_as_is(path, what, &file, &from, err);
  if (rc == KPI_OK)
    rc = copy_begin(&copy, from, err);
  if (rc == KPI_OK) {
    copy.step = sqlite3_backup_step(copy.backup, -1);
    rc = copy.step == SQLITE_DONE ? KPI_OK : failure(&copy, err);
  }
  copy_end(&copy);
  db_file_close(file, from);
  return rc;
}

/* ---- finishing ---- */

static int first_text(void *arg, int columns, char **values, char **names) {
  (void)columns;
  (void)names;
  view_to_cstr(view_of(values[0]), arg, 64);
  return 1;
}

enum kpi_code copy_store_finish(const char *path, struct err *err) {
  struct copy copy = {.path = path};
  char journal[64] = "", verdict[64] = "";
  copy.step = sqlite3_open_v2(path, &copy.to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  sqlite3_exec(copy.to, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
  sqlite3_exec(copy.to, "PRAGMA journal_mode=DELETE", first_text, journal, NULL);
  sqlite3_exec(copy.to, "PRAGMA integrity_check(1)", first_text, verdict, NULL);
  sqlite3_close(copy.to);
  auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (strcmp(journal, "delete") != 0 || strcmp(verdict, "ok") != 0)
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "%s: the copy is not whole: %s", path,
                   verdict[0] ? verdict : "not readable");
  if (fd < 0 || fsync(fd) != 0)
    return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_STORAGE_UNAVAILABLE, errno,
                         "%s: the copy cannot be written to the disk", path);
  return KPI_OK;
}
