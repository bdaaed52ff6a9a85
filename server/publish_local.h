/* SPDX-License-Identifier: MIT
 * Publishing to the embedded database: the default, for which no AWS account is needed. The results of the
 * run must have been kept before. */
#ifndef KPID_SERVER_PUBLISH_LOCAL_H
#define KPID_SERVER_PUBLISH_LOCAL_H

#include "pipeline/publish.h"
#include "server/db.h"

/* Borrows db. Returns owned, NULL when memory is exhausted. */
struct publisher *publish_local_new(struct db *db);

#endif
