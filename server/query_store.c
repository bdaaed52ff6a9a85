/* SPDX-License-Identifier: MIT */
#include "server/query_store.h"

#include <sqlite3.h>

/* Reading is allowed; what could reach another file or a setting is not. */
static int allow_reading(void *arg, int action, const char *a, const char *b, const char *database,
                         const char *trigger) {
  (void)arg, (void)a, (void)b, (void)database, (void)trigger;
  return action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION ||
                 action == SQLITE_RECURSIVE
             ? SQLITE_OK
             : SQLITE_DENY;
}

static enum kpi_code failure(sqlite3 *sqlite, struct err *err) {
  switch (sqlite3_errcode(sqlite) & 0xff) {
  case SQLITE_IOERR:
  case SQLITE_CORRUPT:
  case SQLITE_NOTADB:
  case SQLITE_CANTOPEN:
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "the copy cannot be read: %s", sqlite3_errmsg(sqlite));
  case SQLITE_NOMEM:
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the query");
  case SQLITE_AUTH:
  case SQLITE_READONLY:
    return err_set(err, KPI_USAGE, "only what reads is allowed: SELECT, WITH or VALUES");
  default:
    return err_set(err, KPI_USAGE, "%s", sqlite3_errmsg(sqlite));
  }
}

static struct query_cell cell_of(sqlite3_stmt *s, int i) {
  struct query_cell cell = {.type = QUERY_NULL};
  switch (sqlite3_column_type(s, i)) {
  case SQLITE_INTEGER:
    return (struct query_cell){.type = QUERY_INTEGER, .integer = sqlite3_column_int64(s, i)};
  case SQLITE_FLOAT:
    return (struct query_cell){.type = QUERY_REAL, .real = sqlite3_column_double(s, i)};
  case SQLITE_TEXT:
    cell.type = QUERY_TEXT;
    cell.bytes.ptr = (const char *)sqlite3_column_text(s, i);
    break;
  case SQLITE_BLOB:
    cell.type = QUERY_BLOB;
    cell.bytes.ptr = sqlite3_column_blob(s, i);
    break;
  default:
    return cell;
  }
  cell.bytes.len = (size_t)sqlite3_column_bytes(s, i);
  return cell;
}

static enum kpi_code give_rows(sqlite3 *sqlite, sqlite3_stmt *s, const struct query_sink *sink,
                               struct err *err) {
  const char *names[QUERY_COLUMNS_MAX];
  struct query_cell cells[QUERY_COLUMNS_MAX];
  int count = sqlite3_column_count(s), step;
  if (count > QUERY_COLUMNS_MAX)
    return err_set(err, KPI_USAGE, "a query has at most %d columns", QUERY_COLUMNS_MAX);
  for (int i = 0; i < count; i++)
    names[i] = sqlite3_column_name(s, i);
  enum kpi_code rc = sink->columns(sink->arg, names, count, err);
  while (rc == KPI_OK && (step = sqlite3_step(s)) != SQLITE_DONE) {
    if (step != SQLITE_ROW)
      return failure(sqlite, err);
    for (int i = 0; i < count; i++)
      cells[i] = cell_of(s, i);
    rc = sink->row(sink->arg, cells, count, err);
  }
  return rc;
}

/* Prepares the first statement; nothing may follow it. */
static enum kpi_code prepare(sqlite3 *sqlite, struct view sql, sqlite3_stmt **s, struct err *err) {
  const char *tail = NULL;
  sqlite3_stmt *second = NULL;
  if (sqlite3_prepare_v2(sqlite, sql.ptr, (int)sql.len, s, &tail) != SQLITE_OK)
    return failure(sqlite, err);
  if (!*s || sqlite3_column_count(*s) == 0 || !sqlite3_stmt_readonly(*s))
    return err_set(err, KPI_USAGE, "the query has to be one SELECT, WITH or VALUES");
  int rest = sqlite3_prepare_v2(sqlite, tail, (int)(sql.ptr + sql.len - tail), &second, NULL);
  sqlite3_finalize(second);
  return rest == SQLITE_OK && !second ? KPI_OK : err_set(err, KPI_USAGE, "the query has to be one statement");
}

enum kpi_code query_store_run(const char *path, struct view sql, const struct query_sink *sink,
                              struct err *err) {
  sqlite3 *sqlite = NULL;
  sqlite3_stmt *s = NULL;
  enum kpi_code rc = KPI_OK;
  if (sql.len > INT32_MAX)
    return err_set(err, KPI_USAGE, "the query is too long");
  if (sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
    rc = failure(sqlite, err);
  else
    sqlite3_set_authorizer(sqlite, allow_reading, NULL);
  if (rc == KPI_OK)
    rc = prepare(sqlite, sql, &s, err);
  if (rc == KPI_OK)
    rc = give_rows(sqlite, s, sink, err);
  sqlite3_finalize(s);
  sqlite3_close(sqlite);
  return rc;
}
