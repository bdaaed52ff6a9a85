/* SPDX-License-Identifier: MIT */
#include "server/backends.h"

#include "pipeline/publish_dynamodb.h"
#include "server/assets.h"
#include "server/publish_local.h"

#include <string.h>

/* Requests beside the downloads: credentials, listings, publishing. */
enum { OTHER_REQUESTS = 32, STANDALONE_REQUESTS = 8 };

struct view backends_spark_job(void) {
  return (struct view){(const char *)asset_kpi_job_py, asset_kpi_job_py_len};
}

struct dynamodb_tables backends_tables(const struct config *config) {
  struct dynamodb_tables t = {.control = NULL};
  t.kpi[KPI_CATEGORIES] = config->category_table;
  t.kpi[KPI_ORDERS] = config->order_table;
  if (!config->publish_plain || config->intents_in_dynamodb)
    t.control = config->control_table;
  return t;
}

static enum item_shape shape_of(const struct config *config) {
  if (!config->item_shape)
    return config->publish_plain ? SHAPE_ORIGINAL : SHAPE_FULL;
  return strcmp(config->item_shape, "original") == 0 ? SHAPE_ORIGINAL : SHAPE_FULL;
}

static struct publisher *open_publisher(const struct config *config, struct aws *aws, struct db *db) {
  struct publisher *local = publish_local_new(db);
  if (!config->publish_to_dynamodb)
    return local;
  struct publish_dynamodb_options options = {.tables = backends_tables(config),
                                             .mode = config->publish_plain ? PUBLISH_PLAIN : PUBLISH_ATOMIC,
                                             .shape = shape_of(config)};
  return publish_dynamodb_new(aws, &options, local);
}

/* ---- Spark ---- */

/* Sets a property of the name that a setting stands for: spark_executor_memory is spark.executor.memory.
 * Writes the name, and returns what follows it. */
static char *set_property(struct spark_property *p, struct view name, struct view value, char *to) {
  const size_t prefix = strlen(SPARK_CONF_PREFIX);
  *p = (struct spark_property){{to, name.len - prefix}, value};
  for (size_t i = prefix; i < name.len; i++)
    *to++ = (char)(name.ptr[i] == '_' ? '.' : name.ptr[i]);
  return to;
}

static enum kpi_code read_spark_properties(struct backends *b, size_t *count, struct err *err) {
  struct view name, value;
  size_t bytes = 1, most = 1;
  for (size_t at = 0; config_next_spark(&at, &name, &value); most++)
    bytes += name.len;
  b->spark_job.names = malloc(bytes);
  b->spark_job.properties = calloc(most, sizeof *b->spark_job.properties);
  if (!b->spark_job.names || !b->spark_job.properties)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the settings of Spark");
  char *to = b->spark_job.names;
  for (size_t at = 0; config_next_spark(&at, &name, &value);)
    to = set_property(&b->spark_job.properties[(*count)++], name, value, to);
  return KPI_OK;
}

static enum kpi_code open_cluster(const struct spark_settings *s, struct aws *aws,
                                  const struct spark_job_file *file, struct spark_cluster **out,
                                  struct err *err) {
  if (s->kind == SPARK_EMR_SERVERLESS) {
    *out = spark_emr_new(aws, s->application_id, s->role_arn, file);
  } else {
    struct http_client *http;
    enum kpi_code rc = http_client_new(STANDALONE_REQUESTS, NULL, &http, err);
    if (rc)
      return rc;
    *out = spark_standalone_new(http, s->rest_url, s->master, s->token_file, file);
  }
  return *out ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the Spark cluster");
}

static enum kpi_code open_spark(const struct config *config, struct backends *out, struct err *err) {
  const struct spark_settings *s = &config->spark;
  struct spark_job_file *file = &out->spark_job.file;
  struct spark_options options = {.work_uri = s->work_uri, .job_sha256 = out->spark_job.sha256};
  crypto_sha256_hex(backends_spark_job(), out->spark_job.sha256);
  enum kpi_code rc = read_spark_properties(out, &file->property_count, err);
  if (rc)
    return rc;
  file->uri = s->job_uri;
  file->properties = out->spark_job.properties;
  rc = spark_store_new(s->work_uri, out->aws, &options.store, err);
  if (rc)
    return rc;
  rc = open_cluster(s, out->aws, file, &options.cluster, err);
  if (rc) {
    spark_store_free(options.store);
    return rc;
  }
  out->spark = engine_spark_new(&options);
  return out->spark ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for the Spark cluster");
}

/* ---- all ---- */

enum kpi_code backends_open(const struct config *config, struct db *db, struct backends *out,
                            struct err *err) {
  const struct spark_settings *spark = &config->spark;
  bool needs_aws = (config->source && source_needs_aws(config->source)) ||
                   spark->kind == SPARK_EMR_SERVERLESS ||
                   (spark->kind != SPARK_NONE && source_needs_aws(spark->work_uri)) ||
                   (db && (config->publish_to_dynamodb || config->intents_in_dynamodb));
  enum kpi_code rc = KPI_OK;
  if (needs_aws)
    rc = aws_new(config->s3_concurrency + OTHER_REQUESTS, &out->aws, err);
  if (rc == KPI_OK && config->source)
    rc = source_new(config->source, out->aws, config->s3_concurrency, &out->source, err);
  if (rc == KPI_OK && config->cache_dir)
    rc = object_cache_open(config->cache_dir, config->cache_max_bytes, &out->cache, err);
  if (rc == KPI_OK && spark->kind != SPARK_NONE)
    rc = open_spark(config, out, err);
  if (rc || !db)
    return rc;
  out->publisher = open_publisher(config, out->aws, db);
  return out->publisher ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the publisher");
}

void backends_close(struct backends *b) {
  engine_free(b->spark);
  free(b->spark_job.properties);
  free(b->spark_job.names);
  publisher_free(b->publisher);
  source_free(b->source);
  object_cache_close(b->cache);
  aws_free(b->aws);
  *b = (struct backends){0};
}
