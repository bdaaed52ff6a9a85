/* SPDX-License-Identifier: MIT
 * A transport that answers from a script and remembers what it was asked. */
#ifndef KPID_TESTS_FAKE_HTTP_H
#define KPID_TESTS_FAKE_HTTP_H

#include "unit.h"

#include "base/http_client.h"

#include <jansson.h>

enum { FAKE_REPLIES_MAX = 64 };

struct fake_reply {
  enum http_outcome outcome;
  long status;
  const char *head; /* lines after the status line, each with its CRLF; NULL: none */
  const char *body; /* NULL: empty */
  size_t cut;       /* the connection breaks after so many bytes of the body; 0: it does not */
};

struct fake_http {
  struct http_client base;
  const struct fake_reply *script;
  size_t script_len;
  size_t asked;        /* requests so far; beyond the script its last reply is repeated */
  struct buf requests; /* "METHOD url\nheader\n...\nbody\n\n" of each */
};

static enum http_outcome fake_call(struct http_client *c, const struct http_request *q,
                                   struct http_reply *out) {
  struct fake_http *f = (struct fake_http *)c;
  size_t i = f->asked++ < f->script_len ? f->asked - 1 : f->script_len - 1;
  const struct fake_reply *r = &f->script[i];
  buf_printf(&f->requests, "%s %s\n", q->method, q->url);
  for (size_t h = 0; h < q->header_count; h++)
    buf_printf(&f->requests, "%s\n", q->headers[h]);
  buf_add(&f->requests, q->body);
  buf_add_cstr(&f->requests, "\n\n");
  if (r->outcome != HTTP_REPLIED && !r->cut) {
    snprintf(out->problem, sizeof out->problem, "scripted");
    return r->outcome;
  }
  out->status = r->status;
  struct view body = view_of(r->body);
  buf_printf(&out->head, "HTTP/1.1 %ld X\r\n%s\r\n", r->status, r->head ? r->head : "");
  if (r->cut)
    body.len = r->cut;
  if (q->sink && r->status / 100 == 2 && body.len &&
      !q->sink(q->sink_arg, r->status, buf_view(&out->head), body))
    return HTTP_REJECTED;
  if (!q->sink || r->status / 100 != 2)
    buf_add(&out->body, body);
  return r->outcome;
}

/* The test owns the object. */
static void fake_free(struct http_client *c) {
  (void)c;
}

static const struct http_client_vtable fake_vtable = {fake_call, fake_free};

static inline void fake_http_init(struct fake_http *f, const struct fake_reply *script, size_t len) {
  *f = (struct fake_http){.base = {&fake_vtable}, .script = script, .script_len = len};
  buf_init(&f->requests, 1024 * 1024);
}

/* How often a text stands in the requests. */
static inline int fake_http_count(const struct fake_http *f, const char *text) {
  int n = 0;
  for (const char *at = f->requests.ptr; at && (at = strstr(at, text)) != NULL; at++)
    n++;
  return n;
}

/* The body of the first request. Returns owned. */
static inline json_t *fake_http_sent(const struct fake_http *f) {
  json_t *body = json_loads(strstr(f->requests.ptr, "\n{") + 1, JSON_DISABLE_EOF_CHECK, NULL);
  assert_non_null(body);
  return body;
}

#endif
