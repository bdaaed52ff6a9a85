/* SPDX-License-Identifier: MIT */
#include "pipeline/dynamodb_tables.h"

#include <string.h>
#include <time.h>

enum { WAIT_TRIES = 150, WAIT_MS = 400 };

/* A table and its key: the second attribute is NULL when there is none. All are texts. */
struct table_keys {
  const char *name, *hash, *range;
};

static size_t list_tables(const struct dynamodb_tables *t, struct table_keys out[DYNAMODB_TABLE_COUNT]) {
  out[0] = (struct table_keys){t->kpi[KPI_CATEGORIES], "category", "order_date"};
  out[1] = (struct table_keys){t->kpi[KPI_ORDERS], "order_date", NULL};
  out[2] = (struct table_keys){t->control, "pk", NULL};
  return t->control ? 3 : 2;
}

static json_t *name_body(const char *name) {
  return json_pack("{s:s}", "TableName", name);
}

/* ---- checking ---- */

static enum kpi_code mismatch(const struct table_keys *k, const char *what, struct err *err) {
  err_set(err, KPI_DYNAMODB_SCHEMA_MISMATCH, "%s; it needs the keys %s (HASH, S)%s%s%s", what, k->hash,
          k->range ? " and " : "", k->range ? k->range : "", k->range ? " (RANGE, S)" : "");
  aws_error_place(AWS_DYNAMODB, "DescribeTable", err);
  return err->code;
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static bool key_is(const json_t *table, size_t index, const char *name, const char *type) {
  const json_t *key = json_array_get(json_object_get(table, "KeySchema"), index);
  return strcmp(text_of(key, "AttributeName"), name) == 0 && strcmp(text_of(key, "KeyType"), type) == 0;
}

static bool attribute_is_text(const json_t *table, const char *name) {
  size_t i;
  json_t *definition;
  json_t *all = json_object_get(table, "AttributeDefinitions");
  json_array_foreach(all, i, definition) if (strcmp(text_of(definition, "AttributeName"), name) ==
                                             0) return strcmp(text_of(definition, "AttributeType"), "S") == 0;
  return false;
}

static enum kpi_code check_keys(const struct table_keys *k, const json_t *table, struct err *err) {
  size_t keys = json_array_size(json_object_get(table, "KeySchema"));
  if (keys != (k->range ? 2U : 1U) || !key_is(table, 0, k->hash, "HASH") ||
      (k->range && !key_is(table, 1, k->range, "RANGE")))
    return mismatch(k, "the table has other keys", err);
  if (!attribute_is_text(table, k->hash) || (k->range && !attribute_is_text(table, k->range)))
    return mismatch(k, "a key is not of the type S", err);
  return KPI_OK;
}

/* Puts the table's name before what is wrong with it. */
static enum kpi_code name_table(const struct table_keys *k, struct err *err) {
  struct err why = *err;
  err_set(err, why.code, "%s: %s", k->name, why.message);
  err->remote = why.remote;
  return err->code;
}

static enum kpi_code describe(struct aws *a, const struct table_keys *k, bool *is_active, struct err *err) {
  json_t *reply = NULL;
  enum kpi_code rc = dynamodb_call(a, "DescribeTable", name_body(k->name), NULL, &reply, NULL, err);
  if (rc)
    return rc;
  const json_t *table = json_object_get(reply, "Table");
  const char *status = text_of(table, "TableStatus");
  *is_active = strcmp(status, "ACTIVE") == 0 || strcmp(status, "UPDATING") == 0;
  rc = check_keys(k, table, err);
  json_decref(reply);
  return rc;
}

enum kpi_code dynamodb_tables_check(struct aws *a, const struct dynamodb_tables *t,
                                    struct table_report report[DYNAMODB_TABLE_COUNT], size_t *count,
                                    struct err *err) {
  struct table_keys keys[DYNAMODB_TABLE_COUNT];
  *count = list_tables(t, keys);
  for (size_t i = 0; i < *count; i++) {
    bool is_active = false;
    enum kpi_code rc = describe(a, &keys[i], &is_active, err);
    if (rc == KPI_OK && !is_active)
      rc = err_set(err, KPI_DYNAMODB_UNAVAILABLE, "the table is not active yet");
    if (rc)
      return name_table(&keys[i], err);
    if (report)
      report[i] = (struct table_report){.name = keys[i].name, .finding = TABLE_OK};
  }
  return KPI_OK;
}

/* ---- creating ---- */

static json_t *create_body(const struct table_keys *k) {
  json_t *schema = json_pack("[{s:s, s:s}]", "AttributeName", k->hash, "KeyType", "HASH");
  json_t *attributes = json_pack("[{s:s, s:s}]", "AttributeName", k->hash, "AttributeType", "S");
  if (k->range) {
    json_array_append_new(schema, json_pack("{s:s, s:s}", "AttributeName", k->range, "KeyType", "RANGE"));
    json_array_append_new(attributes,
                          json_pack("{s:s, s:s}", "AttributeName", k->range, "AttributeType", "S"));
  }
  return json_pack("{s:s, s:s, s:o, s:o}", "TableName", k->name, "BillingMode", "PAY_PER_REQUEST",
                   "KeySchema", schema, "AttributeDefinitions", attributes);
}

static void pause_between_tries(void) {
  nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000L}, NULL);
}

static enum kpi_code wait_until_active(struct aws *a, const struct table_keys *k, struct err *err) {
  for (int i = 0; i < WAIT_TRIES; i++) {
    bool is_active = false;
    enum kpi_code rc = describe(a, k, &is_active, err);
    if (is_active || (rc && rc != KPI_DYNAMODB_TABLE_MISSING))
      return rc;
    pause_between_tries();
  }
  return err_set(err, KPI_DYNAMODB_UNAVAILABLE, "the table is not active after a minute");
}

/* A new table can be active before its backups can be switched on. Emulators do not know them: that is told,
 * and no reason to fail. */
static enum kpi_code switch_recovery_on(struct aws *a, const struct table_keys *k, enum table_recovery *out,
                                        struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (int i = 0; i < WAIT_TRIES; i++) {
    struct aws_error error;
    json_t *body = json_pack("{s:s, s:{s:b}}", "TableName", k->name, "PointInTimeRecoverySpecification",
                             "PointInTimeRecoveryEnabled", 1);
    rc = dynamodb_call(a, "UpdateContinuousBackups", body, NULL, NULL, &error, err);
    bool is_unsupported = rc && strcmp(error.code, "UnknownOperationException") == 0;
    if (rc == KPI_OK || is_unsupported) {
      *out = is_unsupported ? RECOVERY_UNSUPPORTED : RECOVERY_ON;
      return KPI_OK;
    }
    if (strcmp(error.code, "ContinuousBackupsUnavailableException") != 0)
      return rc;
    pause_between_tries();
  }
  return rc;
}

static enum kpi_code create_one(struct aws *a, const struct table_keys *k, struct table_report *out,
                                struct err *err) {
  struct aws_error error;
  enum kpi_code rc = dynamodb_call(a, "CreateTable", create_body(k), NULL, NULL, &error, err);
  bool existed = rc && strcmp(error.code, "ResourceInUseException") == 0;
  if (rc && !existed)
    return rc;
  if (!existed)
    out->finding = TABLE_CREATED;
  rc = wait_until_active(a, k, err);
  if (rc)
    return rc;
  if (existed)
    out->finding = TABLE_OK;
  return switch_recovery_on(a, k, &out->recovery, err);
}

enum kpi_code dynamodb_tables_create(struct aws *a, const struct dynamodb_tables *t,
                                     struct table_report report[DYNAMODB_TABLE_COUNT], size_t *count,
                                     struct err *err) {
  struct table_keys keys[DYNAMODB_TABLE_COUNT];
  enum kpi_code first = KPI_OK;
  *count = list_tables(t, keys);
  for (size_t i = 0; i < *count; i++) {
    struct err trouble = {0};
    report[i] = (struct table_report){.name = keys[i].name};
    if (create_one(a, &keys[i], &report[i], &trouble) == KPI_OK)
      continue;
    report[i].trouble = trouble;
    if (first == KPI_OK) {
      *err = trouble;
      first = name_table(&keys[i], err);
    }
  }
  return first;
}
