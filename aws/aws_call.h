/* SPDX-License-Identifier: MIT
 * One call to AWS: credentials, signature, retries. Services build their operations on it. */
#ifndef KPID_AWS_AWS_CALL_H
#define KPID_AWS_AWS_CALL_H

#include "aws/aws_error.h"
#include "aws/sigv4.h"

struct aws;

/* Reads region, endpoints and profile from the environment and the shared files, and starts a client with at
 * most max_in_flight requests at a time. Looks for no credentials yet. Returns owned in *out. Errors:
 * KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code aws_new(size_t max_in_flight, struct aws **out, struct err *err);

/* The same with a transport of the caller's, which is taken. For tests. */
KPI_MUST_CHECK enum kpi_code aws_new_with(struct http_client *http, struct aws **out, struct err *err);

/* No call may be under way. Accepts NULL. */
void aws_free(struct aws *a);

enum { AWS_TEXTS_MAX = 12 };

/* One operation; everything is borrowed until aws_call returns. */
struct aws_call {
  enum aws_service service;
  const char *operation; /* "GetObject": in errors and logs */
  const char *method;
  struct view bucket; /* S3 only */
  struct view path;   /* encoded, with its first slash */
  struct sigv4_pair query[AWS_TEXTS_MAX];
  size_t query_count;
  struct sigv4_pair headers[AWS_TEXTS_MAX];
  size_t header_count;
  bool has_body;
  struct view body;
  uint32_t timeout_ms, stall_seconds; /* of each attempt */
  size_t reply_max;
  http_sink_fn sink;
  void *sink_arg;
  /* Called before each attempt; may change headers, to resume a body that broke off. NULL: none. */
  void (*prepare)(struct aws_call *c);
  /* Looks at a whole 2xx reply; false asks for a retry, telling why in `problem`. NULL: accept. */
  bool (*accept)(struct aws_call *c, const struct http_reply *reply, const char **problem);
  const struct stop_flag *stop;
};

/* Sends a call until it is answered or given up: at most 3 attempts, within the budget of retries that all
 * calls to a service share. KPI_OK: a 2xx reply is in *reply. Otherwise err tells all, and *error (may be
 * NULL) what the service said, zeroed if nothing. The reply is cleared by the caller in any case. Any thread.
 */
KPI_MUST_CHECK enum kpi_code aws_call(struct aws *a, struct aws_call *c, struct http_reply *reply,
                                      struct aws_error *error, struct err *err);

/* Takes a retry out of the budget that all calls to a service share: for callers that send again what was
 * answered, but not done. False when there is none left. */
bool aws_retry_allowed(struct aws *a, enum aws_service service);

/* Sleeps a random time up to min(base_ms x 2^attempt, 20 s), or until the flag is up. attempt is 0-based. */
void aws_backoff(uint32_t base_ms, unsigned attempt, const struct stop_flag *stop);

#endif
