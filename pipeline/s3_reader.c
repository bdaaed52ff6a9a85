/* SPDX-License-Identifier: MIT */
#include "pipeline/s3_reader.h"

#include "aws/s3.h"
#include "base/clock.h"
#include "base/scope.h"

#include <string.h>
#include <sys/mman.h>

enum {
  FETCH_QUEUE = 1024, /* never full, as it is not waited for under the lock: there are fewer parts */
  LOOK_MS = 100,
  LOAN_ROOM = 4096, /* before a part: most rows that begin in the part before find room there */
  MAPPED_BYTES = LOAN_ROOM + S3_RANGE_BYTES
};

_Static_assert(S3_RANGE_BYTES % SOURCE_PIECE_BYTES == 0, "a piece lies in one range");

/* Parts (ranges of objects) are asked for in the order in which readers were opened, and in that of their
 * bytes, as many as there is memory for: so downloads go on behind those that are read, whatever the sizes of
 * objects. Only a reader that is waited for, and has no part, gets one in any case. */
struct s3_downloads {
  struct aws *aws;    /* borrowed */
  const char *bucket; /* borrowed */
  struct pool *fetchers;
  size_t parts_max;
  struct {
    pthread_mutex_t lock;
    struct s3_reader *first, **last; /* that are open, in the order of opening */
    size_t parts;                    /* that readers have, and spare ones */
    struct part *spare;              /* memory for the next ones, kept while readers are open */
  } synced;
};

/* A range of an object, filled by a fetcher while its pieces are lent. */
struct part {
  struct s3_reader *reader;
  struct part *next;
  uint64_t first;
  size_t size;
  char *bytes;    /* mapped, behind LOAN_ROOM: room for a range */
  size_t present; /* bytes whose pages are there */
  /* Guarded by the lock of the downloads. */
  size_t filled, returned;
  size_t awaited; /* somebody sleeps until so much is filled; SIZE_MAX: nobody does */
  bool over;
  struct err err; /* why it ended early */
};

struct s3_reader {
  struct source_reader base;
  struct s3_downloads *of;
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
  /* Guarded by the lock of the downloads. */
  struct s3_reader *next;
  struct part *first, **last; /* parts in the order of the object */
  uint64_t asked;             /* bytes that have parts, or had */
  size_t waiting;             /* threads */
  pthread_cond_t more;
};

/* ---- parts ---- */

/* Not of the heap, which keeps, and does not use again, what large aligned blocks of many threads were. NULL:
 * there is no memory. */
static struct part *part_new(void) {
  struct part *p = calloc(1, sizeof *p);
  void *at =
      p ? mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
  if (at == MAP_FAILED) {
    free(p);
    return NULL;
  }
  p->bytes = (char *)at + LOAN_ROOM;
  return p;
}

static void part_free(struct part *p) {
  munmap(p->bytes - LOAN_ROOM, MAPPED_BYTES);
  free(p);
}

/* Asks for all pages at once, on the fetcher's thread: the client has one thread for all downloads, which
 * would be interrupted for each. */
static void fault_in(struct part *p) {
  if (p->size <= p->present)
    return;
  madvise(p->bytes - LOAN_ROOM, LOAN_ROOM + p->size, MADV_POPULATE_WRITE);
  p->present = p->size;
}

static void push(struct part **list, struct part *p) {
  p->next = *list;
  *list = p;
}

static struct part *pop(struct part **list) {
  struct part *p = *list;
  *list = p->next;
  return p;
}

/* Takes memory for a part, with the lock. `must`: whatever others have. NULL when there is none. */
static struct part *take_part(struct s3_downloads *d, bool must) {
  if (d->synced.spare)
    return pop(&d->synced.spare);
  struct part *p = must || d->synced.parts < d->parts_max ? part_new() : NULL;
  d->synced.parts += p != NULL;
  return p;
}

/* Takes a part from its reader, with the lock, and keeps its memory for others; what is more than enough is
 * gone: to be freed without the lock, which the client's thread may wait for. */
static void release(struct part *p, struct part **gone) {
  struct s3_reader *r = p->reader;
  struct s3_downloads *d = r->of;
  struct part **at = &r->first;
  while (*at != p)
    at = &(*at)->next;
  *at = p->next;
  if (!p->next)
    r->last = at;
  const bool is_enough = d->synced.parts > d->parts_max;
  d->synced.parts -= is_enough;
  push(is_enough ? gone : &d->synced.spare, p);
}

static void free_all(struct part *gone) {
  while (gone)
    part_free(pop(&gone));
}

/* ---- downloading ---- */

/* On the client's thread: only this part is written, and only behind what is filled. */
static void on_bytes(void *arg, struct view bytes) {
  struct part *p = arg;
  struct s3_downloads *d = p->reader->of;
  memcpy(p->bytes + p->filled, bytes.ptr, bytes.len);
  pthread_mutex_lock(&d->synced.lock);
  p->filled += bytes.len;
  const bool is_awaited = p->filled >= p->awaited;
  if (is_awaited)
    p->awaited = SIZE_MAX;
  pthread_mutex_unlock(&d->synced.lock);
  if (is_awaited) /* behind the lock, which those who wake take next */
    pthread_cond_broadcast(&p->reader->more);
}

/* Downloads a part, unless its reader is closed. */
static enum kpi_code download(struct part *p, struct err *err) {
  struct s3_reader *r = p->reader;
  struct s3_range range = {.bucket = view_of(r->of->bucket),
                           .key = view_of(r->key),
                           .etag = view_of(r->object->version),
                           .object_size = r->object->size,
                           .first = p->first,
                           .size = p->size,
                           .stop = &r->stop};
  if (stop_reason(&r->stop) != STOP_NONE)
    return KPI_OK;
  fault_in(p);
  return s3_get_range(r->of->aws, &range, on_bytes, p, err);
}

/* A fetcher's task. */
static void fetch(void *arg) {
  struct part *p = arg;
  struct s3_reader *r = p->reader;
  struct err err = {0};
  if (download(p, &err) == KPI_OK)
    err.code = KPI_OK;
  SCOPE_LOCK(&r->of->synced.lock);
  p->over = true;
  p->err = err;
  pthread_cond_broadcast(&r->more);
}

/* Asks for the next part of a reader, with the lock. False when there is no memory for it. */
static bool ask(struct s3_reader *r, bool must) {
  struct s3_downloads *d = r->of;
  const uint64_t left = r->object->size - r->asked;
  const size_t size = left < S3_RANGE_BYTES ? (size_t)left : S3_RANGE_BYTES;
  struct part *p = take_part(d, must);
  if (!p)
    return false;
  *p = (struct part){.reader = r,
                     .first = r->asked,
                     .size = size,
                     .bytes = p->bytes,
                     .present = p->present,
                     .awaited = SIZE_MAX};
  r->asked += size;
  *r->last = p;
  r->last = &p->next;
  pool_submit(d->fetchers, &r->fetches, fetch, p);
  pthread_cond_broadcast(&r->more);
  return true;
}

/* Asks for the parts that come next in all readers, with the lock. */
static void ask_ahead(struct s3_downloads *d) {
  bool is_full = false;
  for (struct s3_reader *r = d->synced.first; r; r = r->next)
    while (r->asked < r->object->size) {
      const bool must = r->waiting && !r->first;
      if ((is_full && !must) || !ask(r, must)) {
        is_full = true;
        break;
      }
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

/* The first part, as far as byte `end`, that ended early: what follows it is never needed. NULL: none did. */
static const struct part *broken_part(const struct s3_reader *r, uint64_t end) {
  for (const struct part *p = r->first; p && p->first < end; p = p->next)
    if (p->over && p->filled < p->size && p->first + p->filled < end)
      return p;
  return NULL;
}

/* Sleeps until a part has `size` bytes, or, if it is NULL, for another part; LOOK_MS at most. */
static void sleep_for(struct s3_reader *r, struct part *p, size_t size) {
  const struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
  if (p && size < p->awaited)
    p->awaited = size;
  pthread_cond_clockwait(&r->more, &r->of->synced.lock, CLOCK_MONOTONIC, &until);
}

/* Waits for the part that has the bytes from `at` to `end`, with the lock. Errors: why it, or one before it,
 * ended early. */
static enum kpi_code wait_for(struct s3_reader *r, uint64_t at, uint64_t end, struct part **out,
                              struct err *err) {
  *out = NULL;
  while (stop_reason(r->use->stop) == STOP_NONE) {
    struct part *p = part_at(r, at);
    if (!p) {
      ask_ahead(r->of);
      p = part_at(r, at);
    }
    if (p && p->first + p->filled >= end) {
      *out = p;
      return KPI_OK;
    }
    const struct part *broken = broken_part(r, end);
    if (broken) {
      *err = broken->err;
      return err->code ? err->code : err_set(err, KPI_CANCELLED, "the run was stopped");
    }
    if (!r->first)
      return err_set(err, KPI_OUT_OF_MEMORY, "no memory to read %s", r->object->name);
    sleep_for(r, p, p ? (size_t)(end - p->first) : 0);
  }
  return err_set(err, KPI_CANCELLED, "the run was stopped");
}

static enum kpi_code s3_lend(struct source_reader *base, uint64_t at, size_t size, struct source_loan *out,
                             struct err *err) {
  struct s3_reader *r = (struct s3_reader *)base;
  struct part *p;
  SCOPE_LOCK(&r->of->synced.lock);
  r->waiting++;
  enum kpi_code rc = wait_for(r, at, at + size, &p, err);
  r->waiting--;
  if (rc)
    return rc;
  const size_t before = (size_t)(at - p->first);
  *out = (struct source_loan){p->bytes + before, size, before, LOAN_ROOM, p};
  if (r->use->bytes_read)
    atomic_fetch_add_explicit(r->use->bytes_read, size, memory_order_relaxed);
  return KPI_OK;
}

/* Counts bytes of a part that are not needed any more; with the last ones others can be asked for. Returns
 * what is gone. */
static struct part *count_returned(struct part *p, size_t bytes) {
  struct s3_downloads *d = p->reader->of;
  struct part *gone = NULL;
  SCOPE_LOCK(&d->synced.lock);
  p->returned += bytes;
  if (p->returned < p->size)
    return NULL;
  while (!p->over) /* the fetcher is about to say so */
    pthread_cond_wait(&p->reader->more, &d->synced.lock);
  release(p, &gone);
  ask_ahead(d);
  return gone;
}

static void s3_take_back(struct source_reader *base, const struct source_loan *loan) {
  (void)base;
  free_all(count_returned(loan->of, loan->len));
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

/* Takes a reader out, and what it has. Others get its memory when they next read: while a run ends, they are
 * closed as well. With the last reader all memory goes. Returns what is gone. */
static struct part *leave(struct s3_reader *r) {
  struct s3_downloads *d = r->of;
  struct part *gone = NULL;
  SCOPE_LOCK(&d->synced.lock);
  while (r->first)
    release(r->first, &gone);
  struct s3_reader **at = &d->synced.first;
  while (*at != r)
    at = &(*at)->next;
  *at = r->next;
  if (!r->next)
    d->synced.last = at;
  for (; !d->synced.first && d->synced.spare; d->synced.parts--)
    push(&gone, pop(&d->synced.spare));
  return gone;
}

static void s3_close(struct source_reader *base) {
  struct s3_reader *r = (struct s3_reader *)base;
  stop_raise(&r->stop, STOP_CANCEL);
  pool_wait(r->of->fetchers, &r->fetches);
  free_all(leave(r));
  pthread_cond_destroy(&r->more);
  free(r->key);
  free(r);
}

static const struct source_reader_vtable reader_vtable = {
    .read = s3_read, .finish = s3_finish, .close = s3_close, .lend = s3_lend, .take_back = s3_take_back};

enum kpi_code s3_reader_open(struct s3_downloads *d, char *key, const struct source_object *object,
                             const struct source_use *use, struct source_reader **out, struct err *err) {
  struct s3_reader *r = calloc(1, sizeof *r);
  if (!r) {
    free(key);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to open %s", object->name);
  }
  r->base.vtable = &reader_vtable;
  r->of = d;
  r->key = key;
  r->object = object;
  r->use = use;
  r->last = &r->first;
  pthread_cond_init(&r->more, NULL);
  SCOPE_LOCK(&d->synced.lock);
  *d->synced.last = r;
  d->synced.last = &r->next;
  ask_ahead(d);
  *out = &r->base;
  return KPI_OK;
}

/* ---- life ---- */

/* A quarter more than are downloaded at a time, so that these are as many while others are read. */
static size_t parts_max(size_t concurrency) {
  return concurrency + (concurrency + 3) / 4;
}

size_t s3_downloads_memory(size_t concurrency) {
  return parts_max(concurrency) * S3_RANGE_BYTES;
}

struct s3_downloads *s3_downloads_new(struct aws *aws, const char *bucket, size_t concurrency) {
  struct s3_downloads *d = calloc(1, sizeof *d);
  if (!d)
    return NULL;
  *d = (struct s3_downloads){.aws = aws,
                             .bucket = bucket,
                             .fetchers = pool_new(concurrency, FETCH_QUEUE),
                             .parts_max = parts_max(concurrency)};
  d->synced.last = &d->synced.first;
  pthread_mutex_init(&d->synced.lock, NULL);
  if (d->fetchers)
    return d;
  s3_downloads_free(d);
  return NULL;
}

void s3_downloads_free(struct s3_downloads *d) {
  if (!d)
    return;
  pool_free(d->fetchers);
  pthread_mutex_destroy(&d->synced.lock);
  free(d);
}
