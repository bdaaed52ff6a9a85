/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/scope.h"
#include "server/auth.h"
#include "server/config.h"
#include "server/copy_socket.h"
#include "server/handle_backfills.h"
#include "server/handle_events.h"
#include "server/handle_logs.h"
#include "server/handle_meta.h"
#include "server/handle_metrics.h"
#include "server/handle_published.h"
#include "server/handle_results.h"
#include "server/handle_runs.h"
#include "server/handle_submit.h"
#include "server/http_server.h"
#include "server/service.h"
#include "server/version.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { HTTP_GRACE_MS = 2000 };

static const struct route_set *const all_routes[] = {
    &submit_routes,    &backfills_routes, &runs_routes,    &events_routes, &logs_routes, &results_routes,
    &published_routes, &meta_routes,      &metrics_routes, &health_routes, NULL};
static const struct route_set *const health_only[] = {&health_routes, NULL};

/* A run has changed, or, with NULL, the service begins to drain. */
static void on_change(void *arg, const char *run_id) {
  http_server_notify(arg, run_id);
  if (run_id)
    http_server_notify(arg, EVENTS_TOPIC);
}

/* Signals are taken by the main thread with sigwait, so that no handler interrupts anything. */
static void block_signals(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGINT);
  sigaddset(set, SIGTERM);
  sigaddset(set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, set, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
}

static void log_error(const struct err *err) {
  log_at(LOG_ERROR, "service.failed", err->message, LOG_S("code", err_name(err->code)));
}

static bool admit(void *arg, struct request *rq, struct reply *rp) {
  return auth_admit(arg, rq, rp);
}

/* Keys that cannot be read leave those before in force. */
static void reload_keys(struct auth *auth) {
  struct err err;
  if (auth_reload(auth, &err))
    log_at(LOG_ERROR, "auth.not_reloaded", err.message, LOG_S("code", err_name(err.code)));
}

/* Serves until a signal; then lets waiters go, runs end, and both stop in that order. */
static void serve_until_signal(struct service *service, struct http_server *http, struct auth *auth,
                               const sigset_t *signals) {
  const struct config *config = service_config(service);
  int number = 0;
  if (http_server_health_address(http))
    log_at(LOG_INFO, "server.health_listening", "health checks are answered here too",
           LOG_S("address", http_server_health_address(http)));
  log_at(LOG_INFO, "server.listening", "kpid " KPID_VERSION " is ready",
         LOG_S("address", http_server_address(http)), LOG_S("commit", kpid_commit),
         LOG_I("threads", config->threads), LOG_I("run_memory_limit_bytes", config->memory_limit_bytes));
  while ((number <= 0 || number == SIGHUP) && !service_is_broken(service)) {
    number = sigtimedwait(signals, NULL, &(struct timespec){.tv_sec = 1});
    if (number == SIGHUP)
      reload_keys(auth);
  }
  log_at(LOG_INFO, "server.draining", "shutting down", LOG_I("signal", number));
  service_begin_drain(service);
  http_server_drain(http);
}

static enum kpi_code serve(const struct config *config, struct auth *auth, const sigset_t *signals,
                           struct err *err) {
  struct service *service;
  struct http_server *http;
  enum kpi_code rc = version_load_libraries(err);
  if (!rc)
    rc = service_start(config, &service, err);
  if (rc)
    return rc;
  struct http_config http_config = {.listen = config->listen,
                                    .health_listen = config->health_listen,
                                    .routes = all_routes,
                                    .health_routes = health_only,
                                    .app = service,
                                    .loopback_only = !auth_has_keys(auth) && !config->allow_no_keys,
                                    .admit = admit,
                                    .admit_arg = auth};
  rc = http_server_start(&http_config, &http, err);
  if (rc) {
    service_stop(service);
    return rc;
  }
  service_on_change(service, on_change, http);
  struct copy_socket *copies;
  struct err no_copies;
  if (copy_socket_start(service, config->db, &copies, &no_copies))
    log_at(LOG_WARN, "server.no_copies", no_copies.message); /* the runs do not need it */
  serve_until_signal(service, http, auth, signals);
  copy_socket_stop(copies);
  service_drain(service);
  service_on_change(service, NULL, NULL);
  http_server_stop(http, HTTP_GRACE_MS);
  bool broken = service_is_broken(service);
  service_stop(service);
  log_at(LOG_INFO, "server.stopped", "stopped");
  return broken ? err_set(err, KPI_DB_FAILED, "the database failed; start again to recover") : KPI_OK;
}

int cli_serve(int argc, char **argv) {
  struct config config;
  struct err err = {0};
  sigset_t signals;
  int refused = cli_no_arguments(argc, argv);
  if (refused)
    return refused - 1;
  block_signals(&signals);
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  enum kpi_code rc = config_load(&config, &err);
  config_share_memory(&config, config.max_active_runs + 1); /* of days, and one of a backfill */
  if (rc == KPI_OK && !config.source)
    rc = err_set(&err, KPI_CONFIG_INVALID,
                 "KPI_SOURCE is not set: the folder that holds orders/, order_items/, products/");
  if (rc)
    return cli_fail(&err);
  log_init(config.log_level, STDOUT_FILENO);
  struct auth *auth;
  rc = auth_new(config.api_keys, config.api_keys_file, &auth, &err);
  if (rc)
    return cli_fail(&err);
  rc = serve(&config, auth, &signals, &err);
  auth_free(auth);
  if (rc == KPI_OK)
    return 0;
  log_error(&err);
  return cli_fail(&err);
}
