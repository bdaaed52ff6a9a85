/* SPDX-License-Identifier: MIT */
#include "server/db.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/scope.h"
#include "server/db_file.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

/* A call that waits for its turn or its answer; lives on the caller's stack. */
struct db_request {
  db_fn fn;
  void *arg;
  enum db_urgency urgency;
  struct err *err;
  enum kpi_code result;
  bool has_written;
  bool done;
  pthread_cond_t wake; /* it is done, or may lead */
  struct db_request *next;
};

struct db {
  struct db_conn conn;       /* the leader's own */
  db_committed_fn committed; /* the leader's own, as committed_arg */
  void *committed_arg;
  struct db_file *file;
  _Atomic bool broken;
  _Atomic bool refuses_writes;
  struct {
    pthread_mutex_t lock;
    struct db_request *first, **last;
    bool is_led; /* a caller is at work on the connection */
  } synced;
};

/* ---- statements ---- */

sqlite3_stmt *db_statement(struct db_conn *c, const char *sql) {
  for (int i = 0; i < c->cached; i++)
    if (c->cache[i].sql == sql) {
      sqlite3_reset(c->cache[i].stmt);
      sqlite3_clear_bindings(c->cache[i].stmt);
      return c->cache[i].stmt;
    }
  sqlite3_stmt *stmt = NULL;
  if (c->cached == DB_STATEMENTS_MAX ||
      sqlite3_prepare_v3(c->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
    return NULL;
  c->cache[c->cached].sql = sql;
  c->cache[c->cached++].stmt = stmt;
  return stmt;
}

enum kpi_code db_failure(struct db_conn *c, struct err *err) {
  int code = sqlite3_extended_errcode(c->sqlite);
  const char *text = sqlite3_errmsg(c->sqlite);
  log_at(LOG_WARN, "db.failed", text, LOG_I("sqlite_code", code));
  switch (code & 0xff) {
  case SQLITE_FULL:
    return err_set(err, KPI_DISK_FULL, "the volume of the database is full");
  case SQLITE_READONLY:
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "the database is read-only");
  case SQLITE_NOMEM:
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  case SQLITE_IOERR:
  case SQLITE_CANTOPEN:
  case SQLITE_PERM:
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_BUSY:
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "the database cannot be used now");
  default:
    return err_set(err, KPI_INTERNAL, "the database refused an operation");
  }
}

enum kpi_code db_run(struct db_conn *c, sqlite3_stmt *stmt, struct err *err) {
  if (!stmt || sqlite3_step(stmt) != SQLITE_DONE) {
    enum kpi_code rc = db_failure(c, err);
    if (stmt)
      sqlite3_reset(stmt);
    return rc;
  }
  sqlite3_reset(stmt);
  return KPI_OK;
}

enum kpi_code db_run_each(struct db_conn *c, const char *const *sql, size_t count, const char *text,
                          struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; i < count && rc == KPI_OK; i++) {
    sqlite3_stmt *s = db_statement(c, sql[i]);
    db_bind_text(s, 1, text);
    rc = db_run(c, s, err);
  }
  return rc;
}

void db_bind_text(sqlite3_stmt *stmt, int at, const char *text) {
  if (text)
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_TRANSIENT);
  else
    sqlite3_bind_null(stmt, at);
}

void db_bind_view(sqlite3_stmt *stmt, int at, struct view text) {
  if (text.len)
    sqlite3_bind_text64(stmt, at, text.ptr, text.len, SQLITE_TRANSIENT, SQLITE_UTF8);
  else
    sqlite3_bind_null(stmt, at);
}

void db_bind_int(sqlite3_stmt *stmt, int at, int64_t value) {
  sqlite3_bind_int64(stmt, at, value);
}

void db_bind_time(sqlite3_stmt *stmt, int at, int64_t ms) {
  if (ms)
    sqlite3_bind_int64(stmt, at, ms);
  else
    sqlite3_bind_null(stmt, at);
}

/* ---- transactions, by the leader ---- */

/* Prepared once as all others: a read costs little more than its BEGIN and COMMIT. */
static bool exec(struct db *db, const char *sql) {
  sqlite3_stmt *stmt = db_statement(&db->conn, sql);
  bool is_done = stmt && sqlite3_step(stmt) == SQLITE_DONE;
  return sqlite3_reset(stmt) == SQLITE_OK && is_done; /* which also keeps the code of a failure */
}

static void roll_back(struct db *db) {
  if (!sqlite3_get_autocommit(db->conn.sqlite))
    exec(db, "ROLLBACK");
}

/* Resets all statements: one that is still open would keep the commit from happening. */
static void reset_statements(struct db *db) {
  for (int i = 0; i < db->conn.cached; i++)
    sqlite3_reset(db->conn.cache[i].stmt);
}

/* A failed sync may have lost pages that the kernel now calls clean: nothing after it can be trusted. */
static void note_commit_failure(struct db *db) {
  if ((sqlite3_errcode(db->conn.sqlite) & 0xff) != SQLITE_IOERR || atomic_exchange(&db->broken, true))
    return;
  log_at(LOG_ERROR, "db.broken", "a commit failed with an I/O error; a restart is needed");
}

struct metric db_write_seconds = {
    .name = "kpid_sqlite_write_seconds",
    .help = "Transactions that have written, with their sync to disk.",
    .kind = METRIC_HISTOGRAM,
    .unit = METRIC_US,
    .bounds = {100, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000}};

static void run_fn(struct db *db, struct db_request *r) {
  int64_t before = sqlite3_total_changes64(db->conn.sqlite);
  r->result = r->fn(&db->conn, r->arg, r->err);
  r->has_written = sqlite3_total_changes64(db->conn.sqlite) != before;
  reset_statements(db);
}

/* A read that goes through says nothing of the disk: only a write does. */
static void note_outcome(struct db *db, const struct db_request *r) {
  if (r->result == KPI_DISK_FULL || r->result == KPI_STORAGE_UNAVAILABLE)
    atomic_store(&db->refuses_writes, true);
  else if (r->result == KPI_OK && r->has_written)
    atomic_store(&db->refuses_writes, false);
}

/* Runs one call inside the open transaction. False when the whole transaction is lost. */
static bool run_in_savepoint(struct db *db, struct db_request *r) {
  if (!exec(db, "SAVEPOINT call"))
    return false;
  run_fn(db, r);
  if (sqlite3_get_autocommit(db->conn.sqlite))
    return false;
  return (r->result == KPI_OK || exec(db, "ROLLBACK TO call")) && exec(db, "RELEASE call");
}

static bool try_group(struct db *db, struct db_request *first) {
  if (!exec(db, "BEGIN"))
    return false;
  for (struct db_request *r = first; r; r = r->next)
    if (!run_in_savepoint(db, r)) {
      roll_back(db);
      return false;
    }
  if (exec(db, "COMMIT"))
    return true;
  note_commit_failure(db);
  roll_back(db);
  return false;
}

/* Runs one call in a transaction of its own and says what became of it. */
static void run_alone(struct db *db, struct db_request *r) {
  r->result = KPI_OK;
  if (!exec(db, "BEGIN")) {
    r->result = db_failure(&db->conn, r->err);
    return;
  }
  run_fn(db, r);
  if (r->result == KPI_OK && !exec(db, "COMMIT")) {
    r->result = db_failure(&db->conn, r->err);
    note_commit_failure(db);
  }
  roll_back(db);
}

static void run_each(struct db *db, struct db_request *first) {
  for (struct db_request *r = first; r; r = r->next) {
    if (atomic_load(&db->broken)) {
      r->result =
          err_set(r->err, KPI_STORAGE_UNAVAILABLE, "the database failed; the service must be restarted");
      continue;
    }
    run_alone(db, r);
    if (r->result == KPI_DISK_FULL && r->urgency == DB_MUST_LAND && db_file_drop_ballast(db->file))
      run_alone(db, r);
  }
}

/* All calls in one transaction; when that fails, each in its own, so that one caller's failure is nobody
 * else's. */
static void run_group(struct db *db, struct db_request *first) {
  const int64_t began = clock_mono_us();
  if (!first->next || atomic_load(&db->broken) || !try_group(db, first))
    run_each(db, first);
  bool has_written = false;
  for (const struct db_request *r = first; r; r = r->next) {
    note_outcome(db, r);
    has_written |= r->has_written && r->result == KPI_OK;
  }
  if (has_written)
    metric_observe(&db_write_seconds, clock_mono_us() - began, METRIC_PLAIN);
  if (has_written && db->committed)
    db->committed(&db->conn, db->committed_arg);
}

/* ---- turns ---- */

/* Takes all calls that have queued up; with the lock. */
static struct db_request *take_requests(struct db *db) {
  struct db_request *first = db->synced.first;
  db->synced.first = NULL;
  db->synced.last = &db->synced.first;
  return first;
}

static void answer(struct db_request *first) {
  for (struct db_request *r = first, *next; r; r = next) {
    next = r->next; /* its owner may return as soon as the lock is free */
    r->done = true;
    pthread_cond_signal(&r->wake);
  }
}

/* Runs one group, the caller's own call in it, and lets the next in the queue lead. Has the lock, but not
 * while it works. */
static void lead(struct db *db) {
  struct db_request *group = take_requests(db);
  db->synced.is_led = true;
  pthread_mutex_unlock(&db->synced.lock);
  run_group(db, group);
  pthread_mutex_lock(&db->synced.lock);
  db->synced.is_led = false;
  if (db->synced.first)
    pthread_cond_signal(&db->synced.first->wake);
  answer(group);
}

enum kpi_code db_call(struct db *db, enum db_urgency urgency, db_fn fn, void *arg, struct err *err) {
  struct db_request r = {.fn = fn, .arg = arg, .urgency = urgency, .err = err};
  pthread_cond_init(&r.wake, NULL);
  {
    SCOPE_LOCK(&db->synced.lock);
    *db->synced.last = &r;
    db->synced.last = &r.next;
    while (!r.done && db->synced.is_led)
      pthread_cond_wait(&r.wake, &db->synced.lock);
    if (!r.done)
      lead(db);
  }
  pthread_cond_destroy(&r.wake);
  return r.result;
}

struct hook_call {
  struct db *db;
  db_committed_fn fn;
  void *arg;
};

static enum kpi_code do_set_hook(struct db_conn *c, void *arg, struct err *err) {
  const struct hook_call *call = arg;
  (void)c, (void)err;
  call->db->committed = call->fn;
  call->db->committed_arg = call->arg;
  return KPI_OK;
}

void db_on_commit(struct db *db, db_committed_fn fn, void *arg) {
  struct hook_call call = {db, fn, arg};
  struct err err;
  if (db_call(db, DB_NORMAL, do_set_hook, &call, &err))
    log_at(LOG_WARN, "db.hook_not_set", err.message);
}

/* ---- life ---- */

bool db_is_broken(const struct db *db) {
  return atomic_load(&db->broken);
}

bool db_refuses_writes(const struct db *db) {
  return atomic_load(&db->refuses_writes);
}

void db_close(struct db *db) {
  if (!db)
    return;
  for (int i = 0; i < db->conn.cached; i++)
    sqlite3_finalize(db->conn.cache[i].stmt);
  db_file_close(db->file, db->conn.sqlite);
  pthread_mutex_destroy(&db->synced.lock);
  free(db);
}

enum kpi_code db_open(const char *path, const char *what, struct db **out, struct err *err) {
  *out = NULL;
  struct db *db = calloc(1, sizeof *db);
  if (!db)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the database");
  pthread_mutex_init(&db->synced.lock, NULL);
  db->synced.last = &db->synced.first;
  enum kpi_code rc = db_file_open(path, what, &db->file, &db->conn.sqlite, err);
  if (rc == KPI_OK)
    *out = db;
  else
    db_close(db);
  return rc;
}
