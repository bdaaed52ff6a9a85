/* SPDX-License-Identifier: MIT
 * Accepted sockets and their absolute deadlines. The HTTP library only knows inactivity, so a client that
 * sends a byte now and then could hold a connection for ever; here each has a moment at which it is shut.
 * Knows sockets only. */
#ifndef KPID_SERVER_HTTP_CONNS_H
#define KPID_SERVER_HTTP_CONNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One accepted socket, owned by its table. */
struct conn {
  int fd;                      /* borrowed: closed by the HTTP library after conns_remove */
  _Atomic int64_t deadline_ms; /* monotonic */
  _Atomic bool busy;           /* a request was begun on it and not answered yet */
  _Atomic bool idle;           /* between two requests */
  int64_t idle_bytes;          /* received when it was first seen idle; conns_reap only */
  struct conn *prev, *next;    /* guarded by the table's lock */
};

struct conns {
  pthread_mutex_t lock;
  struct conn *first; /* guarded by lock */
};

/* Prepares an empty table. */
void conns_init(struct conns *t);

/* Releases an empty table. */
void conns_destroy(struct conns *t);

/* Adds a socket that has HTTP_HEAD_TIMEOUT_MS to send its first head. Borrows fd. Returns a pointer owned by
 * the table, NULL without memory: such a connection must not be served. Any thread. */
struct conn *conns_add(struct conns *t, int fd);

/* Forgets a socket; call it before the descriptor is closed. Accepts NULL. Any thread. */
void conns_remove(struct conns *t, struct conn *c);

/* Gives the request at work on it this long from now. Accepts NULL. Any thread. */
void conn_set_deadline(struct conn *c, int64_t from_now_ms);

/* A request begins (its head was read) or has ended: the connection is busy until the next call, or idle and
 * kept. Accept NULL. Any thread. */
void conn_set_busy(struct conn *c);
void conn_set_idle(struct conn *c);

/* The connection sends a stream from now on: the kernel holds little of it, and gives the connection up when
 * nothing of that was taken for HTTP_REQUEST_TIMEOUT_MS. Accepts NULL. */
void conn_set_streaming(struct conn *c);

/* Shuts every socket whose deadline has passed and returns how many. Call it about once a second, from one
 * thread. */
int conns_reap(struct conns *t, int64_t now_ms);

/* Lets no further request come in on the sockets that are at none: what their clients have sent by now is
 * still read. Returns how many sockets there are, busy ones too. */
size_t conns_hang_up(struct conns *t);

#endif
