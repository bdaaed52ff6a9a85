/* SPDX-License-Identifier: MIT */
#include "server/handle_metrics.h"

#include "aws/aws_metrics.h"
#include "base/clock.h"
#include "base/tz.h"
#include "pipeline/object_cache.h"
#include "server/config.h"
#include "server/db.h"
#include "server/http_metrics.h"
#include "server/process_stats.h"
#include "server/run_metrics.h"
#include "server/service.h"
#include "server/version.h"

#include <stdio.h>
#include <sys/stat.h>

/* ---- what is looked up ---- */

static const struct metric build = {.name = "kpid_build_info",
                                    .help = "The version that runs.",
                                    .kind = METRIC_GAUGE,
                                    .labels = {"version", "revision"}};

static const struct metric workers = {
    .name = "kpid_worker_threads", .help = "Threads that compute, KPI_THREADS.", .kind = METRIC_GAUGE};

static const struct metric runs = {.name = "kpid_runs",
                                   .help = "Runs that are not over, of the last few seconds.",
                                   .kind = METRIC_GAUGE,
                                   .labels = {"state", "trigger"}};

static const struct metric oldest = {
    .name = "kpid_queue_oldest_age_seconds",
    .help = "How long the run that was queued first has been waiting; 0 when nothing is queued.",
    .kind = METRIC_GAUGE};

static const struct metric last_day = {
    .name = "kpid_last_published_day_timestamp_seconds",
    .help = "Beginning of the latest day that is published, in KPI_TIMEZONE; 0 when none is.",
    .kind = METRIC_GAUGE};

static const struct metric check_ok = {.name = "kpid_check_ok",
                                       .help = "Checks of /readyz: 1 while all is well.",
                                       .kind = METRIC_GAUGE,
                                       .labels = {"check"}};

static const struct metric database_size = {.name = "kpid_sqlite_size_bytes",
                                            .help = "Size of the database, by file.",
                                            .kind = METRIC_GAUGE,
                                            .labels = {"file"}};

static void write_one(const struct metrics_out *o, const struct metric *m, double value) {
  metrics_write_head(o, m);
  metrics_write_sample(o, m, METRIC_PLAIN, value);
}

static void write_runs(const struct metrics_out *o, const struct run_census *census) {
  metrics_write_head(o, &runs);
  for (int s = 0; s < RUN_STATE_COUNT; s++)
    for (int p = 0; p < PRIORITY_COUNT && !run_state_is_terminal((enum run_state)s); p++)
      metrics_write_sample(
          o, &runs, METRIC_OF(run_state_name((enum run_state)s), run_metrics_trigger((enum run_priority)p)),
          (double)census->active[s][p]);
  int64_t waits_ms = census->oldest_queued_at ? clock_wall_ms() - census->oldest_queued_at : 0;
  write_one(o, &oldest, waits_ms > 0 ? (double)waits_ms * METRIC_MS : 0);
}

static void write_checks(const struct metrics_out *o, const struct health *h) {
  metrics_write_head(o, &check_ok);
  for (size_t i = 0; i < h->check_count; i++)
    metrics_write_sample(o, &check_ok, METRIC_OF(h->checks[i].name), h->checks[i].ok);
}

/* Writes the size of a file that may be missing. */
static void write_size(const struct metrics_out *o, const char *which, const char *path, const char *suffix) {
  char name[4096];
  struct stat found;
  int length = snprintf(name, sizeof name, "%s%s", path, suffix);
  if (length < (int)sizeof name && stat(name, &found) == 0)
    metrics_write_sample(o, &database_size, METRIC_OF(which), (double)found.st_size);
}

static void write_service(const struct metrics_out *o, struct service *service) {
  const struct config *config = service_config(service);
  struct health h = {0};
  service_health(service, &h);
  metrics_write_head(o, &build);
  metrics_write_sample(o, &build, METRIC_OF(KPID_VERSION, kpid_commit), 1);
  write_one(o, &workers, (double)config->threads);
  write_runs(o, &h.census);
  write_one(o, &last_day,
            h.census.has_published ? (double)tz_day_begins(config->zone, h.census.last_published) : 0);
  write_checks(o, &h);
  metrics_write_head(o, &database_size);
  write_size(o, "database", config->db, "");
  write_size(o, "wal", config->db, "-wal");
}

/* ---- all ---- */

static void get_metrics(struct request *rq, struct reply *rp) {
  static const char *const types[] = {"text/plain", "application/openmetrics-text", NULL};
  int type = request_negotiate(rq, types);
  reply_header(rp, "Vary", "Accept");
  if (type < 0) {
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "This is sent as text/plain or application/openmetrics-text.");
    return;
  }
  const struct metrics_out out = {
      reply_begin(rp, 200,
                  type ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                       : "text/plain; version=0.0.4; charset=utf-8"),
      type != 0};
  write_service(&out, rq->app);
  run_metrics_write(&out);
  http_metrics_write(&out);
  aws_metrics_write(&out);
  object_cache_metrics_write(&out);
  metrics_write(&out, &db_write_seconds);
  process_stats_write(&out);
  metrics_write_end(&out);
}

static const struct route table[] = {{HTTP_GET, "/metrics", get_metrics, NULL, true}};

const struct route_set metrics_routes = {table, sizeof table / sizeof table[0]};
