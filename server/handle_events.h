/* SPDX-License-Identifier: MIT
 * GET /events and GET /runs/{id}/events: what happens to runs, as server-sent events or as a page of those
 * that have happened. */
#ifndef KPID_SERVER_HANDLE_EVENTS_H
#define KPID_SERVER_HANDLE_EVENTS_H

#include "server/router.h"

/* What is notified whenever any run has changed; its own id is notified too. */
#define EVENTS_TOPIC "events"

extern const struct route_set events_routes;

#endif
