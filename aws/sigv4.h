/* SPDX-License-Identifier: MIT
 * AWS Signature Version 4, in its pure stages: canonical request, string to sign, signature. Source: the AWS
 * General Reference, "Create a signed AWS API request". Knows no clock, no transport and no service. */
#ifndef KPID_AWS_SIGV4_H
#define KPID_AWS_SIGV4_H

#include "base/buf.h"
#include "base/crypto.h"

/* A name and its value: a query parameter (not encoded yet) or a header. Borrowed. */
struct sigv4_pair {
  struct view name, value;
};

enum { SIGV4_PAIRS_MAX = 32, SIGV4_TIME_SIZE = 17 };

/* What is signed; everything is borrowed. */
struct sigv4_request {
  struct view method;
  struct view path; /* as it stands in the request line, without the query */
  struct sigv4_pair query[SIGV4_PAIRS_MAX];
  size_t query_count;
  struct sigv4_pair
      headers[SIGV4_PAIRS_MAX]; /* host and x-amz-date among them; a repeated name once a line */
  size_t header_count;
  struct view payload_sha256; /* hex */
  bool keep_path;             /* S3: the path is signed as it is, neither normalised nor encoded again */
  bool keep_dots;             /* do not remove . and .. and // from the path */
};

/* Whose key signs what. Borrowed. */
struct sigv4_scope {
  struct view access_key, secret_key;
  struct view region, service;
  char time[SIGV4_TIME_SIZE]; /* 20150830T123600Z */
};

/* Writes Unix milliseconds as x-amz-date wants them. */
void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_SIZE]);

/* Appends "a=1&b=2": names and values encoded and in the order that is signed. */
void sigv4_query(const struct sigv4_request *q, struct buf *out);

/* Stage 1: appends the canonical request. */
void sigv4_canonical_request(const struct sigv4_request *q, struct buf *out);

/* Stage 2: appends the string to sign. */
void sigv4_string_to_sign(struct view canonical_request, const struct sigv4_scope *s, struct buf *out);

/* Stage 3: writes the signature as hex. */
void sigv4_signature(struct view string_to_sign, const struct sigv4_scope *s, char out[SHA256_HEX_SIZE]);

/* All stages: appends the value of the Authorization header. False when memory is exhausted. */
KPI_MUST_CHECK bool sigv4_authorization(const struct sigv4_request *q, const struct sigv4_scope *s,
                                        struct buf *out);

#endif
