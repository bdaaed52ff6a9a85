/* SPDX-License-Identifier: MIT
 * GET /metrics: everything that is counted, for Prometheus. Answers from memory; must not touch storage or
 * sources. request->app is the struct service. */
#ifndef KPID_SERVER_HANDLE_METRICS_H
#define KPID_SERVER_HANDLE_METRICS_H

#include "server/router.h"

/* Any thread, never blocks. */
extern const struct route_set metrics_routes;

#endif
