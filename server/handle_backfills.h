/* SPDX-License-Identifier: MIT
 * POST and GET /backfills, /backfills/{id}, its cancel and its retry. Knows no SQL. */
#ifndef KPID_SERVER_HANDLE_BACKFILLS_H
#define KPID_SERVER_HANDLE_BACKFILLS_H

#include "server/router.h"

extern const struct route_set backfills_routes;

#endif
