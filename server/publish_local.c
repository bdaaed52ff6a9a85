/* SPDX-License-Identifier: MIT */
#include "server/publish_local.h"

#include "server/results_store.h"

#include <stdlib.h>

struct publish_local {
  struct publisher base;
  struct db *db;
};

static enum kpi_code local_publish(struct publisher *p, const char *run_id, const struct job *job,
                                   const struct job_result *result,
                                   struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  (void)result; /* what was kept is what is published, after a look at its digest */
  return results_store_publish(((struct publish_local *)p)->db, run_id, job->from, out, err);
}

static void local_free(struct publisher *p) {
  free(p);
}

static const struct publisher_vtable local_vtable = {local_publish, local_free};

struct publisher *publish_local_new(struct db *db) {
  struct publish_local *p = malloc(sizeof *p);
  if (!p)
    return NULL;
  *p = (struct publish_local){{&local_vtable}, db};
  return &p->base;
}
