/* SPDX-License-Identifier: MIT
 * What requests that wait for a run or a backfill keep between their calls, and the answers that they end
 * with. Used by their handlers; knows no HTTP library. */
#ifndef KPID_SERVER_WAITING_H
#define KPID_SERVER_WAITING_H

#include "server/input_look.h"
#include "server/reply.h"
#include "server/service.h"

enum { WAITING_RETRY_AFTER_SECONDS = 2 };

/* Memory of a waiting request; rq->keep. */
struct waiting {
  char id[UUID_TEXT_SIZE]; /* of what is waited for; empty: not known yet */
  enum disposition disposition;
  uint64_t first_version;
  int64_t deadline_ms;         /* monotonic */
  char intent[UUID_TEXT_SIZE]; /* that is being stored before a run is accepted */
  bool is_intent_stored;
  bool is_being_stored;     /* the intent: what comes of it is not told yet */
  bool is_for_found_run;    /* the intent: of a run that was there without one */
  int64_t step_deadline_ms; /* of what has to happen before: an intent, a listing, the end of another run */
  uint64_t look_ticket;     /* of the listing that was asked for; 0: none */
  bool has_superseded;      /* the run of the date was cancelled for this request */
  struct service *service;
};

/* Reads for how long the request wants to wait and makes its memory, if it needs any. False when the reply is
 * a problem already. */
bool waiting_begin(struct request *rq, struct reply *rp, bool must_keep);

/* Reads a parameter that is one of two words; `first` may be NULL. *is_second tells which, false without it.
 * False when the reply is a problem already. */
bool waiting_read_word(struct request *rq, struct reply *rp, const char *name, const char *first,
                       const char *second, bool *is_second);

/* What is waited for, as it is now: a run or a backfill. */
struct waited {
  const char *id;
  uint64_t version;
  bool is_terminal;
};

struct waited waited_run(const struct run *run);

/* Its first sight: what changes later is judged by it. */
void waiting_remember(struct request *rq, struct waited now, enum disposition disposition);

/* Suspends the request until it changes. False when it must be answered now. */
bool waiting_goes_on(struct request *rq, struct reply *rp, struct waited now, bool until_change);

/* Suspends a request that something else must come before, for at most `at_most_ms` from the first time on.
 * False when that has passed. */
bool waiting_for_step(struct request *rq, struct reply *rp, const char *topic, int64_t at_most_ms);

/* Begins the time of a step. */
void waiting_begin_step(struct request *rq);

/* Has the source listed first. False when the reply is written: to wait, or that it did not answer. Needs
 * memory (waiting_begin). */
bool waiting_look_at_input(struct request *rq, struct reply *rp, struct input_seen *seen);

/* Has the intent of a run stored first, where intents are kept; sets request->id to that of the intent. False
 * when the reply is written: to wait, or why it could not be. Needs memory (waiting_begin). */
bool waiting_store_intent(struct request *rq, struct reply *rp, struct run_request *request,
                          const struct submit_policy *policy);

/* The same for a run that answers the request and has none. */
bool waiting_store_found(struct request *rq, struct reply *rp, const struct run *run,
                         const struct submit_policy *policy);

/* Answers with a run; one that has not ended carries Retry-After. */
void waiting_write_run(struct reply *rp, unsigned status, const struct run *run, const char *disposition);

/* Answers 424 with what the run has failed of. */
void waiting_write_not_succeeded(struct request *rq, struct reply *rp, const struct run *run);

#endif
