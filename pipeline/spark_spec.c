/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_spec.h"

#include "base/scope.h"
#include "pipeline/spark_cluster.h"

#include <string.h>

/* ---- writing ---- */

static void add_text(struct buf *out, const char *name, const char *value) {
  buf_printf(out, "\"%s\":", name);
  if (value) {
    buf_add_char(out, '"');
    buf_add_json(out, view_of(value));
    buf_add_char(out, '"');
  } else {
    buf_add_cstr(out, "null");
  }
  buf_add_char(out, ',');
}

static void add_days(struct buf *out, const struct day_set *days) {
  char text[DAY_TEXT_SIZE];
  const char *separator = "[";
  buf_add_cstr(out, "\"days\":");
  if (day_set_is_all(days)) {
    buf_add_cstr(out, "\"all\",");
    return;
  }
  for (day_t day = days->from; day <= days->to; day++)
    if (day_set_has(days, day)) {
      buf_printf(out, "%s\"%s\"", separator, day_text(day, text));
      separator = ",";
    }
  buf_add_cstr(out, "],");
}

/* An object of S3 is known by its ETag, and by its time to clusters that are told none. */
static void add_object(struct buf *out, const struct source_object *object, const struct source *source,
                       const char *s3_scheme) {
  auto_buf struct buf uri;
  const bool is_s3 = source_needs_aws(source->url);
  buf_init(&uri, SIZE_MAX);
  spark_uri_write(source->url, object->name, s3_scheme, &uri);
  buf_add_char(out, '{');
  add_text(out, "name", object->name);
  add_text(out, "uri", buf_failed(&uri) ? NULL : uri.ptr);
  add_text(out, "etag", is_s3 ? object->version : NULL);
  buf_printf(out, "\"size\":%llu,\"modified_ms\":", (unsigned long long)object->size);
  if (is_s3 && !object->modified_ms)
    buf_add_cstr(out, "null");
  else
    buf_printf(out, "%lld", (long long)object->modified_ms);
  buf_printf(out, ",\"gzip\":%s}", object->is_gzip ? "true" : "false");
}

void spark_spec_write(const struct spark_spec *spec, const struct job *job,
                      const struct source_listing *listing, struct buf *out) {
  buf_add_cstr(out, "{\"format\":1,");
  add_text(out, "run_id", spec->owner);
  buf_printf(out, "\"attempt\":%u,", spec->number);
  add_text(out, "input_fingerprint", listing->fingerprint);
  add_text(out, "job_sha256", spec->job_sha256);
  add_days(out, spec->days);
  add_text(out, "bad_rows", bad_rows_name(job->bad_rows));
  add_text(out, "status_match", status_match_name(job->status_match));
  add_text(out, "unknown_category", job->unknown_category);
  add_text(out, "timezone", job->timezone);
  buf_add_cstr(out, "\"datasets\":{");
  for (int d = 0; d < DATASET_COUNT; d++) {
    const struct source_objects *objects = &listing->datasets[d];
    buf_printf(out, "%s\"%s\":[", d ? "," : "", schema_of((enum dataset)d)->name);
    for (size_t i = 0; i < objects->count; i++) {
      if (i)
        buf_add_cstr(out, ",\n");
      add_object(out, &objects->at[i], job->source, spec->s3_scheme);
    }
    buf_add_char(out, ']');
  }
  buf_add_cstr(out, "}}\n");
}

/* ---- reading ---- */

static enum kpi_code no_spec(struct err *err) {
  return err_set(err, KPI_ENGINE_FAILED, "spec.json is not as it was written");
}

/* What stands behind the first member of that name. */
static struct view find_days(struct view spec) {
  const struct view name = VIEW_LIT("\"days\":");
  const char *at = spec.len ? memmem(spec.ptr, spec.len, name.ptr, name.len) : NULL;
  return at ? (struct view){at + name.len, spec.len - (size_t)(at - spec.ptr) - name.len} : (struct view){0};
}

static bool read_day(struct view text, day_t *out) {
  if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"')
    return false;
  return day_parse((struct view){text.ptr + 1, text.len - 2}, out);
}

enum kpi_code spark_spec_days(struct view spec, struct day_set *out, struct err *err) {
  struct view days = find_days(spec);
  if (view_starts(days, "\"all\"")) {
    *out = day_set_range(DAY_MIN, DAY_MAX);
    return KPI_OK;
  }
  const char *end = days.len && days.ptr[0] == '[' ? memchr(days.ptr, ']', days.len) : NULL;
  if (!end)
    return no_spec(err);
  days = (struct view){days.ptr + 1, (size_t)(end - days.ptr) - 1};
  const size_t most = days.len / strlen("\"\",") + 1;
  auto_free day_t *list = calloc(most, sizeof *list);
  if (!list)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the days of a spec");
  size_t count = 0;
  while (days.ptr)
    if (count == most || !read_day(view_split(&days, ','), &list[count++]))
      return no_spec(err);
  return day_set_of(list, count, out) ? KPI_OK
                                      : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the days of a spec");
}
