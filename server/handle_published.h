/* SPDX-License-Identifier: MIT
 * What is published, over days: the calendar, and series of KPIs. request->app is the struct service. */
#ifndef KPID_SERVER_HANDLE_PUBLISHED_H
#define KPID_SERVER_HANDLE_PUBLISHED_H

#include "server/router.h"

/* /days /kpis/orders /kpis/categories. */
extern const struct route_set published_routes;

#endif
