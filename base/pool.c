/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include "base/scope.h"

#include <stdlib.h>
#include <unistd.h>

enum { BACKGROUND_NICE = 5 /* a third of the share of the others when there are not enough cores */ };

struct task {
  pool_task_fn fn;
  void *arg;
  struct pool_group *group;
};

struct pool {
  struct {
    pthread_mutex_t lock;
    pthread_cond_t not_empty, not_full, group_done;
    struct task *ring;
    size_t head, count, cap;
    bool stopping;
  } synced;
  pthread_t *workers;
  size_t worker_count;
  bool in_background;
};

void stop_raise(struct stop_flag *f, enum stop_reason why) {
  int none = STOP_NONE;
  atomic_compare_exchange_strong(&f->reason, &none, (int)why);
}

enum stop_reason stop_reason(const struct stop_flag *f) {
  return f ? (enum stop_reason)atomic_load_explicit(&f->reason, memory_order_acquire) : STOP_NONE;
}

bool pool_load_waits(const struct pool_load *l) {
  return atomic_load(&l->running) == 0 && atomic_load(&l->pending) > 0;
}

/* Takes the next task; false when the pool stops and nothing is left. */
static bool next_task(struct pool *p, struct task *out) {
  SCOPE_LOCK(&p->synced.lock);
  while (p->synced.count == 0 && !p->synced.stopping)
    pthread_cond_wait(&p->synced.not_empty, &p->synced.lock);
  if (p->synced.count == 0)
    return false;
  *out = p->synced.ring[p->synced.head];
  p->synced.head = (p->synced.head + 1) % p->synced.cap;
  p->synced.count--;
  pthread_cond_signal(&p->synced.not_full);
  if (out->group->load)
    atomic_fetch_add(&out->group->load->running, 1);
  return true;
}

static void finish_task(struct pool *p, struct pool_group *g) {
  SCOPE_LOCK(&p->synced.lock);
  if (g->load) {
    atomic_fetch_sub(&g->load->running, 1);
    atomic_fetch_sub(&g->load->pending, 1);
  }
  if (--g->pending == 0)
    pthread_cond_broadcast(&p->synced.group_done);
}

static void *work(void *arg) {
  struct pool *p = arg;
  struct task t;
  int ignored = p->in_background ? nice(BACKGROUND_NICE) : 0; /* of this thread alone, on Linux */
  (void)ignored;
  while (next_task(p, &t)) {
    t.fn(t.arg);
    finish_task(p, t.group);
  }
  return NULL;
}

static struct pool *start(size_t threads, size_t queue_cap, bool in_background) {
  struct pool *p = calloc(1, sizeof *p);
  if (!p)
    return NULL;
  p->in_background = in_background;
  pthread_mutex_init(&p->synced.lock, NULL);
  pthread_cond_init(&p->synced.not_empty, NULL);
  pthread_cond_init(&p->synced.not_full, NULL);
  pthread_cond_init(&p->synced.group_done, NULL);
  p->synced.cap = queue_cap;
  p->synced.ring = calloc(queue_cap, sizeof *p->synced.ring);
  p->workers = calloc(threads, sizeof *p->workers);
  if (p->synced.ring && p->workers)
    while (p->worker_count < threads && pthread_create(&p->workers[p->worker_count], NULL, work, p) == 0)
      p->worker_count++;
  if (p->worker_count)
    return p;
  pool_free(p);
  return NULL;
}

struct pool *pool_new(size_t threads, size_t queue_cap) {
  return start(threads, queue_cap, false);
}

struct pool *pool_new_background(size_t threads, size_t queue_cap) {
  return start(threads, queue_cap, true);
}

void pool_free(struct pool *p) {
  if (!p)
    return;
  pthread_mutex_lock(&p->synced.lock);
  p->synced.stopping = true;
  pthread_cond_broadcast(&p->synced.not_empty);
  pthread_mutex_unlock(&p->synced.lock);
  for (size_t i = 0; i < p->worker_count; i++)
    pthread_join(p->workers[i], NULL);
  pthread_cond_destroy(&p->synced.group_done);
  pthread_cond_destroy(&p->synced.not_full);
  pthread_cond_destroy(&p->synced.not_empty);
  pthread_mutex_destroy(&p->synced.lock);
  free(p->synced.ring);
  free(p->workers);
  free(p);
}

size_t pool_threads(const struct pool *p) {
  return p->worker_count;
}

void pool_submit(struct pool *p, struct pool_group *g, pool_task_fn fn, void *arg) {
  SCOPE_LOCK(&p->synced.lock);
  if (g->load)
    atomic_fetch_add(&g->load->pending, 1);
  while (p->synced.count == p->synced.cap)
    pthread_cond_wait(&p->synced.not_full, &p->synced.lock);
  size_t at = (p->synced.head + p->synced.count) % p->synced.cap;
  p->synced.ring[at] = (struct task){fn, arg, g};
  p->synced.count++;
  g->pending++;
  pthread_cond_signal(&p->synced.not_empty);
}

void pool_wait(struct pool *p, struct pool_group *g) {
  SCOPE_LOCK(&p->synced.lock);
  while (g->pending)
    pthread_cond_wait(&p->synced.group_done, &p->synced.lock);
}

void pool_map(struct pool *p, struct pool_load *load, pool_task_fn fn, void *args, size_t arg_size,
              size_t count) {
  struct pool_group g = {.load = load};
  for (size_t i = 0; i < count; i++)
    pool_submit(p, &g, fn, (char *)args + i * arg_size);
  pool_wait(p, &g);
}
