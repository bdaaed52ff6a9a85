/* SPDX-License-Identifier: MIT */
#include "pipeline/source_s3.h"

#include "aws/s3.h"
#include "base/clock.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>

#define SCHEME "s3://"

enum { FETCH_QUEUE = 1024, LOOK_MS = 100, KEY_BYTES_MAX = 1024 };

/* A source and the fetchers that all its readers share. Memory for parts (ranges of objects) is what is
 * scarce: a reader that is being read may always have one part, and takes more while its share lasts; readers
 * that wait to be read begin with one while half of the memory is free. */
struct source_s3 {
  struct source base;
  struct aws *aws;
  char *bucket, *prefix; /* owned; the prefix is empty or ends in a slash */
  struct pool *fetchers;
  size_t bytes_max;
  struct {
    pthread_mutex_t lock;
    size_t bytes;         /* of all parts */
    size_t open, reading; /* readers; those that were read from */
    struct part *spare;   /* whole-size buffers kept while readers are open */
  } synced;
};

/* A range of an object, filled by a fetcher while the reader empties it. */
struct part {
  struct s3_reader *reader;
  struct part *next;
  uint64_t first;
  size_t size, used;
  char *bytes; /* owned */
  /* guarded by the reader's lock: */
  size_t filled;
  size_t awaited; /* the reader sleeps until so much is filled, or for LOOK_MS; SIZE_MAX: it does not */
  bool over;
  struct err err; /* why it ended early */
};

struct s3_reader {
  struct source_reader base;
  struct source_s3 *source;
  const struct source_object *object; /* borrowed from the listing */
  const struct source_use *use;
  char *key;             /* owned */
  struct stop_flag stop; /* ends the downloads of this reader */
  struct pool_group fetches;
  struct part *first, **last; /* parts in the order of the object */
  uint64_t asked;             /* bytes that have parts or are read */
  uint64_t delivered;         /* bytes that were read */
  bool is_read;               /* somebody reads from it */
  struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
  } synced;
};

/* ---- parts ---- */

/* Counts a part of `size` bytes if the reader may have it. `must`: it has none and is waited for. */
static bool may_have(const struct s3_reader *r, size_t size, bool must) {
  struct source_s3 *s = r->source;
  SCOPE_LOCK(&s->synced.lock);
  size_t has = (size_t)(r->asked - r->delivered);
  size_t share = r->is_read ? s->bytes_max / s->synced.reading : size;
  size_t limit = r->is_read ? s->bytes_max : s->bytes_max / 2;
  bool ok = must || (has + size <= share && s->synced.bytes + size <= limit);
  s->synced.bytes += ok ? size : 0;
  return ok;
}

static struct part *take_spare(struct source_s3 *s) {
  SCOPE_LOCK(&s->synced.lock);
  struct part *p = s->synced.spare;
  if (p)
    s->synced.spare = p->next;
  return p;
}

static struct part *part_new(struct source_s3 *s, size_t size) {
  struct part *p = size == S3_RANGE_BYTES ? take_spare(s) : NULL;
  if (!p)
    p = calloc(1, sizeof *p);
  if (p && !p->bytes)
    p->bytes = malloc(size);
  if (!p || !p->bytes) {
    free(p);
    return NULL;
  }
  *p = (struct part){.bytes = p->bytes, .size = size, .awaited = SIZE_MAX};
  return p;
}

static void give_bytes_back(struct source_s3 *s, size_t size) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.bytes -= size;
}

static void part_free(struct part *p) {
  free(p->bytes);
  free(p);
}

static void part_release(struct source_s3 *s, struct part *p) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.bytes -= p->size;
  if (p->size == S3_RANGE_BYTES) {
    p->next = s->synced.spare;
    s->synced.spare = p;
  } else {
    part_free(p);
  }
}

/* On the client's thread: only this part is written, and only behind what is filled. */
static void on_bytes(void *arg, struct view bytes) {
  struct part *p = arg;
  memcpy(p->bytes + p->filled, bytes.ptr, bytes.len);
  pthread_mutex_lock(&p->reader->synced.lock);
  p->filled += bytes.len;
  const bool is_awaited = p->filled >= p->awaited;
  pthread_mutex_unlock(&p->reader->synced.lock);
  if (is_awaited) /* behind the lock, which the reader takes next */
    pthread_cond_signal(&p->reader->synced.more);
}

/* A fetcher's task. */
static void fetch(void *arg) {
  struct part *p = arg;
  struct s3_reader *r = p->reader;
  struct err err = {0};
  struct s3_range range = {.bucket = view_of(r->source->bucket),
                           .key = view_of(r->key),
                           .etag = view_of(r->object->version),
                           .object_size = r->object->size,
                           .first = p->first,
                           .size = p->size,
                           .stop = &r->stop};
  if (stop_reason(&r->stop) != STOP_NONE || s3_get_range(r->source->aws, &range, on_bytes, p, &err) == KPI_OK)
    err.code = KPI_OK;
  SCOPE_LOCK(&r->synced.lock);
  p->over = true;
  p->err = err;
  pthread_cond_signal(&r->synced.more);
}

/* ---- reading ---- */

/* Asks for the parts that follow, as many as this reader may have; at least one when it `must` have one. */
static enum kpi_code ask_ahead(struct s3_reader *r, bool must, struct err *err) {
  while (r->asked < r->object->size) {
    uint64_t left = r->object->size - r->asked;
    size_t size = left < S3_RANGE_BYTES ? (size_t)left : S3_RANGE_BYTES;
    if (!may_have(r, size, must && !r->first))
      return KPI_OK;
    struct part *p = part_new(r->source, size);
    if (!p) {
      give_bytes_back(r->source, size);
      return r->first ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory to read %s", r->object->name);
    }
    p->reader = r;
    p->first = r->asked;
    r->asked += p->size;
    *r->last = p;
    r->last = &p->next;
    pool_submit(r->source->fetchers, &r->fetches, fetch, p);
  }
  return KPI_OK;
}

/* The first read of a reader: from now on it counts among those that share the memory. */
static void begin_reading(struct s3_reader *r) {
  SCOPE_LOCK(&r->source->synced.lock);
  r->is_read = true;
  r->source->synced.reading++;
}

/* Waits until the first part has as many bytes as are read at a time, and takes fewer when they come slowly:
 * *ready many. Errors: why the part ended early. */
static enum kpi_code wait_for_bytes(struct s3_reader *r, struct part *p, size_t size, size_t *ready,
                                    struct err *err) {
  const size_t left = p->size - p->used;
  bool is_late = false;
  SCOPE_LOCK(&r->synced.lock);
  p->awaited = p->used + (size < left ? size : left);
  while (p->filled < p->awaited && !p->over && !(is_late && p->filled > p->used)) {
    struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
    is_late = pthread_cond_clockwait(&r->synced.more, &r->synced.lock, CLOCK_MONOTONIC, &until) != 0;
    if (stop_reason(r->use->stop) != STOP_NONE)
      return err_set(err, KPI_CANCELLED, "the run was stopped");
  }
  p->awaited = SIZE_MAX;
  *ready = p->filled - p->used;
  if (*ready)
    return KPI_OK;
  *err = p->err;
  return err->code ? err->code : err_set(err, KPI_CANCELLED, "the run was stopped");
}

static enum kpi_code s3_read(struct source_reader *base, char *to, size_t size, size_t *got,
                             struct err *err) {
  struct s3_reader *r = (struct s3_reader *)base;
  *got = 0;
  bool is_first = !r->is_read;
  if (is_first)
    begin_reading(r);
  enum kpi_code rc = is_first || !r->first ? ask_ahead(r, true, err) : KPI_OK;
  struct part *p = r->first;
  if (rc || !p)
    return rc;
  size_t ready = 0;
  rc = wait_for_bytes(r, p, size, &ready, err);
  if (rc)
    return rc;
  *got = ready < size ? ready : size;
  memcpy(to, p->bytes + p->used, *got);
  p->used += *got;
  r->delivered += *got;
  if (r->use->bytes_read)
    atomic_fetch_add_explicit(r->use->bytes_read, *got, memory_order_relaxed);
  if (p->used < p->size)
    return KPI_OK;
  /* The fetcher may still be about to say that it is over. */
  pthread_mutex_lock(&r->synced.lock);
  while (!p->over)
    pthread_cond_wait(&r->synced.more, &r->synced.lock);
  pthread_mutex_unlock(&r->synced.lock);
  r->first = p->next;
  if (!r->first)
    r->last = &r->first;
  part_release(r->source, p);
  return ask_ahead(r, false, err);
}

/* Every range carried the version of the listing: there is nothing left to compare. */
static enum kpi_code s3_finish(struct source_reader *base, struct err *err) {
  (void)base;
  (void)err;
  return KPI_OK;
}

/* Buffers are kept for the next reader; with the last reader they go. */
static void leave(struct source_s3 *s, bool was_read) {
  SCOPE_LOCK(&s->synced.lock);
  s->synced.reading -= was_read;
  if (--s->synced.open > 0)
    return;
  while (s->synced.spare) {
    struct part *p = s->synced.spare;
    s->synced.spare = p->next;
    part_free(p);
  }
}

static void s3_close(struct source_reader *base) {
  struct s3_reader *r = (struct s3_reader *)base;
  stop_raise(&r->stop, STOP_CANCEL);
  pool_wait(r->source->fetchers, &r->fetches);
  while (r->first) {
    struct part *p = r->first;
    r->first = p->next;
    part_release(r->source, p);
  }
  leave(r->source, r->is_read);
  pthread_cond_destroy(&r->synced.more);
  pthread_mutex_destroy(&r->synced.lock);
  free(r->key);
  free(r);
}

static const struct source_reader_vtable reader_vtable = {s3_read, s3_finish, s3_close, NULL};

static enum kpi_code s3_open(struct source *base, const struct source_object *object,
                             const struct source_use *use, struct source_reader **out, struct err *err) {
  struct source_s3 *s = (struct source_s3 *)base;
  struct s3_reader *r = calloc(1, sizeof *r);
  if (!r || asprintf(&r->key, "%s%s", s->prefix, object->name) < 0) {
    free(r);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to open %s", object->name);
  }
  r->base.vtable = &reader_vtable;
  r->source = s;
  r->object = object;
  r->use = use;
  r->last = &r->first;
  pthread_mutex_init(&r->synced.lock, NULL);
  pthread_cond_init(&r->synced.more, NULL);
  pthread_mutex_lock(&s->synced.lock);
  s->synced.open++;
  pthread_mutex_unlock(&s->synced.lock);
  enum kpi_code rc = ask_ahead(r, false, err);
  if (rc) {
    s3_close(&r->base);
    return rc;
  }
  *out = &r->base;
  return KPI_OK;
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
  pool_free(s->fetchers);
  pthread_mutex_destroy(&s->synced.lock);
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
  s->bytes_max = concurrency * S3_RANGE_BYTES;
  pthread_mutex_init(&s->synced.lock, NULL);
  if (!keep_url(url, s) || (s->fetchers = pool_new(concurrency, FETCH_QUEUE)) == NULL) {
    s3_free(&s->base);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads to download with");
  }
  *out = &s->base;
  return KPI_OK;
}
