/* SPDX-License-Identifier: MIT */
#include "aws/aws_metrics.h"

static struct metric requests = {.name = "kpid_aws_requests",
                                 .help = "Requests to AWS by the status of the reply, or why there was none.",
                                 .kind = METRIC_COUNTER,
                                 .labels = {"service", "operation", "status"}};

static struct metric durations = {
    .name = "kpid_aws_request_duration_seconds",
    .help = "Requests to AWS, each attempt for itself, to the end of the body.",
    .kind = METRIC_HISTOGRAM,
    .labels = {"service", "operation"},
    .unit = METRIC_MS,
    .bounds = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000}};

static struct metric retries = {.name = "kpid_aws_retries",
                                .help = "Requests to AWS that were sent again.",
                                .kind = METRIC_COUNTER,
                                .labels = {"service", "operation"}};

void aws_metrics_request(const char *service, const char *operation, const char *status, int64_t took_ms) {
  metric_add(&requests, 1, METRIC_OF(service, operation, status));
  metric_observe(&durations, took_ms, METRIC_OF(service, operation));
}

void aws_metrics_retry(const char *service, const char *operation) {
  metric_add(&retries, 1, METRIC_OF(service, operation));
}

void aws_metrics_write(const struct metrics_out *o) {
  metrics_write(o, &requests);
  metrics_write(o, &durations);
  metrics_write(o, &retries);
}
