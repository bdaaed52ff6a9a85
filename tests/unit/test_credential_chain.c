/* SPDX-License-Identifier: MIT */
#include "aws/credentials.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include "unit.h"

#include "fake_http.h"
#include "quiet_log.h"

enum { MINUTE_MS = 60 * 1000, THREADS = 8 };

static void unset_all(void) {
  for (char **entry = environ; *entry;) {
    struct view rest = view_of(*entry), name = view_split(&rest, '=');
    char text[128];
    if (view_starts(name, "AWS_") && view_to_cstr(name, text, sizeof text))
      unsetenv(text); /* moves the following entries up */
    else
      entry++;
  }
}

/* A chain with the transport of a test; nothing is set up at first. */
struct bench {
  struct fake_http http;
  struct profiles profiles;
  struct endpoint_options sts;
  struct credential_context context;
  struct credentials found;
  bool is_found;
  struct err err;
  char path[64]; /* of a file that is removed at the end; empty: none */
};

static void bench_init(struct bench *b, const struct fake_reply *script, size_t len) {
  unset_all();
  setenv("AWS_CONFIG_FILE", "/dev/null", 1);
  setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null", 1);
  *b = (struct bench){.sts = {.region = "eu-west-1"}};
  fake_http_init(&b->http, script, len);
  assert_int_equal(profiles_load(&b->profiles, &b->err), KPI_OK);
  b->context = (struct credential_context){&b->http.base, &b->profiles, &b->sts, NULL};
}

static void bench_clear(struct bench *b) {
  credentials_clear(&b->found);
  profiles_clear(&b->profiles);
  buf_clear(&b->http.requests);
  if (b->path[0])
    unlink(b->path);
}

/* Writes a file for this test; returns its path. */
static const char *write_file(struct bench *b, const char *text) {
  strcpy(b->path, "/tmp/kpid-cred-XXXXXX");
  int fd = mkstemp(b->path);
  assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
  return b->path;
}

static enum kpi_code look(struct bench *b, credential_fn fn) {
  return fn(&b->context, &b->found, &b->is_found, &b->err);
}

/* ---- texts ---- */

static void times_are_those_of_aws(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t ms; /* -1: refused */
  } cases[] = {{"1970-01-01T00:00:01Z", 1000},
               {"2026-11-24T03:00:00Z", 1795489200000},
               {"2026-11-24T03:00:00.123456Z", 1795489200000},
               {"2026-11-24T03:00:00+00:00", 1795489200000},
               {"2024-02-29T12:00:00Z", 1709208000000},
               {"", -1},
               {"2026-11-24", -1},
               {"2026-11-24T03:00:00", -1},
               {"2026-11-24T03:00:00+01:00", -1},
               {"2026-11-24T03:00:00Zx", -1},
               {"2026-13-24T03:00:00Z", -1},
               {"24 Nov 2026 03:00:00 GMT", -1},
               {"2026-11-24T03:00:00.0000000000000000000000000000000Z", -1}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    int64_t ms = -1;
    bool ok = credentials_parse_time(view_of(cases[i].text), &ms);
    if (ok != (cases[i].ms >= 0) || ms != cases[i].ms)
      fail_msg("%s: %lld", cases[i].text, (long long)ms);
  }
}

static void documents_are_read_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool ok;
  } cases[] = {
      {"{\"AccessKeyId\":\"K\",\"SecretAccessKey\":\"S\"}", true},
      {"{\"AccessKeyId\":\"K\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"2100-01-01T00:00:"
       "00Z\","
       "\"Code\":\"Success\",\"Type\":\"AWS-HMAC\"}",
       true},
      {"{\"AccessKeyId\":\"K\"}", false},
      {"{\"SecretAccessKey\":\"S\"}", false},
      {"{\"AccessKeyId\":1,\"SecretAccessKey\":\"S\"}", false},
      {"{\"AccessKeyId\":\"K\",\"SecretAccessKey\":\"S\",\"Expiration\":\"soon\"}", false},
      {"{\"AccessKeyId\":\"K\",\"AccessKeyId\":\"L\",\"SecretAccessKey\":\"S\"}", false},
      {"{\"Code\":\"AssumeRoleUnauthorizedAccess\"}", false},
      {"[]", false},
      {"", false},
      {"<html>", false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct credentials c = {0};
    if (credentials_parse_json(view_of(cases[i].text), &c) != cases[i].ok)
      fail_msg("%s", cases[i].text);
    assert_int_equal(c.access_key != NULL, cases[i].ok);
    credentials_clear(&c);
    credentials_clear(&c);
  }
  credentials_clear(NULL);
}

/* ---- places ---- */

static void the_environment_needs_both_keys(void **state) {
  (void)state;
  static const struct {
    const char *access, *secret, *token;
    bool is_found;
    enum kpi_code rc;
  } cases[] = {{NULL, NULL, NULL, false, KPI_OK},
               {"", "", "", false, KPI_OK},
               {"K", "S", NULL, true, KPI_OK},
               {"K", "S", "T", true, KPI_OK},
               {"K", NULL, NULL, false, KPI_CREDENTIALS_MISSING},
               {NULL, "S", NULL, false, KPI_CREDENTIALS_MISSING}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, NULL, 0);
    if (cases[i].access)
      setenv("AWS_ACCESS_KEY_ID", cases[i].access, 1);
    if (cases[i].secret)
      setenv("AWS_SECRET_ACCESS_KEY", cases[i].secret, 1);
    if (cases[i].token)
      setenv("AWS_SESSION_TOKEN", cases[i].token, 1);
    assert_int_equal(look(&b, cred_environment), cases[i].rc);
    assert_int_equal(b.is_found, cases[i].is_found);
    if (b.is_found) {
      assert_string_equal(b.found.access_key, "K");
      assert_int_equal(b.found.session_token != NULL, cases[i].token != NULL);
      assert_int_equal(b.found.expires_at, 0);
    }
    bench_clear(&b);
  }
}

#define STS_REPLY                                                                                            \
  "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"                        \
  "<AccessKeyId>K</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>"           \
  "<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"            \
  "</AssumeRoleWithWebIdentityResponse>"

static void a_web_identity_is_exchanged_at_sts(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, STS_REPLY, 0}};
  struct bench b;
  bench_init(&b, script, 1);
  setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file(&b, "to.ken+/=\n"), 1);
  setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/r", 1);
  setenv("AWS_ROLE_SESSION_NAME", "me", 1);
  assert_int_equal(look(&b, cred_web_identity), KPI_OK);
  assert_true(b.is_found);
  assert_string_equal(b.found.access_key, "K");
  assert_string_equal(b.found.session_token, "T");
  assert_true(b.found.expires_at == 4102444800000);
  assert_int_equal(fake_http_count(&b.http, "POST https://sts.eu-west-1.amazonaws.com/\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&"
                                            "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&"
                                            "WebIdentityToken=to.ken%2B%2F%3D"),
                   1);
  assert_int_equal(fake_http_count(&b.http, "authorization"), 0);
  bench_clear(&b);
}

static void what_sts_refuses_is_told(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
    const char *says;
  } cases[] = {
      {{HTTP_REPLIED, 400, NULL,
        "<ErrorResponse><Error><Code>ExpiredTokenException</Code></Error></ErrorResponse>", 0},
       KPI_CREDENTIALS_EXPIRED,
       "ExpiredTokenException"},
      {{HTTP_REPLIED, 403, NULL, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
        0},
       KPI_CREDENTIALS_MISSING,
       "AccessDenied"},
      {{HTTP_REPLIED, 200, NULL, "<html/>", 0}, KPI_CREDENTIALS_MISSING, "200"},
      {{HTTP_REPLIED, 200, NULL, "no xml", 0}, KPI_CREDENTIALS_MISSING, "200"},
      {{HTTP_TOO_LARGE, 0, NULL, NULL, 0}, KPI_CREDENTIALS_MISSING, "scripted"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, &cases[i].reply, 1);
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file(&b, "token"), 1);
    setenv("AWS_ROLE_ARN", "arn", 1);
    assert_int_equal(look(&b, cred_web_identity), cases[i].code);
    assert_non_null(strstr(b.err.message, cases[i].says));
    assert_null(strstr(b.err.message, "token="));
    assert_string_equal(b.err.remote.service, "sts");
    bench_clear(&b);
  }
}

static void a_web_identity_that_is_half_set_up_is_refused(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, NULL, 0);
  setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token", 1);
  assert_int_equal(look(&b, cred_web_identity), KPI_CREDENTIALS_MISSING);
  assert_non_null(strstr(b.err.message, "AWS_ROLE_ARN"));
  setenv("AWS_ROLE_ARN", "arn", 1);
  assert_int_equal(look(&b, cred_web_identity), KPI_CREDENTIALS_MISSING);
  assert_non_null(strstr(b.err.message, "/nonexistent/token"));
  setenv("AWS_WEB_IDENTITY_TOKEN_FILE", write_file(&b, " \n"), 1);
  assert_int_equal(look(&b, cred_web_identity), KPI_CREDENTIALS_MISSING);
  assert_int_equal(b.http.asked, 0);
  bench_clear(&b);
}

#define JSON_KEYS                                                                                            \
  "{\"AccessKeyId\":\"K\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"2100-01-01T00:00:"      \
  "00Z\"}"

static void containers_are_asked_with_their_token(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, JSON_KEYS, 0}};
  struct bench b;
  bench_init(&b, script, 1);
  setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x?y=1", 1);
  setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer abc", 1);
  assert_int_equal(look(&b, cred_container), KPI_OK);
  assert_string_equal(b.found.access_key, "K");
  assert_int_equal(fake_http_count(&b.http, "GET http://169.254.170.2/v2/x?y=1\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "\nAuthorization: Bearer abc\n"), 1);
  credentials_clear(&b.found);
  setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", write_file(&b, "from-file\n"), 1);
  assert_int_equal(look(&b, cred_container), KPI_OK);
  assert_int_equal(fake_http_count(&b.http, "\nAuthorization: from-file\n"), 1);
  bench_clear(&b);
}

/* The token goes to the documented addresses only, and cannot smuggle a header in. */
static void container_addresses_and_tokens_are_checked(void **state) {
  (void)state;
  static const struct {
    const char *url, *token;
    bool ok;
  } cases[] = {{"http://127.0.0.1:1/x", NULL, true},
               {"http://127.255.0.9/x", NULL, true},
               {"http://localhost:8080", NULL, true},
               {"http://LOCALHOST/", NULL, true},
               {"http://[::1]:80/x", NULL, true},
               {"http://[fd00:ec2::23]/v1/credentials", NULL, true},
               {"http://169.254.170.23/v1/credentials", NULL, true},
               {"https://anywhere.example/", NULL, true},
               {"http://169.254.169.254/", NULL, false},
               {"http://localhost.evil.example/", NULL, false},
               {"http://127.1/", NULL, false},
               {"http://[::2]/", NULL, false},
               {"http://", NULL, false},
               {"HTTP://127.0.0.1/", NULL, false},
               {"http://127.0.0.1/", "a\r\nX-Evil: 1", false},
               {"http://127.0.0.1/", "a\nb", false}};
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, JSON_KEYS, 0}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, script, 1);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", cases[i].url, 1);
    if (cases[i].token)
      setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", cases[i].token, 1);
    enum kpi_code rc = look(&b, cred_container);
    if (rc != (cases[i].ok ? KPI_OK : KPI_CREDENTIALS_MISSING))
      fail_msg("%s: %s", cases[i].url, b.err.message);
    assert_int_equal(b.http.asked, cases[i].ok);
    bench_clear(&b);
  }
}

static void instances_are_asked_in_three_steps(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, "session\n", 0},
                                             {HTTP_REPLIED, 200, NULL, "my-role\nother\n", 0},
                                             {HTTP_REPLIED, 200, NULL, JSON_KEYS, 0}};
  struct bench b;
  bench_init(&b, script, 3);
  setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338/", 1);
  assert_int_equal(look(&b, cred_instance), KPI_OK);
  assert_true(b.is_found);
  assert_int_equal(fake_http_count(&b.http, "PUT http://127.0.0.1:1338/latest/api/token\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "/latest/meta-data/iam/security-credentials/my-role\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "\nX-aws-ec2-metadata-token: session\n"), 2);
  bench_clear(&b);
}

static void a_machine_that_is_no_instance_is_no_failure(void **state) {
  (void)state;
  static const struct {
    struct fake_reply script[3];
    size_t asked;
    bool is_found;
    enum kpi_code rc;
  } cases[] = {
      {{{HTTP_UNREACHABLE, 0, NULL, NULL, 0}}, 1, false, KPI_OK},
      {{{HTTP_TIMED_OUT, 0, NULL, NULL, 0}}, 1, false, KPI_OK},
      {{{HTTP_REPLIED, 403, NULL, "", 0}}, 1, false, KPI_OK},
      {{{HTTP_REPLIED, 200, NULL, "", 0}}, 1, false, KPI_OK},
      {{{HTTP_REPLIED, 200, NULL, "s", 0}, {HTTP_REPLIED, 404, NULL, "", 0}}, 2, false, KPI_OK},
      {{{HTTP_REPLIED, 200, NULL, "s", 0}, {HTTP_REPLIED, 500, NULL, "", 0}},
       2,
       false,
       KPI_CREDENTIALS_MISSING},
      {{{HTTP_REPLIED, 200, NULL, "s", 0},
        {HTTP_REPLIED, 200, NULL, "r", 0},
        {HTTP_REPLIED, 200, NULL, "{}", 0}},
       3,
       true,
       KPI_CREDENTIALS_MISSING},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, cases[i].script, 3);
    assert_int_equal(look(&b, cred_instance), cases[i].rc);
    assert_int_equal(b.is_found, cases[i].is_found);
    assert_int_equal(b.http.asked, cases[i].asked);
    bench_clear(&b);
  }
}

/* ---- chain ---- */

static enum kpi_code ask(struct bench *b) {
  struct credential_cache *cache = credential_cache_new(&b->context);
  credentials_clear(&b->found);
  enum kpi_code rc = credential_cache_get(cache, NULL, &b->found, &b->err);
  credential_cache_free(cache);
  return rc;
}

static void the_first_place_that_is_set_up_counts(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, JSON_KEYS, 0}};
  struct bench b;
  bench_init(&b, script, 1);
  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/", 1);
  assert_int_equal(ask(&b), KPI_OK);
  assert_string_equal(b.found.access_key, "K");
  setenv("AWS_SHARED_CREDENTIALS_FILE",
         write_file(&b, "[default]\naws_access_key_id = P\naws_secret_access_key = S\n"), 1);
  profiles_clear(&b.profiles);
  assert_int_equal(profiles_load(&b.profiles, &b.err), KPI_OK);
  assert_int_equal(ask(&b), KPI_OK);
  assert_string_equal(b.found.access_key, "P");
  setenv("AWS_ACCESS_KEY_ID", "E", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
  assert_int_equal(ask(&b), KPI_OK);
  assert_string_equal(b.found.access_key, "E");
  assert_int_equal(b.http.asked, 1);
  bench_clear(&b);
}

/* A place that is set up wrongly must not silently give way to the next. */
static void a_place_that_is_set_up_wrongly_ends_the_chain(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, NULL, JSON_KEYS, 0}};
  struct bench b;
  bench_init(&b, script, 1);
  setenv("AWS_ACCESS_KEY_ID", "E", 1);
  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/", 1);
  assert_int_equal(ask(&b), KPI_CREDENTIALS_MISSING);
  assert_int_equal(b.http.asked, 0);
  setenv("AWS_SECRET_ACCESS_KEY", "S\r\nX-Evil: 1", 1);
  assert_int_equal(ask(&b), KPI_CREDENTIALS_MISSING);
  assert_null(strstr(b.err.message, "Evil"));
  bench_clear(&b);
}

static void nothing_at_all_is_told_with_the_places(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, NULL, 0);
  setenv("AWS_EC2_METADATA_DISABLED", "TRUE", 1);
  assert_int_equal(ask(&b), KPI_CREDENTIALS_MISSING);
  assert_int_equal(b.http.asked, 0);
  assert_non_null(strstr(b.err.message, "container"));
  bench_clear(&b);
}

/* ---- cache ---- */

/* A container endpoint whose keys last for so long; each is named by its number. Thread-safe. */
struct issuer {
  struct http_client base;
  _Atomic int64_t lasts_ms;
  _Atomic bool refuses;
  _Atomic size_t asked;
  unsigned pause_ms;
};

static enum http_outcome issue(struct http_client *c, const struct http_request *q, struct http_reply *out) {
  struct issuer *i = (struct issuer *)c;
  char time[CLOCK_RFC3339_SIZE];
  (void)q;
  size_t n = atomic_fetch_add(&i->asked, 1) + 1;
  nanosleep(&(struct timespec){.tv_nsec = i->pause_ms * 1000000L}, NULL);
  out->status = atomic_load(&i->refuses) ? 403 : 200;
  buf_printf(&out->body,
             "{\"AccessKeyId\":\"K%zu\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"%s\"}", n,
             clock_rfc3339(clock_wall_ms() + atomic_load(&i->lasts_ms), time));
  return HTTP_REPLIED;
}

static void issuer_free(struct http_client *c) {
  (void)c;
}

static const struct http_client_vtable issuer_vtable = {issue, issuer_free};

struct cached {
  struct bench bench;
  struct issuer issuer;
  struct credential_cache *cache;
};

static void cached_init(struct cached *c, int64_t lasts_ms) {
  bench_init(&c->bench, NULL, 0);
  setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/", 1);
  c->issuer = (struct issuer){.base = {&issuer_vtable}, .lasts_ms = lasts_ms};
  c->bench.context.http = &c->issuer.base;
  c->cache = credential_cache_new(&c->bench.context);
}

static void cached_clear(struct cached *c) {
  credential_cache_free(c->cache);
  bench_clear(&c->bench);
}

/* Gets a key; returns its number, 0 on failure. */
static int get(struct cached *c) {
  struct credentials found;
  struct err err;
  if (credential_cache_get(c->cache, NULL, &found, &err))
    return 0;
  int n = atoi(found.access_key + 1);
  credentials_clear(&found);
  return n;
}

static void keys_are_kept_until_their_end_is_near(void **state) {
  (void)state;
  static const struct {
    int64_t lasts_ms;
    int second, third; /* number of the key that the next calls get */
  } cases[] = {{60 * MINUTE_MS, 1, 1},
               {16 * MINUTE_MS, 1, 1},
               {14 * MINUTE_MS, 2, 2}, /* new ones that last no longer are not asked for again at once */
               {1 * MINUTE_MS, 2, 2}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct cached c;
    cached_init(&c, cases[i].lasts_ms);
    assert_int_equal(get(&c), 1);
    assert_int_equal(get(&c), cases[i].second);
    assert_int_equal(get(&c), cases[i].third);
    cached_clear(&c);
  }
}

static void a_failed_refresh_is_forgiven_while_the_old_keys_are_good(void **state) {
  (void)state;
  static const int64_t lasts[] = {14 * MINUTE_MS, 5 * MINUTE_MS};
  for (size_t i = 0; i < COUNT_OF(lasts); i++) {
    struct cached c;
    cached_init(&c, lasts[i]);
    assert_int_equal(get(&c), 1);
    atomic_store(&c.issuer.refuses, true);
    assert_int_equal(get(&c), 1);
    size_t asked = atomic_load(&c.issuer.asked);
    assert_int_equal(get(&c), 1);
    assert_int_equal(atomic_load(&c.issuer.asked), asked); /* not again for about a minute */
    cached_clear(&c);
  }
}

static void keys_that_have_expired_are_none(void **state) {
  (void)state;
  struct cached c;
  struct credentials found;
  struct err err;
  cached_init(&c, -MINUTE_MS);
  assert_int_equal(credential_cache_get(c.cache, NULL, &found, &err), KPI_CREDENTIALS_EXPIRED);
  atomic_store(&c.issuer.lasts_ms, 60 * MINUTE_MS);
  assert_int_equal(get(&c), 2);
  cached_clear(&c);
}

static void refused_keys_are_asked_for_again_once(void **state) {
  (void)state;
  struct cached c;
  struct credentials used;
  struct err err;
  cached_init(&c, 60 * MINUTE_MS);
  assert_int_equal(credential_cache_get(c.cache, NULL, &used, &err), KPI_OK);
  credential_cache_refuse(c.cache, &used);
  assert_int_equal(get(&c), 2);
  credential_cache_refuse(c.cache, &used); /* somebody else's, late: these are not the keys in use */
  assert_int_equal(get(&c), 2);
  credentials_clear(&used);
  cached_clear(&c);
}

static void *get_one(void *arg) {
  return (void *)(intptr_t)get(arg);
}

static void many_threads_ask_the_chain_once(void **state) {
  (void)state;
  struct cached c;
  pthread_t threads[THREADS];
  cached_init(&c, 60 * MINUTE_MS);
  c.issuer.pause_ms = 30;
  for (size_t i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, get_one, &c), 0);
  for (size_t i = 0; i < THREADS; i++) {
    void *key;
    pthread_join(threads[i], &key);
    assert_int_equal((intptr_t)key, 1);
  }
  assert_int_equal(atomic_load(&c.issuer.asked), 1);
  cached_clear(&c);
}

static void who_waits_for_keys_can_be_stopped(void **state) {
  (void)state;
  struct cached c;
  struct credentials found;
  struct err err;
  struct stop_flag stop = {0};
  pthread_t fetcher;
  cached_init(&c, 60 * MINUTE_MS);
  c.issuer.pause_ms = 200;
  assert_int_equal(pthread_create(&fetcher, NULL, get_one, &c), 0);
  while (atomic_load(&c.issuer.asked) == 0)
    sched_yield();
  stop_raise(&stop, STOP_CANCEL);
  assert_int_equal(credential_cache_get(c.cache, &stop, &found, &err), KPI_CANCELLED);
  assert_int_equal(atomic_load(&c.issuer.asked), 1);
  pthread_join(fetcher, NULL);
  cached_clear(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times_are_those_of_aws),
      cmocka_unit_test(documents_are_read_or_refused),
      cmocka_unit_test(the_environment_needs_both_keys),
      cmocka_unit_test(a_web_identity_is_exchanged_at_sts),
      cmocka_unit_test(what_sts_refuses_is_told),
      cmocka_unit_test(a_web_identity_that_is_half_set_up_is_refused),
      cmocka_unit_test(containers_are_asked_with_their_token),
      cmocka_unit_test(container_addresses_and_tokens_are_checked),
      cmocka_unit_test(instances_are_asked_in_three_steps),
      cmocka_unit_test(a_machine_that_is_no_instance_is_no_failure),
      cmocka_unit_test(the_first_place_that_is_set_up_counts),
      cmocka_unit_test(a_place_that_is_set_up_wrongly_ends_the_chain),
      cmocka_unit_test(nothing_at_all_is_told_with_the_places),
      cmocka_unit_test(keys_are_kept_until_their_end_is_near),
      cmocka_unit_test(a_failed_refresh_is_forgiven_while_the_old_keys_are_good),
      cmocka_unit_test(keys_that_have_expired_are_none),
      cmocka_unit_test(refused_keys_are_asked_for_again_once),
      cmocka_unit_test(many_threads_ask_the_chain_once),
      cmocka_unit_test(who_waits_for_keys_can_be_stopped),
  };
  return cmocka_run_group_tests_name("credential_chain", tests, quiet_log, NULL);
}
