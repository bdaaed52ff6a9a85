/* SPDX-License-Identifier: MIT
 * Steps over the rows that cannot matter to the days of a job, which are most when these are few: what the
 * functions of native_rows.h would find out about them, found out from the marks, without a row made of them.
 * Any row that is written in an unusual way is left to those. */
#ifndef KPID_PIPELINE_NATIVE_SKIP_H
#define KPID_PIPELINE_NATIVE_SKIP_H

#include "pipeline/native_rows.h"

/* The scan_skip_fn of orders and items; `worker` is a struct native_worker. */
size_t native_skip_orders(void *worker, struct csv_cursor *c, const struct csv_binding *b);
size_t native_skip_items(void *worker, struct csv_cursor *c, const struct csv_binding *b);

#endif
