/* SPDX-License-Identifier: MIT */
#include "server/http_conns.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/http_gate.h"
#include "server/http_metrics.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { NEVER_SEEN = -1, STREAM_SEND_BUFFER_BYTES = 32 * 1024 };

void conns_init(struct conns *t) {
  *t = (struct conns){.first = NULL};
  pthread_mutex_init(&t->lock, NULL);
}

void conns_destroy(struct conns *t) {
  pthread_mutex_destroy(&t->lock);
}

struct conn *conns_add(struct conns *t, int fd) {
  struct conn *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->fd = fd;
  c->idle_bytes = NEVER_SEEN;
  conn_set_deadline(c, HTTP_HEAD_TIMEOUT_MS);
  SCOPE_LOCK(&t->lock);
  c->next = t->first;
  if (c->next)
    c->next->prev = c;
  t->first = c;
  http_metrics_connections(1);
  return c;
}

static void unlink_conn(struct conns *t, struct conn *c) {
  SCOPE_LOCK(&t->lock);
  if (c->next)
    c->next->prev = c->prev;
  if (c->prev)
    c->prev->next = c->next;
  else
    t->first = c->next;
}

void conns_remove(struct conns *t, struct conn *c) {
  if (!c)
    return;
  unlink_conn(t, c);
  http_metrics_connections(-1);
  free(c);
}

void conn_set_deadline(struct conn *c, int64_t from_now_ms) {
  if (c)
    atomic_store(&c->deadline_ms, clock_mono_ms() + from_now_ms);
}

void conn_set_busy(struct conn *c) {
  if (!c)
    return;
  atomic_store(&c->busy, true);
  atomic_store(&c->idle, false);
  conn_set_deadline(c, HTTP_REQUEST_TIMEOUT_MS);
}

void conn_set_idle(struct conn *c) {
  if (!c)
    return;
  conn_set_deadline(c, (int64_t)HTTP_KEEPALIVE_SECONDS * 1000 + HTTP_HEAD_TIMEOUT_MS);
  atomic_store(&c->idle, true);
  atomic_store(&c->busy, false);
}

void conn_set_streaming(struct conn *c) {
  int size = STREAM_SEND_BUFFER_BYTES;
  unsigned timeout_ms = HTTP_REQUEST_TIMEOUT_MS;
  if (!c)
    return;
  /* Without them a dead client is only noticed later. */
  (void)setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  (void)setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}

static int64_t bytes_received(int fd) {
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? (int64_t)info.tcpi_bytes_received : 0;
}

/* The library tells nobody when the first byte of the next request comes on a kept connection; the kernel's
 * byte counter does. From then on the head has its usual time. */
static void watch_idle(struct conn *c, int64_t now_ms) {
  if (!atomic_load(&c->idle)) {
    c->idle_bytes = NEVER_SEEN;
    return;
  }
  int64_t bytes = bytes_received(c->fd);
  int64_t far_off = atomic_load(&c->deadline_ms);
  if (c->idle_bytes == NEVER_SEEN)
    c->idle_bytes = bytes;
  else if (bytes != c->idle_bytes && atomic_exchange(&c->idle, false))
    /* unless the request has begun meanwhile and set its own */
    atomic_compare_exchange_strong(&c->deadline_ms, &far_off, now_ms + HTTP_HEAD_TIMEOUT_MS);
}

/* shutdown(2) does not block, and as long as the lock is held the library cannot close and reuse a
 * descriptor. */
int conns_reap(struct conns *t, int64_t now_ms) {
  int reaped = 0;
  SCOPE_LOCK(&t->lock);
  for (struct conn *c = t->first; c; c = c->next) {
    watch_idle(c, now_ms);
    if (atomic_load(&c->deadline_ms) > now_ms)
      continue;
    shutdown(c->fd, SHUT_RDWR);
    atomic_store(&c->deadline_ms, INT64_MAX);
    reaped++;
  }
  return reaped;
}

size_t conns_hang_up(struct conns *t) {
  size_t count = 0;
  SCOPE_LOCK(&t->lock);
  for (const struct conn *c = t->first; c; c = c->next) {
    if (!atomic_load(&c->busy))
      shutdown(c->fd, SHUT_RD);
    count++;
  }
  return count;
}
