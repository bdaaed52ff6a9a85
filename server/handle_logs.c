/* SPDX-License-Identifier: MIT */
#include "server/handle_logs.h"

#include "base/scope.h"
#include "server/service.h"
#include "server/watch.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Reads the query. False when the reply is a problem already. */
static bool read_filter(struct request *rq, struct reply *rp, struct run_log_filter *f) {
  struct view text;
  struct err err;
  char level[8] = "debug";
  uint64_t limit = RUN_LOG_LINES_MAX;
  *f = (struct run_log_filter){.has_attempt = request_arg(rq, "attempt", &text)};
  if (request_arg_u64(rq, "after", 0, INT64_MAX, &f->after, &err) ||
      request_arg_u64(rq, "attempt", 0, UINT32_MAX, &f->attempt, &err) ||
      request_arg_u64(rq, "limit", 1, RUN_LOG_LINES_MAX, &limit, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  f->limit = limit;
  bool known = !request_arg(rq, "level", &text) || view_to_cstr(text, level, sizeof level);
  if (known && log_level_of(level, &f->level))
    return true;
  reply_error(rp, rq, KPI_MALFORMED_QUERY, "'level' may be debug, info, warn or error.");
  return false;
}

/* ---- NDJSON ---- */

static void add_gap_json(uint64_t lines, struct buf *out) {
  buf_printf(
      out,
      "{\"level\":\"info\",\"event\":\"log.left_out\",\"msg\":\"lines were left out\",\"lines\":%" PRIu64
      "}\n",
      lines);
}

/* The stored object, with its number in front. */
static void add_json(const struct run_log_row *row, struct buf *out) {
  buf_printf(out, "{\"seq\":%" PRIu64 ",", row->seq);
  buf_add_cstr(out, row->json + 1);
  buf_add_char(out, '\n');
}

/* ---- text ---- */

static void add_gap_text(uint64_t lines, struct buf *out) {
  buf_printf(out, "... %" PRIu64 " lines were left out\n", lines);
}

/* A value that would be taken for several words stands in quotes. */
static void add_value(const json_t *value, struct buf *out) {
  const char *text = json_string_value(value);
  if (!text)
    buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  else if (*text && !strpbrk(text, " \"=\\\n\r\t"))
    buf_add_cstr(out, text);
  else {
    buf_add_char(out, '"');
    buf_add_json(out, view_of(text));
    buf_add_char(out, '"');
  }
}

static const char *member(const json_t *line, const char *name) {
  const char *text = json_string_value(json_object_get(line, name));
  return text ? text : "-";
}

/* ts LEVEL event: message key=value ...; the run is known. */
static void add_text(const struct run_log_row *row, struct buf *out) {
  static const char *const shown[] = {"ts", "level", "event", "msg", "run_id"};
  const char *key;
  json_t *value;
  json_error_t fault;
  json_t *line = json_loads(row->json, 0, &fault);
  buf_printf(out, "%s %-5s %s: ", member(line, "ts"), member(line, "level"), member(line, "event"));
  buf_add_json(out, view_of(member(line, "msg")));
  json_object_foreach(line, key, value) {
    bool is_shown = false;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
      is_shown |= strcmp(key, shown[i]) == 0;
    if (is_shown)
      continue;
    buf_printf(out, " %s=", key);
    add_value(value, out);
  }
  buf_add_char(out, '\n');
  json_decref(line);
}

/* ---- page ---- */

static void link_next(struct request *rq, struct reply *rp, const struct run_log_filter *f, uint64_t after) {
  char attempt[32] = "";
  if (f->has_attempt)
    snprintf(attempt, sizeof attempt, "&attempt=%" PRIu64, f->attempt);
  reply_header(rp, "Link", "<%.*s?after=%" PRIu64 "&limit=%zu&level=%s%s>; rel=\"next\"", (int)rq->path.len,
               rq->path.ptr, after, f->limit, log_level_name(f->level), attempt);
}

/* Only who sees all lines is told of a gap. */
static void write_page(struct request *rq, struct reply *rp, const struct run_log_filter *f,
                       const struct run_log_page *page, bool as_text) {
  bool shows_gaps = f->level <= LOG_INFO && !f->has_attempt;
  if (page->more)
    link_next(rq, rp, f, page->rows[page->count - 1].seq);
  struct buf *out = reply_begin(rp, 200, as_text ? "text/plain; charset=utf-8" : "application/x-ndjson");
  for (size_t i = 0; i < page->count; i++) {
    const struct run_log_row *row = &page->rows[i];
    if (row->left_out && shows_gaps)
      (as_text ? add_gap_text : add_gap_json)(row->left_out, out);
    (as_text ? add_text : add_json)(row, out);
  }
}

static void get_logs(struct request *rq, struct reply *rp) {
  static const char *const offers[] = {"application/x-ndjson", "text/plain", NULL};
  struct run_log_filter filter;
  struct run_log_page page = {0};
  struct run run = {0};
  struct err err;
  int offer = request_negotiate(rq, offers);
  reply_header(rp, "Vary", "Accept");
  if (offer < 0)
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "Logs are sent as application/x-ndjson or text/plain.");
  else if (read_filter(rq, rp, &filter)) {
    if (service_get_run(rq->app, rq->params[0], &run, &err) ||
        watch_log(service_watch(rq->app), rq->params[0], &filter, &page, &err))
      reply_err(rp, rq, &err);
    else
      write_page(rq, rp, &filter, &page, offer == 1);
  }
  run_clear(&run);
  run_log_page_clear(&page);
}

static const char *const query[] = {"after", "level", "attempt", "limit", NULL};

static const struct route table[] = {
    {HTTP_GET, "/runs/{id}/logs", get_logs, query, false},
};

const struct route_set logs_routes = {table, sizeof table / sizeof table[0]};
