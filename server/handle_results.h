/* SPDX-License-Identifier: MIT
 * What a run has computed: its KPI rows and its quality report. request->app is the struct service. */
#ifndef KPID_SERVER_HANDLE_RESULTS_H
#define KPID_SERVER_HANDLE_RESULTS_H

#include "server/router.h"

/* /runs/{id}/results /runs/{id}/quality. */
extern const struct route_set results_routes;

#endif
