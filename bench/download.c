/* SPDX-License-Identifier: MIT
 * The floor under reading from S3: downloads every object of a prefix to memory, in the ranges and with the
 * HTTP client of kpid, and looks at nothing. Prints seconds and bytes.
 * usage: bench_download BUCKET PREFIX CONCURRENCY, with the AWS settings of the environment. */
#include "aws/s3.h"
#include "base/clock.h"
#include "base/pool.h"
#include "pipeline/s3_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES_MAX = 100 * 1000, OTHER_REQUESTS = 4 };

struct range_task {
  struct aws *aws;
  char *key, *etag; /* owned by the first range of the object */
  const char *bucket;
  uint64_t object_size, first, size;
  enum kpi_code rc;
  struct err err;
};

struct work {
  struct aws *aws;
  const char *bucket;
  struct range_task *tasks;
  size_t count;
  uint64_t bytes;
};

struct memory {
  char *at;
  size_t used;
};

static void keep(void *arg, struct view bytes) {
  struct memory *m = arg;
  memcpy(m->at + m->used, bytes.ptr, bytes.len);
  m->used += bytes.len;
}

static void download(void *arg) {
  struct range_task *t = arg;
  struct memory m = {malloc(t->size), 0};
  struct s3_range range = {.bucket = view_of(t->bucket),
                           .key = view_of(t->key),
                           .etag = view_of(t->etag),
                           .object_size = t->object_size,
                           .first = t->first,
                           .size = t->size};
  t->rc = m.at ? s3_get_range(t->aws, &range, keep, &m, &t->err)
               : err_set(&t->err, KPI_OUT_OF_MEMORY, "no memory for a range");
  free(m.at);
}

static enum kpi_code add_object(void *arg, const struct s3_object *o, struct err *err) {
  struct work *w = arg;
  char *key = strndup(o->key.ptr, o->key.len), *etag = strndup(o->etag.ptr, o->etag.len);
  for (uint64_t first = 0; first < o->size; first += S3_RANGE_BYTES) {
    if (w->count == RANGES_MAX)
      return err_set(err, KPI_USAGE, "too many ranges");
    uint64_t left = o->size - first, size = left < S3_RANGE_BYTES ? left : S3_RANGE_BYTES;
    w->tasks[w->count++] = (struct range_task){.aws = w->aws,
                                               .key = key,
                                               .etag = etag,
                                               .bucket = w->bucket,
                                               .object_size = o->size,
                                               .first = first,
                                               .size = size};
  }
  w->bytes += o->size;
  return KPI_OK;
}

static enum kpi_code download_all(struct work *w, size_t concurrency, struct err *err) {
  struct pool *pool = pool_new(concurrency, RANGES_MAX);
  if (!pool)
    return err_set(err, KPI_OUT_OF_MEMORY, "no threads");
  pool_map(pool, NULL, download, w->tasks, sizeof *w->tasks, w->count);
  pool_free(pool);
  for (size_t i = 0; i < w->count; i++)
    if (w->tasks[i].rc) {
      *err = w->tasks[i].err;
      return err->code;
    }
  return KPI_OK;
}

int main(int argc, char **argv) {
  struct err err = {0};
  struct work w = {.tasks = calloc(RANGES_MAX, sizeof *w.tasks)};
  uint64_t concurrency;
  if (argc != 4 || !w.tasks || !view_to_u64(view_of(argv[3]), &concurrency) || concurrency == 0) {
    fprintf(stderr, "usage: bench_download BUCKET PREFIX CONCURRENCY\n");
    return 64;
  }
  w.bucket = argv[1];
  int64_t start = clock_mono_ms();
  enum kpi_code rc = aws_new(concurrency + OTHER_REQUESTS, &w.aws, &err);
  if (rc == KPI_OK)
    rc = s3_list(w.aws, view_of(w.bucket), view_of(argv[2]), NULL, add_object, &w, &err);
  if (rc == KPI_OK)
    rc = download_all(&w, concurrency, &err);
  if (rc) {
    fprintf(stderr, "%s: %s\n", err_name(rc), err.message);
    return 1;
  }
  printf("%.3f s, %llu bytes\n", (double)(clock_mono_ms() - start) / 1000.0, (unsigned long long)w.bytes);
  return 0;
}
