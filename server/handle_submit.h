/* SPDX-License-Identifier: MIT
 * POST /runs, and the moves that a client may ask of a run: cancel and retry. */
#ifndef KPID_SERVER_HANDLE_SUBMIT_H
#define KPID_SERVER_HANDLE_SUBMIT_H

#include "server/router.h"

extern const struct route_set submit_routes;

#endif
