/* SPDX-License-Identifier: MIT
 * Takes the rows of orders and items that are written as nearly all are straight from the marks of the
 * scanner, without a row made of them: steps over those that cannot matter to the days of the job, and adds
 * the others to plain numbers. What they come to is what the functions of native_rows.h would make of them,
 * which get every row that is unusual in any way. */
#ifndef KPID_PIPELINE_NATIVE_PLAIN_H
#define KPID_PIPELINE_NATIVE_PLAIN_H

#include "pipeline/native_rows.h"

/* Of orders and items; the `worker` is a struct native_worker. */
extern const struct scan_plain native_plain_orders, native_plain_items;

/* Adds what the plain rows of a worker came to to the tallies and groups of another, or of its own, once all
 * are read. False when memory is exhausted. */
bool native_plain_settle(const struct native_worker *w, struct native_worker *to);

#endif
