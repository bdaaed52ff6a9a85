/* SPDX-License-Identifier: MIT
 * A backfill: days that were asked for together, each with a run of its own. Its state is that of its runs.
 * The names are those of SQL and openapi.yaml. Knows no SQL and no HTTP. */
#ifndef KPID_SERVER_BACKFILL_H
#define KPID_SERVER_BACKFILL_H

#include "server/run.h"

enum { BACKFILL_DAYS_MAX = 3660 };

/* Which days are computed again; each takes those before it too. */
enum reprocess {
  REPROCESS_MISSING, /* days without a finished run */
  REPROCESS_FAILED,  /* and those whose last run has failed or was cancelled */
  REPROCESS_CHANGED, /* and those whose inputs are others now */
  REPROCESS_ALL,
  REPROCESS_COUNT
};

/* What becomes of a day. */
enum day_action { DAY_RUN, DAY_ATTACH, DAY_SKIP, DAY_ACTION_COUNT };

/* Why. */
enum day_reason {
  REASON_MISSING,
  REASON_FAILED,
  REASON_CHANGED,
  REASON_REQUESTED,
  REASON_ACTIVE, /* another run of the date is */
  REASON_SUCCEEDED,
  REASON_UNCHANGED,
  DAY_REASON_COUNT
};

/* Looking for the days that the data has. */
enum discovery {
  DISCOVERY_NONE, /* the days were named */
  DISCOVERY_QUEUED,
  DISCOVERY_RUNNING,
  DISCOVERY_DONE,
  DISCOVERY_FAILED,
  DISCOVERY_CANCELLED,
  DISCOVERY_COUNT
};

const char *reprocess_name(enum reprocess r);
const char *day_action_name(enum day_action a);
const char *day_reason_name(enum day_reason r);
const char *discovery_name(enum discovery d); /* NULL for DISCOVERY_NONE */

/* The inverse; false for an unknown name. */
bool reprocess_of(struct view name, enum reprocess *out);
bool day_action_of(struct view name, enum day_action *out);
bool day_reason_of(struct view name, enum day_reason *out);
bool discovery_of(struct view name, enum discovery *out);

/* What a client asks for; checked by the caller. Borrows everything. */
struct backfill_request {
  const struct run_request *run; /* of each day; its id and date are not looked at */
  const day_t *days;             /* ascending, each once; none for every day of the data */
  size_t count;
  enum reprocess reprocess;
  bool is_descending; /* the newest day first */
};

/* One day. */
struct backfill_day {
  day_t day;
  enum day_action action;
  enum day_reason reason;
  char run_id[UUID_TEXT_SIZE]; /* empty: none, or it was pruned */
  enum run_state state;        /* of that run */
  char quality[16];            /* status of its report; empty: it has none */
  char error_code[48];         /* of its error; empty: it has none */
};

/* Days by what became of them. */
struct backfill_counts {
  uint64_t by_state[RUN_STATE_COUNT];
  uint64_t skipped;
  uint64_t pruned; /* their runs are no more */
};

/* One backfill as stored. Owns its strings; backfill_clear. Times are Unix milliseconds, 0 = not yet. */
struct backfill {
  char id[UUID_TEXT_SIZE];
  int64_t created_at, updated_at, finished_at, cancel_requested_at;
  uint64_t version; /* grows with every change of it or of its runs */
  bool has_days;    /* first and last are known */
  day_t first, last;
  enum discovery discovery;
  uint32_t failures;       /* of the discovery, since a client has asked for it */
  int64_t next_attempt_at; /* of a discovery that is queued again after a failure */
  char *error_json;        /* of a discovery that has failed; NULL if none */
  enum reprocess reprocess;
  bool is_descending;
  bool publish, force;
  enum quality_gate gate;
  enum bad_rows bad_rows;
  enum engine_kind engine; /* that its days are to be computed by */
  char *max_bad_rows;
  uint32_t timeout_seconds, max_attempts;
  char *labels_json, *reason, *idempotency_key, *principal, *user_agent, *request_id, *trace_id;
  struct backfill_counts counts;
};

/* Frees what it owns and zeroes it. Accepts NULL. */
void backfill_clear(struct backfill *b);

/* The request that its runs are made by. Borrows from it. */
struct run_request backfill_run_request(const struct backfill *b);

/* What it has come to, by its discovery and its runs. */
enum run_state backfill_state(const struct backfill *b);

/* A page of backfills. Owns them. */
struct backfill_list {
  struct backfill *at;
  size_t count;
  bool more; /* older ones follow */
};

/* Frees the list. Accepts NULL. */
void backfill_list_clear(struct backfill_list *list);

#endif
