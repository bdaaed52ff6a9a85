/* SPDX-License-Identifier: MIT
 * The service as handlers see it: submit, look at and stop runs, read results and health. It wires store,
 * queue, supervisors and configuration together and knows no HTTP. All functions may be called from any
 * thread. */
#ifndef KPID_SERVER_SERVICE_H
#define KPID_SERVER_SERVICE_H

#include "base/buf.h"
#include "pipeline/kpi_table.h"
#include "server/backfill.h"

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

/* Begins to store the intent of a request under its id, that of the run that it will queue again, or a new
 * one; writes it to `id` and returns at once. Changes are told under that id. Errors: KPI_QUEUE_FULL,
 * KPI_DRAINING, KPI_STARTING, KPI_DATE_IN_FUTURE. */
KPI_MUST_CHECK enum kpi_code service_intend(struct service *s, const struct run_request *request,
                                            const struct submit_policy *policy, char id[UUID_TEXT_SIZE],
                                            struct err *err);

/* *stored: the request may be submitted with that id. False and KPI_OK: not yet. Errors:
 * KPI_STORAGE_UNAVAILABLE: the intent could not be stored. */
KPI_MUST_CHECK enum kpi_code service_intended(struct service *s, const char *id, bool *stored,
                                              struct err *err);

/* True when the run would not outlive the disk though others do: a backfill has made it. Its intent has to be
 * stored before it answers who asks for it alone. */
bool service_lacks_intent(struct service *s, const struct run *run);

/* A request that had that intent stored does not wait for it any more: it goes unless its run is active.
 * `is_being_stored`: what has come of that was not told yet. */
void service_forget_intent(struct service *s, const char *id, bool is_being_stored);

enum { RUN_PAGE_MAX = 200, RUN_PAGE_DEFAULT = 50 };

/* What a submission has come to. */
struct submitted {
  struct run run; /* owned: the run that answers the request */
  enum disposition disposition;
  bool must_wait; /* nothing was created yet: `run` is being cancelled for it and has to end first */
  bool is_alone;  /* a new run: no other one for a single day is queued or at work */
  char superseded[UUID_TEXT_SIZE]; /* the run that was cancelled for it; empty: none */
};

/* Accepts a run, or finds the one that answers by the policy: durable when it returns KPI_OK. Returns owned
 * in *out. Errors: KPI_QUEUE_FULL, KPI_DRAINING, KPI_STARTING (runs of a lost disk are not loaded yet),
 * KPI_DATE_IN_FUTURE, KPI_IDEMPOTENCY_KEY_REUSED, KPI_RUN_ALREADY_ACTIVE, KPI_RUN_ALREADY_FINISHED,
 * KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code service_submit(struct service *s, const struct run_request *request,
                                            const struct submit_policy *policy, struct submitted *out,
                                            struct err *err);

/* Accepts a backfill, or finds the one that its key stands for. `listed` of the policy is needed for
 * REPROCESS_CHANGED. Returns owned in *out. Errors: as service_submit. */
KPI_MUST_CHECK enum kpi_code service_submit_backfill(struct service *s,
                                                     const struct backfill_request *request,
                                                     const struct submit_policy *policy, struct backfill *out,
                                                     enum disposition *disposition, struct err *err);

/* Tells which engine would compute so many bytes of input, and why. */
enum engine_kind service_engine_for(const struct service *s, enum engine_kind asked, uint64_t bytes,
                                    char reason[ENGINE_REASON_SIZE]);

/* Tells what service_submit_backfill would do with the days, into days[request->count]. */
KPI_MUST_CHECK enum kpi_code service_plan_backfill(struct service *s, const struct backfill_request *request,
                                                   const struct submit_policy *policy,
                                                   struct backfill_day *days, struct err *err);

/* Returns owned in *out. Errors: KPI_BACKFILL_NOT_FOUND. */
KPI_MUST_CHECK enum kpi_code service_get_backfill(struct service *s, struct view id, struct backfill *out,
                                                  struct err *err);

/* Tells whether a backfill has not ended, at little cost: for who waits for that. */
KPI_MUST_CHECK enum kpi_code service_backfill_is_active(struct service *s, struct view id, bool *active,
                                                        struct err *err);

/* Which backfills to list, newest first. */
struct backfill_filter {
  struct view before_id; /* keyset: only older ones; empty: from the newest */
  size_t limit;
};

/* Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code service_list_backfills(struct service *s, const struct backfill_filter *filter,
                                                    struct backfill_list *out, struct err *err);

/* A page of the days of a backfill. */
struct backfill_days {
  struct backfill_day at[RUN_PAGE_MAX];
  size_t count;
  bool more; /* later days follow */
};

/* Reads the days from `from` on, at most `limit`. */
KPI_MUST_CHECK enum kpi_code service_backfill_days(struct service *s, struct view id, day_t from,
                                                   size_t limit, struct backfill_days *out, struct err *err);

/* Stops what is left of a backfill. Idempotent on cancelling and cancelled. Returns owned in *out. Errors:
 * KPI_BACKFILL_NOT_FOUND, KPI_RUN_ALREADY_FINISHED. */
KPI_MUST_CHECK enum kpi_code service_cancel_backfill(struct service *s, struct view id, struct backfill *out,
                                                     struct err *err);

/* Queues the days of a backfill again that have failed or were cancelled. Returns owned in *out. Errors:
 * KPI_BACKFILL_NOT_FOUND, KPI_RUN_ALREADY_FINISHED, KPI_RUN_ALREADY_ACTIVE, KPI_QUEUE_FULL, KPI_DRAINING. */
KPI_MUST_CHECK enum kpi_code service_retry_backfill(struct service *s, struct view id, struct backfill *out,
                                                    struct err *err);

/* Looking at what the source holds now, see input_look.h; borrowed. */
struct input_look *service_input(struct service *s);

/* Reads one run with its live progress. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_STARTING (it
 * may be among the runs that are not loaded yet; so for all that take an id), KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code service_get_run(struct service *s, struct view id, struct run *out,
                                             struct err *err);

/* Which runs to list; zero-initialised lists all, newest first. */
struct run_filter {
  bool has_state, has_date, has_from, has_to, has_active;
  enum run_state state;
  day_t date, from, to;               /* from and to are inclusive */
  bool active;                        /* true: not terminal; false: terminal */
  struct view label_key, label_value; /* key empty: any */
  struct view idempotency_key;        /* empty: any */
  struct view backfill_id;            /* that it is a day of; empty: any */
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

/* What a retry by hand asks for. */
struct retry_order {
  struct view id;
  bool from_publish;   /* publish the results that the run has kept */
  uint64_t if_version; /* only while the record has this version; 0: whatever it has */
};

/* Queues a failed or cancelled run again. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND,
 * KPI_PRECONDITION_FAILED, KPI_RUN_ALREADY_FINISHED, KPI_RUN_ALREADY_ACTIVE, KPI_RESULTS_NOT_READY,
 * KPI_QUEUE_FULL, KPI_DRAINING. */
KPI_MUST_CHECK enum kpi_code service_retry(struct service *s, const struct retry_order *order,
                                           struct run *out, struct err *err);

/* Which of a run's stored results to read. */
struct results_ask {
  enum kpi_table table;
  bool with_previous; /* also what they replaced, or would replace */
};

/* All rows of a table, by date, then category. Owns them; results_clear. */
struct results {
  struct kpi_rows rows;
  /* Of the run that was published for the date before this one; for a run that was not published, of what is
   * published now. Empty when there is none. */
  struct kpi_rows previous;
  char previous_id[UUID_TEXT_SIZE]; /* empty: there is none */
};

/* Frees the rows. Accepts NULL. */
void results_clear(struct results *r);

/* Reads a run's stored results. Returns owned in *out. Errors: KPI_RUN_NOT_FOUND, KPI_RESULTS_NOT_READY
 * (before phase publishing, or a run that failed before). */
KPI_MUST_CHECK enum kpi_code service_results(struct service *s, struct view id, const struct results_ask *ask,
                                             struct results *out, struct err *err);

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

/* What is in the database now, for health and metrics. */
struct run_census {
  uint64_t active[RUN_STATE_COUNT][PRIORITY_COUNT]; /* runs by state; none of the terminal ones */
  uint64_t queued;
  int64_t oldest_queued_at; /* Unix ms; 0: nothing is queued */
  bool has_published;
  day_t last_published; /* the latest day that is published */
};

/* What the health routes tell. */
struct health {
  bool alive;               /* /livez: loops answer, no worker is stalled */
  bool draining;            /* /healthz is 503 */
  bool ready;               /* /readyz: can take a run now */
  uint64_t active;          /* at work in this process */
  struct run_census census; /* of the last few seconds */
  struct health_check checks[HEALTH_CHECKS_MAX];
  size_t check_count;
};

/* Fills *out from memory, in microseconds: never waits for disk, lock holders or the network. */
void service_health(struct service *s, struct health *out);

/* Which published rows to read. */
struct published_ask {
  enum kpi_table table;
  day_t from, to;                /* inclusive */
  const struct view *categories; /* only these; of the category table */
  size_t category_count;         /* 0: all */
  size_t rows;                   /* stop at the end of the day with which so many are reached */
};

/* Reads rows of what is published, by date, then category, whole days and not all of them at once: *next is
 * the first day that was not looked at, ask->to + 1 when that was all. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code service_published(struct service *s, const struct published_ask *ask,
                                               struct kpi_rows *out, day_t *next, struct err *err);

/* A calendar day. */
struct day_overview {
  bool has_run;
  char run_id[UUID_TEXT_SIZE]; /* of the newest run of the date; empty: none */
  enum run_state state;
  char quality[16];                      /* status of that run's report; empty: it has none */
  char published_run_id[UUID_TEXT_SIZE]; /* empty: nothing is published */
  int64_t published_at;                  /* Unix ms */
  struct kpi_row orders;                 /* what is published; zeros when it has no order row */
};

/* Fills `count` days from `from` on. */
KPI_MUST_CHECK enum kpi_code service_days(struct service *s, day_t from, size_t count,
                                          struct day_overview *out, struct err *err);

/* Copies the database, in small steps between other work, into the empty file `to`; `go_on` is asked between
 * them. Errors: those of copy_store_make. */
KPI_MUST_CHECK enum kpi_code service_copy(struct service *s, const char *to, bool (*go_on)(void *arg),
                                          void *arg, struct err *err);

#endif
