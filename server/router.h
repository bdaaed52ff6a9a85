/* SPDX-License-Identifier: MIT
 * The route table as data, and the way from a request to its handler: matching, HEAD, OPTIONS, 404, 405 and
 * the check of the query. Must not know the HTTP library nor any resource. */
#ifndef KPID_SERVER_ROUTER_H
#define KPID_SERVER_ROUTER_H

#include "server/reply.h"
#include "server/request.h"

/* Answers a request: fills the reply. Runs on a thread of the HTTP front; must not block on a run or the
 * network (answer with reply_wait instead). May be called several times for one request, see struct request.
 */
typedef void (*handler_fn)(struct request *rq, struct reply *rp);

/* One method of one path. */
struct route {
  enum http_method method; /* HTTP_GET (HEAD comes with it) or HTTP_POST */
  const char *pattern;     /* "/runs/{id}/cancel"; {x} stands for one whole segment; also the label in logs */
  handler_fn handler;
  const char *const *query; /* NULL-terminated names it knows, NULL for none */
  bool quiet;               /* logged at debug: health checks */
};

/* The routes of one resource. */
struct route_set {
  const struct route *routes;
  size_t count;
};

/* Finds the route of rq->method and rq->path in a NULL-terminated list of sets; sets rq->route and
 * rq->params. Returns the methods the path takes, as a bit set of enum http_method with HEAD and OPTIONS; 0
 * for an unknown path. rq->route stays NULL when the method has none. Allocates nothing. */
unsigned router_match(const struct route_set *const *sets, struct request *rq);

/* Answers the request: its handler, or the reply to OPTIONS, an unknown path or a wrong method. */
void router_dispatch(const struct route_set *const *sets, struct request *rq, struct reply *rp);

#endif
