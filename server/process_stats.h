/* SPDX-License-Identifier: MIT
 * What the kernel says of this process, for GET /metrics. */
#ifndef KPID_SERVER_PROCESS_STATS_H
#define KPID_SERVER_PROCESS_STATS_H

#include "base/metrics.h"

/* Writes the process_* families that Prometheus' client libraries have; what /proc does not tell is left out.
 * Any thread. */
void process_stats_write(const struct metrics_out *o);

#endif
