/* SPDX-License-Identifier: MIT */
#include "server/backfill.h"

#include <stdlib.h>

static const char *const reprocess_names[REPROCESS_COUNT] = {"missing", "failed", "changed", "all"};
static const char *const action_names[DAY_ACTION_COUNT] = {"run", "attach", "skip"};
static const char *const reason_names[DAY_REASON_COUNT] = {"missing", "failed",    "changed",  "requested",
                                                           "active",  "succeeded", "unchanged"};
static const char *const discovery_names[DISCOVERY_COUNT] = {NULL,   "queued", "running",
                                                             "done", "failed", "cancelled"};

const char *reprocess_name(enum reprocess r) {
  return reprocess_names[r];
}

const char *day_action_name(enum day_action a) {
  return action_names[a];
}

const char *day_reason_name(enum day_reason r) {
  return reason_names[r];
}

const char *discovery_name(enum discovery d) {
  return discovery_names[d];
}

bool reprocess_of(struct view name, enum reprocess *out) {
  int i = view_index_of(name, reprocess_names, REPROCESS_COUNT);
  *out = i < 0 ? *out : (enum reprocess)i;
  return i >= 0;
}

bool day_action_of(struct view name, enum day_action *out) {
  int i = view_index_of(name, action_names, DAY_ACTION_COUNT);
  *out = i < 0 ? *out : (enum day_action)i;
  return i >= 0;
}

bool day_reason_of(struct view name, enum day_reason *out) {
  int i = view_index_of(name, reason_names, DAY_REASON_COUNT);
  *out = i < 0 ? *out : (enum day_reason)i;
  return i >= 0;
}

bool discovery_of(struct view name, enum discovery *out) {
  int i = view_index_of(name, discovery_names, DISCOVERY_COUNT);
  *out = i < 0 ? *out : (enum discovery)i;
  return i >= 0;
}

void backfill_clear(struct backfill *b) {
  if (!b)
    return;
  char *const texts[] = {b->error_json, b->max_bad_rows, b->labels_json, b->reason,  b->idempotency_key,
                         b->principal,  b->user_agent,   b->request_id,  b->trace_id};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    free(texts[i]);
  *b = (struct backfill){0};
}

void backfill_list_clear(struct backfill_list *list) {
  if (!list)
    return;
  for (size_t i = 0; i < list->count; i++)
    backfill_clear(&list->at[i]);
  free(list->at);
  *list = (struct backfill_list){0};
}

struct run_request backfill_run_request(const struct backfill *b) {
  return (struct run_request){.publish = b->publish,
                              .gate = b->gate,
                              .bad_rows = b->bad_rows,
                              .engine = b->engine,
                              .force = b->force,
                              .max_bad_rows = view_of(b->max_bad_rows),
                              .labels_json = view_of(b->labels_json),
                              .reason = view_of(b->reason),
                              .user_agent = view_of(b->user_agent),
                              .request_id = view_of(b->request_id),
                              .principal = view_of(b->principal),
                              .trace_id = view_of(b->trace_id),
                              .timeout_seconds = b->timeout_seconds,
                              .max_attempts = b->max_attempts};
}

enum run_state backfill_state(const struct backfill *b) {
  const uint64_t *n = b->counts.by_state;
  uint64_t at_work = n[RUN_RUNNING] + n[RUN_RETRY_WAIT] + n[RUN_CANCELLING];
  uint64_t ended = n[RUN_SUCCEEDED] + n[RUN_FAILED] + n[RUN_CANCELLED];
  switch (b->discovery) {
  case DISCOVERY_QUEUED:
    return b->next_attempt_at ? RUN_RUNNING : RUN_QUEUED;
  case DISCOVERY_RUNNING:
    return b->cancel_requested_at ? RUN_CANCELLING : RUN_RUNNING;
  case DISCOVERY_FAILED:
    return RUN_FAILED;
  case DISCOVERY_CANCELLED:
    return RUN_CANCELLED;
  case DISCOVERY_NONE:
  case DISCOVERY_DONE:
  case DISCOVERY_COUNT:
    break;
  }
  if (at_work + n[RUN_QUEUED] > 0 && b->cancel_requested_at)
    return RUN_CANCELLING;
  if (at_work + n[RUN_QUEUED] > 0)
    return at_work + ended > 0 ? RUN_RUNNING : RUN_QUEUED;
  return n[RUN_FAILED] ? RUN_FAILED : n[RUN_CANCELLED] ? RUN_CANCELLED : RUN_SUCCEEDED;
}
