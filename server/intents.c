/* SPDX-License-Identifier: MIT */
#include "server/intents.h"

#include "aws/dynamodb.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/errands.h"
#include "server/job_items.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  UNDER_WAY_MAX = 256,
  WAITING_MAX =
      30 * 1000, /* changes that DynamoDB has yet to be told of: some for each run of a full queue */
  KNOWN_LISTS = 256,
  PK_SIZE = 64,
  PREFIX_LEN = 7,
  LOAD_RETRY_STEPS = 50,
  LOAD_STEP_MS = 100
};

#define PREFIX "intent#"
#define OPEN_ATTEMPTS "open_attempts"

/* An intent that is being put, or about which nobody has asked yet what came of it. */
struct put {
  struct intents *intents;
  char id[UUID_TEXT_SIZE];
  /* guarded by the lock: */
  enum intent_state state;
  bool is_forgotten; /* nobody will ask any more, and it is in no list */
  struct err err;
  struct put *next;
};

/* An intent that there is, or may be. */
struct known {
  char id[UUID_TEXT_SIZE];
  bool is_stored; /* for sure */
  struct known *next;
};

struct intents {
  struct aws *aws;
  const char *table, *source, *boot_id;
  intents_changed_fn changed;
  void *arg;
  struct errands *errands;
  struct pool *pool; /* that loads */
  struct pool_group tasks;
  struct intents_taker taker;
  struct stop_flag loading; /* ends the loading */
  _Atomic bool loaded;
  struct {
    pthread_mutex_t lock;
    struct put *puts;
    size_t put_count;
    struct known *known[KNOWN_LISTS]; /* by the end of the id */
  } synced;
};

/* ---- items ---- */

static void make_pk(const char *id, char out[PK_SIZE]) {
  snprintf(out, PK_SIZE, PREFIX "%s", id);
}

static json_t *intent_item(const struct intents *i, const char *id, const struct run_request *q,
                           const struct submit_policy *policy) {
  char pk[PK_SIZE], date[DAY_TEXT_SIZE], now[CLOCK_RFC3339_SIZE];
  const int64_t accepted_at = clock_wall_ms();
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
               {"accepted_at", view_of(clock_rfc3339(accepted_at, now))}};
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
                {"expires_in_seconds", q->expires_in_seconds},
                {"accepted_at_ms", (uint64_t)accepted_at}};
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
  uint64_t publish = 1, force = 0, accepted_at = 0;
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
  if (!found->policy.fingerprint)
    found->policy.key = (struct view){0};
  if (dynamodb_get_count(item, "accepted_at_ms", &accepted_at))
    out->accepted_at = (int64_t)accepted_at;
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

/* ---- intents that there are ---- */

/* The place of an id in its list, or where it would stand; the lock is held. */
static struct known **find_known(struct intents *i, const char *id) {
  const size_t len = strlen(id);
  const unsigned char last = (unsigned char)id[len - 1], one_before = (unsigned char)id[len - 2];
  struct known **at = &i->synced.known[(one_before * 16u + last) % KNOWN_LISTS];
  while (*at && strcmp((*at)->id, id) != 0)
    at = &(*at)->next;
  return at;
}

/* False when memory is exhausted. */
static bool make_known(struct intents *i, const char *id, bool is_stored) {
  SCOPE_LOCK(&i->synced.lock);
  struct known **at = find_known(i, id);
  if (!*at)
    *at = calloc(1, sizeof **at);
  if (!*at)
    return false;
  (*at)->is_stored |= is_stored;
  return view_to_cstr(view_of(id), (*at)->id, sizeof(*at)->id);
}

static bool is_known(struct intents *i, const char *id) {
  SCOPE_LOCK(&i->synced.lock);
  return *find_known(i, id) != NULL;
}

bool intents_has(struct intents *i, const char *id) {
  SCOPE_LOCK(&i->synced.lock);
  const struct known *found = *find_known(i, id);
  return found && found->is_stored;
}

/* True when it was known. */
static bool make_unknown(struct intents *i, const char *id) {
  SCOPE_LOCK(&i->synced.lock);
  struct known **at = find_known(i, id), *found = *at;
  if (!found)
    return false;
  *at = found->next;
  free(found);
  return true;
}

/* ---- putting ---- */

/* Takes a put out of the list; the lock is held. */
static void unlink_put(struct intents *i, const struct put *p) {
  struct put **at = &i->synced.puts;
  while (*at != p)
    at = &(*at)->next;
  *at = p->next;
  i->synced.put_count--;
}

static struct put *find_put(const struct intents *i, const char *id) {
  for (struct put *p = i->synced.puts; p; p = p->next)
    if (strcmp(p->id, id) == 0)
      return p;
  return NULL;
}

/* Notes what has come of a put; an errand_done_fn. */
static void on_put(void *arg, enum kpi_code rc, const struct err *err) {
  struct put *p = arg;
  struct intents *i = p->intents;
  char id[UUID_TEXT_SIZE];
  memcpy(id, p->id, sizeof id);
  pthread_mutex_lock(&i->synced.lock);
  const bool is_forgotten = p->is_forgotten;
  struct known *k = *find_known(i, id);
  if (k && rc == KPI_OK)
    k->is_stored = true;
  p->state = rc ? INTENT_FAILED : INTENT_STORED;
  p->err = *err;
  pthread_mutex_unlock(&i->synced.lock);
  if (is_forgotten)
    free(p);
  else
    i->changed(i->arg, id);
}

/* NULL when there are too many, or no memory. */
static struct put *put_new(struct intents *i, const char *id) {
  struct put *p = calloc(1, sizeof *p);
  if (!p)
    return NULL;
  *p = (struct put){.intents = i};
  view_to_cstr(view_of(id), p->id, sizeof p->id);
  SCOPE_LOCK(&i->synced.lock);
  if (i->synced.put_count >= UNDER_WAY_MAX) {
    free(p);
    return NULL;
  }
  p->next = i->synced.puts;
  i->synced.puts = p;
  i->synced.put_count++;
  return p;
}

/* A put that is under way is freed when it has come to its end. */
void intents_forget_put(struct intents *i, const char *id) {
  SCOPE_LOCK(&i->synced.lock);
  struct put *p = find_put(i, id);
  if (!p)
    return;
  unlink_put(i, p);
  p->is_forgotten = p->state == INTENT_UNDER_WAY;
  if (!p->is_forgotten)
    free(p);
}

enum kpi_code intents_put(struct intents *i, const char *id, const struct run_request *request,
                          const struct submit_policy *policy, struct err *err) {
  if (errands_count(i->errands) >= WAITING_MAX)
    return err_set(err, KPI_QUEUE_FULL, "%d changes have yet to reach DynamoDB", WAITING_MAX);
  struct put *p = put_new(i, id);
  if (!p)
    return err_set(err, KPI_QUEUE_FULL, "%d intents are on their way to DynamoDB already", UNDER_WAY_MAX);
  json_t *body = json_pack("{s:s, s:o}", "TableName", i->table, "Item", intent_item(i, id, request, policy));
  if (!make_known(i, id, false))
    json_decref(body);
  else if (errands_add(i->errands, id, "PutItem", body, on_put, p))
    return KPI_OK;
  pthread_mutex_lock(&i->synced.lock);
  unlink_put(i, p);
  pthread_mutex_unlock(&i->synced.lock);
  free(p);
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory to keep the run");
}

enum intent_state intents_state(struct intents *i, const char *id, struct err *err) {
  SCOPE_LOCK(&i->synced.lock);
  struct put *p = find_put(i, id);
  const struct known *k = *find_known(i, id);
  if (!p && k && k->is_stored)
    return INTENT_STORED;
  if (!p || p->state == INTENT_UNDER_WAY)
    return INTENT_UNDER_WAY;
  enum intent_state state = p->state;
  *err = p->err;
  unlink_put(i, p);
  free(p);
  return state;
}

/* ---- changing and removing ---- */

static void change(struct intents *i, const char *id, const char *operation, json_t *body) {
  if (!errands_add(i->errands, id, operation, body, NULL, NULL))
    log_at(LOG_WARN, "intents.not_changed", "no memory", LOG_S("run_id", id),
           LOG_S("aws_operation", operation));
}

void intents_remove(struct intents *i, const char *id) {
  intents_forget_put(i, id);
  if (make_unknown(i, id))
    change(i, id, "DeleteItem", keyed_body(i, id));
}

void intents_begin_attempt(struct intents *i, const char *id, uint32_t attempt) {
  if (is_known(i, id))
    change(i, id, "UpdateItem", attempt_body(i, id, attempt, "ADD"));
}

void intents_end_attempt(struct intents *i, const char *id, uint32_t attempt) {
  if (is_known(i, id))
    change(i, id, "UpdateItem", attempt_body(i, id, attempt, "DELETE"));
}

/* ---- jobs ---- */

enum kpi_code intents_keep_job(struct intents *i, const struct owned_job *job, const char *const *run_ids,
                               size_t count, const struct stop_flag *stop, struct err *err) {
  json_t *body = job_item_put(i->table, i->source, job, run_ids, count);
  if (!body)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to keep the job");
  return dynamodb_call(i->aws, "PutItem", body, stop, NULL, NULL, err);
}

void intents_name_job(struct intents *i, const struct owned_job *job) {
  change(i, job->owner, "UpdateItem", job_item_name(i->table, job));
}

void intents_leave_job(struct intents *i, const struct owned_job *job, const char *const *run_ids,
                       size_t count) {
  if (count)
    change(i, job->owner, "UpdateItem", job_item_leave(i->table, job, run_ids, count));
}

void intents_remove_job(struct intents *i, const char *owner, uint32_t number) {
  change(i, owner, "DeleteItem", job_item_remove(i->table, owner, number));
}

/* ---- all of them ---- */

/* What is found until all have been looked at. */
struct loading {
  json_t *jobs;     /* owned; items */
  json_t *by_run;   /* owned; id of a run -> the item of the job that it waits for */
  enum kpi_code rc; /* of the first that may be taken later, if none was before; err says why */
  struct err err;
};

static void note_failure(struct loading *l, enum kpi_code rc, const struct err *why) {
  if (rc == KPI_OK || l->rc)
    return;
  l->rc = rc;
  l->err = *why;
}

typedef void (*item_fn)(struct intents *i, json_t *item, struct loading *l);

/* False when memory is exhausted. */
static bool note_waiting(struct loading *l, json_t *item) {
  size_t n;
  json_t *run;
  json_array_foreach(job_item_runs(item), n, run) {
    const char *id = json_string_value(run);
    const json_t *other = id ? json_object_get(l->by_run, id) : NULL;
    const bool is_its_own = id && (!other || job_item_is_newer(item, other));
    if (is_its_own && json_object_set(l->by_run, id, item))
      return false;
  }
  return true;
}

static void note_job(struct intents *i, json_t *item, struct loading *l) {
  struct owned_job job;
  struct err why;
  if (!job_item_read(item, i->source, &job))
    return;
  if (json_array_append(l->jobs, item) || !note_waiting(l, item))
    note_failure(l, err_set(&why, KPI_OUT_OF_MEMORY, "no memory for the jobs that are kept"), &why);
}

static void hand_on_intent(struct intents *i, json_t *item, struct loading *l) {
  struct intent found;
  struct owned_job job;
  struct err why;
  bool is_wanted = true;
  if (!read_intent(i, item, &found) || !make_known(i, found.id, true))
    return;
  const json_t *waited_for = json_object_get(l->by_run, found.id);
  found.job = waited_for && job_item_read(waited_for, i->source, &job) ? &job : NULL;
  note_failure(l, i->taker.intent(i->taker.arg, &found, &is_wanted, &why), &why);
  if (!is_wanted)
    intents_remove(i, found.id);
}

static void hand_on_job(struct intents *i, json_t *item, struct loading *l) {
  struct owned_job job;
  struct err why;
  bool is_wanted = true;
  if (!job_item_read(item, i->source, &job))
    return;
  note_failure(l, i->taker.job(i->taker.arg, &job, &is_wanted, &why), &why);
  if (!is_wanted)
    intents_remove_job(i, job.owner, job.job.number);
}

static void each_item(struct intents *i, const json_t *items, item_fn fn, struct loading *l) {
  size_t n;
  json_t *item;
  json_array_foreach(items, n, item) fn(i, item, l);
}

static enum kpi_code scan_page(struct intents *i, const char *prefix, json_t *start, json_t **reply,
                               struct err *err) {
  json_t *body = json_pack("{s:s, s:b, s:s, s:{s:o}}", "TableName", i->table, "ConsistentRead", 1,
                           "FilterExpression", "begins_with(pk, :prefix)", "ExpressionAttributeValues",
                           ":prefix", dynamodb_text(view_of(prefix)));
  if (start)
    json_object_set_new(body, "ExclusiveStartKey", start);
  return dynamodb_call(i->aws, "Scan", body, &i->loading, reply, NULL, err);
}

/* Goes through all pages also when an item of one cannot be taken now: it is tried again with the rest. */
static enum kpi_code scan(struct intents *i, const char *prefix, item_fn fn, struct loading *l,
                          struct err *err) {
  json_t *start = NULL;
  do {
    json_t *reply = NULL;
    enum kpi_code rc = scan_page(i, prefix, start, &reply, err);
    if (rc)
      return rc;
    each_item(i, json_object_get(reply, "Items"), fn, l);
    start = json_incref(json_object_get(reply, "LastEvaluatedKey"));
    json_decref(reply);
  } while (start);
  return KPI_OK;
}

/* Jobs are known before the runs that wait for them are taken, and handed on when all of these are: what is
 * left then nobody waits for. */
static enum kpi_code load_with(struct intents *i, struct loading *l, struct err *err) {
  enum kpi_code rc = i->taker.job ? scan(i, JOB_ITEM_PREFIX, note_job, l, err) : KPI_OK;
  if (rc == KPI_OK)
    rc = scan(i, PREFIX, hand_on_intent, l, err);
  if (rc)
    return rc;
  if (l->rc == KPI_OK)
    each_item(i, l->jobs, hand_on_job, l);
  if (l->rc)
    *err = l->err;
  return l->rc;
}

static enum kpi_code load_all(struct intents *i, struct err *err) {
  struct loading l = {.jobs = json_array(), .by_run = json_object()};
  enum kpi_code rc = load_with(i, &l, err);
  json_decref(l.jobs);
  json_decref(l.by_run);
  return rc;
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

void intents_load(struct intents *i, const struct intents_taker *taker) {
  i->taker = *taker;
  pool_submit(i->pool, &i->tasks, run_load, i);
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
  i->errands = errands_new(aws);
  i->pool = pool_new(1, 1);
  if (i->errands && i->pool)
    return i;
  intents_free(i, 0);
  return NULL;
}

void intents_free(struct intents *i, int64_t wait_ms) {
  if (!i)
    return;
  stop_raise(&i->loading, STOP_DRAIN);
  pool_free(i->pool);
  errands_free(i->errands, wait_ms); /* what was begun, and removals; if DynamoDB answers */
  while (i->synced.puts)
    intents_forget_put(i, i->synced.puts->id);
  for (size_t n = 0; n < KNOWN_LISTS; n++)
    while (i->synced.known[n]) {
      struct known *k = i->synced.known[n];
      i->synced.known[n] = k->next;
      free(k);
    }
  pthread_mutex_destroy(&i->synced.lock);
  free(i);
}
