/* SPDX-License-Identifier: MIT */
#include "server/intents.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  AT_A_TIME = 4,
  UNDER_WAY_MAX = 256,
  PK_SIZE = 64,
  PREFIX_LEN = 7,
  LOAD_RETRY_STEPS = 50,
  LOAD_STEP_MS = 100,
  LEAVE_MS = 3000,
  LEAVE_STEP_MS = 5
};

#define PREFIX "intent#"
#define OPEN_ATTEMPTS "open_attempts"

/* One call about one intent. Somebody waits for a put; whatever else there is follows on its own. */
struct errand {
  struct intents *intents;
  char id[UUID_TEXT_SIZE];
  const char *operation; /* of DynamoDB */
  json_t *body;          /* owned */
  bool is_put;
  /* guarded by the lock: */
  enum intent_state state;
  bool abandoned; /* nobody asks any more: undo it */
  struct err err;
  struct errand *next;
};

struct intents {
  struct aws *aws;
  const char *table, *source, *boot_id;
  intents_changed_fn changed;
  void *arg;
  struct pool *pool;
  struct pool_group errands;
  intent_fn load_fn;
  void *load_arg;
  struct stop_flag loading; /* ends the loading */
  struct stop_flag stop;    /* ends everything */
  _Atomic bool loaded;
  struct {
    pthread_mutex_t lock;
    struct errand *puts; /* under way or not asked for yet */
    size_t count;        /* of errands that exist */
  } synced;
};

/* ---- items ---- */

static void make_pk(const char *id, char out[PK_SIZE]) {
  snprintf(out, PK_SIZE, PREFIX "%s", id);
}

static json_t *intent_item(const struct intents *i, const char *id, const struct run_request *q,
                           const struct submit_policy *policy) {
  char pk[PK_SIZE], date[DAY_TEXT_SIZE], now[CLOCK_RFC3339_SIZE];
  make_pk(id, pk);
  const struct {
    const char *name;
    struct view text;
  } texts[] = {{"pk", view_of(pk)},
               {"source", view_of(i->source)},
               {"date", view_of(day_text(q->date, date))},
               {"quality_gate", view_of(quality_gate_name(q->gate))},
               {"bad_rows", view_of(bad_rows_name(q->bad_rows))},
               {"engine", view_of(engine_kind_name(q->engine))},
               {"max_bad_rows", q->max_bad_rows},
               {"labels", q->labels_json},
               {"reason", q->reason},
               {"user_agent", q->user_agent},
               {"request_id", q->request_id},
               {"principal", q->principal},
               {"trace_id", q->trace_id},
               {"idempotency_key", policy->key},
               {"fingerprint", view_of(policy->fingerprint)},
               {"accepted_at", view_of(clock_rfc3339(clock_wall_ms(), now))}};
  json_t *item = json_object();
  for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
    if (texts[n].text.len)
      json_object_set_new(item, texts[n].name, dynamodb_text(texts[n].text));
  const struct {
    const char *name;
    uint64_t count;
  } counts[] = {{"publish", q->publish},
                {"force", q->force},
                {"timeout_seconds", q->timeout_seconds},
                {"max_attempts", q->max_attempts},
                {"expires_in_seconds", q->expires_in_seconds}};
  for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++)
    json_object_set_new(item, counts[n].name, dynamodb_count(counts[n].count));
  return item;
}

/* A number that intents of earlier versions do not have. */
static uint32_t limit_of(const json_t *item, const char *name) {
  uint64_t count = 0;
  return dynamodb_get_count(item, name, &count) && count <= UINT32_MAX ? (uint32_t)count : 0;
}

/* Attempts that other services have begun and never ended: those died under them. */
static uint32_t count_deaths(const struct intents *i, const json_t *item) {
  size_t n;
  uint32_t deaths = 0;
  json_t *attempt;
  json_array_foreach(json_object_get(json_object_get(item, OPEN_ATTEMPTS), "SS"), n, attempt) {
    deaths += !view_starts(view_of(json_string_value(attempt)), i->boot_id);
  }
  return deaths;
}

/* Reads an item, from which what is found borrows. False when it is no intent of this source. */
static bool read_intent(const struct intents *i, const json_t *item, struct intent *found) {
  struct run_request *out = &found->request;
  struct view pk = dynamodb_get_text(item, "pk");
  uint64_t publish = 1, force = 0;
  if (!view_starts(pk, PREFIX) || !view_is(dynamodb_get_text(item, "source"), i->source))
    return false;
  struct view tail = {pk.ptr + PREFIX_LEN, pk.len - PREFIX_LEN};
  *out = (struct run_request){.max_bad_rows = dynamodb_get_text(item, "max_bad_rows"),
                              .labels_json = dynamodb_get_text(item, "labels"),
                              .reason = dynamodb_get_text(item, "reason"),
                              .user_agent = dynamodb_get_text(item, "user_agent"),
                              .request_id = dynamodb_get_text(item, "request_id"),
                              .principal = dynamodb_get_text(item, "principal"),
                              .trace_id = dynamodb_get_text(item, "trace_id"),
                              .timeout_seconds = limit_of(item, "timeout_seconds"),
                              .max_attempts = limit_of(item, "max_attempts"),
                              .expires_in_seconds = limit_of(item, "expires_in_seconds")};
  found->policy = (struct submit_policy){.key = dynamodb_get_text(item, "idempotency_key"),
                                         .fingerprint = dynamodb_get_text(item, "fingerprint").ptr};
  found->deaths = count_deaths(i, item);
  bool ok = crypto_is_uuid(tail) && view_to_cstr(tail, found->id, sizeof found->id) &&
            day_parse(dynamodb_get_text(item, "date"), &out->date) &&
            quality_gate_of(dynamodb_get_text(item, "quality_gate"), &out->gate) &&
            bad_rows_of(dynamodb_get_text(item, "bad_rows"), &out->bad_rows) &&
            dynamodb_get_count(item, "publish", &publish) && dynamodb_get_count(item, "force", &force);
  engine_kind_of(dynamodb_get_text(item, "engine"), &out->engine); /* earlier versions had native only */
  out->id = found->id;
  out->publish = publish != 0;
  out->force = force != 0;
  if (!ok)
    log_at(LOG_WARN, "intents.unreadable", "an intent in the control table cannot be read");
  return ok;
}

/* The body of a call about one intent that is there. */
static json_t *keyed_body(const struct intents *i, const char *id) {
  char pk[PK_SIZE];
  make_pk(id, pk);
  return json_pack("{s:s, s:{s:o}}", "TableName", i->table, "Key", "pk", dynamodb_text(view_of(pk)));
}

/* `action` is ADD or DELETE: of a set, so that a call that is sent twice does no harm. A run whose intent has
 * gone, or never was, gets none by it. */
static json_t *attempt_body(const struct intents *i, const char *id, uint32_t attempt, const char *action) {
  char expression[64], name[UUID_TEXT_SIZE + 16];
  snprintf(expression, sizeof expression, "%s " OPEN_ATTEMPTS " :attempt", action);
  snprintf(name, sizeof name, "%s#%u", i->boot_id, attempt);
  json_t *body = keyed_body(i, id);
  json_object_set_new(body, "UpdateExpression", json_string(expression));
  json_object_set_new(body, "ConditionExpression", json_string("attribute_exists(pk)"));
  json_object_set_new(body, "ExpressionAttributeValues", json_pack("{s:{s:[s]}}", ":attempt", "SS", name));
  return body;
}

/* ---- errands ---- */

static void errand_free(struct errand *e) {
  json_decref(e->body);
  free(e);
}

/* Takes a put out of the list; the lock is held. */
static void forget(struct intents *i, struct errand *e) {
  for (struct errand **at = &i->synced.puts; *at; at = &(*at)->next)
    if (*at == e) {
      *at = e->next;
      break;
    }
  i->synced.count--;
}

/* Sends what nobody waits for, once. */
static void send_unwaited(struct intents *i, const char *id, const char *operation, json_t *body) {
  struct err err;
  struct aws_error said = {0};
  if (dynamodb_call(i->aws, operation, body, &i->stop, NULL, &said, &err) && !aws_error_is_condition(&said))
    log_at(LOG_WARN, "intents.not_changed", err.message, LOG_S("run_id", id),
           LOG_S("aws_operation", operation));
}

static void run_unwaited(struct errand *e) {
  struct intents *i = e->intents;
  send_unwaited(i, e->id, e->operation, json_incref(e->body));
  pthread_mutex_lock(&i->synced.lock);
  i->synced.count--;
  pthread_mutex_unlock(&i->synced.lock);
  errand_free(e);
}

/* Marks a put as done. True when nobody wants it any more. */
static bool settle(struct errand *e, enum kpi_code rc, const struct err *err) {
  SCOPE_LOCK(&e->intents->synced.lock);
  e->state = rc ? INTENT_FAILED : INTENT_STORED;
  e->err = *err;
  if (e->abandoned)
    forget(e->intents, e);
  return e->abandoned;
}

static void run_put(struct errand *e) {
  struct err err = {0};
  struct intents *i = e->intents;
  char id[UUID_TEXT_SIZE];
  memcpy(id, e->id, sizeof id);
  enum kpi_code rc = dynamodb_call(i->aws, e->operation, json_incref(e->body), &i->stop, NULL, NULL, &err);
  if (settle(e, rc, &err)) {
    send_unwaited(i, id, "DeleteItem", keyed_body(i, id));
    errand_free(e);
    return;
  }
  i->changed(i->arg, id);
}

static void run_errand(void *arg) {
  struct errand *e = arg;
  if (e->is_put)
    run_put(e);
  else
    run_unwaited(e);
}

/* Counts a new errand; puts go into the list. False when there are too many: only puts are refused, the
 * others are of runs that were accepted. */
static bool register_errand(struct intents *i, struct errand *e) {
  SCOPE_LOCK(&i->synced.lock);
  if (e->is_put && i->synced.count >= UNDER_WAY_MAX)
    return false;
  i->synced.count++;
  if (e->is_put) {
    e->next = i->synced.puts;
    i->synced.puts = e;
  }
  return true;
}

/* Takes the body. NULL when there is no memory. */
static struct errand *errand_new(struct intents *i, const char *id, const char *operation, json_t *body) {
  struct errand *e = calloc(1, sizeof *e);
  if (!e || !body) {
    free(e);
    json_decref(body);
    return NULL;
  }
  *e = (struct errand){.intents = i, .operation = operation, .body = body};
  view_to_cstr(view_of(id), e->id, sizeof e->id);
  return e;
}

enum kpi_code intents_put(struct intents *i, const char *id, const struct run_request *request,
                          const struct submit_policy *policy, struct err *err) {
  json_t *body = json_pack("{s:s, s:o}", "TableName", i->table, "Item", intent_item(i, id, request, policy));
  struct errand *e = errand_new(i, id, "PutItem", body);
  if (e)
    e->is_put = true;
  if (!e || !register_errand(i, e)) {
    if (e)
      errand_free(e);
    return err_set(err, KPI_QUEUE_FULL, "%d intents are on their way to DynamoDB already", UNDER_WAY_MAX);
  }
  pool_submit(i->pool, &i->errands, run_errand, e);
  return KPI_OK;
}

static struct errand *find_put(struct intents *i, const char *id) {
  for (struct errand *e = i->synced.puts; e; e = e->next)
    if (strcmp(e->id, id) == 0)
      return e;
  return NULL;
}

enum intent_state intents_state(struct intents *i, const char *id, struct err *err) {
  SCOPE_LOCK(&i->synced.lock);
  struct errand *e = find_put(i, id);
  if (!e || e->state == INTENT_UNDER_WAY)
    return INTENT_UNDER_WAY;
  enum intent_state state = e->state;
  *err = e->err;
  forget(i, e);
  errand_free(e);
  return state;
}

/* True when the intent was being put: that undoes itself. */
static bool abandon(struct intents *i, const char *id) {
  SCOPE_LOCK(&i->synced.lock);
  struct errand *e = find_put(i, id);
  if (e && e->state == INTENT_UNDER_WAY) {
    e->abandoned = true;
    return true;
  }
  if (e) {
    forget(i, e);
    errand_free(e);
  }
  return false;
}

static void submit_unwaited(struct intents *i, const char *id, const char *operation, json_t *body) {
  struct errand *e = errand_new(i, id, operation, body);
  if (!e) {
    log_at(LOG_WARN, "intents.not_changed", "no memory", LOG_S("run_id", id),
           LOG_S("aws_operation", operation));
    return;
  }
  register_errand(i, e);
  pool_submit(i->pool, &i->errands, run_errand, e);
}

void intents_remove(struct intents *i, const char *id) {
  if (!abandon(i, id))
    submit_unwaited(i, id, "DeleteItem", keyed_body(i, id));
}

void intents_begin_attempt(struct intents *i, const char *id, uint32_t attempt) {
  submit_unwaited(i, id, "UpdateItem", attempt_body(i, id, attempt, "ADD"));
}

void intents_end_attempt(struct intents *i, const char *id, uint32_t attempt) {
  submit_unwaited(i, id, "UpdateItem", attempt_body(i, id, attempt, "DELETE"));
}

/* ---- all intents ---- */

static enum kpi_code scan_page(struct intents *i, json_t *start, json_t **reply, struct err *err) {
  json_t *body = json_pack("{s:s, s:b, s:s, s:{s:o}}", "TableName", i->table, "ConsistentRead", 1,
                           "FilterExpression", "begins_with(pk, :prefix)", "ExpressionAttributeValues",
                           ":prefix", dynamodb_text(VIEW_LIT(PREFIX)));
  if (start)
    json_object_set_new(body, "ExclusiveStartKey", start);
  return dynamodb_call(i->aws, "Scan", body, &i->loading, reply, NULL, err);
}

static void hand_on(struct intents *i, const json_t *items) {
  size_t n;
  json_t *item;
  json_array_foreach(items, n, item) {
    struct intent found;
    if (read_intent(i, item, &found) && !i->load_fn(i->load_arg, &found))
      intents_remove(i, found.id);
  }
}

static enum kpi_code load_all(struct intents *i, struct err *err) {
  json_t *start = NULL;
  do {
    json_t *reply = NULL;
    enum kpi_code rc = scan_page(i, start, &reply, err);
    if (rc)
      return rc;
    hand_on(i, json_object_get(reply, "Items"));
    start = json_incref(json_object_get(reply, "LastEvaluatedKey"));
    json_decref(reply);
  } while (start);
  return KPI_OK;
}

/* Without its intents a service on a new disk would forget runs: it asks until it is answered. */
static void run_load(void *arg) {
  struct intents *i = arg;
  struct err err;
  while (stop_reason(&i->loading) == STOP_NONE) {
    if (load_all(i, &err) == KPI_OK) {
      atomic_store(&i->loaded, true);
      return;
    }
    log_at(LOG_WARN, "intents.not_loaded", err.message, LOG_S("code", err_name(err.code)));
    for (int n = 0; n < LOAD_RETRY_STEPS && stop_reason(&i->loading) == STOP_NONE; n++)
      nanosleep(&(struct timespec){.tv_nsec = LOAD_STEP_MS * 1000000L}, NULL);
  }
}

void intents_load(struct intents *i, intent_fn fn, void *arg) {
  i->load_fn = fn;
  i->load_arg = arg;
  pool_submit(i->pool, &i->errands, run_load, i);
}

bool intents_are_loaded(const struct intents *i) {
  return atomic_load(&i->loaded);
}

/* ---- life ---- */

struct intents *intents_new(struct aws *aws, const char *table, const char *source, const char *boot_id,
                            intents_changed_fn changed, void *arg) {
  struct intents *i = calloc(1, sizeof *i);
  if (!i)
    return NULL;
  *i = (struct intents){
      .aws = aws, .table = table, .source = source, .boot_id = boot_id, .changed = changed, .arg = arg};
  pthread_mutex_init(&i->synced.lock, NULL);
  i->pool = pool_new(AT_A_TIME, 2 * UNDER_WAY_MAX);
  if (i->pool)
    return i;
  intents_free(i);
  return NULL;
}

/* Removals that are still to be sent get a moment; a service that does not answer is not waited for. */
static void wait_for_errands(struct intents *i) {
  int64_t deadline = clock_mono_ms() + LEAVE_MS;
  for (size_t left = 1; left > 0 && clock_mono_ms() < deadline;) {
    nanosleep(&(struct timespec){.tv_nsec = LEAVE_STEP_MS * 1000000L}, NULL);
    SCOPE_LOCK(&i->synced.lock);
    left = i->synced.count;
  }
}

void intents_free(struct intents *i) {
  if (!i)
    return;
  stop_raise(&i->loading, STOP_DRAIN);
  wait_for_errands(i);
  stop_raise(&i->stop, STOP_DRAIN);
  pool_free(i->pool);
  while (i->synced.puts) {
    struct errand *e = i->synced.puts;
    i->synced.puts = e->next;
    errand_free(e);
  }
  pthread_mutex_destroy(&i->synced.lock);
  free(i);
}
