/* SPDX-License-Identifier: MIT
 * A backfill as JSON: the Backfill and BackfillPlan resources of openapi.yaml. Knows no request. */
#ifndef KPID_SERVER_BACKFILL_JSON_H
#define KPID_SERVER_BACKFILL_JSON_H

#include "server/backfill.h"
#include "server/reply.h"

/* Opens the object of a backfill and writes all its members but the days; jout_object_end closes it.
 * `disposition` is added when it is not NULL. */
void backfill_json_begin(struct json_out *j, const struct backfill *b, const char *disposition);

/* Writes days as the array `days`. */
void backfill_json_days(struct json_out *j, const struct backfill_day *days, size_t count);

/* How a backfill would read the inputs. */
struct backfill_reading {
  uint64_t bytes;
  enum engine_kind engine;
  char reason[ENGINE_REASON_SIZE];
};

/* Writes what a backfill would do. Days that only the data knows are told as null. */
void backfill_json_plan(struct json_out *j, const struct backfill_request *q, const struct backfill_day *days,
                        const struct backfill_reading *reading);

#endif
