/* SPDX-License-Identifier: MIT
 * The metadata service of EC2 instances, version 2 only: a session token by PUT, then role and credentials.
 */
#include "aws/cred_http.h"
#include "base/crypto.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 1000, URL_MAX = 1024 };

#define ROLE_PATH "/latest/meta-data/iam/security-credentials/"

static bool is_switched_off(void) {
  const char *disabled = getenv("AWS_EC2_METADATA_DISABLED");
  return disabled && view_eq_fold(view_of(disabled), VIEW_LIT("true"));
}

static struct view base_url(void) {
  const char *set = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  const char *mode = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
  struct view url = set && *set ? view_of(set)
                    : mode && view_eq_fold(view_of(mode), VIEW_LIT("ipv6"))
                        ? VIEW_LIT("http://[fd00:ec2::254]")
                        : VIEW_LIT("http://169.254.169.254");
  while (url.len && url.ptr[url.len - 1] == '/')
    url.len--;
  return url;
}

static enum http_outcome ask(const struct credential_context *c, const char *method, struct view path,
                             const char *header, struct http_reply *out) {
  auto_buf struct buf url;
  buf_init(&url, URL_MAX);
  buf_add(&url, base_url());
  buf_add(&url, path);
  struct http_request q = {.method = method,
                           .url = url.ptr ? url.ptr : "",
                           .headers = {header},
                           .header_count = 1,
                           .has_body = strcmp(method, "PUT") == 0,
                           .connect_ms = TIMEOUT_MS,
                           .timeout_ms = TIMEOUT_MS,
                           .reply_max = CRED_REPLY_MAX,
                           .stop = c->stop};
  /* One try each: outside of EC2 nobody answers, and that is no failure. */
  return http_call(c->http, &q, out);
}

/* Writes the header that carries the session token. False: this is no instance, or it is switched off there.
 */
static bool open_session(const struct credential_context *c, struct buf *header) {
  struct http_reply reply;
  bool ok = ask(c, "PUT", VIEW_LIT("/latest/api/token"), "X-aws-ec2-metadata-token-ttl-seconds: 21600",
                &reply) == HTTP_REPLIED &&
            reply.status == 200 && reply.body.len > 0;
  if (ok) {
    buf_add_cstr(header, "X-aws-ec2-metadata-token: ");
    buf_add(header, view_trim(buf_view(&reply.body)));
  }
  http_reply_clear(&reply);
  return ok && !buf_failed(header);
}

/* Appends the path of the role's credentials. *found false: the instance has no role. */
static enum kpi_code find_role(const struct credential_context *c, const char *header, struct buf *path,
                               bool *found, struct err *err) {
  struct http_reply reply;
  enum http_outcome outcome = ask(c, "GET", VIEW_LIT(ROLE_PATH), header, &reply);
  enum kpi_code rc = KPI_OK;
  struct view rest = buf_view(&reply.body), role = view_trim(view_split(&rest, '\n'));
  *found = outcome == HTTP_REPLIED && reply.status == 200 && role.len > 0;
  if (*found)
    buf_printf(path, ROLE_PATH "%.*s", (int)role.len, role.ptr);
  else if (outcome != HTTP_REPLIED || reply.status != 404)
    rc = cred_http_err("the instance metadata service", outcome, &reply, err);
  http_reply_clear(&reply);
  return rc;
}

enum kpi_code cred_instance(const struct credential_context *c, struct credentials *out, bool *found,
                            struct err *err) {
  auto_buf struct buf header, path;
  struct http_reply reply;
  buf_init(&header, CRED_REPLY_MAX);
  buf_init(&path, URL_MAX);
  *found = false;
  if (is_switched_off() || !open_session(c, &header))
    return KPI_OK;
  enum kpi_code rc = find_role(c, header.ptr, &path, found, err);
  if (rc || !*found)
    return rc;
  enum http_outcome outcome = ask(c, "GET", buf_view(&path), header.ptr, &reply);
  if (outcome != HTTP_REPLIED || reply.status != 200 || !credentials_parse_json(buf_view(&reply.body), out))
    rc = cred_http_err("the instance metadata service", outcome, &reply, err);
  http_reply_clear(&reply);
  return rc;
}
