/* SPDX-License-Identifier: MIT */
#include "pipeline/source_s3.h"

#include "aws/s3.h"
#include "base/scope.h"
#include "pipeline/s3_reader.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "s3://"

enum { KEY_BYTES_MAX = 1024 };

struct source_s3 {
  struct source base;
  struct aws *aws;                /* borrowed */
  char *bucket, *prefix;          /* owned; the prefix is empty or ends in a slash */
  struct s3_downloads *downloads; /* owned */
};

static enum kpi_code s3_open(struct source *base, const struct source_object *object,
                             const struct source_use *use, struct source_reader **out, struct err *err) {
  struct source_s3 *s = (struct source_s3 *)base;
  char *key;
  if (asprintf(&key, "%s%s", s->prefix, object->name) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to open %s", object->name);
  return s3_reader_open(s->downloads, key, object, use, out, err);
}

/* ---- listing ---- */

struct listing_walk {
  const struct source_s3 *source;
  enum dataset dataset;
  struct view prefix; /* that was listed */
  struct source_listing *out;
};

/* Direct children that are input, and the parts in folders of such a name. */
static bool is_wanted(struct view name) {
  struct view rest = name;
  struct view child = view_split(&rest, '/');
  if (!source_name_is_input(child))
    return false;
  return !rest.ptr || (source_name_is_part(rest) && !memchr(rest.ptr, '/', rest.len));
}

static enum kpi_code add_object(void *arg, const struct s3_object *o, struct err *err) {
  struct listing_walk *w = arg;
  char name[KEY_BYTES_MAX + 1];
  size_t skip = strlen(w->source->prefix);
  if (o->key.len < w->prefix.len || memcmp(o->key.ptr, w->prefix.ptr, w->prefix.len) != 0)
    return err_set(err, KPI_S3_UNAVAILABLE, "ListObjectsV2: a key was listed that is not below %.*s",
                   (int)w->prefix.len, w->prefix.ptr);
  struct view relative = {o->key.ptr + skip, o->key.len - skip};
  if (!is_wanted((struct view){o->key.ptr + w->prefix.len, o->key.len - w->prefix.len}))
    return KPI_OK;
  struct source_object object = {.name = name, .size = o->size, .modified_ms = o->modified_ms};
  if (memchr(relative.ptr, '\0', relative.len) || !view_to_cstr(relative, name, sizeof name) ||
      !view_to_cstr(o->etag, object.version, sizeof object.version))
    return err_set(err, KPI_S3_UNAVAILABLE, "ListObjectsV2: a key or an ETag is too long, or holds a NUL");
  return source_listing_add(w->out, w->dataset, &object)
             ? KPI_OK
             : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the list of input objects");
}

static enum kpi_code list_dataset(struct source_s3 *s, enum dataset d, const struct source_use *use,
                                  struct source_listing *out, struct err *err) {
  auto_buf struct buf prefix;
  buf_init(&prefix, 2 * KEY_BYTES_MAX);
  buf_printf(&prefix, "%s%s/", s->prefix, schema_of(d)->name);
  struct listing_walk walk = {s, d, buf_view(&prefix), out};
  enum kpi_code rc =
      s3_list(s->aws, view_of(s->bucket), buf_view(&prefix), use->stop, add_object, &walk, err);
  if (rc || out->datasets[d].count > 0)
    return rc;
  err_set(err, KPI_S3_NO_OBJECTS, "%s/: no .csv or .csv.gz object under s3://%s/%s", schema_of(d)->name,
          s->bucket, prefix.ptr);
  view_to_cstr(view_of(s->bucket), err->remote.bucket, sizeof err->remote.bucket);
  view_to_cstr(buf_view(&prefix), err->object, sizeof err->object);
  return err->code;
}

static enum kpi_code s3_source_list(struct source *base, const struct source_use *use,
                                    struct source_listing *out, struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (int d = 0; d < DATASET_COUNT && rc == KPI_OK; d++)
    rc = list_dataset((struct source_s3 *)base, (enum dataset)d, use, out, err);
  return rc;
}

/* ---- life ---- */

static void s3_free(struct source *base) {
  struct source_s3 *s = (struct source_s3 *)base;
  s3_downloads_free(s->downloads);
  free(s->bucket);
  free(s->prefix);
  free(s);
}

static const struct source_vtable s3_vtable = {"s3", KPI_S3_OBJECT_CHANGED, s3_source_list, s3_open, s3_free};

/* Splits s3://bucket/prefix; the prefix has no slash at its end. False when there is no bucket. */
static bool split_url(const char *url, struct view *bucket, struct view *prefix) {
  struct view rest = view_of(url);
  *bucket = *prefix = VIEW_LIT("");
  if (!view_starts(rest, SCHEME))
    return false;
  rest = view_of(url + strlen(SCHEME));
  *bucket = view_split(&rest, '/');
  while (rest.len && rest.ptr[rest.len - 1] == '/')
    rest.len--;
  *prefix = rest;
  return bucket->len > 0 && prefix->len < KEY_BYTES_MAX;
}

bool source_s3_takes(const char *url) {
  struct view bucket, prefix;
  return split_url(url, &bucket, &prefix);
}

/* Keeps bucket and prefix, which gets a final slash. False when memory is exhausted. */
static bool keep_url(const char *url, struct source_s3 *s) {
  struct view bucket, prefix;
  split_url(url, &bucket, &prefix);
  s->bucket = strndup(bucket.ptr, bucket.len);
  int rc =
      asprintf(&s->prefix, "%.*s%s", (int)prefix.len, prefix.len ? prefix.ptr : "", prefix.len ? "/" : "");
  return s->bucket && rc >= 0;
}

enum kpi_code source_s3_new(const char *url, struct aws *aws, size_t concurrency, struct source **out,
                            struct err *err) {
  struct source_s3 *s = calloc(1, sizeof *s);
  if (!s)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the source");
  s->base = (struct source){.vtable = &s3_vtable, .open_ahead = concurrency};
  s->aws = aws;
  if (!keep_url(url, s) || (s->downloads = s3_downloads_new(aws, s->bucket, concurrency)) == NULL) {
    s3_free(&s->base);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads to download with");
  }
  *out = &s->base;
  return KPI_OK;
}
