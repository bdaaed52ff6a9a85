/* SPDX-License-Identifier: MIT */
#include "aws/sigv4.h"

#include "aws/uri.h"
#include "base/scope.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

enum { CANONICAL_BYTES_MAX = 256 * 1024, DATE_LEN = 8, PATH_SEGMENTS_MAX = 512 };

void sigv4_time(int64_t wall_ms, char out[SIGV4_TIME_SIZE]) {
  time_t seconds = (time_t)(wall_ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  strftime(out, SIGV4_TIME_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

/* ---- path ---- */

/* Removes empty, . and .. segments (RFC 3986, 5.2.4); a final slash stays. */
static void normalize_path(struct view path, struct buf *out) {
  struct view segments[PATH_SEGMENTS_MAX], rest = path, segment = {0};
  size_t count = 0;
  while (rest.ptr && count < PATH_SEGMENTS_MAX) {
    segment = view_split(&rest, '/');
    if (view_is(segment, ".."))
      count -= count > 0;
    else if (segment.len > 0 && !view_is(segment, "."))
      segments[count++] = segment;
  }
  for (size_t i = 0; i < count; i++) {
    buf_add_char(out, '/');
    buf_add(out, segments[i]);
  }
  bool ends_in_folder = segment.len == 0 || view_is(segment, ".") || view_is(segment, "..");
  if (count == 0 || ends_in_folder)
    buf_add_char(out, '/');
}

static void add_path(const struct sigv4_request *q, struct buf *out) {
  struct view path = q->path.len ? q->path : VIEW_LIT("/");
  if (q->keep_path) {
    buf_add(out, path);
    return;
  }
  auto_buf struct buf normal;
  buf_init(&normal, CANONICAL_BYTES_MAX);
  if (q->keep_dots)
    buf_add(&normal, path);
  else
    normalize_path(path, &normal);
  uri_encode(buf_view(&normal), true, out);
}

/* ---- query ---- */

static int compare_pairs(const void *a, const void *b) {
  const struct sigv4_pair *x = a, *y = b;
  int by_name = view_cmp(x->name, y->name);
  return by_name ? by_name : view_cmp(x->value, y->value);
}

/* Sorting is by the encoded texts: a name with a comma sorts by its %2C. */
void sigv4_query(const struct sigv4_request *q, struct buf *out) {
  struct sigv4_pair encoded[SIGV4_PAIRS_MAX];
  struct buf texts[2 * SIGV4_PAIRS_MAX];
  for (size_t i = 0; i < q->query_count; i++) {
    struct buf *name = &texts[2 * i], *value = &texts[2 * i + 1];
    buf_init(name, CANONICAL_BYTES_MAX);
    buf_init(value, CANONICAL_BYTES_MAX);
    uri_encode(q->query[i].name, false, name);
    uri_encode(q->query[i].value, false, value);
    if (buf_failed(name) || buf_failed(value))
      out->failed = true;
    encoded[i] = (struct sigv4_pair){buf_view(name), buf_view(value)};
  }
  if (q->query_count)
    qsort(encoded, q->query_count, sizeof *encoded, compare_pairs);
  for (size_t i = 0; i < q->query_count; i++) {
    if (i)
      buf_add_char(out, '&');
    buf_add(out, encoded[i].name);
    buf_add_char(out, '=');
    buf_add(out, encoded[i].value);
  }
  for (size_t i = 0; i < 2 * q->query_count; i++)
    buf_clear(&texts[i]);
}

/* ---- headers ---- */

static int compare_folded(struct view a, struct view b) {
  size_t shared = a.len < b.len ? a.len : b.len;
  for (size_t i = 0; i < shared; i++) {
    int difference = tolower((unsigned char)a.ptr[i]) - tolower((unsigned char)b.ptr[i]);
    if (difference)
      return difference;
  }
  return (a.len > b.len) - (a.len < b.len);
}

/* By name only: lines of one name keep the order they are sent in. */
static void sort_headers(const struct sigv4_request *q, struct sigv4_pair sorted[SIGV4_PAIRS_MAX]) {
  for (size_t i = 0; i < q->header_count; i++) {
    size_t at = i;
    for (; at > 0 && compare_folded(sorted[at - 1].name, q->headers[i].name) > 0; at--)
      sorted[at] = sorted[at - 1];
    sorted[at] = q->headers[i];
  }
}

static void add_lower(struct view v, struct buf *out) {
  for (size_t i = 0; i < v.len; i++)
    buf_add_char(out, (char)tolower((unsigned char)v.ptr[i]));
}

/* Trimmed, and runs of blanks inside as one space. */
static void add_header_value(struct view value, struct buf *out) {
  struct view v = view_trim(value);
  for (size_t i = 0; i < v.len; i++)
    if (v.ptr[i] != ' ' || v.ptr[i - 1] != ' ')
      buf_add_char(out, v.ptr[i]);
}

static bool is_repeated(const struct sigv4_pair *sorted, size_t i) {
  return i > 0 && view_eq_fold(sorted[i - 1].name, sorted[i].name);
}

static void add_headers(const struct sigv4_pair *sorted, size_t count, struct buf *out) {
  for (size_t i = 0; i < count; i++) {
    if (is_repeated(sorted, i)) {
      buf_add_char(out, ',');
    } else {
      if (i)
        buf_add_char(out, '\n');
      add_lower(sorted[i].name, out);
      buf_add_char(out, ':');
    }
    add_header_value(sorted[i].value, out);
  }
  buf_add_char(out, '\n');
}

static void add_signed_names(const struct sigv4_pair *sorted, size_t count, struct buf *out) {
  for (size_t i = 0; i < count; i++) {
    if (is_repeated(sorted, i))
      continue;
    if (i)
      buf_add_char(out, ';');
    add_lower(sorted[i].name, out);
  }
}

/* ---- stages ---- */

void sigv4_canonical_request(const struct sigv4_request *q, struct buf *out) {
  struct sigv4_pair sorted[SIGV4_PAIRS_MAX];
  sort_headers(q, sorted);
  buf_add(out, q->method);
  buf_add_char(out, '\n');
  add_path(q, out);
  buf_add_char(out, '\n');
  sigv4_query(q, out);
  buf_add_char(out, '\n');
  add_headers(sorted, q->header_count, out);
  buf_add_char(out, '\n');
  add_signed_names(sorted, q->header_count, out);
  buf_add_char(out, '\n');
  buf_add(out, q->payload_sha256);
}

static struct view date_of(const struct sigv4_scope *s) {
  return (struct view){s->time, DATE_LEN};
}

static void add_scope(const struct sigv4_scope *s, struct buf *out) {
  const struct view parts[] = {date_of(s), s->region, s->service};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    buf_add(out, parts[i]);
    buf_add_char(out, '/');
  }
  buf_add_cstr(out, "aws4_request");
}

void sigv4_string_to_sign(struct view canonical_request, const struct sigv4_scope *s, struct buf *out) {
  char hash[SHA256_HEX_SIZE];
  crypto_sha256_hex(canonical_request, hash);
  buf_printf(out, "AWS4-HMAC-SHA256\n%s\n", s->time);
  add_scope(s, out);
  buf_printf(out, "\n%s", hash);
}

void sigv4_signature(struct view string_to_sign, const struct sigv4_scope *s, char out[SHA256_HEX_SIZE]) {
  unsigned char key[SHA256_SIZE];
  const struct view steps[] = {date_of(s), s->region, s->service, VIEW_LIT("aws4_request"), string_to_sign};
  auto_buf struct buf first;
  buf_init(&first, CANONICAL_BYTES_MAX);
  buf_add_cstr(&first, "AWS4");
  buf_add(&first, s->secret_key);
  crypto_hmac_sha256(buf_view(&first), steps[0], key);
  for (size_t i = 1; i < sizeof steps / sizeof steps[0]; i++)
    crypto_hmac_sha256((struct view){(const char *)key, sizeof key}, steps[i], key);
  crypto_hex(key, sizeof key, out);
  crypto_cleanse(first.ptr, first.len);
  crypto_cleanse(key, sizeof key);
}

bool sigv4_authorization(const struct sigv4_request *q, const struct sigv4_scope *s, struct buf *out) {
  auto_buf struct buf canonical, to_sign;
  char signature[SHA256_HEX_SIZE];
  struct sigv4_pair sorted[SIGV4_PAIRS_MAX];
  buf_init(&canonical, CANONICAL_BYTES_MAX);
  buf_init(&to_sign, CANONICAL_BYTES_MAX);
  sigv4_canonical_request(q, &canonical);
  sigv4_string_to_sign(buf_view(&canonical), s, &to_sign);
  if (buf_failed(&canonical) || buf_failed(&to_sign))
    return false;
  sigv4_signature(buf_view(&to_sign), s, signature);
  buf_add_cstr(out, "AWS4-HMAC-SHA256 Credential=");
  buf_add(out, s->access_key);
  buf_add_char(out, '/');
  add_scope(s, out);
  buf_add_cstr(out, ", SignedHeaders=");
  sort_headers(q, sorted);
  add_signed_names(sorted, q->header_count, out);
  buf_printf(out, ", Signature=%s", signature);
  return !buf_failed(out);
}
