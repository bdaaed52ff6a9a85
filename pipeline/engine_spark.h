/* SPDX-License-Identifier: MIT
 * The engine that has a Spark cluster compute: writes the spec, submits the job, follows it, and goes on from
 * the files that it leaves. Of a job only its manifest counts, whatever the cluster says of it. The contract:
 * pipeline/spark/README.md. */
#ifndef KPID_PIPELINE_ENGINE_SPARK_H
#define KPID_PIPELINE_ENGINE_SPARK_H

#include "pipeline/engine.h"
#include "pipeline/spark_cluster.h"
#include "pipeline/spark_store.h"

struct spark_options {
  struct spark_cluster *cluster;
  struct spark_store *store; /* of work_uri */
  const char *work_uri;      /* where jobs find their specs, as the settings have it; borrowed */
  const char *job_sha256;    /* hex, of kpi_job.py; borrowed */
};

/* Takes cluster and store. Returns owned, NULL when memory is exhausted: then they are freed. */
struct engine *engine_spark_new(const struct spark_options *options);

#endif
