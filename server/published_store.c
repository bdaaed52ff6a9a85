/* SPDX-License-Identifier: MIT */
#include "server/published_store.h"

#include "base/scope.h"
#include "pipeline/kpi.h"
#include "server/results_store.h"

#include <sqlite3.h>
#include <string.h>

enum { CATEGORIES_BYTES_MAX = 64 * 1024 };

#define ORDER_COLUMNS                                                                                        \
  " p.order_date, coalesce(o.revenue, '0'), coalesce(o.orders, 0), coalesce(o.items, 0),"                    \
  " coalesce(o.returned_items, 0), o.returned_orders, coalesce(o.customers, 0)"

static void bind_day(sqlite3_stmt *s, int at, day_t day) {
  char date[DAY_TEXT_SIZE];
  db_bind_text(s, at, day_text(day, date));
}

static struct view column(sqlite3_stmt *s, int at) {
  return (struct view){(const char *)sqlite3_column_text(s, at), (size_t)sqlite3_column_bytes(s, at)};
}

static enum kpi_code unreadable(struct err *err) {
  return err_set(err, KPI_INTERNAL_ERROR, "the stored results cannot be read");
}

/* ---- history ---- */

struct history_call {
  day_t from, to;
  struct kpi_rows *out;
};

static enum kpi_code do_history(struct db_conn *c, void *arg, struct err *err) {
  const struct history_call *call = arg;
  kpi_rows_clear(call->out);
  sqlite3_stmt *s = db_statement(c, "SELECT" ORDER_COLUMNS
                                    " FROM published p LEFT JOIN order_results o ON o.run_id = p.run_id"
                                    " AND o.order_date = p.order_date WHERE p.order_date BETWEEN ?1 AND ?2"
                                    " ORDER BY p.order_date");
  bind_day(s, 1, call->from);
  bind_day(s, 2, call->to);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    if (!results_row_read(s, KPI_ORDERS, call->out))
      return unreadable(err);
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code published_store_history(struct db *db, day_t from, day_t to, struct kpi_rows *out,
                                      struct err *err) {
  *out = (struct kpi_rows){0};
  struct history_call call = {from, to, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_history, &call, err);
  if (rc)
    kpi_rows_clear(out);
  return rc;
}

/* ---- series ---- */

struct series_call {
  const struct published_ask *ask;
  struct view categories; /* JSON; empty: all */
  struct kpi_rows *out;
  day_t *next;
};

/* Both walk the primary keys in the order that is asked for, so that stepping can stop at any row. */
static sqlite3_stmt *series_statement(struct db_conn *c, enum kpi_table table) {
  if (table == KPI_ORDERS)
    return db_statement(c, "SELECT" ORDER_COLUMNS
                           " FROM published p CROSS JOIN order_results o ON o.run_id = p.run_id"
                           " AND o.order_date = p.order_date WHERE p.order_date BETWEEN ?1 AND ?2"
                           " ORDER BY p.order_date");
  return db_statement(
      c, "SELECT p.order_date, o.revenue, o.orders, o.items, o.returned_items, o.returned_orders, o.category"
         " FROM published p CROSS JOIN category_results o ON o.run_id = p.run_id"
         " AND o.order_date = p.order_date WHERE p.order_date BETWEEN ?1 AND ?2"
         " AND (?3 IS NULL OR o.category IN (SELECT value FROM json_each(?3)))"
         " ORDER BY p.order_date, o.category");
}

static enum kpi_code do_series(struct db_conn *c, void *arg, struct err *err) {
  const struct series_call *call = arg;
  const struct published_ask *ask = call->ask;
  day_t last = ask->to - ask->from < PUBLISHED_CHUNK_DAYS ? ask->to : ask->from + PUBLISHED_CHUNK_DAYS - 1;
  kpi_rows_clear(call->out);
  *call->next = last + 1;
  sqlite3_stmt *s = series_statement(c, ask->table);
  bind_day(s, 1, ask->from);
  bind_day(s, 2, last);
  if (ask->table == KPI_CATEGORIES)
    db_bind_view(s, 3, call->categories);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW) {
    day_t day;
    if (!day_parse(column(s, 0), &day))
      return unreadable(err);
    if (call->out->count >= ask->rows && call->out->rows[call->out->count - 1].day != day) {
      *call->next = day;
      return KPI_OK;
    }
    if (!results_row_read(s, ask->table, call->out))
      return unreadable(err);
  }
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static void write_categories(const struct published_ask *ask, struct buf *out) {
  for (size_t i = 0; i < ask->category_count; i++) {
    buf_add_cstr(out, i ? ",\"" : "[\"");
    buf_add_json(out, ask->categories[i]);
    buf_add_char(out, '"');
  }
  buf_add_cstr(out, ask->category_count ? "]" : "");
}

enum kpi_code published_store_rows(struct db *db, const struct published_ask *ask, struct kpi_rows *out,
                                   day_t *next, struct err *err) {
  auto_buf struct buf categories;
  buf_init(&categories, CATEGORIES_BYTES_MAX);
  *out = (struct kpi_rows){0};
  write_categories(ask, &categories);
  if (buf_failed(&categories))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the categories");
  struct series_call call = {ask, buf_view(&categories), out, next};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_series, &call, err);
  if (rc)
    kpi_rows_clear(out);
  return rc;
}

/* ---- calendar ---- */

struct days_call {
  day_t from;
  size_t count;
  struct day_overview *out;
};

/* Reads what is published, from column 3 on; columns 5 to 9 are totals. */
static bool read_published(sqlite3_stmt *s, struct day_overview *out) {
  view_to_cstr(column(s, 3), out->published_run_id, sizeof out->published_run_id);
  out->published_at = sqlite3_column_int64(s, 4);
  struct kpi_totals t = {.orders = (uint64_t)sqlite3_column_int64(s, 6),
                         .distinct_items = (uint64_t)sqlite3_column_int64(s, 7),
                         .returned_item_rows = (uint64_t)sqlite3_column_int64(s, 8),
                         .customers = (uint64_t)sqlite3_column_int64(s, 9)};
  if (decimal_parse(column(s, 5), &t.revenue) != DECIMAL_OK)
    return false;
  kpi_order_day(&t, &out->orders);
  return true;
}

static bool read_overview(sqlite3_stmt *s, day_t day, struct day_overview *out) {
  *out = (struct day_overview){.orders = {.day = day}};
  out->has_run = sqlite3_column_type(s, 0) != SQLITE_NULL;
  view_to_cstr(column(s, 0), out->run_id, sizeof out->run_id);
  view_to_cstr(column(s, 2), out->quality, sizeof out->quality);
  if (out->has_run && !run_state_of(column(s, 1), &out->state))
    return false;
  return sqlite3_column_type(s, 3) == SQLITE_NULL || read_published(s, out);
}

static enum kpi_code do_days(struct db_conn *c, void *arg, struct err *err) {
  const struct days_call *call = arg;
  for (size_t i = 0; i < call->count; i++) {
    day_t day = call->from + (day_t)i;
    sqlite3_stmt *s = db_statement(
        c, "SELECT r.id, r.state, json_extract(r.quality_json, '$.status'), p.run_id, p.published_at,"
           " coalesce(o.revenue, '0'), o.orders, o.items, o.returned_items, o.customers"
           " FROM (SELECT ?1 AS date) d"
           " LEFT JOIN runs r ON r.id = (SELECT max(id) FROM runs WHERE date = d.date)"
           " LEFT JOIN published p ON p.order_date = d.date"
           " LEFT JOIN order_results o ON o.run_id = p.run_id AND o.order_date = p.order_date");
    bind_day(s, 1, day);
    if (sqlite3_step(s) != SQLITE_ROW)
      return db_failure(c, err);
    if (!read_overview(s, day, &call->out[i]))
      return unreadable(err);
  }
  return KPI_OK;
}

enum kpi_code published_store_days(struct db *db, day_t from, size_t count, struct day_overview *out,
                                   struct err *err) {
  struct days_call call = {from, count, out};
  return db_call(db, DB_NORMAL, do_days, &call, err);
}
