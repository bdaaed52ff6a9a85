/* SPDX-License-Identifier: MIT */
#include "pipeline/engine.h"

#include <stdlib.h>

void job_result_clear(struct job_result *r) {
  if (!r)
    return;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    kpi_rows_clear(&r->tables[t]);
  names_clear(&r->categories);
  quality_clear(&r->quality);
}

static int cmp_day(const void *day, const void *result) {
  day_t a = *(const day_t *)day, b = ((const struct day_result *)result)->day;
  return (a > b) - (a < b);
}

struct day_result *day_results_find(const struct day_results *r, day_t day) {
  return r->count ? bsearch(&day, r->at, r->count, sizeof *r->at, cmp_day) : NULL;
}

enum kpi_code day_results_take(struct day_results *r, struct job_result *out, struct err *err) {
  struct day_result *day = r->at;
  enum kpi_code rc = KPI_OK;
  *out = day->result;
  day->result = (struct job_result){0};
  out->categories = r->categories;
  r->categories = (struct names){0};
  if (day->err) {
    *err = *day->err;
    rc = err->code;
  }
  day_results_clear(r);
  return rc;
}

void day_results_clear(struct day_results *r) {
  if (!r)
    return;
  for (size_t i = 0; i < r->count; i++) {
    struct day_result *day = &r->at[i];
    day->result.categories = (struct names){0};
    job_result_clear(&day->result);
    free(day->err);
  }
  free(r->at);
  names_clear(&r->categories);
  *r = (struct day_results){0};
}

enum kpi_code engine_compute(struct engine *e, const struct job *job, const struct source_listing *listing,
                             struct day_results *out, struct err *err) {
  return e->vtable->compute(e, job, listing, out, err);
}

void engine_free(struct engine *e) {
  if (e)
    e->vtable->free(e);
}
