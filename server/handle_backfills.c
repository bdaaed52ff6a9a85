/* SPDX-License-Identifier: MIT */
#include "server/handle_backfills.h"

#include "base/log.h"
#include "base/scope.h"
#include "server/backfill_json.h"
#include "server/backfill_request.h"
#include "server/cursor.h"
#include "server/input_look.h"
#include "server/waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CURSOR_BYTES_MAX = 256 };

/* ---- answering ---- */

static struct waited waited_backfill(const struct backfill *b) {
  return (struct waited){b->id, b->version, run_state_is_terminal(backfill_state(b))};
}

/* Who waits for the end is woken by each of its days: as long as one is active, nothing else is looked at. */
static bool waits_for_the_end(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  bool is_active;
  struct err err;
  if (!w || !w->id[0] || service_backfill_is_active(rq->app, view_of(w->id), &is_active, &err) || !is_active)
    return false;
  return waiting_goes_on(rq, rp, (struct waited){w->id, w->first_version, false}, false);
}

static void log_backfill(const struct request *rq, const struct backfill *b, const char *event,
                         const char *msg) {
  log_at(LOG_INFO, event, msg, LOG_S("request_id", rq->id), LOG_S("backfill_id", b->id),
         LOG_S("state", run_state_name(backfill_state(b))),
         LOG_S("principal", rq->principal[0] ? rq->principal : NULL),
         LOG_S("trace_id", rq->trace_id[0] ? rq->trace_id : NULL));
}

/* A page of days. */
struct page {
  day_t from;
  uint64_t limit;
};

/* Answers with a backfill and a page of its days. */
static void answer(struct request *rq, struct reply *rp, unsigned status, const struct backfill *b,
                   const char *disposition, struct page page) {
  struct err err;
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  auto_free struct backfill_days *days = calloc(1, sizeof *days);
  if (!days) {
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "No memory for the days.");
    return;
  }
  if (service_backfill_days(rq->app, view_of(b->id), page.from, page.limit, days, &err)) {
    reply_err(rp, rq, &err);
    return;
  }
  if (!run_state_is_terminal(backfill_state(b)))
    reply_header(rp, "Retry-After", "%d", WAITING_RETRY_AFTER_SECONDS);
  if (days->more) {
    char next[DAY_TEXT_SIZE];
    cursor_encode(view_of(day_text(days->at[days->count - 1].day + 1, next)), &cursor);
  }
  if (days->more && rq->method != HTTP_POST)
    reply_link_next(rp, rq, buf_view(&cursor));
  struct json_out j = reply_json_begin(rp, status);
  backfill_json_begin(&j, b, disposition);
  backfill_json_days(&j, days->at, days->count);
  cursor_write(&j, buf_view(&cursor));
  jout_object_end(&j);
  reply_json_end(&j);
}

static const struct page first_page = {DAY_MIN, RUN_PAGE_DEFAULT};

/* ---- POST /backfills ---- */

/* Looks at what the source holds, where the answer depends on it. `seen` keeps the fingerprint that the
 * policy borrows. False when the reply is written. */
static bool look_at_input(struct request *rq, struct reply *rp, struct backfill_submission *s,
                          struct input_seen *seen) {
  if (!s->is_dry_run && s->request.reprocess != REPROCESS_CHANGED)
    return true;
  if (!waiting_look_at_input(rq, rp, seen))
    return false;
  if (seen->rc == KPI_OK)
    s->common.policy.listed = seen->fingerprint;
  else if (s->is_dry_run) {
    reply_error(rp, rq, KPI_STORAGE_UNAVAILABLE, "The source cannot be listed: %s: %s", err_name(seen->rc),
                seen->err.message);
    return false;
  }
  return true; /* days of a source that cannot be listed count as changed: their runs say why */
}

static void answer_plan(struct request *rq, struct reply *rp, const struct backfill_submission *s,
                        const struct input_seen *seen) {
  struct err err;
  auto_free struct backfill_day *days = calloc(s->request.count + 1, sizeof *days);
  if (!days) {
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "No memory for the plan.");
    return;
  }
  if (service_plan_backfill(rq->app, &s->request, &s->common.policy, days, &err)) {
    reply_err(rp, rq, &err);
    return;
  }
  struct json_out j = reply_json_begin(rp, 200);
  struct backfill_reading reading = {.bytes = seen->bytes};
  reading.engine = service_engine_for(rq->app, s->common.request.engine, seen->bytes, reading.reason);
  backfill_json_plan(&j, &s->request, days, &reading);
  reply_json_end(&j);
}

/* 202: something was queued by this request. 200: it was there, is others' or done, or has ended while the
 * request waited. */
static void answer_submitted(struct request *rq, struct reply *rp, const struct backfill *b,
                             enum disposition disposition) {
  bool is_accepted = disposition == DISPOSITION_CREATED && !run_state_is_terminal(backfill_state(b));
  reply_header(rp, "Location", "/backfills/%s", b->id);
  if (disposition == DISPOSITION_REPLAYED)
    reply_header(rp, "Idempotency-Replayed", "true");
  answer(rq, rp, is_accepted ? 202 : 200, b, disposition_name(disposition), first_page);
}

static void accept_backfill(struct request *rq, struct reply *rp, const struct backfill_submission *s) {
  enum disposition disposition;
  struct backfill b;
  struct err err;
  if (service_submit_backfill(rq->app, &s->request, &s->common.policy, &b, &disposition, &err)) {
    reply_err(rp, rq, &err);
    return;
  }
  log_backfill(rq, &b, disposition == DISPOSITION_REPLAYED ? "backfill.replayed" : "backfill.accepted",
               disposition == DISPOSITION_REPLAYED ? "request of the same key answered"
                                                   : "backfill accepted");
  waiting_remember(rq, waited_backfill(&b), disposition);
  if (!waiting_goes_on(rq, rp, waited_backfill(&b), false))
    answer_submitted(rq, rp, &b, disposition);
  backfill_clear(&b);
}

/* It was accepted by an earlier call: only its end is awaited. */
static void await_submitted(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  struct backfill b;
  struct err err;
  if (!waiting_begin(rq, rp, false) || waits_for_the_end(rq, rp))
    return;
  if (service_get_backfill(rq->app, view_of(w->id), &b, &err))
    reply_err(rp, rq, &err);
  else if (!waiting_goes_on(rq, rp, waited_backfill(&b), false))
    answer_submitted(rq, rp, &b, w->disposition);
  backfill_clear(&b);
}

/* Every call reads the body again: only what has to outlive the wait is kept. */
static void submit_backfill(struct request *rq, struct reply *rp) {
  struct backfill_submission s = {0};
  struct input_seen seen = {0};
  if (backfill_submission_read(rq, rp, &s)) {
    bool may_wait = s.is_dry_run || s.request.reprocess == REPROCESS_CHANGED;
    bool goes_on = waiting_begin(rq, rp, may_wait) && look_at_input(rq, rp, &s, &seen);
    if (goes_on && s.is_dry_run)
      answer_plan(rq, rp, &s, &seen);
    else if (goes_on)
      accept_backfill(rq, rp, &s);
  }
  backfill_submission_clear(&s);
}

static void post_backfills(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  if (w && w->id[0])
    await_submitted(rq, rp);
  else
    submit_backfill(rq, rp);
}

/* ---- GET /backfills/{id} ---- */

static void write_not_succeeded(struct request *rq, struct reply *rp, const struct backfill *b) {
  const uint64_t *n = b->counts.by_state;
  struct problem p = {.code = KPI_RUN_NOT_SUCCEEDED};
  snprintf(p.detail, sizeof p.detail,
           "The backfill is %s: %llu days have succeeded, %llu have failed, %llu were cancelled.",
           run_state_name(backfill_state(b)), (unsigned long long)n[RUN_SUCCEEDED],
           (unsigned long long)n[RUN_FAILED], (unsigned long long)n[RUN_CANCELLED]);
  reply_problem(rp, rq, &p);
}

/* False when the reply is a problem already. */
static bool read_page(struct request *rq, struct reply *rp, struct page *page) {
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct view value;
  struct err err;
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  *page = first_page;
  if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &page->limit, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  if (request_arg(rq, "cursor", &value) &&
      (!cursor_decode(value, &cursor) || !day_parse(buf_view(&cursor), &page->from))) {
    cursor_refuse(&p);
    reply_problem(rp, rq, &p);
    return false;
  }
  return true;
}

static void get_backfill(struct request *rq, struct reply *rp) {
  bool until_change, expect_success;
  struct page page;
  struct backfill b;
  struct err err;
  if (!read_page(rq, rp, &page) || !waiting_read_word(rq, rp, "until", "terminal", "change", &until_change) ||
      !waiting_read_word(rq, rp, "expect", NULL, "succeeded", &expect_success) ||
      !waiting_begin(rq, rp, false) || (!until_change && waits_for_the_end(rq, rp)))
    return;
  if (service_get_backfill(rq->app, rq->params[0], &b, &err)) {
    reply_err(rp, rq, &err);
  } else {
    const struct waited now = waited_backfill(&b);
    waiting_remember(rq, now, DISPOSITION_CREATED);
    bool goes_on = waiting_goes_on(rq, rp, now, until_change);
    if (!goes_on && expect_success && now.is_terminal && backfill_state(&b) != RUN_SUCCEEDED)
      write_not_succeeded(rq, rp, &b);
    else if (!goes_on)
      answer(rq, rp, 200, &b, NULL, page);
  }
  backfill_clear(&b);
}

/* ---- GET /backfills ---- */

static void write_list(struct request *rq, struct reply *rp, const struct backfill_list *list) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (list->more)
    cursor_encode(view_of(list->at[list->count - 1].id), &cursor);
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "backfills");
  for (size_t i = 0; i < list->count; i++) {
    backfill_json_begin(&j, &list->at[i], NULL);
    jout_object_end(&j);
  }
  jout_array_end(&j);
  cursor_write_next(rq, rp, &j, buf_view(&cursor));
  jout_object_end(&j);
  reply_json_end(&j);
}

static void get_backfills(struct request *rq, struct reply *rp) {
  struct backfill_filter filter = {.limit = RUN_PAGE_DEFAULT};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct backfill_list list;
  struct err err;
  uint64_t limit = RUN_PAGE_DEFAULT;
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &limit, &err)) {
    reply_err(rp, rq, &err);
    return;
  }
  filter.limit = limit;
  if (!cursor_read_id(rq, &cursor, &filter.before_id)) {
    cursor_refuse(&p);
    reply_problem(rp, rq, &p);
    return;
  }
  if (service_list_backfills(rq->app, &filter, &list, &err))
    reply_err(rp, rq, &err);
  else
    write_list(rq, rp, &list);
  backfill_list_clear(&list);
}

/* ---- POST /backfills/{id}/cancel and retry ---- */

static void post_cancel(struct request *rq, struct reply *rp) {
  struct backfill b;
  struct err err;
  if (!submission_is_empty(rq, rp))
    return;
  if (service_cancel_backfill(rq->app, rq->params[0], &b, &err)) {
    reply_err(rp, rq, &err);
  } else {
    log_backfill(rq, &b, "backfill.cancel_requested", "cancel requested");
    answer(rq, rp, backfill_state(&b) == RUN_CANCELLED ? 200 : 202, &b, NULL, first_page);
  }
  backfill_clear(&b);
}

static void post_retry(struct request *rq, struct reply *rp) {
  struct backfill b;
  struct err err;
  if (!submission_is_empty(rq, rp))
    return;
  if (service_retry_backfill(rq->app, rq->params[0], &b, &err)) {
    reply_err(rp, rq, &err);
  } else {
    log_backfill(rq, &b, "backfill.retry_requested", "retry requested");
    answer(rq, rp, 202, &b, NULL, first_page);
  }
  backfill_clear(&b);
}

static const char *const submit_query[] = {"wait", NULL};
static const char *const get_query[] = {"wait", "until", "expect", "limit", "cursor", NULL};
static const char *const list_query[] = {"limit", "cursor", NULL};

static const struct route table[] = {
    {HTTP_POST, "/backfills", post_backfills, submit_query, false},
    {HTTP_GET, "/backfills", get_backfills, list_query, false},
    {HTTP_GET, "/backfills/{id}", get_backfill, get_query, false},
    {HTTP_POST, "/backfills/{id}/cancel", post_cancel, NULL, false},
    {HTTP_POST, "/backfills/{id}/retry", post_retry, NULL, false},
};

const struct route_set backfills_routes = {table, sizeof table / sizeof table[0]};
