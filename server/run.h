/* SPDX-License-Identifier: MIT
 * A run: its record, its states and the moves between them. The table in run.c is the truth for C; the SQL
 * trigger and openapi.yaml use the same names (compared by a test). Knows no SQL and no HTTP. */
#ifndef KPID_SERVER_RUN_H
#define KPID_SERVER_RUN_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/view.h"
#include "pipeline/job.h"

enum run_state {
  RUN_QUEUED,
  RUN_RUNNING,
  RUN_RETRY_WAIT,
  RUN_CANCELLING,
  RUN_SUCCEEDED,
  RUN_FAILED,
  RUN_CANCELLED,
  RUN_STATE_COUNT
};

/* Who goes first: single days, which somebody waits for. */
enum run_priority { PRIORITY_DAY, PRIORITY_BACKFILL, PRIORITY_COUNT };

/* How a POST was answered. */
enum disposition {
  DISPOSITION_CREATED,
  DISPOSITION_ATTACHED,   /* to another request's run of the date */
  DISPOSITION_REPLAYED,   /* the key's own run, as it is now */
  DISPOSITION_RETRIED,    /* a run that had failed is queued again in its place */
  DISPOSITION_SUPERSEDED, /* created after the active run of the date was cancelled */
  DISPOSITION_UNCHANGED,  /* the last run of the date has read these very inputs */
  DISPOSITION_COUNT
};

/* What a request does when a run of its date is active. */
enum on_active { ON_ACTIVE_ATTACH, ON_ACTIVE_REJECT, ON_ACTIVE_SUPERSEDE, ON_ACTIVE_COUNT };

/* What it does when the last one of its date has finished. */
enum on_finished {
  ON_FINISHED_NEW,
  ON_FINISHED_ATTACH,
  ON_FINISHED_RETRY_FAILED,
  ON_FINISHED_IF_CHANGED,
  ON_FINISHED_REJECT,
  ON_FINISHED_COUNT
};

/* Names as they stand in JSON, SQL and openapi.yaml. */
const char *run_state_name(enum run_state s);
const char *disposition_name(enum disposition d);

/* The inverse; false for an unknown name. */
bool run_state_of(struct view name, enum run_state *out);
bool on_active_of(struct view name, enum on_active *out);
bool on_finished_of(struct view name, enum on_finished *out);

/* True when no move leaves the state by itself (failed and cancelled can be retried by hand). */
bool run_state_is_terminal(enum run_state s);

/* True when the table allows from -> to. */
bool run_state_may_move(enum run_state from, enum run_state to);

/* Limits of what a client may say of a run. */
enum run_limit {
  LABELS_MAX = 32,
  LABEL_NAME_CHARS_MAX = 64,
  LABEL_VALUE_CHARS_MAX = 255,
  REASON_CHARS_MAX = 500,
  IDEMPOTENCY_KEY_BYTES_MAX = 255,
  TIMEOUT_SECONDS_DEFAULT = 3600,
  TIMEOUT_SECONDS_MAX = 7 * 86400,
  ATTEMPTS_DEFAULT = 3,
  ATTEMPTS_MAX = 10,
  EXPIRES_SECONDS_MAX = 30 * 86400,
  RETRY_WAIT_MS_MIN = 2 * 1000, /* before an automatic attempt; the most doubles with every failure */
  RETRY_WAIT_MS_MAX = 5 * 60 * 1000
};

/* What a client asks for; all fields checked by the caller. Strings are borrowed. */
struct run_request {
  const char *id; /* of the new run; NULL: any */
  day_t date;
  bool publish;
  enum quality_gate gate;
  enum bad_rows bad_rows;
  enum engine_kind engine;
  bool force;               /* publish also against the guard, and what is published already */
  struct view max_bad_rows; /* as written: "100", "0.5%"; empty for the service's default */
  struct view labels_json;  /* a JSON object of strings, {} if none */
  struct view reason;       /* empty if none */
  struct view user_agent;
  struct view request_id;
  struct view principal;       /* whose key it was; empty: none was needed */
  struct view trace_id;        /* 32 hex digits; empty if none */
  uint32_t timeout_seconds;    /* of one attempt; 0: TIMEOUT_SECONDS_DEFAULT */
  uint32_t max_attempts;       /* 0: ATTEMPTS_DEFAULT */
  uint32_t expires_in_seconds; /* from then on when it was accepted, unless it has started; 0: never */
  int64_t accepted_at;         /* Unix ms; 0: now */
};

/* How a request meets the runs that are there; zero-initialised: attaches to an active one, else creates. */
struct submit_policy {
  struct view key;         /* idempotency key; empty: none */
  const char *fingerprint; /* sha256 hex of what was asked for; with a key */
  enum on_active on_active;
  enum on_finished on_finished;
  const char *listed; /* fingerprint of the inputs, listed for ON_FINISHED_IF_CHANGED; NULL: not listed */
};

/* One run as stored. Owns its strings; free with run_clear. Times are Unix milliseconds, 0 = not yet. */
struct run {
  char id[UUID_TEXT_SIZE];
  day_t date;
  char *timezone;
  enum engine_kind engine;       /* that computes it; auto: not decided yet */
  enum engine_kind engine_asked; /* that it is to be computed by */
  char *engine_job_owner;        /* of the job that a cluster has for it; NULL: none */
  enum run_state state;
  enum run_phase phase;
  uint32_t attempt, max_attempts; /* attempt is 0 until it starts first */
  uint32_t failures;              /* failed attempts since a client has queued it */
  uint32_t timeout_seconds;       /* of one attempt */
  int64_t created_at, started_at, finished_at, updated_at, next_attempt_at, cancel_requested_at, published_at;
  int64_t expires_at; /* 0: never */
  uint64_t version;   /* grows with every change of the record; makes the ETag */
  bool publish;
  enum quality_gate gate;
  enum bad_rows bad_rows;
  char *max_bad_rows; /* as written */
  bool force;
  bool from_publish; /* the results are there: this attempt only publishes */
  struct run_progress progress;
  char *input_base;        /* source URL */
  char *input_fingerprint; /* sha256 hex of the manifest, NULL until listed */
  uint64_t input_objects, input_bytes;
  char *summary_json;      /* object {total_orders,...}, NULL until computed */
  char *quality_json;      /* object {status, passed, warned, failed}, NULL until computed */
  char *output_json;       /* array of {name, put, unchanged, deleted}, NULL until published */
  char *error_json;        /* run error object, NULL if none */
  char *attempts_json;     /* array, never NULL after reading */
  char *backfill_ids_json; /* array, never NULL after reading */
  char *labels_json;       /* object, never NULL after reading */
  char *reason;            /* NULL if none */
  char *user_agent;        /* NULL if none */
  char *request_id;        /* NULL if none */
  char *principal;         /* NULL if none */
  char *trace_id;          /* NULL if none */
  char *idempotency_key;   /* that made it; NULL if none */
  char *service_version;
};

/* Frees what a run owns and zeroes it. Accepts NULL. */
void run_clear(struct run *r);

/* Returns the request that would make this run again, under its own id. Borrows from the run. */
struct run_request run_request_of(const struct run *r);

/* Milliseconds to wait before the attempt that follows `failures` failed ones, by full jitter: anything from
 * RETRY_WAIT_MS_MIN to a most that doubles up to RETRY_WAIT_MS_MAX. `random` is any number. */
int64_t run_retry_wait_ms(uint32_t failures, uint64_t random);

/* A page of runs. Owns them. */
struct run_list {
  struct run *runs;
  size_t count;
  bool more; /* older runs follow */
};

/* Frees the list. Accepts NULL. */
void run_list_clear(struct run_list *list);

/* A change of state that has been stored. */
struct run_move {
  char run_id[UUID_TEXT_SIZE];
  enum run_state state; /* that the run has come to */
  enum run_priority priority;
  uint32_t attempt;
  int64_t at, created_at, cancel_requested_at; /* Unix ms; 0: never */
};

#endif
