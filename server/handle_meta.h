/* SPDX-License-Identifier: MIT
 * What the service says about itself: health, version, the API description and its problem types. Answers
 * from memory; must not touch storage or sources. request->app is the struct service. */
#ifndef KPID_SERVER_HANDLE_META_H
#define KPID_SERVER_HANDLE_META_H

#include "server/router.h"

/* /livez /healthz /readyz: all that the health listener serves. Any thread, never blocks. */
extern const struct route_set health_routes;

/* /version /openapi.yaml /problems/{name}. Any thread, never blocks. */
extern const struct route_set meta_routes;

#endif
