/* SPDX-License-Identifier: MIT */
#include "server/waiters.h"

#include "base/clock.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

enum kpi_code waiters_init(struct waiters *ws, size_t max, waiter_wake_fn wake, struct err *err) {
  *ws = (struct waiters){.wake = wake, .max = max};
  pthread_mutex_init(&ws->lock, NULL);
  pthread_cond_init(&ws->changed, NULL);
  ws->synced.heap = calloc(max, sizeof *ws->synced.heap);
  ws->synced.picked = calloc(max, sizeof *ws->synced.picked);
  ws->synced.polled = calloc(max, sizeof *ws->synced.polled);
  if (ws->synced.heap && ws->synced.picked && ws->synced.polled)
    return KPI_OK;
  waiters_destroy(ws);
  return err_set(err, KPI_INTERNAL_ERROR, "Memory is exhausted.");
}

void waiters_destroy(struct waiters *ws) {
  free(ws->synced.heap);
  free(ws->synced.picked);
  free(ws->synced.polled);
  ws->synced = (struct synced_waiters){.heap = NULL};
  pthread_cond_destroy(&ws->changed);
  pthread_mutex_destroy(&ws->lock);
}

/* --- heap, all under the lock ------------------------------------------------------------------------ */

static void put(struct synced_waiters *s, size_t at, struct waiter *w) {
  s->heap[at] = w;
  w->heap_at = at;
}

static void sift_up(struct synced_waiters *s, size_t at) {
  struct waiter *w = s->heap[at];
  while (at > 0 && s->heap[(at - 1) / 2]->deadline_ms > w->deadline_ms) {
    put(s, at, s->heap[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  put(s, at, w);
}

static void sift_down(struct synced_waiters *s, size_t at) {
  struct waiter *w = s->heap[at];
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= s->count)
      break;
    if (child + 1 < s->count && s->heap[child + 1]->deadline_ms < s->heap[child]->deadline_ms)
      child++;
    if (s->heap[child]->deadline_ms >= w->deadline_ms)
      break;
    put(s, at, s->heap[child]);
    at = child;
  }
  put(s, at, w);
}

/* Takes w out of the heap and puts it in front of *list. */
static void take_out(struct synced_waiters *s, struct waiter *w, struct waiter **list) {
  size_t at = w->heap_at;
  struct waiter *last = s->heap[--s->count];
  s->places -= !w->holds_place;
  if (last != w) {
    put(s, at, last);
    sift_up(s, at);
    sift_down(s, last->heap_at);
  }
  w->next = *list;
  *list = w;
}

/* Takes out the first n of s->picked; returns them as a list. */
static struct waiter *take_picked(struct synced_waiters *s, size_t n) {
  struct waiter *list = NULL;
  for (size_t i = 0; i < n; i++)
    take_out(s, s->picked[i], &list);
  return list;
}

/* FNV-1a, to spread topics over the stripes. */
static size_t stripe_of(const char *topic) {
  uint32_t h = 2166136261u;
  for (; *topic; topic++)
    h = (h ^ (unsigned char)*topic) * 16777619u;
  return h % WAITERS_STRIPES;
}

/* Wakes a list that was taken out of the heap; without the lock. */
static void wake_all(const struct waiters *ws, struct waiter *list, bool over) {
  while (list) {
    struct waiter *w = list;
    list = w->next; /* the owner may free w as soon as it is awake */
    ws->wake(w, over);
  }
}

/* --- public ------------------------------------------------------------------------------------------ */

uint64_t waiters_mark(struct waiters *ws) {
  return atomic_load(&ws->notices);
}

bool waiters_take_place(struct waiters *ws, struct waiter *w) {
  SCOPE_LOCK(&ws->lock);
  if (ws->synced.places == ws->max)
    return false;
  ws->synced.places++;
  w->holds_place = true;
  return true;
}

void waiters_leave_place(struct waiters *ws, struct waiter *w) {
  SCOPE_LOCK(&ws->lock);
  ws->synced.places -= w->holds_place;
  w->holds_place = false;
}

enum waiters_result waiters_add(struct waiters *ws, struct waiter *w, uint64_t seen) {
  SCOPE_LOCK(&ws->lock);
  struct synced_waiters *s = &ws->synced;
  if (s->closed)
    return WAITERS_CLOSED;
  if (s->last_notice[stripe_of(w->topic)] > seen)
    return WAITERS_CHANGED;
  if (!w->holds_place && s->places == ws->max)
    return WAITERS_FULL;
  s->places += !w->holds_place;
  s->heap[s->count] = w;
  sift_up(s, s->count++);
  if (w->heap_at == 0)
    pthread_cond_broadcast(&ws->changed);
  return WAITERS_ADDED;
}

void waiters_notify(struct waiters *ws, const char *topic) {
  struct waiter *list;
  {
    SCOPE_LOCK(&ws->lock);
    struct synced_waiters *s = &ws->synced;
    size_t n = 0;
    s->last_notice[stripe_of(topic)] = atomic_fetch_add(&ws->notices, 1) + 1;
    for (size_t i = 0; i < s->count; i++)
      if (strcmp(s->heap[i]->topic, topic) == 0)
        s->picked[n++] = s->heap[i];
    list = take_picked(s, n);
  }
  wake_all(ws, list, false);
}

static struct waiter *take_everyone(struct synced_waiters *s) {
  struct waiter *list = NULL;
  while (s->count)
    take_out(s, s->heap[s->count - 1], &list);
  return list;
}

void waiters_notify_all(struct waiters *ws) {
  struct waiter *list;
  {
    SCOPE_LOCK(&ws->lock);
    uint64_t number = atomic_fetch_add(&ws->notices, 1) + 1;
    for (size_t i = 0; i < WAITERS_STRIPES; i++)
      ws->synced.last_notice[i] = number;
    list = take_everyone(&ws->synced);
  }
  wake_all(ws, list, false);
}

void waiters_close(struct waiters *ws) {
  struct waiter *list;
  {
    SCOPE_LOCK(&ws->lock);
    ws->synced.closed = true;
    list = take_everyone(&ws->synced);
  }
  wake_all(ws, list, true);
}

void waiters_expire(struct waiters *ws, int64_t now_ms) {
  struct waiter *list = NULL;
  {
    SCOPE_LOCK(&ws->lock);
    while (ws->synced.count && ws->synced.heap[0]->deadline_ms <= now_ms)
      take_out(&ws->synced, ws->synced.heap[0], &list);
  }
  wake_all(ws, list, true);
}

/* Asks the kernel, without waiting, which clients have hung up. A connection cannot be closed while its
 * waiter is in the heap, so the descriptors are good under the lock. */
static struct waiter *take_gone(struct synced_waiters *s) {
  size_t n = 0;
  for (size_t i = 0; i < s->count; i++)
    s->polled[i] = (struct pollfd){.fd = s->heap[i]->fd, .events = POLLRDHUP};
  if (s->count == 0 || poll(s->polled, s->count, 0) <= 0)
    return NULL;
  for (size_t i = 0; i < s->count; i++)
    if (s->polled[i].revents)
      s->picked[n++] = s->heap[i];
  return take_picked(s, n);
}

void waiters_sweep(struct waiters *ws) {
  struct waiter *list;
  {
    SCOPE_LOCK(&ws->lock);
    list = take_gone(&ws->synced);
  }
  wake_all(ws, list, true);
}

void waiters_sleep(struct waiters *ws, int64_t until_ms) {
  SCOPE_LOCK(&ws->lock);
  struct synced_waiters *s = &ws->synced;
  if (s->count && s->heap[0]->deadline_ms < until_ms)
    until_ms = s->heap[0]->deadline_ms;
  struct timespec until = clock_timespec(until_ms);
  if (!s->interrupted)
    pthread_cond_clockwait(&ws->changed, &ws->lock, CLOCK_MONOTONIC, &until);
  s->interrupted = false;
}

void waiters_interrupt(struct waiters *ws) {
  SCOPE_LOCK(&ws->lock);
  ws->synced.interrupted = true;
  pthread_cond_broadcast(&ws->changed);
}

size_t waiters_count(struct waiters *ws) {
  SCOPE_LOCK(&ws->lock);
  return ws->synced.count;
}
