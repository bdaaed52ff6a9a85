/* SPDX-License-Identifier: MIT */
#include "server/discovery.h"

#include "base/log.h"
#include "base/scope.h"
#include "pipeline/run_job.h"
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/run_move_store.h"

#include <string.h>

enum { ERROR_JSON_MAX = 16 * 1024 };

/* What the scan has come to. */
struct found {
  struct run_input input;
  struct buf listing; /* text of input */
  struct day_results results;
};

static void found_clear(struct found *f) {
  day_results_clear(&f->results);
  buf_clear(&f->listing);
}

static enum kpi_code on_listed(void *arg, const struct source_listing *l, struct err *err) {
  struct found *f = arg;
  (void)err;
  buf_clear(&f->listing);
  run_input_of(l, &f->listing, &f->input);
  return KPI_OK;
}

/* It may have been cancelled between its claim and the moment the flag could be raised. */
static void look_for_cancel(const struct discovery_plan *p, const struct backfill *b, struct run_live *scan) {
  struct backfill now;
  struct err err;
  if (backfill_store_get(p->x->db, view_of(b->id), &now, &err) == KPI_OK && now.cancel_requested_at)
    stop_raise(&scan->stop, STOP_CANCEL);
  backfill_clear(&now);
}

static enum kpi_code compute(const struct discovery_plan *p, const struct backfill *b, struct run_live *scan,
                             struct found *f, struct err *err) {
  struct budget budget;
  struct job job;
  struct kpi_rows history = {0};
  run_exec_job(p->x, day_set_range(DAY_MIN, DAY_MAX), &budget, scan, &job);
  job.bad_rows = b->bad_rows;
  if (!bad_rows_limit_parse(view_of(b->max_bad_rows), &job.max_bad_rows))
    return err_set(err, KPI_INTERNAL, "max_bad_rows of the stored backfill is unreadable: %s",
                   b->max_bad_rows);
  struct run_plan plan = {.engine = p->x->engine, .job = &job, .listener = {.arg = f, .listed = on_listed}};
  enum kpi_code rc = run_exec_history(p->x, &job.days, &history, err);
  job.history = &history;
  if (rc == KPI_OK)
    rc = run_job_days(&plan, &f->results, err);
  kpi_rows_clear(&history);
  return rc;
}

/* Makes the runs of the days that were found, and claims them. */
static enum kpi_code make_runs(const struct discovery_plan *p, const struct backfill *b,
                               const struct found *f, struct run_list *runs, struct err *err) {
  auto_free day_t *days = calloc(f->results.count + 1, sizeof *days);
  if (!days)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu days", f->results.count);
  for (size_t i = 0; i < f->results.count; i++)
    days[i] = f->results.at[i].day;
  const struct run_request run = backfill_run_request(b);
  const struct backfill_request request = {.run = &run,
                                           .days = days,
                                           .count = f->results.count,
                                           .reprocess = b->reprocess,
                                           .is_descending = b->is_descending};
  const struct submit_policy policy = {.listed = f->input.fingerprint};
  const struct claim_filter own = {PRIORITY_BACKFILL, view_of(b->id)};
  enum kpi_code rc = backfill_store_found(p->x->db, b->id, &request, &policy, p->defaults, err);
  if (rc == KPI_QUEUE_FULL)
    rc = err_set(err, KPI_TOO_MANY_DAYS, "the data has %zu days, more than the queue has room for",
                 request.count);
  log_at(LOG_INFO, "backfill.found", rc ? err->message : "days found", LOG_S("backfill_id", b->id),
         LOG_I("days", f->results.count), LOG_S("code", rc ? err_name(rc) : NULL));
  return rc ? rc : run_store_claim_together(p->x->db, p->boot_id, &own, p->defaults, runs, err);
}

/* Ends it without days. */
static void store_failure(const struct discovery_plan *p, const struct backfill *b, const struct err *why) {
  auto_buf struct buf error;
  struct err err;
  enum discovery how = why->code == KPI_CANCELLED     ? DISCOVERY_CANCELLED
                       : why->code == KPI_INTERRUPTED ? DISCOVERY_QUEUED
                                                      : DISCOVERY_FAILED;
  buf_init(&error, ERROR_JSON_MAX);
  run_error_json(why, PHASE_SCANNING, 1, &error);
  buf_add_char(&error, '\0');
  log_at(how == DISCOVERY_FAILED ? LOG_ERROR : LOG_WARN, "backfill.not_found", why->message,
         LOG_S("backfill_id", b->id), LOG_S("code", err_name(why->code)));
  if (backfill_store_not_found(p->x->db, b->id, how, how == DISCOVERY_FAILED ? error.ptr : NULL, &err))
    log_at(LOG_ERROR, "backfill.end_not_stored", err.message, LOG_S("backfill_id", b->id));
}

static enum kpi_code publish(const struct discovery_plan *p, const struct found *f, struct run_list *runs,
                             struct err *err) {
  struct run_group group;
  if (!run_group_init(&group, p->x, p->live, runs))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu runs", runs->count);
  group.given = &f->results;
  group.given_input = &f->input;
  group.over = p->over;
  group.over_arg = p->over_arg;
  enum kpi_code rc = run_group_exec(&group, err);
  run_group_clear(&group);
  return rc;
}

enum kpi_code discovery_exec(const struct discovery_plan *p, const struct backfill *b, struct err *err) {
  struct found f = {0};
  struct run_list runs = {0};
  struct run_live scan = {.is_scan = true};
  memcpy(scan.run_id, b->id, sizeof scan.run_id);
  live_runs_enter(p->live, &scan);
  look_for_cancel(p, b, &scan);
  enum kpi_code rc = compute(p, b, &scan, &f, err);
  live_runs_leave(p->live, &scan);
  if (rc == KPI_OK)
    rc = make_runs(p, b, &f, &runs, err);
  if (rc)
    store_failure(p, b, err);
  if (p->x->changed)
    p->x->changed(p->x->changed_arg, b->id);
  if (runs.count)
    rc = publish(p, &f, &runs, err);
  found_clear(&f);
  run_list_clear(&runs);
  return rc;
}
