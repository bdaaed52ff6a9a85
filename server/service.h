/* SPDX-License-Identifier: MIT
 * The service as handlers see it: submit, look at and stop runs, read results and health. It wires store,
 * queue, supervisors and configuration together and knows no HTTP. All functions may be called from any
 * thread. */
#ifndef KPID_SERVER_SERVICE_H
#define KPID_SERVER_SERVICE_H

#include "base/buf.h"
#include "pipeline/kpi_table.h"
#include "server/run.h"

struct config;
struct service;
struct watch;

/* Called, from any thread and without locks held, whenever a run has changed (state, phase) or the
 * service begins to drain (run_id NULL: every waiter should be answered). */
typedef void (*service_changed_fn)(void *arg, const char *run_id);

/* Opens the database (lock, migrations, recovery) and starts worker pool and supervisors. Borrows config for
 * its whole life. Returns owned in *out. Errors: KPI_DB_LOCKED, KPI_DB_TOO_NEW, KPI_STORAGE_UNAVAILABLE, ...
 */
KPI_MUST_CHECK enum kpi_code service_start(const struct config *config, struct service **out,
                                           struct err *err);

/* Sets the listener for changes; NULL for none. When it returns, the one before is no longer called. */
void service_on_change(struct service *s, service_changed_fn fn, void *arg);

/* True after a database failure that only a restart can mend. */
bool service_is_broken(const struct service *s);

/* Stops accepting runs (submit answers KPI_DRAINING) and tells waiters; returns at once. */
void service_begin_drain(struct service *s);

/* Waits up to the drain time for active runs and hands the rest back to the queue. After service_begin_drain.
 */
void service_drain(struct service *s);

/* Drains, closes the database and frees. Accepts NULL. */
void service_stop(struct service *s);

/* The configuration the service runs with; borrowed. */
const struct config *service_config(const struct service *s);

/* Events, live progress and log lines of the runs; borrowed. */
struct watch *service_watch(const struct service *s);

/* The current calendar day in KPI_TIMEZONE. */
day_t service_today(const struct service *s);

/* KPI_BAD_ROWS, for requests that do not say. */
enum bad_rows service_default_bad_rows(const struct service *s);

/* True when accepted runs are kept in DynamoDB too (KPI_INTENTS): service_intend has to come before
 * service_submit. */
bool service_keeps_intents(const struct service *s);

/* Begins to store the intent of a request under its id, or, when it has none, a new one; writes it to `id`
 * and returns at once. Changes are told under that id. Errors: KPI_QUEUE_FULL, KPI_DRAINING, KPI_STARTING,
 * KPI_DATE_IN_FUTURE. */
KPI_MUST_CHECK enum kpi_code service_intend(struct service *s, const struct run_request *request,
                                            char id[UUID_TEXT_SIZE], struct err *err);

/* *stored: the request may be submitted with that id. False and KPI_OK: not yet. Errors:
 * KPI_STORAGE_UNAVAILABLE: the intent could not be stored. */
KPI_MUST_CHECK enum kpi_code service_intended(struct service *s, const char *id, bool *stored,
                                              struct err *err);

/* Nobody waits for that intent any more: it goes unless its run is active. */
void service_forget_intent(struct service *s, const char *id);

/* Accepts a run: durable when it returns KPI_OK. An active run with the same date that also publishes is
 * attached to instead. Returns owned in *out. Errors: KPI_QUEUE_FULL, KPI_DRAINING, KPI_STARTING (runs of a
 * lost disk are not loaded yet), KPI_DATE_IN_FUTURE,
 * KPI_RUN_ALREADY_ACTIVE (the active run is being cancelled), KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code service_submit(struct service *s, const struct run_request *request,
                                            struct run *out, enum disposition *disposition, struct err *err);

/* Reads one run with its live progress. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_STARTING (it
 * may be among the runs that are not loaded yet; so for all that take an id), KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code service_get_run(struct service *s, struct view id, struct run *out,
                                             struct err *err);

enum { RUN_PAGE_MAX = 200, RUN_PAGE_DEFAULT = 50 };

/* Which runs to list; zero-initialised lists all, newest first. */
struct run_filter {
  bool has_state, has_date, has_from, has_to, has_active;
  enum run_state state;
  day_t date, from, to;               /* from and to are inclusive */
  bool active;                        /* true: not terminal; false: terminal */
  struct view label_key, label_value; /* key empty: any */
  struct view before_id;              /* keyset: only runs older than this id; empty: from the newest */
  size_t limit;                       /* 1-200 */
};

/* Lists runs newest first. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code service_list_runs(struct service *s, const struct run_filter *filter,
                                               struct run_list *out, struct err *err);

/* Stops a run: queued or waiting runs are cancelled at once, a running one becomes cancelling. Idempotent on
 * cancelling and cancelled. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RUN_ALREADY_FINISHED. */
KPI_MUST_CHECK enum kpi_code service_cancel(struct service *s, struct view id, struct run *out,
                                            struct err *err);

/* Queues a failed or cancelled run again; `from_publish` to publish the results it has kept. Returns owned in
 * *out. Errors: KPI_RUN_NOT_FOUND, KPI_RUN_ALREADY_FINISHED, KPI_RUN_ALREADY_ACTIVE, KPI_RESULTS_NOT_READY,
 * KPI_QUEUE_FULL, KPI_DRAINING. */
KPI_MUST_CHECK enum kpi_code service_retry(struct service *s, struct view id, bool from_publish,
                                           struct run *out, struct err *err);

/* Which rows of a run's stored results to read. */
struct results_page {
  enum kpi_table table;
  uint64_t skip; /* rows before the page, at most INT64_MAX */
  size_t limit;
};

/* Reads a page of a run's stored results, by date, then category. *more tells whether rows follow. Returns
 * owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RESULTS_NOT_READY (before phase publishing, or a run that
 * failed before). */
KPI_MUST_CHECK enum kpi_code service_results(struct service *s, struct view id,
                                             const struct results_page *page, struct kpi_rows *out,
                                             bool *more, struct err *err);

/* Reads the quality report of a run as JSON text into out. Errors: KPI_RUN_NOT_FOUND, KPI_RESULTS_NOT_READY.
 */
KPI_MUST_CHECK enum kpi_code service_quality(struct service *s, struct view id, struct buf *out,
                                             struct err *err);

/* One readiness check as /readyz shows it. */
struct health_check {
  const char *name; /* database, queue, source, workers, intents */
  bool ok;
  int64_t checked_at; /* Unix ms */
  char error[200];    /* empty when ok */
};
enum { HEALTH_CHECKS_MAX = 8 };

/* What the health routes tell. */
struct health {
  bool alive;    /* /livez: loops answer, no worker is stalled */
  bool draining; /* /healthz is 503 */
  bool ready;    /* /readyz: can take a run now */
  uint64_t queued, active;
  struct health_check checks[HEALTH_CHECKS_MAX];
  size_t check_count;
};

/* Fills *out from memory, in microseconds: never waits for disk, lock holders or the network. */
void service_health(struct service *s, struct health *out);

#endif
