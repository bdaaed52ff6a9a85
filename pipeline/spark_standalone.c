/* SPDX-License-Identifier: MIT
 * The REST server of Spark's master, which spark-submit talks to as well; source:
 * org.apache.spark.deploy.rest of Spark 3.5 and 4.0. It starts main classes only: ours is SparkSubmit, whose
 * arguments are a command line of spark-submit with a Python file. */
#include "base/crypto.h"
#include "base/scope.h"
#include "pipeline/spark_cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
  CONNECT_MS = 5 * 1000,
  CALL_MS = 30 * 1000, /* the server waits without end for a master that is stuck */
  REPLY_BYTES_MAX = 256 * 1024,
  URL_BYTES_MAX = 4 * 1024,
  TOKEN_BYTES_MAX = 16 * 1024
};

#define AUTHORIZATION "Authorization: Bearer "
#define S3_CLIENT "s3a" /* Hadoop's scheme */

/* The driver's JVM is begun without the options that the launcher of Spark 3.5 adds: Java 17 needs them, Java
 * 8 is told to ignore them. */
static const char java_options[] =
    "-XX:+IgnoreUnrecognizedVMOptions --add-opens=java.base/java.lang=ALL-UNNAMED "
    "--add-opens=java.base/java.lang.invoke=ALL-UNNAMED --add-opens=java.base/java.lang.reflect=ALL-UNNAMED "
    "--add-opens=java.base/java.io=ALL-UNNAMED --add-opens=java.base/java.net=ALL-UNNAMED "
    "--add-opens=java.base/java.nio=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED "
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED "
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED "
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED --add-opens=java.base/sun.nio.ch=ALL-UNNAMED "
    "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED --add-opens=java.base/sun.security.action=ALL-UNNAMED "
    "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED "
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED -Djdk.reflect.useDirectMethodHandle=false";

struct standalone {
  struct spark_cluster base;
  struct http_client *http; /* owned */
  /* borrowed */
  const char *rest_url, *master, *token_file;
  const struct spark_job_file *file;
};

/* ---- the token ---- */

/* Reads the file anew: tokens expire, and who renews them writes it again. An empty header: none is to be
 * sent. The caller cleanses it. */
static enum kpi_code read_token(const char *path, char *header, size_t size, struct err *err) {
  header[0] = '\0';
  if (!path)
    return KPI_OK;
  auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  char *text = header + strlen(AUTHORIZATION);
  ssize_t n = fd < 0 ? -1 : read(fd, text, size - strlen(AUTHORIZATION) - 1);
  if (n < 0)
    return err_set_errno(err, KPI_ENGINE_FAILED, errno, "KPI_SPARK_TOKEN_FILE=%s cannot be read", path);
  struct view token = view_trim((struct view){text, (size_t)n});
  bool ok = token.len > 0 && (size_t)n < size - strlen(AUTHORIZATION) - 1;
  for (size_t i = 0; i < token.len; i++)
    ok &= token.ptr[i] > ' ' && token.ptr[i] < 0x7f;
  memmove(text, token.ptr, token.len);
  text[token.len] = '\0';
  memcpy(header, AUTHORIZATION, strlen(AUTHORIZATION));
  return ok ? KPI_OK
            : err_set(
                  err, KPI_ENGINE_FAILED,
                  "KPI_SPARK_TOKEN_FILE=%s must hold one token, of printable characters and at most %d bytes",
                  path, TOKEN_BYTES_MAX);
}

/* ---- calls ---- */

/* One call: POST /v1/submissions/create, GET .../status/ID, POST .../kill/ID. */
struct exchange {
  const char *operation; /* "create", "status", "kill" */
  const char *id;        /* NULL: none */
  const json_t *body;    /* NULL: none; borrowed */
  const struct stop_flag *stop;
  json_t *reply; /* owned: an object */
};

static const char *text_of(const json_t *reply, const char *name) {
  const char *text = json_string_value(json_object_get(reply, name));
  return text ? text : "";
}

static enum kpi_code tell(const struct standalone *c, const struct exchange *x, long status,
                          enum kpi_code code, const char *what, const char *words, struct err *err) {
  err_set(err, code, "Spark master at %s: %s: %s%s%s", c->rest_url, x->operation, what, *words ? ": " : "",
          words);
  view_to_cstr(VIEW_LIT("spark"), err->remote.service, sizeof err->remote.service);
  view_to_cstr(view_of(x->operation), err->remote.operation, sizeof err->remote.operation);
  err->remote.http_status = (int)status;
  return code;
}

static enum kpi_code judge_outcome(const struct standalone *c, const struct exchange *x,
                                   enum http_outcome outcome, const struct http_reply *reply,
                                   struct err *err) {
  enum kpi_code code = outcome == HTTP_STOPPED     ? KPI_CANCELLED
                       : outcome == HTTP_NO_MEMORY ? KPI_OUT_OF_MEMORY
                                                   : KPI_ENGINE_UNAVAILABLE;
  return tell(c, x, reply->status, code, outcome == HTTP_TOO_LARGE ? "the reply is too large" : "no reply",
              reply->problem, err);
}

static enum kpi_code judge_status(const struct standalone *c, const struct exchange *x, long status,
                                  struct err *err) {
  char what[32];
  const char *words = text_of(x->reply, "message");
  snprintf(what, sizeof what, "HTTP %ld", status);
  if (status == 401 || status == 403)
    return tell(c, x, status, KPI_ENGINE_FAILED, what,
                c->token_file ? "the token in the file that KPI_SPARK_TOKEN_FILE names is refused"
                              : "a token is wanted: set KPI_SPARK_TOKEN_FILE",
                err);
  if (status >= 500 || status == 408 || status == 429)
    return tell(c, x, status, KPI_ENGINE_UNAVAILABLE, what, words, err);
  if (status / 100 != 2)
    return tell(c, x, status, KPI_ENGINE_FAILED, what,
                *words ? words : "is this the REST server of a Spark master?", err);
  return x->reply ? KPI_OK
                  : tell(c, x, status, KPI_ENGINE_UNAVAILABLE, what, "the reply is no JSON object", err);
}

static enum kpi_code send(const struct standalone *c, struct exchange *x, struct http_request *q,
                          struct err *err) {
  struct http_reply reply;
  enum http_outcome outcome = http_call(c->http, q, &reply);
  enum kpi_code rc;
  if (outcome == HTTP_REPLIED) {
    x->reply = json_loadb(reply.body.ptr ? reply.body.ptr : "", reply.body.len, 0, NULL);
    if (!json_is_object(x->reply)) {
      json_decref(x->reply);
      x->reply = NULL;
    }
    rc = judge_status(c, x, reply.status, err);
  } else {
    rc = judge_outcome(c, x, outcome, &reply, err);
  }
  http_reply_clear(&reply);
  return rc;
}

static void write_url(const struct standalone *c, const struct exchange *x, struct buf *url) {
  size_t len = strlen(c->rest_url);
  while (len && c->rest_url[len - 1] == '/')
    len--;
  buf_printf(url, "%.*s/v1/submissions/%s%s%s", (int)len, c->rest_url, x->operation, x->id ? "/" : "",
             x->id ? x->id : "");
}

/* The caller releases the reply in any case. */
static enum kpi_code call(const struct standalone *c, struct exchange *x, struct err *err) {
  char authorization[sizeof AUTHORIZATION + TOKEN_BYTES_MAX];
  auto_buf struct buf url;
  auto_free char *body = x->body ? json_dumps(x->body, JSON_COMPACT) : NULL;
  buf_init(&url, URL_BYTES_MAX);
  write_url(c, x, &url);
  if (buf_failed(&url) || (x->body && !body))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to talk to the Spark master");
  enum kpi_code rc = read_token(c->token_file, authorization, sizeof authorization, err);
  if (rc == KPI_OK) {
    struct http_request q = {.method = strcmp(x->operation, "status") == 0 ? "GET" : "POST",
                             .url = url.ptr,
                             .headers = {"Content-Type: application/json;charset=UTF-8", authorization},
                             .header_count = authorization[0] ? 2 : 1,
                             .has_body = strcmp(x->operation, "status") != 0,
                             .body = view_of(body),
                             .connect_ms = CONNECT_MS,
                             .timeout_ms = CALL_MS,
                             .reply_max = REPLY_BYTES_MAX,
                             .stop = x->stop};
    rc = send(c, x, &q, err);
  }
  crypto_cleanse(authorization, sizeof authorization);
  return rc;
}

/* A master that is not (yet) in charge knows nothing of any driver. */
static bool is_standby(const json_t *reply) {
  return strstr(text_of(reply, "message"), "state is not alive") != NULL;
}

static bool succeeded(const json_t *reply) {
  return json_is_true(json_object_get(reply, "success"));
}

/* ---- starting ---- */

/* The properties that are not the user's to set. */
static bool is_ours(struct view name) {
  static const char *const ours[] = {"spark.app.name", "spark.master", "spark.submit.deployMode",
                                     "spark.driver.supervise"};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
    if (view_is(name, ours[i]))
      return true;
  return false;
}

static json_t *text(struct view v) {
  return json_stringn(v.ptr ? v.ptr : "", v.len);
}

/* Sets a property twice: the master looks at the first for the driver's JVM, spark-submit at the second. */
static bool set_property(json_t *properties, json_t *args, struct view name, struct view value) {
  json_t *option =
      json_sprintf("%.*s=%.*s", (int)name.len, name.ptr, (int)value.len, value.len ? value.ptr : "");
  return json_object_setn_new(properties, name.ptr, name.len, text(value)) == 0 &&
         json_array_append_new(args, json_string("--conf")) == 0 && json_array_append_new(args, option) == 0;
}

static bool set_properties(const struct spark_job_file *file, json_t *properties, json_t *args) {
  bool has_java_options = false, ok = true;
  for (size_t i = 0; ok && i < file->property_count; i++) {
    const struct spark_property *p = &file->properties[i];
    has_java_options |= view_is(p->name, "spark.driver.extraJavaOptions");
    ok = is_ours(p->name) || set_property(properties, args, p->name, p->value);
  }
  if (ok && !has_java_options)
    ok = json_object_set_new(properties, "spark.driver.extraJavaOptions", json_string(java_options)) == 0;
  return ok;
}

/* The file as Hadoop's S3 client names it. */
static json_t *entry_of(const char *uri) {
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  spark_uri_write(uri, NULL, S3_CLIENT, &text);
  return buf_failed(&text) ? NULL : json_string(text.ptr);
}

/* Returns owned, NULL when memory is exhausted or a text is no UTF-8. */
static json_t *describe(const struct standalone *c, const struct spark_submission *s) {
  json_t *args =
      json_pack("[s, s, s, s, s, s]", "--master", c->master, "--deploy-mode", "client", "--name", s->token);
  json_t *properties =
      json_pack("{s:s, s:s, s:s, s:s}", "spark.app.name", s->token, "spark.master", c->master,
                "spark.submit.deployMode", "cluster", "spark.driver.supervise", "false");
  if (properties && args && set_properties(c->file, properties, args) &&
      json_array_append_new(args, entry_of(c->file->uri)) == 0 &&
      json_array_append_new(args, json_string(s->spec_uri)) == 0)
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:{s:s}}", "action", "CreateSubmissionRequest",
                     "clientSparkVersion", "3.5.0", "appResource", "", "appArgs", args, "mainClass",
                     "org.apache.spark.deploy.SparkSubmit", "sparkProperties", properties,
                     "environmentVariables", "SPARK_ENV_LOADED", "1");
  json_decref(args);
  json_decref(properties);
  return NULL;
}

/* The id becomes a part of paths. */
static bool take_id(const json_t *reply, char id[SPARK_JOB_ID_SIZE]) {
  struct view v = view_of(text_of(reply, "submissionId"));
  for (size_t i = 0; i < v.len; i++)
    if (!strchr("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_.", v.ptr[i]))
      return false;
  return v.len > 0 && view_to_cstr(v, id, SPARK_JOB_ID_SIZE);
}

static enum kpi_code accepted(const struct standalone *c, const struct exchange *x,
                              char id[SPARK_JOB_ID_SIZE], struct err *err) {
  if (is_standby(x->reply))
    return tell(c, x, 200, KPI_ENGINE_UNAVAILABLE, "not now", text_of(x->reply, "message"), err);
  if (json_is_false(json_object_get(x->reply, "success")))
    return tell(c, x, 200, KPI_ENGINE_FAILED, "refused", text_of(x->reply, "message"), err);
  if (succeeded(x->reply) && take_id(x->reply, id))
    return KPI_OK;
  id[0] = '\0';
  return tell(c, x, 200, KPI_ENGINE_UNAVAILABLE, "the reply has no submissionId of use", "", err);
}

static enum kpi_code standalone_start(struct spark_cluster *base, const struct spark_submission *s,
                                      char id[SPARK_JOB_ID_SIZE], struct err *err) {
  const struct standalone *c = (const struct standalone *)base;
  json_t *body = describe(c, s);
  if (!body)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for a Spark job, or a setting of it is no UTF-8");
  struct exchange x = {.operation = "create", .body = body, .stop = s->stop};
  enum kpi_code rc = call(c, &x, err);
  if (rc == KPI_OK)
    rc = accepted(c, &x, id, err);
  json_decref(x.reply);
  json_decref(body);
  return rc;
}

/* ---- looking and cancelling ---- */

/* UNKNOWN is what a master says that has just taken over, of a driver that it does know. */
static bool state_of(const char *name, enum spark_job_state *out) {
  static const struct {
    const char *name;
    enum spark_job_state state;
  } states[] = {{"SUBMITTED", SPARK_JOB_WAITING},  {"RELAUNCHING", SPARK_JOB_WAITING},
                {"UNKNOWN", SPARK_JOB_WAITING},    {"RUNNING", SPARK_JOB_RUNNING},
                {"FINISHED", SPARK_JOB_SUCCEEDED}, {"FAILED", SPARK_JOB_FAILED},
                {"ERROR", SPARK_JOB_FAILED},       {"KILLED", SPARK_JOB_CANCELLED}};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (strcmp(name, states[i].name) == 0) {
      *out = states[i].state;
      return true;
    }
  return false;
}

/* The state, and the words where there are any: the first line, as the rest is a stack. */
static void write_reason(const char *state, const char *words, char out[SPARK_REASON_SIZE]) {
  const char *prefix = "Exception from the cluster:\n";
  words += view_starts(view_of(words), prefix) ? strlen(prefix) : 0;
  snprintf(out, SPARK_REASON_SIZE, "%s%s%.*s", state, *words ? ": " : "", (int)strcspn(words, "\n"), words);
}

static enum kpi_code read_status(const struct standalone *c, const struct exchange *x,
                                 struct spark_job_status *out, struct err *err) {
  const char *state = text_of(x->reply, "driverState"), *words = text_of(x->reply, "message");
  if (is_standby(x->reply))
    return tell(c, x, 200, KPI_ENGINE_UNAVAILABLE, "not now", words, err);
  if (json_is_false(json_object_get(x->reply, "success"))) {
    out->state = SPARK_JOB_UNKNOWN;
    write_reason("the master knows no such driver", words, out->reason);
    return KPI_OK;
  }
  if (!succeeded(x->reply) || !state_of(state, &out->state))
    return tell(c, x, 200, KPI_ENGINE_UNAVAILABLE, "the reply has no driverState of use", state, err);
  write_reason(state, words, out->reason);
  return KPI_OK;
}

static enum kpi_code standalone_look(struct spark_cluster *base, const char *id, const struct stop_flag *stop,
                                     struct spark_job_status *out, struct err *err) {
  const struct standalone *c = (const struct standalone *)base;
  struct exchange x = {.operation = "status", .id = id, .stop = stop};
  enum kpi_code rc = call(c, &x, err);
  if (rc == KPI_OK)
    rc = read_status(c, &x, out, err);
  json_decref(x.reply);
  return rc;
}

static enum kpi_code standalone_cancel(struct spark_cluster *base, const char *id,
                                       const struct stop_flag *stop, struct err *err) {
  const struct standalone *c = (const struct standalone *)base;
  struct exchange x = {.operation = "kill", .id = id, .stop = stop};
  enum kpi_code rc = call(c, &x, err);
  if (rc == KPI_OK && is_standby(x.reply))
    rc = tell(c, &x, 200, KPI_ENGINE_UNAVAILABLE, "not now", text_of(x.reply, "message"), err);
  else if (rc == KPI_OK && !json_is_boolean(json_object_get(x.reply, "success")))
    rc = tell(c, &x, 200, KPI_ENGINE_UNAVAILABLE, "the reply does not tell of success", "", err);
  json_decref(x.reply);
  return rc;
}

static void standalone_free(struct spark_cluster *base) {
  http_client_free(((struct standalone *)base)->http);
  free(base);
}

static const struct spark_cluster_vtable standalone_vtable = {
    S3_CLIENT, false, standalone_start, NULL, standalone_look, standalone_cancel, standalone_free};

struct spark_cluster *spark_standalone_new(struct http_client *http, const char *rest_url, const char *master,
                                           const char *token_file, const struct spark_job_file *file) {
  struct standalone *c = http ? malloc(sizeof *c) : NULL;
  if (!c) {
    http_client_free(http);
    return NULL;
  }
  *c = (struct standalone){{&standalone_vtable}, http, rest_url, master, token_file, file};
  return &c->base;
}
