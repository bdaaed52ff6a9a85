/* SPDX-License-Identifier: MIT */
#include "server/errands.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { AT_A_TIME = 4, AGAIN_MS = 1000, AGAIN_DOUBLINGS_MAX = 5 };

struct errand {
  char id[UUID_TEXT_SIZE];
  const char *operation;
  json_t *body; /* owned */
  errand_done_fn done;
  void *arg;
  /* guarded by the lock: */
  bool is_at_work;
  unsigned failures;
  int64_t not_before; /* clock_mono_ms */
  struct errand *next;
};

struct errands {
  struct aws *aws;
  struct stop_flag stop;
  pthread_t threads[AT_A_TIME];
  size_t thread_count;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct errand *first, **end; /* in the order in which they were asked for, those at work included */
    bool stopping;
  } synced;
};

static void errand_free(struct errand *x) {
  json_decref(x->body);
  free(x);
}

/* ---- the list; the lock is held ---- */

/* True when an earlier one has the same id. */
static bool has_to_wait(const struct errands *e, const struct errand *x) {
  for (const struct errand *before = e->synced.first; before != x; before = before->next)
    if (strcmp(before->id, x->id) == 0)
      return true;
  return false;
}

/* Takes the first that may be sent now; NULL, and when to look again, if there is none. */
static struct errand *take_ready(const struct errands *e, int64_t now, int64_t *look_at) {
  *look_at = INT64_MAX;
  for (struct errand *x = e->synced.first; x; x = x->next) {
    if (x->is_at_work)
      continue;
    if (x->not_before <= now && !has_to_wait(e, x)) {
      x->is_at_work = true;
      return x;
    }
    if (x->not_before > now && x->not_before < *look_at)
      *look_at = x->not_before;
  }
  return NULL;
}

static void unlink_errand(struct errands *e, const struct errand *x) {
  struct errand **at = &e->synced.first;
  while (*at != x)
    at = &(*at)->next;
  *at = x->next;
  if (e->synced.end == &x->next)
    e->synced.end = at;
}

/* ---- sending ---- */

/* True when it is to be sent once more. */
static bool send_once(struct errands *e, const struct errand *x, enum kpi_code *rc, struct err *err) {
  struct aws_error said = {0};
  *err = (struct err){0};
  *rc = dynamodb_call(e->aws, x->operation, json_incref(x->body), &e->stop, NULL, &said, err);
  if (*rc == KPI_OK || x->done || aws_error_is_condition(&said))
    return false;
  log_at(LOG_WARN, "intents.not_changed", err->message, LOG_S("run_id", x->id),
         LOG_S("aws_operation", x->operation), LOG_S("code", err_name(*rc)));
  return err_info(*rc)->retryable;
}

static int64_t again_ms(unsigned failures) {
  return (int64_t)AGAIN_MS << (failures < AGAIN_DOUBLINGS_MAX ? failures : AGAIN_DOUBLINGS_MAX);
}

/* Ends one, or leaves it for later. */
static void settle(struct errands *e, struct errand *x, bool again, enum kpi_code rc, const struct err *err) {
  pthread_mutex_lock(&e->synced.lock);
  x->is_at_work = false;
  if (again)
    x->not_before = clock_mono_ms() + again_ms(x->failures++);
  else
    unlink_errand(e, x);
  pthread_cond_broadcast(&e->synced.changed);
  pthread_mutex_unlock(&e->synced.lock);
  if (again)
    return;
  if (x->done)
    x->done(x->arg, rc, err);
  errand_free(x);
}

/* Waits for the next that may be sent; NULL when the errands end. */
static struct errand *await_ready(struct errands *e) {
  SCOPE_LOCK(&e->synced.lock);
  while (!e->synced.stopping) {
    int64_t look_at;
    struct errand *x = take_ready(e, clock_mono_ms(), &look_at);
    if (x)
      return x;
    if (look_at == INT64_MAX) {
      pthread_cond_wait(&e->synced.changed, &e->synced.lock);
    } else {
      const struct timespec until = clock_timespec(look_at);
      pthread_cond_clockwait(&e->synced.changed, &e->synced.lock, CLOCK_MONOTONIC, &until);
    }
  }
  return NULL;
}

static void *work(void *arg) {
  struct errands *e = arg;
  struct errand *x;
  while ((x = await_ready(e)) != NULL) {
    enum kpi_code rc;
    struct err err;
    const bool again = send_once(e, x, &rc, &err);
    settle(e, x, again, rc, &err);
  }
  return NULL;
}

bool errands_add(struct errands *e, const char *id, const char *operation, json_t *body, errand_done_fn done,
                 void *arg) {
  struct errand *x = calloc(1, sizeof *x);
  if (!x || !body) {
    free(x);
    json_decref(body);
    return false;
  }
  *x = (struct errand){.operation = operation, .body = body, .done = done, .arg = arg};
  view_to_cstr(view_of(id), x->id, sizeof x->id);
  SCOPE_LOCK(&e->synced.lock);
  *e->synced.end = x;
  e->synced.end = &x->next;
  pthread_cond_broadcast(&e->synced.changed);
  return true;
}

/* ---- life ---- */

struct errands *errands_new(struct aws *aws) {
  struct errands *e = calloc(1, sizeof *e);
  if (!e)
    return NULL;
  e->aws = aws;
  e->synced.end = &e->synced.first;
  pthread_mutex_init(&e->synced.lock, NULL);
  pthread_cond_init(&e->synced.changed, NULL);
  while (e->thread_count < AT_A_TIME && pthread_create(&e->threads[e->thread_count], NULL, work, e) == 0)
    e->thread_count++;
  if (e->thread_count == AT_A_TIME)
    return e;
  errands_free(e, 0);
  return NULL;
}

static void await_all(struct errands *e, int64_t wait_ms) {
  const struct timespec until = clock_timespec(clock_mono_ms() + wait_ms);
  SCOPE_LOCK(&e->synced.lock);
  while (e->synced.first &&
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
  while (e->synced.first) {
    struct errand *x = e->synced.first;
    struct err err;
    e->synced.first = x->next;
    if (x->done)
      x->done(x->arg, err_set(&err, KPI_DRAINING, "the service has ended before it was sent"), &err);
    errand_free(x);
  }
  pthread_cond_destroy(&e->synced.changed);
  pthread_mutex_destroy(&e->synced.lock);
  free(e);
}
