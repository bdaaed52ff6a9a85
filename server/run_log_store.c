/* SPDX-License-Identifier: MIT */
#include "server/run_log_store.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum { GIVE_WAY_AT_ONCE = 100 /* so that a run that logs much is not cut for every line */ };

/* ---- adding ---- */

static enum kpi_code insert(struct db_conn *c, const struct run_log_entry *e, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "INSERT INTO run_logs (run_id, seq, level, attempt, line)"
                      " SELECT id, 1 + coalesce((SELECT max(seq) FROM run_logs WHERE run_id = ?1), 0), ?2,"
                      " coalesce(?3, attempt), ?4 FROM runs WHERE id = ?1");
  if (!s)
    return db_failure(c, err);
  db_bind_text(s, 1, e->run_id);
  db_bind_text(s, 2, log_level_name(e->level));
  if (e->attempt != LOG_NO_ATTEMPT)
    db_bind_int(s, 3, e->attempt);
  db_bind_view(s, 4, (struct view){e->json, e->size});
  return db_run(c, s, err);
}

static enum kpi_code is_too_long(struct db_conn *c, const char *run_id, bool *answer, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "SELECT count(*), total(length(CAST(line AS BLOB))) FROM run_logs WHERE run_id = ?1");
  if (!s)
    return db_failure(c, err);
  db_bind_text(s, 1, run_id);
  if (sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  *answer = sqlite3_column_int64(s, 0) > RUN_LOG_LINES_MAX || sqlite3_column_int64(s, 1) > RUN_LOG_BYTES_MAX;
  sqlite3_reset(s);
  return KPI_OK;
}

static enum kpi_code cut_middle(struct db_conn *c, const char *run_id, struct err *err) {
  sqlite3_stmt *s = db_statement(
      c, "DELETE FROM run_logs WHERE run_id = ?1 AND seq IN (SELECT seq FROM run_logs WHERE run_id = ?1"
         " AND seq > ?2 AND seq <= (SELECT max(seq) FROM run_logs WHERE run_id = ?1) - ?3"
         " ORDER BY level IN ('warn', 'error'), seq LIMIT ?4)");
  if (!s)
    return db_failure(c, err);
  db_bind_text(s, 1, run_id);
  db_bind_int(s, 2, RUN_LOG_FIRST_LINES);
  db_bind_int(s, 3, RUN_LOG_LAST_LINES);
  db_bind_int(s, 4, GIVE_WAY_AT_ONCE);
  return db_run(c, s, err);
}

static enum kpi_code keep_within_bounds(struct db_conn *c, const char *run_id, struct err *err) {
  bool too_long = false;
  enum kpi_code rc = is_too_long(c, run_id, &too_long, err);
  while (rc == KPI_OK && too_long) {
    rc = cut_middle(c, run_id, err);
    if (rc == KPI_OK && sqlite3_changes(c->sqlite) == 0)
      break;
    if (rc == KPI_OK)
      rc = is_too_long(c, run_id, &too_long, err);
  }
  return rc;
}

static enum kpi_code do_add(struct db_conn *c, void *arg, struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (const struct run_log_entry *e = arg; e && rc == KPI_OK; e = e->next) {
    rc = insert(c, e, err);
    /* A log is looked at once for each row of lines of one run. */
    if (rc == KPI_OK && (!e->next || strcmp(e->next->run_id, e->run_id) != 0))
      rc = keep_within_bounds(c, e->run_id, err);
  }
  return rc;
}

enum kpi_code run_log_store_add(struct db *db, const struct run_log_entry *first, struct err *err) {
  return db_call(db, DB_NORMAL, do_add, (void *)(uintptr_t)first, err);
}

/* ---- reading ---- */

struct page_call {
  struct view run_id;
  const struct run_log_filter *filter;
  struct run_log_page *page;
};

void run_log_page_clear(struct run_log_page *page) {
  if (!page)
    return;
  for (size_t i = 0; i < page->count; i++)
    free(page->rows[i].json);
  free(page->rows);
  *page = (struct run_log_page){0};
}

static bool is_wanted(const struct run_log_filter *f, sqlite3_stmt *s) {
  enum log_level level = LOG_ERROR;
  return log_level_of((const char *)sqlite3_column_text(s, 1), &level) && level >= f->level &&
         (!f->has_attempt || (uint64_t)sqlite3_column_int64(s, 2) == f->attempt);
}

/* False when memory is exhausted. */
static bool add_row(struct run_log_page *page, uint64_t seq, uint64_t left_out, const char *json) {
  char *copy = strdup(json);
  if (!copy)
    return false;
  page->rows[page->count++] = (struct run_log_row){seq, left_out, copy};
  return true;
}

/* Every line is looked at, so that a gap is told from lines that are not wanted. */
static enum kpi_code read_rows(sqlite3_stmt *s, const struct page_call *call, struct err *err) {
  struct run_log_page *page = call->page;
  uint64_t last = call->filter->after, left_out = 0;
  while (sqlite3_step(s) == SQLITE_ROW) {
    uint64_t seq = (uint64_t)sqlite3_column_int64(s, 0);
    left_out += seq - last - 1;
    last = seq;
    if (!is_wanted(call->filter, s))
      continue;
    page->more = page->count == call->filter->limit;
    if (page->more)
      break;
    if (!add_row(page, seq, left_out, (const char *)sqlite3_column_text(s, 3)))
      return err_set(err, KPI_OUT_OF_MEMORY, "no memory for log lines");
    left_out = 0;
  }
  return KPI_OK;
}

static enum kpi_code do_page(struct db_conn *c, void *arg, struct err *err) {
  const struct page_call *call = arg;
  run_log_page_clear(call->page);
  call->page->rows = calloc(call->filter->limit, sizeof *call->page->rows);
  if (!call->page->rows)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for log lines");
  sqlite3_stmt *s = db_statement(
      c, "SELECT seq, level, attempt, line FROM run_logs WHERE run_id = ?1 AND seq > ?2 ORDER BY seq");
  if (!s)
    return db_failure(c, err);
  db_bind_view(s, 1, call->run_id);
  db_bind_int(s, 2, (int64_t)call->filter->after);
  enum kpi_code rc = read_rows(s, call, err);
  int code = sqlite3_errcode(c->sqlite);
  return rc || code == SQLITE_ROW || code == SQLITE_DONE ? rc : db_failure(c, err);
}

enum kpi_code run_log_store_page(struct db *db, struct view run_id, const struct run_log_filter *filter,
                                 struct run_log_page *out, struct err *err) {
  *out = (struct run_log_page){0};
  struct page_call call = {run_id, filter, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_page, &call, err);
  if (rc)
    run_log_page_clear(out);
  return rc;
}
