/* SPDX-License-Identifier: MIT */
#include "server/handle_runs.h"

#include "base/scope.h"
#include "server/cursor.h"
#include "server/run_json.h"
#include "server/run_tag.h"
#include "server/submission.h"
#include "server/waiting.h"

enum { CURSOR_BYTES_MAX = 256 };

/* ---- GET /runs/{id} ---- */

static void answer_run(struct request *rq, struct reply *rp, const struct run *run, bool expect_success) {
  char etag[RUN_TAG_SIZE];
  if (expect_success && run_state_is_terminal(run->state) && run->state != RUN_SUCCEEDED)
    waiting_write_not_succeeded(rq, rp, run);
  else if (!reply_etag(rp, rq, run_tag(run, etag)))
    waiting_write_run(rp, 200, run, NULL);
}

/* With until=change, a client that sends the tag of what it has seen is answered at once when that is not the
 * record any more. */
static void note_seen(struct request *rq, const struct run *run) {
  struct waiting *w = rq->keep;
  struct view header;
  uint64_t version;
  if (w && request_header(rq, "If-None-Match", &header) && run_tag_parse(header, view_of(run->id), &version))
    w->first_version = version;
}

static void get_run(struct request *rq, struct reply *rp) {
  bool until_change, expect_success;
  struct run run;
  struct err err;
  if (!waiting_read_word(rq, rp, "until", "terminal", "change", &until_change) ||
      !waiting_read_word(rq, rp, "expect", NULL, "succeeded", &expect_success) ||
      !waiting_begin(rq, rp, false))
    return;
  if (service_get_run(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else {
    waiting_remember(rq, waited_run(&run), DISPOSITION_CREATED);
    note_seen(rq, &run);
    if (!waiting_goes_on(rq, rp, waited_run(&run), until_change))
      answer_run(rq, rp, &run, expect_success);
  }
  run_clear(&run);
}

/* ---- GET /runs/{id}/gate ---- */

/* Answers by the status alone. A run that is not known is 410: 404 says that it has not ended. */
static void answer_gate(struct request *rq, struct reply *rp, const struct run *run, bool or_failed,
                        bool pending_503) {
  if (!run_state_is_terminal(run->state)) {
    reply_empty(rp, pending_503 ? 503 : 404);
    reply_header(rp, "Retry-After", "%d", WAITING_RETRY_AFTER_SECONDS);
  } else if (run->state == RUN_SUCCEEDED || or_failed) {
    reply_empty(rp, 200);
  } else {
    waiting_write_not_succeeded(rq, rp, run);
  }
  reply_header(rp, "Cache-Control", "no-store");
}

static void get_gate(struct request *rq, struct reply *rp) {
  bool or_failed, pending_503;
  struct run run = {0};
  struct err err;
  if (!waiting_read_word(rq, rp, "on", "succeeded", "finished", &or_failed) ||
      !waiting_read_word(rq, rp, "pending", "404", "503", &pending_503) || !waiting_begin(rq, rp, false))
    return;
  enum kpi_code rc = service_get_run(rq->app, rq->params[0], &run, &err);
  if (rc) {
    struct problem p = problem_of(&err);
    p.status = rc == KPI_RUN_NOT_FOUND ? 410 : 0;
    reply_problem(rp, rq, &p);
  } else {
    waiting_remember(rq, waited_run(&run), DISPOSITION_CREATED);
    if (!waiting_goes_on(rq, rp, waited_run(&run), false))
      answer_gate(rq, rp, &run, or_failed, pending_503);
  }
  run_clear(&run);
}

/* ---- GET /runs ---- */

static void bad_parameter(struct problem *p, const char *name, const char *what) {
  problem_add(p, name, "%s", what);
}

static void read_day(const struct request *rq, const char *name, bool *has, day_t *out, struct problem *p) {
  struct view value;
  *has = request_arg(rq, name, &value);
  if (*has && !day_parse(value, out))
    bad_parameter(p, name, "Must be a real date as YYYY-MM-DD.");
}

static void read_label(const struct request *rq, struct run_filter *f, struct problem *p) {
  struct view value;
  if (!request_arg(rq, "label", &value))
    return;
  f->label_value = value;
  f->label_key = view_split(&f->label_value, ':');
  if (f->label_key.len == 0)
    bad_parameter(p, "label", "Must be name or name:value.");
}

/* Reads the filters; `cursor` keeps the text that the filter's keyset borrows. */
static void read_filter(const struct request *rq, struct run_filter *f, struct buf *cursor,
                        struct problem *p) {
  struct view value;
  f->has_state = request_arg(rq, "state", &value);
  if (f->has_state && !run_state_of(value, &f->state))
    bad_parameter(p, "state", "Must be the name of a state.");
  read_day(rq, "date", &f->has_date, &f->date, p);
  read_day(rq, "from", &f->has_from, &f->from, p);
  read_day(rq, "to", &f->has_to, &f->to, p);
  f->has_active = request_arg(rq, "active", &value);
  f->active = f->has_active && view_is(value, "true");
  if (f->has_active && !f->active && !view_is(value, "false"))
    bad_parameter(p, "active", "Must be true or false.");
  read_label(rq, f, p);
  if (request_arg(rq, "idempotency_key", &f->idempotency_key) &&
      !idempotency_key_is_valid(f->idempotency_key))
    bad_parameter(p, "idempotency_key", "Must be 1 to 255 visible ASCII characters.");
  if (request_arg(rq, "backfill_id", &f->backfill_id) && !crypto_is_uuid(f->backfill_id))
    bad_parameter(p, "backfill_id", "Must be the id of a backfill.");
  if (!cursor_read_id(rq, cursor, &f->before_id))
    cursor_refuse(p);
}

static void write_list(struct request *rq, struct reply *rp, const struct run_list *list) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (list->more)
    cursor_encode(view_of(list->runs[list->count - 1].id), &cursor);
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "runs");
  for (size_t i = 0; i < list->count; i++)
    run_json(&j, NULL, &list->runs[i], NULL);
  jout_array_end(&j);
  cursor_write_next(rq, rp, &j, buf_view(&cursor));
  jout_object_end(&j);
  reply_json_end(&j);
}

static void get_runs(struct request *rq, struct reply *rp) {
  struct run_filter filter = {0};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct run_list list;
  struct err err;
  uint64_t limit = RUN_PAGE_DEFAULT;
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &limit, &err)) {
    reply_err(rp, rq, &err);
    return;
  }
  filter.limit = limit;
  read_filter(rq, &filter, &cursor, &p);
  if (p.error_count > 0) {
    reply_problem(rp, rq, &p);
    return;
  }
  if (service_list_runs(rq->app, &filter, &list, &err))
    reply_err(rp, rq, &err);
  else
    write_list(rq, rp, &list);
  run_list_clear(&list);
}

static const char *const run_query[] = {"wait", "until", "expect", NULL};
static const char *const gate_query[] = {"wait", "on", "pending", NULL};
static const char *const list_query[] = {
    "state",           "date",        "from",  "to",     "active", "label",
    "idempotency_key", "backfill_id", "limit", "cursor", NULL};

static const struct route table[] = {
    {HTTP_GET, "/runs", get_runs, list_query, false},
    {HTTP_GET, "/runs/{id}", get_run, run_query, false},
    {HTTP_GET, "/runs/{id}/gate", get_gate, gate_query, false},
};

const struct route_set runs_routes = {table, sizeof table / sizeof table[0]};
