/* SPDX-License-Identifier: MIT
 * Streams as the HTTP front sends them: turn by turn, woken by notice and deadline, ended by all that ends
 * one.
 */
#include "base/clock.h"
#include "base/scope.h"
#include "server/http_server.h"

#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

enum {
  SOON_MS = 20 * 1000,
  NEVER_MS = 40 * 1000,
  DUE_MS = 100,
  PIECE_BYTES = 64 * 1024,
  REPLY_BYTES_MAX = 1 << 20
};

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

/* What the streams under test do. */
static struct {
  _Atomic int turns, noticed, freed;
  _Atomic int step; /* they write what this says, then wait for the next notice */
} play;

static void count_freed(void *keep) {
  atomic_fetch_add(&play.freed, 1);
  free(keep);
}

/* Writes the step whenever it was noticed; ends at step 9; says goodbye when drained. */
static bool tell_steps(struct request *rq, struct stream_turn *t) {
  int *told = rq->keep;
  atomic_fetch_add(&play.turns, 1);
  atomic_fetch_add(&play.noticed, t->was_noticed);
  if (t->is_draining) {
    buf_add_cstr(t->to, "bye");
    return false;
  }
  int step = atomic_load(&play.step);
  if (*told != step)
    buf_printf(t->to, "<%d>", step);
  *told = step;
  snprintf(t->topic, sizeof t->topic, "steps");
  t->wait_until_ms = clock_mono_ms() + NEVER_MS;
  return step != 9;
}

/* Writes a dot every DUE_MS, six times. */
static bool tell_time(struct request *rq, struct stream_turn *t) {
  int *dots = rq->keep;
  int64_t due = rq->received_ms + *dots * DUE_MS;
  if (clock_mono_ms() >= due) {
    buf_add_char(t->to, '.');
    ++*dots;
  }
  snprintf(t->topic, sizeof t->topic, "nobody");
  t->wait_until_ms = due;
  return *dots < 6;
}

/* Never has enough. */
static bool tell_much(struct request *rq, struct stream_turn *t) {
  (void)rq;
  atomic_fetch_add(&play.turns, 1);
  for (int i = 0; i < PIECE_BYTES; i++)
    buf_add_char(t->to, (char)('a' + i % 26));
  return true;
}

static bool tell_nothing(struct request *rq, struct stream_turn *t) {
  (void)rq, (void)t;
  return false;
}

static bool tell_too_much(struct request *rq, struct stream_turn *t) {
  (void)rq;
  for (int i = 0; i <= HTTP_STREAM_PIECE_BYTES_MAX; i++)
    buf_add_char(t->to, 'x');
  return true;
}

static void begin(struct request *rq, struct reply *rp, stream_next_fn next) {
  rq->keep = calloc(1, sizeof(int));
  rq->keep_free = count_freed;
  reply_stream(rp, "text/plain", next);
}

static void get_steps(struct request *rq, struct reply *rp) {
  begin(rq, rp, tell_steps);
}
static void get_time(struct request *rq, struct reply *rp) {
  begin(rq, rp, tell_time);
}
static void get_much(struct request *rq, struct reply *rp) {
  begin(rq, rp, tell_much);
}
static void get_nothing(struct request *rq, struct reply *rp) {
  begin(rq, rp, tell_nothing);
}
static void get_too_much(struct request *rq, struct reply *rp) {
  begin(rq, rp, tell_too_much);
}

static const struct route table[] = {{HTTP_GET, "/steps", get_steps, NULL, true},
                                     {HTTP_GET, "/time", get_time, NULL, true},
                                     {HTTP_GET, "/much", get_much, NULL, true},
                                     {HTTP_GET, "/nothing", get_nothing, NULL, true},
                                     {HTTP_GET, "/too-much", get_too_much, NULL, true}};
static const struct route_set set = {table, COUNT_OF(table)};
static const struct route_set *const sets[] = {&set, NULL};

static struct http_server *server;

static int start(void **state) {
  (void)state;
  struct err err;
  struct http_config config = {.listen = "127.0.0.1:0", .routes = sets};
  memset(&play, 0, sizeof play);
  return http_server_start(&config, &server, &err) != KPI_OK;
}

static int stop(void **state) {
  (void)state;
  http_server_stop(server, 0);
  server = NULL;
  return 0;
}

/* ---- client ---- */

static int send_request(const char *request) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  to.sin_port = htons((uint16_t)atoi(strrchr(http_server_address(server), ':') + 1));
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
  assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
  return fd;
}

/* Reads until the text has come (NULL: until the end of the connection). False when it does not come. */
static bool read_until(int fd, const char *text, struct buf *got) {
  int64_t until = clock_mono_ms() + SOON_MS;
  char piece[4096];
  while (!text || !got->len || !strstr(got->ptr, text)) {
    int64_t left = until - clock_mono_ms();
    if (left <= 0 || poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)left) <= 0)
      return false;
    ssize_t n = recv(fd, piece, sizeof piece, 0);
    if (n <= 0)
      return !text;
    buf_add(got, (struct view){piece, (size_t)n});
  }
  return true;
}

static bool becomes(_Atomic int *number, int value) {
  for (int64_t until = clock_mono_ms() + SOON_MS; clock_mono_ms() < until; poll(NULL, 0, 5))
    if (atomic_load(number) == value)
      return true;
  return false;
}

static void step_to(int step) {
  atomic_store(&play.step, step);
  http_server_notify(server, "steps");
}

static void expect(int fd, const char *text, struct buf *got) {
  buf_reset(got);
  if (!read_until(fd, text, got))
    fail_msg("\"%s\" does not come, but \"%.200s\"", text ? text : "the end", got->len ? got->ptr : "");
}

/* ---- tests ---- */

static void each_notice_brings_a_piece_until_the_stream_ends(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  atomic_store(&play.step, 1);
  auto_close int fd = send_request(GET("/steps"));
  expect(fd, "<1>", &got);
  assert_non_null(strstr(got.ptr, "Transfer-Encoding: chunked"));
  assert_non_null(strstr(got.ptr, "Cache-Control: no-store"));
  step_to(2);
  expect(fd, "<2>", &got);
  step_to(9);
  expect(fd, "0\r\n\r\n", &got);
  assert_non_null(strstr(got.ptr, "<9>"));
  assert_true(becomes(&play.freed, 1));
  assert_int_equal(send(fd, GET("/nothing"), strlen(GET("/nothing")), MSG_NOSIGNAL), strlen(GET("/nothing")));
  expect(fd, "0\r\n\r\n", &got); /* the connection was kept */
}

/* Who has nothing to say is left alone: turns happen for a reason. */
static void a_stream_that_waits_is_not_asked(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  atomic_store(&play.step, 1);
  auto_close int fd = send_request(GET("/steps"));
  expect(fd, "<1>", &got);
  assert_true(becomes(&play.turns, 2));
  poll(NULL, 0, 300);
  assert_int_equal(atomic_load(&play.turns), 2);
  assert_int_equal(atomic_load(&play.noticed), 1);
  http_server_notify(server, "others");
  http_server_notify(server, "steps");
  assert_true(becomes(&play.noticed, 2));
}

static void deadlines_wake_a_stream(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  int64_t began = clock_mono_ms();
  auto_close int fd = send_request(GET("/time"));
  expect(fd, "0\r\n\r\n", &got);
  assert_true(clock_mono_ms() - began >= 5 * DUE_MS);
}

static void http_1_0_gets_the_bytes_and_the_end_of_the_connection(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  auto_close int fd = send_request("GET /time HTTP/1.0\r\nHost: x\r\n\r\n");
  expect(fd, NULL, &got);
  assert_null(strstr(got.ptr, "chunked"));
  assert_non_null(strstr(got.ptr, "\r\n\r\n......"));
}

/* The library would send the last chunk of a body to HEAD as well, which a client takes for its next reply.
 */
static void head_gets_the_head_and_asks_for_nothing(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  auto_close int fd = send_request("HEAD /steps HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(fd, NULL, &got);
  assert_non_null(strstr(got.ptr, "200 OK"));
  assert_string_equal(strstr(got.ptr, "\r\n\r\n"), "\r\n\r\n");
  assert_int_equal(atomic_load(&play.turns), 0);
  assert_int_equal(atomic_load(&play.freed), 1);
}

/* A client that reads nothing is asked for nothing more: what it does not take is not made. */
static void a_reader_that_stops_stops_the_stream(void **state) {
  (void)state;
  auto_close int fd = send_request(GET("/much"));
  int turns = -1;
  for (int still = 0; still < 5; poll(NULL, 0, 100)) {
    still = turns == atomic_load(&play.turns) ? still + 1 : 0;
    turns = atomic_load(&play.turns);
  }
  assert_in_range(turns, 1, 200);
  while (atomic_load(&play.turns) < turns + 3) /* goes on as soon as it reads */
    assert_true(recv(fd, (char[4096]){0}, 4096, 0) > 0);
}

static void a_client_that_hung_up_is_forgotten(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  atomic_store(&play.step, 1);
  int fd = send_request(GET("/steps"));
  expect(fd, "<1>", &got);
  close(fd);
  assert_true(becomes(&play.freed, 1));
}

static void a_piece_that_is_too_long_ends_the_connection(void **state) {
  (void)state;
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  auto_close int fd = send_request(GET("/too-much"));
  expect(fd, NULL, &got);
  assert_null(strstr(got.ptr, "xxx"));
  assert_true(becomes(&play.freed, 1));
}

static void draining_says_goodbye_to_all_at_once(void **state) {
  (void)state;
  enum { STREAMS = 20 };
  int fds[STREAMS];
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  atomic_store(&play.step, 1);
  for (int i = 0; i < STREAMS; i++)
    fds[i] = send_request(GET("/steps"));
  for (int i = 0; i < STREAMS; i++)
    expect(fds[i], "<1>", &got);
  http_server_drain(server);
  for (int i = 0; i < STREAMS; i++) {
    expect(fds[i], "0\r\n\r\n", &got);
    assert_non_null(strstr(got.ptr, "bye"));
    close(fds[i]);
  }
  int late = send_request(GET("/steps"));
  expect(late, "bye", &got);
  close(late);
}

static void one_stream_too_many_is_refused(void **state) {
  (void)state;
  static int fds[HTTP_WATCHERS_MAX];
  auto_buf struct buf got;
  buf_init(&got, REPLY_BYTES_MAX);
  atomic_store(&play.step, 1);
  for (int i = 0; i < HTTP_WATCHERS_MAX; i++)
    fds[i] = send_request(GET("/steps"));
  for (int i = 0; i < HTTP_WATCHERS_MAX; i++)
    expect(fds[i], "<1>", &got);
  int extra = send_request(GET("/steps"));
  expect(extra, "too-many-watchers", &got);
  assert_non_null(strstr(got.ptr, "429"));
  close(extra);
  step_to(2);
  for (int i = 0; i < HTTP_WATCHERS_MAX; i++)
    expect(fds[i], "<2>", &got);
  atomic_store(&play.freed, 0);
  close(fds[0]);
  assert_true(becomes(&play.freed, 1));
  fds[0] = send_request(GET("/steps"));
  expect(fds[0], "<2>", &got);
  for (int i = 0; i < HTTP_WATCHERS_MAX; i++)
    close(fds[i]);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_SERVER(each_notice_brings_a_piece_until_the_stream_ends),
      WITH_SERVER(a_stream_that_waits_is_not_asked),
      WITH_SERVER(deadlines_wake_a_stream),
      WITH_SERVER(http_1_0_gets_the_bytes_and_the_end_of_the_connection),
      WITH_SERVER(head_gets_the_head_and_asks_for_nothing),
      WITH_SERVER(a_reader_that_stops_stops_the_stream),
      WITH_SERVER(a_client_that_hung_up_is_forgotten),
      WITH_SERVER(a_piece_that_is_too_long_ends_the_connection),
      WITH_SERVER(draining_says_goodbye_to_all_at_once),
      WITH_SERVER(one_stream_too_many_is_refused),
  };
  return cmocka_run_group_tests_name("http_stream", tests, NULL, NULL);
}
