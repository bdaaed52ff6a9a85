/* SPDX-License-Identifier: MIT
 * The real HTTP client for unit tests. */
#ifndef KPID_TESTS_UNIT_HTTP_H
#define KPID_TESTS_UNIT_HTTP_H

#include "base/http_client.h"
#include "unit.h"

/* A client that has started; http_client_free ends it. */
static inline struct http_client *unit_http_client(size_t max_in_flight) {
  struct http_client *client;
  struct err err = {0};
  assert_int_equal(http_client_new(max_in_flight, NULL, &client, &err), KPI_OK);
  return client;
}

#endif
