/* SPDX-License-Identifier: MIT */
#include "pipeline/publish_plain.h"

#include "aws/dynamodb.h"
#include "base/clock.h"

enum { UNPROCESSED_TRIES = 8, UNPROCESSED_MS = 50 };

static json_t *put_request(const struct publish_target *t, enum kpi_table table, const struct kpi_row *row,
                           const struct item_stamp *stamp) {
  return json_pack("{s:{s:o}}", "PutRequest", "Item", dynamodb_kpi_item(row, table, t->shape, stamp));
}

/* Takes what a reply left undone. Returns owned, NULL when nothing was; *count says how many items. */
static json_t *unprocessed_of(json_t *reply, const char *table, size_t *count) {
  json_t *left = json_object_get(json_object_get(reply, "UnprocessedItems"), table);
  *count = json_array_size(left);
  return *count ? json_incref(left) : NULL;
}

/* Writes one batch to its end: what DynamoDB leaves undone is sent again, later and later. Takes requests. */
static enum kpi_code write_batch(const struct publish_target *t, const char *table, json_t *requests,
                                 const struct publish_order *order, struct err *err) {
  for (unsigned i = 0;; i++) {
    json_t *reply = NULL;
    size_t sent = json_array_size(requests), left;
    json_t *body = json_pack("{s:{s:o}}", "RequestItems", table, requests);
    enum kpi_code rc = dynamodb_call(t->aws, "BatchWriteItem", body, order->abandon, &reply, NULL, err);
    if (rc)
      return rc;
    requests = unprocessed_of(reply, table, &left);
    json_decref(reply);
    if (order->progress)
      atomic_fetch_add(&order->progress->items_published, sent > left ? sent - left : 0);
    if (!requests)
      return KPI_OK;
    if (left < sent)
      i = 0; /* it goes on, slowly */
    else if (i == UNPROCESSED_TRIES || !aws_retry_allowed(t->aws, AWS_DYNAMODB)) {
      json_decref(requests);
      err_set(err, KPI_DYNAMODB_THROTTLED, "%s: %zu items stay unprocessed", table, left);
      aws_error_place(AWS_DYNAMODB, "BatchWriteItem", err);
      return err->code;
    }
    aws_backoff(UNPROCESSED_MS, i, order->abandon);
  }
}

static enum kpi_code write_table(const struct publish_target *t, enum kpi_table table,
                                 const struct publish_order *order, const struct item_stamp *stamp,
                                 struct err *err) {
  const struct kpi_rows *rows = &order->result->tables[table];
  for (size_t at = 0; at < rows->count;) {
    json_t *requests = json_array();
    for (int n = 0; n < DYNAMODB_BATCH_MAX && at < rows->count; n++, at++)
      if (json_array_append_new(requests, put_request(t, table, &rows->rows[at], stamp)) != 0) {
        json_decref(requests);
        return err_set(err, KPI_OUT_OF_MEMORY, "no memory to publish");
      }
    enum kpi_code rc = write_batch(t, t->tables.kpi[table], requests, order, err);
    if (rc)
      return rc;
  }
  return KPI_OK;
}

enum kpi_code publish_plain(const struct publish_target *t, const struct publish_order *order,
                            struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  static const enum kpi_table sequence[] = {KPI_CATEGORIES, KPI_ORDERS};
  char now[CLOCK_RFC3339_SIZE];
  struct item_stamp stamp = {order->run_id, clock_rfc3339(clock_wall_ms(), now), 0};
  if (order->progress)
    atomic_store(&order->progress->items_total,
                 order->result->tables[KPI_ORDERS].count + order->result->tables[KPI_CATEGORIES].count);
  for (int i = 0; i < KPI_TABLE_COUNT; i++) {
    enum kpi_code rc = write_table(t, sequence[i], order, &stamp, err);
    if (rc)
      return rc;
    out[sequence[i]].put = order->result->tables[sequence[i]].count;
  }
  return KPI_OK;
}
