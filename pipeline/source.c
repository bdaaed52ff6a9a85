/* SPDX-License-Identifier: MIT */
#include "pipeline/source.h"

#include "base/alloc.h"
#include "base/scope.h"
#include "pipeline/gunzip.h"
#include "pipeline/source_file.h"
#include "pipeline/source_s3.h"

#include <string.h>

#define LISTING_BYTES_MAX ((size_t)1 << 30)

void source_listing_clear(struct source_listing *l) {
  if (!l)
    return;
  for (int d = 0; d < DATASET_COUNT; d++) {
    for (size_t i = 0; i < l->datasets[d].count; i++)
      free(l->datasets[d].at[i].name);
    free(l->datasets[d].at);
  }
  *l = (struct source_listing){0};
}

bool source_listing_add(struct source_listing *l, enum dataset d, const struct source_object *object) {
  struct source_objects *o = &l->datasets[d];
  struct source_object *at = array_room(o->at, o->count, &o->cap, sizeof *at);
  if (!at)
    return false;
  o->at = at;
  struct source_object *added = &o->at[o->count];
  *added = *object;
  added->name = strdup(object->name);
  added->is_gzip = view_ends(view_of(object->name), ".gz");
  o->count += added->name != NULL;
  return added->name != NULL;
}

static int compare_objects(const void *a, const void *b) {
  return strcmp(((const struct source_object *)a)->name, ((const struct source_object *)b)->name);
}

void source_listing_text(const struct source_listing *l, struct buf *out) {
  for (int d = 0; d < DATASET_COUNT; d++)
    for (size_t i = 0; i < l->datasets[d].count; i++) {
      const struct source_object *o = &l->datasets[d].at[i];
      buf_printf(out, "%s\t%llu\t%s\n", o->name, (unsigned long long)o->size, o->version);
    }
}

enum kpi_code source_listing_finish(struct source_listing *l, struct err *err) {
  auto_buf struct buf text;
  buf_init(&text, LISTING_BYTES_MAX);
  l->objects = l->bytes = 0;
  for (int d = 0; d < DATASET_COUNT; d++) {
    struct source_objects *o = &l->datasets[d];
    if (o->count)
      qsort(o->at, o->count, sizeof *o->at, compare_objects);
    for (size_t i = 0; i < o->count; i++)
      l->bytes += o->at[i].size;
    l->objects += o->count;
  }
  source_listing_text(l, &text);
  if (buf_failed(&text))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the list of input objects");
  crypto_sha256_hex(buf_view(&text), l->fingerprint);
  return KPI_OK;
}

bool source_name_is_input(struct view name) {
  return (view_ends(name, ".csv") || view_ends(name, ".csv.gz")) && source_name_is_part(name);
}

bool source_name_is_part(struct view name) {
  return name.len > 0 && !view_starts(name, "_") && !view_starts(name, ".");
}

enum kpi_code source_read(struct source_reader *r, char *to, size_t size, size_t *got, struct err *err) {
  return r->vtable->read(r, to, size, got, err);
}

bool source_reads_anywhere(const struct source_reader *r) {
  return r->vtable->read_at != NULL;
}

enum kpi_code source_read_at(struct source_reader *r, uint64_t at, char *to, size_t size, size_t *got,
                             struct err *err) {
  return r->vtable->read_at(r, at, to, size, got, err);
}

bool source_lends(const struct source_reader *r) {
  return r->vtable->lend != NULL;
}

enum kpi_code source_lend(struct source_reader *r, uint64_t at, size_t size, struct source_loan *out,
                          struct err *err) {
  return r->vtable->lend(r, at, size, out, err);
}

void source_take_back(struct source_reader *r, const struct source_loan *loan) {
  r->vtable->take_back(r, loan);
}

enum kpi_code source_finish(struct source_reader *r, struct err *err) {
  return r->vtable->finish(r, err);
}

void source_close(struct source_reader *r) {
  if (r)
    r->vtable->close(r);
}

bool source_needs_aws(const char *url) {
  return source_s3_takes(url);
}

bool source_url_is_valid(const char *url) {
  return source_file_takes(url) || source_s3_takes(url);
}

enum kpi_code source_new(const char *url, struct aws *aws, size_t s3_concurrency, struct source **out,
                         struct err *err) {
  *out = NULL;
  if (!source_url_is_valid(url))
    return err_set(err, KPI_CONFIG_INVALID,
                   "KPI_SOURCE=%s: must be file:///absolute/folder or s3://bucket/prefix", url);
  enum kpi_code rc = source_s3_takes(url) ? source_s3_new(url, aws, s3_concurrency, out, err)
                                          : source_file_new(url, out, err);
  if (rc)
    return rc;
  (*out)->url = strdup(url);
  if ((*out)->url)
    return KPI_OK;
  source_free(TAKE(*out));
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the source");
}

void source_free(struct source *s) {
  if (!s)
    return;
  free(s->url);
  s->vtable->free(s);
}

enum kpi_code source_list(struct source *s, const struct source_use *use, struct source_listing *out,
                          struct err *err) {
  *out = (struct source_listing){0};
  enum kpi_code rc = s->vtable->list(s, use, out, err);
  if (rc == KPI_OK)
    rc = source_listing_finish(out, err);
  if (rc)
    source_listing_clear(out);
  return rc;
}

enum kpi_code source_open(struct source *s, const struct source_object *object, const struct source_use *use,
                          struct source_reader **out, struct err *err) {
  *out = NULL;
  enum kpi_code rc = s->vtable->open(s, object, use, out, err);
  if (rc == KPI_OK && object->is_gzip)
    return gunzip_new(TAKE(*out), object->name, out, err);
  return rc;
}
