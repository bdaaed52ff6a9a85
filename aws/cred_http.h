/* SPDX-License-Identifier: MIT
 * What the places that are asked over HTTP share: small replies, few tries, files read anew each time. */
#ifndef KPID_AWS_CRED_HTTP_H
#define KPID_AWS_CRED_HTTP_H

#include "aws/credentials.h"

enum { CRED_REPLY_MAX = 64 * 1024, CRED_FILE_MAX = 64 * 1024 };

/* Sends a request up to three times, with a pause, while the other side is away, answers 429 or 5xx. The
 * reply is owned by the caller. */
KPI_MUST_CHECK enum http_outcome cred_http_call(struct http_client *http, const struct http_request *q,
                                                struct http_reply *out);

/* Appends the trimmed contents of a file. Errors: KPI_CREDENTIALS_MISSING naming it. */
KPI_MUST_CHECK enum kpi_code cred_read_file(const char *path, struct buf *out, struct err *err);

/* Fills err for a place that did not answer with credentials. */
enum kpi_code cred_http_err(const char *place, enum http_outcome outcome, const struct http_reply *reply,
                            struct err *err);

#endif
