/* SPDX-License-Identifier: MIT
 * Calls of DynamoDB that are sent one after the other for each id, in the order in which they were asked for,
 * and side by side for different ids. Nobody is ever kept waiting to ask for one. Knows no meaning of them.
 */
#ifndef KPID_SERVER_ERRANDS_H
#define KPID_SERVER_ERRANDS_H

#include "base/crypto.h"
#include "base/err.h"

#include <jansson.h>

struct aws;
struct errands;

/* Told on a thread of the errands what has come of a call. */
typedef void (*errand_done_fn)(void *arg, enum kpi_code rc, const struct err *err);

/* Borrows `aws`. Returns owned, NULL when memory or threads are exhausted. */
struct errands *errands_new(struct aws *aws);

/* Waits at most so long for what was asked for, which is tried at once and then every second, tells the rest
 * that it has failed, and frees. Accepts NULL. */
void errands_free(struct errands *e, int64_t wait_ms);

/* Asks for a call; the body is taken, `operation` borrowed. `done` is told once; where it is NULL, a call
 * that fails is sent again and again while that may help; that its condition does not hold is no failure.
 * False, and `done` is not told, when memory is exhausted. */
KPI_MUST_CHECK bool errands_add(struct errands *e, const char *id, const char *operation, json_t *body,
                                errand_done_fn done, void *arg);

/* How many have been asked for and not sent yet. */
size_t errands_count(struct errands *e);

#endif
