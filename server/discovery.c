/* SPDX-License-Identifier: MIT */
#include "server/discovery.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/run_hand_off.h"
#include "server/run_move_store.h"

#include <string.h>

enum { ERROR_JSON_MAX = 16 * 1024, MS_PER_SECOND = 1000 };

/* It may have been cancelled, as its runs later on, between the claim and the moment that flags could be
 * raised. */
static void look_for_cancel(const struct discovery_plan *p, const struct backfill *b, struct run_live *live) {
  struct backfill now;
  struct err err;
  if (backfill_store_get(p->x->db, view_of(b->id), &now, &err) == KPI_OK && now.cancel_requested_at)
    stop_raise(&live->stop, STOP_CANCEL);
  backfill_clear(&now);
  p->entered(p->arg);
}

/* Makes the runs of the days that were found, and claims them. */
static enum kpi_code make_runs(const struct discovery_plan *p, const struct backfill *b,
                               const struct day_scan *scan, struct run_list *runs, struct err *err) {
  auto_free day_t *days = calloc(scan->results.count + 1, sizeof *days);
  if (!days)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu days", scan->results.count);
  for (size_t i = 0; i < scan->results.count; i++)
    days[i] = scan->results.at[i].day;
  const struct run_request run = backfill_run_request(b);
  const struct backfill_request request = {.run = &run,
                                           .days = days,
                                           .count = scan->results.count,
                                           .reprocess = b->reprocess,
                                           .is_descending = b->is_descending};
  const struct submit_policy policy = {.listed = scan->input.fingerprint};
  const struct claim_filter own = {PRIORITY_BACKFILL, view_of(b->id)};
  enum kpi_code rc = backfill_store_found(p->x->db, b->id, &request, &policy, p->defaults, err);
  if (rc == KPI_QUEUE_FULL)
    rc = err_set(err, KPI_TOO_MANY_DAYS, "the data has %zu days, more than the queue has room for",
                 request.count);
  log_at(LOG_INFO, "backfill.found", rc ? err->message : "days found", LOG_S("backfill_id", b->id),
         LOG_I("days", scan->results.count), LOG_S("code", rc ? err_name(rc) : NULL));
  return rc ? rc : run_store_claim_together(p->x->db, p->boot_id, &own, p->defaults, runs, err);
}

/* Ends it without days. */
static void store_failure(const struct discovery_plan *p, const struct backfill *b, enum run_phase phase,
                          const struct err *why) {
  auto_buf struct buf error;
  struct err err;
  enum discovery how = why->code == KPI_CANCELLED     ? DISCOVERY_CANCELLED
                       : why->code == KPI_INTERRUPTED ? DISCOVERY_QUEUED
                                                      : DISCOVERY_FAILED;
  buf_init(&error, ERROR_JSON_MAX);
  run_error_json(why, phase, b->failures + 1, &error);
  buf_add_char(&error, '\0');
  const struct search_end end = {.id = b->id,
                                 .how = how,
                                 .is_retryable = err_info(why->code)->retryable,
                                 .error_json = how == DISCOVERY_FAILED ? error.ptr : NULL};
  log_at(how == DISCOVERY_FAILED ? LOG_ERROR : LOG_WARN, "backfill.not_found", why->message,
         LOG_S("backfill_id", b->id), LOG_S("code", err_name(why->code)));
  if (backfill_store_not_found(p->x->db, &end, &err))
    log_at(LOG_ERROR, "backfill.end_not_stored", err.message, LOG_S("backfill_id", b->id));
}

static enum kpi_code publish(const struct discovery_plan *p, const struct day_scan *scan,
                             struct run_list *runs, struct err *err) {
  struct run_group group;
  if (!run_group_init(&group, p->x, p->live, runs))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu runs", runs->count);
  group.given = scan;
  group.over = p->over;
  group.over_arg = p->arg;
  p->entered(p->arg);
  enum kpi_code rc = run_group_exec(&group, err);
  run_group_clear(&group);
  return rc;
}

enum kpi_code discovery_exec(const struct discovery_plan *p, const struct backfill *b, struct err *err) {
  struct day_scan scan = {0};
  struct run_list runs = {0};
  const int64_t timeout_ms = (int64_t)b->timeout_seconds * MS_PER_SECOND;
  struct run_live live = {
      .is_scan = true, .timeout_ms = timeout_ms, .overdue_ms = clock_mono_ms() + timeout_ms};
  struct run_hand_off hand_off;
  const struct day_scan_plan plan = {
      .x = p->x,
      .ask = {day_set_range(DAY_MIN, DAY_MAX), b->bad_rows, b->max_bad_rows, b->engine},
      .live = &live,
      .hand_off = &hand_off.base};
  memcpy(live.run_id, b->id, sizeof live.run_id);
  run_hand_off_init(&hand_off, p->x->db, p->x->reaper, b->id, true, NULL, 0);
  run_hand_off_outlive(&hand_off, p->x->intents, &live.stop);
  live_runs_enter(p->live, &live);
  look_for_cancel(p, b, &live);
  enum kpi_code rc = day_scan_compute(&plan, &scan, err);
  live_runs_leave(p->live, &live);
  if (rc == KPI_OK)
    rc = make_runs(p, b, &scan, &runs, err);
  if (rc) {
    run_error_close(err);
    rc = err->code;
    store_failure(p, b, (enum run_phase)atomic_load(&live.progress.phase), err);
  }
  if (p->x->changed)
    p->x->changed(p->x->changed_arg, b->id);
  if (runs.count)
    rc = publish(p, &scan, &runs, err);
  day_scan_clear(&scan);
  run_list_clear(&runs);
  return rc;
}
