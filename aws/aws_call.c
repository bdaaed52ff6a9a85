/* SPDX-License-Identifier: MIT */
#include "aws/aws_call.h"

#include "aws/aws_metrics.h"
#include "aws/credentials.h"
#include "aws/retry_budget.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  ATTEMPTS_MAX = 3,
  CONNECT_MS = 3000,
  BACKOFF_MS = 50,
  BACKOFF_DYNAMODB_MS = 25,
  BACKOFF_THROTTLED_MS = 1000,
  BACKOFF_CAP_MS = 20 * 1000,
  BACKOFF_STEP_MS = 50,
  SKEW_MIN_MS = 4 * 60 * 1000, /* less is no reason for a refusal */
  URL_BYTES_MAX = 16 * 1024,
  HEADER_BYTES_MAX = 16 * 1024
};

struct aws {
  struct http_client *http; /* owned */
  struct profiles profiles;
  struct endpoint_options options[AWS_SERVICE_COUNT];
  char *custom[AWS_SERVICE_COUNT]; /* owned */
  char region[REGION_MAX];
  struct credential_context context;
  struct credential_cache *credentials;
  struct retry_budget budgets[AWS_SERVICE_COUNT];
  _Atomic int64_t skew_ms; /* theirs minus ours */
};

/* ---- configuration ---- */

static bool is_true(struct view v) {
  return view_eq_fold(v, VIEW_LIT("true"));
}

/* The variable, else the setting of the profile. */
static struct view setting(const struct aws *a, const char *variable, const char *key) {
  const char *set = getenv(variable);
  return set && *set ? view_of(set) : profiles_get(&a->profiles, key);
}

static struct view find_region(const struct aws *a) {
  const char *set = getenv("AWS_REGION");
  return set && *set ? view_of(set) : setting(a, "AWS_DEFAULT_REGION", "region");
}

/* The service's variable, the common one, the profile's services section, the profile. */
static struct view find_endpoint(const struct aws *a, enum aws_service service) {
  static const struct {
    const char *variable, *section; /* of a profile's services */
  } names[AWS_SERVICE_COUNT] = {{"AWS_ENDPOINT_URL_S3", "s3"},
                                {"AWS_ENDPOINT_URL_DYNAMODB", "dynamodb"},
                                {"AWS_ENDPOINT_URL_STS", "sts"},
                                {"AWS_ENDPOINT_URL_EMR_SERVERLESS", "emr_serverless"}};
  if (is_true(setting(a, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls")))
    return (struct view){0};
  const char *own = getenv(names[service].variable), *common = getenv("AWS_ENDPOINT_URL");
  if (own && *own)
    return view_of(own);
  if (common && *common)
    return view_of(common);
  struct view found = profiles_get_service(&a->profiles, names[service].section, "endpoint_url");
  return found.len ? found : profiles_get(&a->profiles, "endpoint_url");
}

static enum s3_style find_style(const struct aws *a) {
  struct view style = profiles_get_service(&a->profiles, "s3", "addressing_style");
  return view_is(style, "path")      ? S3_STYLE_PATH
         : view_is(style, "virtual") ? S3_STYLE_VIRTUAL
                                     : S3_STYLE_AUTO;
}

static enum kpi_code configure(struct aws *a, struct err *err) {
  enum kpi_code rc = profiles_load(&a->profiles, err);
  if (rc)
    return rc;
  struct view region = find_region(a);
  if (region.len && !view_to_cstr(region, a->region, sizeof a->region))
    return err_set(err, KPI_CONFIG_INVALID, "AWS_REGION=%.64s... is not the name of a region", region.ptr);
  for (int s = 0; s < AWS_SERVICE_COUNT; s++) {
    struct view custom = find_endpoint(a, (enum aws_service)s);
    a->custom[s] = custom.len ? strndup(custom.ptr, custom.len) : NULL;
    bool is_custom = a->custom[s] != NULL;
    a->options[s] = (struct endpoint_options){
        .region = a->region,
        .custom = a->custom[s],
        .use_fips = !is_custom && is_true(setting(a, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint")),
        .use_dualstack =
            !is_custom && is_true(setting(a, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint")),
        .s3_style = find_style(a)};
    struct endpoint at;
    rc = endpoint_resolve((enum aws_service)s, &a->options[s], &at, err);
    if (rc)
      return rc;
    retry_budget_init(&a->budgets[s]);
  }
  return KPI_OK;
}

enum kpi_code aws_new_with(struct http_client *http, struct aws **out, struct err *err) {
  *out = NULL;
  struct aws *a = calloc(1, sizeof *a);
  if (!a) {
    http_client_free(http);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to talk to AWS");
  }
  a->http = http;
  a->context = (struct credential_context){a->http, &a->profiles, &a->options[AWS_STS], NULL};
  a->credentials = credential_cache_new(&a->context);
  enum kpi_code rc =
      a->credentials ? configure(a, err) : err_set(err, KPI_OUT_OF_MEMORY, "no memory to talk to AWS");
  if (rc) {
    aws_free(a);
    return rc;
  }
  *out = a;
  return KPI_OK;
}

enum kpi_code aws_new(size_t max_in_flight, struct aws **out, struct err *err) {
  const char *bundle = getenv("AWS_CA_BUNDLE");
  struct http_client *http;
  *out = NULL;
  enum kpi_code rc = http_client_new(max_in_flight, bundle && *bundle ? bundle : NULL, &http, err);
  return rc ? rc : aws_new_with(http, out, err);
}

void aws_free(struct aws *a) {
  if (!a)
    return;
  credential_cache_free(a->credentials);
  http_client_free(a->http);
  for (int s = 0; s < AWS_SERVICE_COUNT; s++)
    free(a->custom[s]);
  profiles_clear(&a->profiles);
  free(a);
}

/* ---- one attempt ---- */

/* The texts of one attempt. */
struct attempt {
  struct endpoint at;
  struct credentials credentials;
  struct buf path, url, lines;
  char payload[SHA256_HEX_SIZE];
  struct sigv4_request to_sign;
  struct sigv4_scope scope;
  int64_t skew_ms; /* by which it was signed */
  struct http_request http;
};

static void attempt_clear(struct attempt *t) {
  credentials_clear(&t->credentials);
  buf_clear(&t->path);
  buf_clear(&t->url);
  buf_clear(&t->lines);
}

static enum kpi_code find_place(struct aws *a, const struct aws_call *c, struct attempt *t, struct err *err) {
  const struct endpoint_options *options = &a->options[c->service];
  enum kpi_code rc = endpoint_resolve(c->service, options, &t->at, err);
  if (rc == KPI_OK && c->service == AWS_S3)
    rc = endpoint_add_bucket(&t->at, options, c->bucket, err);
  if (rc)
    return rc;
  buf_add_cstr(&t->path, t->at.path);
  buf_add(&t->path, c->path);
  return KPI_OK;
}

static void add_header(struct attempt *t, const char *name, struct view value) {
  t->to_sign.headers[t->to_sign.header_count++] = (struct sigv4_pair){view_of(name), value};
}

static void collect_headers(const struct aws_call *c, struct attempt *t) {
  add_header(t, "host", view_of(t->at.host));
  add_header(t, "x-amz-date", view_of(t->scope.time));
  if (c->service == AWS_S3)
    add_header(t, "x-amz-content-sha256", view_of(t->payload));
  if (t->credentials.session_token)
    add_header(t, "x-amz-security-token", view_of(t->credentials.session_token));
  for (size_t i = 0; i < c->header_count; i++)
    t->to_sign.headers[t->to_sign.header_count++] = c->headers[i];
}

/* Writes all header lines into one buffer; the pointers are taken once it no longer moves. */
static bool write_headers(struct attempt *t) {
  size_t starts[HTTP_HEADERS_MAX], count = 0;
  for (size_t i = 0; i < t->to_sign.header_count; i++) {
    const struct sigv4_pair *h = &t->to_sign.headers[i];
    starts[count++] = t->lines.len;
    buf_printf(&t->lines, "%.*s: %.*s%c", (int)h->name.len, h->name.ptr, (int)h->value.len, h->value.ptr,
               '\0');
  }
  starts[count++] = t->lines.len;
  buf_add_cstr(&t->lines, "authorization: ");
  bool ok = sigv4_authorization(&t->to_sign, &t->scope, &t->lines);
  buf_add_char(&t->lines, '\0');
  if (!ok || buf_failed(&t->lines))
    return false;
  for (size_t i = 0; i < count; i++)
    t->http.headers[i] = t->lines.ptr + starts[i];
  t->http.header_count = count;
  return true;
}

static void write_url(const struct aws_call *c, struct attempt *t) {
  buf_printf(&t->url, "%s://%s", t->at.is_https ? "https" : "http", t->at.host);
  buf_add(&t->url, buf_view(&t->path));
  if (c->query_count) {
    buf_add_char(&t->url, '?');
    sigv4_query(&t->to_sign, &t->url);
  }
}

static void describe(const struct aws_call *c, struct attempt *t) {
  t->http.method = c->method;
  t->http.url = t->url.ptr;
  t->http.has_body = c->has_body;
  t->http.body = c->body;
  t->http.connect_ms = CONNECT_MS;
  t->http.timeout_ms = c->timeout_ms;
  t->http.stall_seconds = c->stall_seconds;
  t->http.reply_max = c->reply_max;
  t->http.sink = c->sink;
  t->http.sink_arg = c->sink_arg;
  t->http.stop = c->stop;
}

/* Builds and signs everything anew: time and credentials may have changed since the last attempt. */
static enum kpi_code build(struct aws *a, const struct aws_call *c, struct attempt *t, struct err *err) {
  *t = (struct attempt){0};
  buf_init(&t->path, URL_BYTES_MAX);
  buf_init(&t->url, URL_BYTES_MAX);
  buf_init(&t->lines, HEADER_BYTES_MAX);
  enum kpi_code rc = credential_cache_get(a->credentials, c->stop, &t->credentials, err);
  if (rc == KPI_OK)
    rc = find_place(a, c, t, err);
  if (rc)
    return rc;
  crypto_sha256_hex(c->body, t->payload);
  t->scope.access_key = view_of(t->credentials.access_key);
  t->scope.secret_key = view_of(t->credentials.secret_key);
  t->scope.region = view_of(t->at.region);
  t->scope.service = view_of(aws_service_name(c->service));
  t->skew_ms = atomic_load(&a->skew_ms);
  sigv4_time(clock_wall_ms() + t->skew_ms, t->scope.time);
  t->to_sign.method = view_of(c->method);
  t->to_sign.path = buf_view(&t->path);
  memcpy(t->to_sign.query, c->query, sizeof c->query);
  t->to_sign.query_count = c->query_count;
  t->to_sign.payload_sha256 = view_of(t->payload);
  t->to_sign.keep_path = c->service == AWS_S3;
  collect_headers(c, t);
  write_url(c, t);
  if (!write_headers(t) || buf_failed(&t->url) || buf_failed(&t->path))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s, or its names are too long", c->operation);
  describe(c, t);
  return KPI_OK;
}

/* ---- judging an attempt ---- */

/* Learns how far our clock is off from the Date of a reply. False when that is not the trouble: the attempt
 * was signed by their clock. Many attempts that were signed before the correction may be refused after it. */
static bool correct_skew(struct aws *a, const struct attempt *t, const struct http_reply *reply) {
  char text[40];
  struct tm tm = {0};
  view_to_cstr(http_header(buf_view(&reply->head), "date"), text, sizeof text);
  if (!strptime(text, "%a, %d %b %Y %H:%M:%S", &tm))
    return false;
  int64_t skew = (int64_t)timegm(&tm) * 1000 - clock_wall_ms();
  int64_t moved = skew - t->skew_ms;
  if (moved > -SKEW_MIN_MS && moved < SKEW_MIN_MS)
    return false;
  atomic_store(&a->skew_ms, skew);
  log_at(LOG_WARN, "aws.clock_skew", "the clock differs from that of AWS", LOG_I("skew_ms", skew));
  return true;
}

/* What has been tried for a call so far. */
struct effort {
  unsigned attempts, retries;
  bool skew_corrected, refreshed;
};

/* Decides about another attempt after a refusal. */
static enum aws_verdict judge_error(struct aws *a, const struct attempt *t, const struct http_reply *reply,
                                    const struct aws_error *error, struct effort *effort) {
  enum aws_verdict verdict = aws_error_verdict(error);
  if (verdict == AWS_RETRY_SKEW) {
    bool again = !effort->skew_corrected && correct_skew(a, t, reply);
    effort->skew_corrected = true;
    return again ? AWS_RETRY_SKEW : AWS_FINAL;
  }
  if (verdict == AWS_RETRY_EXPIRED) {
    bool again = !effort->refreshed;
    effort->refreshed = true;
    credential_cache_refuse(a->credentials, &t->credentials);
    return again ? AWS_RETRY_EXPIRED : AWS_FINAL;
  }
  return verdict;
}

/* What is too large is no reply of the service: somebody in between has answered. */
static bool is_transient(enum http_outcome outcome) {
  return outcome == HTTP_UNREACHABLE || outcome == HTTP_TIMED_OUT || outcome == HTTP_BROKEN ||
         outcome == HTTP_TOO_LARGE;
}

static void count_request(const struct aws_call *c, enum http_outcome outcome, long status, int64_t took_ms) {
  static const char *const words[] = {NULL,        "unreachable", "timed_out", "broken",
                                      "too_large", "rejected",    "stopped",   "no_memory"};
  char text[24];
  snprintf(text, sizeof text, "%ld", status);
  aws_metrics_request(aws_service_name(c->service), c->operation,
                      outcome == HTTP_REPLIED ? text : words[outcome], took_ms);
}

/* Sends one attempt. KPI_OK: answered well. Otherwise *verdict says whether to try again. */
static enum kpi_code try_once(struct aws *a, struct aws_call *c, struct http_reply *reply,
                              struct effort *effort, struct aws_error *error, enum aws_verdict *verdict,
                              struct err *err) {
  struct attempt t;
  const char *problem = "the reply is damaged";
  *verdict = AWS_FINAL;
  *error = (struct aws_error){0};
  if (c->prepare)
    c->prepare(c);
  enum kpi_code rc = build(a, c, &t, err);
  if (rc == KPI_OK) {
    const int64_t began = clock_mono_ms();
    enum http_outcome outcome = http_call(a->http, &t.http, reply);
    count_request(c, outcome, reply->status, clock_mono_ms() - began);
    if (outcome != HTTP_REPLIED) {
      rc = aws_outcome_tell(c->service, c->operation, outcome, reply, reply->problem, err);
      *verdict = is_transient(outcome) ? AWS_RETRY : AWS_FINAL;
    } else if (reply->status / 100 != 2) {
      aws_error_parse(c->service, reply, error);
      rc = aws_error_tell(c->service, c->operation, error, err);
      *verdict = judge_error(a, &t, reply, error, effort);
    } else if (c->accept && !c->accept(c, reply, &problem)) {
      rc = aws_outcome_tell(c->service, c->operation, HTTP_BROKEN, reply, problem, err);
      *verdict = AWS_RETRY;
    }
  }
  attempt_clear(&t);
  return rc;
}

/* ---- retries ---- */

void aws_backoff(uint32_t base_ms, unsigned attempt, const struct stop_flag *stop) {
  uint32_t random;
  uint64_t most = (uint64_t)base_ms << (attempt < 16 ? attempt : 16);
  crypto_random(&random, sizeof random);
  int64_t left = (int64_t)((most > BACKOFF_CAP_MS ? BACKOFF_CAP_MS : most) * random / UINT32_MAX);
  for (; left > 0 && stop_reason(stop) == STOP_NONE; left -= BACKOFF_STEP_MS)
    nanosleep(&(struct timespec){.tv_nsec = (left < BACKOFF_STEP_MS ? left : BACKOFF_STEP_MS) * 1000000L},
              NULL);
}

bool aws_retry_allowed(struct aws *a, enum aws_service service) {
  return retry_budget_take(&a->budgets[service]);
}

/* Waits before another attempt; false when there shall be none. */
static bool try_again(struct aws *a, const struct aws_call *c, enum aws_verdict verdict,
                      struct effort *effort) {
  if (stop_reason(c->stop) != STOP_NONE)
    return false;
  if (verdict == AWS_RETRY_SKEW || verdict == AWS_RETRY_EXPIRED)
    return true;
  if (verdict == AWS_FINAL || effort->attempts >= ATTEMPTS_MAX || !retry_budget_take(&a->budgets[c->service]))
    return false;
  uint32_t base = verdict == AWS_RETRY_THROTTLED ? BACKOFF_THROTTLED_MS
                  : c->service == AWS_DYNAMODB   ? BACKOFF_DYNAMODB_MS
                                                 : BACKOFF_MS;
  aws_backoff(base, effort->retries++, c->stop);
  return true;
}

enum kpi_code aws_call(struct aws *a, struct aws_call *c, struct http_reply *reply, struct aws_error *error,
                       struct err *err) {
  struct effort effort = {0};
  struct aws_error own;
  enum aws_verdict verdict;
  *reply = (struct http_reply){0};
  for (;;) {
    effort.attempts++;
    enum kpi_code rc = try_once(a, c, reply, &effort, error ? error : &own, &verdict, err);
    if (rc == KPI_OK) {
      retry_budget_give(&a->budgets[c->service], effort.retries > 0);
      return KPI_OK;
    }
    if (!try_again(a, c, verdict, &effort))
      return rc;
    aws_metrics_retry(aws_service_name(c->service), c->operation);
    log_at(LOG_DEBUG, "aws.retry", err->message, LOG_S("aws_operation", c->operation));
    http_reply_clear(reply);
    *reply = (struct http_reply){0};
  }
}
