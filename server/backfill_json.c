/* SPDX-License-Identifier: MIT */
#include "server/backfill_json.h"

#include "server/run_json.h"

#include <stdio.h>

static void write_day(struct json_out *j, const char *key, bool is_known, day_t day) {
  char text[DAY_TEXT_SIZE];
  jout_string(j, key, is_known ? day_text(day, text) : NULL);
}

static void write_counts(struct json_out *j, const struct backfill_counts *c) {
  uint64_t total = c->skipped + c->pruned;
  jout_object(j, "counts");
  for (int s = 0; s < RUN_STATE_COUNT; s++) {
    jout_uint(j, run_state_name((enum run_state)s), c->by_state[s]);
    total += c->by_state[s];
  }
  jout_uint(j, "skipped", c->skipped);
  jout_uint(j, "pruned", c->pruned);
  jout_uint(j, "total", total);
  jout_object_end(j);
}

/* What was asked for. */
static void write_request(struct json_out *j, const struct backfill *b) {
  jout_string(j, "reprocess", reprocess_name(b->reprocess));
  jout_string(j, "order", b->is_descending ? "desc" : "asc");
  jout_string(j, "engine", engine_kind_name(b->engine));
  jout_bool(j, "publish", b->publish);
  jout_string(j, "quality_gate", quality_gate_name(b->gate));
  jout_string(j, "bad_rows", bad_rows_name(b->bad_rows));
  jout_string(j, "max_bad_rows", b->max_bad_rows);
  jout_bool(j, "force", b->force);
  jout_uint(j, "timeout_seconds", b->timeout_seconds);
  jout_uint(j, "max_attempts", b->max_attempts);
  jout_raw(j, "labels", b->labels_json ? b->labels_json : "{}");
  jout_string(j, "reason", b->reason);
  jout_string(j, "idempotency_key", b->idempotency_key);
  run_json_trigger(j, b->principal, b->user_agent, b->request_id);
  jout_string(j, "trace_id", b->trace_id);
}

static void write_links(struct json_out *j, const struct backfill *b) {
  static const struct {
    const char *name, *before, *after;
  } links[] = {{"self", "/backfills/", ""},
               {"runs", "/runs?backfill_id=", ""},
               {"cancel", "/backfills/", "/cancel"},
               {"retry", "/backfills/", "/retry"}};
  jout_object(j, "links");
  for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
    char link[96];
    snprintf(link, sizeof link, "%s%s%s", links[i].before, b->id, links[i].after);
    jout_string(j, links[i].name, link);
  }
  jout_object_end(j);
}

void backfill_json_begin(struct json_out *j, const struct backfill *b, const char *disposition) {
  enum run_state state = backfill_state(b);
  jout_object(j, NULL);
  jout_string(j, "id", b->id);
  if (disposition)
    jout_string(j, "disposition", disposition);
  jout_string(j, "state", run_state_name(state));
  jout_bool(j, "terminal", run_state_is_terminal(state));
  write_day(j, "start_date", b->has_days, b->first);
  write_day(j, "end_date", b->has_days, b->last);
  jout_bool(j, "all", b->discovery != DISCOVERY_NONE);
  jout_time(j, "created_at", b->created_at);
  jout_time(j, "updated_at", b->updated_at);
  jout_time(j, "finished_at", b->finished_at);
  jout_time(j, "next_attempt_at", b->next_attempt_at);
  jout_time(j, "cancel_requested_at", b->cancel_requested_at);
  write_counts(j, &b->counts);
  jout_raw(j, "error", b->error_json);
  write_request(j, b);
  write_links(j, b);
}

void backfill_json_days(struct json_out *j, const struct backfill_day *days, size_t count) {
  jout_array(j, "days");
  for (size_t i = 0; i < count; i++) {
    const struct backfill_day *d = &days[i];
    bool has_run = d->run_id[0];
    jout_object(j, NULL);
    write_day(j, "date", true, d->day);
    jout_string(j, "action", day_action_name(d->action));
    jout_string(j, "reason", day_reason_name(d->reason));
    jout_string(j, "run_id", has_run ? d->run_id : NULL);
    jout_string(j, "state", has_run ? run_state_name(d->state) : NULL);
    jout_string(j, "quality", d->quality[0] ? d->quality : NULL);
    jout_string(j, "error_code", d->error_code[0] ? d->error_code : NULL);
    jout_object_end(j);
  }
  jout_array_end(j);
}

void backfill_json_plan(struct json_out *j, const struct backfill_request *q, const struct backfill_day *days,
                        const struct backfill_reading *reading) {
  uint64_t counts[DAY_ACTION_COUNT] = {0};
  const bool is_known = q->count > 0;
  for (size_t i = 0; i < q->count; i++)
    counts[days[i].action]++;
  const bool scans = counts[DAY_RUN] > 0 || !is_known;
  jout_object(j, NULL);
  jout_bool(j, "dry_run", true);
  write_day(j, "start_date", is_known, is_known ? q->days[0] : 0);
  write_day(j, "end_date", is_known, is_known ? q->days[q->count - 1] : 0);
  jout_bool(j, "all", !is_known);
  jout_uint(j, "scans", scans);
  jout_uint(j, "bytes_to_read", scans ? reading->bytes : 0);
  jout_string(j, "engine", engine_kind_name(reading->engine));
  jout_string(j, "engine_reason", reading->reason);
  jout_object(j, "counts");
  for (int a = 0; a < DAY_ACTION_COUNT; a++)
    jout_uint(j, day_action_name((enum day_action)a), counts[a]);
  jout_object_end(j);
  if (is_known)
    backfill_json_days(j, days, q->count);
  else
    jout_null(j, "days");
  jout_object_end(j);
}
