/* SPDX-License-Identifier: MIT */
#include "server/errands.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AT_A_TIME = 8, LANES_LISTS = 1024, AGAIN_MS = 1000, AGAIN_DOUBLINGS_MAX = 5 };

struct errand {
  const char *operation;
  json_t *body; /* owned */
  errand_done_fn done;
  void *arg;
  struct errand *next;
};

/* All errands of one id, in the order in which they were asked for. Its first is sent before the next. */
struct lane {
  char id[UUID_TEXT_SIZE];
  struct errand *first, **end; /* owned; never empty */
  unsigned failures;           /* of the first */
  int64_t not_before;          /* clock_mono_ms, while it rests */
  struct lane *next;           /* in its queue; none while it is at work */
  struct lane *next_in_list;
};

struct queue {
  struct lane *first, **end;
};

struct errands {
  struct aws *aws;
  struct stop_flag stop;
  pthread_t threads[AT_A_TIME];
  size_t thread_count;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct lane *lists[LANES_LISTS]; /* owned; by id */
    struct queue ready;              /* lanes whose first may be sent */
    /* Lanes whose first has failed, by how long they rest: each queue is in the order of not_before. */
    struct queue resting[AGAIN_DOUBLINGS_MAX + 1];
    size_t count; /* of errands, those at work included */
    bool leaving; /* there is little time left: nothing rests for long */
    bool stopping;
  } synced;
};

static void errand_free(struct errand *x) {
  json_decref(x->body);
  free(x);
}

/* ---- lanes and queues; the lock is held ---- */

static void enqueue(struct queue *q, struct lane *l) {
  l->next = NULL;
  *q->end = l;
  q->end = &l->next;
}

static struct lane *dequeue(struct queue *q) {
  struct lane *l = q->first;
  q->first = l->next;
  if (!q->first)
    q->end = &q->first;
  return l;
}

/* The place of a lane in its list, or where it would stand. */
static struct lane **find_lane(struct errands *e, const char *id) {
  uint32_t hash = 2166136261u; /* FNV-1a */
  for (const char *at = id; *at; at++)
    hash = (hash ^ (unsigned char)*at) * 16777619u;
  struct lane **at = &e->synced.lists[hash % LANES_LISTS];
  while (*at && strcmp((*at)->id, id) != 0)
    at = &(*at)->next_in_list;
  return at;
}

/* Those that have rested for long enough, or must not any longer, are ready. */
static void wake_rested(struct errands *e, int64_t now) {
  for (int i = 0; i <= AGAIN_DOUBLINGS_MAX; i++)
    while (e->synced.resting[i].first && e->synced.resting[i].first->not_before <= now)
      enqueue(&e->synced.ready, dequeue(&e->synced.resting[i]));
}

/* INT64_MAX: none rests. */
static int64_t next_rested(const struct errands *e) {
  int64_t next = INT64_MAX;
  for (int i = 0; i <= AGAIN_DOUBLINGS_MAX; i++)
    if (e->synced.resting[i].first && e->synced.resting[i].first->not_before < next)
      next = e->synced.resting[i].first->not_before;
  return next;
}

static void rest(struct errands *e, struct lane *l) {
  const unsigned grown = l->failures < AGAIN_DOUBLINGS_MAX ? l->failures : AGAIN_DOUBLINGS_MAX;
  const unsigned doublings = e->synced.leaving ? 0 : grown;
  l->failures++;
  l->not_before = clock_mono_ms() + ((int64_t)AGAIN_MS << doublings);
  enqueue(&e->synced.resting[doublings], l);
}

/* Takes the first out of a lane, which goes with its last. */
static struct errand *take_first(struct errands *e, struct lane *l) {
  struct errand *x = l->first;
  l->first = x->next;
  l->failures = 0;
  e->synced.count--;
  if (!l->first) {
    struct lane **at = find_lane(e, l->id);
    *at = l->next_in_list;
    free(l);
  }
  return x;
}

/* ---- sending ---- */

/* The first failures are logged, then ever fewer: there may be thousands. */
static bool is_worth_a_line(unsigned failures) {
  return (failures & (failures - 1)) == 0;
}

/* True when it is to be sent once more. */
static bool send_once(struct errands *e, const struct lane *l, enum kpi_code *rc, struct err *err) {
  const struct errand *x = l->first;
  struct aws_error said = {0};
  *err = (struct err){0};
  *rc = dynamodb_call(e->aws, x->operation, json_incref(x->body), &e->stop, NULL, &said, err);
  if (*rc == KPI_OK || x->done || aws_error_is_condition(&said))
    return false;
  const bool again = err_info(*rc)->retryable;
  if (!again || is_worth_a_line(l->failures + 1))
    log_at(LOG_WARN, "intents.not_changed", err->message, LOG_S("run_id", l->id),
           LOG_S("aws_operation", x->operation), LOG_S("code", err_name(*rc)),
           LOG_I("tries", l->failures + 1));
  return again;
}

/* Ends the first of a lane, or leaves it for later. Returns owned: what has ended. */
static struct errand *settle(struct errands *e, struct lane *l, bool again) {
  SCOPE_LOCK(&e->synced.lock);
  struct errand *over = NULL;
  if (again) {
    rest(e, l);
  } else {
    const bool is_last = !l->first->next;
    over = take_first(e, l);
    if (!is_last)
      enqueue(&e->synced.ready, l);
  }
  pthread_cond_broadcast(&e->synced.changed);
  return over;
}

/* Waits for the next whose first may be sent; NULL when the errands end. */
static struct lane *await_ready(struct errands *e) {
  SCOPE_LOCK(&e->synced.lock);
  while (!e->synced.stopping) {
    wake_rested(e, clock_mono_ms());
    if (e->synced.ready.first)
      return dequeue(&e->synced.ready);
    const int64_t look_at = next_rested(e);
    if (look_at == INT64_MAX) {
      pthread_cond_wait(&e->synced.changed, &e->synced.lock);
    } else {
      const struct timespec until = clock_timespec(look_at);
      pthread_cond_clockwait(&e->synced.changed, &e->synced.lock, CLOCK_MONOTONIC, &until);
    }
  }
  return NULL;
}

static void tell(struct errand *x, enum kpi_code rc, const struct err *err) {
  if (x->done)
    x->done(x->arg, rc, err);
  errand_free(x);
}

static void *work(void *arg) {
  struct errands *e = arg;
  struct lane *l;
  while ((l = await_ready(e)) != NULL) {
    enum kpi_code rc;
    struct err err;
    const bool again = send_once(e, l, &rc, &err);
    struct errand *over = settle(e, l, again);
    if (over)
      tell(over, rc, &err);
  }
  return NULL;
}

/* Finds the lane of an id, or makes one, which is ready. NULL when memory is exhausted. */
static struct lane *lane_of(struct errands *e, const char *id) {
  struct lane **at = find_lane(e, id);
  if (*at)
    return *at;
  struct lane *l = calloc(1, sizeof *l);
  if (!l)
    return NULL;
  l->end = &l->first;
  view_to_cstr(view_of(id), l->id, sizeof l->id);
  *at = l;
  enqueue(&e->synced.ready, l);
  return l;
}

bool errands_add(struct errands *e, const char *id, const char *operation, json_t *body, errand_done_fn done,
                 void *arg) {
  auto_free struct errand *x = calloc(1, sizeof *x);
  SCOPE_LOCK(&e->synced.lock);
  struct lane *l = x && body ? lane_of(e, id) : NULL;
  if (!l) {
    json_decref(body);
    return false;
  }
  *x = (struct errand){.operation = operation, .body = body, .done = done, .arg = arg};
  *l->end = x;
  l->end = &x->next;
  x = NULL;
  e->synced.count++;
  pthread_cond_broadcast(&e->synced.changed);
  return true;
}

size_t errands_count(struct errands *e) {
  SCOPE_LOCK(&e->synced.lock);
  return e->synced.count;
}

/* ---- life ---- */

struct errands *errands_new(struct aws *aws) {
  struct errands *e = calloc(1, sizeof *e);
  if (!e)
    return NULL;
  e->aws = aws;
  e->synced.ready.end = &e->synced.ready.first;
  for (int i = 0; i <= AGAIN_DOUBLINGS_MAX; i++)
    e->synced.resting[i].end = &e->synced.resting[i].first;
  pthread_mutex_init(&e->synced.lock, NULL);
  pthread_cond_init(&e->synced.changed, NULL);
  while (e->thread_count < AT_A_TIME && pthread_create(&e->threads[e->thread_count], NULL, work, e) == 0)
    e->thread_count++;
  if (e->thread_count == AT_A_TIME)
    return e;
  errands_free(e, 0);
  return NULL;
}

/* What rests is tried at once, and soon again: it may have no other time. */
static void await_all(struct errands *e, int64_t wait_ms) {
  const struct timespec until = clock_timespec(clock_mono_ms() + wait_ms);
  SCOPE_LOCK(&e->synced.lock);
  e->synced.leaving = true;
  wake_rested(e, INT64_MAX);
  pthread_cond_broadcast(&e->synced.changed);
  while (e->synced.count &&
         pthread_cond_clockwait(&e->synced.changed, &e->synced.lock, CLOCK_MONOTONIC, &until) == 0) {
  }
  e->synced.stopping = true;
  pthread_cond_broadcast(&e->synced.changed);
}

void errands_free(struct errands *e, int64_t wait_ms) {
  if (!e)
    return;
  await_all(e, wait_ms);
  stop_raise(&e->stop, STOP_DRAIN);
  for (size_t i = 0; i < e->thread_count; i++)
    pthread_join(e->threads[i], NULL);
  for (size_t i = 0; i < LANES_LISTS; i++)
    while (e->synced.lists[i]) {
      struct err err;
      err_set(&err, KPI_DRAINING, "the service has ended before it was sent");
      tell(take_first(e, e->synced.lists[i]), err.code, &err);
    }
  pthread_cond_destroy(&e->synced.changed);
  pthread_mutex_destroy(&e->synced.lock);
  free(e);
}
