/* SPDX-License-Identifier: MIT
 * The resource /runs: start, list, look at, wait for and cancel runs. request->app is the struct service. */
#ifndef KPID_SERVER_HANDLE_RUNS_H
#define KPID_SERVER_HANDLE_RUNS_H

#include "server/router.h"

/* /runs /runs/{id} /runs/{id}/cancel. Handlers wait as suspended requests on the run's id. */
extern const struct route_set runs_routes;

#endif
