/* SPDX-License-Identifier: MIT
 * What is counted of requests to AWS, by all clients together, for GET /metrics. All functions may be called
 * from any thread. */
#ifndef KPID_AWS_AWS_METRICS_H
#define KPID_AWS_AWS_METRICS_H

#include "base/metrics.h"

/* A request, one attempt of a call, has ended; `status` is that of the reply, or a word that says why there
 * was none. */
void aws_metrics_request(const char *service, const char *operation, const char *status, int64_t took_ms);

/* A request will be sent again. */
void aws_metrics_retry(const char *service, const char *operation);

/* Writes all. */
void aws_metrics_write(const struct metrics_out *o);

#endif
