/* SPDX-License-Identifier: MIT */
#include "server/handle_runs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/body.h"
#include "server/cursor.h"
#include "server/run_json.h"
#include "server/service.h"

#include <stdio.h>
#include <string.h>

enum {
  RETRY_AFTER_SECONDS = 2,
  CURSOR_BYTES_MAX = 256,
  MS_PER_SECOND = 1000,
  ETAG_BYTES = 96,
  INTENT_WAIT_MS = 5000
};

/* ---- POST /runs: the body ---- */

/* A request body that was read. Owns the JSON that `request` borrows from. */
struct submission {
  struct run_request request;
  json_t *body;
  char *labels;
  char max_bad_rows[32];
};

static void submission_clear(struct submission *s) {
  json_decref(s->body);
  free(s->labels);
}

static struct view json_text(const json_t *value) {
  return (struct view){json_string_value(value), json_string_length(value)};
}

static void read_date(const json_t *value, const struct service *service, struct submission *s,
                      struct problem *p) {
  struct view text = value ? json_text(value) : (struct view){0};
  if (view_is(text, "today"))
    s->request.date = service_today(service);
  else if (view_is(text, "yesterday"))
    s->request.date = service_today(service) - 1;
  else if (!json_is_string(value) || !day_parse(text, &s->request.date))
    problem_add(p, "/date",
                value ? "Must be a real date as YYYY-MM-DD, or \"yesterday\" or \"today\"."
                      : "A date is needed: YYYY-MM-DD, \"yesterday\" or \"today\".");
}

static void read_words(const json_t *body, struct submission *s, struct problem *p) {
  const json_t *publish = json_object_get(body, "publish"), *gate = json_object_get(body, "quality_gate"),
               *bad_rows = json_object_get(body, "bad_rows"), *force = json_object_get(body, "force");
  if (publish && !json_is_boolean(publish))
    problem_add(p, "/publish", "Must be true or false.");
  s->request.publish = !publish || json_is_true(publish);
  if (force && !json_is_boolean(force))
    problem_add(p, "/force", "Must be true or false.");
  s->request.force = json_is_true(force);
  if (gate && (!json_is_string(gate) || !quality_gate_of(json_text(gate), &s->request.gate)))
    problem_add(p, "/quality_gate", "Must be \"off\", \"warn\" or \"block\".");
  if (bad_rows && (!json_is_string(bad_rows) || !bad_rows_of(json_text(bad_rows), &s->request.bad_rows)))
    problem_add(p, "/bad_rows", "Must be \"fail\" or \"skip\".");
}

static void read_max_bad_rows(const json_t *value, struct submission *s, struct problem *p) {
  struct bad_rows_limit limit;
  if (!value)
    return;
  if (json_is_integer(value) && json_integer_value(value) >= 0)
    snprintf(s->max_bad_rows, sizeof s->max_bad_rows, "%lld", (long long)json_integer_value(value));
  else if (json_is_string(value) && !view_to_cstr(json_text(value), s->max_bad_rows, sizeof s->max_bad_rows))
    s->max_bad_rows[0] = '\0';
  s->request.max_bad_rows = view_of(s->max_bad_rows);
  if (!bad_rows_limit_parse(s->request.max_bad_rows, &limit))
    problem_add(p, "/max_bad_rows", "Must be a count such as 100, or a percentage such as \"0.5%%\".");
}

static void read_labels(json_t *labels, struct submission *s, struct problem *p) {
  const char *name;
  json_t *value;
  if (!labels)
    return;
  if (!json_is_object(labels) || json_object_size(labels) > LABELS_MAX) {
    problem_add(p, "/labels", "Must be an object of at most %d strings.", LABELS_MAX);
    return;
  }
  json_object_foreach(labels, name, value) {
    if (*name == '\0' || utf8_count(view_of(name)) > LABEL_NAME_CHARS_MAX)
      problem_add(p, "/labels", "A label's name has 1 to %d characters.", LABEL_NAME_CHARS_MAX);
    if (!json_is_string(value) || utf8_count(json_text(value)) > LABEL_VALUE_CHARS_MAX)
      problem_add(p, "/labels", "A label's value is a string of at most %d characters.",
                  LABEL_VALUE_CHARS_MAX);
  }
  s->labels = json_dumps(labels, JSON_COMPACT);
  s->request.labels_json = view_of(s->labels);
}

static void read_reason(const json_t *reason, struct submission *s, struct problem *p) {
  if (!reason)
    return;
  s->request.reason = json_is_string(reason) ? json_text(reason) : (struct view){0};
  if (!json_is_string(reason) || utf8_count(s->request.reason) > REASON_CHARS_MAX)
    problem_add(p, "/reason", "Must be a string of at most %d characters.", REASON_CHARS_MAX);
}

/* Refuses unknown members with the faults that were found before. False when the reply is a problem already.
 */
static bool accept_body(struct request *rq, struct reply *rp, const json_t *body, const char *const *known,
                        struct problem *faults) {
  body_refuse_unknown(body, known, faults);
  if (faults->error_count > 0)
    reply_problem(rp, rq, faults);
  return faults->error_count == 0;
}

/* Reads a body that may be missing. Returns owned in *body, NULL without one. False when the reply is a
 * problem already. */
static bool read_optional_body(struct request *rq, struct reply *rp, json_t **body) {
  struct err err;
  *body = NULL;
  if (rq->body.len == 0 || body_read_object(rq, NULL, body, &err) == KPI_OK)
    return true;
  reply_err(rp, rq, &err);
  return false;
}

/* Reads the whole body, so that all faults are told at once. False when the reply is a problem already. */
static bool read_submission(struct request *rq, struct reply *rp, struct submission *s) {
  static const char *const known[] = {"date",   "publish", "quality_gate", "bad_rows", "max_bad_rows",
                                      "labels", "reason",  "force",        NULL};
  static const char *const booleans[] = {"publish", "force", NULL};
  struct err err;
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  *s = (struct submission){.request = {.gate = GATE_WARN, .bad_rows = service_default_bad_rows(rq->app)}};
  if (body_read_object(rq, booleans, &s->body, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  read_date(json_object_get(s->body, "date"), rq->app, s, &p);
  read_words(s->body, s, &p);
  read_max_bad_rows(json_object_get(s->body, "max_bad_rows"), s, &p);
  read_labels(json_object_get(s->body, "labels"), s, &p);
  read_reason(json_object_get(s->body, "reason"), s, &p);
  request_header(rq, "User-Agent", &s->request.user_agent);
  s->request.request_id = view_of(rq->id);
  return accept_body(rq, rp, s->body, known, &p);
}

/* ---- waiting ---- */

/* What a request that waits keeps between its calls. */
struct waiting {
  char id[UUID_TEXT_SIZE];
  enum disposition disposition;
  uint64_t first_version;
  int64_t deadline_ms;
  char intent[UUID_TEXT_SIZE]; /* that is being stored before a run is accepted */
  int64_t intent_deadline_ms;
  struct service *service;
};

/* A client that went away while its intent was being stored has no run. */
static void waiting_free(void *keep) {
  struct waiting *w = keep;
  if (w->intent[0] && !w->id[0])
    service_forget_intent(w->service, w->intent);
  free(w);
}

/* Suspends the request until its run changes. False when it must be answered now. */
static bool wait_more(struct request *rq, struct reply *rp, const struct run *run, bool until_change) {
  struct waiting *w = rq->keep;
  if (!w || rq->wait_over || run_state_is_terminal(run->state) || clock_mono_ms() >= w->deadline_ms)
    return false;
  if (until_change && run->version != w->first_version)
    return false;
  reply_wait(rp, w->id, w->deadline_ms);
  return true;
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

/* Reads for how long a request wants to wait. False when the reply is a problem already. */
static bool begin_waiting(struct request *rq, struct reply *rp, bool must_keep) {
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

static void remember_run(struct request *rq, const struct run *run, enum disposition disposition) {
  struct waiting *w = rq->keep;
  if (!w || w->id[0])
    return;
  memcpy(w->id, run->id, sizeof w->id);
  w->disposition = disposition;
  w->first_version = run->version;
}

static void write_run(struct reply *rp, unsigned status, const struct run *run, const char *disposition) {
  if (!run_state_is_terminal(run->state))
    reply_header(rp, "Retry-After", "%d", RETRY_AFTER_SECONDS);
  struct json_out j = reply_json_begin(rp, status);
  run_json(&j, NULL, run, disposition);
  reply_json_end(&j);
}

/* ---- POST /runs ---- */

static void answer_submitted(struct reply *rp, const struct run *run, enum disposition disposition) {
  bool is_new = disposition == DISPOSITION_CREATED && !run_state_is_terminal(run->state);
  reply_header(rp, "Location", "/runs/%s", run->id);
  write_run(rp, is_new ? 202 : 200, run, disposition_name(disposition));
}

/* Has the intent of the run stored first, where intents are kept. False when the reply is written: to wait,
 * or why it could not be. */
static bool store_intent(struct request *rq, struct reply *rp, struct run_request *request) {
  struct waiting *w = rq->keep;
  struct err err;
  bool stored = false;
  enum kpi_code rc;
  if (!service_keeps_intents(rq->app))
    return true;
  if (w->intent[0]) {
    rc = service_intended(rq->app, w->intent, &stored, &err);
  } else {
    w->intent_deadline_ms = clock_mono_ms() + INTENT_WAIT_MS;
    rc = service_intend(rq->app, request, w->intent, &err);
  }
  if (rc == KPI_OK && !stored && (rq->wait_over || clock_mono_ms() >= w->intent_deadline_ms))
    rc = err_set(&err, KPI_STORAGE_UNAVAILABLE, "the run could not be kept in DynamoDB in time");
  if (rc)
    reply_err(rp, rq, &err);
  else if (!stored)
    reply_wait(rp, w->intent, w->intent_deadline_ms);
  request->id = w->intent;
  return rc == KPI_OK && stored;
}

/* What a client asked of a run, in the log of the run. */
static void log_request(const struct request *rq, const struct run *run, const char *event, const char *msg) {
  char date[DAY_TEXT_SIZE];
  log_at(LOG_INFO, event, msg, LOG_S("request_id", rq->id), LOG_S("run_id", run->id),
         LOG_S("date", day_text(run->date, date)), LOG_I("attempt", run->attempt),
         LOG_S("state", run_state_name(run->state)));
}

static void submit_run(struct request *rq, struct reply *rp) {
  struct submission s = {0};
  struct run run = {0};
  struct err err;
  enum disposition disposition = DISPOSITION_CREATED;
  if (read_submission(rq, rp, &s) && store_intent(rq, rp, &s.request)) {
    if (service_submit(rq->app, &s.request, &run, &disposition, &err)) {
      reply_err(rp, rq, &err);
    } else {
      log_request(rq, &run, disposition == DISPOSITION_CREATED ? "run.accepted" : "run.attached",
                  disposition == DISPOSITION_CREATED ? "run accepted" : "request attached to the run");
      remember_run(rq, &run, disposition);
      if (!wait_more(rq, rp, &run, false))
        answer_submitted(rp, &run, disposition);
    }
  }
  run_clear(&run);
  submission_clear(&s);
}

/* The run was accepted by an earlier call: only its end is awaited. */
static void await_submitted(struct request *rq, struct reply *rp) {
  const struct waiting *w = rq->keep;
  struct run run;
  struct err err;
  if (service_get_run(rq->app, view_of(w->id), &run, &err))
    reply_err(rp, rq, &err);
  else if (!wait_more(rq, rp, &run, false))
    answer_submitted(rp, &run, w->disposition);
  run_clear(&run);
}

static void post_runs(struct request *rq, struct reply *rp) {
  if (!begin_waiting(rq, rp, service_keeps_intents(rq->app)))
    return;
  const struct waiting *w = rq->keep;
  if (w && w->id[0])
    await_submitted(rq, rp);
  else
    submit_run(rq, rp);
}

/* ---- GET /runs/{id} ---- */

/* Reads a parameter that is one of two words; *second tells which. False when the reply is a problem already.
 */
static bool read_word(struct request *rq, struct reply *rp, const char *name, const char *first,
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

static void answer_not_succeeded(struct request *rq, struct reply *rp, const struct run *run) {
  struct problem p = {.code = KPI_RUN_NOT_SUCCEEDED};
  json_error_t fault;
  json_t *error = run->error_json ? json_loads(run->error_json, 0, &fault) : NULL;
  const char *code = json_string_value(json_object_get(error, "code"));
  const char *message = json_string_value(json_object_get(error, "message"));
  snprintf(p.detail, sizeof p.detail, "The run is %s%s%s%s%s", run_state_name(run->state), code ? ": " : "",
           code ? code : "", message ? ": " : ".", message ? message : "");
  memcpy(p.run_id, run->id, sizeof p.run_id);
  json_decref(error);
  reply_problem(rp, rq, &p);
}

static void answer_run(struct request *rq, struct reply *rp, const struct run *run, bool expect_success) {
  char etag[ETAG_BYTES];
  if (expect_success && run_state_is_terminal(run->state) && run->state != RUN_SUCCEEDED) {
    answer_not_succeeded(rq, rp, run);
    return;
  }
  /* While it works its counters change without a new version: such an answer has no tag to keep. */
  snprintf(etag, sizeof etag, "%s-%llu", run->id, (unsigned long long)run->version);
  bool has_tag = run->state != RUN_RUNNING && run->state != RUN_CANCELLING;
  if (!has_tag || !reply_etag(rp, rq, etag))
    write_run(rp, 200, run, NULL);
}

static void get_run(struct request *rq, struct reply *rp) {
  bool until_change, expect_success;
  struct run run;
  struct err err;
  if (!read_word(rq, rp, "until", "terminal", "change", &until_change) ||
      !read_word(rq, rp, "expect", NULL, "succeeded", &expect_success) || !begin_waiting(rq, rp, false))
    return;
  if (service_get_run(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else {
    remember_run(rq, &run, DISPOSITION_CREATED);
    if (!wait_more(rq, rp, &run, until_change))
      answer_run(rq, rp, &run, expect_success);
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
  if (request_arg(rq, "cursor", &value)) {
    bool ok = cursor_decode(value, cursor);
    f->before_id = buf_view(cursor);
    if (!ok || !crypto_is_uuid(f->before_id))
      cursor_refuse(p);
  }
}

static void write_list(struct request *rq, struct reply *rp, const struct run_list *list) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (list->more) {
    cursor_encode(view_of(list->runs[list->count - 1].id), &cursor);
    reply_link_next(rp, rq, buf_view(&cursor));
  }
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "runs");
  for (size_t i = 0; i < list->count; i++)
    run_json(&j, NULL, &list->runs[i], NULL);
  jout_array_end(&j);
  if (list->more)
    jout_text(&j, "next_cursor", buf_view(&cursor));
  else
    jout_null(&j, "next_cursor");
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

/* ---- POST /runs/{id}/cancel ---- */

/* The body is empty or an object without members. False when the reply is a problem already. */
static bool check_no_fields(struct request *rq, struct reply *rp) {
  static const char *const none[] = {NULL};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  json_t *body;
  bool accepted = read_optional_body(rq, rp, &body) && accept_body(rq, rp, body, none, &p);
  json_decref(body);
  return accepted;
}

static void post_cancel(struct request *rq, struct reply *rp) {
  struct run run;
  struct err err;
  if (!check_no_fields(rq, rp))
    return;
  if (service_cancel(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else {
    log_request(rq, &run, "run.cancel_requested", "cancel requested");
    write_run(rp, run.state == RUN_CANCELLED ? 200 : 202, &run, NULL);
  }
  run_clear(&run);
}

/* ---- POST /runs/{id}/retry ---- */

/* Reads {"from": "start"|"publish"}; an empty body is a retry from the start. */
static bool read_retry(struct request *rq, struct reply *rp, bool *from_publish) {
  static const char *const known[] = {"from", NULL};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  json_t *body;
  if (!read_optional_body(rq, rp, &body))
    return false;
  const json_t *from = json_object_get(body, "from");
  *from_publish = view_is(json_text(from), "publish");
  if (from && !*from_publish && !view_is(json_text(from), "start"))
    problem_add(&p, "/from", "Must be \"start\" or \"publish\".");
  bool accepted = accept_body(rq, rp, body, known, &p);
  json_decref(body);
  return accepted;
}

/* A retry is an acceptance too: where intents are kept it is stored first, as POST /runs does. */
static bool store_retry_intent(struct request *rq, struct reply *rp) {
  struct run run;
  struct err err;
  bool stored = false;
  if (!service_keeps_intents(rq->app))
    return true;
  if (!rq->keep && !keep_waiting(rq, rp, 0))
    return false;
  if (service_get_run(rq->app, rq->params[0], &run, &err)) {
    reply_err(rp, rq, &err);
  } else {
    struct run_request request = run_request_of(&run);
    stored = store_intent(rq, rp, &request);
  }
  run_clear(&run);
  return stored;
}

static void post_retry(struct request *rq, struct reply *rp) {
  struct run run;
  struct err err;
  bool from_publish;
  if (!read_retry(rq, rp, &from_publish) || !store_retry_intent(rq, rp))
    return;
  if (service_retry(rq->app, rq->params[0], from_publish, &run, &err)) {
    struct problem p = problem_of(&err);
    p.is_final = err.code == KPI_RESULTS_NOT_READY; /* it has ended: there will be none to publish */
    reply_problem(rp, rq, &p);
  } else {
    log_request(rq, &run, from_publish ? "run.publish_requested" : "run.retry_requested",
                from_publish ? "retry of publishing requested" : "retry requested");
    write_run(rp, 202, &run, NULL);
  }
  run_clear(&run);
}

static const char *const submit_query[] = {"wait", NULL};
static const char *const run_query[] = {"wait", "until", "expect", NULL};
static const char *const list_query[] = {"state", "date",  "from",   "to", "active",
                                         "label", "limit", "cursor", NULL};

static const struct route table[] = {
    {HTTP_POST, "/runs", post_runs, submit_query, false},
    {HTTP_GET, "/runs", get_runs, list_query, false},
    {HTTP_GET, "/runs/{id}", get_run, run_query, false},
    {HTTP_POST, "/runs/{id}/cancel", post_cancel, NULL, false},
    {HTTP_POST, "/runs/{id}/retry", post_retry, NULL, false},
};

const struct route_set runs_routes = {table, sizeof table / sizeof table[0]};
