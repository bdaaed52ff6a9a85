/* SPDX-License-Identifier: MIT */
#include "server/event_store.h"

#include <sqlite3.h>

static struct view text_at(sqlite3_stmt *s, int column) {
  return view_of((const char *)sqlite3_column_text(s, column));
}

#define EVENT_COLUMNS                                                                                        \
  "e.seq, e.at, e.run_id, r.date, e.state, e.attempt FROM events e JOIN runs r ON r.id = e.run_id"

static void read_event(sqlite3_stmt *s, struct event *out) {
  *out = (struct event){.seq = (uint64_t)sqlite3_column_int64(s, 0),
                        .at = sqlite3_column_int64(s, 1),
                        .attempt = (uint32_t)sqlite3_column_int64(s, 5)};
  view_to_cstr(text_at(s, 2), out->run_id, sizeof out->run_id);
  day_parse(text_at(s, 3), &out->date);
  run_state_of(text_at(s, 4), &out->state);
}

/* A page, or the newest. */
struct event_call {
  struct view run_id;
  uint64_t after;
  size_t limit;
  struct event *events;
  size_t count;
};

/* Fills call->events from a statement whose parameter 1 is the run. */
static enum kpi_code read_events(struct db_conn *c, sqlite3_stmt *s, struct event_call *call,
                                 struct err *err) {
  int step = SQLITE_ERROR;
  call->count = 0;
  db_bind_view(s, 1, call->run_id);
  db_bind_int(s, 2, (int64_t)call->after);
  db_bind_int(s, 3, (int64_t)call->limit);
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW && call->count < call->limit)
    read_event(s, &call->events[call->count++]);
  return step == SQLITE_DONE || step == SQLITE_ROW ? KPI_OK : db_failure(c, err);
}

static enum kpi_code do_page(struct db_conn *c, void *arg, struct err *err) {
  struct event_call *call = arg;
  sqlite3_stmt *s = call->run_id.len
                        ? db_statement(c, "SELECT " EVENT_COLUMNS " WHERE e.run_id = ?1 AND e.seq > ?2"
                                          " ORDER BY e.seq LIMIT ?3")
                        : db_statement(c, "SELECT " EVENT_COLUMNS " WHERE ?1 IS NULL AND e.seq > ?2"
                                          " ORDER BY e.seq LIMIT ?3");
  return read_events(c, s, call, err);
}

enum kpi_code event_store_page(struct db *db, struct view run_id, uint64_t after, size_t limit,
                               struct event *events, size_t *count, struct err *err) {
  struct event_call call = {run_id, after > INT64_MAX ? INT64_MAX : after, limit, events, 0};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_page, &call, err);
  *count = rc ? 0 : call.count;
  return rc;
}

static enum kpi_code do_last(struct db_conn *c, void *arg, struct err *err) {
  struct event_call *call = arg;
  sqlite3_stmt *s = call->run_id.len
                        ? db_statement(c, "SELECT " EVENT_COLUMNS " WHERE e.run_id = ?1 AND e.seq > ?2"
                                          " ORDER BY e.seq DESC LIMIT ?3")
                        : db_statement(c, "SELECT " EVENT_COLUMNS " WHERE ?1 IS NULL AND e.seq > ?2"
                                          " ORDER BY e.seq DESC LIMIT ?3");
  return read_events(c, s, call, err);
}

enum kpi_code event_store_last(struct db *db, struct view run_id, struct event *out, bool *found,
                               struct err *err) {
  struct event_call call = {run_id, 0, 1, out, 0};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_last, &call, err);
  *found = rc == KPI_OK && call.count > 0;
  return rc;
}

struct active_call {
  size_t limit;
  char (*ids)[UUID_TEXT_SIZE];
  size_t count;
};

static enum kpi_code do_active(struct db_conn *c, void *arg, struct err *err) {
  struct active_call *call = arg;
  int step = SQLITE_ERROR;
  sqlite3_stmt *s =
      db_statement(c, "SELECT id FROM runs WHERE state IN ('queued', 'running', 'retry_wait', 'cancelling')"
                      " ORDER BY id DESC LIMIT ?1");
  call->count = 0;
  db_bind_int(s, 1, (int64_t)call->limit);
  while (s && (step = sqlite3_step(s)) == SQLITE_ROW)
    view_to_cstr(text_at(s, 0), call->ids[call->count++], UUID_TEXT_SIZE);
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code event_store_active(struct db *db, size_t limit, char (*ids)[UUID_TEXT_SIZE], size_t *count,
                                 struct err *err) {
  struct active_call call = {limit, ids, 0};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_active, &call, err);
  *count = rc ? 0 : call.count;
  return rc;
}

static void read_move(sqlite3_stmt *s, struct run_move *out) {
  *out = (struct run_move){.at = sqlite3_column_int64(s, 1),
                           .attempt = (uint32_t)sqlite3_column_int64(s, 4),
                           .priority = (enum run_priority)sqlite3_column_int(s, 5),
                           .created_at = sqlite3_column_int64(s, 6),
                           .cancel_requested_at = sqlite3_column_int64(s, 7)};
  view_to_cstr(text_at(s, 2), out->run_id, sizeof out->run_id);
  run_state_of(text_at(s, 3), &out->state);
}

void event_store_news(struct db_conn *c, uint64_t *seq, const struct event_listener *listener) {
  sqlite3_stmt *s = db_statement(
      c, "SELECT e.seq, e.at, e.run_id, e.state, e.attempt, r.priority, r.created_at, r.cancel_requested_at"
         " FROM events e JOIN runs r ON r.id = e.run_id WHERE e.seq > ?1 ORDER BY e.seq");
  sqlite3_stmt *backfills = db_statement(
      c, "SELECT DISTINCT d.backfill_id FROM events e CROSS JOIN backfill_days d ON d.run_id = e.run_id"
         " WHERE e.seq > ?1");
  if (!s || !backfills)
    return;
  db_bind_int(s, 1, (int64_t)*seq);
  db_bind_int(backfills, 1, (int64_t)*seq);
  while (sqlite3_step(s) == SQLITE_ROW) {
    struct run_move move;
    read_move(s, &move);
    *seq = (uint64_t)sqlite3_column_int64(s, 0);
    listener->moved(listener->arg, &move);
  }
  while (sqlite3_step(backfills) == SQLITE_ROW)
    listener->backfill_changed(listener->arg, (const char *)sqlite3_column_text(backfills, 0));
  sqlite3_reset(s);
  sqlite3_reset(backfills);
}
