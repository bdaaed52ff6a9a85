/* SPDX-License-Identifier: MIT */
#include "server/live_runs.h"

#include "base/clock.h"
#include "base/scope.h"

#include <string.h>

enum { HOPELESS_AFTER_MS = 1000 };

void live_runs_init(struct live_runs *r) {
  *r = (struct live_runs){{.first = NULL}};
  pthread_mutex_init(&r->synced.lock, NULL);
}

void live_runs_clear(struct live_runs *r) {
  pthread_mutex_destroy(&r->synced.lock);
}

void live_runs_enter(struct live_runs *r, struct run_live *live) {
  SCOPE_LOCK(&r->synced.lock);
  live->progress_sum = 0;
  live->progress_at = clock_mono_ms();
  live->next = r->synced.first;
  live->link = &r->synced.first;
  if (live->next)
    live->next->link = &live->next;
  r->synced.first = live;
}

void live_runs_leave(struct live_runs *r, struct run_live *live) {
  SCOPE_LOCK(&r->synced.lock);
  if (!live->link)
    return;
  *live->link = live->next;
  if (live->next)
    live->next->link = live->link;
  live->link = NULL;
}

void live_runs_scan(struct live_runs *r, struct run_live *live, struct run_live *scan) {
  SCOPE_LOCK(&r->synced.lock);
  int64_t now = clock_mono_ms();
  if (!scan && live->scan)
    job_progress_set(&live->progress, &live->scan->progress);
  live->scan = scan;
  live->progress_at = now;
  if (live->timeout_ms)
    live->overdue_ms = now + live->timeout_ms;
}

static const struct job_progress *counters_of(const struct run_live *live) {
  return live->scan ? &live->scan->progress : &live->progress;
}

static struct run_live *find(const struct live_runs *r, struct view run_id) {
  struct run_live *live = run_id.len ? r->synced.first : NULL;
  while (live && !view_is(run_id, live->run_id))
    live = live->next;
  return live;
}

void live_runs_stop(struct live_runs *r, struct view run_id, enum stop_reason why) {
  SCOPE_LOCK(&r->synced.lock);
  struct run_live *live = find(r, run_id);
  if (live)
    stop_raise(&live->stop, why);
}

/* ---- stalls ---- */

static uint64_t progress_sum(const struct job_progress *p) {
  struct run_progress now = job_progress_copy(p);
  return now.bytes_read + now.rows_orders + now.rows_order_items + now.rows_products + now.files_done +
         now.items_published + atomic_load(&p->beats) + (uint64_t)atomic_load(&p->phase);
}

/* What waits is not stalled: for a scan or its turn after that, for workers that another run has. */
static bool only_waits(const struct run_live *live) {
  return live->scan || pool_load_waits(&live->progress.tasks) ||
         atomic_load(&live->progress.elsewhere) == ELSEWHERE_WAITING ||
         (live->is_scan && atomic_load(&live->progress.phase) == PHASE_PUBLISHING);
}

bool live_runs_stop_stalled(struct live_runs *r, int64_t now_ms, int64_t limit_ms) {
  bool stuck = false;
  SCOPE_LOCK(&r->synced.lock);
  for (struct run_live *live = r->synced.first; live; live = live->next) {
    uint64_t sum = progress_sum(&live->progress);
    if (sum != live->progress_sum || only_waits(live)) {
      live->progress_sum = sum;
      live->progress_at = now_ms;
      continue;
    }
    int64_t idle_ms = now_ms - live->progress_at;
    if (idle_ms > limit_ms)
      stop_raise(&live->stop, STOP_STALLED);
    stuck |= idle_ms > 2 * limit_ms;
  }
  return stuck;
}

/* A scan is over when its runs are published: those that wait for their turn then are not late. */
static bool waits_for_turn(const struct run_live *live) {
  return live->scan && atomic_load(&live->scan->progress.phase) == PHASE_PUBLISHING;
}

void live_runs_stop_overdue(struct live_runs *r, int64_t now_ms) {
  SCOPE_LOCK(&r->synced.lock);
  for (struct run_live *live = r->synced.first; live; live = live->next)
    if (live->overdue_ms && now_ms >= live->overdue_ms && !waits_for_turn(live))
      stop_raise(&live->stop, STOP_TIMEOUT);
}

/* ---- draining ---- */

/* Milliseconds that a run still needs, from its bytes so far; 0 when that cannot be told yet. */
static int64_t remaining_ms(const struct run_live *live, int64_t running_ms) {
  struct run_progress p = job_progress_copy(&live->progress);
  if (p.bytes_read == 0 || p.bytes_total <= p.bytes_read)
    return 0;
  return (int64_t)((double)running_ms * (double)(p.bytes_total - p.bytes_read) / (double)p.bytes_read);
}

size_t live_runs_drain(struct live_runs *r, int64_t waited_ms, int64_t left_ms) {
  SCOPE_LOCK(&r->synced.lock);
  size_t active = 0;
  for (struct run_live *live = r->synced.first; live; live = live->next) {
    active++;
    bool is_elsewhere = atomic_load(&counters_of(live)->elsewhere) != ELSEWHERE_NOT;
    bool is_hopeless = waited_ms >= HOPELESS_AFTER_MS && remaining_ms(live, waited_ms) > left_ms * 2;
    if (left_ms <= 0 || is_hopeless || is_elsewhere)
      stop_raise(&live->stop, STOP_DRAIN);
    if (left_ms <= 0)
      stop_raise(&live->abandon, STOP_DRAIN);
  }
  return active;
}

/* ---- looking ---- */

void live_runs_overlay(struct live_runs *r, struct run *run) {
  if (run->state != RUN_RUNNING && run->state != RUN_CANCELLING)
    return;
  SCOPE_LOCK(&r->synced.lock);
  const struct run_live *live = find(r, view_of(run->id));
  if (!live)
    return;
  run->progress = job_progress_copy(counters_of(live));
  run->phase = (enum run_phase)atomic_load(&counters_of(live)->phase);
}

static struct run shown(const struct run_live *live) {
  struct run run = {.date = live->date,
                    .state = RUN_RUNNING,
                    .phase = (enum run_phase)atomic_load(&counters_of(live)->phase),
                    .attempt = live->attempt,
                    .started_at = live->started_at,
                    .progress = job_progress_copy(counters_of(live))};
  memcpy(run.id, live->run_id, sizeof run.id);
  return run;
}

size_t live_runs_show(struct live_runs *r, struct view run_id, struct run runs[LIVE_RUNS_SHOWN_MAX]) {
  SCOPE_LOCK(&r->synced.lock);
  size_t count = 0;
  for (const struct run_live *live = r->synced.first; live && count < LIVE_RUNS_SHOWN_MAX; live = live->next)
    if (!live->is_scan && (run_id.len == 0 || view_is(run_id, live->run_id)))
      runs[count++] = shown(live);
  return count;
}

size_t live_runs_active(struct live_runs *r) {
  SCOPE_LOCK(&r->synced.lock);
  size_t active = 0;
  for (const struct run_live *live = r->synced.first; live; live = live->next)
    active += !live->is_scan;
  return active;
}
