/* SPDX-License-Identifier: MIT */
#include "server/results_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "pipeline/kpi.h"

#include <sqlite3.h>
#include <string.h>

enum { JSON_BYTES_MAX = 64 * 1024, CATEGORIES_BYTES_MAX = 256 * 1024 * 1024 };

/* ---- summary ---- */

/* The headline of a run: the order row of its date, zeros when there is none, and how many categories. */
static void write_summary(const struct job_result *result, day_t date, struct buf *out) {
  struct kpi_row none = {.day = date};
  const struct kpi_row *row = &none;
  for (size_t i = 0; i < result->tables[KPI_ORDERS].count; i++)
    if (result->tables[KPI_ORDERS].rows[i].day == date)
      row = &result->tables[KPI_ORDERS].rows[i];
  kpi_row_json(row, KPI_ORDERS, out);
  out->len -= out->len > 0;
  buf_printf(out, ",\"categories\":%zu}", result->tables[KPI_CATEGORIES].count);
}

static void write_categories(const struct names *categories, struct buf *out) {
  buf_add_char(out, '[');
  for (size_t i = 0; i < categories->count; i++) {
    buf_add_cstr(out, i ? ",\"" : "\"");
    buf_add_json(out, categories->at[i]);
    buf_add_char(out, '"');
  }
  buf_add_char(out, ']');
}

/* ---- keeping ---- */

struct keep_call {
  const char *run_id;
  const struct kpi_rows *tables;
  const struct quality *quality;
  struct view summary, quality_summary, categories;
  const char *digest;
};

static enum kpi_code delete_rows(struct db_conn *c, const char *run_id, struct err *err) {
  static const char *const deletes[] = {"DELETE FROM order_results WHERE run_id = ?1",
                                        "DELETE FROM category_results WHERE run_id = ?1"};
  return db_run_each(c, deletes, sizeof deletes / sizeof deletes[0], run_id, err);
}

static void bind_revenue(sqlite3_stmt *s, int at, const struct decimal *revenue) {
  char text[DECIMAL_TEXT_SIZE];
  sqlite3_bind_text64(s, at, text, decimal_text(revenue, text), SQLITE_TRANSIENT, SQLITE_UTF8);
}

static enum kpi_code insert_row(struct db_conn *c, const char *run_id, enum kpi_table table,
                                const struct kpi_row *row, struct err *err) {
  char date[DAY_TEXT_SIZE];
  sqlite3_stmt *s =
      table == KPI_ORDERS
          ? db_statement(
                c, "INSERT INTO order_results (run_id, order_date, revenue, orders, items, returned_items,"
                   " returned_orders, customers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
          : db_statement(
                c, "INSERT INTO category_results (run_id, order_date, revenue, orders, items, returned_items,"
                   " returned_orders, category) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
  db_bind_text(s, 1, run_id);
  db_bind_text(s, 2, day_text(row->day, date));
  bind_revenue(s, 3, &row->revenue);
  db_bind_int(s, 4, (int64_t)row->orders);
  db_bind_int(s, 5, (int64_t)row->items);
  db_bind_int(s, 6, (int64_t)row->returned_items);
  if (row->returned_orders_known)
    db_bind_int(s, 7, (int64_t)row->returned_orders);
  if (table == KPI_ORDERS)
    db_bind_int(s, 8, (int64_t)row->customers);
  else
    db_bind_view(s, 8, row->category);
  return db_run(c, s, err);
}

static enum kpi_code put_quality(struct db_conn *c, const struct keep_call *call, struct err *err) {
  sqlite3_stmt *s =
      db_statement(c, "INSERT OR REPLACE INTO quality_reports (run_id, report) VALUES (?1, ?2)");
  db_bind_text(s, 1, call->run_id);
  db_bind_text(s, 2, call->quality->report_json);
  enum kpi_code rc = db_run(c, s, err);
  if (rc)
    return rc;
  s = db_statement(c, "UPDATE runs SET quality_json = ?2, version = version + 1 WHERE id = ?1");
  db_bind_text(s, 1, call->run_id);
  db_bind_view(s, 2, call->quality_summary);
  return db_run(c, s, err);
}

static enum kpi_code do_keep_quality(struct db_conn *c, void *arg, struct err *err) {
  return put_quality(c, arg, err);
}

/* Runs over the same products share one list. */
static enum kpi_code keep_categories(struct db_conn *c, struct view names, char key[SHA256_HEX_SIZE],
                                     struct err *err) {
  crypto_sha256_hex(names, key);
  sqlite3_stmt *s = db_statement(c, "INSERT OR IGNORE INTO category_lists (key, names) VALUES (?1, ?2)");
  db_bind_text(s, 1, key);
  db_bind_view(s, 2, names);
  return db_run(c, s, err);
}

static enum kpi_code do_keep(struct db_conn *c, void *arg, struct err *err) {
  const struct keep_call *call = arg;
  char categories[SHA256_HEX_SIZE];
  enum kpi_code rc = delete_rows(c, call->run_id, err);
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    for (size_t i = 0; rc == KPI_OK && i < call->tables[t].count; i++)
      rc = insert_row(c, call->run_id, (enum kpi_table)t, &call->tables[t].rows[i], err);
  if (rc == KPI_OK)
    rc = put_quality(c, call, err);
  if (rc == KPI_OK)
    rc = keep_categories(c, call->categories, categories, err);
  if (rc)
    return rc;
  sqlite3_stmt *s =
      db_statement(c, "UPDATE runs SET summary_json = ?2, results_sha256 = ?3, category_list = ?4,"
                      " results_fingerprint = input_fingerprint"
                      " WHERE id = ?1");
  db_bind_text(s, 1, call->run_id);
  db_bind_view(s, 2, call->summary);
  db_bind_text(s, 3, call->digest);
  db_bind_text(s, 4, categories);
  return db_run(c, s, err);
}

enum kpi_code results_store_keep(struct db *db, const char *run_id, day_t date,
                                 const struct job_result *result, struct err *err) {
  auto_buf struct buf summary, quality, categories;
  char hash[SHA256_HEX_SIZE];
  buf_init(&summary, JSON_BYTES_MAX);
  buf_init(&quality, JSON_BYTES_MAX);
  buf_init(&categories, CATEGORIES_BYTES_MAX);
  write_summary(result, date, &summary);
  quality_summary_json(&result->quality, &quality);
  write_categories(&result->categories, &categories);
  if (buf_failed(&summary) || buf_failed(&quality) || buf_failed(&categories) ||
      !kpi_tables_digest(result->tables, hash))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to keep the results");
  struct keep_call call = {
      run_id, result->tables, &result->quality, buf_view(&summary), buf_view(&quality), buf_view(&categories),
      hash};
  return db_call(db, DB_NORMAL, do_keep, &call, err);
}

enum kpi_code results_store_keep_quality(struct db *db, const char *run_id, const struct quality *q,
                                         struct err *err) {
  auto_buf struct buf summary;
  buf_init(&summary, JSON_BYTES_MAX);
  quality_summary_json(q, &summary);
  struct keep_call call = {.run_id = run_id, .quality = q, .quality_summary = buf_view(&summary)};
  return db_call(db, DB_NORMAL, do_keep_quality, &call, err);
}

/* ---- reading ---- */

/* Fails unless the run exists and has results. */
static enum kpi_code check_ready(struct db_conn *c, struct view run_id, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "SELECT results_sha256 IS NOT NULL, state FROM runs WHERE id = ?1");
  db_bind_view(s, 1, run_id);
  int step = sqlite3_step(s);
  if (step == SQLITE_DONE)
    return err_set(err, KPI_RUN_NOT_FOUND, "there is no run %.*s", (int)(run_id.len < 64 ? run_id.len : 64),
                   run_id.ptr);
  if (step != SQLITE_ROW)
    return db_failure(c, err);
  if (sqlite3_column_int(s, 0) == 0)
    return err_set(err, KPI_RESULTS_NOT_READY, "the run is %s and has no results", sqlite3_column_text(s, 1));
  return KPI_OK;
}

bool results_row_read(sqlite3_stmt *s, enum kpi_table table, struct kpi_rows *rows) {
  day_t day;
  struct view category = {0};
  if (table == KPI_CATEGORIES)
    category = (struct view){(const char *)sqlite3_column_text(s, 6), (size_t)sqlite3_column_bytes(s, 6)};
  struct kpi_totals t = {.orders = (uint64_t)sqlite3_column_int64(s, 2),
                         .returned_item_rows = (uint64_t)sqlite3_column_int64(s, 4),
                         .returned_orders = (uint64_t)sqlite3_column_int64(s, 5),
                         .returned_orders_known = sqlite3_column_type(s, 5) != SQLITE_NULL};
  t.item_rows = t.distinct_items = (uint64_t)sqlite3_column_int64(s, 3);
  if (table == KPI_ORDERS)
    t.customers = (uint64_t)sqlite3_column_int64(s, 6);
  struct view revenue = {(const char *)sqlite3_column_text(s, 1), (size_t)sqlite3_column_bytes(s, 1)};
  if (!day_parse(view_of((const char *)sqlite3_column_text(s, 0)), &day) ||
      decimal_parse(revenue, &t.revenue) != DECIMAL_OK)
    return false;
  struct kpi_row *row = kpi_rows_add(rows, day, category);
  if (!row)
    return false;
  if (table == KPI_ORDERS)
    kpi_order_day(&t, row);
  else
    kpi_category_day(&t, row);
  return true;
}

static sqlite3_stmt *rows_statement(struct db_conn *c, enum kpi_table table) {
  if (table == KPI_ORDERS)
    return db_statement(
        c, "SELECT order_date, revenue, orders, items, returned_items, returned_orders, customers"
           " FROM order_results WHERE run_id = ?1 ORDER BY order_date");
  return db_statement(c,
                      "SELECT order_date, revenue, orders, items, returned_items, returned_orders, category"
                      " FROM category_results WHERE run_id = ?1 ORDER BY order_date, category");
}

static enum kpi_code read_rows(struct db_conn *c, struct view run_id, enum kpi_table table,
                               struct kpi_rows *out, struct err *err) {
  kpi_rows_clear(out);
  sqlite3_stmt *s = rows_statement(c, table);
  db_bind_view(s, 1, run_id);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    if (!results_row_read(s, table, out))
      return err_set(err, KPI_INTERNAL_ERROR, "the stored results cannot be read");
  return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

/* Reads both tables back and compares them with the digest of what was computed: integrity checks of the
 * database do not see flipped bits. Returns owned in tables. */
static enum kpi_code read_checked(struct db_conn *c, struct view run_id,
                                  struct kpi_rows tables[KPI_TABLE_COUNT], struct err *err) {
  char stored[SHA256_HEX_SIZE] = "", now[SHA256_HEX_SIZE] = "";
  for (int t = 0; t < KPI_TABLE_COUNT; t++) {
    enum kpi_code rc = read_rows(c, run_id, (enum kpi_table)t, &tables[t], err);
    if (rc)
      return rc;
  }
  sqlite3_stmt *s = db_statement(c, "SELECT results_sha256 FROM runs WHERE id = ?1");
  db_bind_view(s, 1, run_id);
  if (sqlite3_step(s) == SQLITE_ROW)
    view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), stored, sizeof stored);
  if (kpi_tables_digest(tables, now) && strcmp(stored, now) == 0)
    return KPI_OK;
  return err_set(err, KPI_INTERNAL,
                 "the stored results differ from what was computed: the database is damaged");
}

/* The same when only the verdict and the number of rows of each table are wanted. */
static enum kpi_code check_digest(struct db_conn *c, struct view run_id, size_t counts[KPI_TABLE_COUNT],
                                  struct err *err) {
  struct kpi_rows tables[KPI_TABLE_COUNT] = {0};
  enum kpi_code rc = read_checked(c, run_id, tables, err);
  for (int t = 0; t < KPI_TABLE_COUNT; t++) {
    counts[t] = tables[t].count;
    kpi_rows_clear(&tables[t]);
  }
  return rc;
}

/* ---- kept results ---- */

struct read_call {
  const char *run_id;
  struct kept_results *out;
};

static bool read_names(sqlite3_stmt *s, struct names *out) {
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    if (!names_add(
            out, (struct view){(const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0)}))
      return false;
  names_seal(out);
  return step == SQLITE_DONE;
}

static enum kpi_code do_read(struct db_conn *c, void *arg, struct err *err) {
  struct read_call *call = arg;
  struct view id = view_of(call->run_id);
  job_result_clear(&call->out->result);
  enum kpi_code rc = check_ready(c, id, err);
  if (rc == KPI_OK)
    rc = read_checked(c, id, call->out->result.tables, err);
  if (rc)
    return rc;
  sqlite3_stmt *s =
      db_statement(c, "SELECT j.value FROM runs JOIN category_lists l ON l.key = runs.category_list,"
                      " json_each(l.names) j WHERE runs.id = ?1");
  db_bind_view(s, 1, id);
  if (!s || !read_names(s, &call->out->result.categories))
    return db_failure(c, err);
  s = db_statement(c, "SELECT results_fingerprint FROM runs WHERE id = ?1");
  db_bind_view(s, 1, id);
  if (sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), call->out->fingerprint, SHA256_HEX_SIZE);
  return KPI_OK;
}

enum kpi_code results_store_read(struct db *db, const char *run_id, struct kept_results *out,
                                 struct err *err) {
  *out = (struct kept_results){0};
  struct read_call call = {run_id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_read, &call, err);
  if (rc)
    job_result_clear(&out->result);
  return rc;
}

/* ---- rows ---- */

struct rows_call {
  struct view run_id;
  const struct results_ask *ask;
  struct results *out;
};

/* Keeps the rows of one table of a run whose digest is right. */
static enum kpi_code read_table(struct db_conn *c, struct view run_id, enum kpi_table table,
                                struct kpi_rows *out, struct err *err) {
  struct kpi_rows tables[KPI_TABLE_COUNT] = {0};
  enum kpi_code rc = read_checked(c, run_id, tables, err);
  if (rc == KPI_OK)
    *out = tables[table];
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    if (rc || t != (int)table)
      kpi_rows_clear(&tables[t]);
  return rc;
}

/* Finds the run that was published for the date before this one, or, for one that was not published, the one
 * that is published now. */
static enum kpi_code find_previous(struct db_conn *c, struct view run_id, char out[UUID_TEXT_SIZE],
                                   struct err *err) {
  sqlite3_stmt *s = db_statement(
      c,
      "SELECT CASE WHEN r.published_at IS NULL THEN (SELECT run_id FROM published WHERE order_date = r.date)"
      " ELSE (SELECT p.id FROM runs p WHERE p.date = r.date AND p.id <> r.id"
      "  AND (p.published_at, p.id) < (r.published_at, r.id)"
      "  ORDER BY p.published_at DESC, p.id DESC LIMIT 1) END"
      " FROM runs r WHERE r.id = ?1");
  db_bind_view(s, 1, run_id);
  if (sqlite3_step(s) != SQLITE_ROW)
    return db_failure(c, err);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 0)), out, UUID_TEXT_SIZE);
  return KPI_OK;
}

static enum kpi_code do_rows(struct db_conn *c, void *arg, struct err *err) {
  const struct rows_call *call = arg;
  struct results *out = call->out;
  results_clear(out);
  enum kpi_code rc = check_ready(c, call->run_id, err);
  if (rc == KPI_OK)
    rc = read_table(c, call->run_id, call->ask->table, &out->rows, err);
  if (rc || !call->ask->with_previous)
    return rc;
  rc = find_previous(c, call->run_id, out->previous_id, err);
  return rc || !out->previous_id[0]
             ? rc
             : read_table(c, view_of(out->previous_id), call->ask->table, &out->previous, err);
}

enum kpi_code results_store_rows(struct db *db, struct view run_id, const struct results_ask *ask,
                                 struct results *out, struct err *err) {
  *out = (struct results){0};
  struct rows_call call = {run_id, ask, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_rows, &call, err);
  if (rc)
    results_clear(out);
  return rc;
}

void results_clear(struct results *r) {
  if (!r)
    return;
  kpi_rows_clear(&r->rows);
  kpi_rows_clear(&r->previous);
  *r = (struct results){0};
}

struct quality_call {
  struct view run_id;
  struct buf *out;
};

static enum kpi_code do_quality(struct db_conn *c, void *arg, struct err *err) {
  struct quality_call *call = arg;
  buf_reset(call->out);
  sqlite3_stmt *s = db_statement(c, "SELECT report FROM quality_reports WHERE run_id = ?1");
  db_bind_view(s, 1, call->run_id);
  if (sqlite3_step(s) != SQLITE_ROW) {
    enum kpi_code rc = check_ready(c, call->run_id, err);
    return rc ? rc : err_set(err, KPI_RESULTS_NOT_READY, "the run has no quality report");
  }
  buf_add(call->out,
          (struct view){(const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0)});
  return buf_failed(call->out) ? err_set(err, KPI_INTERNAL_ERROR, "no memory for the quality report")
                               : KPI_OK;
}

enum kpi_code results_store_quality(struct db *db, struct view run_id, struct buf *out, struct err *err) {
  struct quality_call call = {run_id, out};
  return db_call(db, DB_NORMAL, do_quality, &call, err);
}

/* ---- publishing ---- */

struct orders_call {
  day_t date;
  uint64_t *orders;
};

static enum kpi_code do_published_orders(struct db_conn *c, void *arg, struct err *err) {
  struct orders_call *call = arg;
  char date[DAY_TEXT_SIZE];
  *call->orders = 0;
  sqlite3_stmt *s =
      db_statement(c, "SELECT o.orders FROM published p JOIN order_results o ON o.run_id = p.run_id"
                      " AND o.order_date = p.order_date WHERE p.order_date = ?1");
  db_bind_text(s, 1, day_text(call->date, date));
  int step = sqlite3_step(s);
  if (step == SQLITE_ROW)
    *call->orders = (uint64_t)sqlite3_column_int64(s, 0);
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

enum kpi_code results_store_published_orders(struct db *db, day_t date, uint64_t *orders, struct err *err) {
  struct orders_call call = {date, orders};
  return db_call(db, DB_NORMAL, do_published_orders, &call, err);
}

struct publish_call {
  const char *run_id;
  day_t date;
  struct publish_counts *counts;
};

/* Compares with what is published for the date now: equal rows are unchanged, categories that are gone are
 * deleted. */
static enum kpi_code compare_published(struct db_conn *c, struct publish_call *call, const char *date,
                                       struct err *err) {
  sqlite3_stmt *s = db_statement(
      c,
      "SELECT (SELECT count(*) FROM order_results o WHERE o.run_id = p.run_id AND o.order_date = "
      "p.order_date),"
      " (SELECT count(*) FROM category_results o WHERE o.run_id = p.run_id AND o.order_date = p.order_date"
      "  AND NOT EXISTS (SELECT 1 FROM category_results n WHERE n.run_id = ?1 AND n.order_date = p.order_date"
      "  AND n.category = o.category)),"
      " (SELECT results_sha256 FROM runs WHERE id = p.run_id) = (SELECT results_sha256 FROM runs WHERE id = "
      "?1)"
      " FROM published p WHERE p.order_date = ?2 AND p.run_id <> ?1");
  db_bind_text(s, 1, call->run_id);
  db_bind_text(s, 2, date);
  int step = sqlite3_step(s);
  if (step == SQLITE_DONE)
    return KPI_OK;
  if (step != SQLITE_ROW)
    return db_failure(c, err);
  uint64_t had_orders = (uint64_t)sqlite3_column_int64(s, 0);
  call->counts[KPI_CATEGORIES].deleted = (uint64_t)sqlite3_column_int64(s, 1);
  call->counts[KPI_ORDERS].deleted = had_orders && call->counts[KPI_ORDERS].put == 0;
  if (sqlite3_column_int(s, 2))
    for (int t = 0; t < KPI_TABLE_COUNT; t++)
      call->counts[t] = (struct publish_counts){.unchanged = call->counts[t].put};
  return KPI_OK;
}

static enum kpi_code do_publish(struct db_conn *c, void *arg, struct err *err) {
  struct publish_call *call = arg;
  char date[DAY_TEXT_SIZE];
  day_text(call->date, date);
  size_t counts[KPI_TABLE_COUNT];
  enum kpi_code rc = check_digest(c, view_of(call->run_id), counts, err);
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    call->counts[t] = (struct publish_counts){.put = rc ? 0 : counts[t]};
  if (rc == KPI_OK)
    rc = compare_published(c, call, date, err);
  if (rc)
    return rc;
  const int64_t now = clock_wall_ms(); /* of both rows */
  sqlite3_stmt *s =
      db_statement(c, "INSERT INTO published (order_date, run_id, published_at) VALUES (?1, ?2, ?3)"
                      " ON CONFLICT (order_date) DO UPDATE SET run_id = ?2, published_at = ?3");
  db_bind_text(s, 1, date);
  db_bind_text(s, 2, call->run_id);
  db_bind_int(s, 3, now);
  rc = db_run(c, s, err);
  if (rc)
    return rc;
  s = db_statement(
      c, "UPDATE runs SET published_at = ?2, items_published = ?3, items_total = ?3, version = version + 1"
         " WHERE id = ?1");
  db_bind_text(s, 1, call->run_id);
  db_bind_int(s, 2, now);
  uint64_t items = 0;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    items += call->counts[t].put + call->counts[t].unchanged;
  db_bind_int(s, 3, (int64_t)items);
  return db_run(c, s, err);
}

enum kpi_code results_store_publish(struct db *db, const char *run_id, day_t date,
                                    struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  struct publish_call call = {run_id, date, out};
  return db_call(db, DB_NORMAL, do_publish, &call, err);
}
