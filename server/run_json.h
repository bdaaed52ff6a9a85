/* SPDX-License-Identifier: MIT
 * A run as JSON: the Run resource of openapi.yaml. Knows no request. */
#ifndef KPID_SERVER_RUN_JSON_H
#define KPID_SERVER_RUN_JSON_H

#include "server/reply.h"
#include "server/run.h"

/* Writes the run as an object; `disposition` is added when it is not NULL. */
void run_json(struct json_out *j, const char *key, const struct run *run, const char *disposition);

/* Writes the member `trigger`: who has asked for a run or a backfill, by which client and request. */
void run_json_trigger(struct json_out *j, const char *principal, const char *user_agent,
                      const char *request_id);

/* Writes the member `progress` of such an object. */
void run_json_progress(struct json_out *j, const struct run *run);

#endif
