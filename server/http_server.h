/* SPDX-License-Identifier: MIT
 * The HTTP listeners: sockets, threads, deadlines, suspended requests and the access log. The only module
 * that knows libmicrohttpd. Must not know any resource: routes and their application come from the caller. */
#ifndef KPID_SERVER_HTTP_SERVER_H
#define KPID_SERVER_HTTP_SERVER_H

#include "server/router.h"

struct http_config {
  const char *listen; /* "127.0.0.1:8080", "[::1]:0", ":8080" for every address; port 0 picks a free one */
  const char *health_listen;                    /* second listener for health checks; NULL for none */
  unsigned threads;                             /* of the API listener; 0 for HTTP_THREADS_DEFAULT */
  const struct route_set *const *routes;        /* NULL-terminated; borrowed for the life of the server */
  const struct route_set *const *health_routes; /* as routes, for health_listen */
  void *app;                                    /* request->app; borrowed */
  bool loopback_only;                           /* refuse an API address that others can reach */
  /* Asked before any route of the API listener; false: the reply is the refusal. NULL: everyone may. */
  bool (*admit)(void *arg, struct request *rq, struct reply *rp);
  void *admit_arg;
};

struct http_server;

/* Raises the limit of open files, opens the sockets and starts answering. Borrows config only for the call,
 * except the tables it points to. Returns owned in *out. Errors: KPI_CONFIG_INVALID (address in use or not
 * valid, limit of open files too low), KPI_INTERNAL. */
KPI_MUST_CHECK enum kpi_code http_server_start(const struct http_config *config, struct http_server **out,
                                               struct err *err);

/* The address that is listened on, with the real port: "127.0.0.1:41873". Borrowed for the life of the
 * server. */
const char *http_server_address(const struct http_server *s);

/* The same of the health listener; NULL when there is none. */
const char *http_server_health_address(const struct http_server *s);

/* Calls the handlers that wait for this topic again; NULL for all of them. Any thread, without locks that a
 * handler takes. */
void http_server_notify(struct http_server *s, const char *topic);

/* Answers all waiting requests now, lets none wait any more, and closes each connection after its reply.
 * Requests are still accepted. Any thread, also more than once. */
void http_server_drain(struct http_server *s);

/* Drains, then takes no new connections. */
void http_server_stop_accepting(struct http_server *s);

/* Stops accepting, gives requests in flight up to grace_ms, closes all connections, stops the threads and
 * frees. Nobody may call http_server_notify any more. Accepts NULL. */
void http_server_stop(struct http_server *s, int64_t grace_ms);

#endif
