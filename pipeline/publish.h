/* SPDX-License-Identifier: MIT
 * Where results become visible to their readers: an interface. Knows no engine; implementations:
 * publish_local (SQLite) and, with the AWS layer, DynamoDB. */
#ifndef KPID_PIPELINE_PUBLISH_H
#define KPID_PIPELINE_PUBLISH_H

#include "pipeline/engine.h"

/* What a publish did to one table. */
struct publish_counts {
  uint64_t put, unchanged, deleted;
};

struct publisher;
struct publisher_vtable {
  enum kpi_code (*publish)(struct publisher *p, const char *run_id, const struct job *job,
                           const struct job_result *result, struct publish_counts out[KPI_TABLE_COUNT],
                           struct err *err);
  void (*free)(struct publisher *p);
};

/* The first member of every implementation. */
struct publisher {
  const struct publisher_vtable *vtable;
};

/* Makes the results of a run those of all days of its job, in one instant for every reader or not at all.
 * Safe to repeat. Errors: those of the store behind it. */
KPI_MUST_CHECK enum kpi_code publisher_publish(struct publisher *p, const char *run_id, const struct job *job,
                                               const struct job_result *result,
                                               struct publish_counts out[KPI_TABLE_COUNT], struct err *err);

/* Accepts NULL. */
void publisher_free(struct publisher *p);

#endif
