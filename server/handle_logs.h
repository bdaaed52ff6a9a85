/* SPDX-License-Identifier: MIT
 * GET /runs/{id}/logs: the kept log lines of a run. */
#ifndef KPID_SERVER_HANDLE_LOGS_H
#define KPID_SERVER_HANDLE_LOGS_H

#include "server/router.h"

extern const struct route_set logs_routes;

#endif
