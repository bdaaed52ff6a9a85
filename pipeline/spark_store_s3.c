/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_store_s3.h"

#include "aws/s3_files.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>

struct store_s3 {
  struct spark_store base;
  struct aws *aws; /* borrowed */
  char *bucket;    /* owned */
  char *prefix;    /* owned; empty, or with a slash at its end */
};

/* What S3 says of input must not be said of these files: it would send the reader to the wrong place. */
static enum kpi_code told(enum kpi_code rc, struct err *err) {
  if (rc == KPI_SOURCE_UNREADABLE || rc == KPI_S3_OBJECT_CHANGED)
    rc = err->code = KPI_ENGINE_FAILED;
  return rc;
}

/* Returns owned, NULL when memory is exhausted. */
static char *key_of(const struct store_s3 *s, const char *name, struct err *err) {
  char *key;
  if (asprintf(&key, "%s%s", s->prefix, name) >= 0)
    return key;
  err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s", name);
  return NULL;
}

static struct s3_file file_of(const struct store_s3 *s, const char *key, const struct stop_flag *stop) {
  return (struct s3_file){.bucket = view_of(s->bucket), .key = view_of(key), .stop = stop};
}

static enum kpi_code s3_put(struct spark_store *base, const char *name, struct view bytes,
                            const struct stop_flag *stop, struct err *err) {
  const struct store_s3 *s = (const struct store_s3 *)base;
  auto_free char *key = key_of(s, name, err);
  struct s3_file f = file_of(s, key, stop);
  return key ? told(s3_file_put(s->aws, &f, bytes, err), err) : err->code;
}

static enum kpi_code s3_get(struct spark_store *base, const char *name, const struct stop_flag *stop,
                            _Atomic uint64_t *beats, struct buf *out, bool *found, struct err *err) {
  const struct store_s3 *s = (const struct store_s3 *)base;
  auto_free char *key = key_of(s, name, err);
  struct s3_file f = file_of(s, key, stop);
  f.beats = beats;
  return key ? told(s3_file_get(s->aws, &f, out, found, err), err) : err->code;
}

static enum kpi_code s3_remove_all(struct spark_store *base, const char *prefix, const struct stop_flag *stop,
                                   struct err *err) {
  const struct store_s3 *s = (const struct store_s3 *)base;
  auto_free char *key = key_of(s, prefix, err);
  return key ? told(s3_files_remove(s->aws, view_of(s->bucket), view_of(key), stop, err), err) : err->code;
}

static void s3_free(struct spark_store *base) {
  struct store_s3 *s = (struct store_s3 *)base;
  free(s->bucket);
  free(s->prefix);
  free(s);
}

static const struct spark_store_vtable s3_vtable = {s3_put, s3_get, s3_remove_all, s3_free};

struct spark_store *spark_store_s3_new(struct aws *aws, struct view place) {
  struct store_s3 *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->base.vtable = &s3_vtable;
  s->aws = aws;
  struct view prefix = place, bucket = view_split(&prefix, '/');
  s->bucket = strndup(bucket.ptr, bucket.len);
  if (asprintf(&s->prefix, "%.*s%s", (int)prefix.len, prefix.len ? prefix.ptr : "", prefix.len ? "/" : "") <
      0)
    s->prefix = NULL;
  if (s->bucket && s->prefix)
    return &s->base;
  s3_free(&s->base);
  return NULL;
}
