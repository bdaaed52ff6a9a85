/* SPDX-License-Identifier: MIT */
#include "server/waiting.h"

#include "base/clock.h"
#include "server/run_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MS_PER_SECOND = 1000, INTENT_WAIT_MS = 5000, LISTING_WAIT_MS = 20 * 1000 };

/* A client that went away while its intent was being stored has no run. One that was found may have ended. */
static void waiting_free(void *keep) {
  struct waiting *w = keep;
  if (w->intent[0] && (!w->id[0] || w->is_for_found_run))
    service_forget_intent(w->service, w->intent, w->is_being_stored);
  free(w);
}

/* Makes the memory of a request that may wait for so long. False when the reply is a problem already. */
static bool keep_waiting(struct request *rq, struct reply *rp, unsigned seconds) {
  struct waiting *w = calloc(1, sizeof *w);
  if (!w) {
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "No memory to wait.");
    return false;
  }
  w->deadline_ms = clock_mono_ms() + (int64_t)seconds * MS_PER_SECOND;
  w->service = rq->app;
  rq->keep = w;
  rq->keep_free = waiting_free;
  return true;
}

bool waiting_begin(struct request *rq, struct reply *rp, bool must_keep) {
  unsigned seconds;
  bool preferred;
  struct err err;
  if (request_wait_seconds(rq, &seconds, &preferred, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  if (preferred)
    reply_header(rp, "Preference-Applied", "wait=%u", seconds);
  return rq->keep || (seconds == 0 && !must_keep) || keep_waiting(rq, rp, seconds);
}

bool waiting_read_word(struct request *rq, struct reply *rp, const char *name, const char *first,
                       const char *second, bool *is_second) {
  struct view value;
  *is_second = false;
  if (!request_arg(rq, name, &value))
    return true;
  *is_second = view_is(value, second);
  if (*is_second || (first && view_is(value, first)))
    return true;
  reply_error(rp, rq, KPI_MALFORMED_QUERY, "'%s' may be %s%s%s.", name, first ? first : "",
              first ? " or " : "", second);
  return false;
}

struct waited waited_run(const struct run *run) {
  return (struct waited){run->id, run->version, run_state_is_terminal(run->state)};
}

void waiting_remember(struct request *rq, struct waited now, enum disposition disposition) {
  struct waiting *w = rq->keep;
  if (!w || w->id[0])
    return;
  memcpy(w->id, now.id, sizeof w->id);
  w->disposition = disposition;
  w->first_version = now.version;
}

bool waiting_goes_on(struct request *rq, struct reply *rp, struct waited now, bool until_change) {
  struct waiting *w = rq->keep;
  if (!w || rq->wait_over || now.is_terminal || clock_mono_ms() >= w->deadline_ms)
    return false;
  if (until_change && now.version != w->first_version)
    return false;
  reply_wait(rp, w->id, w->deadline_ms);
  return true;
}

void waiting_begin_step(struct request *rq) {
  ((struct waiting *)rq->keep)->step_deadline_ms = 0;
}

bool waiting_for_step(struct request *rq, struct reply *rp, const char *topic, int64_t at_most_ms) {
  struct waiting *w = rq->keep;
  int64_t now = clock_mono_ms();
  if (w->step_deadline_ms == 0)
    w->step_deadline_ms = now + at_most_ms;
  if (rq->wait_over || now >= w->step_deadline_ms)
    return false;
  reply_wait(rp, topic, w->step_deadline_ms);
  return true;
}

bool waiting_look_at_input(struct request *rq, struct reply *rp, struct input_seen *seen) {
  struct waiting *w = rq->keep;
  struct input_look *look = service_input(rq->app);
  if (w->look_ticket == 0) {
    waiting_begin_step(rq);
    w->look_ticket = input_look_ask(look);
  }
  if (input_look_answer(look, w->look_ticket, seen))
    return true;
  if (!waiting_for_step(rq, rp, INPUT_LOOK_TOPIC, LISTING_WAIT_MS))
    reply_error(rp, rq, KPI_STORAGE_UNAVAILABLE,
                "The source did not answer in time, so that it is not known whether it has changed.");
  return false;
}

bool waiting_store_intent(struct request *rq, struct reply *rp, struct run_request *request,
                          const struct submit_policy *policy) {
  struct waiting *w = rq->keep;
  struct err err;
  bool stored = false;
  enum kpi_code rc;
  if (!service_keeps_intents(rq->app))
    return true;
  if (w->is_intent_stored) {
    rc = KPI_OK;
    stored = true;
  } else if (w->intent[0]) {
    rc = service_intended(rq->app, w->intent, &stored, &err);
  } else {
    waiting_begin_step(rq);
    rc = service_intend(rq->app, request, policy, w->intent, &err);
  }
  request->id = w->intent;
  w->is_intent_stored = rc == KPI_OK && stored;
  w->is_being_stored = rc == KPI_OK && !stored;
  if (rc == KPI_OK && !stored && waiting_for_step(rq, rp, w->intent, INTENT_WAIT_MS))
    return false;
  if (rc == KPI_OK && !stored)
    rc = err_set(&err, KPI_STORAGE_UNAVAILABLE, "the run could not be kept in DynamoDB in time");
  if (rc)
    reply_err(rp, rq, &err);
  return rc == KPI_OK;
}

bool waiting_store_found(struct request *rq, struct reply *rp, const struct run *run,
                         const struct submit_policy *policy) {
  struct waiting *w = rq->keep;
  if (!w || !(w->is_for_found_run || service_lacks_intent(rq->app, run)) || run_state_is_terminal(run->state))
    return true;
  struct run_request request = run_request_of(run);
  if (!w->is_for_found_run) {
    w->is_for_found_run = true;
    w->is_intent_stored = false;
    w->intent[0] = '\0'; /* that of the request itself is not needed, and goes */
    request.id = run->id;
  }
  return waiting_store_intent(rq, rp, &request, policy);
}

void waiting_write_run(struct reply *rp, unsigned status, const struct run *run, const char *disposition) {
  if (!run_state_is_terminal(run->state))
    reply_header(rp, "Retry-After", "%d", WAITING_RETRY_AFTER_SECONDS);
  struct json_out j = reply_json_begin(rp, status);
  run_json(&j, NULL, run, disposition);
  reply_json_end(&j);
}

void waiting_write_not_succeeded(struct request *rq, struct reply *rp, const struct run *run) {
  struct problem p = {.code = KPI_RUN_NOT_SUCCEEDED};
  json_error_t fault;
  json_t *error = run->error_json ? json_loads(run->error_json, 0, &fault) : NULL;
  const char *code = json_string_value(json_object_get(error, "code"));
  const char *message = json_string_value(json_object_get(error, "message"));
  snprintf(p.detail, sizeof p.detail, "The run is %s%s%s%s%s", run_state_name(run->state), code ? ": " : "",
           code ? code : "", message ? ": " : ".", message ? message : "");
  p.hint = json_string_value(json_object_get(error, "hint"));
  memcpy(p.run_id, run->id, sizeof p.run_id);
  reply_problem(rp, rq, &p);
  json_decref(error);
}
