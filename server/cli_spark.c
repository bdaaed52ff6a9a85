/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/scope.h"
#include "pipeline/spark_store.h"
#include "server/backends.h"

#include <string.h>
#include <unistd.h>

enum { REQUESTS = 4 };

/* Writes the job's file into the folder that its URI names. */
static enum kpi_code put_job(const char *uri, struct aws *aws, struct err *err) {
  const char *name = strrchr(uri, '/') + 1;
  auto_free char *folder = strndup(uri, (size_t)(name - uri) - 1);
  struct spark_store *store;
  if (!folder)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the URI");
  enum kpi_code rc = spark_store_new(folder, aws, &store, err);
  if (rc)
    return rc;
  rc = spark_store_put(store, name, backends_spark_job(), NULL, err);
  spark_store_free(store);
  return rc;
}

static enum kpi_code install(const struct config *config, struct err *err) {
  const char *uri = config->spark.job_uri;
  struct aws *aws = NULL;
  if (!uri)
    return err_set(err, KPI_CONFIG_INVALID, "KPI_SPARK_JOB_URI is not set");
  enum kpi_code rc = source_needs_aws(uri) ? aws_new(REQUESTS, &aws, err) : KPI_OK;
  if (rc == KPI_OK)
    rc = put_job(uri, aws, err);
  aws_free(aws);
  return rc;
}

int cli_spark(int argc, char **argv) {
  struct config config;
  struct err err;
  char sha256[SHA256_HEX_SIZE];
  if (argc != 2 || strcmp(argv[1], "install") != 0)
    return cli_usage_error("spark takes install");
  log_init(LOG_ERROR, STDERR_FILENO);
  if (config_load(&config, &err) || install(&config, &err))
    return cli_fail(&err);
  crypto_sha256_hex(backends_spark_job(), sha256);
  return cli_say("%s: sha256 %s\n", config.spark.job_uri, sha256);
}
