/* SPDX-License-Identifier: MIT
 * A request as handlers see it: checked, decoded, with a body already read. Holds views into memory that
 * lives until the reply is sent. Must not know the HTTP library. */
#ifndef KPID_SERVER_REQUEST_H
#define KPID_SERVER_REQUEST_H

#include "base/err.h"
#include "base/view.h"
#include "server/http_gate.h"

enum http_method { HTTP_OTHER = 0, HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_OPTIONS = 8 };

enum { REQUEST_PARAMS_MAX = 2 };

/* One decoded query parameter. */
struct request_arg {
  struct view name, value;
};

struct route;

/* Filled by http_server and router; handlers read it and may set keep and keep_free. */
struct request {
  enum http_method method; /* HEAD stays HTTP_HEAD, the handler of GET answers it */
  struct view path;        /* without the query; no escapes, visible ASCII */
  struct view query;       /* as sent, without '?' */
  const struct route *route;
  struct view params[REQUEST_PARAMS_MAX]; /* what {name} in the pattern stands for, in order */
  struct request_arg args[HTTP_QUERY_ARGS_MAX];
  size_t arg_count;
  bool query_parsed;
  char *args_text; /* owned: what args points to */
  struct http_field fields[HTTP_HEADERS_MAX];
  size_t field_count;
  struct view body;
  char id[HTTP_REQUEST_ID_BYTES_MAX + 1]; /* request id: the client's, or a new UUID */
  char principal[65];                     /* name of the key that was sent; empty: none was needed */
  char trace_id[33];                      /* of traceparent (W3C); empty: none was sent */
  int64_t received_ms;                    /* monotonic: when its first line was read */
  void *app;                              /* what http_server_start was given */
  /* A handler that answered "wait" is called again, with the same request: */
  unsigned wait_count; /* how often it was called before */
  bool wait_over;      /* its deadline has passed, or the service drains: answer now, whatever it is */
  void *keep;          /* the handler's own memory between those calls */
  void (*keep_free)(void *);
};

/* Releases what the request owns (decoded query, keep). Accepts NULL. */
void request_clear(struct request *rq);

/* Returns the method of a name, HTTP_OTHER for one that no route takes. Names are case-sensitive. */
enum http_method request_method_of(struct view name);

/* Returns the name of a method, "other" for HTTP_OTHER; static. */
const char *request_method_name(enum http_method method);

/* Splits a target that passed the gate into rq->path and rq->query. Borrows target. */
void request_set_target(struct request *rq, struct view target);

/* Takes X-Request-Id over if it is acceptable, makes a UUIDv7 otherwise. */
void request_set_id(struct request *rq);

/* Takes the trace id out of a well-formed traceparent header. */
void request_set_trace(struct request *rq);

/* Decodes the query into rq->args, once. `known` is a NULL-terminated list of parameter names, NULL for none;
 * a name that ends in '*' (which is no part of it) may be sent more than once: request_arg finds the first.
 * Errors: KPI_MALFORMED_QUERY for a bad escape, NUL or other control byte, invalid UTF-8, an empty, unknown
 * or doubled name, more than HTTP_QUERY_ARGS_MAX parameters; KPI_INTERNAL_ERROR without memory. */
KPI_MUST_CHECK enum kpi_code request_parse_query(struct request *rq, const char *const *known,
                                                 struct err *err);

/* Decodes percent escapes and '+' of a form or query into *out, which moves behind the result. False for a
 * bad escape, control bytes or ill-formed UTF-8. *out has room for text.len bytes. */
bool request_decode(struct view text, char **out, struct view *decoded);

/* Finds a decoded query parameter. False when it was not sent. */
bool request_arg(const struct request *rq, const char *name, struct view *value);

/* Finds the first header of that name, blanks trimmed. False when there is none. */
bool request_header(const struct request *rq, const char *name, struct view *value);

/* Reads a query parameter as a whole number of min..max into *out, which keeps its value when the parameter
 * was not sent. Errors: KPI_MALFORMED_QUERY naming parameter and range. */
KPI_MUST_CHECK enum kpi_code request_arg_u64(const struct request *rq, const char *name, uint64_t min,
                                             uint64_t max, uint64_t *out, struct err *err);

/* How long the client is ready to wait, in seconds, clamped to 0..HTTP_WAIT_SECONDS_MAX: query parameter
 * `wait`, else `Prefer: wait=N` (RFC 7240; *preferred tells that this applied). 0 when neither was sent.
 * Errors: KPI_MALFORMED_QUERY when the parameter is no whole number; a malformed preference is ignored, as
 * the RFC asks. */
KPI_MUST_CHECK enum kpi_code request_wait_seconds(const struct request *rq, unsigned *seconds,
                                                  bool *preferred, struct err *err);

/* Picks the type to answer with: `offers` is a NULL-terminated list like "application/json", best first.
 * Accept is read with q-values and wildcards, parameters of media ranges are ignored. Returns the index, -1
 * when none is acceptable. Without a usable Accept header the first offer wins. */
int request_negotiate(const struct request *rq, const char *const *offers);

/* True when If-None-Match names the entity tag (given without quotes) or is '*'. Weak comparison. */
bool request_etag_matches(const struct request *rq, const char *etag);

#endif
