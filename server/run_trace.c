/* SPDX-License-Identifier: MIT */
#include "server/run_trace.h"

#include "base/clock.h"
#include "base/log.h"

#include <jansson.h>

enum { MS_PER_SECOND = 1000, SECONDS_PER_HOUR = 3600 };

/* What every line of a run says. */
#define OF_RUN(t) LOG_S("run_id", (t)->run->id), LOG_S("date", (t)->date), LOG_I("attempt", (t)->run->attempt)

/* An empty text, and a number that is 0, are left out. */
static struct log_field text_field(const char *key, const char *text) {
  return LOG_S(key, text[0] ? text : NULL);
}

static struct log_field number_field(const char *key, int64_t number) {
  return number ? LOG_I(key, number) : LOG_S(key, NULL);
}

void run_trace_init(struct run_trace *t, const struct run *run) {
  *t = (struct run_trace){.run = run};
  day_text(run->date, t->date);
}

void run_trace_phase(struct run_trace *t, enum run_phase phase) {
  enum run_phase before = t->clock.phase;
  if (phase == before)
    return;
  int64_t duration_ms = run_metrics_phase(&t->clock, phase);
  if (before != PHASE_NONE)
    log_at(LOG_INFO, "run.phase", "phase ended", OF_RUN(t), LOG_S("phase", run_phase_name(before)),
           LOG_I("duration_ms", duration_ms));
}

void run_trace_listed(const struct run_trace *t, const struct source_listing *listing) {
  log_at(LOG_INFO, "run.listed", "inputs listed", OF_RUN(t), LOG_I("objects", listing->objects),
         LOG_I("bytes", listing->bytes), LOG_S("fingerprint", listing->fingerprint),
         LOG_S("source", t->run->input_base));
}

void run_trace_computed(struct run_trace *t, const struct job_result *result) {
  const struct quality *q = &result->quality;
  if (t->is_judged)
    return;
  t->is_judged = true;
  run_metrics_judged(q);
  log_at(q->status == QUALITY_PASSED ? LOG_INFO : LOG_WARN, "run.computed", "results computed", OF_RUN(t),
         LOG_I("rows", result->tables[KPI_ORDERS].count + result->tables[KPI_CATEGORIES].count),
         LOG_I("bad_rows", q->bad_rows), LOG_S("quality", quality_status_name(q->status)),
         LOG_I("checks_passed", q->passed), LOG_I("checks_warned", q->warned),
         LOG_I("checks_failed", q->failed), text_field("failed_check", q->failed_title));
}

void run_trace_published(const struct run_trace *t, const struct tz *zone, enum kpi_table table,
                         const char *name, const struct publish_counts *counts) {
  int64_t age_seconds = clock_wall_ms() / MS_PER_SECOND - tz_day_begins(zone, t->run->date);
  run_metrics_published(table, counts);
  log_at(LOG_INFO, "run.published", "table published", OF_RUN(t), LOG_S("table", name),
         LOG_I("put", counts->put), LOG_I("unchanged", counts->unchanged), LOG_I("deleted", counts->deleted),
         LOG_I("day_age_hours", age_seconds / SECONDS_PER_HOUR));
}

static void log_failure(const struct run_trace *t, enum run_state state, const struct err *err) {
  const struct err_info *info = err_info(err->code);
  const struct err_remote *r = &err->remote;
  log_at(state == RUN_FAILED ? LOG_ERROR : LOG_WARN, "run.error", err->message, OF_RUN(t),
         LOG_S("phase", run_phase_name(t->clock.phase)), LOG_S("code", info->name),
         LOG_S("category", err_category_name(info->category)),
         LOG_S("retryable", info->retryable ? "true" : "false"), LOG_S("hint", info->hint),
         text_field("bucket", r->bucket), text_field("key", err->object),
         number_field("line", (int64_t)err->line), text_field("column", err->column),
         text_field("value", err->value), text_field("aws_service", r->service),
         text_field("aws_operation", r->operation), text_field("aws_error", r->error),
         text_field("aws_request_id", r->request_id), number_field("http_status", r->http_status));
}

void run_trace_finished(struct run_trace *t, enum run_state state, const struct err *err,
                        const struct run_progress *progress, uint64_t memory_peak_bytes) {
  bool is_good = state == RUN_SUCCEEDED;
  run_metrics_attempt(state, is_good ? KPI_OK : err->code);
  if (!is_good)
    log_failure(t, state, err);
  run_trace_phase(t, PHASE_NONE);
  log_at(is_good ? LOG_INFO : LOG_WARN, "run.finished", is_good ? "run succeeded" : err->message, OF_RUN(t),
         LOG_S("state", run_state_name(state)), LOG_S("code", is_good ? NULL : err_name(err->code)),
         LOG_I("duration_ms", clock_wall_ms() - t->run->started_at), LOG_I("bytes", progress->bytes_read),
         LOG_I("rows", progress->rows_orders + progress->rows_order_items + progress->rows_products),
         LOG_I("memory_peak_bytes", memory_peak_bytes), LOG_S("trace_id", t->run->trace_id));
}

void run_trace_ended(const struct run *run) {
  struct run_trace t;
  json_t *error = json_loads(run->error_json ? run->error_json : "{}", 0, NULL);
  run_trace_init(&t, run);
  const char *message = json_string_value(json_object_get(error, "message"));
  log_at(LOG_WARN, "run.finished", message ? message : "run ended", OF_RUN(&t),
         LOG_S("state", run_state_name(run->state)),
         LOG_S("code", json_string_value(json_object_get(error, "code"))),
         LOG_S("hint", json_string_value(json_object_get(error, "hint"))), LOG_S("trace_id", run->trace_id));
  json_decref(error);
}

void run_trace_waits(const struct run_trace *t) {
  log_at(LOG_INFO, "run.retry_wait", "another attempt follows", OF_RUN(t));
}
