/* SPDX-License-Identifier: MIT */
#include "aws/emr_serverless.h"

#include "aws/uri.h"
#include "base/scope.h"

#include <jansson.h>
#include <string.h>

enum {
  TIMEOUT_MS = 30 * 1000,
  STALL_SECONDS = 15,
  REPLY_BYTES_MAX = 1024 * 1024,
  PATH_BYTES_MAX = 1024,
  PAGES_MAX = 100,
  TOKEN_SIZE = 1025 /* of pages */
};

/* A call and its reply. The call comes first, so that its callback finds the rest. */
struct emr_exchange {
  struct aws_call call;
  struct buf path;
  struct aws_error error;
  json_t *reply; /* owned */
};

static bool accept(struct aws_call *c, const struct http_reply *reply, const char **problem) {
  struct emr_exchange *x = (struct emr_exchange *)c;
  *problem = "the reply is no JSON";
  x->reply = json_loadb(reply->body.ptr ? reply->body.ptr : "", reply->body.len, 0, NULL);
  if (json_is_object(x->reply))
    return true;
  json_decref(x->reply);
  x->reply = NULL;
  return false;
}

static void begin(struct emr_exchange *x, const char *operation, const char *method, const char *application,
                  const char *id, const struct stop_flag *stop) {
  *x = (struct emr_exchange){.call = {.service = AWS_EMR_SERVERLESS,
                                      .operation = operation,
                                      .method = method,
                                      .timeout_ms = TIMEOUT_MS,
                                      .stall_seconds = STALL_SECONDS,
                                      .reply_max = REPLY_BYTES_MAX,
                                      .accept = accept,
                                      .stop = stop}};
  buf_init(&x->path, PATH_BYTES_MAX);
  buf_add_cstr(&x->path, "/applications/");
  uri_encode(view_of(application), false, &x->path);
  buf_add_cstr(&x->path, "/jobruns");
  if (id) {
    buf_add_char(&x->path, '/');
    uri_encode(view_of(id), false, &x->path);
  }
}

static void end(struct emr_exchange *x) {
  buf_clear(&x->path);
  json_decref(x->reply);
}

static enum kpi_code send(struct aws *a, struct emr_exchange *x, struct err *err) {
  struct http_reply reply;
  x->call.path = buf_view(&x->path);
  if (buf_failed(&x->path))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s, or its names are too long", x->call.operation);
  enum kpi_code rc = aws_call(a, &x->call, &reply, &x->error, err);
  http_reply_clear(&reply);
  return rc;
}

/* Of a reply that was accepted, but lacks what it must have. */
static enum kpi_code lacks(const struct emr_exchange *x, const char *what, struct err *err) {
  err_set(err, KPI_ENGINE_UNAVAILABLE, "%s: the reply has no %s of use", x->call.operation, what);
  aws_error_place(AWS_EMR_SERVERLESS, x->call.operation, err);
  return err->code;
}

/* ---- starting ---- */

/* Returns owned; NULL when memory is exhausted or a text is no UTF-8. One attempt: what failed is started
 * again by whoever has asked for it, under another token. */
static char *describe(const struct emr_job *job) {
  json_t *submit =
      json_pack("{s:s, s:[s]}", "entryPoint", job->entry_point, "entryPointArguments", job->argument);
  bool ok = submit && (!*job->parameters || json_object_set_new(submit, "sparkSubmitParameters",
                                                                json_string(job->parameters)) == 0);
  json_t *body = json_pack("{s:s, s:s, s:s, s:I, s:{s:i}, s:{s:O}}", "clientToken", job->token, "name",
                           job->token, "executionRoleArn", job->role_arn, "executionTimeoutMinutes",
                           (json_int_t)job->timeout_minutes, "retryPolicy", "maxAttempts", 1, "jobDriver",
                           "sparkSubmit", submit);
  char *text = ok && body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(submit);
  json_decref(body);
  return text;
}

/* Adds what a refusal does not say by itself. */
static enum kpi_code explain(const struct emr_exchange *x, const struct emr_job *job, struct err *err) {
  struct err_remote remote = err->remote;
  if (strcmp(x->error.code, "ConflictException") == 0)
    err_set(err, err->code, "%s; the token %s was used before, for another job", err->message, job->token);
  err->remote = remote;
  return err->code;
}

enum kpi_code emr_start_job_run(struct aws *a, const struct emr_job *job, char id[EMR_ID_SIZE],
                                struct err *err) {
  struct emr_exchange x;
  auto_free char *body = describe(job);
  if (!body)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for StartJobRun, or a text that is no UTF-8");
  begin(&x, "StartJobRun", "POST", job->application_id, NULL, job->stop);
  x.call.headers[0] = (struct sigv4_pair){VIEW_LIT("content-type"), VIEW_LIT("application/json")};
  x.call.header_count = 1;
  x.call.has_body = true;
  x.call.body = view_of(body);
  enum kpi_code rc = send(a, &x, err);
  if (rc)
    rc = explain(&x, job, err);
  struct view found = view_of(json_string_value(json_object_get(x.reply, "jobRunId")));
  if (rc == KPI_OK && (found.len == 0 || !view_to_cstr(found, id, EMR_ID_SIZE)))
    rc = lacks(&x, "jobRunId", err);
  end(&x);
  return rc;
}

/* ---- finding ---- */

static void write_query(const char *page, struct aws_call *call) {
  static const char *const states[] = {"CANCELLING", "PENDING",   "QUEUED",
                                       "RUNNING",    "SCHEDULED", "SUBMITTED"};
  call->query[call->query_count++] = (struct sigv4_pair){VIEW_LIT("maxResults"), VIEW_LIT("50")};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    call->query[call->query_count++] = (struct sigv4_pair){VIEW_LIT("states"), view_of(states[i])};
  if (*page)
    call->query[call->query_count++] = (struct sigv4_pair){VIEW_LIT("nextToken"), view_of(page)};
}

/* Takes the id of the job run that has the name, if it is on the page, and the token of the next page. */
static enum kpi_code read_page(const struct emr_exchange *x, const char *name, char id[EMR_ID_SIZE],
                               char page[TOKEN_SIZE], struct err *err) {
  const json_t *runs = json_object_get(x->reply, "jobRuns"), *run;
  size_t i;
  if (!json_is_array(runs) ||
      !view_to_cstr(view_of(json_string_value(json_object_get(x->reply, "nextToken"))), page, TOKEN_SIZE))
    return lacks(x, "list", err);
  json_array_foreach(runs, i, run) {
    if (view_is(view_of(json_string_value(json_object_get(run, "name"))), name))
      view_to_cstr(view_of(json_string_value(json_object_get(run, "id"))), id, EMR_ID_SIZE);
  }
  return KPI_OK;
}

enum kpi_code emr_find_job_run(struct aws *a, const struct emr_job_name *wanted, char id[EMR_ID_SIZE],
                               struct err *err) {
  char page[TOKEN_SIZE] = "";
  id[0] = '\0';
  for (int pages = 0; pages < PAGES_MAX; pages++) {
    struct emr_exchange x;
    begin(&x, "ListJobRuns", "GET", wanted->application_id, NULL, wanted->stop);
    write_query(page, &x.call);
    enum kpi_code rc = send(a, &x, err);
    if (rc == KPI_OK)
      rc = read_page(&x, wanted->name, id, page, err);
    end(&x);
    if (rc || id[0] || !page[0])
      return rc;
  }
  err_set(err, KPI_ENGINE_UNAVAILABLE, "ListJobRuns: more than %d pages of job runs that are not over",
          PAGES_MAX);
  aws_error_place(AWS_EMR_SERVERLESS, "ListJobRuns", err);
  return err->code;
}

/* ---- looking and cancelling ---- */

/* The same code is said of an application, in other words. */
static bool is_without_run(const struct emr_exchange *x, const struct emr_job_run *run) {
  if (strcmp(x->error.code, "ResourceNotFoundException") != 0)
    return false;
  return strstr(x->error.message, run->id) || (!strstr(x->error.message, run->application_id) &&
                                               !view_starts(view_of(x->error.message), "Application"));
}

/* Sends a call about a job run; that there is none is no error. */
static enum kpi_code send_about(struct aws *a, struct emr_exchange *x, const struct emr_job_run *run,
                                struct err *err) {
  enum kpi_code rc = send(a, x, err);
  if (!rc || !is_without_run(x, run))
    return rc;
  err_clear(err);
  return KPI_OK;
}

static enum kpi_code read_status(const struct emr_exchange *x, struct emr_job_status *out, struct err *err) {
  const json_t *run = json_object_get(x->reply, "jobRun");
  struct view state = view_of(json_string_value(json_object_get(run, "state")));
  if (state.len == 0 || !view_to_cstr(state, out->state, sizeof out->state)) {
    *out = (struct emr_job_status){0};
    return lacks(x, "state", err);
  }
  view_to_cstr(view_of(json_string_value(json_object_get(run, "stateDetails"))), out->details,
               sizeof out->details);
  return KPI_OK;
}

enum kpi_code emr_get_job_run(struct aws *a, const struct emr_job_run *run, struct emr_job_status *out,
                              struct err *err) {
  struct emr_exchange x;
  *out = (struct emr_job_status){0};
  begin(&x, "GetJobRun", "GET", run->application_id, run->id, run->stop);
  enum kpi_code rc = send_about(a, &x, run, err);
  if (rc == KPI_OK && x.reply)
    rc = read_status(&x, out, err);
  end(&x);
  return rc;
}

enum kpi_code emr_cancel_job_run(struct aws *a, const struct emr_job_run *run, struct aws_error *error,
                                 struct err *err) {
  struct emr_exchange x;
  begin(&x, "CancelJobRun", "DELETE", run->application_id, run->id, run->stop);
  enum kpi_code rc = send_about(a, &x, run, err);
  if (error)
    *error = x.error;
  end(&x);
  return rc;
}
