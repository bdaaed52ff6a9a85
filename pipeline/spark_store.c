/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_store.h"

#include "pipeline/spark_store_file.h"
#include "pipeline/spark_store_s3.h"

#include <string.h>

enum { NAME_SHOWN_MAX = 200 };

/* ---- URLs ---- */

/* True for parts between slashes that lead nowhere else. */
static bool is_path(struct view v) {
  if (v.len == 0 || memchr(v.ptr, '\0', v.len))
    return false;
  while (v.ptr) {
    struct view part = view_split(&v, '/');
    if (part.len == 0 || view_is(part, ".") || view_is(part, ".."))
      return false;
  }
  return true;
}

/* What stands behind a scheme, without the slashes at its end; empty if the URL has another one. */
static struct view behind(const char *url, const char *scheme) {
  struct view v = view_of(url);
  if (!view_starts(v, scheme))
    return (struct view){0};
  v = view_of(url + strlen(scheme));
  while (v.len && v.ptr[v.len - 1] == '/')
    v.len--;
  return v;
}

static bool is_place(struct view v) {
  return v.ptr && is_path(v) && !memchr(v.ptr, '%', v.len);
}

bool spark_store_url_is_valid(const char *url) {
  return is_place(behind(url, "file:///")) || is_place(behind(url, "s3://"));
}

enum kpi_code spark_store_new(const char *url, struct aws *aws, struct spark_store **out, struct err *err) {
  *out = NULL;
  if (!spark_store_url_is_valid(url))
    return err_set(err, KPI_CONFIG_INVALID,
                   "KPI_SPARK_WORK_URI=%s: must be file:///absolute/folder or s3://bucket/prefix, without "
                   "percent signs, empty parts, \".\" and \"..\"",
                   url);
  struct view folder = behind(url, "file://"), place = behind(url, "s3://");
  *out = folder.len ? spark_store_file_new(folder) : spark_store_s3_new(aws, place);
  return *out ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the files of Spark jobs");
}

void spark_store_free(struct spark_store *s) {
  if (s)
    s->vtable->free(s);
}

/* ---- calls ---- */

/* Names may come from files that a job has written. */
static enum kpi_code check_name(struct view name, struct err *err) {
  return is_path(name) ? KPI_OK
                       : err_set(err, KPI_ENGINE_FAILED, "\"%.*s\" is no name of a file of Spark jobs",
                                 (int)(name.len < NAME_SHOWN_MAX ? name.len : NAME_SHOWN_MAX), name.ptr);
}

enum kpi_code spark_store_put(struct spark_store *s, const char *name, struct view bytes,
                              const struct stop_flag *stop, struct err *err) {
  enum kpi_code rc = check_name(view_of(name), err);
  return rc ? rc : s->vtable->put(s, name, bytes, stop, err);
}

enum kpi_code spark_store_get(struct spark_store *s, const char *name, const struct stop_flag *stop,
                              _Atomic uint64_t *beats, struct buf *out, bool *found, struct err *err) {
  bool is_there = false;
  enum kpi_code rc = check_name(view_of(name), err);
  if (rc == KPI_OK)
    rc = s->vtable->get(s, name, stop, beats, out, &is_there, err);
  if (found)
    *found = is_there;
  if (rc || is_there || found)
    return rc;
  err_set(err, KPI_ENGINE_FAILED, "%s: there is no such file", name);
  view_to_cstr(view_of(name), err->object, sizeof err->object);
  return err->code;
}

enum kpi_code spark_store_remove_all(struct spark_store *s, const char *prefix, const struct stop_flag *stop,
                                     struct err *err) {
  struct view name = view_of(prefix);
  bool is_folder = view_ends(name, "/");
  name.len -= is_folder;
  enum kpi_code rc = is_folder ? check_name(name, err)
                               : err_set(err, KPI_ENGINE_FAILED, "\"%s\" is no folder of Spark jobs", prefix);
  return rc ? rc : s->vtable->remove_all(s, prefix, stop, err);
}
