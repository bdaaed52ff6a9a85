/* SPDX-License-Identifier: MIT
 * The stall limit of the HTTP client counts in whole seconds: a program of its own, so that the others stay
 * quick. */
#include "base/http_client.h"

#include "unit_http.h"

#include "tcp_server.h"

enum { LONG_MS = 30 * 1000, SOON_MS = 8 * 1000 };

/* Slower than 1 KiB/s for a second: given up long before its deadline. What came stays. */
static void a_body_that_stalls_is_given_up(void **state) {
  (void)state;
  static const struct tcp_reply drip = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\na", "b"}, 50, TCP_HOLD};
  struct tcp_server s;
  struct http_reply reply;
  struct http_client *client = unit_http_client(1);
  tcp_server_start(&s, &drip, 1);
  struct http_request q = {.method = "GET",
                           .url = s.url,
                           .connect_ms = LONG_MS,
                           .timeout_ms = LONG_MS,
                           .stall_seconds = 1,
                           .reply_max = 1024};
  int64_t began = clock_mono_ms();
  assert_int_equal(http_call(client, &q, &reply), HTTP_TIMED_OUT);
  assert_in_range(clock_mono_ms() - began, 900, SOON_MS);
  assert_view(buf_view(&reply.body), "ab");
  http_reply_clear(&reply);
  tcp_server_stop(&s);
  http_client_free(client);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_body_that_stalls_is_given_up)};
  return cmocka_run_group_tests_name("http_stall", tests, NULL, NULL);
}
