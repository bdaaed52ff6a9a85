/* SPDX-License-Identifier: MIT */
#include "server/run.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[RUN_STATE_COUNT] = {"queued",    "running", "retry_wait", "cancelling",
                                                         "succeeded", "failed",  "cancelled"};
static const char *const disposition_names[DISPOSITION_COUNT] = {"created", "attached",   "replayed",
                                                                 "retried", "superseded", "unchanged"};
static const char *const on_active_names[ON_ACTIVE_COUNT] = {"attach", "reject", "supersede"};
static const char *const on_finished_names[ON_FINISHED_COUNT] = {"new", "attach", "retry_failed",
                                                                 "if_changed", "reject"};

#define TO(s) (1u << (s))

/* The state machine: from -> the states it may move to. migrations/0001 has the same table in SQL. */
static const unsigned moves[RUN_STATE_COUNT] = {
    [RUN_QUEUED] = TO(RUN_RUNNING) | TO(RUN_CANCELLED) | TO(RUN_FAILED),
    [RUN_RUNNING] =
        TO(RUN_SUCCEEDED) | TO(RUN_FAILED) | TO(RUN_RETRY_WAIT) | TO(RUN_CANCELLING) | TO(RUN_QUEUED),
    [RUN_RETRY_WAIT] = TO(RUN_QUEUED) | TO(RUN_CANCELLED),
    [RUN_CANCELLING] = TO(RUN_CANCELLED) | TO(RUN_SUCCEEDED) | TO(RUN_FAILED),
    [RUN_SUCCEEDED] = 0,
    [RUN_FAILED] = TO(RUN_QUEUED),
    [RUN_CANCELLED] = TO(RUN_QUEUED),
};

const char *run_state_name(enum run_state s) {
  return state_names[s];
}

const char *disposition_name(enum disposition d) {
  return disposition_names[d];
}

bool run_state_of(struct view name, enum run_state *out) {
  int s = view_index_of(name, state_names, RUN_STATE_COUNT);
  *out = s < 0 ? *out : (enum run_state)s;
  return s >= 0;
}

bool on_active_of(struct view name, enum on_active *out) {
  int o = view_index_of(name, on_active_names, ON_ACTIVE_COUNT);
  *out = o < 0 ? *out : (enum on_active)o;
  return o >= 0;
}

bool on_finished_of(struct view name, enum on_finished *out) {
  int o = view_index_of(name, on_finished_names, ON_FINISHED_COUNT);
  *out = o < 0 ? *out : (enum on_finished)o;
  return o >= 0;
}

bool run_state_is_terminal(enum run_state s) {
  return s == RUN_SUCCEEDED || s == RUN_FAILED || s == RUN_CANCELLED;
}

bool run_state_may_move(enum run_state from, enum run_state to) {
  return (moves[from] & TO(to)) != 0;
}

struct run_request run_request_of(const struct run *r) {
  return (struct run_request){.id = r->id,
                              .date = r->date,
                              .publish = r->publish,
                              .gate = r->gate,
                              .bad_rows = r->bad_rows,
                              .engine = r->engine_asked,
                              .force = r->force,
                              .max_bad_rows = view_of(r->max_bad_rows),
                              .labels_json = view_of(r->labels_json),
                              .reason = view_of(r->reason),
                              .user_agent = view_of(r->user_agent),
                              .request_id = view_of(r->request_id),
                              .principal = view_of(r->principal),
                              .trace_id = view_of(r->trace_id),
                              .timeout_seconds = r->timeout_seconds,
                              .max_attempts = r->max_attempts};
}

void run_clear(struct run *r) {
  if (!r)
    return;
  char *owned[] = {
      r->timezone,          r->engine_job_owner, r->max_bad_rows,    r->input_base,     r->input_fingerprint,
      r->summary_json,      r->quality_json,     r->output_json,     r->error_json,     r->attempts_json,
      r->backfill_ids_json, r->labels_json,      r->reason,          r->user_agent,     r->request_id,
      r->principal,         r->trace_id,         r->idempotency_key, r->service_version};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
    free(owned[i]);
  memset(r, 0, sizeof *r);
}

int64_t run_retry_wait_ms(uint32_t failures, uint64_t random) {
  int64_t most = RETRY_WAIT_MS_MIN;
  for (uint32_t i = 0; i < failures && most < RETRY_WAIT_MS_MAX; i++)
    most *= 2;
  if (most > RETRY_WAIT_MS_MAX)
    most = RETRY_WAIT_MS_MAX;
  return RETRY_WAIT_MS_MIN + (int64_t)(random % (uint64_t)(most - RETRY_WAIT_MS_MIN + 1));
}

void run_list_clear(struct run_list *list) {
  if (!list)
    return;
  for (size_t i = 0; i < list->count; i++)
    run_clear(&list->runs[i]);
  free(list->runs);
  *list = (struct run_list){0};
}
