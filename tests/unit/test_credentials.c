/* SPDX-License-Identifier: MIT */
#include "aws/credentials.h"

#include "unit.h"

#include "base/clock.h"
#include "base/log.h"

#include <pthread.h>
#include <unistd.h>

/* A credential endpoint, as a transport: its answer may be changed and held back. */
struct endpoint_double {
  struct http_client base;
  _Atomic int asked;
  _Atomic bool is_down, is_held;
  _Atomic int64_t expires_at; /* of what it hands out, Unix ms */
  int64_t moves_ms;           /* added to it by each answer */
};

static enum http_outcome answer(struct http_client *c, const struct http_request *q, struct http_reply *out) {
  struct endpoint_double *e = (struct endpoint_double *)c;
  char end[CLOCK_RFC3339_SIZE];
  int n = ++e->asked;
  (void)q;
  while (e->is_held)
    usleep(1000);
  if (e->is_down)
    return HTTP_TOO_LARGE; /* the only failure that is not tried again after a pause */
  out->status = 200;
  buf_printf(&out->body, "{\"AccessKeyId\":\"K%d\",\"SecretAccessKey\":\"S\",\"Expiration\":\"%s\"}", n,
             clock_rfc3339(e->expires_at, end));
  e->expires_at += e->moves_ms;
  return HTTP_REPLIED;
}

static void never_freed(struct http_client *c) {
  (void)c;
}

static const struct http_client_vtable double_vtable = {answer, never_freed};

struct fixture {
  struct endpoint_double endpoint;
  struct profiles profiles;
  struct credential_context context;
  struct credential_cache *cache;
};

static void set_up(struct fixture *f, int64_t lifetime_ms) {
  *f = (struct fixture){.endpoint = {.base = {&double_vtable}},
                        .profiles = {.name = VIEW_LIT("default")},
                        .context = {.http = &f->endpoint.base, .profiles = &f->profiles}};
  f->endpoint.expires_at = clock_wall_ms() + lifetime_ms;
  f->cache = credential_cache_new(&f->context);
  assert_non_null(f->cache);
}

/* Asks the cache; returns the number of the answer from which the key is, 0 for none. */
static int key(struct fixture *f, enum kpi_code expected) {
  struct credentials got;
  struct err err;
  assert_int_equal(credential_cache_get(f->cache, NULL, &got, &err), expected);
  int n = got.access_key ? atoi(got.access_key + 1) : 0;
  credentials_clear(&got);
  return n;
}

static int set_environment(void **state) {
  (void)state;
  static const char *const unset[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                                      "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN"};
  for (size_t i = 0; i < COUNT_OF(unset); i++)
    unsetenv(unset[i]);
  setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:7/keys", 1);
  log_init(LOG_ERROR, STDERR_FILENO);
  return 0;
}

enum { SECOND = 1000, MINUTE = 60 * SECOND };

static void keys_that_a_refresh_does_not_prolong_are_used_without_asking_again(void **state) {
  (void)state;
  static const int64_t lifetimes[] = {14 * MINUTE, 8 * MINUTE, 1 * MINUTE};
  for (size_t i = 0; i < COUNT_OF(lifetimes); i++)
    for (int moves_ms = 0; moves_ms <= SECOND; moves_ms += SECOND) {
      struct fixture f;
      set_up(&f, lifetimes[i]);
      f.endpoint.moves_ms = moves_ms;
      for (int n = 0; n < 50; n++)
        assert_int_not_equal(key(&f, KPI_OK), 0);
      assert_int_equal(f.endpoint.asked, 2);
      credential_cache_free(f.cache);
    }
}

static void a_refresh_that_fails_leaves_valid_keys_usable(void **state) {
  (void)state;
  static const int64_t lifetimes[] = {14 * MINUTE, 8 * MINUTE};
  for (size_t i = 0; i < COUNT_OF(lifetimes); i++) {
    struct fixture f;
    set_up(&f, lifetimes[i]);
    assert_int_equal(key(&f, KPI_OK), 1);
    f.endpoint.is_down = true;
    for (int n = 0; n < 50; n++)
      assert_int_equal(key(&f, KPI_OK), 1);
    assert_int_equal(f.endpoint.asked, 2);
    credential_cache_free(f.cache);
  }
}

static void keys_that_end_sooner_do_not_replace_valid_ones(void **state) {
  (void)state;
  struct fixture f;
  set_up(&f, 8 * MINUTE);
  f.endpoint.moves_ms = -MINUTE;
  assert_int_equal(key(&f, KPI_OK), 1);
  assert_int_equal(key(&f, KPI_OK), 1);
  assert_int_equal(f.endpoint.asked, 2);
  credential_cache_free(f.cache);
}

static void keys_that_have_ended_are_asked_for_whatever_was_tried_before(void **state) {
  (void)state;
  struct fixture f;
  set_up(&f, 2 * SECOND);
  assert_int_equal(key(&f, KPI_OK), 1);
  f.endpoint.is_down = true;
  assert_int_equal(key(&f, KPI_OK), 1);
  usleep(2100 * 1000);
  assert_int_equal(key(&f, KPI_CREDENTIALS_MISSING), 0);
  f.endpoint.is_down = false;
  f.endpoint.expires_at = clock_wall_ms() + 60 * MINUTE;
  int after = f.endpoint.asked + 1;
  assert_int_equal(key(&f, KPI_OK), after);
  assert_int_equal(key(&f, KPI_OK), after);
  credential_cache_free(f.cache);
}

static void *ask_once(void *arg) {
  key(arg, KPI_OK);
  return NULL;
}

static void nobody_waits_for_the_refresh_of_valid_keys_but_the_one_who_asks(void **state) {
  (void)state;
  static const int64_t lifetimes[] = {14 * MINUTE, 8 * MINUTE};
  for (size_t i = 0; i < COUNT_OF(lifetimes); i++) {
    struct fixture f;
    pthread_t refresher;
    set_up(&f, lifetimes[i]);
    assert_int_equal(key(&f, KPI_OK), 1);
    f.endpoint.is_held = true;
    f.endpoint.expires_at += 60 * MINUTE;
    assert_int_equal(pthread_create(&refresher, NULL, ask_once, &f), 0);
    while (f.endpoint.asked < 2)
      usleep(1000);
    for (int n = 0; n < 50; n++)
      assert_int_equal(key(&f, KPI_OK), 1); /* hangs for ever if it waits */
    f.endpoint.is_held = false;
    pthread_join(refresher, NULL);
    assert_int_equal(key(&f, KPI_OK), 2);
    assert_int_equal(f.endpoint.asked, 2);
    credential_cache_free(f.cache);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_that_a_refresh_does_not_prolong_are_used_without_asking_again),
      cmocka_unit_test(a_refresh_that_fails_leaves_valid_keys_usable),
      cmocka_unit_test(keys_that_end_sooner_do_not_replace_valid_ones),
      cmocka_unit_test(keys_that_have_ended_are_asked_for_whatever_was_tried_before),
      cmocka_unit_test(nobody_waits_for_the_refresh_of_valid_keys_but_the_one_who_asks),
  };
  return cmocka_run_group_tests_name("credentials", tests, set_environment, NULL);
}
