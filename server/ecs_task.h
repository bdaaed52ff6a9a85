/* SPDX-License-Identifier: MIT
 * A task of Amazon ECS: it asks its agent not to be stopped by scaling or by a deployment while runs are
 * under way, and names itself in the log. A thread of its own, since the agent may be slow; nothing waits for
 * it. Source: docs.aws.amazon.com, "Amazon ECS task scale-in protection endpoint", "task metadata version 4".
 */
#ifndef KPID_SERVER_ECS_TASK_H
#define KPID_SERVER_ECS_TASK_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* What the agent was told last, and what it should be told. Times are monotonic milliseconds. */
struct ecs_protection {
  bool is_busy;       /* runs are under way */
  int64_t busy_until; /* when the last of them was over; of no meaning while busy */
  bool is_on;         /* the agent has agreed to protect the task */
  int64_t on_since;   /* when it last did */
  int64_t not_before; /* it refused or was away: not asked again sooner */
};

enum ecs_wish { ECS_NOTHING, ECS_PROTECT, ECS_UNPROTECT };

/* Returns what to tell the agent now. *next: when to look again, INT64_MAX for never, unless is_busy changes.
 */
enum ecs_wish ecs_protection_wish(const struct ecs_protection *p, int64_t now, int64_t *next);

struct ecs_task;

/* Starts the thread when ECS_AGENT_URI or ECS_CONTAINER_METADATA_URI_V4 is set; *out is owned, NULL outside
 * of ECS. Errors: KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code ecs_task_start(struct ecs_task **out, struct err *err);

/* Whether runs are under way. Any thread, never blocks on the agent. Accepts NULL. */
void ecs_task_set_busy(struct ecs_task *t, bool is_busy);

/* Stops the thread. What the agent was told stays, it ends with the task. Accepts NULL. */
void ecs_task_free(struct ecs_task *t);

#endif
