/* SPDX-License-Identifier: MIT
 * Requests that wait for a change: a deadline heap of suspended connections, woken by topic, by deadline,
 * when the client has gone, or all at once. Holds at most a fixed number and starts no thread. Must not know
 * the HTTP library. */
#ifndef KPID_SERVER_WAITERS_H
#define KPID_SERVER_WAITERS_H

#include "server/reply.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

/* One waiting request; embedded in its owner, who must keep it until it was woken. Filled before waiters_add.
 */
struct waiter {
  char topic[REPLY_TOPIC_SIZE];
  int64_t deadline_ms; /* monotonic */
  int fd;              /* connection that is watched for a client that went away */
  bool holds_place;    /* it counts also while it does not wait; set by waiters_take_place */
  /* below: kept by waiters.c */
  size_t heap_at;
  struct waiter *next;
};

/* Wakes the owner of a waiter that has left the heap; `over` is false after a notice, true for every other
 * reason. Called without locks, from any thread. */
typedef void (*waiter_wake_fn)(struct waiter *w, bool over);

enum { WAITERS_STRIPES = 256 };

struct waiters {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  waiter_wake_fn wake;
  size_t max;
  struct synced_waiters {   /* guarded by lock */
    struct waiter **heap;   /* earliest deadline first */
    struct waiter **picked; /* scratch: those about to leave */
    struct pollfd *polled;  /* scratch */
    size_t count;
    size_t places;                         /* taken: by those in the heap, and by those that hold theirs */
    uint64_t last_notice[WAITERS_STRIPES]; /* number of the last notice for topics of this hash */
    bool closed, interrupted;
  } synced;
  _Atomic uint64_t notices; /* all so far; written under lock */
};

enum waiters_result {
  WAITERS_ADDED,
  WAITERS_CHANGED, /* the topic was notified since `seen`: look again instead of waiting */
  WAITERS_FULL,
  WAITERS_CLOSED
};

/* Prepares for at most `max` waiters. Errors: KPI_INTERNAL_ERROR without memory. */
KPI_MUST_CHECK enum kpi_code waiters_init(struct waiters *ws, size_t max, waiter_wake_fn wake,
                                          struct err *err);

/* Releases the memory; nobody may wait any more. */
void waiters_destroy(struct waiters *ws);

/* Returns a mark to take before looking at what might change; waiters_add compares with it, so that a notice
 * between the look and the wait is not lost. */
uint64_t waiters_mark(struct waiters *ws);

/* Keeps a place for a waiter that will wait again and again, so that it is never WAITERS_FULL. False: there
 * is none. Given back with waiters_leave_place. */
KPI_MUST_CHECK bool waiters_take_place(struct waiters *ws, struct waiter *w);

/* Gives the place back, if it holds one; w must not be waiting. */
void waiters_leave_place(struct waiters *ws, struct waiter *w);

/* Puts w into the heap unless the result says otherwise. Takes w until it is woken, which may happen before
 * this returns. */
KPI_MUST_CHECK enum waiters_result waiters_add(struct waiters *ws, struct waiter *w, uint64_t seen);

/* Wakes all waiters of a topic. Any thread. */
void waiters_notify(struct waiters *ws, const char *topic);

/* Wakes all waiters of all topics: something concerns everyone. */
void waiters_notify_all(struct waiters *ws);

/* Wakes all waiters, and lets none wait any more. */
void waiters_close(struct waiters *ws);

/* Wakes those whose deadline is not after now_ms. */
void waiters_expire(struct waiters *ws, int64_t now_ms);

/* Wakes those whose client has closed its side of the connection. */
void waiters_sweep(struct waiters *ws);

/* Sleeps until until_ms (monotonic), the earliest deadline, or waiters_interrupt. */
void waiters_sleep(struct waiters *ws, int64_t until_ms);

/* Ends a waiters_sleep early. */
void waiters_interrupt(struct waiters *ws);

/* How many wait now. */
size_t waiters_count(struct waiters *ws);

#endif
