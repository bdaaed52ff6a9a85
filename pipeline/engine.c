/* SPDX-License-Identifier: MIT */
#include "pipeline/engine.h"

#include <stdio.h>
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

static void day_result_free(struct day_result *day) {
  day->result.categories = (struct names){0}; /* borrowed */
  job_result_clear(&day->result);
  free(day->err);
}

void day_results_keep(struct day_results *r, const struct day_set *days) {
  size_t kept = 0;
  for (size_t i = 0; i < r->count; i++)
    if (day_set_has(days, r->at[i].day))
      r->at[kept++] = r->at[i];
    else
      day_result_free(&r->at[i]);
  r->count = kept;
}

void day_results_clear(struct day_results *r) {
  if (!r)
    return;
  for (size_t i = 0; i < r->count; i++)
    day_result_free(&r->at[i]);
  free(r->at);
  names_clear(&r->categories);
  *r = (struct day_results){0};
}

enum kpi_code engine_compute(struct engine *e, const struct job *job, const struct source_listing *listing,
                             struct day_results *out, struct err *err) {
  return e->vtable->compute(e, job, listing, out, err);
}

enum kpi_code engine_discard(struct engine *e, const struct unwanted_job *job, const struct stop_flag *stop,
                             bool *over, struct err *err) {
  *over = !e->vtable->discard;
  return *over ? KPI_OK : e->vtable->discard(e, job, stop, over, err);
}

enum engine_kind engines_choose(const struct engines *e, enum engine_kind asked, uint64_t bytes) {
  if (asked != ENGINE_AUTO)
    return asked;
  return e->spark && bytes > e->native_max_bytes ? ENGINE_SPARK : ENGINE_NATIVE;
}

void engines_explain(const struct engines *e, enum engine_kind asked, uint64_t bytes,
                     char out[ENGINE_REASON_SIZE]) {
  if (asked != ENGINE_AUTO)
    snprintf(out, ENGINE_REASON_SIZE, "%s is what was asked for", engine_kind_name(asked));
  else if (!e->spark)
    snprintf(out, ENGINE_REASON_SIZE, "auto: there is no Spark cluster, KPI_SPARK_KIND is not set");
  else
    snprintf(out, ENGINE_REASON_SIZE, "auto: %llu bytes of input are %s than KPI_NATIVE_MAX_BYTES, %llu",
             (unsigned long long)bytes, bytes > e->native_max_bytes ? "more" : "not more",
             (unsigned long long)e->native_max_bytes);
}

enum kpi_code engines_get(const struct engines *e, enum engine_kind chosen, struct engine **out,
                          struct err *err) {
  *out = chosen == ENGINE_SPARK ? e->spark : e->native;
  return *out ? KPI_OK
              : err_set(err, KPI_ENGINE_UNAVAILABLE, "there is no Spark cluster: KPI_SPARK_KIND is not set");
}

void engine_free(struct engine *e) {
  if (e)
    e->vtable->free(e);
}
