/* SPDX-License-Identifier: MIT */
#include "server/handle_results.h"

#include "base/scope.h"
#include "server/cursor.h"
#include "server/format.h"
#include "server/quality_page.h"
#include "server/result_view.h"
#include "server/service.h"

#include <stdio.h>
#include <string.h>

enum {
  RETRY_AFTER_SECONDS = 2,
  CURSOR_BYTES_MAX = 256,
  CELL_BYTES_MAX = 8192,
  REPORT_BYTES_MAX = 2 * 1024 * 1024,
  ETAG_HEX_DIGITS = 32
};

/* ---- what was asked for ---- */

/* A page of results. Borrows what the query holds. */
struct page {
  struct results_ask ask;
  struct view sort;   /* as sent; empty: by date, then category */
  struct view cursor; /* as sent; empty: the first page */
  uint64_t limit;
  enum format format;
  struct result_view view; /* owned */
  size_t first, end;       /* the rows of the page */
};

static const char *word_of(enum kpi_table table) {
  return table == KPI_ORDERS ? "orders" : "categories";
}

static const char *diff_word(const struct page *page) {
  return page->ask.with_previous ? "previous" : "none";
}

/* Reads the query. False when the reply is a problem already. */
static bool read_query(struct request *rq, struct reply *rp, struct page *page) {
  struct view kpi = VIEW_LIT("orders"), diff = VIEW_LIT("none");
  struct err err;
  request_arg(rq, "kpi", &kpi);
  page->ask.with_previous = request_arg(rq, "diff", &diff);
  page->ask.table = view_is(kpi, word_of(KPI_CATEGORIES)) ? KPI_CATEGORIES : KPI_ORDERS;
  page->limit = RUN_PAGE_DEFAULT;
  request_arg(rq, "sort", &page->sort);
  request_arg(rq, "cursor", &page->cursor);
  if (!view_is(kpi, word_of(page->ask.table)))
    reply_error(rp, rq, KPI_MALFORMED_QUERY, "'kpi' may be orders or categories.");
  else if (!view_is(diff, diff_word(page)))
    reply_error(rp, rq, KPI_MALFORMED_QUERY, "'diff' may be previous.");
  else if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &page->limit, &err))
    reply_err(rp, rq, &err);
  else
    return format_choose(rq, rp, true, true, &page->format);
  return false;
}

/* ---- order and place ---- */

/* A cursor names the row before it and the order in which that row has this place: what is asked with it must
 * be the same. Short whatever the row holds. */
static void add_order(const struct page *page, struct buf *out) {
  buf_printf(out, "%s %s %.*s ", word_of(page->ask.table), diff_word(page), (int)page->sort.len,
             page->sort.len ? page->sort.ptr : "");
}

static void add_cursor(const struct page *page, struct buf *out) {
  char place[RESULT_PLACE_SIZE];
  auto_buf struct buf plain;
  buf_init(&plain, CURSOR_BYTES_MAX);
  add_order(page, &plain);
  result_view_place(&page->view, page->end - 1, place);
  buf_add_cstr(&plain, place);
  cursor_encode(buf_view(&plain), out);
}

/* Sets page->first from the cursor. Notes what is wrong with it. */
static void find_place(struct page *page, struct problem *p) {
  auto_buf struct buf plain, order;
  buf_init(&plain, CURSOR_BYTES_MAX);
  buf_init(&order, CURSOR_BYTES_MAX);
  size_t before;
  if (!cursor_decode(page->cursor, &plain) || plain.len < RESULT_PLACE_SIZE) {
    cursor_refuse(p);
    return;
  }
  struct view text = buf_view(&plain);
  struct view place = {text.ptr + text.len - (RESULT_PLACE_SIZE - 1), RESULT_PLACE_SIZE - 1};
  text.len -= place.len;
  add_order(page, &order);
  if (!view_eq(text, buf_view(&order)))
    problem_add(p, "cursor", "Must be next_cursor of an earlier page with the same kpi, sort and diff.");
  else if (!result_view_find(&page->view, place, &before))
    problem_add(p, "cursor", "The rows have changed since it was made: start again without it.");
  else
    page->first = before + 1;
}

static void sort_rows(struct page *page, struct problem *p) {
  struct view name = page->sort;
  bool descending = view_starts(name, "-");
  name = (struct view){name.ptr + descending, name.len - descending};
  const struct result_column *col = result_view_column(&page->view, name);
  if (col)
    result_view_sort(&page->view, col, descending);
  else
    problem_add(p, "sort", "Must be a column of this table, or - and a column for the largest first.");
}

/* Finds the rows of the page. False when the reply is a problem already. */
static bool place_page(struct request *rq, struct reply *rp, struct page *page,
                       const struct results *results) {
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct view ignored;
  if (!result_view_init(&page->view, page->ask.table, &results->rows,
                        page->ask.with_previous ? &results->previous : NULL)) {
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "Memory is exhausted.");
    return false;
  }
  if (request_arg(rq, "sort", &ignored))
    sort_rows(page, &p);
  if (p.error_count == 0 && request_arg(rq, "cursor", &ignored))
    find_place(page, &p);
  size_t left = page->view.count - page->first;
  page->end = page->first + (left < page->limit ? left : page->limit);
  if (p.error_count)
    reply_problem(rp, rq, &p);
  return p.error_count == 0;
}

/* ---- formats ---- */

static void write_json(struct reply *rp, const struct page *page, const struct results *results,
                       struct view cursor) {
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "columns");
  for (size_t i = 0; i < page->view.column_count; i++)
    format_json_column(&j, page->view.columns[i].name, result_column_type(&page->view.columns[i]));
  jout_array_end(&j);
  jout_array(&j, "rows");
  for (size_t i = page->first; i < page->end; i++) {
    auto_buf struct buf row;
    buf_init(&row, CELL_BYTES_MAX * 8);
    result_row_json(&page->view, i, &row);
    buf_add_char(&row, '\0');
    jout_raw(&j, NULL, buf_failed(&row) ? NULL : row.ptr);
  }
  jout_array_end(&j);
  if (page->ask.with_previous)
    jout_string(&j, "previous_run_id", results->previous_id[0] ? results->previous_id : NULL);
  cursor_write(&j, cursor);
  jout_object_end(&j);
  reply_json_end(&j);
}

static void write_csv(struct reply *rp, const struct page *page, const struct run *run) {
  char date[DAY_TEXT_SIZE];
  struct buf *out = reply_begin(rp, 200, "text/csv; charset=utf-8; header=present");
  reply_header(rp, "Content-Disposition", "attachment; filename=\"%s-%s.csv\"",
               kpi_table_name(page->ask.table), day_text(run->date, date));
  result_view_csv_header(&page->view, out);
  for (size_t i = page->first; i < page->end; i++)
    result_row_csv(&page->view, i, out);
}

static void write_html_rows(const struct page *page, struct buf *out) {
  const struct result_view *v = &page->view;
  auto_buf struct buf cell;
  buf_init(&cell, CELL_BYTES_MAX);
  buf_add_cstr(out, "<table><thead><tr>");
  for (size_t c = 0; c < v->column_count; c++)
    buf_printf(out, "<th>%s</th>", v->columns[c].name);
  buf_add_cstr(out, "</tr></thead>\n<tbody>\n");
  for (size_t r = page->first; r < page->end; r++) {
    buf_add_cstr(out, "<tr>");
    for (size_t c = 0; c < v->column_count; c++) {
      buf_reset(&cell);
      result_cell_text(&v->rows[r], &v->columns[c], &cell);
      buf_add_cstr(out, "<td>");
      buf_add_html(out, buf_view(&cell));
      buf_add_cstr(out, "</td>");
    }
    buf_add_cstr(out, "</tr>\n");
  }
  buf_add_cstr(out, "</tbody></table>\n");
}

/* The page that follows is the one that the Link header names. */
static void write_html_next(const struct reply *rp, struct buf *out) {
  struct view link = view_of(reply_header_value(rp, "Link"));
  if (link.len == 0)
    return;
  view_split(&link, '<');
  buf_add_cstr(out, "<p><a href=\"");
  buf_add_html(out, view_split(&link, '>'));
  buf_add_cstr(out, "\">Next page</a></p>\n");
}

static void write_html(struct reply *rp, const struct page *page, const struct results *results,
                       const struct run *run) {
  char title[64], date[DAY_TEXT_SIZE];
  const char *word = word_of(page->ask.table);
  snprintf(title, sizeof title, "%s %s", kpi_table_name(page->ask.table), day_text(run->date, date));
  struct buf *out = reply_html_begin(rp, 200, title);
  buf_printf(out,
             "<p>Run %s, %s. <a href=\"/runs/%s/results?format=html&amp;kpi=orders\">Order KPIs</a> &middot; "
             "<a href=\"/runs/%s/results?format=html&amp;kpi=categories\">Category KPIs</a> &middot; "
             "<a href=\"/runs/%s/results?format=html&amp;kpi=%s&amp;diff=previous\">What has changed</a> "
             "&middot; <a href=\"/runs/%s/quality?format=html\">Data quality</a></p>\n",
             run->id, run_state_name(run->state), run->id, run->id, run->id, word, run->id);
  if (page->ask.with_previous && results->previous_id[0])
    buf_printf(out, "<p>Compared with run %s.</p>\n", results->previous_id);
  else if (page->ask.with_previous)
    buf_add_cstr(out, "<p>There is no earlier run to compare with.</p>\n");
  write_html_rows(page, out);
  write_html_next(rp, out);
  reply_html_end(rp);
}

/* ---- results ---- */

/* Tags an answer by run, version, the run it is compared with, and everything that shapes it. True when the
 * client has it already. */
static bool tag_answer(const struct request *rq, struct reply *rp, const struct run *run,
                       const char *previous_id, enum format format) {
  char hash[SHA256_HEX_SIZE];
  auto_buf struct buf seed;
  buf_init(&seed, HTTP_TARGET_BYTES_MAX * 2);
  buf_printf(&seed, "%s %llu %s %s ", run->id, (unsigned long long)run->version, previous_id,
             format_name(format));
  buf_add(&seed, rq->path);
  buf_add(&seed, rq->query);
  crypto_sha256_hex(buf_view(&seed), hash);
  hash[ETAG_HEX_DIGITS] = '\0';
  return reply_etag(rp, rq, hash);
}

static void answer_page(struct request *rq, struct reply *rp, struct page *page,
                        const struct results *results, const struct run *run) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX * 2);
  if (!place_page(rq, rp, page, results) || tag_answer(rq, rp, run, results->previous_id, page->format))
    return;
  if (page->end < page->view.count) {
    add_cursor(page, &cursor);
    reply_link_next(rp, rq, buf_view(&cursor));
  }
  switch (page->format) {
  case AS_CSV:
    write_csv(rp, page, run);
    break;
  case AS_HTML:
    write_html(rp, page, results, run);
    break;
  case AS_JSON:
  case FORMAT_COUNT:
    write_json(rp, page, results, buf_view(&cursor));
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
  struct page page = {0};
  struct results results = {0};
  struct run run = {0};
  struct err err;
  if (!read_query(rq, rp, &page))
    return;
  if (service_get_run(rq->app, rq->params[0], &run, &err) ||
      service_results(rq->app, rq->params[0], &page.ask, &results, &err))
    answer_err(rq, rp, &run, &err);
  else
    answer_page(rq, rp, &page, &results, &run);
  run_clear(&run);
  result_view_clear(&page.view);
  results_clear(&results);
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
  if (!format_choose(rq, rp, false, true, &format))
    return;
  if (service_get_run(rq->app, rq->params[0], &run, &err) ||
      service_quality(rq->app, rq->params[0], &report, &err))
    answer_err(rq, rp, &run, &err);
  else if (!tag_answer(rq, rp, &run, "", format))
    answer_report(rp, &run, format, buf_view(&report));
  run_clear(&run);
}

static const char *const results_query[] = {"kpi", "sort", "diff", "limit", "cursor", "format", NULL};
static const char *const quality_query[] = {"format", NULL};

static const struct route table[] = {
    {HTTP_GET, "/runs/{id}/results", get_results, results_query, false},
    {HTTP_GET, "/runs/{id}/quality", get_quality, quality_query, false},
};

const struct route_set results_routes = {table, sizeof table / sizeof table[0]};
