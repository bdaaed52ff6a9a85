/* SPDX-License-Identifier: MIT */
#include "pipeline/engine.h"

void job_result_clear(struct job_result *r) {
  if (!r)
    return;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    kpi_rows_clear(&r->tables[t]);
  names_clear(&r->categories);
  quality_clear(&r->quality);
  quality_clear(&r->empty_day);
}

enum kpi_code engine_compute(struct engine *e, const struct job *job, const struct source_listing *listing,
                             struct job_result *out, struct err *err) {
  return e->vtable->compute(e, job, listing, out, err);
}

void engine_free(struct engine *e) {
  if (e)
    e->vtable->free(e);
}
