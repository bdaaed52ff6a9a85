/* SPDX-License-Identifier: MIT */
#include "server/run_exec.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "pipeline/quality_history.h"
#include "server/published_store.h"
#include "server/results_store.h"
#include "server/run_hand_off.h"
#include "server/run_move_store.h"
#include "server/run_trace.h"

#include <string.h>
#include <time.h>

enum { ERROR_JSON_MAX = 16 * 1024, OUTPUT_JSON_MAX = 4096, STORE_RETRY_MS = 1000, MS_PER_SECOND = 1000 };

/* One execution, as the listener of its job sees it. */
struct execution {
  const struct run_exec *x;
  const struct run *run;
  struct run_live *live;
  struct run_trace trace;
};

static struct execution begin(const struct run_exec *x, const struct run *run, struct run_live *live) {
  struct execution e = {.x = x, .run = run, .live = live};
  run_trace_init(&e.trace, run);
  return e;
}

static void tell_changed(const struct execution *e) {
  if (e->x->changed)
    e->x->changed(e->x->changed_arg, e->run->id);
}

/* ---- JSON that is stored with the run ---- */

static void json_member(struct buf *out, const char *key, const char *value) {
  buf_printf(out, "\"%s\":\"", key);
  buf_add_json(out, view_of(value));
  buf_add_char(out, '"');
}

static void write_details(const struct err *err, struct buf *out) {
  buf_add_cstr(out, "\"details\":{");
  const struct err_remote *r = &err->remote;
  const struct {
    const char *key, *value;
  } texts[] = {{"bucket", r->bucket},       {"key", err->object},
               {"column", err->column},     {"value", err->value},
               {"aws_service", r->service}, {"aws_operation", r->operation},
               {"aws_error", r->error},     {"aws_request_id", r->request_id}};
  const char *separator = "";
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    if (texts[i].value[0]) {
      buf_add_cstr(out, separator);
      json_member(out, texts[i].key, texts[i].value);
      separator = ",";
    }
  if (err->line)
    buf_printf(out, "%s\"line\":%llu", separator, (unsigned long long)err->line);
  if (r->http_status)
    buf_printf(out, "%s\"http_status\":%d", err->line || *separator ? "," : "", r->http_status);
  buf_add_char(out, '}');
}

void run_error_json(const struct err *err, enum run_phase phase, uint32_t attempt, struct buf *out) {
  const struct err_info *info = err_info(err->code);
  char now[CLOCK_RFC3339_SIZE];
  buf_add_char(out, '{');
  json_member(out, "code", info->name);
  buf_printf(out, ",\"category\":\"%s\",\"retryable\":%s,", err_category_name(info->category),
             info->retryable ? "true" : "false");
  if (phase == PHASE_NONE)
    buf_add_cstr(out, "\"phase\":null,");
  else
    buf_printf(out, "\"phase\":\"%s\",", run_phase_name(phase));
  json_member(out, "message", err->message);
  buf_add_char(out, ',');
  json_member(out, "hint", info->hint);
  buf_printf(out, ",\"attempt\":%u,\"at\":\"%s\",", attempt, clock_rfc3339(clock_wall_ms(), now));
  write_details(err, out);
  buf_add_char(out, '}');
}

static void write_output(const struct config *config, const struct publish_counts counts[KPI_TABLE_COUNT],
                         struct buf *out) {
  const char *const names[KPI_TABLE_COUNT] = {config->order_table, config->category_table};
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    buf_printf(out, "%s{\"name\":\"%s\",\"put\":%llu,\"unchanged\":%llu,\"deleted\":%llu}", t ? "," : "[",
               names[t], (unsigned long long)counts[t].put, (unsigned long long)counts[t].unchanged,
               (unsigned long long)counts[t].deleted);
  buf_add_char(out, ']');
}

/* ---- listener ---- */

void run_input_of(const struct source_listing *l, enum engine_kind engine, struct buf *text,
                  struct run_input *out) {
  buf_init(text, LISTING_BYTES_MAX);
  source_listing_text(l, text);
  *out = (struct run_input){.objects = l->objects, .bytes = l->bytes, .engine = engine};
  memcpy(out->fingerprint, l->fingerprint, sizeof out->fingerprint);
  if (!buf_failed(text))
    out->listing = buf_view(text);
}

static void on_phase(void *arg, enum run_phase phase) {
  struct execution *e = arg;
  struct err err;
  struct run_progress now = job_progress_copy(&e->live->progress);
  const char *const id = e->run->id;
  /* The phase is only shown: a database that cannot take it now is no reason to stop. */
  if (run_store_progress(e->x->db, &id, 1, phase, &now, &err))
    log_at(LOG_WARN, "run.phase_not_stored", err.message, LOG_S("run_id", e->run->id));
  run_trace_phase(&e->trace, phase);
  tell_changed(e);
}

static enum kpi_code on_listed(void *arg, const struct source_listing *l, enum engine_kind engine,
                               struct err *err) {
  struct execution *e = arg;
  auto_buf struct buf text;
  struct run_input input;
  run_input_of(l, engine, &text, &input);
  const char *const id = e->run->id;
  run_trace_listed(&e->trace, l);
  return run_store_input(e->x->db, &id, 1, &input, err);
}

static enum kpi_code on_computed(void *arg, const struct job_result *result, struct err *err) {
  struct execution *e = arg;
  run_trace_computed(&e->trace, result);
  enum kpi_code rc = results_store_keep(e->x->db, e->run->id, e->run->date, result, err);
  tell_changed(e);
  return rc;
}

/* ---- ending ---- */

static enum run_state end_state(enum kpi_code rc) {
  if (rc == KPI_OK)
    return RUN_SUCCEEDED;
  if (rc == KPI_CANCELLED)
    return RUN_CANCELLED;
  return rc == KPI_INTERRUPTED ? RUN_QUEUED : RUN_FAILED;
}

/* Stores the end; returns the state that the run has come to. A database that cannot take it now is asked
 * again: an end that is not stored leaves the run in limbo until the next start. What it refuses for good is
 * not. */
static enum run_state store_end(const struct execution *e, const struct run_end *end) {
  struct err err;
  enum run_state ended = end->state;
  while (run_store_finish(e->x->db, end, &ended, &err)) {
    log_at(LOG_ERROR, "run.end_not_stored", err.message, LOG_S("run_id", e->run->id));
    if (err.code == KPI_INTERNAL || db_is_broken(e->x->db) || stop_reason(&e->live->stop) == STOP_DRAIN)
      break;
    nanosleep(&(struct timespec){.tv_sec = STORE_RETRY_MS / 1000}, NULL);
  }
  return ended;
}

void run_error_close(struct err *err) {
  if (err->code == KPI_STORAGE_UNAVAILABLE || err->code == KPI_INTERNAL_ERROR)
    err->code = KPI_INTERNAL;
}

struct run_live run_live_of(const struct run *run) {
  const int64_t timeout_ms = (int64_t)run->timeout_seconds * MS_PER_SECOND;
  struct run_live live = {.timeout_ms = timeout_ms,
                          .overdue_ms = clock_mono_ms() + timeout_ms,
                          .date = run->date,
                          .attempt = run->attempt,
                          .started_at = run->started_at};
  memcpy(live.run_id, run->id, sizeof live.run_id);
  return live;
}

enum kpi_code run_exec_job(const struct run_exec *x, const struct job_ask *ask, struct budget *budget,
                           struct run_live *live, struct job *out, struct err *err) {
  budget_init(budget, x->config->memory_limit_bytes);
  *out = (struct job){.days = ask->days,
                      .bad_rows = ask->bad_rows,
                      .status_match = x->config->status_match,
                      .unknown_category = x->config->unknown_category,
                      .zone = x->config->zone,
                      .timezone = x->config->timezone,
                      .source = x->source,
                      .cache = x->cache,
                      .budget = budget,
                      .stop = &live->stop,
                      .abandon = &live->abandon,
                      .progress = &live->progress,
                      .timeout_seconds = (uint32_t)(live->timeout_ms / MS_PER_SECOND)};
  if (bad_rows_limit_parse(view_of(ask->max_bad_rows), &out->max_bad_rows))
    return KPI_OK;
  return err_set(err, KPI_INTERNAL, "max_bad_rows is unreadable: %s", ask->max_bad_rows);
}

enum kpi_code run_exec_history(const struct run_exec *x, const struct day_set *days, struct kpi_rows *out,
                               struct err *err) {
  day_t from = days->from - DAY_MIN < HISTORY_DAYS ? DAY_MIN : days->from - HISTORY_DAYS;
  return published_store_history(x->db, from, days->to, out, err);
}

static void note_scan(const struct run_live *live) {
  const struct run_progress read = job_progress_copy(&live->progress);
  run_metrics_scanned(&read);
}

static enum kpi_code finish(struct execution *e, enum kpi_code rc, enum run_phase phase,
                            const struct job_result *result,
                            const struct publish_counts counts[KPI_TABLE_COUNT], uint64_t memory_peak_bytes,
                            struct err *err) {
  auto_buf struct buf error, output;
  struct err quality_err;
  buf_init(&error, ERROR_JSON_MAX);
  buf_init(&output, OUTPUT_JSON_MAX);
  if (rc) {
    run_error_close(err);
    rc = err->code;
    run_error_json(err, phase, e->run->attempt, &error);
    buf_add_char(&error, '\0');
    if (result->quality.report_json) {
      run_trace_computed(&e->trace, result);
      if (results_store_keep_quality(e->x->db, e->run->id, &result->quality, &quality_err))
        log_at(LOG_WARN, "run.quality_not_stored", quality_err.message, LOG_S("run_id", e->run->id));
    }
  } else if (e->run->publish) {
    run_trace_published(&e->trace, e->x->config->zone, KPI_ORDERS, e->x->config->order_table,
                        &counts[KPI_ORDERS]);
    run_trace_published(&e->trace, e->x->config->zone, KPI_CATEGORIES, e->x->config->category_table,
                        &counts[KPI_CATEGORIES]);
    write_output(e->x->config, counts, &output);
    buf_add_char(&output, '\0');
  }
  struct run_end end = {.id = e->run->id,
                        .state = end_state(rc),
                        .is_retryable = rc && err_info(rc)->retryable,
                        .error_json = error.len ? error.ptr : NULL,
                        .error_code = rc ? err_name(rc) : NULL,
                        .output_json = output.len ? output.ptr : NULL,
                        .progress = job_progress_copy(&e->live->progress)};
  run_trace_finished(&e->trace, end.state, err, &end.progress, memory_peak_bytes);
  if (store_end(e, &end) == RUN_RETRY_WAIT)
    run_trace_waits(&e->trace);
  return rc;
}

enum kpi_code run_exec(const struct run_exec *x, const struct run *run, struct run_live *live,
                       struct job_result *result, struct err *err) {
  struct execution e = begin(x, run, live);
  struct budget budget;
  struct job job;
  struct publish_counts counts[KPI_TABLE_COUNT] = {0};
  const struct job_ask ask = {day_set_range(run->date, run->date), run->bad_rows, run->max_bad_rows,
                              run->engine_asked};
  enum kpi_code rc = run_exec_job(x, &ask, &budget, live, &job, err);
  const char *const id = run->id;
  struct run_hand_off hand_off;
  struct kept_results kept = {0};
  struct run_plan plan = {.run_id = run->id,
                          .engines = &x->engines,
                          .engine = run->engine_asked,
                          .job = &job,
                          .gate = run->gate,
                          .publisher = run->publish ? x->publisher : NULL,
                          .force = run->force,
                          .listener = {&e, on_phase, on_listed, on_computed}};
  const char *const owner = run->engine_job_owner;
  run_hand_off_init(&hand_off, x->db, x->reaper, owner ? owner : id, owner, &id, 1);
  run_hand_off_outlive(&hand_off, x->intents, &live->stop);
  job.hand_off = &hand_off.base;
  if (rc == KPI_OK && run->from_publish && strcmp(run->timezone, x->config->timezone) != 0)
    rc = err_set(err, x->source->vtable->changed,
                 "KPI_TIMEZONE was %s when the results were computed: retry from the start", run->timezone);
  if (rc == KPI_OK && run->from_publish) {
    rc = results_store_read(x->db, run->id, &kept, err);
    *result = kept.result;
    plan.kept = kept.fingerprint;
  }
  struct kpi_rows history = {0};
  if (rc == KPI_OK && !plan.kept)
    rc = run_exec_history(x, &job.days, &history, err);
  job.history = &history;
  if (rc == KPI_OK) {
    rc = run_job(&plan, result, counts, err);
    if (!plan.kept)
      note_scan(live);
  }
  kpi_rows_clear(&history);
  enum run_phase phase = (enum run_phase)atomic_load(&live->progress.phase);
  rc = finish(&e, rc, phase, result, counts, atomic_load(&budget.peak), err);
  tell_changed(&e);
  return rc;
}

enum kpi_code run_exec_check_inputs(const struct run_exec *x, const struct run_input *input,
                                    const struct stop_flag *stop, struct err *err) {
  const struct source_use use = {.stop = stop};
  struct source_listing now;
  enum kpi_code rc = source_list(x->source, &use, &now, err);
  if (rc == KPI_OK && strcmp(now.fingerprint, input->fingerprint) != 0)
    rc = err_set(err, x->source->vtable->changed,
                 "the inputs have changed since they were read: run the backfill again");
  source_listing_clear(&now);
  return rc;
}

/* Publishes; when somebody else has published the day meanwhile, looks again whether the results are still
 * those of the inputs, which then are the newest. Takes the publication. */
static enum kpi_code publish_computed(struct execution *e, const struct run_computed *computed,
                                      struct publication *publication,
                                      struct publish_counts counts[KPI_TABLE_COUNT], struct err *err) {
  const struct run *run = e->run;
  struct publish_order order = {run->id, computed->result, run->force, &e->live->progress, &e->live->abandon};
  enum kpi_code rc = KPI_NEWER_RUN_PUBLISHED;
  for (int i = 0; rc == KPI_NEWER_RUN_PUBLISHED && i <= RUN_RESTARTS_MAX; i++) {
    rc = KPI_OK;
    if (i > 0) {
      publication_free(publication);
      rc = publisher_begin(e->x->publisher, run->date, NULL, &publication, err);
      if (rc == KPI_OK)
        rc = run_exec_check_inputs(e->x, computed->input, NULL, err);
    }
    if (rc == KPI_OK)
      rc = run_job_guard(publication, computed->result, run->force, err);
    if (rc == KPI_OK)
      rc = publication_publish(publication, &order, counts, err);
  }
  publication_free(publication);
  return rc;
}

enum kpi_code run_exec_computed(const struct run_exec *x, const struct run *run, struct run_live *live,
                                const struct run_computed *computed, struct publication *publication,
                                struct err *err) {
  const struct job_result *result = computed->result;
  struct execution e = begin(x, run, live);
  struct publish_counts counts[KPI_TABLE_COUNT] = {0};
  atomic_store(&live->progress.phase, PHASE_CHECKING);
  const char *const id = run->id;
  enum kpi_code rc = run_store_input(x->db, &id, 1, computed->input, err);
  if (rc == KPI_OK)
    rc = run_job_gate(run->gate, &result->quality, err);
  if (rc == KPI_OK) {
    atomic_store(&live->progress.phase, PHASE_PUBLISHING);
    on_phase(&e, PHASE_PUBLISHING);
    rc = on_computed(&e, result, err);
  }
  if (rc == KPI_OK && run->publish)
    rc = publish_computed(&e, computed, publication, counts, err);
  else
    publication_free(publication);
  rc = finish(&e, rc, (enum run_phase)atomic_load(&live->progress.phase), result, counts, 0, err);
  tell_changed(&e);
  return rc;
}

enum kpi_code run_exec_failed(const struct run_exec *x, const struct run *run, struct run_live *live,
                              const struct job_result *result, struct err *err) {
  struct execution e = begin(x, run, live);
  const struct job_result nothing = {0};
  const struct publish_counts none[KPI_TABLE_COUNT] = {0};
  enum run_phase phase = (enum run_phase)atomic_load(&live->progress.phase);
  enum kpi_code rc = finish(&e, err->code, phase, result ? result : &nothing, none, 0, err);
  tell_changed(&e);
  return rc;
}
