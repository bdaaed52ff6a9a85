/* SPDX-License-Identifier: MIT */
#include "server/reply.h"

#include "base/scope.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one style sheet of server-rendered pages; style-src names its SHA-256 (a test compares them). */
#define PAGE_STYLE                                                                                           \
  "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b}"   \
  "table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;padding:.3rem .7rem}"            \
  "th{background:#f3f3f3;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"           \
  "code{background:#f3f3f3;padding:0 .2rem}.bad{color:#a11}.ok{color:#161}"
#define PAGE_STYLE_SHA256 "tyiYGUjng+zKyln8aCrsMHtQNdUBcv+tWvuf063CCCE="

static const char page_policy[] = "default-src 'none'; style-src 'sha256-" PAGE_STYLE_SHA256
                                  "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

void reply_init(struct reply *rp) {
  *rp = (struct reply){.kind = REPLY_NONE};
  buf_init(&rp->body, HTTP_REPLY_BYTES_MAX);
}

void reply_clear(struct reply *rp) {
  if (!rp)
    return;
  for (size_t i = 0; i < rp->header_count; i++)
    free(rp->headers[i].value);
  buf_clear(&rp->body);
  reply_init(rp);
}

void reply_reset(struct reply *rp) {
  reply_clear(rp);
}

bool reply_is_whole(const struct reply *rp) {
  return (rp->kind == REPLY_READY || rp->kind == REPLY_STREAM) && !rp->failed && !buf_failed(&rp->body);
}

struct view reply_body(const struct reply *rp) {
  return rp->fixed_body.ptr ? rp->fixed_body : buf_view(&rp->body);
}

void reply_header(struct reply *rp, const char *name, const char *fmt, ...) {
  struct buf value;
  buf_init(&value, HTTP_CONNECTION_MEMORY_BYTES);
  va_list ap;
  va_start(ap, fmt);
  buf_vprintf(&value, fmt, ap);
  va_end(ap);
  char *text = buf_take(&value);
  if (!text || rp->header_count == REPLY_HEADERS_MAX) {
    free(text);
    rp->failed = true;
    return;
  }
  rp->headers[rp->header_count++] = (struct reply_header){name, text};
}

const char *reply_header_value(const struct reply *rp, const char *name) {
  for (size_t i = 0; i < rp->header_count; i++)
    if (view_eq_fold(view_of(rp->headers[i].name), view_of(name)))
      return rp->headers[i].value;
  return NULL;
}

struct buf *reply_begin(struct reply *rp, unsigned status, const char *content_type) {
  rp->kind = REPLY_READY;
  rp->status = status;
  rp->content_type = content_type;
  return &rp->body;
}

void reply_empty(struct reply *rp, unsigned status) {
  reply_begin(rp, status, NULL);
}

void reply_text(struct reply *rp, unsigned status, struct view text) {
  buf_add(reply_begin(rp, status, "text/plain; charset=utf-8"), text);
}

void reply_json_text(struct reply *rp, unsigned status, struct view text) {
  buf_add(reply_begin(rp, status, "application/json"), text);
}

void reply_fixed(struct reply *rp, unsigned status, const char *content_type, struct view bytes) {
  reply_begin(rp, status, content_type);
  rp->fixed_body = bytes;
}

struct buf *reply_html_begin(struct reply *rp, unsigned status, const char *title) {
  struct buf *page = reply_begin(rp, status, "text/html; charset=utf-8");
  reply_header(rp, "Content-Security-Policy", "%s", page_policy);
  reply_header(rp, "Referrer-Policy", "no-referrer");
  buf_add_cstr(page, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
  buf_add_html(page, view_of(title));
  buf_add_cstr(page, "</title><style>" PAGE_STYLE "</style></head>\n<body><main><h1>");
  buf_add_html(page, view_of(title));
  buf_add_cstr(page, "</h1>\n");
  return page;
}

void reply_html_end(struct reply *rp) {
  buf_add_cstr(&rp->body, "</main></body></html>\n");
}

bool reply_etag(struct reply *rp, const struct request *rq, const char *etag) {
  reply_header(rp, "ETag", "\"%s\"", etag);
  reply_header(rp, "Cache-Control", "no-cache");
  if (!request_etag_matches(rq, etag))
    return false;
  reply_empty(rp, 304);
  return true;
}

/* What may stand in a query value as it is: RFC 3986 `query` without what separates or escapes. */
static bool is_plain_in_query(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && strchr("-._~!$'()*,;:@/?", c) != NULL);
}

static void add_escaped(struct buf *out, struct view text) {
  for (size_t i = 0; i < text.len; i++)
    if (is_plain_in_query(text.ptr[i]))
      buf_add_char(out, text.ptr[i]);
    else
      buf_printf(out, "%%%02X", (unsigned char)text.ptr[i]);
}

/* From the decoded parameters: a name may be written in more than one way. */
void reply_link_next(struct reply *rp, const struct request *rq, struct view cursor) {
  auto_buf struct buf query;
  buf_init(&query, HTTP_TARGET_BYTES_MAX * 4);
  for (size_t i = 0; i < rq->arg_count; i++) {
    if (view_is(rq->args[i].name, "cursor"))
      continue;
    add_escaped(&query, rq->args[i].name);
    buf_add_char(&query, '=');
    add_escaped(&query, rq->args[i].value);
    buf_add_char(&query, '&');
  }
  buf_add_cstr(&query, "cursor=");
  buf_add(&query, cursor);
  if (!buf_failed(&query))
    reply_header(rp, "Link", "<%.*s?%s>; rel=\"next\"", (int)rq->path.len, rq->path.ptr, query.ptr);
}

void reply_wait(struct reply *rp, const char *topic, int64_t until_mono_ms) {
  reply_reset(rp);
  rp->kind = REPLY_WAIT;
  rp->wait_until_ms = until_mono_ms;
  snprintf(rp->topic, sizeof rp->topic, "%s", topic);
}

void reply_stream(struct reply *rp, const char *content_type, stream_next_fn next) {
  reply_begin(rp, 200, content_type);
  rp->kind = REPLY_STREAM;
  rp->next = next;
}

/* --- problem documents ------------------------------------------------------------------------------- */

struct problem problem_of(const struct err *err) {
  struct problem p = {.code = err->code};
  view_to_cstr(view_of(err->message), p.detail, sizeof p.detail);
  return p;
}

void problem_add(struct problem *p, const char *pointer, const char *fmt, ...) {
  if (p->error_count < PROBLEM_ERRORS_MAX) {
    struct problem_error *e = &p->errors[p->error_count];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, ap);
    va_end(ap);
    snprintf(e->pointer, sizeof e->pointer, "%s", pointer);
  }
  p->error_count++;
}

/* Seconds a client should wait before it tries again; 0 when trying again is no use. */
static unsigned default_retry_after(unsigned status) {
  return status == 429 || status == 503 ? 5 : 0;
}

/* Request errors are the codes from malformed-json to storage-unavailable; the others are told as one of
 * these. */
static enum kpi_code public_code(enum kpi_code code) {
  if (code >= KPI_MALFORMED_JSON && code <= KPI_STORAGE_UNAVAILABLE)
    return code;
  return code == KPI_DISK_FULL ? KPI_STORAGE_UNAVAILABLE : KPI_INTERNAL_ERROR;
}

static void write_errors(struct json_out *j, const struct problem *p) {
  size_t shown = p->error_count < PROBLEM_ERRORS_MAX ? p->error_count : PROBLEM_ERRORS_MAX;
  if (shown == 0)
    return;
  jout_array(j, "errors");
  for (size_t i = 0; i < shown; i++) {
    jout_object(j, NULL);
    jout_string(j, "pointer", p->errors[i].pointer);
    jout_string(j, "detail", p->errors[i].detail);
    jout_object_end(j);
  }
  jout_array_end(j);
}

void reply_problem(struct reply *rp, const struct request *rq, const struct problem *p) {
  enum kpi_code code = public_code(p->code);
  const struct err_info *info = err_info(code);
  unsigned status = p->status ? p->status : info->http_status;
  unsigned retry_after = p->retry_after_seconds ? p->retry_after_seconds : default_retry_after(status);
  char type[96];
  snprintf(type, sizeof type, "/problems/%s", info->name);
  reply_reset(rp);
  if (retry_after)
    reply_header(rp, "Retry-After", "%u", retry_after);
  struct json_out j = {.to = reply_begin(rp, status, "application/problem+json")};
  jout_object(&j, NULL);
  jout_string(&j, "type", type);
  jout_string(&j, "title", info->title);
  jout_uint(&j, "status", status);
  jout_string(&j, "detail", p->detail[0] ? p->detail : info->hint);
  if (p->hint)
    jout_string(&j, "hint", p->hint);
  if (rq->path.len)
    jout_text(&j, "instance", rq->path);
  jout_string(&j, "code", info->name);
  jout_string(&j, "request_id", rq->id);
  write_errors(&j, p);
  if (p->run_id[0])
    jout_string(&j, "run_id", p->run_id);
  jout_bool(&j, "retryable", info->retryable && !p->is_final);
  jout_object_end(&j);
  reply_json_end(&j);
}

void reply_error(struct reply *rp, const struct request *rq, enum kpi_code code, const char *fmt, ...) {
  struct problem p = {.code = code};
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(p.detail, sizeof p.detail, fmt, ap);
  va_end(ap);
  reply_problem(rp, rq, &p);
}

void reply_err(struct reply *rp, const struct request *rq, const struct err *err) {
  struct problem p = problem_of(err);
  reply_problem(rp, rq, &p);
}

/* --- JSON -------------------------------------------------------------------------------------------- */

struct json_out reply_json_begin(struct reply *rp, unsigned status) {
  return (struct json_out){.to = reply_begin(rp, status, "application/json")};
}

void reply_json_end(struct json_out *j) {
  buf_add_char(j->to, '\n');
}

static void next_value(struct json_out *j, const char *key) {
  if (j->comma)
    buf_add_char(j->to, ',');
  j->comma = true;
  if (!key)
    return;
  buf_add_char(j->to, '"');
  buf_add_cstr(j->to, key);
  buf_add_cstr(j->to, "\":");
}

static void open_level(struct json_out *j, const char *key, char bracket) {
  next_value(j, key);
  buf_add_char(j->to, bracket);
  j->comma = false;
}

static void close_level(struct json_out *j, char bracket) {
  buf_add_char(j->to, bracket);
  j->comma = true;
}

void jout_object(struct json_out *j, const char *key) {
  open_level(j, key, '{');
}

void jout_object_end(struct json_out *j) {
  close_level(j, '}');
}

void jout_array(struct json_out *j, const char *key) {
  open_level(j, key, '[');
}

void jout_array_end(struct json_out *j) {
  close_level(j, ']');
}

void jout_text(struct json_out *j, const char *key, struct view value) {
  next_value(j, key);
  buf_add_char(j->to, '"');
  buf_add_json(j->to, value);
  buf_add_char(j->to, '"');
}

void jout_raw(struct json_out *j, const char *key, const char *text) {
  next_value(j, key);
  buf_add_cstr(j->to, text ? text : "null");
}

void jout_null(struct json_out *j, const char *key) {
  jout_raw(j, key, NULL);
}

void jout_string(struct json_out *j, const char *key, const char *value) {
  if (value)
    jout_text(j, key, view_of(value));
  else
    jout_null(j, key);
}

void jout_uint(struct json_out *j, const char *key, uint64_t value) {
  next_value(j, key);
  buf_printf(j->to, "%" PRIu64, value);
}

void jout_bool(struct json_out *j, const char *key, bool value) {
  jout_raw(j, key, value ? "true" : "false");
}

void jout_time(struct json_out *j, const char *key, int64_t wall_ms) {
  char text[CLOCK_RFC3339_SIZE];
  jout_string(j, key, wall_ms ? clock_rfc3339(wall_ms, text) : NULL);
}
