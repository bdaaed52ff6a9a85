/* SPDX-License-Identifier: MIT
 * A bounded pool of pthread workers, and the flag that cancels work cooperatively. The pool is shared by
 * all runs; a group is the set of tasks that one caller waits for. */
#ifndef KPID_BASE_POOL_H
#define KPID_BASE_POOL_H

#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why work should stop. The first reason wins. */
enum stop_reason { STOP_NONE = 0, STOP_CANCEL, STOP_DRAIN, STOP_STALLED, STOP_TIMEOUT };

/* Cancel flag of one run; zero-initialise. Workers look at it at least every 64 KiB of input. */
struct stop_flag {
  _Atomic int reason;
};

/* Raises the flag unless it is up already. Any thread. */
void stop_raise(struct stop_flag *f, enum stop_reason why);

/* Returns why work should stop, STOP_NONE while it should go on; NULL is a flag that is never raised. */
enum stop_reason stop_reason(const struct stop_flag *f);

struct pool;

/* A unit of work; `arg` is borrowed from the submitter until the task returns. */
typedef void (*pool_task_fn)(void *arg);

/* Tasks as anyone may watch them. `pending` without `running`: their owner waits for workers that others
 * have. */
struct pool_load {
  _Atomic uint64_t pending; /* not yet returned: queued or running */
  _Atomic uint64_t running;
};

/* True while the tasks wait for workers and none of them has one. */
bool pool_load_waits(const struct pool_load *l);

/* Tasks one caller waits for. Zero-initialise with POOL_GROUP_INIT; lives until pool_wait has returned. */
struct pool_group {
  size_t pending;         /* guarded by the pool's lock */
  struct pool_load *load; /* tells the same to others; NULL: nobody watches */
};
#define POOL_GROUP_INIT                                                                                      \
  { 0 }

/* Starts `threads` workers (>= 1), fewer where the system gives no more, with a queue of `queue_cap` tasks.
 * Returns owned, NULL when there is no thread or no memory. */
struct pool *pool_new(size_t threads, size_t queue_cap);

/* The same, of workers that let every other thread of the process go first: they may use all cores, and
 * whoever has to answer at once still does. */
struct pool *pool_new_background(size_t threads, size_t queue_cap);

/* Waits for queued tasks, stops the workers and frees. Accepts NULL. */
void pool_free(struct pool *p);

/* Put at the end of the states of workers that lie in an array: they then share no cache line, which each
 * would take away from the other with every write. */
#define POOL_GAP char gap[128]

/* Number of workers. */
size_t pool_threads(const struct pool *p);

/* Queues a task; waits while the queue is full. Call it from outside the pool's workers only. */
void pool_submit(struct pool *p, struct pool_group *g, pool_task_fn fn, void *arg);

/* Waits until every task of the group has returned. Call it from outside the pool's workers only. */
void pool_wait(struct pool *p, struct pool_group *g);

/* Runs fn(&args[i * arg_size]) for i in 0..count-1 on the pool and waits for all; `load` as in pool_group. */
void pool_map(struct pool *p, struct pool_load *load, pool_task_fn fn, void *args, size_t arg_size,
              size_t count);

#endif
