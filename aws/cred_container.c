/* SPDX-License-Identifier: MIT
 * The credential endpoint of ECS and EKS: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI. */
#include "aws/cred_http.h"
#include "base/crypto.h"
#include "base/scope.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_MAX = 256, TIMEOUT_MS = 5000, CONNECT_MS = 1000 };

/* Plain http may go to the documented addresses only, so that a variable cannot send the token elsewhere. */
static bool host_is_allowed(struct view host) {
  static const char *const allowed[] = {"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "localhost",
                                        "[::1]"};
  char text[HOST_MAX];
  struct in_addr address;
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
    if (view_eq_fold(host, view_of(allowed[i])))
      return true;
  return view_to_cstr(host, text, sizeof text) && inet_pton(AF_INET, text, &address) == 1 &&
         (ntohl(address.s_addr) >> 24) == 127;
}

/* The host of http://host[:port]/..., with its brackets if it has some. */
static struct view host_of(struct view url) {
  struct view rest = {url.ptr + strlen("http://"), url.len - strlen("http://")};
  size_t len = rest.len && rest.ptr[0] == '[' ? strcspn(rest.ptr, "]") + 1 : strcspn(rest.ptr, ":/?#@");
  return (struct view){rest.ptr, len < rest.len ? len : rest.len};
}

static enum kpi_code find_url(struct buf *url, struct err *err) {
  const char *relative = getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const char *full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (relative && *relative) {
    buf_printf(url, "http://169.254.170.2%s", relative);
    return KPI_OK;
  }
  if (!full || !*full)
    return KPI_OK;
  struct view v = view_of(full);
  bool ok = view_starts(v, "https://") ||
            (view_starts(v, "http://") && !strchr(full, '@') && host_is_allowed(host_of(v)));
  if (!ok)
    return err_set(
        err, KPI_CREDENTIALS_MISSING,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI: must be https, loopback, 169.254.170.2, 169.254.170.23 or "
        "[fd00:ec2::23]");
  buf_add(url, v);
  return KPI_OK;
}

/* The token may rotate: its file is read each time. */
static enum kpi_code find_token(struct buf *header, struct err *err) {
  const char *path = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
  const char *token = getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (!(path && *path) && !(token && *token))
    return KPI_OK;
  buf_add_cstr(header, "Authorization: ");
  if (path && *path) {
    auto_buf struct buf text;
    buf_init(&text, CRED_FILE_MAX);
    enum kpi_code rc = cred_read_file(path, &text, err);
    if (rc)
      return rc;
    buf_add(header, buf_view(&text));
  } else {
    buf_add_cstr(header, token);
  }
  struct view all = buf_view(header);
  if (memchr(all.ptr, '\r', all.len) || memchr(all.ptr, '\n', all.len))
    return err_set(err, KPI_CREDENTIALS_MISSING,
                   "the authorization token of the container holds a line break");
  buf_add_char(header, '\0');
  return KPI_OK;
}

enum kpi_code cred_container(const struct credential_context *c, struct credentials *out, bool *found,
                             struct err *err) {
  auto_buf struct buf url, token;
  struct http_reply reply;
  buf_init(&url, 4096);
  buf_init(&token, CRED_FILE_MAX);
  enum kpi_code rc = find_url(&url, err);
  *found = url.len > 0;
  if (rc == KPI_OK && *found)
    rc = find_token(&token, err);
  if (rc || !*found)
    return rc;
  struct http_request q = {.method = "GET",
                           .url = url.ptr,
                           .headers = {"Accept: application/json", token.ptr},
                           .header_count = token.len ? 2 : 1,
                           .connect_ms = CONNECT_MS,
                           .timeout_ms = TIMEOUT_MS,
                           .reply_max = CRED_REPLY_MAX,
                           .stop = c->stop};
  enum http_outcome outcome = cred_http_call(c->http, &q, &reply);
  if (outcome != HTTP_REPLIED || reply.status != 200 || !credentials_parse_json(buf_view(&reply.body), out))
    rc = cred_http_err("the credential endpoint of the container", outcome, &reply, err);
  crypto_cleanse(token.ptr, token.len);
  http_reply_clear(&reply);
  return rc;
}
