/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/backends.h"
#include "server/cli_options.h"
#include "server/cli_output.h"
#include "server/engine_reaper.h"
#include "server/publish_days.h"
#include "server/run_exec.h"
#include "server/run_move_store.h"
#include "server/run_submit_store.h"
#include "server/upkeep_store.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { POOL_QUEUE = 1024, PROGRESS_MS = 200, MS_PER_SECOND = 1000, END_JOBS_MS = 20 * 1000 };

#define USER_AGENT "kpid command line"

/* The run that a signal stops. Set before the handlers are. */
static struct run_live the_live;

static void on_signal(int number) {
  (void)number;
  stop_raise(&the_live.stop, STOP_CANCEL);
}

static void catch_signals(void) {
  /* A second signal ends the process at once. */
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
}

/* A run of this process for one of the days that it has computed. */
struct own_run {
  struct run run; /* owned; from its claim to its end */
  struct run_live live;
};

/* All that a computation needs; the database only when something is published. */
struct workshop {
  struct cli_options options;
  struct backends backends;
  struct run_exec x;
  struct pool *pool;
  struct day_scan scan;
  struct own_run *own_runs; /* owned; of a backfill that publishes: one for each of the results */
  char boot_id[UUID_TEXT_SIZE];
};

/* Ends what was handed to a cluster and nobody waits for; what does not end soon is for the next process on
 * the database. */
static void end_jobs(const struct workshop *w, const struct stop_flag *stop) {
  const int64_t until = clock_mono_ms() + END_JOBS_MS;
  const struct reaping with = {.db = w->x.db, .engine = w->x.engines.spark};
  struct reaped reaped;
  struct err err;
  if (!w->x.db || !w->x.engines.spark)
    return;
  while (stop_reason(stop) == STOP_NONE && engine_reap(&with, stop, &reaped, &err) == KPI_OK &&
         reaped.next_ms < until - clock_mono_ms())
    nanosleep(&(struct timespec){.tv_sec = reaped.next_ms / MS_PER_SECOND,
                                 .tv_nsec = reaped.next_ms % MS_PER_SECOND * 1000000L},
              NULL);
}

/* What commands have left that were killed takes room on the cluster. */
static void end_left_jobs(const struct workshop *w) {
  if (w->options.config.engine != ENGINE_NATIVE)
    end_jobs(w, &the_live.stop);
}

static void workshop_close(struct workshop *w) {
  const struct stop_flag go_on = {0};
  end_jobs(w, &go_on);
  engine_free(w->x.engines.native);
  pool_free(w->pool);
  backends_close(&w->backends);
  free(w->own_runs);
  day_scan_clear(&w->scan);
  db_close(w->x.db);
}

static enum kpi_code workshop_open(struct workshop *w, const char *what, struct err *err) {
  struct recovery recovery = {0};
  w->x.config = &w->options.config;
  crypto_uuid7(w->boot_id);
  enum kpi_code rc = KPI_OK;
  if (w->options.publish) {
    rc = db_open(w->options.config.db, what, &w->x.db, err);
    if (rc == KPI_OK)
      rc = upkeep_recover(w->x.db, w->boot_id, &recovery, err);
    run_list_clear(&recovery.lost);
  }
  if (rc == KPI_OK)
    rc = backends_open(&w->options.config, w->x.db, &w->backends, err);
  if (rc)
    return rc;
  w->x.source = w->backends.source;
  w->x.cache = w->backends.cache;
  w->x.publisher = w->backends.publisher;
  w->pool = pool_new(w->options.config.threads, POOL_QUEUE);
  w->x.engines = (struct engines){w->pool ? engine_native_new(w->pool) : NULL, w->backends.spark,
                                  w->options.config.native_max_bytes};
  return w->x.engines.native ? KPI_OK
                             : err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for the workers");
}

/* ---- progress on a terminal ---- */

struct meter {
  pthread_t thread;
  bool is_running;
  _Atomic bool over;
};

static void *show_progress(void *arg) {
  struct meter *m = arg;
  while (!atomic_load(&m->over)) {
    struct run_progress p = job_progress_copy(&the_live.progress);
    enum run_phase phase = (enum run_phase)atomic_load(&the_live.progress.phase);
    double percent = p.bytes_total ? 100.0 * (double)p.bytes_read / (double)p.bytes_total : 0.0;
    fprintf(stderr, "\r%-12s %3.0f %%  %llu of %llu files  %llu rows ",
            phase ? run_phase_name(phase) : "starting", percent > 100.0 ? 100.0 : percent,
            (unsigned long long)p.files_done, (unsigned long long)p.files_total,
            (unsigned long long)(p.rows_orders + p.rows_order_items + p.rows_products));
    nanosleep(&(struct timespec){.tv_nsec = PROGRESS_MS * 1000000L}, NULL);
  }
  fputs("\r\x1b[K", stderr);
  return NULL;
}

static void meter_start(struct meter *m) {
  if (isatty(STDERR_FILENO))
    m->is_running = pthread_create(&m->thread, NULL, show_progress, m) == 0;
}

static void meter_stop(struct meter *m) {
  atomic_store(&m->over, true);
  if (m->is_running)
    pthread_join(m->thread, NULL);
  m->is_running = false;
}

/* ---- computing ---- */

/* Computes all days of the options in one pass, without publishing. */
static enum kpi_code compute(struct workshop *w, struct err *err) {
  const struct config *config = &w->options.config;
  const struct day_scan_plan plan = {.x = &w->x,
                                     .ask = {day_set_range(w->options.from, w->options.to), config->bad_rows,
                                             config->max_bad_rows_text, config->engine},
                                     .live = &the_live,
                                     .without_reports =
                                         !w->options.publish && w->options.format != FORMAT_JSON};
  return day_scan_compute(&plan, &w->scan, err);
}

/* Says whether all days may be shown. */
static enum kpi_code judge(const struct workshop *w, struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < w->scan.results.count; i++) {
    const struct day_result *day = &w->scan.results.at[i];
    if (!day->err)
      rc = run_job_gate(w->options.gate, &day->result.quality, err);
    else
      rc = (*err = *day->err).code;
  }
  return rc;
}

/* ---- recording ---- */

static bool is_of_command_line(const struct run *run) {
  return run->user_agent && strcmp(run->user_agent, USER_AGENT) == 0;
}

/* Queues a run. One of the same date that an earlier command left behind gives way to it; one that the
 * service has accepted does not: it was promised with its own options. */
static enum kpi_code submit(struct workshop *w, const struct run_request *request,
                            const struct run_defaults *defaults, struct run *out, struct err *err) {
  const struct submit_policy policy = {.on_active = ON_ACTIVE_ATTACH};
  struct submitted done;
  struct run left;
  enum kpi_code rc = run_store_submit(w->x.db, request, &policy, defaults, &done, err);
  *out = done.run;
  if (rc || done.disposition == DISPOSITION_CREATED)
    return rc;
  if (is_of_command_line(out))
    rc = run_store_cancel(w->x.db, view_of(out->id), &left, err);
  else
    rc = err_set(err, KPI_RUN_ALREADY_ACTIVE,
                 "run %s of the date, which the service has accepted, is %s: `kpid serve` on this KPI_DB "
                 "executes it",
                 out->id, run_state_name(out->state));
  run_clear(out);
  if (rc)
    return rc;
  run_clear(&left);
  rc = run_store_submit(w->x.db, request, &policy, defaults, &done, err);
  *out = done.run;
  return rc;
}

/* Queues a run of this process for a day and claims it. Returns owned in *out. */
static enum kpi_code claim_day(struct workshop *w, day_t day, struct run *out, struct err *err) {
  const struct config *config = &w->options.config;
  struct run_request request = {.date = day,
                                .publish = true,
                                .force = w->options.force,
                                .gate = w->options.gate,
                                .bad_rows = config->bad_rows,
                                .engine = config->engine,
                                .max_bad_rows = view_of(config->max_bad_rows_text),
                                .max_attempts = 1, /* who calls it tries again */
                                .labels_json = VIEW_LIT("{}"),
                                .user_agent = VIEW_LIT(USER_AGENT)};
  struct run_defaults defaults = {config->timezone, config->source, config->max_bad_rows_text};
  struct run queued;
  bool found;
  enum kpi_code rc = submit(w, &request, &defaults, &queued, err);
  if (rc)
    return rc;
  rc = run_store_claim(w->x.db, w->boot_id, queued.id, &defaults, out, &found, err);
  run_clear(&queued);
  return rc ? rc : found ? KPI_OK : err_set(err, KPI_INTERNAL, "the run of the day vanished from the queue");
}

/* Runs one day as the service does. */
static enum kpi_code run_published(struct workshop *w, struct err *err) {
  struct run run;
  struct day_results *results = &w->scan.results;
  results->at = calloc(1, sizeof *results->at);
  if (!results->at)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the results");
  struct day_result *day = &results->at[results->count++];
  day->day = w->options.from;
  enum kpi_code rc = claim_day(w, day->day, &run, err);
  if (rc)
    return rc;
  end_left_jobs(w);
  rc = run_exec(&w->x, &run, &the_live, &day->result, err);
  results->categories = day->result.categories;
  run_clear(&run);
  return rc;
}

static enum kpi_code take_own_run(void *arg, size_t at, struct day_run *out, struct err *err) {
  struct workshop *w = arg;
  struct own_run *own = &w->own_runs[at];
  enum kpi_code rc = claim_day(w, w->scan.results.at[at].day, &own->run, err);
  if (rc)
    return rc;
  job_progress_set(&own->live.progress, &the_live.progress);
  *out = (struct day_run){&own->run, &own->live};
  return KPI_OK;
}

static void own_run_is_over(void *arg, size_t at) {
  struct workshop *w = arg;
  run_clear(&w->own_runs[at].run);
}

/* Records and publishes a run for every day that was computed. */
static enum kpi_code publish_own_runs(struct workshop *w, struct err *err) {
  w->own_runs = calloc(w->scan.results.count + 1, sizeof *w->own_runs);
  struct publish_days p = {.x = &w->x,
                           .scan = &w->scan,
                           .stop = &the_live.stop,
                           .count = w->scan.results.count,
                           .take = take_own_run,
                           .over = own_run_is_over,
                           .arg = w};
  return w->own_runs ? publish_days(&p, err) : err_set(err, KPI_OUT_OF_MEMORY, "no memory to publish");
}

/* ---- commands ---- */

/* What is published for a day that has not begun would be taken for its result. */
static enum kpi_code refuse_future(const struct cli_options *o, struct err *err) {
  if (!o->publish || o->all || o->to <= config_today(&o->config))
    return KPI_OK;
  char date[DAY_TEXT_SIZE];
  return err_set(err, KPI_USAGE, "%s has not begun yet in %s", day_text(o->to, date), o->config.timezone);
}

static enum kpi_code execute(struct workshop *w, bool is_backfill, struct err *err) {
  struct meter meter = {0};
  enum kpi_code rc = workshop_open(w, is_backfill ? "kpid backfill" : "kpid run", err);
  if (rc)
    return rc;
  catch_signals();
  meter_start(&meter);
  if (w->options.publish && !is_backfill) {
    rc = run_published(w, err);
  } else {
    end_left_jobs(w);
    rc = compute(w, err);
  }
  meter_stop(&meter);
  if (rc == KPI_OK && !w->options.publish)
    rc = judge(w, err);
  else if (rc == KPI_OK && is_backfill)
    rc = publish_own_runs(w, err);
  const struct shown_days shown = {&w->scan.results, w->options.format, w->options.out, is_backfill};
  return rc ? rc : cli_show(&shown, w->pool, err);
}

static int command(int argc, char **argv, bool is_backfill) {
  struct workshop w = {0};
  struct err err = {0};
  log_init(LOG_ERROR, STDERR_FILENO);
  enum kpi_code rc = cli_options_parse(argc, argv, is_backfill, &w.options, &err);
  if (rc == KPI_OK)
    rc = refuse_future(&w.options, &err);
  if (rc == KPI_OK) {
    rc = execute(&w, is_backfill, &err);
    workshop_close(&w);
  }
  return rc ? cli_fail(&err) : 0;
}

int cli_run(int argc, char **argv) {
  return command(argc, argv, false);
}

int cli_backfill(int argc, char **argv) {
  return command(argc, argv, true);
}
