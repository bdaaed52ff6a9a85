/* SPDX-License-Identifier: MIT */
#include "pipeline/publish_dynamodb.h"

#include "aws/dynamodb.h"
#include "base/log.h"
#include "base/scope.h"
#include "pipeline/publish_atomic.h"
#include "pipeline/publish_plain.h"

/* The publisher: which of the two ways, and what is common to both. */
struct publish_dynamodb {
  struct publisher base;
  struct publish_target target;
  enum publish_mode mode;
  struct publisher *then; /* owned */
  struct {
    pthread_mutex_t lock;
    bool keys_checked;
  } synced;
};

/* One day: the observation of the control table (atomic only), and that of the publisher that follows. */
struct dynamodb_publication {
  struct publication base;
  struct publish_dynamodb *publisher;
  day_t day;
  struct control_row observed;
  struct publication *then; /* owned */
};

static void publication_release(struct publication *base) {
  struct dynamodb_publication *p = (struct dynamodb_publication *)base;
  control_row_clear(&p->observed);
  publication_free(p->then);
  free(p);
}

static enum kpi_code dynamodb_publish(struct publication *base, const struct publish_order *order,
                                      struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  struct dynamodb_publication *p = (struct dynamodb_publication *)base;
  struct publish_dynamodb *d = p->publisher;
  struct publish_counts ignored[KPI_TABLE_COUNT];
  enum kpi_code rc = d->mode == PUBLISH_ATOMIC
                         ? publish_atomic(&d->target, p->day, &p->observed, order, out, err)
                         : publish_plain(&d->target, order, out, err);
  return rc ? rc : publication_publish(p->then, order, ignored, err);
}

static const struct publication_vtable publication_vtable = {dynamodb_publish, publication_release};

/* Once: a table with other keys is refused before anything is written. Who may not describe tables is
 * believed. */
static enum kpi_code check_keys(struct publish_dynamodb *d, struct err *err) {
  size_t count;
  pthread_mutex_lock(&d->synced.lock);
  bool checked = d->synced.keys_checked;
  pthread_mutex_unlock(&d->synced.lock);
  if (checked)
    return KPI_OK;
  enum kpi_code rc = dynamodb_tables_check(d->target.aws, &d->target.tables, NULL, &count, err);
  if (rc == KPI_DYNAMODB_ACCESS_DENIED) {
    log_at(LOG_WARN, "publish.keys_not_checked", err->message);
    rc = KPI_OK;
  }
  SCOPE_LOCK(&d->synced.lock);
  d->synced.keys_checked = rc == KPI_OK;
  return rc;
}

/* A date that this protocol has not published yet may have been published by the replaced job. */
static enum kpi_code observe_order_row(struct publish_dynamodb *d, struct dynamodb_publication *p,
                                       const struct stop_flag *stop, struct err *err) {
  json_t *reply = NULL;
  json_t *body = json_pack("{s:s, s:o, s:b, s:s}", "TableName", d->target.tables.kpi[KPI_ORDERS], "Key",
                           dynamodb_kpi_key(KPI_ORDERS, p->day, (struct view){0}), "ConsistentRead", 1,
                           "ProjectionExpression", "total_orders");
  enum kpi_code rc = dynamodb_call(d->target.aws, "GetItem", body, stop, &reply, NULL, err);
  p->base.orders = 0;
  if (rc == KPI_OK)
    dynamodb_get_count(json_object_get(reply, "Item"), "total_orders", &p->base.orders);
  json_decref(reply);
  return rc;
}

static enum kpi_code observe(struct publish_dynamodb *d, struct dynamodb_publication *p,
                             const struct stop_flag *stop, struct err *err) {
  enum kpi_code rc = check_keys(d, err);
  if (rc == KPI_OK)
    rc = publish_control_get(&d->target, p->day, stop, &p->observed, err);
  if (rc == KPI_OK && p->observed.control.version == 0)
    return observe_order_row(d, p, stop, err);
  p->base.orders = p->observed.orders;
  return rc;
}

static enum kpi_code dynamodb_begin(struct publisher *base, day_t day, const struct stop_flag *stop,
                                    struct publication **out, struct err *err) {
  struct publish_dynamodb *d = (struct publish_dynamodb *)base;
  struct dynamodb_publication *p = calloc(1, sizeof *p);
  if (!p)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to publish");
  *p = (struct dynamodb_publication){.base = {.vtable = &publication_vtable}, .publisher = d, .day = day};
  enum kpi_code rc = publisher_begin(d->then, day, stop, &p->then, err);
  if (rc == KPI_OK) {
    p->base.is_guarded = true;
    p->base.orders = p->then->orders;
    if (d->mode == PUBLISH_ATOMIC)
      rc = observe(d, p, stop, err);
  }
  if (rc) {
    publication_release(&p->base);
    return rc;
  }
  *out = &p->base;
  return KPI_OK;
}

static void dynamodb_free(struct publisher *base) {
  struct publish_dynamodb *d = (struct publish_dynamodb *)base;
  publisher_free(d->then);
  pthread_mutex_destroy(&d->synced.lock);
  free(d);
}

static const struct publisher_vtable publisher_vtable = {dynamodb_begin, dynamodb_free};

struct publisher *publish_dynamodb_new(struct aws *aws, const struct publish_dynamodb_options *options,
                                       struct publisher *then) {
  struct publish_dynamodb *d = calloc(1, sizeof *d);
  if (!d || !then) {
    free(d);
    publisher_free(then);
    return NULL;
  }
  d->base.vtable = &publisher_vtable;
  d->target = (struct publish_target){aws, options->tables, options->shape};
  d->mode = options->mode;
  d->then = then;
  pthread_mutex_init(&d->synced.lock, NULL);
  return &d->base;
}
