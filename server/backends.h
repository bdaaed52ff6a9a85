/* SPDX-License-Identifier: MIT
 * The outside world as the settings name it: source, its cache, publisher and Spark cluster, and the
 * connection to AWS where one of them needs it. Used by the service and by the command line. */
#ifndef KPID_SERVER_BACKENDS_H
#define KPID_SERVER_BACKENDS_H

#include "pipeline/dynamodb_tables.h"
#include "pipeline/engine_spark.h"
#include "pipeline/object_cache.h"
#include "pipeline/publish.h"
#include "pipeline/source.h"
#include "server/config.h"
#include "server/db.h"

/* Zero-initialise; backends_close releases it. */
struct backends {
  struct aws *aws;             /* NULL when nothing needs it */
  struct source *source;       /* NULL when none is configured */
  struct object_cache *cache;  /* NULL when none is configured */
  struct publisher *publisher; /* NULL without a database */
  struct engine *spark;        /* NULL when no cluster is configured */
  struct {
    struct spark_job_file file;
    struct spark_property *properties; /* of the file */
    char *names;                       /* of the properties */
    char sha256[SHA256_HEX_SIZE];
  } spark_job; /* what the cluster borrows */
};

/* Opens what the settings name, without talking to anybody yet. Publishing needs db (borrowed; NULL: no
 * publisher). Errors: KPI_CONFIG_INVALID, KPI_OUT_OF_MEMORY; what was opened until then is in *out. */
KPI_MUST_CHECK enum kpi_code backends_open(const struct config *config, struct db *db, struct backends *out,
                                           struct err *err);

/* Returns the names of the tables that the settings name; they borrow from config. */
struct dynamodb_tables backends_tables(const struct config *config);

/* Returns the bytes of kpi_job.py, as this version needs it. */
struct view backends_spark_job(void);

/* Accepts a zeroed one. */
void backends_close(struct backends *b);

#endif
