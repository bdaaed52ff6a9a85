/* SPDX-License-Identifier: MIT */
#include "server/run.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[RUN_STATE_COUNT] = {"queued",    "running", "retry_wait", "cancelling",
                                                         "succeeded", "failed",  "cancelled"};
static const char *const disposition_names[] = {"created", "attached"};

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
  for (int s = 0; s < RUN_STATE_COUNT; s++)
    if (view_is(name, state_names[s])) {
      *out = (enum run_state)s;
      return true;
    }
  return false;
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
                              .force = r->force,
                              .max_bad_rows = view_of(r->max_bad_rows),
                              .labels_json = view_of(r->labels_json),
                              .reason = view_of(r->reason),
                              .user_agent = view_of(r->user_agent),
                              .request_id = view_of(r->request_id)};
}

void run_clear(struct run *r) {
  if (!r)
    return;
  char *owned[] = {r->timezone,     r->engine,       r->max_bad_rows, r->input_base, r->input_fingerprint,
                   r->summary_json, r->quality_json, r->output_json,  r->error_json, r->attempts_json,
                   r->labels_json,  r->reason,       r->user_agent,   r->request_id, r->service_version};
  for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++)
    free(owned[i]);
  memset(r, 0, sizeof *r);
}

void run_list_clear(struct run_list *list) {
  if (!list)
    return;
  for (size_t i = 0; i < list->count; i++)
    run_clear(&list->runs[i]);
  free(list->runs);
  *list = (struct run_list){0};
}
