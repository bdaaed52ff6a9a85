/* SPDX-License-Identifier: MIT */
#include "base/http_client.h"

#include "base/clock.h"
#include "base/dynlib.h"
#include "base/scope.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
  POLL_MS = 100,
  RECEIVE_BYTES = 256 * 1024,
  STALL_BYTES_PER_SECOND = 1024,
  KEEP_CONNECTIONS_SECONDS = 50, /* less than the idle time after which servers close */
  RESOLVE_SPARE_MS = 3 * POLL_MS,
  ORPHAN_MS = 60 * 60 * 1000 /* longer than any resolver tries */
};

#define CURL_FUNCTIONS(X)                                                                                    \
  X(curl_, easy_cleanup)                                                                                     \
  X(curl_, easy_getinfo)                                                                                     \
  X(curl_, easy_init)                                                                                        \
  X(curl_, easy_setopt)                                                                                      \
  X(curl_, easy_strerror)                                                                                    \
  X(curl_, global_init)                                                                                      \
  X(curl_, multi_add_handle)                                                                                 \
  X(curl_, multi_cleanup)                                                                                    \
  X(curl_, multi_info_read)                                                                                  \
  X(curl_, multi_init)                                                                                       \
  X(curl_, multi_perform)                                                                                    \
  X(curl_, multi_poll)                                                                                       \
  X(curl_, multi_remove_handle)                                                                              \
  X(curl_, multi_setopt)                                                                                     \
  X(curl_, multi_wakeup)                                                                                     \
  X(curl_, slist_append)                                                                                     \
  X(curl_, slist_free_all)                                                                                   \
  X(curl_, version_info)

static struct { CURL_FUNCTIONS(DYNLIB_POINTER) } curl;
static const char *const curl_names[] = {CURL_FUNCTIONS(DYNLIB_NAME)};
static struct dynlib curl_library = {.soname = CURL_SONAME,
                                     .names = curl_names,
                                     .count = sizeof curl_names / sizeof curl_names[0],
                                     .pointers = &curl};
DYNLIB_NOTE(curl_note, CURL_SONAME, "http-client", "Amazon S3, DynamoDB and Spark");

/* One call: lives on the stack of its caller, who waits until it is over. Guarded by the client's lock. */
struct call {
  enum http_outcome outcome;
  pthread_cond_t ended; /* of its own, so that an end wakes nobody else */
  bool over;
};

/* The work for a call. Owned by the loop, as curl may need it for longer than the caller waits: curl 7.88
 * waits for the thread that resolves the name when a transfer is removed or times out, and all others with
 * it. So a call that ends while its name is being resolved leaves an orphan behind, which ends by itself with
 * that thread, before a connection is opened. */
struct transfer {
  struct call *call;                  /* NULL: an orphan, as the next two */
  const struct http_request *request; /* borrowed from the caller */
  struct http_reply *reply;           /* borrowed from the caller */
  CURL *easy;
  struct curl_slist *headers;
  int64_t deadline;         /* monotonic ms */
  int64_t resolve_deadline; /* monotonic ms; earlier than curl's own, which waits for the thread */
  bool is_resolving, head_is_over;
  enum http_outcome outcome;
  struct transfer *next; /* guarded by the client's lock while it waits to be begun */
};

struct curl_client {
  struct http_client base;
  CURLM *multi;
  char *ca_bundle; /* owned */
  size_t max_in_flight;
  pthread_t thread;
  struct transfer *active;  /* loop thread only, as the next two */
  struct transfer *orphans; /* not counted */
  size_t active_count;
  struct {
    pthread_mutex_t lock;
    struct transfer *first, **last; /* those that wait to be begun */
    bool stopping;
  } synced;
};

/* ---- replies ---- */

void http_reply_clear(struct http_reply *r) {
  if (!r)
    return;
  buf_clear(&r->head);
  buf_clear(&r->body);
}

struct view http_header(struct view head, const char *name) {
  struct view rest = head;
  while (rest.len) {
    struct view line = view_split(&rest, '\n');
    struct view key = view_split(&line, ':');
    if (line.ptr && view_eq_fold(key, view_of(name)))
      return view_trim(line);
  }
  return (struct view){0};
}

enum http_outcome http_call(struct http_client *c, const struct http_request *q, struct http_reply *out) {
  *out = (struct http_reply){0};
  buf_init(&out->head, HTTP_HEAD_BYTES_MAX);
  buf_init(&out->body, q->reply_max);
  return c->vtable->call(c, q, out);
}

void http_client_free(struct http_client *c) {
  if (c)
    c->vtable->free(c);
}

/* ---- callbacks of curl ---- */

/* Each header line. A new status line (after 100 Continue) starts the head again. */
static size_t on_header(char *bytes, size_t size, size_t count, void *arg) {
  struct transfer *t = arg;
  struct view line = {bytes, size * count};
  if (view_starts(line, "HTTP/"))
    buf_reset(&t->reply->head);
  buf_add(&t->reply->head, line);
  return buf_failed(&t->reply->head) ? 0 : line.len;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg) {
  struct transfer *t = arg;
  struct view piece = {bytes, size * count};
  if (!t->head_is_over) {
    curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->reply->status);
    t->head_is_over = true;
  }
  if (t->request->sink && t->reply->status / 100 == 2) {
    if (t->request->sink(t->request->sink_arg, t->reply->status, buf_view(&t->reply->head), piece))
      return piece.len;
    t->outcome = HTTP_REJECTED;
    return 0;
  }
  buf_add(&t->reply->body, piece);
  if (!buf_failed(&t->reply->body))
    return piece.len;
  t->outcome = HTTP_TOO_LARGE;
  return 0;
}

static int on_resolve(void *resolver, void *reserved, void *arg) {
  struct transfer *t = arg;
  (void)resolver;
  (void)reserved;
  t->is_resolving = true;
  return 0;
}

/* Nobody waits for an orphan: it must not be sent. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *at) {
  struct transfer *t = arg;
  (void)purpose;
  t->is_resolving = false;
  return t->call ? socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol) : CURL_SOCKET_BAD;
}

/* ---- setting up ---- */

static bool add_header(struct transfer *t, const char *line) {
  struct curl_slist *grown = curl.slist_append(t->headers, line);
  if (grown)
    t->headers = grown;
  return grown != NULL;
}

/* curl adds headers of its own to a body unless they are named empty. */
static bool build_headers(struct transfer *t) {
  bool ok = add_header(t, "Expect:") && add_header(t, "Accept:");
  bool has_type = false;
  for (size_t i = 0; ok && i < t->request->header_count; i++) {
    ok = add_header(t, t->request->headers[i]);
    has_type |= strncasecmp(t->request->headers[i], "content-type:", 13) == 0;
  }
  return ok && (has_type || add_header(t, "Content-Type:"));
}

static void set_safety(const struct curl_client *c, CURL *e) {
  curl.easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl.easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
  curl.easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
  curl.easy_setopt(e, CURLOPT_PROXY, "");
  curl.easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
  curl.easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  curl.easy_setopt(e, CURLOPT_USERAGENT, "kpid/" KPID_VERSION);
  if (c->ca_bundle)
    curl.easy_setopt(e, CURLOPT_CAINFO, c->ca_bundle);
}

static void set_request(CURL *e, const struct http_request *q) {
  curl.easy_setopt(e, CURLOPT_URL, q->url);
  if (q->has_body) {
    curl.easy_setopt(e, CURLOPT_POSTFIELDS, q->body.len ? q->body.ptr : "");
    curl.easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body.len);
  }
  curl.easy_setopt(e, CURLOPT_CUSTOMREQUEST, q->method);
  curl.easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)q->connect_ms);
  if (q->stall_seconds) {
    curl.easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES_PER_SECOND);
    curl.easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)q->stall_seconds);
  }
  curl.easy_setopt(e, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
  curl.easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEEP_CONNECTIONS_SECONDS);
}

static bool set_up(const struct curl_client *c, struct transfer *t) {
  t->easy = curl.easy_init();
  if (!t->easy || !build_headers(t))
    return false;
  set_safety(c, t->easy);
  set_request(t->easy, t->request);
  curl.easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
  curl.easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
  curl.easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
  curl.easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
  curl.easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
  curl.easy_setopt(t->easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolve);
  curl.easy_setopt(t->easy, CURLOPT_RESOLVER_START_DATA, t);
  curl.easy_setopt(t->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
  curl.easy_setopt(t->easy, CURLOPT_OPENSOCKETDATA, t);
  curl.easy_setopt(t->easy, CURLOPT_PRIVATE, t);
  curl.easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->reply->problem);
  return true;
}

/* ---- the loop ---- */

static void transfer_free(struct transfer *t) {
  curl.easy_cleanup(t->easy);
  curl.slist_free_all(t->headers);
  free(t);
}

/* Lets the caller go, who may return at once: nothing of the call may be touched afterwards. */
static void answer(struct curl_client *c, struct call *call, enum http_outcome outcome) {
  SCOPE_LOCK(&c->synced.lock);
  call->outcome = outcome;
  call->over = true;
  pthread_cond_signal(&call->ended);
}

static void end(struct curl_client *c, struct transfer *t, enum http_outcome outcome, const char *why) {
  struct call *call = t->call;
  if (why && !t->reply->problem[0])
    view_to_cstr(view_of(why), t->reply->problem, sizeof t->reply->problem);
  transfer_free(t);
  answer(c, call, outcome);
}

static void take_off(struct transfer **list, const struct transfer *t) {
  while (*list != t)
    list = &(*list)->next;
  *list = t->next;
}

static void forget(struct curl_client *c, struct transfer *t) {
  take_off(&c->active, t);
  c->active_count--;
  curl.multi_remove_handle(c->multi, t->easy);
}

/* Ends the call, but not the transfer. */
static void orphan(struct curl_client *c, struct transfer *t, enum http_outcome outcome, const char *why) {
  struct call *call = t->call;
  view_to_cstr(view_of(why), t->reply->problem, sizeof t->reply->problem);
  curl.easy_setopt(t->easy, CURLOPT_ERRORBUFFER, NULL);
  curl.easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)ORPHAN_MS);
  t->call = NULL;
  t->request = NULL;
  t->reply = NULL;
  take_off(&c->active, t);
  c->active_count--;
  t->next = c->orphans;
  c->orphans = t;
  answer(c, call, outcome);
}

static void end_orphan(struct curl_client *c, struct transfer *t) {
  take_off(&c->orphans, t);
  curl.multi_remove_handle(c->multi, t->easy);
  transfer_free(t);
}

/* Takes the next waiting transfer while there is room; NULL otherwise. */
static struct transfer *take_waiting(struct curl_client *c) {
  SCOPE_LOCK(&c->synced.lock);
  struct transfer *t = c->synced.first;
  if (!t || c->active_count >= c->max_in_flight)
    return NULL;
  c->synced.first = t->next;
  if (!t->next)
    c->synced.last = &c->synced.first;
  return t;
}

static void begin_waiting(struct curl_client *c) {
  struct transfer *t;
  while ((t = take_waiting(c)) != NULL) {
    if (!set_up(c, t) || curl.multi_add_handle(c->multi, t->easy) != CURLM_OK) {
      end(c, t, HTTP_NO_MEMORY, "no memory for the request");
      continue;
    }
    t->resolve_deadline = clock_mono_ms() + t->request->connect_ms - RESOLVE_SPARE_MS;
    t->next = c->active;
    c->active = t;
    c->active_count++;
  }
}

static enum http_outcome outcome_of(const struct transfer *t, CURLcode code) {
  static const struct {
    CURLcode code;
    enum http_outcome outcome;
  } known[] = {{CURLE_OK, HTTP_REPLIED},
               {CURLE_COULDNT_RESOLVE_HOST, HTTP_UNREACHABLE},
               {CURLE_COULDNT_CONNECT, HTTP_UNREACHABLE},
               {CURLE_SSL_CONNECT_ERROR, HTTP_UNREACHABLE},
               {CURLE_PEER_FAILED_VERIFICATION, HTTP_UNREACHABLE},
               {CURLE_SSL_CACERT_BADFILE, HTTP_UNREACHABLE},
               {CURLE_OPERATION_TIMEDOUT, HTTP_TIMED_OUT},
               {CURLE_OUT_OF_MEMORY, HTTP_NO_MEMORY}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (known[i].code == code)
      return known[i].outcome;
  /* The callbacks say why they ended a transfer; everything else is the other side's doing. */
  return t->outcome == HTTP_REPLIED ? HTTP_BROKEN : t->outcome;
}

static void end_finished(struct curl_client *c) {
  int left;
  CURLMsg *message;
  while ((message = curl.multi_info_read(c->multi, &left)) != NULL) {
    struct transfer *t = NULL;
    CURLcode code = message->data.result;
    curl.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
    if (!t->call) {
      end_orphan(c, t);
      continue;
    }
    curl.easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &t->reply->status);
    forget(c, t);
    end(c, t, outcome_of(t, code), code ? curl.easy_strerror(code) : NULL);
  }
}

/* How a transfer has to end now; HTTP_REPLIED: it has not to. */
static enum http_outcome due(const struct transfer *t, int64_t now) {
  bool unresolved = t->is_resolving && now >= t->resolve_deadline;
  if (stop_reason(t->request->stop) != STOP_NONE)
    return HTTP_STOPPED;
  return unresolved || now >= t->deadline ? HTTP_TIMED_OUT : HTTP_REPLIED;
}

static const char *why_due(const struct transfer *t, enum http_outcome outcome) {
  if (outcome == HTTP_STOPPED)
    return "stopped";
  if (!t->easy)
    return "no turn in time";
  return t->is_resolving ? "the name was not resolved in time" : "no whole reply in time";
}

/* Takes a transfer out of those that wait for their turn when it has to end; NULL when none has. */
static struct transfer *take_due(struct curl_client *c, int64_t now) {
  SCOPE_LOCK(&c->synced.lock);
  for (struct transfer **at = &c->synced.first; *at; at = &(*at)->next) {
    struct transfer *t = *at;
    if (due(t, now) == HTTP_REPLIED)
      continue;
    *at = t->next;
    if (!t->next)
      c->synced.last = at;
    return t;
  }
  return NULL;
}

/* Ends what was stopped or is past its deadline, also while it waits for the first byte or for its turn. */
static void end_overdue(struct curl_client *c) {
  int64_t now = clock_mono_ms();
  enum http_outcome outcome;
  for (struct transfer *t; (t = take_due(c, now)) != NULL;) {
    outcome = due(t, now);
    end(c, t, outcome, why_due(t, outcome));
  }
  for (struct transfer *t = c->active, *next; t; t = next) {
    next = t->next;
    outcome = due(t, now);
    if (outcome == HTTP_REPLIED)
      continue;
    if (t->is_resolving) {
      orphan(c, t, outcome, why_due(t, outcome));
      continue;
    }
    forget(c, t);
    end(c, t, outcome, why_due(t, outcome));
  }
}

static bool is_stopping(struct curl_client *c) {
  SCOPE_LOCK(&c->synced.lock);
  return c->synced.stopping;
}

static void *loop(void *arg) {
  struct curl_client *c = arg;
  while (!is_stopping(c)) {
    int running;
    curl.multi_perform(c->multi, &running);
    end_finished(c);
    end_overdue(c);
    begin_waiting(c); /* last, so that a place that became free is taken before the loop sleeps */
    curl.multi_poll(c->multi, NULL, 0, c->active_count ? POLL_MS : 10 * POLL_MS, NULL);
  }
  return NULL;
}

/* ---- calls ---- */

static void enqueue(struct curl_client *c, struct transfer *t) {
  SCOPE_LOCK(&c->synced.lock);
  *c->synced.last = t;
  c->synced.last = &t->next;
}

static enum http_outcome curl_call(struct http_client *base, const struct http_request *q,
                                   struct http_reply *out) {
  struct curl_client *c = (struct curl_client *)base;
  struct call call = {.over = false};
  struct transfer *t = calloc(1, sizeof *t);
  if (!t)
    return HTTP_NO_MEMORY;
  *t = (struct transfer){
      .call = &call, .request = q, .reply = out, .deadline = clock_mono_ms() + q->timeout_ms};
  pthread_cond_init(&call.ended, NULL);
  enqueue(c, t);
  curl.multi_wakeup(c->multi);
  pthread_mutex_lock(&c->synced.lock);
  while (!call.over)
    pthread_cond_wait(&call.ended, &c->synced.lock);
  pthread_mutex_unlock(&c->synced.lock);
  pthread_cond_destroy(&call.ended);
  return call.outcome;
}

static void curl_client_release(struct curl_client *c) {
  curl.multi_cleanup(c->multi);
  pthread_mutex_destroy(&c->synced.lock);
  free(c->ca_bundle);
  free(c);
}

static void curl_client_free(struct http_client *base) {
  struct curl_client *c = (struct curl_client *)base;
  pthread_mutex_lock(&c->synced.lock);
  c->synced.stopping = true;
  pthread_mutex_unlock(&c->synced.lock);
  curl.multi_wakeup(c->multi);
  pthread_join(c->thread, NULL);
  while (c->orphans) {
    curl.easy_setopt(c->orphans->easy, CURLOPT_QUICK_EXIT, 1L);
    end_orphan(c, c->orphans);
  }
  curl_client_release(c);
}

static const struct http_client_vtable curl_vtable = {curl_call, curl_client_free};

enum kpi_code http_client_load(struct err *err) {
  return dynlib_load(&curl_library, err);
}

const char *http_client_library_version(void) {
  struct err err;
  return http_client_load(&err) ? "missing" : curl.version_info(CURLVERSION_NOW)->version;
}

enum kpi_code http_client_new(size_t max_in_flight, const char *ca_bundle, struct http_client **out,
                              struct err *err) {
  *out = NULL;
  enum kpi_code rc = http_client_load(err);
  if (rc)
    return rc;
  if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) /* does it once, and is counted; nobody undoes it */
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for HTTP requests");
  struct curl_client *c = calloc(1, sizeof *c);
  if (!c)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for HTTP requests");
  c->base.vtable = &curl_vtable;
  c->multi = curl.multi_init();
  c->ca_bundle = ca_bundle ? strdup(ca_bundle) : NULL;
  c->max_in_flight = max_in_flight;
  c->synced.last = &c->synced.first;
  pthread_mutex_init(&c->synced.lock, NULL);
  if (!c->multi || (ca_bundle && !c->ca_bundle) || pthread_create(&c->thread, NULL, loop, c) != 0) {
    curl_client_release(c);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads for HTTP requests");
  }
  curl.multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)max_in_flight);
  *out = &c->base;
  return KPI_OK;
}
