/* SPDX-License-Identifier: MIT */
#include "pipeline/source_s3.h"

#include "aws/s3.h"
#include "base/clock.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SCHEME "s3://"

enum {
  FETCH_QUEUE = 1024,
  LOOK_MS = 100,
  KEY_BYTES_MAX = 1024,
  PAGE_BYTES = 4096,
  LOAN_ROOM = PAGE_BYTES /* before a part: most rows that begin in the part before find room there */
};

_Static_assert(S3_RANGE_BYTES % SOURCE_PIECE_BYTES == 0, "a piece lies in one range");

/* A source and the fetchers that all its readers share. Parts (ranges of objects) are asked for in the order
 * in which readers were opened, and in that of their bytes, as far as the memory for all of them reaches: so
 * downloads go on behind those that are read, whatever the sizes of objects. Only a reader that is waited
 * for, and has no part, gets one in any case. */
struct source_s3 {
  struct source base;
  struct aws *aws;
  char *bucket, *prefix; /* owned; the prefix is empty or ends in a slash */
  struct pool *fetchers;
  size_t bytes_max;
  struct {
    pthread_mutex_t lock;
    struct s3_reader *first, **last; /* that are open, in the order of opening */
    size_t bytes;                    /* of all parts */
    struct part *spare;              /* whole-size buffers kept while readers are open */
  } synced;
};

/* A range of an object, filled by a fetcher while its pieces are lent. */
struct part {
  struct s3_reader *reader;
  struct part *next;
  uint64_t first;
  size_t size;
  char *bytes; /* owned, with LOAN_ROOM before the first; NULL until it is fetched */
  /* Guarded by the lock of the source. */
  size_t filled, returned;
  size_t awaited; /* somebody sleeps until so much is filled; SIZE_MAX: nobody does */
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
  struct {
    struct source_loan loan;
    size_t used; /* bytes of it */
    uint64_t at; /* where the next one begins */
  } read;        /* from the start to the end */
  /* Guarded by the lock of the source. */
  struct s3_reader *next;
  struct part *first, **last; /* parts in the order of the object */
  uint64_t asked;             /* bytes that have parts, or had */
  size_t waiting;             /* threads */
  pthread_cond_t more;
};

/* ---- parts ---- */

/* Memory of a part: most are of one size, and can be used again. */
static size_t buffer_bytes(size_t size) {
  return size > S3_RANGE_BYTES / 2 ? S3_RANGE_BYTES : size;
}

/* Returns owned memory for the bytes of a part. All pages are asked for at once, on the fetcher's thread: the
 * client has one for all downloads, which would wait for each page. */
static char *buffer_new(size_t size) {
  const size_t all = LOAN_ROOM + (buffer_bytes(size) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
  char *buffer = aligned_alloc(PAGE_BYTES, all);
  if (!buffer)
    return NULL;
  madvise(buffer, LOAN_ROOM + size, MADV_POPULATE_WRITE);
  return buffer + LOAN_ROOM;
}

static void part_free(struct part *p) {
  if (p->bytes)
    free(p->bytes - LOAN_ROOM);
  free(p);
}

/* Takes a part that was used, with the lock, or else makes one that has no memory yet. NULL: exhausted. */
static struct part *part_new(struct source_s3 *s, size_t size) {
  struct part *p = s->synced.spare;
  if (!p || buffer_bytes(size) < S3_RANGE_BYTES)
    return calloc(1, sizeof *p);
  s->synced.spare = p->next;
  return p;
}

/* Ends a part, with the lock, and keeps its buffer if others can use it. */
static void release(struct s3_reader *r, struct part *p) {
  struct source_s3 *s = r->source;
  struct part **at = &r->first;
  while (*at != p)
    at = &(*at)->next;
  *at = p->next;
  if (!p->next)
    r->last = at;
  s->synced.bytes -= buffer_bytes(p->size);
  if (p->bytes && buffer_bytes(p->size) == S3_RANGE_BYTES) {
    p->next = s->synced.spare;
    s->synced.spare = p;
  } else {
    part_free(p);
  }
}

static enum kpi_code no_memory(const struct s3_reader *r, struct err *err) {
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory to read %s", r->object->name);
}

/* On the client's thread: only this part is written, and only behind what is filled. */
static void on_bytes(void *arg, struct view bytes) {
  struct part *p = arg;
  struct source_s3 *s = p->reader->source;
  memcpy(p->bytes + p->filled, bytes.ptr, bytes.len);
  pthread_mutex_lock(&s->synced.lock);
  p->filled += bytes.len;
  const bool is_awaited = p->filled >= p->awaited;
  if (is_awaited)
    p->awaited = SIZE_MAX;
  pthread_mutex_unlock(&s->synced.lock);
  if (is_awaited) /* behind the lock, which those who wake take next */
    pthread_cond_broadcast(&p->reader->more);
}

/* Downloads a part, unless its reader is closed. */
static enum kpi_code download(struct part *p, struct err *err) {
  struct s3_reader *r = p->reader;
  struct s3_range range = {.bucket = view_of(r->source->bucket),
                           .key = view_of(r->key),
                           .etag = view_of(r->object->version),
                           .object_size = r->object->size,
                           .first = p->first,
                           .size = p->size,
                           .stop = &r->stop};
  if (stop_reason(&r->stop) != STOP_NONE)
    return KPI_OK;
  if (!p->bytes && !(p->bytes = buffer_new(p->size)))
    return no_memory(r, err);
  return s3_get_range(r->source->aws, &range, on_bytes, p, err);
}

/* A fetcher's task. */
static void fetch(void *arg) {
  struct part *p = arg;
  struct s3_reader *r = p->reader;
  struct err err = {0};
  if (download(p, &err) == KPI_OK)
    err.code = KPI_OK;
  SCOPE_LOCK(&r->source->synced.lock);
  p->over = true;
  p->err = err;
  pthread_cond_broadcast(&r->more);
}

/* Asks for the next part of a reader, with the lock. False when memory is exhausted. */
static bool ask(struct s3_reader *r, size_t size) {
  struct source_s3 *s = r->source;
  struct part *p = part_new(s, size);
  if (!p)
    return false;
  *p = (struct part){.reader = r, .first = r->asked, .size = size, .bytes = p->bytes, .awaited = SIZE_MAX};
  s->synced.bytes += buffer_bytes(size);
  r->asked += size;
  *r->last = p;
  r->last = &p->next;
  pool_submit(s->fetchers, &r->fetches, fetch, p);
  pthread_cond_broadcast(&r->more);
  return true;
}

/* Asks for the parts that come next in all readers, with the lock. */
static void ask_ahead(struct source_s3 *s) {
  bool is_full = false;
  for (struct s3_reader *r = s->synced.first; r; r = r->next)
    while (r->asked < r->object->size) {
      const uint64_t left = r->object->size - r->asked;
      const size_t size = left < S3_RANGE_BYTES ? (size_t)left : S3_RANGE_BYTES;
      is_full |= s->synced.bytes + buffer_bytes(size) > s->bytes_max;
      const bool must = r->waiting && !r->first;
      if ((is_full && !must) || !ask(r, size))
        break;
    }
}

/* ---- reading ---- */

/* The part that has a byte; NULL: it has not been asked for. */
static struct part *part_at(const struct s3_reader *r, uint64_t at) {
  struct part *p = r->first;
  while (p && at - p->first >= p->size)
    p = p->next;
  return p;
}

/* Sleeps until a part has `size` bytes, or, if it is NULL, for another part; LOOK_MS at most. */
static void sleep_for(struct s3_reader *r, struct part *p, size_t size) {
  const struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
  if (p && size < p->awaited)
    p->awaited = size;
  pthread_cond_clockwait(&r->more, &r->source->synced.lock, CLOCK_MONOTONIC, &until);
}

/* Waits for the part that has bytes `at` to `at + size`, with the lock. Errors: why it ended before these. */
static enum kpi_code wait_for(struct s3_reader *r, uint64_t at, size_t size, struct part **out,
                              struct err *err) {
  for (;;) {
    struct part *p = part_at(r, at);
    if (!p) {
      ask_ahead(r->source);
      p = part_at(r, at);
    }
    const size_t wanted = p ? (size_t)(at - p->first) + size : 0;
    if (p && p->filled >= wanted) {
      *out = p;
      return KPI_OK;
    }
    if (p && p->over) {
      *err = p->err;
      return err->code ? err->code : err_set(err, KPI_CANCELLED, "the run was stopped");
    }
    if (!r->first)
      return no_memory(r, err);
    if (stop_reason(r->use->stop) != STOP_NONE)
      return err_set(err, KPI_CANCELLED, "the run was stopped");
    sleep_for(r, p, wanted);
  }
}

static enum kpi_code s3_lend(struct source_reader *base, uint64_t at, size_t size, struct source_loan *out,
                             struct err *err) {
  struct s3_reader *r = (struct s3_reader *)base;
  struct part *p;
  SCOPE_LOCK(&r->source->synced.lock);
  r->waiting++;
  enum kpi_code rc = wait_for(r, at, size, &p, err);
  r->waiting--;
  if (rc)
    return rc;
  const size_t before = (size_t)(at - p->first);
  *out = (struct source_loan){p->bytes + before, size, before, LOAN_ROOM, p};
  if (r->use->bytes_read)
    atomic_fetch_add_explicit(r->use->bytes_read, size, memory_order_relaxed);
  return KPI_OK;
}

static void s3_take_back(struct source_reader *base, const struct source_loan *loan) {
  struct s3_reader *r = (struct s3_reader *)base;
  struct part *p = loan->of;
  SCOPE_LOCK(&r->source->synced.lock);
  p->returned += loan->len;
  if (p->returned < p->size)
    return;
  while (!p->over) /* the fetcher is about to say so */
    pthread_cond_wait(&r->more, &r->source->synced.lock);
  release(r, p);
  ask_ahead(r->source);
}

/* Borrows the next piece, for those who read from the start to the end. */
static enum kpi_code borrow_next(struct s3_reader *r, struct err *err) {
  const uint64_t left = r->object->size - r->read.at;
  const size_t size = left < SOURCE_PIECE_BYTES ? (size_t)left : SOURCE_PIECE_BYTES;
  enum kpi_code rc = s3_lend(&r->base, r->read.at, size, &r->read.loan, err);
  r->read.at += rc ? 0 : size;
  return rc;
}

static enum kpi_code s3_read(struct source_reader *base, char *to, size_t size, size_t *got,
                             struct err *err) {
  struct s3_reader *r = (struct s3_reader *)base;
  struct source_loan *loan = &r->read.loan;
  *got = 0;
  if (loan->len == 0 && r->read.at < r->object->size) {
    enum kpi_code rc = borrow_next(r, err);
    if (rc)
      return rc;
  }
  const size_t left = loan->len - r->read.used;
  *got = left < size ? left : size;
  if (*got)
    memcpy(to, loan->bytes + r->read.used, *got);
  r->read.used += *got;
  if (*got && r->read.used == loan->len) {
    s3_take_back(base, loan);
    *loan = (struct source_loan){0};
    r->read.used = 0;
  }
  return KPI_OK;
}

/* Every range carried the version of the listing: there is nothing left to compare. */
static enum kpi_code s3_finish(struct source_reader *base, struct err *err) {
  (void)base;
  (void)err;
  return KPI_OK;
}

/* Takes a reader out, and what it has. Buffers are kept for the next one; with the last reader they go. */
static void leave(struct s3_reader *r) {
  struct source_s3 *s = r->source;
  SCOPE_LOCK(&s->synced.lock);
  while (r->first)
    release(r, r->first);
  struct s3_reader **at = &s->synced.first;
  while (*at != r)
    at = &(*at)->next;
  *at = r->next;
  if (!r->next)
    s->synced.last = at;
  while (!s->synced.first && s->synced.spare) {
    struct part *p = s->synced.spare;
    s->synced.spare = p->next;
    part_free(p);
  }
  ask_ahead(s);
}

static void s3_close(struct source_reader *base) {
  struct s3_reader *r = (struct s3_reader *)base;
  stop_raise(&r->stop, STOP_CANCEL);
  pool_wait(r->source->fetchers, &r->fetches);
  leave(r);
  pthread_cond_destroy(&r->more);
  free(r->key);
  free(r);
}

static const struct source_reader_vtable reader_vtable = {
    .read = s3_read, .finish = s3_finish, .close = s3_close, .lend = s3_lend, .take_back = s3_take_back};

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
  pthread_cond_init(&r->more, NULL);
  SCOPE_LOCK(&s->synced.lock);
  *s->synced.last = r;
  s->synced.last = &r->next;
  ask_ahead(s);
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

size_t source_s3_memory(size_t concurrency) {
  return (concurrency + (concurrency + 3) / 4) * S3_RANGE_BYTES;
}

enum kpi_code source_s3_new(const char *url, struct aws *aws, size_t concurrency, struct source **out,
                            struct err *err) {
  struct source_s3 *s = calloc(1, sizeof *s);
  if (!s)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the source");
  s->base = (struct source){.vtable = &s3_vtable, .open_ahead = concurrency};
  s->aws = aws;
  s->bytes_max = source_s3_memory(concurrency);
  s->synced.last = &s->synced.first;
  pthread_mutex_init(&s->synced.lock, NULL);
  if (!keep_url(url, s) || (s->fetchers = pool_new(concurrency, FETCH_QUEUE)) == NULL) {
    s3_free(&s->base);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads to download with");
  }
  *out = &s->base;
  return KPI_OK;
}
