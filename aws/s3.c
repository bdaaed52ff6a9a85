/* SPDX-License-Identifier: MIT */
#include "aws/s3.h"

#include "aws/s3_xml.h"
#include "aws/uri.h"
#include "aws/xml.h"
#include "base/scope.h"

#include <stdio.h>

enum {
  LIST_TIMEOUT_MS = 30 * 1000,
  GET_TIMEOUT_MS = 300 * 1000,
  STALL_SECONDS = 15,
  PAGES_MAX = 100 * 1000,
  TOKEN_BYTES_MAX = 8 * 1024
};

void s3_path(struct view key, struct buf *out) {
  buf_add_char(out, '/');
  uri_encode(key, true, out);
}

void s3_blame(struct view bucket, struct view key, struct err *err) {
  struct err_remote remote = err->remote;
  err_set(err, err->code, "%.*s: %s", (int)key.len, key.ptr, err->message);
  err->remote = remote;
  view_to_cstr(bucket, err->remote.bucket, sizeof err->remote.bucket);
  view_to_cstr(key, err->object, sizeof err->object);
}

/* ---- listing ---- */

/* A listing that is being read. The call comes first, so that its callback finds the rest. */
struct list {
  struct aws_call call;
  struct s3_page page;
  struct buf token; /* of the page that is asked for */
  struct buf mark;  /* of an earlier page */
};

/* A page is handed on once only: what is no page is asked for again before anything of it is. */
static bool accept_page(struct aws_call *call, const struct http_reply *reply, const char **problem) {
  *problem = "the reply is no listing";
  return s3_page_check(buf_view(&reply->body), &((struct list *)call)->page);
}

static enum kpi_code list_page(struct aws *a, struct list *l, struct err *err) {
  struct http_reply reply;
  enum kpi_code rc = aws_call(a, &l->call, &reply, NULL, err);
  l->page.is_truncated = false;
  buf_reset(&l->page.next_token);
  if (rc == KPI_OK)
    rc = s3_page_read(buf_view(&reply.body), &l->page, err);
  http_reply_clear(&reply);
  return rc;
}

/* Goes on to the next page. Tokens that go in circles are found by a mark that is moved at pages 1, 2, 4, 8:
 * some time it lies in the circle, and stays there until the circle is closed. */
static enum kpi_code turn_page(struct list *l, int pages, struct err *err) {
  struct view next = buf_view(&l->page.next_token);
  if (next.len == 0 || view_eq(next, buf_view(&l->mark)) || pages > PAGES_MAX ||
      buf_failed(&l->page.next_token))
    return err_set(err, KPI_S3_UNAVAILABLE,
                   "ListObjectsV2: the listing goes on without a new continuation token");
  if ((pages & (pages - 1)) == 0) {
    buf_reset(&l->mark);
    buf_add(&l->mark, next);
  }
  buf_reset(&l->token);
  buf_add(&l->token, next);
  l->call.query[3] = (struct sigv4_pair){VIEW_LIT("continuation-token"), buf_view(&l->token)};
  l->call.query_count = 4;
  return buf_failed(&l->mark) || buf_failed(&l->token)
             ? err_set(err, KPI_OUT_OF_MEMORY, "no memory for a listing")
             : KPI_OK;
}

static enum kpi_code list_pages(struct aws *a, struct list *l, struct err *err) {
  for (int pages = 1;; pages++) {
    enum kpi_code rc = list_page(a, l, err);
    if (rc || !l->page.is_truncated)
      return rc;
    rc = turn_page(l, pages, err);
    if (rc)
      return rc;
  }
}

enum kpi_code s3_list(struct aws *a, struct view bucket, struct view prefix, const struct stop_flag *stop,
                      s3_object_fn fn, void *arg, struct err *err) {
  struct list l = {.call = {.service = AWS_S3,
                            .operation = "ListObjectsV2",
                            .method = "GET",
                            .bucket = bucket,
                            .path = VIEW_LIT("/"),
                            .query = {{VIEW_LIT("list-type"), VIEW_LIT("2")},
                                      {VIEW_LIT("encoding-type"), VIEW_LIT("url")},
                                      {VIEW_LIT("prefix"), prefix}},
                            .query_count = 3,
                            .timeout_ms = LIST_TIMEOUT_MS,
                            .stall_seconds = STALL_SECONDS,
                            .reply_max = XML_BYTES_MAX,
                            .accept = accept_page,
                            .stop = stop},
                   .page = {.fn = fn, .arg = arg}};
  struct buf *const texts[] = {&l.page.next_token, &l.token, &l.mark};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    buf_init(texts[i], TOKEN_BYTES_MAX);
  enum kpi_code rc = list_pages(a, &l, err);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    buf_clear(texts[i]);
  if (rc && !err->remote.service[0])
    aws_error_place(AWS_S3, l.call.operation, err);
  if (rc)
    view_to_cstr(bucket, err->remote.bucket, sizeof err->remote.bucket);
  return rc;
}

/* ---- reading ---- */

/* A range that is being read. The call comes first, so that its callbacks find the rest. */
struct get {
  struct aws_call call;
  const struct s3_range *range;
  s3_bytes_fn fn;
  void *arg;
  char range_text[64], expected[96];
  uint64_t got;
  bool head_checked;   /* of this attempt */
  const char *changed; /* why this is not the version that was listed */
};

/* Asks for what is still missing. */
static void prepare(struct aws_call *call) {
  struct get *g = (struct get *)call;
  uint64_t from = g->range->first + g->got, last = g->range->first + g->range->size - 1;
  snprintf(g->range_text, sizeof g->range_text, "bytes=%llu-%llu", (unsigned long long)from,
           (unsigned long long)last);
  snprintf(g->expected, sizeof g->expected, "bytes %llu-%llu/%llu", (unsigned long long)from,
           (unsigned long long)last, (unsigned long long)g->range->object_size);
  g->head_checked = false;
  call->headers[0] = (struct sigv4_pair){VIEW_LIT("range"), view_of(g->range_text)};
}

/* A reply must be what was asked for: the range, the length and the version. curl sees no truncation without
 * a Content-Length. */
static bool check_head(struct get *g, long status, struct view head) {
  uint64_t length = 0, wanted = g->range->size - g->got;
  bool whole = g->range->first + g->got == 0 && g->range->size == g->range->object_size;
  struct view etag = http_header(head, "etag");
  if (status == 206 && !view_is(http_header(head, "content-range"), g->expected))
    g->changed = "another range than asked for was sent";
  else if (status != 206 && !whole)
    g->changed = "the range was not honoured";
  else if (!view_to_u64(http_header(head, "content-length"), &length) || length != wanted)
    g->changed = "the length differs from the listing";
  else if (etag.len && !view_eq(etag, g->range->etag))
    g->changed = "the ETag differs from the listing";
  g->head_checked = true;
  return g->changed == NULL;
}

static bool on_bytes(void *arg, long status, struct view head, struct view piece) {
  struct get *g = arg;
  if (!g->head_checked && !check_head(g, status, head))
    return false;
  if (piece.len > g->range->size - g->got) {
    g->changed = "more bytes than asked for were sent";
    return false;
  }
  g->fn(g->arg, piece);
  g->got += piece.len;
  return true;
}

static bool accept(struct aws_call *call, const struct http_reply *reply, const char **problem) {
  const struct get *g = (const struct get *)call;
  (void)reply;
  *problem = "fewer bytes than asked for were sent";
  return g->got == g->range->size;
}

static enum kpi_code explain(const struct get *g, struct err *err) {
  struct err_remote remote = err->remote;
  if (g->changed || err->code == KPI_S3_OBJECT_CHANGED)
    err_set(err, KPI_S3_OBJECT_CHANGED, "the object is not the one that was listed: %s",
            g->changed ? g->changed : err->message);
  err->remote = remote;
  s3_blame(g->range->bucket, g->range->key, err);
  return err->code;
}

enum kpi_code s3_get_range(struct aws *a, const struct s3_range *range, s3_bytes_fn fn, void *arg,
                           struct err *err) {
  auto_buf struct buf path;
  struct http_reply reply;
  buf_init(&path, S3_PATH_BYTES_MAX);
  s3_path(range->key, &path);
  if (buf_failed(&path))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to read an object");
  struct get g = {.call = {.service = AWS_S3,
                           .operation = "GetObject",
                           .method = "GET",
                           .bucket = range->bucket,
                           .path = buf_view(&path),
                           .headers = {[1] = {VIEW_LIT("if-match"), range->etag}},
                           .header_count = 2,
                           .timeout_ms = GET_TIMEOUT_MS,
                           .stall_seconds = STALL_SECONDS,
                           .reply_max = S3_ERROR_BYTES_MAX,
                           .sink = on_bytes,
                           .sink_arg = &g,
                           .prepare = prepare,
                           .accept = accept,
                           .stop = range->stop},
                  .range = range,
                  .fn = fn,
                  .arg = arg};
  enum kpi_code rc = aws_call(a, &g.call, &reply, NULL, err);
  http_reply_clear(&reply);
  return rc ? explain(&g, err) : KPI_OK;
}
