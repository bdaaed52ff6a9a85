/* SPDX-License-Identifier: MIT
 * The durable events: one for each state change of a run, numbered over all runs, written by triggers in the
 * transaction of the change. Only read here. Knows no HTTP. */
#ifndef KPID_SERVER_EVENT_STORE_H
#define KPID_SERVER_EVENT_STORE_H

#include "server/db.h"
#include "server/run.h"

/* One state change. */
struct event {
  uint64_t seq;
  int64_t at; /* Unix ms */
  char run_id[UUID_TEXT_SIZE];
  day_t date; /* of the run */
  enum run_state state;
  uint32_t attempt;
};

/* Reads events after a number, oldest first, at most `limit`, into events[limit]; of one run, or of all with
 * an empty id. *count says how many. Errors: those of db_call. */
KPI_MUST_CHECK enum kpi_code event_store_page(struct db *db, struct view run_id, uint64_t after, size_t limit,
                                              struct event *events, size_t *count, struct err *err);

/* Reads the newest event of a run, which says its state, or of all with an empty id. *found false: there is
 * none. */
KPI_MUST_CHECK enum kpi_code event_store_last(struct db *db, struct view run_id, struct event *out,
                                              bool *found, struct err *err);

/* Reads the ids of the newest active runs, newest first, into ids[limit]. *count says how many. */
KPI_MUST_CHECK enum kpi_code event_store_active(struct db *db, size_t limit, char (*ids)[UUID_TEXT_SIZE],
                                                size_t *count, struct err *err);

/* Who wants to know of every event. */
struct event_listener {
  void (*moved)(void *arg, const struct run_move *move);
  void (*backfill_changed)(void *arg, const char *backfill_id);
  void *arg;
};

/* Tells of every event after *seq, which moves on; in a db_fn or a db_committed_fn. */
void event_store_news(struct db_conn *c, uint64_t *seq, const struct event_listener *listener);

#endif
