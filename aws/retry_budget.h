/* SPDX-License-Identifier: MIT
 * The retries that all calls to a service share, so that a service in trouble is not sent many times its
 * load. Source: "standard" retry mode of the AWS SDKs: 500 tokens, 5 a retry, given back by success. */
#ifndef KPID_AWS_RETRY_BUDGET_H
#define KPID_AWS_RETRY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>

enum { RETRY_BUDGET_TOKENS = 500, RETRY_COST = 5 };

struct retry_budget {
  _Atomic int tokens;
};

/* Fills it. */
void retry_budget_init(struct retry_budget *b);

/* Pays for one retry; false when there is not enough left. */
bool retry_budget_take(struct retry_budget *b);

/* A call has succeeded: gives back what its last retry cost, or one token when it needed none. */
void retry_budget_give(struct retry_budget *b, bool was_retried);

#endif
