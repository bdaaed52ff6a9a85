/* SPDX-License-Identifier: MIT */
#include "server/handle_results.h"

#include "base/scope.h"
#include "server/cursor.h"
#include "server/quality_page.h"
#include "server/service.h"

#include <stdio.h>
#include <string.h>

enum {
  RETRY_AFTER_SECONDS = 2,
  CURSOR_BYTES_MAX = 64,
  CELL_BYTES_MAX = 8192,
  REPORT_BYTES_MAX = 2 * 1024 * 1024,
  ETAG_HEX_DIGITS = 32
};

enum format { AS_JSON, AS_CSV, AS_HTML, FORMAT_COUNT };

static const char *const media_types[] = {"application/json", "text/csv", "text/html", NULL};
static const char *const format_names[FORMAT_COUNT] = {"json", "csv", "html"};

/* Chooses by the parameter `format`, else by Accept. False when the reply is a problem already. */
static bool choose_format(struct request *rq, struct reply *rp, enum format *out) {
  struct view name;
  reply_header(rp, "Vary", "Accept");
  if (!request_arg(rq, "format", &name)) {
    int offer = request_negotiate(rq, media_types);
    if (offer < 0)
      reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "Results are sent as application/json, text/csv or text/html.");
    *out = offer < 0 ? AS_JSON : (enum format)offer;
    return offer >= 0;
  }
  for (int f = 0; f < FORMAT_COUNT; f++)
    if (view_is(name, format_names[f])) {
      *out = (enum format)f;
      return true;
    }
  reply_error(rp, rq, KPI_MALFORMED_QUERY, "'format' may be json, csv or html.");
  return false;
}

/* ---- page ---- */

/* A page that was asked for, and what it holds. Owns rows. */
struct shown_page {
  struct results_page ask;
  struct kpi_rows rows;
  bool more;
  enum format format;
};

static const char *word_of(enum kpi_table table) {
  return table == KPI_ORDERS ? "orders" : "categories";
}

/* A cursor is the table's word, a blank, and how many rows come before: short whatever the rows hold. */
static void add_cursor(const struct shown_page *page, struct buf *out) {
  auto_buf struct buf plain;
  buf_init(&plain, CURSOR_BYTES_MAX);
  buf_printf(&plain, "%s %llu", word_of(page->ask.table),
             (unsigned long long)(page->ask.skip + page->rows.count));
  cursor_encode(buf_view(&plain), out);
}

static bool read_cursor(const struct request *rq, struct results_page *ask) {
  struct view value;
  auto_buf struct buf plain;
  buf_init(&plain, CURSOR_BYTES_MAX);
  if (!request_arg(rq, "cursor", &value))
    return true;
  if (!cursor_decode(value, &plain))
    return false;
  struct view skip = buf_view(&plain), word = view_split(&skip, ' ');
  return view_is(word, word_of(ask->table)) && view_to_u64(skip, &ask->skip) && ask->skip <= INT64_MAX;
}

/* Reads the query. False when the reply is a problem already. */
static bool read_page_query(struct request *rq, struct reply *rp, struct shown_page *page) {
  struct view kpi = VIEW_LIT("orders");
  uint64_t limit = RUN_PAGE_DEFAULT;
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct err err;
  request_arg(rq, "kpi", &kpi);
  page->ask.table = view_is(kpi, word_of(KPI_CATEGORIES)) ? KPI_CATEGORIES : KPI_ORDERS;
  if (!view_is(kpi, word_of(page->ask.table))) {
    reply_error(rp, rq, KPI_MALFORMED_QUERY, "'kpi' may be orders or categories.");
    return false;
  }
  if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &limit, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  page->ask.limit = limit;
  if (!read_cursor(rq, &page->ask)) {
    cursor_refuse(&p);
    reply_problem(rp, rq, &p);
    return false;
  }
  return choose_format(rq, rp, &page->format);
}

/* ---- formats ---- */

static void write_json(struct reply *rp, const struct shown_page *page, struct view cursor) {
  struct kpi_columns cols = kpi_table_columns(page->ask.table);
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "columns");
  for (size_t i = 0; i < cols.count; i++) {
    jout_object(&j, NULL);
    jout_string(&j, "name", cols.at[i].name);
    jout_string(&j, "type", kpi_column_type_name(cols.at[i].type));
    jout_object_end(&j);
  }
  jout_array_end(&j);
  jout_array(&j, "rows");
  for (size_t i = 0; i < page->rows.count; i++) {
    auto_buf struct buf row;
    buf_init(&row, CELL_BYTES_MAX * 8);
    kpi_row_json(&page->rows.rows[i], page->ask.table, &row);
    buf_add_char(&row, '\0');
    jout_raw(&j, NULL, buf_failed(&row) ? NULL : row.ptr);
  }
  jout_array_end(&j);
  if (page->more)
    jout_text(&j, "next_cursor", cursor);
  else
    jout_null(&j, "next_cursor");
  jout_object_end(&j);
  reply_json_end(&j);
}

static void write_csv(struct reply *rp, const struct shown_page *page, const struct run *run) {
  char date[DAY_TEXT_SIZE];
  struct buf *out = reply_begin(rp, 200, "text/csv; charset=utf-8; header=present");
  reply_header(rp, "Content-Disposition", "attachment; filename=\"%s-%s.csv\"",
               kpi_table_name(page->ask.table), day_text(run->date, date));
  kpi_csv_header(page->ask.table, out);
  for (size_t i = 0; i < page->rows.count; i++)
    kpi_row_csv(&page->rows.rows[i], page->ask.table, true, out);
}

static void write_html_rows(const struct shown_page *page, struct buf *out) {
  struct kpi_columns cols = kpi_table_columns(page->ask.table);
  auto_buf struct buf cell;
  buf_init(&cell, CELL_BYTES_MAX);
  buf_add_cstr(out, "<table><thead><tr>");
  for (size_t c = 0; c < cols.count; c++)
    buf_printf(out, "<th>%s</th>", cols.at[c].name);
  buf_add_cstr(out, "</tr></thead>\n<tbody>\n");
  for (size_t r = 0; r < page->rows.count; r++) {
    buf_add_cstr(out, "<tr>");
    for (size_t c = 0; c < cols.count; c++) {
      buf_reset(&cell);
      kpi_cell_text(&page->rows.rows[r], &cols.at[c], &cell);
      buf_add_cstr(out, "<td>");
      buf_add_html(out, buf_view(&cell));
      buf_add_cstr(out, "</td>");
    }
    buf_add_cstr(out, "</tr>\n");
  }
  buf_add_cstr(out, "</tbody></table>\n");
}

static void write_html(struct reply *rp, const struct shown_page *page, const struct run *run,
                       struct view cursor) {
  char title[64], date[DAY_TEXT_SIZE];
  snprintf(title, sizeof title, "%s %s", kpi_table_name(page->ask.table), day_text(run->date, date));
  struct buf *out = reply_html_begin(rp, 200, title);
  buf_printf(out,
             "<p>Run %s, %s. <a href=\"/runs/%s/results?format=html&amp;kpi=orders\">Order KPIs</a> &middot; "
             "<a href=\"/runs/%s/results?format=html&amp;kpi=categories\">Category KPIs</a> &middot; "
             "<a href=\"/runs/%s/quality?format=html\">Data quality</a></p>\n",
             run->id, run_state_name(run->state), run->id, run->id, run->id);
  write_html_rows(page, out);
  if (page->more)
    buf_printf(out,
               "<p><a href=\"/runs/%s/results?format=html&amp;kpi=%s&amp;limit=%zu&amp;cursor=%.*s\">Next "
               "page</a></p>\n",
               run->id, word_of(page->ask.table), page->ask.limit, (int)cursor.len, cursor.ptr);
  reply_html_end(rp);
}

/* ---- results ---- */

/* Tags the page by run, version and everything that shapes the answer. True when the client has it already.
 */
static bool tag_page(const struct request *rq, struct reply *rp, const struct run *run, enum format format) {
  char hash[SHA256_HEX_SIZE];
  auto_buf struct buf seed;
  buf_init(&seed, HTTP_TARGET_BYTES_MAX * 2);
  buf_printf(&seed, "%s %llu %s ", run->id, (unsigned long long)run->version, format_names[format]);
  buf_add(&seed, rq->path);
  buf_add(&seed, rq->query);
  crypto_sha256_hex(buf_view(&seed), hash);
  hash[ETAG_HEX_DIGITS] = '\0';
  return reply_etag(rp, rq, hash);
}

static void answer_page(struct request *rq, struct reply *rp, const struct shown_page *page,
                        const struct run *run) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX * 2);
  if (tag_page(rq, rp, run, page->format))
    return;
  if (page->more) {
    add_cursor(page, &cursor);
    reply_link_next(rp, rq, buf_view(&cursor));
  }
  switch (page->format) {
  case AS_CSV:
    write_csv(rp, page, run);
    break;
  case AS_HTML:
    write_html(rp, page, run, buf_view(&cursor));
    break;
  case AS_JSON:
  case FORMAT_COUNT:
    write_json(rp, page, buf_view(&cursor));
    break;
  }
}

/* Answers what went wrong; results that may still come carry Retry-After, others are said to be lost. */
static void answer_err(const struct request *rq, struct reply *rp, const struct run *run,
                       const struct err *err) {
  struct problem p = problem_of(err);
  if (err->code == KPI_RESULTS_NOT_READY) {
    p.is_final = run_state_is_terminal(run->state);
    p.retry_after_seconds = p.is_final ? 0 : RETRY_AFTER_SECONDS;
  }
  reply_problem(rp, rq, &p);
}

static void get_results(struct request *rq, struct reply *rp) {
  struct shown_page page = {0};
  struct run run = {0};
  struct err err;
  if (read_page_query(rq, rp, &page)) {
    if (service_get_run(rq->app, rq->params[0], &run, &err) ||
        service_results(rq->app, rq->params[0], &page.ask, &page.rows, &page.more, &err))
      answer_err(rq, rp, &run, &err);
    else
      answer_page(rq, rp, &page, &run);
  }
  run_clear(&run);
  kpi_rows_clear(&page.rows);
}

/* ---- quality ---- */

static void answer_report(struct reply *rp, const struct run *run, enum format format, struct view report) {
  if (format == AS_HTML)
    quality_page(rp, run, report);
  else
    reply_json_text(rp, 200, report);
}

static void get_quality(struct request *rq, struct reply *rp) {
  struct run run = {0};
  struct err err;
  enum format format;
  auto_buf struct buf report;
  buf_init(&report, REPORT_BYTES_MAX);
  if (!choose_format(rq, rp, &format))
    return;
  if (format == AS_CSV) {
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "The report is sent as application/json or text/html.");
    return;
  }
  if (service_get_run(rq->app, rq->params[0], &run, &err) ||
      service_quality(rq->app, rq->params[0], &report, &err))
    answer_err(rq, rp, &run, &err);
  else if (!tag_page(rq, rp, &run, format))
    answer_report(rp, &run, format, buf_view(&report));
  run_clear(&run);
}

static const char *const results_query[] = {"kpi", "limit", "cursor", "format", NULL};
static const char *const quality_query[] = {"format", NULL};

static const struct route table[] = {
    {HTTP_GET, "/runs/{id}/results", get_results, results_query, false},
    {HTTP_GET, "/runs/{id}/quality", get_quality, quality_query, false},
};

const struct route_set results_routes = {table, sizeof table / sizeof table[0]};
