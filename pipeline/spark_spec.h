/* SPDX-License-Identifier: MIT
 * Writes what a Spark job is asked to do, spec.json. The format: pipeline/spark/README.md. */
#ifndef KPID_PIPELINE_SPARK_SPEC_H
#define KPID_PIPELINE_SPARK_SPEC_H

#include "pipeline/engine.h"

/* What a spec says beside the job. Borrows all. */
struct spark_spec {
  const char *owner;
  uint32_t number;
  const struct day_set *days;
  const char *job_sha256; /* hex, of kpi_job.py */
  const char *s3_scheme;  /* "s3", "s3a" */
};

/* Appends the spec. The same spec, job and listing give the same bytes. */
void spark_spec_write(const struct spark_spec *spec, const struct job *job,
                      const struct source_listing *listing, struct buf *out);

/* Reads the days of a spec that was written so, and nothing else of it: it may be large. Errors:
 * KPI_ENGINE_FAILED when it is none, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code spark_spec_days(struct view spec, struct day_set *out, struct err *err);

#endif
