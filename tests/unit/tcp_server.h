/* SPDX-License-Identifier: MIT
 * An HTTP server on a port of the loopback that answers from a script, byte by byte if need be: what a
 * transport meets on bad days. */
#ifndef KPID_TESTS_TCP_SERVER_H
#define KPID_TESTS_TCP_SERVER_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

enum { TCP_CONNECTIONS_MAX = 32, TCP_PIECES_MAX = 4, TCP_REQUEST_BYTES_MAX = 64 * 1024 };

/* What the server does after the last piece of a reply. */
enum tcp_end { TCP_KEEP, TCP_CLOSE, TCP_RESET, TCP_HOLD };

struct tcp_reply {
  const char *pieces[TCP_PIECES_MAX]; /* up to the first NULL */
  unsigned pause_ms;                  /* before each piece */
  enum tcp_end end;                   /* HOLD: says nothing more until the server goes */
};

struct tcp_server {
  const struct tcp_reply *script;
  size_t script_len; /* beyond it the last reply is repeated */
  int fd;
  char url[64]; /* http://127.0.0.1:port */
  pthread_t acceptor;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t change;
    size_t connections, requests, under_way, most_under_way;
    bool stopping;
    struct buf text; /* all requests as they came */
    struct {
      int fd;
      pthread_t thread;
    } at[TCP_CONNECTIONS_MAX];
  } synced;
};

struct tcp_peer {
  struct tcp_server *server;
  int fd;
};

/* Waits so long or until the server goes; false in that case. */
static inline bool tcp_pause(struct tcp_server *s, int64_t ms) {
  struct timespec until = clock_timespec(clock_mono_ms() + ms);
  SCOPE_LOCK(&s->synced.lock);
  while (!s->synced.stopping)
    if (pthread_cond_clockwait(&s->synced.change, &s->synced.lock, CLOCK_MONOTONIC, &until))
      break;
  return !s->synced.stopping;
}

static inline size_t tcp_body_length(const char *head) {
  const char *at = strcasestr(head, "\ncontent-length:");
  return at ? strtoul(at + sizeof "\ncontent-length:" - 1, NULL, 10) : 0;
}

/* Reads one request with its body. False at the end of the connection. */
static inline bool tcp_read_request(int fd, char *to) {
  size_t len = 0;
  for (;;) {
    ssize_t n = recv(fd, to + len, TCP_REQUEST_BYTES_MAX - len - 1, 0);
    if (n <= 0)
      return false;
    len += (size_t)n;
    to[len] = '\0';
    const char *end = strstr(to, "\r\n\r\n");
    if (end && len >= (size_t)(end - to) + 4 + tcp_body_length(to))
      return true;
  }
}

static inline const struct tcp_reply *tcp_begin(struct tcp_server *s, const char *request) {
  SCOPE_LOCK(&s->synced.lock);
  size_t i = s->synced.requests++;
  s->synced.under_way++;
  if (s->synced.most_under_way < s->synced.under_way)
    s->synced.most_under_way = s->synced.under_way;
  buf_add_cstr(&s->synced.text, request);
  pthread_cond_broadcast(&s->synced.change);
  return &s->script[i < s->script_len ? i : s->script_len - 1];
}

static inline void tcp_over(struct tcp_server *s) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.under_way--;
}

static inline bool tcp_answer(struct tcp_server *s, int fd, const struct tcp_reply *r) {
  bool ok = true;
  for (size_t i = 0; ok && i < TCP_PIECES_MAX && r->pieces[i]; i++) {
    ok = !r->pause_ms || tcp_pause(s, r->pause_ms);
    if (i + 1 == TCP_PIECES_MAX || !r->pieces[i + 1])
      tcp_over(s); /* the client may go on as soon as it has the last byte */
    ok = ok && send(fd, r->pieces[i], strlen(r->pieces[i]), MSG_NOSIGNAL) >= 0;
  }
  if (!r->pieces[0])
    tcp_over(s);
  if (r->end == TCP_HOLD)
    tcp_pause(s, 3600 * 1000);
  if (r->end == TCP_RESET)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
  return ok && r->end == TCP_KEEP;
}

static inline void *tcp_serve(void *arg) {
  struct tcp_peer *peer = arg;
  struct tcp_server *s = peer->server;
  char *request = malloc(TCP_REQUEST_BYTES_MAX);
  while (tcp_read_request(peer->fd, request) && tcp_answer(s, peer->fd, tcp_begin(s, request))) {
  }
  free(request);
  SCOPE_LOCK(&s->synced.lock);
  for (size_t i = 0; i < s->synced.connections; i++)
    if (s->synced.at[i].fd == peer->fd)
      s->synced.at[i].fd = -1;
  close(peer->fd);
  free(peer);
  return NULL;
}

static inline void *tcp_accept(void *arg) {
  struct tcp_server *s = arg;
  int fd;
  while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
    struct tcp_peer *peer = malloc(sizeof *peer);
    *peer = (struct tcp_peer){s, fd};
    SCOPE_LOCK(&s->synced.lock);
    assert(s->synced.connections < TCP_CONNECTIONS_MAX);
    size_t i = s->synced.connections++;
    s->synced.at[i].fd = fd;
    pthread_create(&s->synced.at[i].thread, NULL, tcp_serve, peer);
  }
  return NULL;
}

static inline void tcp_server_start(struct tcp_server *s, const struct tcp_reply *script, size_t len) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof a;
  *s = (struct tcp_server){.script = script, .script_len = len, .fd = socket(AF_INET, SOCK_STREAM, 0)};
  pthread_mutex_init(&s->synced.lock, NULL);
  pthread_cond_init(&s->synced.change, NULL);
  buf_init(&s->synced.text, 1024 * 1024);
  assert_int_equal(bind(s->fd, (struct sockaddr *)&a, size), 0);
  assert_int_equal(listen(s->fd, TCP_CONNECTIONS_MAX), 0);
  assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &size), 0);
  snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", ntohs(a.sin_port));
  assert_int_equal(pthread_create(&s->acceptor, NULL, tcp_accept, s), 0);
}

static inline void tcp_server_stop(struct tcp_server *s) {
  shutdown(s->fd, SHUT_RDWR);
  pthread_join(s->acceptor, NULL);
  pthread_mutex_lock(&s->synced.lock);
  s->synced.stopping = true;
  pthread_cond_broadcast(&s->synced.change);
  for (size_t i = 0; i < s->synced.connections; i++)
    if (s->synced.at[i].fd >= 0)
      shutdown(s->synced.at[i].fd, SHUT_RDWR);
  pthread_mutex_unlock(&s->synced.lock);
  for (size_t i = 0; i < s->synced.connections; i++)
    pthread_join(s->synced.at[i].thread, NULL);
  close(s->fd);
  buf_clear(&s->synced.text);
  pthread_cond_destroy(&s->synced.change);
  pthread_mutex_destroy(&s->synced.lock);
}

/* Waits until so many requests have come. */
static inline void tcp_server_await(struct tcp_server *s, size_t requests) {
  SCOPE_LOCK(&s->synced.lock);
  while (s->synced.requests < requests)
    pthread_cond_wait(&s->synced.change, &s->synced.lock);
}

#endif
