/* SPDX-License-Identifier: MIT
 * What a client asks for in the body of POST /backfills. Knows no backfill that is there already. */
#ifndef KPID_SERVER_BACKFILL_REQUEST_H
#define KPID_SERVER_BACKFILL_REQUEST_H

#include "server/backfill.h"
#include "server/submission.h"

/* A request that was read. Owns what `request` borrows. */
struct backfill_submission {
  struct submission common;
  struct backfill_request request; /* its days are those of `days` */
  day_t *days;
  bool is_dry_run;
};

/* Reads body and headers. False when the reply is a problem already. Clear it in any case. */
bool backfill_submission_read(struct request *rq, struct reply *rp, struct backfill_submission *s);

/* Frees what it owns. */
void backfill_submission_clear(struct backfill_submission *s);

#endif
