/* SPDX-License-Identifier: MIT
 * The database file: one SQLite connection. Who calls while nobody is at work on it runs all that has queued
 * up in one transaction, its own call and those of others, so that many callers share an fsync and a lone one
 * waits for no thread. Knows no table; stores give it their functions. */
#ifndef KPID_SERVER_DB_H
#define KPID_SERVER_DB_H

#include "base/err.h"
#include "base/view.h"

struct db;
struct metric;
struct sqlite3;
struct sqlite3_stmt;

/* Transactions that have written, from BEGIN to COMMIT. */
extern struct metric db_write_seconds;

enum { DB_STATEMENTS_MAX = 160 };

/* The connection, as store functions see it; only they and db_call may touch it. */
struct db_conn {
  struct sqlite3 *sqlite;
  struct {
    const char *sql; /* compared by address: a string literal */
    struct sqlite3_stmt *stmt;
  } cache[DB_STATEMENTS_MAX];
  int cached;
};

/* Does its work on the connection. May be called twice when the first transaction fails: it must overwrite,
 * not append to, what it gives back. A code other than KPI_OK undoes its changes. */
typedef enum kpi_code (*db_fn)(struct db_conn *c, void *arg, struct err *err);

enum db_urgency {
  DB_NORMAL,
  DB_MUST_LAND /* small writes that end something: may use the space kept free for them when the disk is full
                */
};

/* Follows links in path, locks path.lock, opens or creates the file, checks it, and migrates it. A damaged
 * file is renamed aside and the newest backup or a fresh file takes its place. `what` names this process to
 * others that want the file. Returns owned in *out. Errors: KPI_DB_LOCKED, KPI_DB_TOO_NEW,
 * KPI_CONFIG_INVALID (path cannot be created), KPI_STORAGE_UNAVAILABLE, KPI_DISK_FULL. */
KPI_MUST_CHECK enum kpi_code db_open(const char *path, const char *what, struct db **out, struct err *err);

/* Checkpoints, closes and frees; nobody may call any more. Accepts NULL. */
void db_close(struct db *db);

/* Runs fn, on this thread or that of another caller, and waits. KPI_OK means committed with synchronous=FULL.
 * Any thread, but not inside a db_fn. Errors: those of fn, KPI_STORAGE_UNAVAILABLE, KPI_DISK_FULL. */
KPI_MUST_CHECK enum kpi_code db_call(struct db *db, enum db_urgency urgency, db_fn fn, void *arg,
                                     struct err *err);

/* Called after a commit that has written, on the thread of one of its callers, before they are answered. May
 * read, must not wait. */
typedef void (*db_committed_fn)(struct db_conn *c, void *arg);

/* Sets who is told of commits; NULL for nobody. When it returns, the one before is no longer called. */
void db_on_commit(struct db *db, db_committed_fn fn, void *arg);

/* True after a failure that only a restart can mend. Any thread. */
bool db_is_broken(const struct db *db);

/* True after a call that failed because of the disk, until something is written again. Any thread. */
bool db_refuses_writes(const struct db *db);

/* --- for stores, inside a db_fn --- */

/* Returns the statement of a string literal, prepared once, reset and without bindings. Borrowed; NULL on
 * failure. */
struct sqlite3_stmt *db_statement(struct db_conn *c, const char *sql);

/* Fills err from the connection's last failure; returns KPI_DISK_FULL, KPI_STORAGE_UNAVAILABLE or
 * KPI_INTERNAL. */
enum kpi_code db_failure(struct db_conn *c, struct err *err);

/* Steps a statement that returns no rows, and resets it. */
KPI_MUST_CHECK enum kpi_code db_run(struct db_conn *c, struct sqlite3_stmt *stmt, struct err *err);

/* Runs statements, string literals, whose one parameter is that text. */
KPI_MUST_CHECK enum kpi_code db_run_each(struct db_conn *c, const char *const *sql, size_t count,
                                         const char *text, struct err *err);

/* Binds by 1-based position. An empty optional text, and a time of 0, bind NULL. */
void db_bind_text(struct sqlite3_stmt *stmt, int at, const char *text);
void db_bind_view(struct sqlite3_stmt *stmt, int at, struct view text);
void db_bind_int(struct sqlite3_stmt *stmt, int at, int64_t value);
void db_bind_time(struct sqlite3_stmt *stmt, int at, int64_t ms);

#endif
