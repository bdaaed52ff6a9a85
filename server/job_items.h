/* SPDX-License-Identifier: MIT
 * Jobs that were handed to a cluster, as items of the control table, and the calls that change them: what is
 * known of a job and which runs wait for it. Asks nothing of DynamoDB itself. */
#ifndef KPID_SERVER_JOB_ITEMS_H
#define KPID_SERVER_JOB_ITEMS_H

#include "pipeline/hand_off.h"

#include <jansson.h>

#define JOB_ITEM_PREFIX "job#"

/* The body of PutItem for a job that is known by its spec. All bodies are returned owned; NULL when memory is
 * exhausted. */
json_t *job_item_put(const char *table, const char *source, const struct owned_job *job,
                     const char *const *run_ids, size_t count);

/* Of UpdateItem: the id that the cluster has given the job. */
json_t *job_item_name(const char *table, const struct owned_job *job);

/* Of UpdateItem: runs wait for the job no more; at least one. */
json_t *job_item_leave(const char *table, const struct owned_job *job, const char *const *run_ids,
                       size_t count);

/* Of DeleteItem. */
json_t *job_item_remove(const char *table, const char *owner, uint32_t number);

/* Reads an item; false when it is no job of that source. */
bool job_item_read(const json_t *item, const char *source, struct owned_job *out);

/* The ids of the runs that wait, a borrowed array; NULL: none. */
const json_t *job_item_runs(const json_t *item);

/* True when one was put after the other. */
bool job_item_is_newer(const json_t *item, const json_t *than);

#endif
