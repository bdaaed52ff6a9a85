/* SPDX-License-Identifier: MIT */
#include "pipeline/publish_atomic.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>

enum {
  TOKEN_SIZE = 37,
  CONFLICT_TRIES = 6,
  CONFLICT_MS = 50,
  NAMES_BYTES_MAX = 180 * 1024,
  CONTROL_BYTES_MAX = 380 * 1024, /* of the 400 KiB of an item */
  DIGEST_TEXT_MAX = 1024
};

/* One row to write or to delete. */
struct action {
  enum kpi_table table;
  const struct kpi_row *put; /* NULL: delete */
  struct view category;
};

/* A day on its way. */
struct publishing {
  const struct publish_target *target;
  const struct control_row *observed;
  const struct publish_order *order;
  day_t day;
  char pk[CONTROL_PK_SIZE], published_at[CLOCK_RFC3339_SIZE], digest[SHA256_HEX_SIZE];
  struct names categories; /* that will be published */
  struct names touched;    /* and those that a publication under way may have written */
  struct names stale;      /* to be deleted */
  struct action *actions;  /* owned */
  size_t action_count;
  struct publish_flow flow;
};

/* ---- the control row ---- */

static enum kpi_code name_row(const char *table, const char *pk, struct err *err) {
  struct err why = *err;
  err_set(err, why.code, "%s %s: %s", table, pk, why.message);
  err->remote = why.remote;
  return err->code;
}

enum kpi_code publish_control_get(const struct publish_target *t, day_t day, const struct stop_flag *stop,
                                  struct control_row *out, struct err *err) {
  char pk[CONTROL_PK_SIZE];
  json_t *reply = NULL;
  control_pk(day, pk);
  control_row_clear(out);
  json_t *body = json_pack("{s:s, s:o, s:b}", "TableName", t->tables.control, "Key", control_key(pk),
                           "ConsistentRead", 1);
  enum kpi_code rc = dynamodb_call(t->aws, "GetItem", body, stop, &reply, NULL, err);
  if (rc)
    return name_row(t->tables.control, pk, err);
  if (!control_row_read(json_object_get(reply, "Item"), out))
    rc = err_set(err, KPI_DYNAMODB_SCHEMA_MISMATCH, "%s %s: this is no control row of kpid",
                 t->tables.control, pk);
  json_decref(reply);
  return rc;
}

/* The condition that the row is still as observed, with the values it compares with. */
static const char *observed_condition(const struct publish_control *c, json_t *values) {
  if (c->version)
    json_object_set_new(values, ":observed", dynamodb_count(c->version));
  if (c->pending)
    json_object_set_new(values, ":theirs", dynamodb_text(view_of(c->pending_id)));
  if (c->version)
    return c->pending ? "ver = :observed AND pending_id = :theirs"
                      : "ver = :observed AND attribute_not_exists(pending_id)";
  return c->pending ? "attribute_not_exists(ver) AND pending_id = :theirs"
                    : "attribute_not_exists(ver) AND attribute_not_exists(pending_id)";
}

/* An update of the control row, as a transaction and UpdateItem take it. */
static json_t *control_update(const struct publishing *p, const char *update, const char *condition,
                              json_t *values) {
  return json_pack("{s:s, s:o, s:s, s:s, s:o}", "TableName", p->target->tables.control, "Key",
                   control_key(p->pk), "UpdateExpression", update, "ConditionExpression", condition,
                   "ExpressionAttributeValues", values);
}

static json_t *commit_update(const struct publishing *p, bool is_begun) {
  const struct job_result *result = p->order->result;
  uint64_t orders = result->tables[KPI_ORDERS].count ? result->tables[KPI_ORDERS].rows[0].orders : 0;
  json_t *values =
      json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", ":version", dynamodb_count(p->flow.version), ":run",
                dynamodb_text(view_of(p->order->run_id)), ":id", dynamodb_text(view_of(p->flow.id)),
                ":digest", dynamodb_text(view_of(p->digest)), ":orders", dynamodb_count(orders),
                ":categories", control_names(&p->categories), ":at", dynamodb_text(view_of(p->published_at)));
  const char *condition = is_begun ? "pending_id = :id" : observed_condition(&p->flow.observed, values);
  return control_update(
      p,
      "SET ver = :version, run_id = :run, publish_id = :id, digest = :digest, orders = :orders, "
      "categories = :categories, published_at = :at REMOVE pending, pending_id, pending_run, "
      "pending_categories",
      condition, values);
}

static json_t *begin_update(const struct publishing *p) {
  json_t *values = json_pack("{s:o, s:o, s:o, s:o}", ":version", dynamodb_count(p->flow.version), ":run",
                             dynamodb_text(view_of(p->order->run_id)), ":id",
                             dynamodb_text(view_of(p->flow.id)), ":categories", control_names(&p->touched));
  return control_update(
      p, "SET pending = :version, pending_id = :id, pending_run = :run, pending_categories = :categories",
      observed_condition(&p->flow.observed, values), values);
}

static json_t *pending_check(const struct publishing *p) {
  return json_pack("{s:{s:s, s:o, s:s, s:{s:o}}}", "ConditionCheck", "TableName", p->target->tables.control,
                   "Key", control_key(p->pk), "ConditionExpression", "pending_id = :id",
                   "ExpressionAttributeValues", ":id", dynamodb_text(view_of(p->flow.id)));
}

/* ---- what has to be written ---- */

static bool collect_categories(struct publishing *p) {
  const struct kpi_rows *rows = &p->order->result->tables[KPI_CATEGORIES];
  for (size_t i = 0; i < rows->count; i++)
    if (!names_add(&p->categories, rows->rows[i].category))
      return false;
  names_seal(&p->categories);
  bool ok = names_add_all(&p->touched, &p->categories) &&
            names_add_all(&p->touched, &p->observed->pending_categories);
  names_seal(&p->touched);
  return ok;
}

static bool add_stale(struct publishing *p, const struct names *from) {
  for (size_t i = 0; i < from->count; i++)
    if (!names_has(&p->categories, from->at[i]) && !names_add(&p->stale, from->at[i]))
      return false;
  return true;
}

/* Rows that may be there and shall not be: of what is published, of a publication that was begun, and, for a
 * date that this protocol has never published, of every category there is. Deleting what is not there does no
 * harm. */
static bool collect_stale(struct publishing *p) {
  bool ok = add_stale(p, &p->observed->categories) && add_stale(p, &p->observed->pending_categories);
  if (p->observed->control.version == 0)
    ok = ok && add_stale(p, &p->order->result->categories);
  names_seal(&p->stale);
  return ok;
}

static bool plan_actions(struct publishing *p) {
  const struct kpi_rows *orders = &p->order->result->tables[KPI_ORDERS];
  const struct kpi_rows *categories = &p->order->result->tables[KPI_CATEGORIES];
  p->actions = calloc(1 + categories->count + p->stale.count, sizeof *p->actions);
  if (!p->actions)
    return false;
  p->actions[p->action_count++] = (struct action){KPI_ORDERS, orders->count ? &orders->rows[0] : NULL, {0}};
  for (size_t i = 0; i < categories->count; i++)
    p->actions[p->action_count++] =
        (struct action){KPI_CATEGORIES, &categories->rows[i], categories->rows[i].category};
  for (size_t i = 0; i < p->stale.count; i++)
    p->actions[p->action_count++] = (struct action){KPI_CATEGORIES, NULL, p->stale.at[i]};
  return true;
}

static size_t names_bytes(const struct names *names) {
  size_t bytes = 0;
  for (size_t i = 0; i < names->count; i++)
    bytes += names->at[i].len + 3;
  return bytes;
}

/* What is published depends on the rows, on their shape and on where they go. */
static bool make_digest(struct publishing *p) {
  char rows[SHA256_HEX_SIZE], text[DIGEST_TEXT_MAX];
  if (!kpi_tables_digest(p->order->result->tables, rows))
    return false;
  const char *const *tables = p->target->tables.kpi;
  int n = snprintf(text, sizeof text, "%s %d %s %s", rows, (int)p->target->shape, tables[KPI_ORDERS],
                   tables[KPI_CATEGORIES]);
  crypto_sha256_hex((struct view){text, (size_t)n}, p->digest);
  return true;
}

/* The control row holds the names of what is published and of what is pending. A day's own must leave room
 * for as many again. */
static enum kpi_code check_sizes(const struct publishing *p, struct err *err) {
  size_t own = names_bytes(&p->categories);
  size_t all = names_bytes(&p->observed->categories) + names_bytes(&p->touched);
  if (own <= NAMES_BYTES_MAX && all <= CONTROL_BYTES_MAX)
    return KPI_OK;
  return err_set(
      err, KPI_DYNAMODB_VALIDATION,
      "the names of the %zu categories of the day have %zu bytes (with those published and pending "
      "%zu), more than the %d (%d) that fit into a control row; KPI_PUBLISH_MODE=plain has no such "
      "limit",
      p->categories.count, own, all, NAMES_BYTES_MAX, CONTROL_BYTES_MAX);
}

static enum kpi_code prepare(struct publishing *p, struct err *err) {
  char id[UUID_TEXT_SIZE];
  control_pk(p->day, p->pk);
  clock_rfc3339(clock_wall_ms(), p->published_at);
  if (!collect_categories(p) || !collect_stale(p) || !plan_actions(p) || !make_digest(p))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to publish");
  enum kpi_code rc = check_sizes(p, err);
  if (rc)
    return rc;
  crypto_uuid7(id);
  publish_flow_start(&p->flow, id, &p->observed->control, p->action_count, DYNAMODB_TRANSACTION_MAX);
  return KPI_OK;
}

static void publishing_clear(struct publishing *p) {
  names_clear(&p->categories);
  names_clear(&p->touched);
  names_clear(&p->stale);
  free(p->actions);
}

/* ---- steps ---- */

static json_t *row_action(const struct publishing *p, const struct action *a) {
  const char *table = p->target->tables.kpi[a->table];
  struct item_stamp stamp = {p->order->run_id, p->published_at, p->flow.version};
  if (a->put)
    return json_pack("{s:{s:s, s:o}}", "Put", "TableName", table, "Item",
                     dynamodb_kpi_item(a->put, a->table, p->target->shape, &stamp));
  return json_pack("{s:{s:s, s:o}}", "Delete", "TableName", table, "Key",
                   dynamodb_kpi_key(a->table, p->day, a->category));
}

/* A transaction that is sent twice is done once: its token is that of publication, version and first row. */
static void make_token(const struct publishing *p, size_t first, char token[TOKEN_SIZE]) {
  char text[DIGEST_TEXT_MAX], hash[SHA256_HEX_SIZE];
  int n = snprintf(text, sizeof text, "%s %llu %zu", p->flow.id, (unsigned long long)p->flow.version, first);
  crypto_sha256_hex((struct view){text, (size_t)n}, hash);
  snprintf(token, TOKEN_SIZE, "%.36s", hash);
}

static json_t *transaction(const struct publishing *p, const struct publish_step *step) {
  char token[TOKEN_SIZE];
  json_t *items = json_array();
  json_t *control = step->act == PUBLISH_CHUNK
                        ? pending_check(p)
                        : json_pack("{s:o}", "Update", commit_update(p, step->act == PUBLISH_COMMIT));
  bool ok = json_array_append_new(items, control) == 0;
  for (size_t i = 0; i < step->count && ok; i++)
    ok = json_array_append_new(items, row_action(p, &p->actions[step->first + i])) == 0;
  make_token(p, step->first, token);
  if (ok)
    return json_pack("{s:o, s:s}", "TransactItems", items, "ClientRequestToken", token);
  json_decref(items);
  return NULL;
}

/* Sends a step. Others that write the same rows at the same time are waited for a little. */
static enum kpi_code send(const struct publishing *p, const struct publish_step *step,
                          struct aws_error *error, struct err *err) {
  for (unsigned i = 0;; i++) {
    enum kpi_code rc = step->act == PUBLISH_BEGIN
                           ? dynamodb_call(p->target->aws, "UpdateItem", begin_update(p), p->order->abandon,
                                           NULL, error, err)
                           : dynamodb_call(p->target->aws, "TransactWriteItems", transaction(p, step),
                                           p->order->abandon, NULL, error, err);
    bool conflict =
        rc && aws_error_has_reason(error, REASON_CONFLICT) && !aws_error_has_reason(error, REASON_CONDITION);
    if (!conflict || i == CONFLICT_TRIES || !aws_retry_allowed(p->target->aws, AWS_DYNAMODB))
      return rc;
    aws_backoff(CONFLICT_MS, i, p->order->abandon);
  }
}

/* True when a failure leaves open whether the step was done. */
static bool is_open(enum kpi_code rc) {
  return rc == KPI_DYNAMODB_UNAVAILABLE || rc == KPI_DYNAMODB_THROTTLED;
}

static bool same_control(const struct publish_control *a, const struct publish_control *b) {
  return a->version == b->version && a->pending == b->pending &&
         strcmp(a->published_id, b->published_id) == 0 && strcmp(a->pending_id, b->pending_id) == 0;
}

/* After a refusal or a failure: the control row tells what has happened. A failure that has changed nothing
 * stays a failure. */
static enum kpi_code look(struct publishing *p, enum kpi_code failure, struct err *err) {
  struct control_row now = {0};
  struct err look_err;
  publish_flow_unsure(&p->flow);
  enum kpi_code rc = publish_control_get(p->target, p->day, p->order->abandon, &now, &look_err);
  if (rc == KPI_OK)
    publish_flow_look(&p->flow, &now.control);
  bool is_told = p->flow.next == PUBLISH_DONE || p->flow.refused == PUBLISH_BEGIN;
  if (p->flow.next == PUBLISH_SUPERSEDED)
    is_told = !same_control(&now.control, &p->flow.observed);
  bool go_on = rc == KPI_OK && (failure == KPI_OK || is_told);
  control_row_clear(&now);
  if (go_on)
    return KPI_OK;
  if (failure)
    return failure;
  *err = look_err;
  return rc;
}

static void count_progress(const struct publishing *p, const struct publish_step *step) {
  if (p->order->progress)
    atomic_fetch_add(&p->order->progress->items_published, step->count);
}

static enum kpi_code take_step(struct publishing *p, const struct publish_step *step, struct err *err) {
  struct aws_error error = {0};
  enum kpi_code rc = send(p, step, &error, err);
  if (rc == KPI_OK) {
    publish_flow_done(&p->flow);
    count_progress(p, step);
    return KPI_OK;
  }
  if (aws_error_is_condition(&error))
    return look(p, KPI_OK, err);
  return is_open(rc) ? look(p, rc, err) : rc;
}

static enum kpi_code run_flow(struct publishing *p, struct err *err) {
  for (;;) {
    struct publish_step step = publish_flow_next(&p->flow);
    if (step.act == PUBLISH_DONE)
      return KPI_OK;
    if (step.act == PUBLISH_SUPERSEDED)
      return err_set(err, KPI_NEWER_RUN_PUBLISHED,
                     "%s: another run has published this date since the inputs were listed", p->pk);
    enum kpi_code rc = take_step(p, &step, err);
    if (rc)
      return rc;
  }
}

/* ---- the whole ---- */

static void tell_counts(const struct publishing *p, bool unchanged,
                        struct publish_counts out[KPI_TABLE_COUNT]) {
  const struct job_result *result = p->order->result;
  for (int t = 0; t < KPI_TABLE_COUNT; t++) {
    uint64_t rows = result->tables[t].count;
    out[t] = unchanged ? (struct publish_counts){.unchanged = rows} : (struct publish_counts){.put = rows};
  }
  if (unchanged)
    return;
  out[KPI_ORDERS].deleted = result->tables[KPI_ORDERS].count == 0 && p->observed->orders > 0;
  for (size_t i = 0; i < p->stale.count; i++) /* what was there for sure */
    out[KPI_CATEGORIES].deleted += names_has(&p->observed->categories, p->stale.at[i]);
}

enum kpi_code publish_atomic(const struct publish_target *t, day_t day, const struct control_row *observed,
                             const struct publish_order *order, struct publish_counts out[KPI_TABLE_COUNT],
                             struct err *err) {
  struct publishing p = {.target = t, .observed = observed, .order = order, .day = day};
  enum kpi_code rc = prepare(&p, err);
  bool unchanged = rc == KPI_OK && !order->force && observed->control.version > 0 &&
                   observed->control.pending == 0 && strcmp(observed->digest, p.digest) == 0;
  if (rc == KPI_OK && !unchanged) {
    if (order->progress)
      atomic_store(&order->progress->items_total, p.action_count);
    rc = run_flow(&p, err);
  }
  if (rc == KPI_OK)
    tell_counts(&p, unchanged, out);
  publishing_clear(&p);
  return rc;
}
