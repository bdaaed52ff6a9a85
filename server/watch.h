/* SPDX-License-Identifier: MIT
 * What can be watched of runs: durable events, live progress, kept log lines. Tells its owner of every event
 * as soon as it is committed, whoever wrote it. Knows neither queue nor HTTP. All functions but watch_free
 * may be called from any thread. */
#ifndef KPID_SERVER_WATCH_H
#define KPID_SERVER_WATCH_H

#include "server/event_store.h"
#include "server/live_runs.h"
#include "server/run_log_store.h"

struct watch;

/* Called for every event, after its commit, on the thread of one of those who wrote: must not wait for the
 * database. */
typedef void (*watch_news_fn)(void *arg, const char *run_id);

/* Starts to listen to the database and to keep log lines. Borrows db and live for its life. Returns owned in
 * *out. Errors: KPI_OUT_OF_MEMORY, KPI_INTERNAL, those of db_call. */
KPI_MUST_CHECK enum kpi_code watch_start(struct db *db, struct live_runs *live, watch_news_fn fn, void *arg,
                                         struct watch **out, struct err *err);

/* Stores the log lines that are still under way, and frees. Accepts NULL. */
void watch_free(struct watch *w);

/* As event_store_page. */
KPI_MUST_CHECK enum kpi_code watch_events(struct watch *w, struct view run_id, uint64_t after, size_t limit,
                                          struct event *events, size_t *count, struct err *err);

/* As event_store_last. */
KPI_MUST_CHECK enum kpi_code watch_last_event(struct watch *w, struct view run_id, struct event *out,
                                              bool *found, struct err *err);

/* As event_store_active. */
KPI_MUST_CHECK enum kpi_code watch_active(struct watch *w, size_t limit, char (*ids)[UUID_TEXT_SIZE],
                                          size_t *count, struct err *err);

/* Fills what is known in memory of the runs at work now, or of one when the id is not empty: id, date,
 * attempt, start, phase and counters, nothing owned. Returns how many. */
size_t watch_live(struct watch *w, struct view run_id, struct run runs[LIVE_RUNS_SHOWN_MAX]);

/* As run_log_store_page, with all that was logged before. */
KPI_MUST_CHECK enum kpi_code watch_log(struct watch *w, struct view run_id,
                                       const struct run_log_filter *filter, struct run_log_page *out,
                                       struct err *err);

#endif
