/* SPDX-License-Identifier: MIT
 * From the files that a Spark job has left to the results of its days: checks that they are whole and of this
 * very attempt, then goes on with the same formulas and quality checks as the native engine. The format:
 * pipeline/spark/README.md. */
#ifndef KPID_PIPELINE_SPARK_COLLECT_H
#define KPID_PIPELINE_SPARK_COLLECT_H

#include "pipeline/engine.h"

/* The files of an attempt, wherever they lie. */
struct spark_files {
  void *arg;
  /* Appends a file, by its name below the attempt's prefix. Errors: any; a file that is not there is one. */
  enum kpi_code (*read)(void *arg, const char *name, struct buf *out, struct err *err);
};

/* What the files must be of. Borrows all. */
struct spark_attempt {
  const char *run_id;
  uint32_t number;
  const char *spec_sha256; /* hex, of the bytes of its spec.json */
};

/* Reads the files that the manifest names, `manifest` being its bytes. Counts beats of the job's progress
 * while it does, and ends when the job is stopped. Errors, with an empty *out: KPI_ENGINE_FAILED for what is
 * damaged, or of another run, attempt or input; those of `files`, of a stop, and KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code spark_collect(const struct job *job, const struct source_listing *listing,
                                           const struct spark_attempt *attempt, struct view manifest,
                                           const struct spark_files *files, struct day_results *out,
                                           struct err *err);

#endif
