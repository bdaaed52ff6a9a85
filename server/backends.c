/* SPDX-License-Identifier: MIT */
#include "server/backends.h"

#include "pipeline/publish_dynamodb.h"
#include "server/publish_local.h"

#include <string.h>

/* Requests beside the downloads: credentials, listings, publishing. */
enum { OTHER_REQUESTS = 32 };

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

enum kpi_code backends_open(const struct config *config, struct db *db, struct backends *out,
                            struct err *err) {
  bool needs_aws = (config->source && source_needs_aws(config->source)) ||
                   (db && (config->publish_to_dynamodb || config->intents_in_dynamodb));
  enum kpi_code rc = KPI_OK;
  if (needs_aws)
    rc = aws_new(config->s3_concurrency + OTHER_REQUESTS, &out->aws, err);
  if (rc == KPI_OK && config->source)
    rc = source_new(config->source, out->aws, config->s3_concurrency, &out->source, err);
  if (rc == KPI_OK && config->cache_dir)
    rc = object_cache_open(config->cache_dir, config->cache_max_bytes, &out->cache, err);
  if (rc || !db)
    return rc;
  out->publisher = open_publisher(config, out->aws, db);
  return out->publisher ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the publisher");
}

void backends_close(struct backends *b) {
  publisher_free(b->publisher);
  source_free(b->source);
  object_cache_close(b->cache);
  aws_free(b->aws);
  *b = (struct backends){0};
}
