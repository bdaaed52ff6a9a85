/* SPDX-License-Identifier: MIT
 * The gate: what a request head must look like before anything else happens, and every limit of the HTTP
 * front in one place. libmicrohttpd 0.9.75 lets request smuggling through; what the gate refuses is answered
 * once and its connection closed. Pure functions over views: must not know the HTTP library, routes or
 * handlers. */
#ifndef KPID_SERVER_HTTP_GATE_H
#define KPID_SERVER_HTTP_GATE_H

#include "base/err.h"
#include "base/view.h"

/* Limits of the HTTP front. Sizes in bytes, times in milliseconds or seconds as named. */
enum http_limit {
  HTTP_CONNECTIONS_MAX = 1024,      /* of the API listener, over all its threads */
  HTTP_HEALTH_CONNECTIONS_MAX = 64, /* of the health listener */
  HTTP_CONNECTION_MEMORY_BYTES = 16 * 1024 /* request head and reply head of one connection */,
  HTTP_HEADERS_MAX = 64,
  HTTP_TARGET_BYTES_MAX = 2048, /* path and query as sent */
  HTTP_METHOD_BYTES_MAX = 16,
  HTTP_HOST_BYTES_MAX = 255,
  HTTP_QUERY_ARGS_MAX = 32,
  HTTP_BODY_BYTES_MAX = 64 * 1024,
  HTTP_BODY_DISCARD_BYTES_MAX = 1024 * 1024, /* a longer body is not even read to answer 413 politely */
  HTTP_REPLY_BYTES_MAX = 32 * 1024 * 1024,
  HTTP_REQUEST_ID_BYTES_MAX = 128,
  HTTP_JSON_DEPTH_MAX = 8,
  HTTP_WATCHERS_MAX = 512,                  /* suspended long polls, and streams */
  HTTP_STREAM_PIECE_BYTES_MAX = 256 * 1024, /* what is held of a stream until its client has taken it */
  HTTP_WAIT_SECONDS_MAX = 50 /* longest long poll */,
  HTTP_HEAD_TIMEOUT_MS = 10 * 1000,    /* from the first byte of a request to the end of its head */
  HTTP_REQUEST_TIMEOUT_MS = 30 * 1000, /* whole request and reply, time spent suspended not counted */
  HTTP_KEEPALIVE_SECONDS = 75,         /* idle between requests; load balancers idle at 60 */
  HTTP_THREADS_DEFAULT = 32, /* a commit is shared by those that wait for it, which is half of them */
  HTTP_SPARE_FILES = 256,    /* descriptors kept for database, inputs and logs */
  HTTP_LIBRARY_LOG_LINES_PER_SECOND = 5
};

/* One header field; the value without leading blanks. */
struct http_field {
  struct view name, value;
};

/* A request head as received. Borrows everything. */
struct http_head {
  struct view method;
  struct view target; /* path and query as sent, nothing decoded */
  struct view version;
  const struct http_field *fields;
  size_t field_count;
  /* When true, all views point into one receive buffer whose line ends were overwritten by two NULs and whose
   * head has `size` bytes: then the distance between neighbours shows a bare LF, an embedded NUL or a folded
   * line, which the parser hides. */
  bool in_one_buffer;
  const char *target_at; /* where the target stands in that buffer, if the view shows a copy */
  size_t size;
};

/* Checks a request head whole. On KPI_OK *body_size is the declared length of the body (0 if none).
 * Otherwise err names the fault and the connection must be closed after the reply. Errors:
 * KPI_MALFORMED_HEADER, KPI_URI_TOO_LONG, KPI_HEADERS_TOO_LARGE, KPI_LENGTH_REQUIRED (Transfer-Encoding),
 * KPI_EXPECTATION_FAILED. The size of the body is not judged. Any thread; allocates nothing. */
KPI_MUST_CHECK enum kpi_code http_gate_check(const struct http_head *head, uint64_t *body_size,
                                             struct err *err);

/* True for 1-128 bytes of [A-Za-z0-9._-]: a request id that may be echoed and logged. */
bool http_gate_request_id_ok(struct view id);

#endif
