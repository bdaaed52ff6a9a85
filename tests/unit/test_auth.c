/* SPDX-License-Identifier: MIT
 * Keys: what an entry may be, what credentials hold, and the limits of both. */
#include "base/crypto.h"
#include "base/scope.h"
#include "server/auth.h"

#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of abc */

static enum kpi_code parse(const char *keys) {
  struct auth *a;
  struct err err;
  enum kpi_code rc = auth_new(keys, NULL, &a, &err);
  auth_free(a);
  return rc;
}

static void entries_have_name_role_hash_and_perhaps_a_last_day(void **state) {
  (void)state;
  static const char *const good[] = {"a:run:" HASH, "a:read:" HASH ",b:run:" HASH, " a.b-c_D9:run:" HASH " ",
                                     "a:run:" HASH ":2026-12-31"};
  static const char *const bad[] = {"a",
                                    "a:run",
                                    "a:run:" HASH "0",
                                    "a:root:" HASH,
                                    "a:run:" HASH ":",
                                    "a:run:" HASH ":2026-12-31:x",
                                    "\xc3\xa4:run:" HASH,
                                    ",",
                                    " "};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
    assert_int_equal(parse(good[i]), KPI_OK);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal(parse(bad[i]), KPI_CONFIG_INVALID);
}

static void too_many_keys_are_refused(void **state) {
  (void)state;
  for (int count = AUTH_KEYS_MAX - 1; count <= AUTH_KEYS_MAX + 1; count++) {
    auto_buf struct buf keys;
    buf_init(&keys, AUTH_FILE_BYTES_MAX);
    for (int i = 0; i < count; i++)
      buf_printf(&keys, "k%d:run:" HASH ",", i);
    buf_add_char(&keys, '\0');
    assert_false(buf_failed(&keys));
    assert_int_equal(parse(keys.ptr), count <= AUTH_KEYS_MAX ? KPI_OK : KPI_CONFIG_INVALID);
  }
}

/* Asks with one header; returns whether it is admitted. */
static bool admits(struct auth *a, const char *name, const char *value) {
  struct request rq = {.method = HTTP_GET, .path = VIEW_LIT("/runs"), .field_count = 1};
  struct reply rp AUTO(reply_clear);
  reply_init(&rp);
  rq.fields[0] = (struct http_field){view_of(name), view_of(value)};
  return auth_admit(a, &rq, &rp);
}

static void only_the_key_itself_is_admitted(void **state) {
  (void)state;
  struct auth *a;
  struct err err;
  assert_int_equal(auth_new("a:read:" HASH, NULL, &a, &err), KPI_OK);
  assert_true(auth_has_keys(a));
  assert_true(admits(a, "x-api-key", "abc"));
  assert_true(admits(a, "Authorization", "bearer  abc "));
  assert_true(admits(a, "Authorization", "Basic OmFiYw=="));     /* :abc */
  assert_true(admits(a, "Authorization", "Basic dXNlcjphYmM=")); /* user:abc */
  static const char *const others[] = {
      "Basic YWJj", "Basic YWJjOg==", "Basic =",      "Basic ====", "Basic OmFiYw=", "Basic OmFi\xff==",
      "abc",        "Bearer",         "Bearer a b c", HASH};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    assert_false(admits(a, "Authorization", others[i]));
  auth_free(a);
}

static void credentials_beyond_their_limit_are_no_key(void **state) {
  (void)state;
  for (size_t length = AUTH_CREDENTIALS_BYTES_MAX - 2; length <= AUTH_CREDENTIALS_BYTES_MAX + 1; length++) {
    char key[AUTH_CREDENTIALS_BYTES_MAX + 2], entry[128] = "a:run:";
    struct auth *a;
    struct err err;
    memset(key, 'k', length);
    key[length] = '\0';
    crypto_sha256_hex(view_of(key), entry + strlen(entry));
    assert_int_equal(auth_new(entry, NULL, &a, &err), KPI_OK);
    assert_int_equal(admits(a, "X-API-Key", key), length < AUTH_CREDENTIALS_BYTES_MAX);
    auth_free(a);
  }
}

static void new_keys_are_never_the_same(void **state) {
  (void)state;
  char keys[64][AUTH_KEY_SIZE];
  for (int i = 0; i < 64; i++) {
    auth_make_key(keys[i]);
    assert_int_equal(strlen(keys[i]), AUTH_KEY_SIZE - 1);
    for (int j = 0; j < i; j++)
      assert_string_not_equal(keys[i], keys[j]);
  }
}

static void base64_is_decoded_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *decoded; /* NULL: refused */
  } cases[] = {{"Zg==", "f"},        {"Zm8=", "fo"},         {"Zm9v", "foo"},
               {"Zm9vYg==", "foob"}, {"Zm9vYmFy", "foobar"}, {"", NULL},
               {"Z", NULL},          {"Zm9", NULL},          {"Zm9vYmFyYmF6", NULL /* does not fit */},
               {"Z!==", NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char out[8];
    size_t length;
    bool ok = crypto_base64_decode(view_of(cases[i].text), out, sizeof out, &length);
    assert_int_equal(ok, cases[i].decoded != NULL);
    if (ok)
      assert_true(view_is((struct view){out, length}, cases[i].decoded));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(entries_have_name_role_hash_and_perhaps_a_last_day),
      cmocka_unit_test(too_many_keys_are_refused),
      cmocka_unit_test(only_the_key_itself_is_admitted),
      cmocka_unit_test(credentials_beyond_their_limit_are_no_key),
      cmocka_unit_test(new_keys_are_never_the_same),
      cmocka_unit_test(base64_is_decoded_or_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
