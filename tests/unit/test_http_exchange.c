/* SPDX-License-Identifier: MIT */
#include "base/http_client.h"
#include "base/scope.h"

#include "unit_http.h"

#include "tcp_server.h"

/* The limits of time below are far from both sides: a busy machine is slow, a broken client waits for ever.
 */
enum { LONG_MS = 30 * 1000, SOON_MS = 5 * 1000, IN_FLIGHT = 4, REPLY_BYTES_MAX = 1024 };

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HELLO OK_HEAD "Content-Length: 5\r\nX-Name:  some value \r\n\r\nhello"

static struct http_client *client;

static int start_client(void **state) {
  (void)state;
  client = unit_http_client(IN_FLIGHT);
  return client ? 0 : -1;
}

static int stop_client(void **state) {
  (void)state;
  http_client_free(client);
  return 0;
}

/* A call and what came of it. */
struct call {
  struct http_request request;
  struct http_reply reply;
  enum http_outcome outcome;
  int64_t ms;
  pthread_t thread;
};

static struct call call_to(const char *url) {
  return (struct call){.request = {.method = "GET",
                                   .url = url,
                                   .connect_ms = LONG_MS,
                                   .timeout_ms = LONG_MS,
                                   .reply_max = REPLY_BYTES_MAX}};
}

static void *send_call(void *arg) {
  struct call *c = arg;
  int64_t began = clock_mono_ms();
  c->outcome = http_call(client, &c->request, &c->reply);
  c->ms = clock_mono_ms() - began;
  return NULL;
}

static void begin_call(struct call *c) {
  assert_int_equal(pthread_create(&c->thread, NULL, send_call, c), 0);
}

static void await_call(struct call *c) {
  pthread_join(c->thread, NULL);
}

/* Asks a server with this one reply. */
static struct call ask(const struct tcp_reply *reply) {
  struct tcp_server s;
  tcp_server_start(&s, reply, 1);
  struct call c = call_to(s.url);
  send_call(&c);
  tcp_server_stop(&s);
  return c;
}

/* ---- headers ---- */

static void headers_are_found_in_any_case_and_trimmed(void **state) {
  (void)state;
  static const struct {
    const char *head, *name, *value;
  } cases[] = {{"HTTP/1.1 200 OK\r\nETag: \"e\"\r\n\r\n", "etag", "\"e\""},
               {"HTTP/1.1 200 OK\r\netag:\"e\"\r\n", "ETag", "\"e\""},
               {"A: 1\r\nB:\t 2 \t\r\nC: 3\r\n", "b", "2"},
               {"A: 1\r\nA: 2\r\n", "a", "1"},
               {"A-B: 1\r\nB: 2\r\n", "B", "2"},
               {"Location: http://x:1/?a=b:c\r\n", "location", "http://x:1/?a=b:c"},
               {"A: 1\nB: 2\n", "b", "2"},
               {"A: last", "a", "last"},
               {"A:\r\n", "a", ""},
               {"HTTP/1.1 200 OK\r\n", "etag", ""},
               {"etag\r\n", "etag", ""},
               {" etag: folded\r\n", "etag", ""},
               {"", "etag", ""}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_view(http_header(view_of(cases[i].head), cases[i].name), cases[i].value);
}

static void an_absent_header_differs_from_an_empty_one(void **state) {
  (void)state;
  assert_null(http_header(VIEW_LIT("A: 1\r\n"), "b").ptr);
  assert_non_null(http_header(VIEW_LIT("A:\r\n"), "a").ptr);
}

/* ---- whole replies ---- */

static void a_whole_reply_is_handed_over(void **state) {
  (void)state;
  static const struct {
    struct tcp_reply reply;
    long status;
    const char *body;
  } cases[] = {
      {{{HELLO}, 0, TCP_KEEP}, 200, "hello"},
      {{{"HTTP/1.1 204 No Content\r\n\r\n"}, 0, TCP_KEEP}, 204, ""},
      {{{"HTTP/1.1 404 Gone\r\nContent-Length: 3\r\n\r\nwhy"}, 0, TCP_KEEP}, 404, "why"},
      {{{"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"}, 0, TCP_KEEP}, 503, ""},
      {{{OK_HEAD "Transfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n", "2\r\nde\r\n", "0\r\n\r\n"},
        0,
        TCP_KEEP},
       200,
       "abcde"},
      {{{"HTTP/1.", "1 200 O", "K\r\nContent-Length: 4\r\n\r\nab", "cd"}, 2, TCP_KEEP}, 200, "abcd"},
      {{{OK_HEAD "\r\n", "to the", " end"}, 0, TCP_CLOSE}, 200, "to the end"},
      {{{"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"}, 0, TCP_KEEP},
       301,
       ""},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct call c = ask(&cases[i].reply);
    if (c.outcome != HTTP_REPLIED)
      fail_msg("case %zu: %s", i, c.reply.problem);
    assert_int_equal(c.reply.status, cases[i].status);
    assert_view(buf_view(&c.reply.body), cases[i].body);
    http_reply_clear(&c.reply);
  }
}

static void the_head_comes_as_it_was_sent(void **state) {
  (void)state;
  static const struct tcp_reply hello = {{HELLO}, 0, TCP_KEEP};
  struct call c = ask(&hello);
  assert_view(buf_view(&c.reply.head), OK_HEAD "Content-Length: 5\r\nX-Name:  some value \r\n\r\n");
  assert_view(http_header(buf_view(&c.reply.head), "x-name"), "some value");
  http_reply_clear(&c.reply);
}

/* Some servers send 100 Continue unasked; its lines are not those of the reply. */
static void an_interim_head_is_forgotten(void **state) {
  (void)state;
  static const struct tcp_reply reply = {
      {"HTTP/1.1 100 Continue\r\nX-Name: interim\r\n\r\n", HELLO}, 0, TCP_KEEP};
  struct call c = ask(&reply);
  assert_int_equal(c.outcome, HTTP_REPLIED);
  assert_int_equal(c.reply.status, 200);
  assert_view(http_header(buf_view(&c.reply.head), "x-name"), "some value");
  assert_false(strstr(c.reply.head.ptr, "interim") != NULL);
  http_reply_clear(&c.reply);
}

/* ---- requests ---- */

static void a_request_is_sent_as_it_is(void **state) {
  (void)state;
  static const struct tcp_reply script[] = {{{HELLO}, 0, TCP_KEEP}};
  struct tcp_server s;
  char url[128];
  tcp_server_start(&s, script, 1);
  snprintf(url, sizeof url, "%s/a/../b%%2Fc//d?x=%%20&y=+", s.url);
  struct call c = call_to(url);
  c.request.headers[0] = "x-amz-date: 20260101T000000Z";
  c.request.headers[1] = "range: bytes=0-9";
  c.request.header_count = 2;
  send_call(&c);
  assert_int_equal(c.outcome, HTTP_REPLIED);
  const char *text = s.synced.text.ptr;
  assert_ptr_equal(strstr(text, "GET /a/../b%2Fc//d?x=%20&y=+ HTTP/1.1\r\n"), text);
  assert_non_null(strstr(text, "\r\nx-amz-date: 20260101T000000Z\r\n"));
  assert_non_null(strstr(text, "\r\nrange: bytes=0-9\r\n"));
  assert_non_null(strstr(text, "\r\nUser-Agent: kpid/"));
  static const char *const unwanted[] = {"\nAccept:", "\nExpect:", "\nContent-Type:", "\nContent-Length:"};
  for (size_t i = 0; i < COUNT_OF(unwanted); i++)
    assert_null(strcasestr(text, unwanted[i]));
  http_reply_clear(&c.reply);
  tcp_server_stop(&s);
}

static void a_body_goes_with_its_length_and_no_type_of_curls(void **state) {
  (void)state;
  static const struct {
    const char *method;
    struct view body;
    const char *type, *expected_end;
  } cases[] = {
      {"POST", VIEW_LIT("{\"a\":1}"), "Content-Type: application/x-amz-json-1.0", "\r\n\r\n{\"a\":1}"},
      {"PUT", VIEW_LIT("x"), NULL, "\r\n\r\nx"},
      {"PUT", {NULL, 0}, NULL, "\r\n\r\n"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    static const struct tcp_reply script[] = {{{HELLO}, 0, TCP_KEEP}};
    struct tcp_server s;
    char length[64];
    tcp_server_start(&s, script, 1);
    struct call c = call_to(s.url);
    c.request.method = cases[i].method;
    c.request.has_body = true;
    c.request.body = cases[i].body;
    c.request.headers[0] = cases[i].type;
    c.request.header_count = cases[i].type != NULL;
    send_call(&c);
    assert_int_equal(c.outcome, HTTP_REPLIED);
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", cases[i].body.len);
    assert_true(view_starts(buf_view(&s.synced.text), cases[i].method));
    assert_true(view_ends(buf_view(&s.synced.text), cases[i].expected_end));
    assert_non_null(strcasestr(s.synced.text.ptr, length));
    assert_int_equal(strcasestr(s.synced.text.ptr, "content-type:") != NULL, cases[i].type != NULL);
    http_reply_clear(&c.reply);
    tcp_server_stop(&s);
  }
}

/* ---- replies that are none ---- */

static void a_reply_that_breaks_off_is_no_reply(void **state) {
  (void)state;
  static const struct tcp_reply cases[] = {
      {{NULL}, 0, TCP_RESET},
      {{NULL}, 0, TCP_CLOSE},
      {{"HTTP/1.1 20"}, 0, TCP_CLOSE},
      {{OK_HEAD "Content-Length: 10\r\n\r\nhello"}, 0, TCP_CLOSE},
      {{OK_HEAD "Content-Length: 10\r\n\r\n"}, 0, TCP_CLOSE},
      {{OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"}, 0, TCP_CLOSE},
      {{OK_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}, 0, TCP_CLOSE},
      {{OK_HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n"}, 0, TCP_CLOSE},
      {{"SSH-2.0-OpenSSH_9.2\r\n\r\n"}, 0, TCP_CLOSE},
      {{OK_HEAD "Content-Length: many\r\n\r\nhello"}, 0, TCP_CLOSE},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct call c = ask(&cases[i]);
    if (c.outcome != HTTP_BROKEN)
      fail_msg("case %zu: %d", i, (int)c.outcome);
    assert_true(c.reply.problem[0] != '\0');
    http_reply_clear(&c.reply);
  }
}

static void nobody_who_listens_is_unreachable(void **state) {
  (void)state;
  static const struct tcp_reply unused = {{HELLO}, 0, TCP_KEEP};
  struct tcp_server s;
  char tls[80];
  tcp_server_start(&s, &unused, 1);
  tcp_server_stop(&s);
  struct call refused = call_to(s.url);
  send_call(&refused);
  assert_int_equal(refused.outcome, HTTP_UNREACHABLE);
  assert_int_equal(refused.reply.status, 0);
  assert_true(refused.reply.problem[0] != '\0');
  http_reply_clear(&refused.reply);

  tcp_server_start(&s, &(struct tcp_reply){{"this is no TLS\r\n\r\n"}, 0, TCP_CLOSE}, 1);
  snprintf(tls, sizeof tls, "https%.60s", s.url + 4);
  struct call plain = call_to(tls);
  /* The hello of TLS never ends as a request does: the server only goes when the client does. */
  plain.request.timeout_ms = 300;
  send_call(&plain);
  assert_true(plain.outcome == HTTP_UNREACHABLE || plain.outcome == HTTP_TIMED_OUT);
  assert_int_equal(s.synced.requests, 0);
  http_reply_clear(&plain.reply);
  tcp_server_stop(&s);
}

static void only_http_is_spoken(void **state) {
  (void)state;
  static const char *const urls[] = {"file:///etc/hostname", "ftp://127.0.0.1:1/", "gopher://127.0.0.1:1/",
                                     "nonsense", ""};
  for (size_t i = 0; i < COUNT_OF(urls); i++) {
    struct call c = call_to(urls[i]);
    send_call(&c);
    assert_int_not_equal(c.outcome, HTTP_REPLIED);
    assert_int_equal(c.reply.body.len, 0);
    assert_true(c.reply.problem[0] != '\0');
    http_reply_clear(&c.reply);
  }
}

/* ---- limits of size ---- */

static void a_body_past_the_limit_is_too_large(void **state) {
  (void)state;
  static char exact[REPLY_BYTES_MAX + 128], more[REPLY_BYTES_MAX + 128];
  int at = snprintf(exact, sizeof exact, OK_HEAD "Content-Length: %d\r\n\r\n", REPLY_BYTES_MAX);
  memset(exact + at, 'x', REPLY_BYTES_MAX);
  at = snprintf(more, sizeof more, "HTTP/1.1 500 X\r\nContent-Length: %d\r\n\r\n", REPLY_BYTES_MAX + 1);
  memset(more + at, 'x', REPLY_BYTES_MAX + 1);
  struct call fits = ask(&(struct tcp_reply){{exact}, 0, TCP_KEEP});
  assert_int_equal(fits.outcome, HTTP_REPLIED);
  assert_int_equal(fits.reply.body.len, REPLY_BYTES_MAX);
  http_reply_clear(&fits.reply);
  struct call passes = ask(&(struct tcp_reply){{more}, 0, TCP_KEEP});
  assert_int_equal(passes.outcome, HTTP_TOO_LARGE);
  assert_int_equal(passes.reply.status, 500);
  assert_true(passes.reply.body.len <= REPLY_BYTES_MAX);
  http_reply_clear(&passes.reply);
}

static void a_head_past_the_limit_is_refused(void **state) {
  (void)state;
  static char head[HTTP_HEAD_BYTES_MAX + 1024];
  size_t at = (size_t)snprintf(head, sizeof head, OK_HEAD "Content-Length: 0\r\n");
  while (at < HTTP_HEAD_BYTES_MAX)
    at += (size_t)snprintf(head + at, sizeof head - at, "X-Padding: %0200d\r\n", 0);
  snprintf(head + at, sizeof head - at, "\r\n");
  struct call c = ask(&(struct tcp_reply){{head}, 0, TCP_KEEP});
  assert_int_equal(c.outcome, HTTP_BROKEN);
  http_reply_clear(&c.reply);
}

/* ---- sinks ---- */

struct sunk {
  struct buf bytes;
  size_t most; /* after which the sink refuses */
  long status;
  bool saw_head;
};

static bool sink(void *arg, long status, struct view head, struct view piece) {
  struct sunk *s = arg;
  s->status = status;
  s->saw_head = view_is(http_header(head, "content-length"), "10");
  if (s->bytes.len + piece.len > s->most)
    return false;
  buf_add(&s->bytes, piece);
  return true;
}

static struct call ask_with_sink(const struct tcp_reply *reply, struct sunk *sunk) {
  struct tcp_server s;
  tcp_server_start(&s, reply, 1);
  struct call c = call_to(s.url);
  c.request.sink = sink;
  c.request.sink_arg = sunk;
  c.request.reply_max = 8;
  buf_init(&sunk->bytes, 1024);
  send_call(&c);
  tcp_server_stop(&s);
  return c;
}

static void a_sink_takes_the_body_of_a_success_only(void **state) {
  (void)state;
  static const struct tcp_reply good = {
      {"HTTP/1.1 206 X\r\nContent-Length: 10\r\n\r\n01234", "56789"}, 1, TCP_KEEP};
  static const struct tcp_reply bad = {{"HTTP/1.1 403 X\r\nContent-Length: 4\r\n\r\nno!!"}, 0, TCP_KEEP};
  struct sunk sunk = {.most = 100};
  struct call c = ask_with_sink(&good, &sunk);
  assert_int_equal(c.outcome, HTTP_REPLIED);
  assert_view(buf_view(&sunk.bytes), "0123456789"); /* reply_max bounds what is collected, not what is sunk */
  assert_int_equal(sunk.status, 206);
  assert_true(sunk.saw_head);
  assert_int_equal(c.reply.body.len, 0);
  http_reply_clear(&c.reply);
  buf_clear(&sunk.bytes);

  c = ask_with_sink(&bad, &sunk);
  assert_int_equal(c.outcome, HTTP_REPLIED);
  assert_int_equal(sunk.bytes.len, 0);
  assert_view(buf_view(&c.reply.body), "no!!");
  http_reply_clear(&c.reply);
  buf_clear(&sunk.bytes);
}

static void a_sink_that_refuses_ends_the_transfer(void **state) {
  (void)state;
  static const struct tcp_reply reply = {{OK_HEAD "Content-Length: 10\r\n\r\n01234", "56789"}, 20, TCP_HOLD};
  struct sunk sunk = {.most = 5};
  struct call c = ask_with_sink(&reply, &sunk);
  assert_int_equal(c.outcome, HTTP_REJECTED);
  assert_view(buf_view(&sunk.bytes), "01234");
  assert_int_equal(c.reply.status, 200);
  http_reply_clear(&c.reply);
  buf_clear(&sunk.bytes);
}

/* What a sink has got before a connection broke stays with it: a range is resumed there. */
static void a_sink_keeps_what_came_before_the_break(void **state) {
  (void)state;
  static const struct tcp_reply reply = {{OK_HEAD "Content-Length: 10\r\n\r\n0123"}, 0, TCP_CLOSE};
  struct sunk sunk = {.most = 100};
  struct call c = ask_with_sink(&reply, &sunk);
  assert_int_equal(c.outcome, HTTP_BROKEN);
  assert_view(buf_view(&sunk.bytes), "0123");
  http_reply_clear(&c.reply);
  buf_clear(&sunk.bytes);
}

/* ---- time ---- */

static void a_call_ends_at_its_deadline(void **state) {
  (void)state;
  static const struct tcp_reply cases[] = {{{NULL}, 0, TCP_HOLD},
                                           {{OK_HEAD}, 0, TCP_HOLD},
                                           {{OK_HEAD "Content-Length: 10\r\n\r\nhello"}, 0, TCP_HOLD}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct tcp_server s;
    tcp_server_start(&s, &cases[i], 1);
    struct call c = call_to(s.url);
    c.request.timeout_ms = 80;
    send_call(&c);
    assert_int_equal(c.outcome, HTTP_TIMED_OUT);
    assert_in_range(c.ms, 80, SOON_MS);
    assert_true(c.reply.problem[0] != '\0');
    http_reply_clear(&c.reply);
    tcp_server_stop(&s);
  }
}

static void a_flag_stops_a_transfer(void **state) {
  (void)state;
  static const struct tcp_reply hold = {{OK_HEAD "Content-Length: 10\r\n\r\nhello"}, 0, TCP_HOLD};
  struct stop_flag stop = {0};
  struct tcp_server s;
  tcp_server_start(&s, &hold, 1);
  struct call c = call_to(s.url), other = call_to(s.url);
  c.request.stop = &stop;
  begin_call(&c);
  begin_call(&other);
  tcp_server_await(&s, 2);
  stop_raise(&stop, STOP_CANCEL);
  await_call(&c);
  assert_int_equal(c.outcome, HTTP_STOPPED);
  assert_true(c.ms < SOON_MS);
  tcp_server_stop(&s); /* ends the other, which has no flag */
  await_call(&other);
  assert_int_equal(other.outcome, HTTP_BROKEN);
  http_reply_clear(&c.reply);
  http_reply_clear(&other.reply);
}

static void a_flag_that_is_up_sends_nothing_for_long(void **state) {
  (void)state;
  static const struct tcp_reply hold = {{NULL}, 0, TCP_HOLD};
  struct stop_flag stop = {0};
  struct tcp_server s;
  stop_raise(&stop, STOP_DRAIN);
  tcp_server_start(&s, &hold, 1);
  struct call c = call_to(s.url);
  c.request.stop = &stop;
  send_call(&c);
  assert_int_equal(c.outcome, HTTP_STOPPED);
  http_reply_clear(&c.reply);
  tcp_server_stop(&s);
}

/* Fills the client with calls that are never answered. */
static void occupy(struct tcp_server *s, struct call calls[IN_FLIGHT]) {
  static const struct tcp_reply hold = {{NULL}, 0, TCP_HOLD};
  tcp_server_start(s, &hold, 1);
  for (size_t i = 0; i < IN_FLIGHT; i++) {
    calls[i] = call_to(s->url);
    begin_call(&calls[i]);
  }
  tcp_server_await(s, IN_FLIGHT);
}

static void vacate(struct tcp_server *s, struct call calls[IN_FLIGHT]) {
  tcp_server_stop(s);
  for (size_t i = 0; i < IN_FLIGHT; i++) {
    await_call(&calls[i]);
    http_reply_clear(&calls[i].reply);
  }
}

static void a_call_that_waits_for_its_turn_ends_at_its_deadline_too(void **state) {
  (void)state;
  struct tcp_server s;
  struct call occupants[IN_FLIGHT];
  occupy(&s, occupants);
  struct call c = call_to(s.url);
  c.request.timeout_ms = 100;
  send_call(&c);
  assert_int_equal(c.outcome, HTTP_TIMED_OUT);
  assert_in_range(c.ms, 100, SOON_MS);
  assert_int_equal(s.synced.requests, IN_FLIGHT);
  http_reply_clear(&c.reply);
  vacate(&s, occupants);
}

static void a_call_that_waits_for_its_turn_is_stopped_too(void **state) {
  (void)state;
  struct tcp_server s;
  struct call occupants[IN_FLIGHT];
  struct stop_flag stop = {0};
  occupy(&s, occupants);
  struct call c = call_to(s.url);
  c.request.stop = &stop;
  begin_call(&c);
  stop_raise(&stop, STOP_CANCEL);
  await_call(&c);
  assert_int_equal(c.outcome, HTTP_STOPPED);
  assert_true(c.ms < SOON_MS);
  http_reply_clear(&c.reply);
  vacate(&s, occupants);
}

/* ---- how many ---- */

/* Sends calls side by side, each of which is answered with HELLO. */
static void send_together(const char *url, struct call *calls, size_t count) {
  for (size_t i = 0; i < count; i++) {
    calls[i] = call_to(url);
    begin_call(&calls[i]);
  }
  for (size_t i = 0; i < count; i++) {
    await_call(&calls[i]);
    assert_int_equal(calls[i].outcome, HTTP_REPLIED);
    assert_view(buf_view(&calls[i].reply.body), "hello");
    http_reply_clear(&calls[i].reply);
  }
}

static void no_more_than_the_bound_are_in_flight(void **state) {
  (void)state;
  static const struct tcp_reply slow = {{HELLO}, 15, TCP_KEEP};
  struct tcp_server s;
  struct call calls[5 * IN_FLIGHT];
  tcp_server_start(&s, &slow, 1);
  send_together(s.url, calls, COUNT_OF(calls));
  assert_int_equal(s.synced.requests, COUNT_OF(calls));
  assert_int_equal(s.synced.most_under_way, IN_FLIGHT);
  tcp_server_stop(&s);
}

static void a_place_that_becomes_free_is_taken_at_once(void **state) {
  (void)state;
  static const struct tcp_reply quick = {{HELLO}, 5, TCP_KEEP};
  struct tcp_server s;
  struct call calls[8];
  struct http_client *shared = client;
  client = unit_http_client(1);
  tcp_server_start(&s, &quick, 1);
  int64_t began = clock_mono_ms();
  send_together(s.url, calls, COUNT_OF(calls));
  /* 8 x 5 ms; a loop that sleeps between them needs 7 s. */
  assert_true(clock_mono_ms() - began < 3000);
  tcp_server_stop(&s);
  http_client_free(client);
  client = shared;
}

static void a_connection_is_used_again(void **state) {
  (void)state;
  static const struct tcp_reply script[] = {
      {{HELLO}, 0, TCP_KEEP}, {{HELLO}, 0, TCP_KEEP}, {{HELLO}, 0, TCP_CLOSE}, {{HELLO}, 0, TCP_KEEP}};
  struct tcp_server s;
  tcp_server_start(&s, script, COUNT_OF(script));
  for (size_t i = 0; i < COUNT_OF(script); i++) {
    struct call c = call_to(s.url);
    send_call(&c);
    assert_int_equal(c.outcome, HTTP_REPLIED);
    http_reply_clear(&c.reply);
    struct timespec until = {0, 20 * 1000 * 1000}; /* lets a close arrive */
    nanosleep(&until, NULL);
  }
  assert_int_equal(s.synced.requests, 4);
  assert_int_equal(s.synced.connections, 2);
  tcp_server_stop(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(headers_are_found_in_any_case_and_trimmed),
      cmocka_unit_test(an_absent_header_differs_from_an_empty_one),
      cmocka_unit_test(a_whole_reply_is_handed_over),
      cmocka_unit_test(the_head_comes_as_it_was_sent),
      cmocka_unit_test(an_interim_head_is_forgotten),
      cmocka_unit_test(a_request_is_sent_as_it_is),
      cmocka_unit_test(a_body_goes_with_its_length_and_no_type_of_curls),
      cmocka_unit_test(a_reply_that_breaks_off_is_no_reply),
      cmocka_unit_test(nobody_who_listens_is_unreachable),
      cmocka_unit_test(only_http_is_spoken),
      cmocka_unit_test(a_body_past_the_limit_is_too_large),
      cmocka_unit_test(a_head_past_the_limit_is_refused),
      cmocka_unit_test(a_sink_takes_the_body_of_a_success_only),
      cmocka_unit_test(a_sink_that_refuses_ends_the_transfer),
      cmocka_unit_test(a_sink_keeps_what_came_before_the_break),
      cmocka_unit_test(a_call_ends_at_its_deadline),
      cmocka_unit_test(a_flag_stops_a_transfer),
      cmocka_unit_test(a_flag_that_is_up_sends_nothing_for_long),
      cmocka_unit_test(a_call_that_waits_for_its_turn_ends_at_its_deadline_too),
      cmocka_unit_test(a_call_that_waits_for_its_turn_is_stopped_too),
      cmocka_unit_test(no_more_than_the_bound_are_in_flight),
      cmocka_unit_test(a_place_that_becomes_free_is_taken_at_once),
      cmocka_unit_test(a_connection_is_used_again),
  };
  return cmocka_run_group_tests_name("http_client", tests, start_client, stop_client);
}
