/* SPDX-License-Identifier: MIT
 * What a client asks for in the body of a submission, POST /runs or another that makes runs, read whole so
 * that all faults are told at once, and the idempotency key that comes with it. Knows no run that is there
 * already. */
#ifndef KPID_SERVER_SUBMISSION_H
#define KPID_SERVER_SUBMISSION_H

#include "server/body.h"
#include "server/reply.h"
#include "server/run.h"

#include <jansson.h>

/* A request that was read. Owns the text that `request` and `policy` borrow. */
struct submission {
  struct run_request request;
  struct submit_policy policy;
  json_t *body;
  char *labels;
  char max_bad_rows[32];
  char key[IDEMPOTENCY_KEY_BYTES_MAX + 1];
  char fingerprint[SHA256_HEX_SIZE];
};

/* Reads body and headers of POST /runs. False when the reply is a problem already. Clear it in any case. */
bool submission_read(struct request *rq, struct reply *rp, struct submission *s);

/* How the bodies of another submission differ: what they have beside quality_gate, bad_rows, max_bad_rows,
 * engine, publish, force, timeout_seconds, max_attempts, labels, reason and idempotency_key. */
struct submission_kind {
  const char *const *known; /* NULL-terminated: all members */
  const struct body_form *form;
  /* Reads its own members and notes their faults. */
  void (*read)(const struct request *rq, const json_t *body, void *arg, struct problem *p);
  /* Appends what makes it another request under the same key. */
  void (*identify)(const json_t *body, const void *arg, struct buf *out);
};

/* The same for another kind; `arg` is for its functions. */
bool submission_read_as(struct request *rq, struct reply *rp, const struct submission_kind *kind, void *arg,
                        struct submission *s);

/* Frees what it owns. */
void submission_clear(struct submission *s);

/* True for 1 to IDEMPOTENCY_KEY_BYTES_MAX visible ASCII characters. */
bool idempotency_key_is_valid(struct view key);

/* Reads a body that may be missing. Returns owned in *body, NULL without one. False when the reply is a
 * problem already. */
bool submission_read_optional(struct request *rq, struct reply *rp, json_t **body);

/* Takes only a body without members, or none. False when the reply is a problem already. */
bool submission_is_empty(struct request *rq, struct reply *rp);

/* Reads a date as requests write it: YYYY-MM-DD, "yesterday" or "today". False when it is none. */
bool submission_date(const json_t *value, const struct request *rq, day_t *out);

/* Refuses members of the body that are not in the NULL-terminated list, with the faults that were found
 * before. False when the reply is a problem already. */
bool submission_accept(struct request *rq, struct reply *rp, const json_t *body, const char *const *known,
                       struct problem *faults);

#endif
