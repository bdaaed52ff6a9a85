/* SPDX-License-Identifier: MIT */
#include "server/http_server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/http_conns.h"
#include "server/http_library.h"
#include "server/http_listen.h"
#include "server/http_metrics.h"
#include "server/waiters.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  TICK_MS = 1000,
  LOGGED_PATH_BYTES = 256,
  STOP_POLL_MS = 10,
  STREAM_CHUNK_BYTES = 4096 /* a client that takes less in HTTP_REQUEST_TIMEOUT_MS has gone */
};

struct listener {
  struct http_server *server;
  struct MHD_Daemon *daemon;
  const struct route_set *const *routes;
  int fd;
  bool is_quiet; /* takes no connections any more */
  char address[HTTP_ADDRESS_SIZE];
  bool (*admit)(void *arg, struct request *rq, struct reply *rp); /* NULL: everyone */
  void *admit_arg;
};

struct http_server {
  struct listener api, health;
  void *app;
  struct waiters waiters;
  struct conns conns;
  pthread_t keeper;
  bool keeper_runs;
  bool layout_known; /* this version of the library leaves heads as http_gate expects them */
  _Atomic bool stopping, draining;
  _Atomic size_t in_flight, suspended; /* requests */
  _Atomic int64_t log_second;
  _Atomic int log_lines, log_dropped;
};

/* One request from its first line to the end of its reply. */
struct call {
  struct waiter waiter;
  struct listener *listener;
  struct MHD_Connection *mhd;
  struct conn *conn;
  struct request rq;
  struct buf body;
  char *target;          /* owned copy; the library cuts its own at '?' */
  const char *target_at; /* where it stands in the receive buffer */
  const char *method;
  size_t field_total; /* may pass HTTP_HEADERS_MAX */
  int64_t started_us; /* monotonic */
  uint64_t body_size;
  uint64_t mark; /* of the waiters, taken before the handler looked */
  unsigned status;
  size_t reply_bytes;
  bool begun, suspended, too_many_watchers;
  _Atomic bool wait_over, noticed;
  stream_next_fn next; /* of a stream */
  struct buf piece;    /* what the stream sends now */
  size_t piece_sent;
  bool stream_ends; /* with this piece */
};

/* --- connections and deadlines ----------------------------------------------------------------------- */

static void on_connection(void *cls, struct MHD_Connection *mhd, void **slot,
                          enum MHD_ConnectionNotificationCode what) {
  struct listener *l = cls;
  if (what == MHD_CONNECTION_NOTIFY_STARTED) {
    const union MHD_ConnectionInfo *info =
        microhttpd.get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    *slot = info ? conns_add(&l->server->conns, info->connect_fd) : NULL;
  } else {
    conns_remove(&l->server->conns, *slot);
    *slot = NULL;
  }
}

static void reap(struct http_server *s, int64_t now_ms) {
  int reaped = conns_reap(&s->conns, now_ms);
  if (reaped)
    log_at(LOG_INFO, "http.reaped", "connections past their deadline were closed",
           LOG_I("connections", reaped));
}

/* The keeper ends what has a deadline: long polls on time, connections within a tick. */
static void *keep(void *arg) {
  struct http_server *s = arg;
  int64_t tick = clock_mono_ms() + TICK_MS;
  while (!atomic_load(&s->stopping)) {
    waiters_sleep(&s->waiters, tick);
    int64_t now = clock_mono_ms();
    waiters_expire(&s->waiters, now);
    if (now < tick)
      continue;
    waiters_sweep(&s->waiters);
    reap(s, now);
    tick = now + TICK_MS;
  }
  return NULL;
}

/* --- waiting ----------------------------------------------------------------------------------------- */

/* From the moment of MHD_resume_connection on the call belongs to a thread of the library again. */
static void wake(struct waiter *w, bool over) {
  struct call *c = (struct call *)(void *)w; /* its first member */
  atomic_store(over ? &c->wait_over : &c->noticed, true);
  microhttpd.resume_connection(c->mhd);
}

/* Suspends first and only then lets others see the waiter: it may be woken before this returns. */
static void suspend(struct call *c, const char topic[REPLY_TOPIC_SIZE], int64_t until_ms) {
  struct http_server *s = c->listener->server;
  int64_t longest = clock_mono_ms() + (int64_t)HTTP_WAIT_SECONDS_MAX * 1000;
  memcpy(c->waiter.topic, topic, sizeof c->waiter.topic);
  c->waiter.deadline_ms = until_ms < longest ? until_ms : longest;
  c->waiter.fd = c->conn ? c->conn->fd : -1;
  conn_set_deadline(c->conn, (int64_t)HTTP_WAIT_SECONDS_MAX * 1000 + HTTP_REQUEST_TIMEOUT_MS);
  c->suspended = true;
  atomic_fetch_add(&s->suspended, 1);
  http_metrics_waiting(1);
  microhttpd.suspend_connection(c->mhd);
  enum waiters_result result = waiters_add(&s->waiters, &c->waiter, c->mark);
  if (result == WAITERS_ADDED)
    return;
  c->too_many_watchers = result == WAITERS_FULL;
  wake(&c->waiter, result == WAITERS_CLOSED);
}

static void end_suspension(struct call *c) {
  if (!c->suspended)
    return;
  c->suspended = false;
  atomic_fetch_sub(&c->listener->server->suspended, 1);
  http_metrics_waiting(-1);
  conn_set_deadline(c->conn, HTTP_REQUEST_TIMEOUT_MS);
}

/* --- streams ----------------------------------------------------------------------------------------- */

/* Ended before its time and not by us: the client has closed its side. */
static bool client_is_gone(const struct call *c, bool over) {
  return over && !atomic_load(&c->listener->server->draining) && clock_mono_ms() < c->waiter.deadline_ms;
}

/* Asks the handler what comes next. The mark stays where the handler has last looked. */
static void take_turn(struct call *c, struct stream_turn *turn) {
  struct http_server *s = c->listener->server;
  *turn = (struct stream_turn){.to = &c->piece,
                               .was_noticed = atomic_exchange(&c->noticed, false),
                               .is_draining = atomic_load(&s->draining)};
  if (turn->was_noticed)
    c->mark = waiters_mark(&s->waiters);
  buf_clear(&c->piece);
  c->piece_sent = 0;
  c->stream_ends = !c->next(&c->rq, turn);
}

/* Called whenever all that came before is on its way: memory is held for one piece only, however slow the
 * client. Suspending and returning 0 is how the library is told to call again after a wake. */
static ssize_t read_stream(void *cls, uint64_t at, char *to, size_t room) {
  struct call *c = cls;
  struct stream_turn turn;
  (void)at;
  end_suspension(c);
  conn_set_deadline(c->conn, HTTP_REQUEST_TIMEOUT_MS);
  if (client_is_gone(c, atomic_exchange(&c->wait_over, false)))
    return MHD_CONTENT_READER_END_WITH_ERROR;
  if (c->piece_sent == c->piece.len) {
    if (c->stream_ends)
      return MHD_CONTENT_READER_END_OF_STREAM;
    take_turn(c, &turn);
    if (buf_failed(&c->piece))
      return MHD_CONTENT_READER_END_WITH_ERROR;
    if (c->piece.len == 0 && c->stream_ends)
      return MHD_CONTENT_READER_END_OF_STREAM;
    if (c->piece.len == 0) {
      suspend(c, turn.topic, turn.wait_until_ms);
      return 0; /* c may be at work elsewhere already */
    }
  }
  size_t left = c->piece.len - c->piece_sent, most = room < STREAM_CHUNK_BYTES ? room : STREAM_CHUNK_BYTES;
  size_t size = left < most ? left : most;
  memcpy(to, c->piece.ptr + c->piece_sent, size);
  c->piece_sent += size;
  c->reply_bytes += size;
  return (ssize_t)size;
}

/* A stream is a watcher from its first byte to its last. False: there are too many. */
static bool begin_stream(struct call *c, const struct reply *rp) {
  c->next = rp->next;
  atomic_store(&c->noticed, true);
  if (c->rq.method == HTTP_HEAD)
    return true;
  conn_set_streaming(c->conn);
  return waiters_take_place(&c->listener->server->waiters, &c->waiter);
}

/* --- replies ----------------------------------------------------------------------------------------- */

static void add_headers(const struct call *c, const struct reply *rp, bool close_it,
                        struct MHD_Response *out) {
  if (rp->content_type)
    microhttpd.add_response_header(out, "Content-Type", rp->content_type);
  for (size_t i = 0; i < rp->header_count; i++)
    microhttpd.add_response_header(out, rp->headers[i].name, rp->headers[i].value);
  if (!reply_header_value(rp, "Cache-Control"))
    microhttpd.add_response_header(out, "Cache-Control", "no-store");
  microhttpd.add_response_header(out, "X-Content-Type-Options", "nosniff");
  microhttpd.add_response_header(out, "X-Request-Id", c->rq.id);
  if (close_it)
    microhttpd.add_response_header(out, "Connection", "close");
}

/* To HEAD the library would send the end of the chunks that there are none of: the client would take it for
 * the next reply. Without chunks it sends the head and closes. */
static struct MHD_Response *make_stream(struct call *c) {
  struct MHD_Response *out =
      microhttpd.create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_CHUNK_BYTES, read_stream, c, NULL);
  if (out && c->rq.method == HTTP_HEAD)
    microhttpd.set_response_options(out, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
  return out;
}

static struct MHD_Response *make_response(struct call *c, struct reply *rp) {
  struct view body = reply_body(rp);
  if (rp->kind == REPLY_STREAM)
    return make_stream(c);
  if (rp->fixed_body.ptr || body.len == 0)
    return microhttpd.create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr,
                                                  MHD_RESPMEM_PERSISTENT);
  char *owned = buf_take(&rp->body);
  struct MHD_Response *out =
      owned ? microhttpd.create_response_from_buffer(body.len, owned, MHD_RESPMEM_MUST_FREE) : NULL;
  if (!out)
    free(owned);
  return out;
}

/* Hands the reply to the library. MHD_NO closes the connection without one. */
static enum MHD_Result send_reply(struct call *c, struct reply *rp, bool close_it) {
  if (!reply_is_whole(rp))
    reply_error(rp, &c->rq, KPI_INTERNAL_ERROR, "The reply could not be made.");
  c->status = rp->status;
  c->reply_bytes = reply_body(rp).len;
  struct MHD_Response *out = reply_is_whole(rp) ? make_response(c, rp) : NULL;
  if (!out)
    return MHD_NO;
  add_headers(c, rp, close_it || atomic_load(&c->listener->server->draining), out);
  enum MHD_Result done = microhttpd.queue_response(c->mhd, rp->status, out);
  microhttpd.destroy_response(out);
  return done;
}

static enum MHD_Result refuse(struct call *c, const struct err *err) {
  struct reply rp AUTO(reply_clear);
  reply_init(&rp);
  reply_err(&rp, &c->rq, err);
  return send_reply(c, &rp, true);
}

/* --- requests ---------------------------------------------------------------------------------------- */

/* The whole request has arrived, or something it waited for has happened: asks the handler. */
static enum MHD_Result answer(struct call *c) {
  struct http_server *s = c->listener->server;
  struct reply rp AUTO(reply_clear);
  reply_init(&rp);
  end_suspension(c);
  c->rq.wait_over = atomic_load(&c->wait_over) || atomic_load(&s->draining);
  c->rq.body = buf_view(&c->body);
  c->mark = waiters_mark(&s->waiters);
  if (c->body_size > HTTP_BODY_BYTES_MAX)
    reply_error(&rp, &c->rq, KPI_BODY_TOO_LARGE, "The body has %" PRIu64 " bytes, at most %d are taken.",
                c->body_size, HTTP_BODY_BYTES_MAX);
  else if (!c->too_many_watchers &&
           (!c->listener->admit || c->listener->admit(c->listener->admit_arg, &c->rq, &rp)))
    router_dispatch(c->listener->routes, &c->rq, &rp);
  if (c->too_many_watchers || (rp.kind == REPLY_STREAM && !begin_stream(c, &rp)))
    reply_error(&rp, &c->rq, KPI_TOO_MANY_WATCHERS, "%d requests wait already; poll without wait.",
                HTTP_WATCHERS_MAX);
  c->rq.wait_count++;
  if (rp.kind == REPLY_WAIT && !c->rq.wait_over) {
    suspend(c, rp.topic, rp.wait_until_ms);
    return MHD_YES; /* c may be at work elsewhere already */
  }
  return send_reply(c, &rp, c->body_size > HTTP_BODY_BYTES_MAX);
}

static enum MHD_Result add_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                 const char *value, size_t value_len) {
  struct call *c = cls;
  (void)kind;
  if (c->field_total++ < HTTP_HEADERS_MAX)
    c->rq.fields[c->rq.field_count++] =
        (struct http_field){{name, name_len}, {value ? value : name + name_len, value_len}};
  return MHD_YES;
}

static struct http_head head_of(const struct call *c, const char *version) {
  const union MHD_ConnectionInfo *size =
      microhttpd.get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  struct http_head head = {.method = view_of(c->method),
                           .target = view_of(c->target),
                           .version = view_of(version),
                           .fields = c->rq.fields,
                           .field_count = c->field_total,
                           .target_at = c->target_at};
  head.in_one_buffer = c->listener->server->layout_known && size;
  head.size = size ? size->header_size : 0;
  return head;
}

/* First call of the library for a request: the head is there, no body was read. */
static enum MHD_Result begin(struct call *c, const char *method, const char *version) {
  struct err err = {0};
  const union MHD_ConnectionInfo *info =
      microhttpd.get_connection_info(c->mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
  c->begun = true;
  c->method = method;
  c->conn = info ? info->socket_context : NULL;
  conn_set_busy(c->conn);
  microhttpd.get_connection_values_n(c->mhd, MHD_HEADER_KIND, add_field, c);
  request_set_id(&c->rq);
  request_set_trace(&c->rq);
  struct http_head head = head_of(c, version);
  if (http_gate_check(&head, &c->body_size, &err))
    return refuse(c, &err);
  c->rq.method = request_method_of(head.method);
  request_set_target(&c->rq, head.target);
  if (c->body_size > HTTP_BODY_DISCARD_BYTES_MAX) {
    err_set(&err, KPI_BODY_TOO_LARGE, "The body has %" PRIu64 " bytes, at most %d are taken.", c->body_size,
            HTTP_BODY_BYTES_MAX);
    return refuse(c, &err);
  }
  return MHD_YES;
}

/* A body that is a little too large is read and thrown away, so that the client sees the reply and no reset.
 */
static void take_body(struct call *c, const char *data, size_t *size) {
  if (c->body_size <= HTTP_BODY_BYTES_MAX)
    buf_add(&c->body, (struct view){data, *size});
  *size = 0;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **slot) {
  struct call *c = *slot;
  (void)cls, (void)mhd, (void)url;
  if (!c)
    return MHD_NO;
  if (!c->begun)
    return begin(c, method, version);
  if (*size) {
    take_body(c, data, size);
    return MHD_YES;
  }
  return answer(c);
}

/* The first line was read. What this returns becomes *slot of the other calls. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd) {
  struct listener *l = cls;
  struct call *c = calloc(1, sizeof *c);
  char *copy = strdup(target ? target : "");
  if (!c || !copy) {
    free(c);
    free(copy);
    return NULL;
  }
  c->listener = l;
  c->mhd = mhd;
  c->target = copy;
  c->target_at = target;
  c->started_us = clock_mono_us();
  c->rq.received_ms = c->started_us / 1000;
  c->rq.app = l->server->app;
  buf_init(&c->body, HTTP_BODY_BYTES_MAX);
  buf_init(&c->piece, HTTP_STREAM_PIECE_BYTES_MAX);
  atomic_fetch_add(&l->server->in_flight, 1);
  http_metrics_requests(1);
  return c;
}

static void log_access(const struct call *c, int64_t duration_us, enum MHD_RequestTerminationCode how) {
  char path[LOGGED_PATH_BYTES];
  struct view rest = view_of(c->target);
  view_to_cstr(view_split(&rest, '?'), path, sizeof path);
  const struct route *route = c->rq.route;
  log_at(route && route->quiet ? LOG_DEBUG : LOG_INFO, "http.request", "request answered",
         LOG_S("method", c->method), LOG_S("path", path), LOG_S("route", route ? route->pattern : NULL),
         LOG_I("status", c->status), LOG_I("duration_ms", duration_us / 1000), LOG_I("bytes", c->reply_bytes),
         LOG_S("request_id", c->rq.id[0] ? c->rq.id : NULL),
         LOG_S("trace_id", c->rq.trace_id[0] ? c->rq.trace_id : NULL),
         LOG_S("principal", c->rq.principal[0] ? c->rq.principal : NULL),
         LOG_S("aborted", how == MHD_REQUEST_TERMINATED_COMPLETED_OK ? NULL : "true"));
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
                         enum MHD_RequestTerminationCode how) {
  struct call *c = *slot;
  (void)cls;
  *slot = NULL;
  if (!c)
    return;
  const union MHD_ConnectionInfo *status =
      microhttpd.get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
  if (!c->status && status) /* the library answered a head that it could not parse */
    c->status = status->http_status;
  end_suspension(c);
  const int64_t duration_us = clock_mono_us() - c->started_us;
  log_access(c, duration_us, how);
  http_metrics_answered(c->rq.method, c->rq.route, c->status, duration_us, c->rq.wait_count > 1 || c->next);
  conn_set_idle(c->conn);
  atomic_fetch_sub(&c->listener->server->in_flight, 1);
  http_metrics_requests(-1);
  waiters_leave_place(&c->listener->server->waiters, &c->waiter);
  request_clear(&c->rq);
  buf_clear(&c->body);
  buf_clear(&c->piece);
  free(c->target);
  free(c);
}

/* Escapes stay as they are: the gate refuses them in paths, request.c decodes the query. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text) {
  (void)cls, (void)mhd;
  return strlen(text);
}

/* --- listening --------------------------------------------------------------------------------------- */

/* The library reports some faults once per event; a few lines a second tell as much. */
static void KPI_PRINTF(2, 0) on_library_log(void *cls, const char *fmt, va_list ap) {
  struct http_server *s = cls;
  int64_t second = clock_mono_ms() / 1000;
  if (atomic_exchange(&s->log_second, second) != second)
    atomic_store(&s->log_lines, 0);
  if (atomic_fetch_add(&s->log_lines, 1) >= HTTP_LIBRARY_LOG_LINES_PER_SECOND) {
    atomic_fetch_add(&s->log_dropped, 1);
    return;
  }
  char text[512];
  vsnprintf(text, sizeof text, fmt, ap);
  struct view line = view_trim(view_of(text));
  text[line.len ? (size_t)(line.ptr - text) + line.len : 0] = '\0';
  log_at(LOG_DEBUG, "http.library", line.ptr, LOG_I("dropped_before", atomic_exchange(&s->log_dropped, 0)));
}

static enum kpi_code start_listener(struct listener *l, unsigned connections, unsigned threads,
                                    struct err *err) {
  unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
  struct MHD_OptionItem pool[] = {{MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)threads, NULL},
                                  {MHD_OPTION_END, 0, NULL}};
  l->daemon = microhttpd.start_daemon(
      flags, 0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, l->server,
      MHD_OPTION_LISTEN_SOCKET, l->fd, MHD_OPTION_STRICT_FOR_CLIENT, l->server->layout_known ? 0 : 1,
      MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT,
      (unsigned)HTTP_KEEPALIVE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
      (size_t)HTTP_CONNECTION_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection, l,
      MHD_OPTION_NOTIFY_COMPLETED, on_completed, l, MHD_OPTION_URI_LOG_CALLBACK, on_target, l,
      MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_ARRAY, threads > 1 ? pool : pool + 1,
      MHD_OPTION_END);
  return l->daemon ? KPI_OK
                   : err_set(err, KPI_INTERNAL, "The HTTP library does not start on %s.", l->address);
}

/* --- public ------------------------------------------------------------------------------------------ */

static enum kpi_code start_all(struct http_server *s, const struct http_config *config, struct err *err) {
  unsigned threads = config->threads ? config->threads : HTTP_THREADS_DEFAULT;
  enum kpi_code rc = http_raise_file_limit(err);
  if (!rc)
    rc = http_listen("KPI_LISTEN", config->listen, &s->api.fd, s->api.address, err);
  if (!rc && config->loopback_only && !http_is_loopback(s->api.fd))
    rc = err_set(
        err, KPI_CONFIG_INVALID,
        "KPI_LISTEN=%s: others could start runs without a key: set KPI_API_KEYS_FILE (see `kpid token "
        "new`), or KPI_ALLOW_NO_KEYS=yes where something else asks who they are",
        config->listen);
  if (!rc && config->health_listen)
    rc = http_listen("KPI_HEALTH_LISTEN", config->health_listen, &s->health.fd, s->health.address, err);
  if (!rc)
    rc = start_listener(&s->api, HTTP_CONNECTIONS_MAX, threads, err);
  if (!rc && config->health_listen)
    rc = start_listener(&s->health, HTTP_HEALTH_CONNECTIONS_MAX, 1, err);
  if (rc)
    return rc;
  if (pthread_create(&s->keeper, NULL, keep, s) != 0)
    return err_set(err, KPI_INTERNAL, "No thread can be started for the HTTP front.");
  s->keeper_runs = true;
  return KPI_OK;
}

enum kpi_code http_server_start(const struct http_config *config, struct http_server **out, struct err *err) {
  *out = NULL;
  enum kpi_code rc = http_library_load(err);
  if (rc)
    return rc;
  struct http_server *s = calloc(1, sizeof *s);
  if (!s)
    return err_set(err, KPI_INTERNAL, "Memory is exhausted.");
  s->api = (struct listener){.server = s,
                             .routes = config->routes,
                             .fd = -1,
                             .admit = config->admit,
                             .admit_arg = config->admit_arg};
  s->health = (struct listener){.server = s, .routes = config->health_routes, .fd = -1};
  s->app = config->app;
  s->layout_known = http_library_keeps_heads();
  conns_init(&s->conns);
  rc = waiters_init(&s->waiters, HTTP_WATCHERS_MAX, wake, err);
  if (rc) {
    conns_destroy(&s->conns);
    free(s);
    return rc;
  }
  rc = start_all(s, config, err);
  if (rc)
    http_server_stop(s, 0);
  else
    *out = s;
  return rc;
}

const char *http_server_address(const struct http_server *s) {
  return s->api.address;
}

const char *http_server_health_address(const struct http_server *s) {
  return s->health.daemon ? s->health.address : NULL;
}

void http_server_notify(struct http_server *s, const char *topic) {
  if (topic)
    waiters_notify(&s->waiters, topic);
  else
    waiters_notify_all(&s->waiters);
}

void http_server_drain(struct http_server *s) {
  atomic_store(&s->draining, true);
  waiters_close(&s->waiters);
}

/* The library hands the socket back while its threads have yet to take it out of their epoll sets, and aborts
 * when that fails: it is shut, so that clients are refused, and closed when they are gone. */
static void quiesce(struct listener *l) {
  if (l->daemon && !l->is_quiet && microhttpd.quiesce_daemon(l->daemon) != MHD_INVALID_SOCKET) {
    l->is_quiet = true;
    shutdown(l->fd, SHUT_RDWR);
  }
}

void http_server_stop_accepting(struct http_server *s) {
  http_server_drain(s);
  quiesce(&s->api);
  quiesce(&s->health);
}

static void stop_listener(struct listener *l) {
  if (l->daemon)
    microhttpd.stop_daemon(l->daemon); /* closes the socket, unless quiesced */
  if (l->fd >= 0 && (!l->daemon || l->is_quiet))
    close(l->fd);
}

void http_server_stop(struct http_server *s, int64_t grace_ms) {
  if (!s)
    return;
  int64_t until = clock_mono_ms() + grace_ms;
  http_server_stop_accepting(s);
  /* Stopping the library cuts every connection off, so each is brought to its end before: whoever was heard
   * is answered. The library aborts when it is stopped with a suspended request; those have all been woken.
   */
  while ((conns_hang_up(&s->conns) && clock_mono_ms() < until) || atomic_load(&s->suspended))
    poll(NULL, 0, STOP_POLL_MS);
  atomic_store(&s->stopping, true);
  waiters_interrupt(&s->waiters);
  if (s->keeper_runs)
    pthread_join(s->keeper, NULL);
  stop_listener(&s->api);
  stop_listener(&s->health);
  waiters_destroy(&s->waiters);
  conns_destroy(&s->conns);
  free(s);
}
