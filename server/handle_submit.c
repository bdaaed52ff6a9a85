/* SPDX-License-Identifier: MIT */
#include "server/handle_submit.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/body.h"
#include "server/input_look.h"
#include "server/run_tag.h"
#include "server/submission.h"
#include "server/waiting.h"

#include <stdio.h>
#include <string.h>

enum { SUPERSEDE_WAIT_MS = 15 * 1000 };

#define NO_VERSION UINT64_MAX /* of an entity tag that is none of ours */

/* ---- POST /runs ---- */

/* What a client asked of a run, in the log of the run. */
static void log_request(const struct request *rq, const struct run *run, const char *event, const char *msg) {
  char date[DAY_TEXT_SIZE];
  log_at(LOG_INFO, event, msg, LOG_S("request_id", rq->id), LOG_S("run_id", run->id),
         LOG_S("date", day_text(run->date, date)), LOG_I("attempt", run->attempt),
         LOG_S("state", run_state_name(run->state)),
         LOG_S("principal", rq->principal[0] ? rq->principal : NULL),
         LOG_S("trace_id", rq->trace_id[0] ? rq->trace_id : NULL));
}

static void log_submitted(const struct request *rq, const struct run *run, enum disposition disposition) {
  static const struct {
    const char *event, *message;
  } words[DISPOSITION_COUNT] = {
      [DISPOSITION_CREATED] = {"run.accepted", "run accepted"},
      [DISPOSITION_ATTACHED] = {"run.attached", "request attached to the run"},
      [DISPOSITION_REPLAYED] = {"run.replayed", "request of the same key answered"},
      [DISPOSITION_RETRIED] = {"run.retry_requested", "retry requested"},
      [DISPOSITION_SUPERSEDED] = {"run.accepted", "run accepted in the place of one that was cancelled"},
      [DISPOSITION_UNCHANGED] = {"run.unchanged", "request over unchanged inputs answered"},
  };
  log_request(rq, run, words[disposition].event, words[disposition].message);
}

/* 202: a run was accepted by this request. 200: it was there, or has ended while the request waited. */
static void answer_submitted(struct reply *rp, const struct run *run, enum disposition disposition) {
  bool is_accepted = disposition == DISPOSITION_CREATED || disposition == DISPOSITION_RETRIED ||
                     disposition == DISPOSITION_SUPERSEDED;
  reply_header(rp, "Location", "/runs/%s", run->id);
  if (disposition == DISPOSITION_REPLAYED)
    reply_header(rp, "Idempotency-Replayed", "true");
  waiting_write_run(rp, is_accepted && !run_state_is_terminal(run->state) ? 202 : 200, run,
                    disposition_name(disposition));
}

/* Answers if_changed: what the source holds now is listed first. `seen` keeps the fingerprint that the policy
 * borrows. False when the reply is written: to wait, or why it could not be. */
static bool look_at_input(struct request *rq, struct reply *rp, struct submission *s,
                          struct input_seen *seen) {
  if (s->policy.on_finished != ON_FINISHED_IF_CHANGED)
    return true;
  if (!waiting_look_at_input(rq, rp, seen))
    return false;
  if (seen->rc == KPI_OK)
    s->policy.listed = seen->fingerprint;
  return true; /* a source that cannot be listed: the run that is created says why */
}

/* The run of the date was cancelled for this request and has to end first. */
static void await_superseded(struct request *rq, struct reply *rp, const struct run *run) {
  struct waiting *w = rq->keep;
  if (!w->has_superseded)
    waiting_begin_step(rq);
  w->has_superseded = true;
  if (waiting_for_step(rq, rp, run->id, SUPERSEDE_WAIT_MS))
    return;
  struct problem p = {.code = KPI_RUN_ALREADY_ACTIVE};
  snprintf(p.detail, sizeof p.detail, "run %s of the date is being cancelled; send it again in a moment",
           run->id);
  memcpy(p.run_id, run->id, sizeof p.run_id);
  reply_problem(rp, rq, &p);
}

static void accept_run(struct request *rq, struct reply *rp, const struct submission *s) {
  struct waiting *w = rq->keep;
  struct submitted done;
  struct err err;
  if (service_submit(rq->app, &s->request, &s->policy, &done, &err)) {
    reply_err(rp, rq, &err);
  } else if (done.must_wait) {
    await_superseded(rq, rp, &done.run);
  } else {
    if (w && w->has_superseded && done.disposition == DISPOSITION_CREATED)
      done.disposition = DISPOSITION_SUPERSEDED;
    log_submitted(rq, &done.run, done.disposition);
    waiting_remember(rq, waited_run(&done.run), done.disposition);
    if (waiting_store_found(rq, rp, &done.run, &s->policy) &&
        !waiting_goes_on(rq, rp, waited_run(&done.run), false))
      answer_submitted(rp, &done.run, done.disposition);
  }
  run_clear(&done.run);
}

/* Every call reads the body again: only what has to outlive the wait is kept. */
static void submit_run(struct request *rq, struct reply *rp) {
  struct submission s = {0};
  struct input_seen seen;
  if (submission_read(rq, rp, &s)) {
    const struct waiting *w = rq->keep;
    if (w && w->has_superseded) /* the run that it has cancelled does not answer it */
      s.policy.on_finished = ON_FINISHED_NEW;
    bool may_wait = service_keeps_intents(rq->app) || s.policy.on_finished == ON_FINISHED_IF_CHANGED ||
                    s.policy.on_active == ON_ACTIVE_SUPERSEDE;
    if (waiting_begin(rq, rp, may_wait) && look_at_input(rq, rp, &s, &seen) &&
        waiting_store_intent(rq, rp, &s.request, &s.policy))
      accept_run(rq, rp, &s);
  }
  submission_clear(&s);
}

/* The run was accepted by an earlier call: only its end is awaited. */
static void await_submitted(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  const struct submit_policy none = {0};
  struct run run;
  struct err err;
  if (!waiting_begin(rq, rp, false))
    return;
  if (service_get_run(rq->app, view_of(w->id), &run, &err))
    reply_err(rp, rq, &err);
  else if ((!w->is_for_found_run || waiting_store_found(rq, rp, &run, &none)) &&
           !waiting_goes_on(rq, rp, waited_run(&run), false))
    answer_submitted(rp, &run, w->disposition);
  run_clear(&run);
}

static void post_runs(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  if (w && w->id[0])
    await_submitted(rq, rp);
  else
    submit_run(rq, rp);
}

/* ---- POST /runs/{id}/cancel ---- */

static void post_cancel(struct request *rq, struct reply *rp) {
  struct run run;
  struct err err;
  if (!submission_is_empty(rq, rp))
    return;
  if (service_cancel(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else {
    log_request(rq, &run, "run.cancel_requested", "cancel requested");
    waiting_write_run(rp, run.state == RUN_CANCELLED ? 200 : 202, &run, NULL);
  }
  run_clear(&run);
}

/* ---- POST /runs/{id}/retry ---- */

/* Reads {"from": "start"|"publish"}; an empty body is a retry from the start. */
static bool read_retry_body(struct request *rq, struct reply *rp, bool *from_publish) {
  static const char *const known[] = {"from", NULL};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  json_t *body;
  if (!submission_read_optional(rq, rp, &body))
    return false;
  const json_t *from = json_object_get(body, "from");
  *from_publish = view_is(body_text(from), "publish");
  if (from && !*from_publish && !view_is(body_text(from), "start"))
    problem_add(&p, "/from", "Must be \"start\" or \"publish\".");
  bool accepted = submission_accept(rq, rp, body, known, &p);
  json_decref(body);
  return accepted;
}

/* A retry is an acceptance too: where intents are kept it is stored first, as POST /runs does; not that of a
 * run that has not failed, which has an intent of its own. Such a run is refused as long as it is that one.
 */
static bool store_retry_intent(struct request *rq, struct reply *rp, struct retry_order *order) {
  struct run run;
  struct err err;
  bool stored = false;
  if (!service_keeps_intents(rq->app))
    return true;
  if (!waiting_begin(rq, rp, true))
    return false;
  if (service_get_run(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else if (run.state != RUN_FAILED && run.state != RUN_CANCELLED) {
    order->if_version = order->if_version ? order->if_version : run.version;
    stored = true;
  } else {
    struct run_request request = run_request_of(&run);
    const struct submit_policy policy = {.key = view_of(run.idempotency_key)};
    stored = waiting_store_intent(rq, rp, &request, &policy);
  }
  run_clear(&run);
  return stored;
}

/* If-Match: the tag that GET /runs/{id} gave, so that nobody retries what has changed since he looked.
 * Returns its version, 0 when any will do. */
static uint64_t if_match_version(const struct request *rq) {
  struct view header;
  uint64_t version = 0;
  if (!request_header(rq, "If-Match", &header) || view_is(header, "*"))
    return 0;
  if (!run_tag_parse(header, rq->params[0], &version))
    version = NO_VERSION; /* told only when there is such a run */
  return version;
}

static void post_retry(struct request *rq, struct reply *rp) {
  struct run run;
  struct err err;
  struct retry_order order = {.id = rq->params[0], .if_version = if_match_version(rq)};
  if (!read_retry_body(rq, rp, &order.from_publish) || !store_retry_intent(rq, rp, &order))
    return;
  if (service_retry(rq->app, &order, &run, &err)) {
    struct problem p = problem_of(&err);
    p.is_final = err.code == KPI_RESULTS_NOT_READY; /* it has ended: there will be none to publish */
    reply_problem(rp, rq, &p);
  } else {
    log_request(rq, &run, order.from_publish ? "run.publish_requested" : "run.retry_requested",
                order.from_publish ? "retry of publishing requested" : "retry requested");
    waiting_write_run(rp, 202, &run, NULL);
  }
  run_clear(&run);
}

static const char *const submit_query[] = {"wait", NULL};

static const struct route table[] = {
    {HTTP_POST, "/runs", post_runs, submit_query, false},
    {HTTP_POST, "/runs/{id}/cancel", post_cancel, NULL, false},
    {HTTP_POST, "/runs/{id}/retry", post_retry, NULL, false},
};

const struct route_set submit_routes = {table, sizeof table / sizeof table[0]};
