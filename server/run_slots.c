/* SPDX-License-Identifier: MIT */
#include "server/run_slots.h"

#include "base/clock.h"
#include "base/scope.h"

#include <string.h>

enum { HOPELESS_AFTER_MS = 1000 };

void run_slots_init(struct run_slots *s, size_t count) {
  *s = (struct run_slots){.count = count};
  pthread_mutex_init(&s->synced.lock, NULL);
}

void run_slots_clear(struct run_slots *s) {
  pthread_mutex_destroy(&s->synced.lock);
}

void run_slots_enter(struct run_slots *s, size_t slot, const char *run_id, struct run_live *live) {
  SCOPE_LOCK(&s->synced.lock);
  view_to_cstr(view_of(run_id), s->synced.at[slot].run_id, UUID_TEXT_SIZE);
  s->synced.at[slot].live = live;
  s->synced.at[slot].progress_sum = 0;
  s->synced.at[slot].progress_at = clock_mono_ms();
}

void run_slots_leave(struct run_slots *s, size_t slot) {
  run_slots_enter(s, slot, "", NULL);
}

void run_slots_stop(struct run_slots *s, struct view run_id, enum stop_reason why) {
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->count; i++)
    if (s->synced.at[i].live && view_is(run_id, s->synced.at[i].run_id))
      stop_raise(&s->synced.at[i].live->stop, why);
}

/* ---- stalls ---- */

static uint64_t progress_sum(const struct job_progress *p) {
  struct run_progress now = job_progress_copy(p);
  return now.bytes_read + now.rows_orders + now.rows_order_items + now.rows_products + now.files_done +
         now.items_published + (uint64_t)atomic_load(&p->phase);
}

/* A run that waits for workers which another run has is not stalled. */
static bool waits_for_workers(const struct job_progress *p) {
  return atomic_load(&p->phase) == PHASE_SCANNING && atomic_load(&p->busy_workers) == 0;
}

bool run_slots_stop_stalled(struct run_slots *s, int64_t now_ms, int64_t limit_ms) {
  bool stuck = false;
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->count; i++) {
    struct run_live *live = s->synced.at[i].live;
    uint64_t sum = live ? progress_sum(&live->progress) : 0;
    if (!live || sum != s->synced.at[i].progress_sum || waits_for_workers(&live->progress)) {
      s->synced.at[i].progress_sum = sum;
      s->synced.at[i].progress_at = now_ms;
      continue;
    }
    int64_t idle_ms = now_ms - s->synced.at[i].progress_at;
    if (idle_ms > limit_ms)
      stop_raise(&live->stop, STOP_STALLED);
    stuck |= idle_ms > 2 * limit_ms;
  }
  return stuck;
}

void run_slots_stop_overdue(struct run_slots *s, int64_t now_ms) {
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->count; i++) {
    struct run_live *live = s->synced.at[i].live;
    if (live && live->overdue_ms && now_ms >= live->overdue_ms)
      stop_raise(&live->stop, STOP_TIMEOUT);
  }
}

/* ---- draining ---- */

/* Milliseconds that a run still needs, from its bytes so far; 0 when that cannot be told yet. */
static int64_t remaining_ms(const struct run_live *live, int64_t running_ms) {
  struct run_progress p = job_progress_copy(&live->progress);
  if (p.bytes_read == 0 || p.bytes_total <= p.bytes_read)
    return 0;
  return (int64_t)((double)running_ms * (double)(p.bytes_total - p.bytes_read) / (double)p.bytes_read);
}

size_t run_slots_drain(struct run_slots *s, int64_t waited_ms, int64_t left_ms) {
  SCOPE_LOCK(&s->synced.lock);
  size_t active = 0;
  for (size_t i = 0; i < s->count; i++) {
    struct run_live *live = s->synced.at[i].live;
    if (!live)
      continue;
    active++;
    bool is_hopeless = waited_ms >= HOPELESS_AFTER_MS && remaining_ms(live, waited_ms) > left_ms * 2;
    if (left_ms <= 0 || is_hopeless)
      stop_raise(&live->stop, STOP_DRAIN);
    if (left_ms <= 0)
      stop_raise(&live->abandon, STOP_DRAIN);
  }
  return active;
}

/* ---- looking ---- */

void run_slots_overlay(struct run_slots *s, struct run *run) {
  if (run->state != RUN_RUNNING && run->state != RUN_CANCELLING)
    return;
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->count; i++)
    if (s->synced.at[i].live && strcmp(s->synced.at[i].run_id, run->id) == 0) {
      const struct job_progress *p = &s->synced.at[i].live->progress;
      run->progress = job_progress_copy(p);
      run->phase = (enum run_phase)atomic_load(&p->phase);
    }
}

size_t run_slots_live(struct run_slots *s, struct run runs[RUN_SLOTS_MAX]) {
  SCOPE_LOCK(&s->synced.lock);
  size_t count = 0;
  for (size_t i = 0; i < s->count; i++) {
    const struct run_live *live = s->synced.at[i].live;
    if (!live)
      continue;
    struct run *run = &runs[count++];
    *run = (struct run){.date = live->date,
                        .state = RUN_RUNNING,
                        .phase = (enum run_phase)atomic_load(&live->progress.phase),
                        .attempt = live->attempt,
                        .started_at = live->started_at,
                        .progress = job_progress_copy(&live->progress)};
    memcpy(run->id, s->synced.at[i].run_id, sizeof run->id);
  }
  return count;
}

size_t run_slots_active(struct run_slots *s) {
  SCOPE_LOCK(&s->synced.lock);
  size_t active = 0;
  for (size_t i = 0; i < s->count; i++)
    active += s->synced.at[i].live != NULL;
  return active;
}
