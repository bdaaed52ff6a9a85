/* SPDX-License-Identifier: MIT
 * What a client asks for in the body of POST /runs, read whole so that all faults are told at once, and the
 * idempotency key that comes with it. Knows no run that is there already. */
#ifndef KPID_SERVER_SUBMISSION_H
#define KPID_SERVER_SUBMISSION_H

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

/* Reads body and headers. False when the reply is a problem already. Clear it in any case. */
bool submission_read(struct request *rq, struct reply *rp, struct submission *s);

/* Frees what it owns. */
void submission_clear(struct submission *s);

/* True for 1 to IDEMPOTENCY_KEY_BYTES_MAX visible ASCII characters. */
bool idempotency_key_is_valid(struct view key);

/* Refuses members of the body that are not in the NULL-terminated list, with the faults that were found
 * before. False when the reply is a problem already. */
bool submission_accept(struct request *rq, struct reply *rp, const json_t *body, const char *const *known,
                       struct problem *faults);

#endif
