/* SPDX-License-Identifier: MIT
 * HTTP requests: a transport interface, and its one real implementation on a curl multi loop in a thread of
 * its own. The only user of curl. Knows neither signatures nor services, and retries nothing. */
#ifndef KPID_BASE_HTTP_CLIENT_H
#define KPID_BASE_HTTP_CLIENT_H

#include "base/buf.h"
#include "base/pool.h"

/* How a request ended. Anything but HTTP_REPLIED says that no whole reply has come; the request itself may
 * have been acted on all the same, except after HTTP_UNREACHABLE. */
enum http_outcome {
  HTTP_REPLIED,     /* a whole reply, of any status */
  HTTP_UNREACHABLE, /* no name, no connection, no TLS */
  HTTP_TIMED_OUT,   /* the deadline has passed, or the body came too slowly */
  HTTP_BROKEN,      /* the connection ended early, or what came is no HTTP */
  HTTP_TOO_LARGE,   /* the body passes reply_max */
  HTTP_REJECTED,    /* the sink took no more */
  HTTP_STOPPED,     /* the stop flag was raised */
  HTTP_NO_MEMORY
};

/* Takes a piece of the body of a 2xx reply, on the client's thread: it must not wait. `status` and `head` are
 * those of the reply. False ends the transfer. */
typedef bool (*http_sink_fn)(void *arg, long status, struct view head, struct view piece);

enum { HTTP_HEADERS_MAX = 32, HTTP_HEAD_BYTES_MAX = 64 * 1024, HTTP_PROBLEM_SIZE = 256 };

/* A request; everything is borrowed until http_call returns. */
struct http_request {
  const char *method;
  const char *url;                       /* absolute http or https; sent as it is, never normalised */
  const char *headers[HTTP_HEADERS_MAX]; /* "Name: value" */
  size_t header_count;
  bool has_body; /* false: none, not even an empty one */
  struct view body;
  uint32_t connect_ms;          /* for name, connection and TLS; at least 500 */
  uint32_t stall_seconds;       /* a reply slower than 1 KiB/s for so long is given up; 0: never */
  uint32_t timeout_ms;          /* of the whole call, queueing included */
  size_t reply_max;             /* most body bytes that are collected */
  http_sink_fn sink;            /* NULL: collect the body of every reply */
  void *sink_arg;               /* borrowed */
  const struct stop_flag *stop; /* NULL: none */
};

/* A reply. http_reply_clear releases it. */
struct http_reply {
  long status;
  struct buf head;                 /* status line and header lines as they came */
  struct buf body;                 /* what no sink took */
  char problem[HTTP_PROBLEM_SIZE]; /* why there is no whole reply */
};

/* Frees what a reply holds. Accepts NULL and a zeroed one. */
void http_reply_clear(struct http_reply *r);

/* Returns the trimmed value of the first header line of that name, in any case; an empty view if none.
 * `head` as in http_reply or as a sink gets it; borrowed. */
struct view http_header(struct view head, const char *name);

struct http_client;
struct http_client_vtable {
  enum http_outcome (*call)(struct http_client *c, const struct http_request *q, struct http_reply *out);
  void (*free)(struct http_client *c);
};

/* The first member of every implementation, so that tests can put their own in. Thread-safe. */
struct http_client {
  const struct http_client_vtable *vtable;
};

/* Sends a request and waits for its end. *out is overwritten; the caller clears it whatever the outcome. Any
 * thread. A transfer is stopped within 100 ms of its flag. Redirects are not followed, no proxy is used. */
KPI_MUST_CHECK enum http_outcome http_call(struct http_client *c, const struct http_request *q,
                                           struct http_reply *out);

/* Starts a client with at most max_in_flight requests at a time; more wait. `ca_bundle` is a PEM file, NULL
 * for the system's. *out is owned, NULL on failure. Errors: KPI_OUT_OF_MEMORY (or no threads), those
 * of http_client_load. */
KPI_MUST_CHECK enum kpi_code http_client_new(size_t max_in_flight, const char *ca_bundle,
                                             struct http_client **out, struct err *err);

/* Loads libcurl, which the first client does otherwise. Errors: KPI_LIBRARY_MISSING. */
KPI_MUST_CHECK enum kpi_code http_client_load(struct err *err);

/* Returns the version of libcurl, which it loads; "missing" where that fails. */
const char *http_client_library_version(void);

/* Stops the thread; no call may be under way. A resolver that still hangs is left to itself. Accepts NULL. */
void http_client_free(struct http_client *c);

#endif
