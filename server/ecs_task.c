/* SPDX-License-Identifier: MIT */
#include "server/ecs_task.h"

#include "base/clock.h"
#include "base/http_client.h"
#include "base/log.h"
#include "base/scope.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  EXPIRES_MINUTES = 120,
  RENEW_MS = 60 * 60 * 1000,
  QUIET_MS = 10 * 1000, /* runs that follow each other sooner are one stretch of work */
  RETRY_MS = 30 * 1000,
  CONNECT_MS = 1000,
  TIMEOUT_MS = 5000,
  REPLY_MAX = 256 * 1024,
  URL_MAX = 4096
};

struct ecs_task {
  const char *agent, *metadata; /* NULL: not given */
  struct http_client *http;
  struct stop_flag stop;
  pthread_t thread;
  bool is_refused; /* said already */
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct ecs_protection protection;
    bool ending;
  } synced;
};

enum ecs_wish ecs_protection_wish(const struct ecs_protection *p, int64_t now, int64_t *next) {
  *next = INT64_MAX;
  enum ecs_wish wish = ECS_NOTHING;
  if (p->is_busy) {
    int64_t renew_at = p->is_on ? p->on_since + RENEW_MS : now;
    *next = renew_at;
    wish = ECS_PROTECT;
  } else if (p->is_on) {
    *next = p->busy_until + QUIET_MS;
    wish = ECS_UNPROTECT;
  }
  if (*next < p->not_before)
    *next = p->not_before;
  return wish != ECS_NOTHING && *next <= now ? wish : ECS_NOTHING;
}

/* ---- the agent ---- */

/* GET, or PUT with a JSON body. The reply is the caller's. */
static bool ask(struct ecs_task *t, const char *base, const char *path, const char *body,
                struct http_reply *reply) {
  auto_buf struct buf url;
  buf_init(&url, URL_MAX);
  buf_printf(&url, "%s%s", base, path);
  struct http_request q = {.method = body ? "PUT" : "GET",
                           .url = url.ptr,
                           .headers = {"Accept: application/json", "Content-Type: application/json"},
                           .header_count = body ? 2 : 1,
                           .has_body = body != NULL,
                           .body = view_of(body),
                           .connect_ms = CONNECT_MS,
                           .timeout_ms = TIMEOUT_MS,
                           .reply_max = REPLY_MAX,
                           .stop = &t->stop};
  *reply = (struct http_reply){0};
  return !buf_failed(&url) && http_call(t->http, &q, reply) == HTTP_REPLIED;
}

/* Returns the document of a reply of status 200, owned; NULL when there is none. */
static json_t *document_of(const struct http_reply *reply) {
  return reply->status == 200 && reply->body.len ? json_loadb(reply->body.ptr, reply->body.len, 0, NULL)
                                                 : NULL;
}

/* The agent also refuses with status 200, and says so in the document. */
static bool is_agreed(const struct http_reply *reply, bool wanted) {
  json_t *root = document_of(reply);
  const json_t *is_on = json_object_get(json_object_get(root, "protection"), "ProtectionEnabled");
  bool agreed = json_is_boolean(is_on) && json_is_true(is_on) == wanted;
  json_decref(root);
  return agreed;
}

/* Says a refusal once, until it is over. */
static void note_answer(struct ecs_task *t, bool protect, bool agreed, const struct http_reply *reply) {
  char answer[512];
  if (agreed) {
    t->is_refused = false;
    log_at(LOG_INFO, protect ? "ecs.protected" : "ecs.unprotected",
           protect ? "ECS does not stop this task while runs are under way" : "no run is under way");
    return;
  }
  if (t->is_refused || stop_reason(&t->stop) != STOP_NONE)
    return;
  t->is_refused = true;
  struct view body = buf_view(&reply->body);
  if (body.len >= sizeof answer)
    body.len = sizeof answer - 1;
  bool has_text = body.len && view_to_cstr(body, answer, sizeof answer);
  log_at(LOG_WARN, "ecs.protection_refused",
         "the agent of ECS has not changed the task's protection; it is asked again. The task's role needs "
         "ecs:UpdateTaskProtection, and only tasks of a service are protected",
         LOG_I("status", reply->status), LOG_S("answer", has_text ? answer : reply->problem));
}

static void tell(struct ecs_task *t, enum ecs_wish wish) {
  char body[96];
  bool protect = wish == ECS_PROTECT;
  if (protect)
    snprintf(body, sizeof body, "{\"ProtectionEnabled\":true,\"ExpiresInMinutes\":%d}", EXPIRES_MINUTES);
  else
    snprintf(body, sizeof body, "{\"ProtectionEnabled\":false}");
  struct http_reply reply;
  bool agreed = ask(t, t->agent, "/task-protection/v1/state", body, &reply) && is_agreed(&reply, protect);
  note_answer(t, protect, agreed, &reply);
  http_reply_clear(&reply);
  int64_t now = clock_mono_ms();
  SCOPE_LOCK(&t->synced.lock);
  t->synced.protection.not_before = agreed ? 0 : now + RETRY_MS;
  if (agreed) {
    t->synced.protection.is_on = protect;
    t->synced.protection.on_since = now;
  }
}

static const char *text_at(const json_t *root, const char *name) {
  return json_string_value(json_object_get(root, name));
}

/* From here on every line of the log has the id of the task, the end of its ARN. */
static void introduce(struct ecs_task *t) {
  struct http_reply reply;
  json_t *root = ask(t, t->metadata, "/task", NULL, &reply) ? document_of(&reply) : NULL;
  const char *arn = text_at(root, "TaskARN");
  if (arn) {
    log_set_task(strrchr(arn, '/') ? strrchr(arn, '/') + 1 : arn);
    log_at(LOG_INFO, "ecs.task", "this is a task of ECS", LOG_S("task_arn", arn),
           LOG_S("cluster", text_at(root, "Cluster")), LOG_S("service", text_at(root, "ServiceName")),
           LOG_S("family", text_at(root, "Family")), LOG_S("revision", text_at(root, "Revision")),
           LOG_S("zone", text_at(root, "AvailabilityZone")),
           LOG_S("launch_type", text_at(root, "LaunchType")));
  } else if (stop_reason(&t->stop) == STOP_NONE) {
    log_at(LOG_WARN, "ecs.no_metadata", "the metadata of the task could not be read",
           LOG_I("status", reply.status), LOG_S("answer", reply.problem));
  }
  json_decref(root);
  http_reply_clear(&reply);
}

/* ---- the thread ---- */

/* Waits until the agent is to be told something. ECS_NOTHING at the end. */
static enum ecs_wish next_wish(struct ecs_task *t) {
  SCOPE_LOCK(&t->synced.lock);
  while (!t->synced.ending) {
    int64_t next;
    enum ecs_wish wish = ecs_protection_wish(&t->synced.protection, clock_mono_ms(), &next);
    if (wish != ECS_NOTHING)
      return wish;
    struct timespec until = clock_timespec(next);
    if (next == INT64_MAX)
      pthread_cond_wait(&t->synced.changed, &t->synced.lock);
    else
      pthread_cond_clockwait(&t->synced.changed, &t->synced.lock, CLOCK_MONOTONIC, &until);
  }
  return ECS_NOTHING;
}

static void *attend(void *arg) {
  struct ecs_task *t = arg;
  enum ecs_wish wish;
  if (t->metadata)
    introduce(t);
  while (t->agent && (wish = next_wish(t)) != ECS_NOTHING)
    tell(t, wish);
  return NULL;
}

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value && *value ? value : NULL;
}

enum kpi_code ecs_task_start(struct ecs_task **out, struct err *err) {
  const char *agent = setting("ECS_AGENT_URI"), *metadata = setting("ECS_CONTAINER_METADATA_URI_V4");
  *out = NULL;
  if (!agent && !metadata)
    return KPI_OK;
  struct ecs_task *t = calloc(1, sizeof *t);
  if (!t)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the agent of ECS");
  t->agent = agent;
  t->metadata = metadata;
  pthread_mutex_init(&t->synced.lock, NULL);
  pthread_cond_init(&t->synced.changed, NULL);
  enum kpi_code rc = http_client_new(1, NULL, &t->http, err);
  if (!rc && pthread_create(&t->thread, NULL, attend, t) == 0) {
    *out = t;
    return KPI_OK;
  }
  if (!rc)
    rc = err_set(err, KPI_OUT_OF_MEMORY, "no thread for the agent of ECS");
  http_client_free(t->http);
  pthread_cond_destroy(&t->synced.changed);
  pthread_mutex_destroy(&t->synced.lock);
  free(t);
  return rc;
}

void ecs_task_set_busy(struct ecs_task *t, bool is_busy) {
  if (!t)
    return;
  SCOPE_LOCK(&t->synced.lock);
  struct ecs_protection *p = &t->synced.protection;
  if (p->is_busy == is_busy)
    return;
  p->is_busy = is_busy;
  p->busy_until = clock_mono_ms();
  pthread_cond_signal(&t->synced.changed);
}

void ecs_task_free(struct ecs_task *t) {
  if (!t)
    return;
  stop_raise(&t->stop, STOP_DRAIN);
  pthread_mutex_lock(&t->synced.lock);
  t->synced.ending = true;
  pthread_cond_signal(&t->synced.changed);
  pthread_mutex_unlock(&t->synced.lock);
  pthread_join(t->thread, NULL);
  http_client_free(t->http);
  pthread_cond_destroy(&t->synced.changed);
  pthread_mutex_destroy(&t->synced.lock);
  free(t);
}
