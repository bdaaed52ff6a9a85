/* SPDX-License-Identifier: MIT */
#include "server/run_json.h"

#include "base/clock.h"

#include <stdio.h>

enum { MS_PER_SECOND = 1000, PERCENT = 100 };

/* How long the run has worked, in milliseconds; 0 before it starts. */
static int64_t worked_ms(const struct run *r) {
  if (!r->started_at)
    return 0;
  return (r->finished_at ? r->finished_at : clock_wall_ms()) - r->started_at;
}

static uint64_t percent_of(const struct run *r) {
  if (r->state == RUN_SUCCEEDED)
    return PERCENT;
  const struct run_progress *p = &r->progress;
  uint64_t percent = p->bytes_total ? p->bytes_read * PERCENT / p->bytes_total : 0;
  return percent < PERCENT ? percent : PERCENT - 1; /* 100 is said at the end only */
}

static void write_rate(struct json_out *j, const struct run *r) {
  const struct run_progress *p = &r->progress;
  uint64_t rows = p->rows_orders + p->rows_order_items + p->rows_products;
  int64_t ms = worked_ms(r);
  if (ms > 0 && rows > 0)
    jout_uint(j, "rows_per_second", rows * MS_PER_SECOND / (uint64_t)ms);
  else
    jout_null(j, "rows_per_second");
  if (r->state == RUN_RUNNING && p->bytes_read > 0 && p->bytes_total >= p->bytes_read)
    jout_uint(j, "eta_seconds",
              (uint64_t)ms / MS_PER_SECOND * (p->bytes_total - p->bytes_read) / p->bytes_read);
  else
    jout_null(j, "eta_seconds");
}

void run_json_progress(struct json_out *j, const struct run *r) {
  const struct run_progress *p = &r->progress;
  jout_object(j, "progress");
  jout_uint(j, "percent", percent_of(r));
  jout_uint(j, "bytes_read", p->bytes_read);
  jout_uint(j, "bytes_total", p->bytes_total);
  jout_object(j, "rows_read");
  jout_uint(j, "orders", p->rows_orders);
  jout_uint(j, "order_items", p->rows_order_items);
  jout_uint(j, "products", p->rows_products);
  jout_object_end(j);
  write_rate(j, r);
  jout_uint(j, "files_done", p->files_done);
  jout_uint(j, "files_total", p->files_total);
  jout_uint(j, "items_published", p->items_published);
  jout_uint(j, "items_total", p->items_total);
  jout_object_end(j);
}

static void write_input_and_output(struct json_out *j, const struct run *r) {
  jout_object(j, "input");
  jout_string(j, "base", r->input_base);
  jout_string(j, "fingerprint", r->input_fingerprint);
  jout_uint(j, "objects", r->input_objects);
  jout_uint(j, "bytes", r->input_bytes);
  jout_uint(j, "objects_skipped", 0);
  jout_object_end(j);
  jout_object(j, "output");
  jout_time(j, "published_at", r->published_at);
  jout_raw(j, "tables", r->output_json ? r->output_json : "[]");
  jout_object_end(j);
}

static void write_links(struct json_out *j, const struct run *r) {
  static const char *const names[] = {"gate", "events", "logs", "results", "quality", "cancel", "retry"};
  char link[64];
  jout_object(j, "links");
  snprintf(link, sizeof link, "/runs/%s", r->id);
  jout_string(j, "self", link);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(link, sizeof link, "/runs/%s/%s", r->id, names[i]);
    jout_string(j, names[i], link);
  }
  jout_object_end(j);
}

static void write_times(struct json_out *j, const struct run *r) {
  jout_time(j, "created_at", r->created_at);
  jout_time(j, "started_at", r->started_at);
  jout_time(j, "finished_at", r->finished_at);
  jout_time(j, "updated_at", r->updated_at);
  jout_time(j, "next_attempt_at", r->next_attempt_at);
  jout_time(j, "expires_at", r->expires_at);
  jout_time(j, "cancel_requested_at", r->cancel_requested_at);
}

void run_json_trigger(struct json_out *j, const char *principal, const char *user_agent,
                      const char *request_id) {
  jout_object(j, "trigger");
  jout_string(j, "principal", principal);
  jout_string(j, "user_agent", user_agent);
  jout_string(j, "request_id", request_id);
  jout_object_end(j);
}

/* What was asked for. */
static void write_request(struct json_out *j, const struct run *r) {
  jout_bool(j, "publish", r->publish);
  jout_string(j, "quality_gate", quality_gate_name(r->gate));
  jout_string(j, "bad_rows", bad_rows_name(r->bad_rows));
  jout_string(j, "max_bad_rows", r->max_bad_rows);
  jout_bool(j, "force", r->force);
  jout_uint(j, "timeout_seconds", r->timeout_seconds);
  jout_raw(j, "labels", r->labels_json ? r->labels_json : "{}");
  jout_string(j, "reason", r->reason);
  jout_string(j, "idempotency_key", r->idempotency_key);
  jout_raw(j, "backfill_ids", r->backfill_ids_json ? r->backfill_ids_json : "[]");
  run_json_trigger(j, r->principal, r->user_agent, r->request_id);
}

void run_json(struct json_out *j, const char *key, const struct run *r, const char *disposition) {
  char date[DAY_TEXT_SIZE];
  jout_object(j, key);
  jout_string(j, "id", r->id);
  if (disposition)
    jout_string(j, "disposition", disposition);
  jout_string(j, "date", day_text(r->date, date));
  jout_string(j, "timezone", r->timezone);
  jout_string(j, "engine", engine_kind_name(r->engine));
  jout_string(j, "state", run_state_name(r->state));
  jout_bool(j, "terminal", run_state_is_terminal(r->state));
  jout_string(j, "phase", r->state == RUN_RUNNING ? run_phase_name(r->phase) : NULL);
  jout_uint(j, "attempt", r->attempt);
  jout_uint(j, "max_attempts", r->max_attempts);
  write_times(j, r);
  run_json_progress(j, r);
  write_input_and_output(j, r);
  jout_raw(j, "summary", r->summary_json);
  jout_raw(j, "quality", r->quality_json);
  jout_raw(j, "error", r->error_json);
  jout_raw(j, "attempts", r->attempts_json ? r->attempts_json : "[]");
  write_request(j, r);
  jout_string(j, "trace_id", r->trace_id);
  jout_string(j, "service_version", r->service_version);
  write_links(j, r);
  jout_object_end(j);
}
