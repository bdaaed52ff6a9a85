/* SPDX-License-Identifier: MIT */
#include "server/job_items.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { PK_SIZE = 64 };

#define RUNS "runs"

static json_t *pk_of(const char *owner, uint32_t number) {
  char pk[PK_SIZE];
  snprintf(pk, sizeof pk, JOB_ITEM_PREFIX "%s#%u", owner, number);
  return dynamodb_text(view_of(pk));
}

static json_t *set_of(const char *const *texts, size_t count) {
  json_t *set = json_array();
  for (size_t i = 0; i < count; i++)
    if (json_array_append_new(set, json_string(texts[i]))) {
      json_decref(set);
      return NULL;
    }
  return json_pack("{s:o}", "SS", set);
}

json_t *job_item_put(const char *table, const char *source, const struct owned_job *job,
                     const char *const *run_ids, size_t count) {
  json_t *item =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "pk", pk_of(job->owner, job->job.number), "source",
                dynamodb_text(view_of(source)), "owner", dynamodb_text(view_of(job->owner)), "number",
                dynamodb_count(job->job.number), "spec_sha256", dynamodb_text(view_of(job->job.spec_sha256)),
                "kept_at_ms", dynamodb_count((uint64_t)clock_wall_ms()));
  if (count && json_object_set_new(item, RUNS, set_of(run_ids, count))) {
    json_decref(item);
    return NULL;
  }
  return json_pack("{s:s, s:o}", "TableName", table, "Item", item);
}

/* A job whose item has gone gets none by it. */
static json_t *update(const char *table, const struct owned_job *job, const char *expression, json_t *value) {
  return json_pack("{s:s, s:{s:o}, s:s, s:s, s:{s:o}}", "TableName", table, "Key", "pk",
                   pk_of(job->owner, job->job.number), "UpdateExpression", expression, "ConditionExpression",
                   "attribute_exists(pk)", "ExpressionAttributeValues", ":value", value);
}

json_t *job_item_name(const char *table, const struct owned_job *job) {
  return update(table, job, "SET job_id = :value", dynamodb_text(view_of(job->job.id)));
}

json_t *job_item_leave(const char *table, const struct owned_job *job, const char *const *run_ids,
                       size_t count) {
  return update(table, job, "DELETE " RUNS " :value", set_of(run_ids, count));
}

json_t *job_item_remove(const char *table, const char *owner, uint32_t number) {
  return json_pack("{s:s, s:{s:o}}", "TableName", table, "Key", "pk", pk_of(owner, number));
}

bool job_item_read(const json_t *item, const char *source, struct owned_job *out) {
  uint64_t number = 0;
  struct view owner = dynamodb_get_text(item, "owner"), id = dynamodb_get_text(item, "job_id");
  struct view spec_sha256 = dynamodb_get_text(item, "spec_sha256");
  *out = (struct owned_job){.owner = ""};
  if (!view_starts(dynamodb_get_text(item, "pk"), JOB_ITEM_PREFIX) ||
      !view_is(dynamodb_get_text(item, "source"), source))
    return false;
  const bool ok = crypto_is_uuid(owner) && view_to_cstr(owner, out->owner, sizeof out->owner) &&
                  dynamodb_get_count(item, "number", &number) && number >= 1 && number <= UINT32_MAX &&
                  view_to_cstr(spec_sha256, out->job.spec_sha256, sizeof out->job.spec_sha256) &&
                  view_to_cstr(id, out->job.id, sizeof out->job.id);
  out->job.number = (uint32_t)number;
  if (!ok)
    log_at(LOG_WARN, "intents.unreadable", "a job in the control table cannot be read");
  return ok;
}

const json_t *job_item_runs(const json_t *item) {
  return json_object_get(json_object_get(item, RUNS), "SS");
}

static uint64_t kept_at(const json_t *item) {
  uint64_t at = 0;
  return dynamodb_get_count(item, "kept_at_ms", &at) ? at : 0;
}

bool job_item_is_newer(const json_t *item, const json_t *than) {
  return kept_at(item) > kept_at(than);
}
