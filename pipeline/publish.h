/* SPDX-License-Identifier: MIT
 * Where results become visible to their readers: an interface. Knows no engine; implementations:
 * publish_local (SQLite, in server/) and publish_dynamodb. */
#ifndef KPID_PIPELINE_PUBLISH_H
#define KPID_PIPELINE_PUBLISH_H

#include "pipeline/engine.h"

/* What a publish did to one table. */
struct publish_counts {
  uint64_t put, unchanged, deleted;
};

/* What is published; borrowed. */
struct publish_order {
  const char *run_id;
  const struct job_result *result; /* of this day only */
  bool force;                      /* write also what is published already */
  struct job_progress *progress;   /* items_published and items_total grow; NULL: not counted */
  const struct stop_flag *abandon; /* gives up wherever it is, as a crash would; NULL: never */
};

struct publication;
struct publication_vtable {
  enum kpi_code (*publish)(struct publication *p, const struct publish_order *order,
                           struct publish_counts out[KPI_TABLE_COUNT], struct err *err);
  void (*free)(struct publication *p);
};

/* One day on its way to its readers, from the observation on; the first member of every implementation. */
struct publication {
  const struct publication_vtable *vtable;
  bool is_guarded; /* an empty day, or one that shrinks to half of `orders`, needs force */
  uint64_t
      orders; /* total_orders that are published for the day now; 0 when nothing is, or that is not known */
};

struct publisher;
struct publisher_vtable {
  enum kpi_code (*begin)(struct publisher *p, day_t day, const struct stop_flag *stop,
                         struct publication **out, struct err *err);
  void (*free)(struct publisher *p);
};

/* The first member of every implementation. Thread-safe. */
struct publisher {
  const struct publisher_vtable *vtable;
};

/* Observes what is published for a day. To be called before the inputs are listed: what is published later
 * than this is newer than ours. Returns owned in *out. Errors: those of the store behind it. */
KPI_MUST_CHECK enum kpi_code publisher_begin(struct publisher *p, day_t day, const struct stop_flag *stop,
                                             struct publication **out, struct err *err);

/* Makes the results of a run those of the day, in one instant for every reader or not at all (unless the
 * implementation says otherwise). Errors: KPI_NEWER_RUN_PUBLISHED: somebody else has published since the
 * observation, start again; those of the store behind it. */
KPI_MUST_CHECK enum kpi_code publication_publish(struct publication *p, const struct publish_order *order,
                                                 struct publish_counts out[KPI_TABLE_COUNT], struct err *err);

/* Accepts NULL. */
void publication_free(struct publication *p);

/* Accepts NULL. */
void publisher_free(struct publisher *p);

#endif
