/* SPDX-License-Identifier: MIT */
#include "server/router.h"

#include <stdio.h>

/* True when the path fits the pattern segment by segment; notes what the {names} stand for. */
static bool fits(const char *pattern, struct view path, struct view params[REQUEST_PARAMS_MAX]) {
  struct view want = view_of(pattern);
  size_t found = 0;
  while (want.ptr && path.ptr) {
    struct view name = view_split(&want, '/');
    struct view segment = view_split(&path, '/');
    if (!view_starts(name, "{")) {
      if (!view_eq(name, segment))
        return false;
      continue;
    }
    if (segment.len == 0 || found == REQUEST_PARAMS_MAX)
      return false;
    params[found++] = segment;
  }
  return !want.ptr && !path.ptr;
}

static unsigned methods_of(const struct route *route) {
  return (unsigned)route->method | (route->method == HTTP_GET ? (unsigned)HTTP_HEAD : 0) |
         (unsigned)HTTP_OPTIONS;
}

unsigned router_match(const struct route_set *const *sets, struct request *rq) {
  unsigned allowed = 0;
  rq->route = NULL;
  for (; *sets; sets++)
    for (size_t i = 0; i < (*sets)->count; i++) {
      const struct route *route = &(*sets)->routes[i];
      struct view params[REQUEST_PARAMS_MAX] = {{NULL, 0}};
      if (!fits(route->pattern, rq->path, params))
        continue;
      allowed |= methods_of(route);
      if (rq->route || !(methods_of(route) & (unsigned)rq->method) || rq->method == HTTP_OPTIONS)
        continue;
      rq->route = route;
      for (size_t p = 0; p < REQUEST_PARAMS_MAX; p++)
        rq->params[p] = params[p];
    }
  return allowed;
}

static void set_allow(struct reply *rp, unsigned allowed) {
  reply_header(rp, "Allow", "%s%s%s", allowed & HTTP_GET ? "GET, HEAD, " : "",
               allowed & HTTP_POST ? "POST, " : "", "OPTIONS");
}

static void refuse_method(struct request *rq, struct reply *rp, unsigned allowed) {
  reply_error(rp, rq, KPI_METHOD_NOT_ALLOWED,
              "The path does not take this method; the Allow header lists those that it takes.");
  set_allow(rp, allowed);
}

void router_dispatch(const struct route_set *const *sets, struct request *rq, struct reply *rp) {
  struct err err = {0};
  unsigned allowed = router_match(sets, rq);
  if (!allowed) {
    reply_error(rp, rq, KPI_ROUTE_NOT_FOUND,
                "There is nothing at this path; GET /openapi.yaml lists what there is.");
  } else if (rq->method == HTTP_OPTIONS) {
    reply_empty(rp, 204);
    set_allow(rp, allowed);
  } else if (!rq->route) {
    refuse_method(rq, rp, allowed);
  } else if (request_parse_query(rq, rq->route->query, &err)) {
    reply_err(rp, rq, &err);
  } else {
    rq->route->handler(rq, rp);
  }
}
