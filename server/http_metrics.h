/* SPDX-License-Identifier: MIT
 * What is counted of HTTP for GET /metrics. Knows neither the HTTP library nor any handler. All functions may
 * be called from any thread. */
#ifndef KPID_SERVER_HTTP_METRICS_H
#define KPID_SERVER_HTTP_METRICS_H

#include "base/metrics.h"
#include "server/router.h"

/* One more connection, request under way, or request that waits; -1: one less. */
void http_metrics_connections(int by);
void http_metrics_requests(int by);
void http_metrics_waiting(int by);

/* A request was answered by a route (NULL: by none) within duration_us; has_waited: that is how long its
 * client wanted to wait or to watch. */
void http_metrics_answered(enum http_method method, const struct route *route, unsigned status,
                           int64_t duration_us, bool has_waited);

/* Writes all. */
void http_metrics_write(const struct metrics_out *o);

#endif
