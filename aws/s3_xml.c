/* SPDX-License-Identifier: MIT */
#include "aws/s3_xml.h"

#include "aws/credentials.h"
#include "aws/uri.h"
#include "aws/xml.h"
#include "base/scope.h"

enum { KEY_BYTES_MAX = 3 * 1024 + 64, TEXT_BYTES_MAX = 256 };

struct reading {
  struct s3_page *page;
  struct err *err;
  enum kpi_code rc;
  struct buf key, etag, size, modified; /* of the object that is being read */
};

static void set(struct buf *to, struct view text) {
  buf_reset(to);
  buf_add(to, text);
}

static bool hand_on(struct reading *r) {
  auto_buf struct buf decoded;
  buf_init(&decoded, KEY_BYTES_MAX);
  struct s3_object o = {.key = buf_view(&r->key), .etag = buf_view(&r->etag)};
  if (r->page->is_encoded) {
    if (!uri_decode_form(o.key, &decoded))
      return false;
    o.key = buf_view(&decoded);
  }
  if (buf_failed(&decoded) || buf_failed(&r->key) || buf_failed(&r->etag) || o.key.len == 0 ||
      o.etag.len == 0 || !view_to_u64(buf_view(&r->size), &o.size) ||
      !credentials_parse_time(buf_view(&r->modified), &o.modified_ms))
    return false;
  r->rc = r->page->fn(r->page->arg, &o, r->err);
  struct buf *const texts[] = {&r->key, &r->etag, &r->size, &r->modified};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    buf_reset(texts[i]);
  return r->rc == KPI_OK;
}

static bool on_element(void *arg, struct view path, struct view text) {
  struct reading *r = arg;
  struct view name = {path.ptr + sizeof "ListBucketResult" - 1, path.len - (sizeof "ListBucketResult" - 1)};
  if (view_is(name, "/IsTruncated"))
    r->page->is_truncated = view_is(text, "true");
  else if (view_is(name, "/NextContinuationToken"))
    set(&r->page->next_token, text);
  else if (view_is(name, "/Contents/Key"))
    set(&r->key, text);
  else if (view_is(name, "/Contents/ETag"))
    set(&r->etag, text);
  else if (view_is(name, "/Contents/Size"))
    set(&r->size, text);
  else if (view_is(name, "/Contents/LastModified"))
    set(&r->modified, text);
  else if (view_is(name, "/Contents"))
    return hand_on(r);
  return true;
}

/* EncodingType may follow the objects: it is looked for first. */
static bool on_outline(void *arg, struct view path, struct view text) {
  struct s3_page *page = arg;
  if (view_is(path, "ListBucketResult/EncodingType"))
    page->is_encoded = view_is(text, "url");
  return view_is(path, "ListBucketResult") || view_starts(path, "ListBucketResult/");
}

bool s3_page_check(struct view document, struct s3_page *page) {
  page->is_encoded = false;
  return xml_walk(document, on_outline, page);
}

enum kpi_code s3_page_read(struct view document, struct s3_page *page, struct err *err) {
  struct reading r = {.page = page, .err = err};
  struct buf *const texts[] = {&r.key, &r.etag, &r.size, &r.modified};
  buf_init(&r.key, KEY_BYTES_MAX);
  for (size_t i = 1; i < sizeof texts / sizeof texts[0]; i++)
    buf_init(texts[i], TEXT_BYTES_MAX);
  bool ok = xml_walk(document, on_element, &r);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    buf_clear(texts[i]);
  if (r.rc)
    return r.rc;
  return ok ? KPI_OK
            : err_set(err, KPI_S3_UNAVAILABLE,
                      "ListObjectsV2: an object of the listing lacks a key, an ETag, a size or a time");
}
