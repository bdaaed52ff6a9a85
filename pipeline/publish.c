/* SPDX-License-Identifier: MIT */
#include "pipeline/publish.h"

enum kpi_code publisher_begin(struct publisher *p, day_t day, const struct stop_flag *stop,
                              struct publication **out, struct err *err) {
  *out = NULL;
  return p->vtable->begin(p, day, stop, out, err);
}

enum kpi_code publication_publish(struct publication *p, const struct publish_order *order,
                                  struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    out[t] = (struct publish_counts){0};
  return p->vtable->publish(p, order, out, err);
}

void publication_free(struct publication *p) {
  if (p)
    p->vtable->free(p);
}

void publisher_free(struct publisher *p) {
  if (p)
    p->vtable->free(p);
}
