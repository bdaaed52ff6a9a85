/* SPDX-License-Identifier: MIT */
#include "aws/retry_budget.h"

void retry_budget_init(struct retry_budget *b) {
  atomic_store(&b->tokens, RETRY_BUDGET_TOKENS);
}

bool retry_budget_take(struct retry_budget *b) {
  int now = atomic_load(&b->tokens);
  while (now >= RETRY_COST)
    if (atomic_compare_exchange_weak(&b->tokens, &now, now - RETRY_COST))
      return true;
  return false;
}

void retry_budget_give(struct retry_budget *b, bool was_retried) {
  int now = atomic_load(&b->tokens), more;
  do {
    more = now + (was_retried ? RETRY_COST : 1);
    if (more > RETRY_BUDGET_TOKENS)
      more = RETRY_BUDGET_TOKENS;
  } while (!atomic_compare_exchange_weak(&b->tokens, &now, more));
}
