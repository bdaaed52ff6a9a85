/* SPDX-License-Identifier: MIT */
#include "base/http_client.h"

#include "unit_http.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a resolver that does not answer ---- */

static _Atomic int resolving;     /* threads that hang in the resolver */
static _Atomic bool is_answering; /* ends their wait: the name is then 127.0.0.1 */

typedef int (*getaddrinfo_fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Takes the place of the C library's, in curl too. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out) {
  getaddrinfo_fn real;
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  if (!node || strcmp(node, "hangs.example") != 0)
    return real(node, service, hints, out);
  resolving++;
  while (!is_answering)
    usleep(1000);
  int rc = real("127.0.0.1", service, hints, out);
  resolving--;
  return rc;
}

static void let_the_resolver_answer(void) {
  is_answering = true;
  while (resolving)
    usleep(1000);
  usleep(300 * 1000); /* for curl to go on with it */
  is_answering = false;
}

/* ---- a server ---- */

static struct {
  int fd;
  unsigned port;
  _Atomic int accepted;
  pthread_t thread;
} server;

static void *serve(void *arg) {
  static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
  char bytes[4096];
  int fd;
  while ((fd = accept(server.fd, NULL, NULL)) >= 0) {
    server.accepted++;
    if (read(fd, bytes, sizeof bytes) > 0 && write(fd, reply, sizeof reply - 1) < 0)
      perror("write");
    close(fd);
  }
  return arg;
}

static int start_server(void **state) {
  (void)state;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(server.fd, (struct sockaddr *)&at, size) || listen(server.fd, 8) ||
      getsockname(server.fd, (struct sockaddr *)&at, &size))
    return -1;
  server.port = ntohs(at.sin_port);
  return pthread_create(&server.thread, NULL, serve, NULL);
}

static int stop_server(void **state) {
  (void)state;
  shutdown(server.fd, SHUT_RDWR);
  pthread_join(server.thread, NULL);
  close(server.fd);
  return 0;
}

/* ---- calls ---- */

struct asked {
  struct http_client *client;
  const char *host;
  uint32_t connect_ms;
  struct stop_flag stop;
  pthread_t thread;
  enum http_outcome outcome;
  int64_t took_ms;
};

static void *ask(void *arg) {
  struct asked *a = arg;
  char url[64];
  struct http_reply reply;
  snprintf(url, sizeof url, "http://%s:%u/", a->host, server.port);
  struct http_request q = {.method = "POST",
                           .url = url,
                           .has_body = true,
                           .body = VIEW_LIT("body"),
                           .connect_ms = a->connect_ms,
                           .timeout_ms = 20000,
                           .reply_max = 100,
                           .stop = &a->stop};
  int64_t began = clock_mono_ms();
  a->outcome = http_call(a->client, &q, &reply);
  a->took_ms = clock_mono_ms() - began;
  http_reply_clear(&reply);
  return NULL;
}

static void ask_in_thread(struct asked *a) {
  assert_int_equal(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void assert_others_go_on(struct http_client *client) {
  struct asked other = {.client = client, .host = "127.0.0.1", .connect_ms = 5000};
  ask(&other);
  assert_int_equal(other.outcome, HTTP_REPLIED);
  assert_true(other.took_ms < 1000);
}

static void a_call_is_stopped_while_its_name_is_resolved(void **state) {
  (void)state;
  struct http_client *client = unit_http_client(4);
  struct asked a = {.client = client, .host = "hangs.example", .connect_ms = 10000};
  ask_in_thread(&a);
  while (!resolving)
    usleep(1000);
  assert_others_go_on(client);
  stop_raise(&a.stop, STOP_CANCEL);
  pthread_join(a.thread, NULL);
  assert_int_equal(a.outcome, HTTP_STOPPED);
  assert_true(a.took_ms < 2000);
  assert_int_equal(resolving, 1);
  assert_others_go_on(client);
  let_the_resolver_answer();
  http_client_free(client);
}

static void a_name_that_is_not_resolved_in_time_holds_up_nobody(void **state) {
  (void)state;
  struct http_client *client = unit_http_client(4);
  struct asked a[8];
  for (size_t i = 0; i < COUNT_OF(a); i++) {
    a[i] = (struct asked){.client = client, .host = "hangs.example", .connect_ms = 1000};
    ask_in_thread(&a[i]);
  }
  for (size_t i = 0; i < COUNT_OF(a); i++) {
    pthread_join(a[i].thread, NULL);
    assert_int_equal(a[i].outcome, HTTP_TIMED_OUT);
    assert_true(a[i].took_ms < 3000); /* four at a time, twice */
  }
  assert_int_equal(resolving, COUNT_OF(a));
  assert_others_go_on(client);
  let_the_resolver_answer();
  http_client_free(client);
}

static void nothing_is_sent_for_a_call_that_is_over(void **state) {
  (void)state;
  struct http_client *client = unit_http_client(4);
  struct asked a = {.client = client, .host = "hangs.example", .connect_ms = 500};
  int before = server.accepted;
  ask(&a);
  assert_int_equal(a.outcome, HTTP_TIMED_OUT);
  let_the_resolver_answer();
  assert_int_equal(server.accepted, before);
  assert_others_go_on(client);
  http_client_free(client);
}

static void a_name_that_is_resolved_late_but_in_time_is_used(void **state) {
  (void)state;
  struct http_client *client = unit_http_client(4);
  struct asked a = {.client = client, .host = "hangs.example", .connect_ms = 5000};
  ask_in_thread(&a);
  while (!resolving)
    usleep(1000);
  let_the_resolver_answer();
  pthread_join(a.thread, NULL);
  assert_int_equal(a.outcome, HTTP_REPLIED);
  http_client_free(client);
}

static void the_end_does_not_wait_for_the_resolver(void **state) {
  (void)state;
  struct http_client *client = unit_http_client(4);
  struct asked a = {.client = client, .host = "hangs.example", .connect_ms = 500};
  ask(&a);
  int64_t began = clock_mono_ms();
  http_client_free(client);
  assert_true(clock_mono_ms() - began < 1500);
  assert_int_equal(resolving, 1);
  let_the_resolver_answer();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_call_is_stopped_while_its_name_is_resolved),
      cmocka_unit_test(a_name_that_is_not_resolved_in_time_holds_up_nobody),
      cmocka_unit_test(nothing_is_sent_for_a_call_that_is_over),
      cmocka_unit_test(a_name_that_is_resolved_late_but_in_time_is_used),
      cmocka_unit_test(the_end_does_not_wait_for_the_resolver),
  };
  return cmocka_run_group_tests_name("http_client", tests, start_server, stop_server);
}
