/* SPDX-License-Identifier: MIT
 * A web identity token (EKS, GitHub): exchanged at STS by AssumeRoleWithWebIdentity, which is not signed. */
#include "aws/cred_http.h"
#include "aws/uri.h"
#include "aws/xml.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 10 * 1000, CONNECT_MS = 3000, BODY_MAX = 128 * 1024 };

/* What the reply says; owned texts. */
struct sts_reply {
  struct buf access, secret, token, expiration, error;
};

static bool on_element(void *arg, struct view path, struct view text) {
  struct sts_reply *r = arg;
  const struct {
    const char *name;
    struct buf *to;
  } wanted[] = {{"/AccessKeyId", &r->access},
                {"/SecretAccessKey", &r->secret},
                {"/SessionToken", &r->token},
                {"/Expiration", &r->expiration},
                {"Error/Code", &r->error}};
  for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
    if (view_ends(path, wanted[i].name))
      buf_add(wanted[i].to, text);
  return true;
}

static bool to_credentials(const struct sts_reply *r, struct credentials *out) {
  int64_t expires_at = 0;
  return r->access.len && r->secret.len && credentials_parse_time(buf_view(&r->expiration), &expires_at) &&
         credentials_set(out, buf_view(&r->access), buf_view(&r->secret), buf_view(&r->token), expires_at);
}

static enum kpi_code read_reply(enum http_outcome outcome, const struct http_reply *reply,
                                struct credentials *out, struct err *err) {
  struct sts_reply r;
  struct buf *const all[] = {&r.access, &r.secret, &r.token, &r.expiration, &r.error};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    buf_init(all[i], CRED_REPLY_MAX);
  bool parsed = outcome == HTTP_REPLIED && xml_walk(buf_view(&reply->body), on_element, &r);
  enum kpi_code rc = KPI_OK;
  if (!parsed || reply->status != 200 || !to_credentials(&r, out)) {
    rc = cred_http_err("STS", outcome, reply, err);
    if (r.error.len) {
      bool expired = view_is(buf_view(&r.error), "ExpiredTokenException");
      rc = err_set(err, expired ? KPI_CREDENTIALS_EXPIRED : KPI_CREDENTIALS_MISSING,
                   "STS refused the web identity token: %s", r.error.ptr);
      view_to_cstr(buf_view(&r.error), err->remote.error, sizeof err->remote.error);
    }
    view_to_cstr(VIEW_LIT("sts"), err->remote.service, sizeof err->remote.service);
    view_to_cstr(VIEW_LIT("AssumeRoleWithWebIdentity"), err->remote.operation, sizeof err->remote.operation);
    err->remote.http_status = (int)reply->status;
  }
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    crypto_cleanse(all[i]->ptr, all[i]->len);
    buf_clear(all[i]);
  }
  return rc;
}

static enum kpi_code exchange(const struct credential_context *c, struct view body, struct credentials *out,
                              struct err *err) {
  struct endpoint at;
  struct http_reply reply;
  auto_buf struct buf url;
  buf_init(&url, 1024);
  enum kpi_code rc = endpoint_resolve(AWS_STS, c->sts, &at, err);
  if (rc)
    return rc;
  buf_printf(&url, "%s://%s%s/", at.is_https ? "https" : "http", at.host, at.path);
  struct http_request q = {.method = "POST",
                           .url = url.ptr,
                           .headers = {"Content-Type: application/x-www-form-urlencoded"},
                           .header_count = 1,
                           .has_body = true,
                           .body = body,
                           .connect_ms = CONNECT_MS,
                           .timeout_ms = TIMEOUT_MS,
                           .reply_max = CRED_REPLY_MAX,
                           .stop = c->stop};
  enum http_outcome outcome = cred_http_call(c->http, &q, &reply);
  rc = read_reply(outcome, &reply, out, err);
  crypto_cleanse(reply.body.ptr, reply.body.len);
  http_reply_clear(&reply);
  return rc;
}

/* The setting of the environment, else that of the profile. Returns owned, NULL if none. */
static char *setting(const struct profiles *p, const char *variable, const char *key) {
  const char *set = getenv(variable);
  struct view v = set && *set ? view_of(set) : profiles_get(p, key);
  return v.len ? strndup(v.ptr, v.len) : NULL;
}

enum kpi_code cred_web_identity(const struct credential_context *c, struct credentials *out, bool *found,
                                struct err *err) {
  auto_free char *path = setting(c->profiles, "AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file");
  auto_free char *role = setting(c->profiles, "AWS_ROLE_ARN", "role_arn");
  auto_free char *name = setting(c->profiles, "AWS_ROLE_SESSION_NAME", "role_session_name");
  *found = path != NULL;
  if (!*found)
    return KPI_OK;
  if (!role)
    return err_set(err, KPI_CREDENTIALS_MISSING, "AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not");
  auto_buf struct buf token, body;
  buf_init(&token, CRED_FILE_MAX);
  buf_init(&body, BODY_MAX);
  enum kpi_code rc = cred_read_file(path, &token, err);
  if (rc)
    return rc;
  buf_add_cstr(&body, "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=");
  uri_encode(view_of(role), false, &body);
  buf_add_cstr(&body, "&RoleSessionName=");
  if (name)
    uri_encode(view_of(name), false, &body);
  else
    buf_printf(&body, "kpid-%lld", (long long)clock_wall_ms());
  buf_add_cstr(&body, "&WebIdentityToken=");
  uri_encode(buf_view(&token), false, &body);
  rc = buf_failed(&body) ? err_set(err, KPI_OUT_OF_MEMORY, "no memory for the web identity token")
                         : exchange(c, buf_view(&body), out, err);
  crypto_cleanse(token.ptr, token.len);
  crypto_cleanse(body.ptr, body.len);
  return rc;
}
