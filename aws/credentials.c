/* SPDX-License-Identifier: MIT */
#include "aws/credentials.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/scope.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REFRESH_AHEAD_MS = 15 * 60 * 1000, REFRESH_PAUSE_MS = 60 * 1000, LOOK_MS = 100 };

static const credential_fn chain[] = {cred_environment, cred_web_identity, cred_profile, cred_container,
                                      cred_instance};

struct credential_cache {
  const struct credential_context *context;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct credentials now; /* access_key NULL: none yet, or refused */
    bool refreshing;
    int64_t quiet_until; /* monotonic ms: no refresh before that while `now` is valid */
  } synced;
};

/* ---- values ---- */

static void cleanse_free(char *secret) {
  crypto_cleanse(secret, secret ? strlen(secret) : 0);
  free(secret);
}

void credentials_clear(struct credentials *c) {
  if (!c)
    return;
  cleanse_free(c->access_key);
  cleanse_free(c->secret_key);
  cleanse_free(c->session_token);
  *c = (struct credentials){0};
}

bool credentials_set(struct credentials *c, struct view access_key, struct view secret_key,
                     struct view session_token, int64_t expires_at) {
  *c = (struct credentials){.expires_at = expires_at};
  c->access_key = strndup(access_key.ptr, access_key.len);
  c->secret_key = strndup(secret_key.ptr, secret_key.len);
  c->session_token = session_token.len ? strndup(session_token.ptr, session_token.len) : NULL;
  if (c->access_key && c->secret_key && (!session_token.len || c->session_token))
    return true;
  credentials_clear(c);
  return false;
}

static bool copy(const struct credentials *from, struct credentials *to) {
  return credentials_set(to, view_of(from->access_key), view_of(from->secret_key),
                         view_of(from->session_token), from->expires_at);
}

bool credentials_parse_time(struct view text, int64_t *out) {
  char copy_[40];
  struct tm tm = {0};
  if (!view_to_cstr(text, copy_, sizeof copy_))
    return false;
  const char *rest = strptime(copy_, "%Y-%m-%dT%H:%M:%S", &tm);
  if (!rest)
    return false;
  if (*rest == '.')
    rest += 1 + strspn(rest + 1, "0123456789");
  if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
    return false;
  *out = (int64_t)timegm(&tm) * 1000;
  return true;
}

bool credentials_parse_json(struct view text, struct credentials *out) {
  const char *access = NULL, *secret = NULL, *token = NULL, *expiration = NULL;
  int64_t expires_at = 0;
  json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
  bool ok = root && json_unpack(root, "{s:s, s:s, s?:s, s?:s}", "AccessKeyId", &access, "SecretAccessKey",
                                &secret, "Token", &token, "Expiration", &expiration) == 0;
  ok = ok && (!expiration || credentials_parse_time(view_of(expiration), &expires_at));
  ok = ok && credentials_set(out, view_of(access), view_of(secret), view_of(token), expires_at);
  json_decref(root);
  return ok;
}

/* ---- chain ---- */

/* A line break would end the header that carries a key or a token. */
static bool is_sound(const char *text) {
  for (; text && *text; text++)
    if (*text <= ' ' || *text > '~')
      return false;
  return true;
}

static enum kpi_code check_found(const struct credentials *found, struct err *err) {
  if (!is_sound(found->access_key) || !is_sound(found->secret_key) || !is_sound(found->session_token))
    return err_set(err, KPI_CREDENTIALS_MISSING,
                   "the AWS credentials that were found hold a blank or a line break");
  if (found->expires_at != 0 && found->expires_at <= clock_wall_ms())
    return err_set(err, KPI_CREDENTIALS_EXPIRED, "the AWS credentials that were found have expired");
  return KPI_OK;
}

static enum kpi_code ask_chain(const struct credential_context *context, struct credentials *out,
                               struct err *err) {
  for (size_t i = 0; i < sizeof chain / sizeof chain[0]; i++) {
    bool found = false;
    enum kpi_code rc = chain[i](context, out, &found, err);
    if (rc)
      return rc;
    if (!found)
      continue;
    rc = check_found(out, err);
    if (rc)
      credentials_clear(out);
    return rc;
  }
  return err_set(
      err, KPI_CREDENTIALS_MISSING,
      "no AWS credentials in the environment, a web identity token, the profile files, the container "
      "endpoint or the instance metadata");
}

/* ---- cache ---- */

struct credential_cache *credential_cache_new(const struct credential_context *context) {
  struct credential_cache *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->context = context;
  pthread_mutex_init(&c->synced.lock, NULL);
  pthread_cond_init(&c->synced.changed, NULL);
  return c;
}

void credential_cache_free(struct credential_cache *c) {
  if (!c)
    return;
  credentials_clear(&c->synced.now);
  pthread_cond_destroy(&c->synced.changed);
  pthread_mutex_destroy(&c->synced.lock);
  free(c);
}

enum freshness { FRESH, AGEING, SPENT };

static enum freshness freshness_of(const struct credentials *c) {
  int64_t left = c->expires_at - clock_wall_ms();
  if (!c->access_key || (c->expires_at != 0 && left <= 0))
    return SPENT;
  return c->expires_at == 0 || left > REFRESH_AHEAD_MS ? FRESH : AGEING;
}

/* Decides who fetches: *fetch when the caller has to; otherwise `now` may be used. Only who has no valid
 * credentials waits for a fetch under way. */
static enum kpi_code await_turn(struct credential_cache *c, const struct stop_flag *stop, bool *fetch,
                                struct err *err) {
  for (;;) {
    enum freshness f = freshness_of(&c->synced.now);
    bool quiet = f == AGEING && (c->synced.refreshing || clock_mono_ms() < c->synced.quiet_until);
    *fetch = f != FRESH && !quiet;
    if (!*fetch)
      return KPI_OK;
    if (!c->synced.refreshing) {
      c->synced.refreshing = true;
      return KPI_OK;
    }
    if (stop_reason(stop) != STOP_NONE)
      return err_set(err, KPI_CANCELLED, "the run was stopped");
    struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
    pthread_cond_clockwait(&c->synced.changed, &c->synced.lock, CLOCK_MONOTONIC, &until);
  }
}

static enum kpi_code give_copy(struct credential_cache *c, struct credentials *out, struct err *err) {
  return copy(&c->synced.now, out) ? KPI_OK
                                   : err_set(err, KPI_OUT_OF_MEMORY, "no memory for AWS credentials");
}

/* 45 to 75 s, so that a fleet that began together does not ask together. */
static int64_t pick_pause_ms(void) {
  uint32_t random;
  crypto_random(&random, sizeof random);
  return REFRESH_PAUSE_MS * 3 / 4 + random % (REFRESH_PAUSE_MS / 2);
}

static bool ends_before(const struct credentials *a, const struct credentials *b) {
  return a->expires_at != 0 && (b->expires_at == 0 || a->expires_at < b->expires_at);
}

/* Stores what was fetched. Valid credentials outlive a refresh that failed or brought none that last longer;
 * the next one then has to wait, as each would cost its caller time and bring nothing. */
static enum kpi_code settle(struct credential_cache *c, enum kpi_code rc, struct credentials *fetched,
                            struct credentials *out, struct err *err) {
  SCOPE_LOCK(&c->synced.lock);
  struct credentials *now = &c->synced.now;
  bool had_valid = freshness_of(now) != SPENT;
  c->synced.refreshing = false;
  pthread_cond_broadcast(&c->synced.changed);
  if (rc && (rc == KPI_CANCELLED || !had_valid))
    return rc;
  if (rc)
    log_at(LOG_WARN, "aws.credentials_not_refreshed", err->message);
  else if (!had_valid || !ends_before(fetched, now)) {
    credentials_clear(now);
    *now = *fetched;
    *fetched = (struct credentials){0};
  }
  if (had_valid && freshness_of(now) != FRESH)
    c->synced.quiet_until = clock_mono_ms() + pick_pause_ms();
  return give_copy(c, out, err);
}

enum kpi_code credential_cache_get(struct credential_cache *c, const struct stop_flag *stop,
                                   struct credentials *out, struct err *err) {
  struct credential_context context = *c->context;
  struct credentials fetched = {0};
  bool fetch;
  *out = (struct credentials){0};
  pthread_mutex_lock(&c->synced.lock);
  enum kpi_code rc = await_turn(c, stop, &fetch, err);
  if (rc == KPI_OK && !fetch)
    rc = give_copy(c, out, err);
  pthread_mutex_unlock(&c->synced.lock);
  if (rc || !fetch)
    return rc;
  context.stop = stop;
  rc = ask_chain(&context, &fetched, err);
  if (rc && stop_reason(stop) != STOP_NONE)
    rc = err_set(err, KPI_CANCELLED, "the run was stopped");
  rc = settle(c, rc, &fetched, out, err);
  credentials_clear(&fetched);
  return rc;
}

void credential_cache_refuse(struct credential_cache *c, const struct credentials *used) {
  SCOPE_LOCK(&c->synced.lock);
  if (c->synced.now.access_key && strcmp(c->synced.now.access_key, used->access_key) == 0 &&
      view_eq(view_of(c->synced.now.session_token), view_of(used->session_token)))
    credentials_clear(&c->synced.now);
}
