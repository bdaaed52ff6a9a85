/* SPDX-License-Identifier: MIT */
#include "server/http_gate.h"

#include <string.h>

static bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_one_of(char c, const char *set) {
  return c != '\0' && strchr(set, c) != NULL;
}

/* RFC 9110, 5.6.2: the characters of a token. */
static bool is_token_char(char c) {
  return is_alnum(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

static bool is_token(struct view v) {
  for (size_t i = 0; i < v.len; i++)
    if (!is_token_char(v.ptr[i]))
      return false;
  return v.len > 0;
}

/* Visible ASCII without the space. */
static bool is_visible(char c) {
  return c > 0x20 && c < 0x7F;
}

/* Blank, tab, visible ASCII or obs-text; no other control byte. */
static bool is_field_value(struct view v) {
  for (size_t i = 0; i < v.len; i++) {
    unsigned char c = (unsigned char)v.ptr[i];
    if ((c < 0x20 && c != '\t') || c == 0x7F)
      return false;
  }
  return true;
}

static bool is_host(struct view v) {
  v = view_trim(v);
  if (v.len == 0 || v.len > HTTP_HOST_BYTES_MAX)
    return false;
  for (size_t i = 0; i < v.len; i++)
    if (!is_alnum(v.ptr[i]) && !is_one_of(v.ptr[i], "-._~:[]"))
      return false;
  return true;
}

static enum kpi_code refuse(struct err *err, const char *why) {
  return err_set(err, KPI_MALFORMED_HEADER, "%s", why);
}

static enum kpi_code check_target(struct view target, struct err *err) {
  if (target.len > HTTP_TARGET_BYTES_MAX)
    return err_set(err, KPI_URI_TOO_LONG, "The request target has %zu bytes, at most %d are taken.",
                   target.len, HTTP_TARGET_BYTES_MAX);
  if (target.len == 0 || target.ptr[0] != '/')
    return refuse(err, "The request target must be a path that starts with '/'.");
  bool in_query = false;
  for (size_t i = 0; i < target.len; i++) {
    char c = target.ptr[i];
    if (!is_visible(c) || c == '#')
      return refuse(err, "The request target holds a byte that does not belong in a URI.");
    if (c == '?')
      in_query = true;
    if (!in_query && (c == '%' || c == '\\'))
      return refuse(err, "The path holds '%' or '\\'; no path of this service is written with them.");
  }
  return KPI_OK;
}

static enum kpi_code check_request_line(const struct http_head *head, struct err *err) {
  if (!is_token(head->method) || head->method.len > HTTP_METHOD_BYTES_MAX)
    return refuse(err, "The method is not a short token.");
  if (!view_is(head->version, "HTTP/1.1") && !view_is(head->version, "HTTP/1.0"))
    return refuse(err, "The protocol version must be HTTP/1.1 or HTTP/1.0.");
  return check_target(head->target, err);
}

/* What the fields that frame a message were seen as. */
struct framing {
  unsigned hosts, lengths;
  uint64_t body_size;
};

static enum kpi_code check_field(const struct http_field *f, struct framing *framing, struct err *err) {
  if (!is_token(f->name))
    return refuse(err, "A header name is not a token.");
  if (!is_field_value(f->value))
    return refuse(err, "A header value holds a control byte.");
  if (view_eq_fold(f->name, VIEW_LIT("Transfer-Encoding")))
    return err_set(err, KPI_LENGTH_REQUIRED, "Transfer-Encoding is not taken; send Content-Length.");
  if (view_eq_fold(f->name, VIEW_LIT("Expect")))
    return err_set(err, KPI_EXPECTATION_FAILED, "Expect is not taken; send the body at once.");
  if (view_eq_fold(f->name, VIEW_LIT("Host"))) {
    framing->hosts++;
    if (!is_host(f->value))
      return refuse(err, "Host is not a host name with an optional port.");
  }
  if (view_eq_fold(f->name, VIEW_LIT("Content-Length"))) {
    framing->lengths++;
    if (!view_to_u64(f->value, &framing->body_size))
      return refuse(err, "Content-Length is not a decimal number.");
  }
  return KPI_OK;
}

static enum kpi_code check_fields(const struct http_head *head, uint64_t *body_size, struct err *err) {
  struct framing framing = {0};
  if (head->field_count > HTTP_HEADERS_MAX)
    return err_set(err, KPI_HEADERS_TOO_LARGE, "The request has more than %d headers.", HTTP_HEADERS_MAX);
  for (size_t i = 0; i < head->field_count; i++) {
    enum kpi_code rc = check_field(&head->fields[i], &framing, err);
    if (rc)
      return rc;
  }
  if (framing.hosts != 1)
    return refuse(err, framing.hosts ? "Host was sent more than once." : "Host is missing.");
  if (framing.lengths > 1)
    return refuse(err, "Content-Length was sent more than once.");
  *body_size = framing.body_size;
  return KPI_OK;
}

/* Bytes from the end of `a` to the start of `b`; they need not belong to one object, so as integers. */
static uintptr_t gap(struct view a, const char *b) {
  return (uintptr_t)b - ((uintptr_t)a.ptr + a.len);
}

/* A clean head leaves exactly one byte between the parts of its first line and two (CR LF) between lines, and
 * its last line is followed by CR LF CR LF. Anything else was hidden by the parser: NUL, bare LF, folding. */
static bool is_clean_layout(const struct http_head *head) {
  struct view target = {head->target_at ? head->target_at : head->target.ptr, head->target.len};
  if (gap(head->method, target.ptr) != 1 || gap(target, head->version.ptr) != 1)
    return false;
  struct view before = head->version;
  for (size_t i = 0; i < head->field_count; i++) {
    const struct http_field *f = &head->fields[i];
    if (gap(before, f->name.ptr) != 2 || gap(f->name, f->value.ptr) < 1)
      return false;
    before = f->value;
  }
  uintptr_t end = (uintptr_t)head->method.ptr + head->size;
  return end - ((uintptr_t)before.ptr + before.len) == 4;
}

enum kpi_code http_gate_check(const struct http_head *head, uint64_t *body_size, struct err *err) {
  *body_size = 0;
  enum kpi_code rc = check_request_line(head, err);
  if (!rc)
    rc = check_fields(head, body_size, err);
  if (!rc && head->in_one_buffer && !is_clean_layout(head))
    rc = refuse(err, "The request head holds a NUL, a bare line feed, a folded line or doubled blanks.");
  return rc;
}

bool http_gate_request_id_ok(struct view id) {
  for (size_t i = 0; i < id.len; i++)
    if (!is_alnum(id.ptr[i]) && !is_one_of(id.ptr[i], "._-"))
      return false;
  return id.len > 0 && id.len <= HTTP_REQUEST_ID_BYTES_MAX;
}
