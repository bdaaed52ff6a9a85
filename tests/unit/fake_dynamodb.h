/* SPDX-License-Identifier: MIT
 * A DynamoDB in memory behind a transport: items by table and key, transactions that happen wholly or not at
 * all, the conditions that kpid uses, and faults on demand. */
#ifndef KPID_TESTS_FAKE_DYNAMODB_H
#define KPID_TESTS_FAKE_DYNAMODB_H

#include "aws_env.h"

#include "aws/aws_call.h"
#include "base/scope.h"

#include <jansson.h>

enum fake_fault {
  FAULT_NONE,
  FAULT_REQUEST_LOST, /* nothing is done, nothing answered */
  FAULT_REPLY_LOST,   /* done, but not answered */
  FAULT_SERVER_ERROR, /* HTTP 500 */
  FAULT_CONFLICT,     /* a transaction is cancelled by another one */
  FAULT_DENIED
};

struct fake_dynamodb {
  struct http_client base;
  const char *wanted; /* operation that the fault strikes; NULL: any */
  enum fake_fault fault;
  size_t skip, times; /* requests before the fault, and that it strikes */
  size_t unprocessed; /* most items of a batch that are left undone; BatchWriteItem */
  size_t unprocessed_times;
  size_t page;            /* items of a page of Scan; 0: all */
  bool has_other_keys;    /* DescribeTable tells of tables of somebody else */
  void (*before)(void *); /* called before each request, without the lock; NULL: nothing */
  void *before_arg;
  struct {
    pthread_mutex_t lock;
    json_t *tables; /* name -> key -> item */
    json_t *tokens; /* of transactions that were done */
    json_t *log;    /* [{"op":.., "body":..}] */
  } synced;
};

/* ---- items ---- */

static inline json_t *fake_table(struct fake_dynamodb *f, const char *name) {
  if (!json_object_get(f->synced.tables, name))
    json_object_set_new(f->synced.tables, name, json_object());
  return json_object_get(f->synced.tables, name);
}

static inline const char *fake_text(const json_t *item, const char *name) {
  const char *text = json_string_value(json_object_get(json_object_get(item, name), "S"));
  return text ? text : "";
}

/* "pk", or "category|date", or "date". */
static inline const char *fake_key(const json_t *item, char out[512]) {
  if (json_object_get(item, "pk"))
    snprintf(out, 512, "%s", fake_text(item, "pk"));
  else
    snprintf(out, 512, "%s%s%s", fake_text(item, "category"), json_object_get(item, "category") ? "|" : "",
             fake_text(item, "order_date"));
  return out;
}

static inline void fake_put(struct fake_dynamodb *f, const char *table, json_t *item) {
  char key[512];
  json_object_set(fake_table(f, table), fake_key(item, key), item);
}

/* Borrows an item; NULL if there is none. */
static inline json_t *fake_item(struct fake_dynamodb *f, const char *table, const char *key) {
  return json_object_get(fake_table(f, table), key);
}

/* ---- expressions ---- */

static inline bool fake_term_holds(const json_t *item, const char *term, const json_t *values) {
  char name[64], value[64];
  if (sscanf(term, "attribute_not_exists(%63[a-z_])", name) == 1)
    return !json_object_get(item, name);
  if (sscanf(term, "attribute_exists(%63[a-z_])", name) == 1)
    return json_object_get(item, name);
  if (sscanf(term, "%63[a-z_] = %63[:a-z]", name, value) == 2) {
    assert_non_null(json_object_get(values, value));
    json_t *is = json_object_get(item, name);
    return is && json_equal(is, json_object_get(values, value));
  }
  fail_msg("a condition that is not known: %s", term);
  return false;
}

static inline bool fake_holds(const json_t *item, const char *condition, const json_t *values) {
  char text[512];
  snprintf(text, sizeof text, "%s", condition ? condition : "");
  for (char *at = text; *at;) {
    char *and = strstr(at, " AND ");
    if (and)
      *and = '\0';
    if (!fake_term_holds(item, at, values))
      return false;
    at = and? and+5 : at + strlen(at);
  }
  return true;
}

/* "ADD name :value" and "DELETE name :value" of a set with one member in the value. */
static inline void fake_apply_to_set(json_t *item, const char *expression, const json_t *values) {
  char action[8], name[64], value[64];
  size_t i;
  json_t *old, *member, *left = json_array();
  assert_int_equal(sscanf(expression, "%7[A-Z] %63[a-z_] %63[:a-z]", action, name, value), 3);
  json_t *given = json_object_get(json_object_get(values, value), "SS");
  assert_int_equal(json_array_size(given), 1);
  member = json_array_get(given, 0);
  json_array_foreach(json_object_get(json_object_get(item, name), "SS"), i, old) {
    if (!json_equal(old, member))
      json_array_append(left, old);
  }
  if (strcmp(action, "ADD") == 0)
    json_array_append(left, member);
  if (json_array_size(left))
    json_object_set_new(item, name, json_pack("{s:O}", "SS", left));
  else
    json_object_del(item, name);
  json_decref(left);
}

static inline void fake_apply_update(json_t *item, const char *expression, const json_t *values) {
  char text[1024], name[64], value[64];
  if (strncmp(expression, "SET ", 4) != 0) {
    fake_apply_to_set(item, expression, values);
    return;
  }
  snprintf(text, sizeof text, "%s", expression);
  char *removed = strstr(text, " REMOVE ");
  if (removed)
    *removed = '\0';
  assert_int_equal(strncmp(text, "SET ", 4), 0);
  char *rest = text + 4;
  for (char *part; (part = strsep(&rest, ",")) != NULL;) {
    assert_int_equal(sscanf(part, " %63[a-z_] = %63[:a-z]", name, value), 2);
    assert_non_null(json_object_get(values, value));
    json_object_set(item, name, json_object_get(values, value));
  }
  rest = removed ? removed + 8 : NULL;
  for (char *part; (part = strsep(&rest, ",")) != NULL;)
    json_object_del(item, part + strspn(part, " "));
}

/* ---- operations ---- */

static inline const char *fake_string(const json_t *body, const char *name) {
  return json_string_value(json_object_get(body, name));
}

/* The item of a Key or an Item; NULL if it is not there. */
static inline json_t *fake_stored(struct fake_dynamodb *f, const json_t *body, const char *key_name) {
  char key[512];
  return fake_item(f, fake_string(body, "TableName"), fake_key(json_object_get(body, key_name), key));
}

static inline bool fake_allows(struct fake_dynamodb *f, const json_t *body) {
  return fake_holds(fake_stored(f, body, json_object_get(body, "Item") ? "Item" : "Key"),
                    fake_string(body, "ConditionExpression"),
                    json_object_get(body, "ExpressionAttributeValues"));
}

static inline void fake_do(struct fake_dynamodb *f, const char *op, const json_t *body) {
  char key[512];
  const char *table = fake_string(body, "TableName");
  if (strncmp(op, "Put", 3) == 0) {
    fake_put(f, table, json_object_get(body, "Item"));
  } else if (strncmp(op, "Delete", 6) == 0) {
    json_object_del(fake_table(f, table), fake_key(json_object_get(body, "Key"), key));
  } else if (strncmp(op, "Update", 6) == 0) {
    json_t *item = json_copy(fake_stored(f, body, "Key"));
    item = item ? item : json_copy(json_object_get(body, "Key"));
    fake_apply_update(item, fake_string(body, "UpdateExpression"),
                      json_object_get(body, "ExpressionAttributeValues"));
    fake_put(f, table, item);
    json_decref(item);
  }
}

static inline json_t *fake_refusal(const char *type) {
  return json_pack("{s:s, s:s}", "__type", type, "message", "why");
}

static inline json_t *fake_transact(struct fake_dynamodb *f, const json_t *body) {
  size_t i;
  json_t *action, *part, *actions = json_object_get(body, "TransactItems"), *reasons = json_array();
  const char *op;
  bool ok = true;
  assert_in_range(json_array_size(actions), 1, 100);
  if (json_object_get(f->synced.tokens, fake_string(body, "ClientRequestToken"))) {
    json_decref(reasons);
    return json_object();
  }
  json_array_foreach(actions, i, action) json_object_foreach(action, op, part) {
    bool allowed = fake_allows(f, part);
    json_array_append_new(reasons, json_pack("{s:s}", "Code", allowed ? "None" : "ConditionalCheckFailed"));
    ok &= allowed;
  }
  if (!ok) {
    json_t *refusal = fake_refusal("x#TransactionCanceledException");
    json_object_set_new(refusal, "CancellationReasons", reasons);
    return refusal;
  }
  json_decref(reasons);
  json_array_foreach(actions, i, action) json_object_foreach(action, op, part) fake_do(f, op, part);
  json_object_set_new(f->synced.tokens, fake_string(body, "ClientRequestToken"), json_true());
  return json_object();
}

static inline json_t *fake_batch(struct fake_dynamodb *f, const json_t *body) {
  const char *table;
  size_t i;
  json_t *requests, *request, *left = json_array(), *reply = json_object();
  json_object_foreach(json_object_get(body, "RequestItems"), table, requests) {
    assert_in_range(json_array_size(requests), 1, 25);
    size_t undone = f->unprocessed_times && f->unprocessed_times-- ? f->unprocessed : 0;
    json_array_foreach(requests, i, request) if (i < undone) json_array_append(left, request);
    else fake_put(f, table, json_object_get(json_object_get(request, "PutRequest"), "Item"));
    if (json_array_size(left))
      json_object_set_new(reply, "UnprocessedItems", json_pack("{s:O}", table, left));
  }
  json_decref(left);
  return reply;
}

/* Items whose key begins with the one value of the filter, from the key of ExclusiveStartKey on. */
static inline json_t *fake_scan(struct fake_dynamodb *f, const json_t *body) {
  const char *key, *last = NULL;
  json_t *item, *items = json_array();
  const char *start = fake_text(json_object_get(body, "ExclusiveStartKey"), "pk");
  const char *prefix = fake_text(json_object_get(body, "ExpressionAttributeValues"), ":prefix");
  bool begun = !*start, more = false;
  json_object_foreach(fake_table(f, fake_string(body, "TableName")), key, item) {
    if (begun && strncmp(key, prefix, strlen(prefix)) == 0) {
      more = f->page && json_array_size(items) == f->page;
      if (more)
        break;
      json_array_append(items, item);
      last = key;
    }
    begun |= strcmp(key, start) == 0;
  }
  json_t *reply = json_pack("{s:o}", "Items", items);
  if (more)
    json_object_set_new(reply, "LastEvaluatedKey", json_pack("{s:{s:s}}", "pk", "S", last));
  return reply;
}

/* A table by its name: "control", "orders", or else that of the categories. */
static inline json_t *fake_describe(const struct fake_dynamodb *f, const char *name) {
  bool is_single = strcmp(name, "control") == 0 || strcmp(name, "orders") == 0;
  const char *hash = f->has_other_keys              ? "id"
                     : strcmp(name, "control") == 0 ? "pk"
                     : is_single                    ? "order_date"
                                                    : "category";
  json_t *keys = json_pack("[{s:s, s:s}]", "AttributeName", hash, "KeyType", "HASH");
  json_t *types = json_pack("[{s:s, s:s}, {s:s, s:s}]", "AttributeName", hash, "AttributeType", "S",
                            "AttributeName", "order_date", "AttributeType", "S");
  if (!is_single)
    json_array_append_new(keys, json_pack("{s:s, s:s}", "AttributeName", "order_date", "KeyType", "RANGE"));
  return json_pack("{s:{s:s, s:o, s:o}}", "Table", "TableStatus", "ACTIVE", "KeySchema", keys,
                   "AttributeDefinitions", types);
}

static inline json_t *fake_operate(struct fake_dynamodb *f, const char *op, const json_t *body) {
  if (strcmp(op, "TransactWriteItems") == 0)
    return fake_transact(f, body);
  if (strcmp(op, "BatchWriteItem") == 0)
    return fake_batch(f, body);
  if (strcmp(op, "Scan") == 0)
    return fake_scan(f, body);
  if (strcmp(op, "DescribeTable") == 0)
    return fake_describe(f, fake_string(body, "TableName"));
  if (strcmp(op, "GetItem") == 0) {
    json_t *item = fake_stored(f, body, "Key");
    return item ? json_pack("{s:O}", "Item", item) : json_object();
  }
  if (!fake_allows(f, body))
    return fake_refusal("x#ConditionalCheckFailedException");
  fake_do(f, op, body);
  return json_object();
}

/* ---- the transport ---- */

static inline const char *fake_operation(const struct http_request *q) {
  for (size_t i = 0; i < q->header_count; i++)
    if (strncmp(q->headers[i], "x-amz-target: DynamoDB_20120810.", 32) == 0)
      return q->headers[i] + 32;
  fail_msg("a call without an operation");
  return NULL;
}

static inline enum fake_fault fake_strikes(struct fake_dynamodb *f, const char *op) {
  if (f->wanted && strcmp(f->wanted, op) != 0)
    return FAULT_NONE;
  if (f->skip) {
    f->skip--;
    return FAULT_NONE;
  }
  return f->times && f->times-- ? f->fault : FAULT_NONE;
}

static inline json_t *fake_faulty(enum fake_fault fault) {
  static const char conflict[] = "[{\"Code\":\"None\"},{\"Code\":\"TransactionConflict\"}]";
  json_t *reply = fake_refusal(fault == FAULT_SERVER_ERROR ? "x#InternalServerError"
                               : fault == FAULT_DENIED     ? "x#AccessDeniedException"
                                                           : "x#TransactionCanceledException");
  if (fault == FAULT_CONFLICT)
    json_object_set_new(reply, "CancellationReasons", json_loads(conflict, 0, NULL));
  return reply;
}

static enum http_outcome fake_dynamodb_call(struct http_client *c, const struct http_request *q,
                                            struct http_reply *out) {
  struct fake_dynamodb *f = (struct fake_dynamodb *)c;
  const char *op = fake_operation(q);
  if (f->before)
    f->before(f->before_arg);
  SCOPE_LOCK(&f->synced.lock);
  json_t *body = json_loadb(q->body.ptr, q->body.len, 0, NULL);
  json_array_append_new(f->synced.log, json_pack("{s:s, s:O}", "op", op, "body", body));
  enum fake_fault fault = fake_strikes(f, op);
  bool is_done = fault == FAULT_NONE || fault == FAULT_REPLY_LOST;
  bool is_lost = fault == FAULT_REQUEST_LOST || fault == FAULT_REPLY_LOST;
  json_t *reply = is_done ? fake_operate(f, op, body) : fake_faulty(fault);
  auto_free char *text = json_dumps(reply, JSON_COMPACT);
  out->status = fault == FAULT_SERVER_ERROR ? 500 : json_object_get(reply, "__type") ? 400 : 200;
  json_decref(body);
  json_decref(reply);
  if (is_lost) {
    out->status = 0;
    return HTTP_BROKEN;
  }
  buf_printf(&out->head, "HTTP/1.1 %ld X\r\n\r\n", out->status);
  buf_add_cstr(&out->body, text);
  return HTTP_REPLIED;
}

/* The test owns the object. */
static void fake_dynamodb_release(struct http_client *c) {
  (void)c;
}

static const struct http_client_vtable fake_dynamodb_vtable = {fake_dynamodb_call, fake_dynamodb_release};

/* Returns owned: a connection to it. */
static inline struct aws *fake_dynamodb_init(struct fake_dynamodb *f) {
  struct aws *aws;
  struct err err;
  aws_env_set();
  *f = (struct fake_dynamodb){.base = {&fake_dynamodb_vtable}};
  pthread_mutex_init(&f->synced.lock, NULL);
  f->synced.tables = json_object();
  f->synced.tokens = json_object();
  f->synced.log = json_array();
  assert_int_equal(aws_new_with(&f->base, &aws, &err), KPI_OK);
  return aws;
}

static inline void fake_dynamodb_clear(struct fake_dynamodb *f, struct aws *aws) {
  aws_free(aws);
  json_decref(f->synced.tables);
  json_decref(f->synced.tokens);
  json_decref(f->synced.log);
  pthread_mutex_destroy(&f->synced.lock);
}

/* How many requests of an operation came; NULL: of any. */
static inline size_t fake_count(struct fake_dynamodb *f, const char *op) {
  size_t i, n = 0;
  json_t *entry;
  SCOPE_LOCK(&f->synced.lock);
  json_array_foreach(f->synced.log, i, entry) n += !op || strcmp(fake_string(entry, "op"), op) == 0;
  return n;
}

/* Borrows the body of the nth request of an operation, from 0. */
static inline json_t *fake_body(struct fake_dynamodb *f, const char *op, size_t nth) {
  size_t i;
  json_t *entry;
  json_array_foreach(f->synced.log, i, entry) if (strcmp(fake_string(entry, "op"), op) == 0 &&
                                                  nth-- == 0) return json_object_get(entry, "body");
  fail_msg("%s was not asked so often", op);
  return NULL;
}

#endif
