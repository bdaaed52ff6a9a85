/* SPDX-License-Identifier: MIT
 * What a service of AWS says when it refuses: read from XML or JSON replies, judged, and told in our codes.
 * Knows no transport. */
#ifndef KPID_AWS_AWS_ERROR_H
#define KPID_AWS_AWS_ERROR_H

#include "aws/endpoint.h"
#include "base/http_client.h"

enum { AWS_REASONS_MAX = 100 };

/* Why an action of a cancelled transaction was not done. */
enum aws_reason { REASON_NONE, REASON_CONDITION, REASON_CONFLICT, REASON_THROTTLED, REASON_OTHER };

/* A refusal. Texts are cut to fit; empty if the reply has none. */
struct aws_error {
  int status;
  char code[64];
  char message[400];
  char request_id[96];
  char region[REGION_MAX];                  /* where S3 says the bucket is */
  enum aws_reason reasons[AWS_REASONS_MAX]; /* of TransactionCanceledException, one an action */
  size_t reason_count;
};

/* What to do about a refusal. */
enum aws_verdict {
  AWS_FINAL,
  AWS_RETRY,
  AWS_RETRY_THROTTLED, /* after a longer pause */
  AWS_RETRY_SKEW,      /* once, after correcting the clock */
  AWS_RETRY_EXPIRED    /* once, with new credentials */
};

/* Reads a reply whose status is not 2xx. */
void aws_error_parse(enum aws_service service, const struct http_reply *reply, struct aws_error *out);

/* Judges a refusal by the "standard" retry mode of the SDKs. A cancelled transaction is retried when nothing
 * but conflicts and throttling cancelled it. */
enum aws_verdict aws_error_verdict(const struct aws_error *e);

/* True when one of the reasons of a cancelled transaction is this one. */
bool aws_error_has_reason(const struct aws_error *e, enum aws_reason reason);

/* True when a condition of the call does not hold: of itself, or of an action of its transaction. */
bool aws_error_is_condition(const struct aws_error *e);

/* Fills err with our code, the operation and what the service said. Returns the code. */
enum kpi_code aws_error_tell(enum aws_service service, const char *operation, const struct aws_error *e,
                             struct err *err);

/* The same for a call without a whole and good reply: of `reply` there may be status and head. */
enum kpi_code aws_outcome_tell(enum aws_service service, const char *operation, enum http_outcome outcome,
                               const struct http_reply *reply, const char *problem, struct err *err);

/* Notes in err which call it is about. */
void aws_error_place(enum aws_service service, const char *operation, struct err *err);

#endif
