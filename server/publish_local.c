/* SPDX-License-Identifier: MIT */
#include "server/publish_local.h"

#include "server/results_store.h"

#include <stdlib.h>

struct publish_local {
  struct publisher base;
  struct db *db;
};

struct local_publication {
  struct publication base;
  struct db *db;
  day_t day;
};

/* What was kept is what is published, after a look at its digest. */
static enum kpi_code local_publish(struct publication *base, const struct publish_order *order,
                                   struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  const struct local_publication *p = (const struct local_publication *)base;
  return results_store_publish(p->db, order->run_id, p->day, out, err);
}

static void local_end(struct publication *p) {
  free(p);
}

static const struct publication_vtable publication_vtable = {local_publish, local_end};

static enum kpi_code local_begin(struct publisher *publisher, day_t day, const struct stop_flag *stop,
                                 struct publication **out, struct err *err) {
  (void)stop;
  struct db *db = ((struct publish_local *)publisher)->db;
  struct local_publication *p = malloc(sizeof *p);
  if (!p)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to publish");
  *p = (struct local_publication){.base = {.vtable = &publication_vtable}, .db = db, .day = day};
  enum kpi_code rc = results_store_published_orders(db, day, &p->base.orders, err);
  if (rc) {
    free(p);
    return rc;
  }
  *out = &p->base;
  return KPI_OK;
}

static void local_free(struct publisher *p) {
  free(p);
}

static const struct publisher_vtable local_vtable = {local_begin, local_free};

struct publisher *publish_local_new(struct db *db) {
  struct publish_local *p = malloc(sizeof *p);
  if (!p)
    return NULL;
  *p = (struct publish_local){{&local_vtable}, db};
  return &p->base;
}
