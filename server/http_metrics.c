/* SPDX-License-Identifier: MIT */
#include "server/http_metrics.h"

#include <stdio.h>

static struct metric requests = {.name = "kpid_http_requests",
                                 .help = "Requests that were answered.",
                                 .kind = METRIC_COUNTER,
                                 .labels = {"method", "route", "status"}};

static struct metric durations = {
    .name = "kpid_http_request_duration_seconds",
    .help = "From the first line of a request to the end of its reply; without those that waited or watched.",
    .kind = METRIC_HISTOGRAM,
    .labels = {"method", "route"},
    .unit = METRIC_US,
    .bounds = {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000}};

static struct metric in_flight = {
    .name = "kpid_http_requests_in_flight", .help = "Requests under way.", .kind = METRIC_GAUGE};

static struct metric waiting = {.name = "kpid_http_requests_waiting",
                                .help = "Requests that wait for a change: long polls and streams.",
                                .kind = METRIC_GAUGE};

static struct metric connections = {
    .name = "kpid_http_connections", .help = "Open connections.", .kind = METRIC_GAUGE};

void http_metrics_connections(int by) {
  metric_move(&connections, by, METRIC_PLAIN);
}

void http_metrics_requests(int by) {
  metric_move(&in_flight, by, METRIC_PLAIN);
}

void http_metrics_waiting(int by) {
  metric_move(&waiting, by, METRIC_PLAIN);
}

void http_metrics_answered(enum http_method method, const struct route *route, unsigned status,
                           int64_t duration_us, bool has_waited) {
  char code[12];
  const char *name = request_method_name(method), *pattern = route ? route->pattern : "none";
  snprintf(code, sizeof code, "%u", status);
  metric_add(&requests, 1, METRIC_OF(name, pattern, code));
  if (!has_waited)
    metric_observe(&durations, duration_us, METRIC_OF(name, pattern));
}

void http_metrics_write(const struct metrics_out *o) {
  struct metric *const all[] = {&requests, &durations, &in_flight, &waiting, &connections};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    metrics_write(o, all[i]);
}
