/* SPDX-License-Identifier: MIT
 * A quality report as an HTML page, made from its JSON. Knows no storage. */
#ifndef KPID_SERVER_QUALITY_PAGE_H
#define KPID_SERVER_QUALITY_PAGE_H

#include "server/reply.h"
#include "server/run.h"

/* Writes the page; internal-error when the report is not readable. */
void quality_page(struct reply *rp, const struct run *run, struct view report);

#endif
