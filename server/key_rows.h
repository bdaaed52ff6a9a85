/* SPDX-License-Identifier: MIT
 * Idempotency keys inside a transaction: a key stands for one request, and for the run or the backfill that
 * answers it. */
#ifndef KPID_SERVER_KEY_ROWS_H
#define KPID_SERVER_KEY_ROWS_H

#include "server/db.h"
#include "server/run.h"

/* What a key stands for; both empty: nothing. */
struct key_owner {
  char run_id[UUID_TEXT_SIZE], backfill_id[UUID_TEXT_SIZE];
};

/* Finds what the key of the policy, if it has one, stands for. Errors: KPI_IDEMPOTENCY_KEY_REUSED when it was
 * bound to another fingerprint. */
KPI_MUST_CHECK enum kpi_code key_row_find(struct db_conn *c, const struct submit_policy *policy,
                                          struct key_owner *out, struct err *err);

/* Finds the fingerprint that a key is bound to; empty when it is bound to none. */
KPI_MUST_CHECK enum kpi_code key_row_fingerprint(struct db_conn *c, struct view key,
                                                 char out[SHA256_HEX_SIZE], struct err *err);

/* Binds the key of the policy, if it has one. */
KPI_MUST_CHECK enum kpi_code key_row_bind(struct db_conn *c, const struct submit_policy *policy,
                                          const struct key_owner *owner, struct err *err);

#endif
