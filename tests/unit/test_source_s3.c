/* SPDX-License-Identifier: MIT
 * Reading from an S3 in memory that breaks connections off, and listing what lies there. */
#include "base/clock.h"
#include "base/scope.h"
#include "pipeline/s3_reader.h"
#include "pipeline/source_s3.h"

#include <limits.h>

#include "aws_env.h"
#include "unit.h"

#include "aws/aws_call.h"

enum { OBJECT_BYTES_MAX = 3 * S3_RANGE_BYTES, CONCURRENCY = 4 };

/* Every byte tells its place, so that a part that is lost, doubled or moved is seen. */
static char byte_at(uint64_t at) {
  return (char)(at * 131 + (at >> 8) * 17 + (at >> 16));
}

/* Objects are all alike but for their size; thread-safe. */
struct fake_s3 {
  struct http_client base;
  uint64_t size;       /* of every object */
  const char *etag;    /* that GET answers with */
  const char *listing; /* XML that every listing is answered with; NULL: one object a data set */
  uint64_t break_at;   /* connections break there, once each time a range covers it; 0: never */
  _Atomic int breaks_left;
  _Atomic size_t gets, lists, in_flight, most_in_flight;
  _Atomic size_t gets_of_second; /* of them: those of orders/1.csv */
  _Atomic bool hold;             /* GETs wait for their stop flag */
  _Atomic uint64_t pause_at;     /* ranges are sent no further while it is their place; 0: never */
  _Atomic uint64_t bytes;
};

static const char *header_of(const struct http_request *q, const char *name) {
  for (size_t i = 0; i < q->header_count; i++)
    if (strncasecmp(q->headers[i], name, strlen(name)) == 0)
      return q->headers[i] + strlen(name);
  return "";
}

static enum http_outcome answer_list(struct fake_s3 *f, const struct http_request *q,
                                     struct http_reply *out) {
  atomic_fetch_add(&f->lists, 1);
  const char *prefix = strstr(q->url, "prefix=") + 7;
  out->status = 200;
  if (f->listing)
    buf_add_cstr(&out->body, f->listing);
  else
    buf_printf(&out->body,
               "<ListBucketResult><EncodingType>url</EncodingType><Contents><Key>%s0.csv</Key><LastModified>"
               "2026-01-01T00:00:00Z</LastModified><ETag>\"e\"</ETag><Size>%llu</Size></Contents>"
               "</ListBucketResult>",
               prefix, (unsigned long long)f->size);
  return HTTP_REPLIED;
}

static enum http_outcome send_range(struct fake_s3 *f, const struct http_request *q, struct http_reply *out,
                                    uint64_t first, uint64_t last) {
  char piece[16 * 1024];
  for (uint64_t at = first; at <= last;) {
    size_t n = last - at + 1 < sizeof piece ? (size_t)(last - at + 1) : sizeof piece;
    bool breaks = f->break_at >= at && f->break_at < at + n && atomic_load(&f->breaks_left) > 0;
    if (breaks)
      n = (size_t)(f->break_at - at);
    for (size_t i = 0; i < n; i++)
      piece[i] = byte_at(at + i);
    if (n && !q->sink(q->sink_arg, out->status, buf_view(&out->head), (struct view){piece, n}))
      return HTTP_REJECTED;
    atomic_fetch_add(&f->bytes, n);
    at += n;
    while (at == atomic_load(&f->pause_at))
      sched_yield();
    if (breaks && atomic_fetch_sub(&f->breaks_left, 1) > 0)
      return HTTP_BROKEN;
  }
  return HTTP_REPLIED;
}

static enum http_outcome answer_get(struct fake_s3 *f, const struct http_request *q, struct http_reply *out) {
  unsigned long long first = 0, last = 0;
  atomic_fetch_add(&f->gets, 1);
  atomic_fetch_add(&f->gets_of_second, strstr(q->url, "orders/1.csv") != NULL);
  if (sscanf(header_of(q, "range: "), "bytes=%llu-%llu", &first, &last) != 2 || last >= f->size)
    return HTTP_BROKEN;
  for (; atomic_load(&f->hold); sched_yield())
    if (q->stop && stop_reason(q->stop) != STOP_NONE)
      return HTTP_STOPPED;
  out->status = 206;
  buf_printf(
      &out->head,
      "HTTP/1.1 206 X\r\nContent-Range: bytes %llu-%llu/%llu\r\nContent-Length: %llu\r\nETag: %s\r\n\r\n",
      first, last, (unsigned long long)f->size, last - first + 1, f->etag);
  return send_range(f, q, out, first, last);
}

static enum http_outcome s3_call(struct http_client *c, const struct http_request *q,
                                 struct http_reply *out) {
  struct fake_s3 *f = (struct fake_s3 *)c;
  if (strstr(q->url, "list-type=2"))
    return answer_list(f, q, out);
  size_t now = atomic_fetch_add(&f->in_flight, 1) + 1, most = atomic_load(&f->most_in_flight);
  while (now > most && !atomic_compare_exchange_weak(&f->most_in_flight, &most, now)) {
  }
  enum http_outcome outcome = answer_get(f, q, out);
  atomic_fetch_sub(&f->in_flight, 1);
  return outcome;
}

static void s3_release(struct http_client *c) {
  (void)c;
}

static const struct http_client_vtable s3_vtable = {s3_call, s3_release};

struct bench {
  struct fake_s3 s3;
  struct aws *aws;
  struct source *source;
  struct source_object object;
  struct source_use use;
  _Atomic uint64_t bytes_read;
  struct err err;
};

static void bench_init(struct bench *b, const char *url, uint64_t size) {
  *b = (struct bench){
      .s3 = {.base = {&s3_vtable}, .size = size, .etag = "\"e\""},
      .object = {.name = (char *)(uintptr_t) "orders/0.csv", .size = size, .version = "\"e\""}};
  b->use.bytes_read = &b->bytes_read;
  aws_env_set();
  setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", 1);
  assert_int_equal(aws_new_with(&b->s3.base, &b->aws, &b->err), KPI_OK);
  assert_int_equal(source_new(url, b->aws, CONCURRENCY, &b->source, &b->err), KPI_OK);
}

static void bench_clear(struct bench *b) {
  source_free(b->source);
  aws_free(b->aws);
}

/* Reads to the end in pieces of `size` and checks every byte. Returns how many came; *rc says how it ended.
 */
static uint64_t read_all(struct bench *b, struct source_reader *r, size_t size, enum kpi_code *rc) {
  char *to = malloc(size);
  uint64_t at = 0;
  for (size_t got = 1; got;) {
    *rc = source_read(r, to, size, &got, &b->err);
    if (*rc)
      break;
    for (size_t i = 0; i < got; i += 61)
      if (to[i] != byte_at(at + i))
        fail_msg("byte %llu is another", (unsigned long long)(at + i));
    at += got;
  }
  free(to);
  return at;
}

static void rest(void) {
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
}

static struct source_reader *open_object(struct bench *b) {
  struct source_reader *r;
  assert_int_equal(source_open(b->source, &b->object, &b->use, &r, &b->err), KPI_OK);
  return r;
}

static void close_all(struct source_reader **readers, size_t count) {
  for (size_t i = 0; i < count; i++)
    source_close(readers[i]);
}

/* ---- URLs ---- */

static void urls_are_taken_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *url;
    bool ok;
  } cases[] = {{"s3://b", true}, {"s3://b/", true},  {"s3://b/p", true},     {"s3://b/p/q/", true},
               {"s3://", false}, {"s3:///p", false}, {"S3://b", false},      {"http://b/p", false},
               {"s3:/b", false}, {"", false},        {"file:///tmp", false}, {"s3://b//", true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(source_s3_takes(cases[i].url), cases[i].ok);
  char url[1100] = "s3://b/";
  memset(url + 7, 'x', 1030);
  assert_false(source_s3_takes(url));
  url[7 + 1023] = '\0';
  assert_true(source_s3_takes(url));
}

/* ---- listing ---- */

static void each_data_set_is_listed_below_the_prefix(void **state) {
  (void)state;
  static const struct {
    const char *url, *first;
  } cases[] = {{"s3://b", "orders/0.csv"}, {"s3://b/", "orders/0.csv"}, {"s3://b/deep/er//", "orders/0.csv"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    struct source_listing l;
    bench_init(&b, cases[i].url, 10);
    assert_int_equal(source_list(b.source, &b.use, &l, &b.err), KPI_OK);
    assert_int_equal(l.objects, 3);
    assert_int_equal(l.bytes, 30);
    assert_string_equal(l.datasets[DATASET_ORDERS].at[0].name, cases[i].first);
    assert_string_equal(l.datasets[DATASET_ORDERS].at[0].version, "\"e\"");
    assert_string_equal(l.datasets[DATASET_PRODUCTS].at[0].name, "products/0.csv");
    source_listing_clear(&l);
    bench_clear(&b);
  }
}

#define OBJECT(key)                                                                                          \
  "<Contents><Key>" key                                                                                      \
  "</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>e</ETag><Size>1</Size>"                      \
  "</Contents>"
#define PAGE(content) "<ListBucketResult>" content "</ListBucketResult>"

static void only_input_objects_are_listed(void **state) {
  (void)state;
  struct bench b;
  struct source_listing l;
  bench_init(&b, "s3://b", 10);
  b.s3.listing = PAGE(OBJECT("orders/b.csv") OBJECT("orders/a.csv.gz") OBJECT("orders/")
                          OBJECT("orders/x.txt") OBJECT("orders/_SUCCESS.csv") OBJECT("orders/.part.csv")
                              OBJECT("orders/dir.csv/part-0") OBJECT("orders/dir.csv/_part-1")
                                  OBJECT("orders/dir.csv/deep/part-2") OBJECT("orders/dir/c.csv"));
  /* The same reply for each data set: the others find keys that are not theirs. */
  assert_int_equal(source_list(b.source, &b.use, &l, &b.err), KPI_S3_UNAVAILABLE);
  assert_non_null(strstr(b.err.message, "order_items/"));
  assert_int_equal(l.objects, 0);
  struct source_listing direct = {0};
  assert_int_equal(b.source->vtable->list(b.source, &b.use, &direct, &b.err), KPI_S3_UNAVAILABLE);
  const struct source_objects *orders = &direct.datasets[DATASET_ORDERS];
  assert_int_equal(orders->count, 3);
  assert_string_equal(orders->at[0].name, "orders/b.csv");
  assert_string_equal(orders->at[1].name, "orders/a.csv.gz");
  assert_true(orders->at[1].is_gzip);
  assert_string_equal(orders->at[2].name, "orders/dir.csv/part-0");
  source_listing_clear(&direct);
  bench_clear(&b);
}

static void a_data_set_without_input_is_told(void **state) {
  (void)state;
  static const char *const listings[] = {PAGE(""), PAGE(OBJECT("p/orders/")),
                                         PAGE(OBJECT("p/orders/_a.csv"))};
  for (size_t i = 0; i < COUNT_OF(listings); i++) {
    struct bench b;
    struct source_listing l;
    bench_init(&b, "s3://bucket/p", 10);
    b.s3.listing = listings[i];
    assert_int_equal(source_list(b.source, &b.use, &l, &b.err), KPI_S3_NO_OBJECTS);
    assert_string_equal(b.err.remote.bucket, "bucket");
    assert_string_equal(b.err.object, "p/orders/");
    assert_int_equal(atomic_load(&b.s3.lists), 1);
    bench_clear(&b);
  }
}

static void keys_that_cannot_be_kept_are_refused(void **state) {
  (void)state;
  char listing[4096], key[1200];
  memset(key, 'k', sizeof key);
  static const size_t lengths[] = {1010, 1030};
  for (size_t i = 0; i < COUNT_OF(lengths); i++) {
    struct bench b;
    struct source_listing direct = {0};
    bench_init(&b, "s3://b", 10);
    snprintf(listing, sizeof listing, PAGE(OBJECT("orders/%.*s.csv")), (int)lengths[i], key);
    b.s3.listing = listing;
    assert_int_equal(b.source->vtable->list(b.source, &b.use, &direct, &b.err), KPI_S3_UNAVAILABLE);
    assert_int_equal(direct.datasets[DATASET_ORDERS].count, i == 0);
    source_listing_clear(&direct);
    bench_clear(&b);
  }
}

/* ---- reading ---- */

static void objects_of_every_size_are_read_byte_by_byte(void **state) {
  (void)state;
  static const uint64_t sizes[] = {0, 1, 1000, S3_RANGE_BYTES, S3_RANGE_BYTES + 1};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    struct bench b;
    enum kpi_code rc;
    bench_init(&b, "s3://b", sizes[i]);
    struct source_reader *r = open_object(&b);
    assert_true(read_all(&b, r, 300 * 1024, &rc) == sizes[i]);
    assert_int_equal(rc, KPI_OK);
    assert_int_equal(source_finish(r, &b.err), KPI_OK);
    source_close(r);
    assert_true(atomic_load(&b.bytes_read) == sizes[i]);
    assert_int_equal(atomic_load(&b.s3.gets), (sizes[i] + S3_RANGE_BYTES - 1) / S3_RANGE_BYTES);
    bench_clear(&b);
  }
}

static void ranges_that_break_are_resumed_where_they_did(void **state) {
  (void)state;
  static const struct {
    uint64_t break_at;
    int breaks;
    enum kpi_code rc;
  } cases[] = {{123456, 2, KPI_OK},
               {S3_RANGE_BYTES - 1, 1, KPI_OK},
               {S3_RANGE_BYTES + 5, 1, KPI_OK},
               {SOURCE_PIECE_BYTES + 123456, 3, KPI_S3_UNAVAILABLE}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    enum kpi_code rc;
    uint64_t size = S3_RANGE_BYTES + 1000;
    bench_init(&b, "s3://b", size);
    b.s3.break_at = cases[i].break_at;
    b.s3.breaks_left = cases[i].breaks;
    struct source_reader *r = open_object(&b);
    uint64_t got = read_all(&b, r, 64 * 1024, &rc);
    assert_int_equal(rc, cases[i].rc);
    source_close(r);
    if (rc == KPI_OK) {
      assert_true(got == size);
      assert_true(atomic_load(&b.s3.bytes) == size); /* no byte was sent twice */
    } else {
      /* Whole pieces that came before the break are not lost. */
      assert_true(got == cases[i].break_at / SOURCE_PIECE_BYTES * SOURCE_PIECE_BYTES);
      assert_string_equal(b.err.object, "orders/0.csv");
    }
    bench_clear(&b);
  }
}

static void another_version_is_refused(void **state) {
  (void)state;
  struct bench b;
  enum kpi_code rc;
  bench_init(&b, "s3://b/p", 1000);
  b.s3.etag = "\"other\"";
  struct source_reader *r = open_object(&b);
  assert_int_equal(read_all(&b, r, 4096, &rc), 0);
  assert_int_equal(rc, KPI_S3_OBJECT_CHANGED);
  assert_string_equal(b.err.object, "p/orders/0.csv");
  assert_int_equal(rc, b.source->vtable->changed);
  source_close(r);
  bench_clear(&b);
}

/* ---- memory ---- */

static void wait_for_gets(struct bench *b, size_t count) {
  while (atomic_load(&b->s3.gets) < count)
    sched_yield();
  rest();
  assert_int_equal(atomic_load(&b->s3.gets), count);
}

/* Four ranges at a time, of objects of three. */
static void ranges_are_asked_for_in_the_order_of_the_objects(void **state) {
  (void)state;
  struct bench b;
  enum kpi_code rc;
  bench_init(&b, "s3://b", OBJECT_BYTES_MAX);
  struct source_object second = b.object;
  second.name = (char *)(uintptr_t) "orders/1.csv";
  atomic_store(&b.s3.hold, true);
  struct source_reader *readers[2] = {open_object(&b)};
  assert_int_equal(source_open(b.source, &second, &b.use, &readers[1], &b.err), KPI_OK);
  wait_for_gets(&b, CONCURRENCY);
  assert_int_equal(atomic_load(&b.s3.gets_of_second), 1);
  atomic_store(&b.s3.hold, false);
  for (size_t i = 0; i < COUNT_OF(readers); i++) {
    assert_true(read_all(&b, readers[i], 1024 * 1024, &rc) == OBJECT_BYTES_MAX);
    assert_int_equal(rc, KPI_OK);
  }
  assert_int_equal(atomic_load(&b.s3.gets), 6);
  assert_true(atomic_load(&b.s3.most_in_flight) <= CONCURRENCY);
  close_all(readers, COUNT_OF(readers));
  bench_clear(&b);
}

/* The memory: the ranges that are downloaded, and a quarter more for those that are read. */
static void what_nobody_reads_fills_no_more_than_the_memory(void **state) {
  (void)state;
  enum { HELD = CONCURRENCY + CONCURRENCY / 4 };
  struct bench b;
  enum kpi_code rc;
  struct source_reader *readers[2 * CONCURRENCY];
  bench_init(&b, "s3://b", S3_RANGE_BYTES);
  for (size_t i = 0; i < COUNT_OF(readers); i++)
    readers[i] = open_object(&b);
  wait_for_gets(&b, HELD);
  assert_true(read_all(&b, readers[0], 1024 * 1024, &rc) == S3_RANGE_BYTES);
  wait_for_gets(&b, HELD + 1);
  for (size_t i = 0; i < COUNT_OF(readers); i++) {
    source_close(readers[i]);
    wait_for_gets(&b, HELD + 1); /* nothing is begun for those that are closed next */
  }
  bench_clear(&b);
}

/* More than can ever be asked for at a time. */
static void many_readers_wait_for_each_other_not(void **state) {
  (void)state;
  enum { READERS = 1500 };
  struct bench b;
  enum kpi_code rc;
  static struct source_reader *readers[READERS];
  bench_init(&b, "s3://b", 100);
  atomic_store(&b.s3.hold, true);
  for (size_t i = 0; i < READERS; i++)
    readers[i] = open_object(&b);
  atomic_store(&b.s3.hold, false);
  for (size_t i = READERS; i-- > 0;) {
    assert_true(read_all(&b, readers[i], 4096, &rc) == 100);
    assert_int_equal(rc, KPI_OK);
    source_close(readers[i]);
  }
  bench_clear(&b);
}

static void readers_that_wait_do_not_starve_the_one_that_is_read(void **state) {
  (void)state;
  struct bench b;
  enum kpi_code rc;
  struct source_reader *readers[3 * CONCURRENCY];
  bench_init(&b, "s3://b", S3_RANGE_BYTES + 10);
  for (size_t i = 0; i < COUNT_OF(readers); i++)
    readers[i] = open_object(&b);
  /* The last one, which found no memory left when it was opened. */
  assert_true(read_all(&b, readers[COUNT_OF(readers) - 1], 1024 * 1024, &rc) == S3_RANGE_BYTES + 10);
  assert_int_equal(rc, KPI_OK);
  close_all(readers, COUNT_OF(readers));
  bench_clear(&b);
}

/* ---- stopping ---- */

static void closing_ends_what_is_downloaded(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, "s3://b", OBJECT_BYTES_MAX);
  atomic_store(&b.s3.hold, true);
  struct source_reader *r = open_object(&b);
  while (atomic_load(&b.s3.gets) == 0)
    sched_yield();
  source_close(r); /* would never return if it waited for the bytes */
  assert_int_equal(atomic_load(&b.s3.in_flight), 0);
  bench_clear(&b);
}

static void *raise_flag(void *arg) {
  rest();
  stop_raise(arg, STOP_CANCEL);
  return NULL;
}

static void a_run_that_is_stopped_does_not_wait_for_bytes(void **state) {
  (void)state;
  struct bench b;
  struct stop_flag stop = {0};
  enum kpi_code rc;
  pthread_t thread;
  bench_init(&b, "s3://b", 1000);
  b.use.stop = &stop;
  atomic_store(&b.s3.hold, true);
  struct source_reader *r = open_object(&b);
  assert_int_equal(pthread_create(&thread, NULL, raise_flag, &stop), 0);
  assert_int_equal(read_all(&b, r, 4096, &rc), 0);
  assert_int_equal(rc, KPI_CANCELLED);
  pthread_join(thread, NULL);
  source_close(r);
  bench_clear(&b);
}

/* ---- pieces ---- */

enum { PIECES = OBJECT_BYTES_MAX / SOURCE_PIECE_BYTES };

static struct source_loan borrow(struct bench *b, struct source_reader *r, uint64_t piece, size_t size) {
  const uint64_t at = piece * SOURCE_PIECE_BYTES;
  struct source_loan loan;
  assert_int_equal(source_lend(r, at, size, &loan, &b->err), KPI_OK);
  assert_int_equal(loan.len, size);
  for (size_t i = 0; i < size; i += 61)
    assert_int_equal(loan.bytes[i], byte_at(at + i));
  if (loan.before) {
    assert_int_equal(loan.bytes[-1], byte_at(at - 1));
    assert_int_equal(loan.bytes[-(ptrdiff_t)loan.before], byte_at(at - loan.before));
  }
  return loan;
}

static void borrow_briefly(struct bench *b, struct source_reader *r, uint64_t piece) {
  struct source_loan loan = borrow(b, r, piece, SOURCE_PIECE_BYTES);
  source_take_back(r, &loan);
}

/* Each has what comes before it in its range right before it, and else room. */
static void pieces_lie_where_they_were_received(void **state) {
  (void)state;
  enum { IN_RANGE = S3_RANGE_BYTES / SOURCE_PIECE_BYTES, LAST = 1000 };
  struct bench b;
  bench_init(&b, "s3://b", S3_RANGE_BYTES + SOURCE_PIECE_BYTES + LAST);
  struct source_reader *r = open_object(&b);
  assert_true(source_lends(r));
  assert_false(source_reads_anywhere(r));
  struct source_loan loans[IN_RANGE + 2];
  for (uint64_t i = 0; i < IN_RANGE + 2; i++) {
    loans[i] = borrow(&b, r, i, i == IN_RANGE + 1 ? LAST : SOURCE_PIECE_BYTES);
    assert_int_equal(loans[i].before, i % IN_RANGE * SOURCE_PIECE_BYTES);
    assert_true(loans[i].before > 0 || loans[i].room > 0);
  }
  memset(loans[0].bytes - loans[0].room, 'x', loans[0].room);
  memset(loans[IN_RANGE].bytes - loans[IN_RANGE].room, 'x', loans[IN_RANGE].room);
  for (uint64_t i = IN_RANGE + 2; i-- > 0;) /* in any order */
    source_take_back(r, &loans[i]);
  assert_int_equal(atomic_load(&b.bytes_read), b.object.size);
  source_close(r);
  bench_clear(&b);
}

struct borrower {
  struct bench *bench;
  struct source_reader *reader;
  _Atomic uint64_t *next;
};

static void *borrow_all(void *arg) {
  struct borrower *a = arg;
  for (uint64_t i; (i = atomic_fetch_add(a->next, 1)) < PIECES;)
    borrow_briefly(a->bench, a->reader, i);
  return NULL;
}

/* More threads than there is memory for ranges, of which one breaks. */
static void threads_borrow_from_one_reader(void **state) {
  (void)state;
  enum { THREADS = 2 * CONCURRENCY, READERS = 3 };
  struct bench b;
  bench_init(&b, "s3://b", OBJECT_BYTES_MAX);
  b.s3.break_at = S3_RANGE_BYTES + 12345;
  b.s3.breaks_left = 2;
  struct source_reader *readers[READERS];
  _Atomic uint64_t next[READERS] = {0};
  struct borrower borrowers[THREADS];
  pthread_t threads[THREADS];
  for (size_t i = 0; i < READERS; i++)
    readers[i] = open_object(&b);
  for (size_t i = 0; i < THREADS; i++) {
    borrowers[i] = (struct borrower){&b, readers[i % READERS], &next[i % READERS]};
    assert_int_equal(pthread_create(&threads[i], NULL, borrow_all, &borrowers[i]), 0);
  }
  for (size_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_int_equal(atomic_load(&b.bytes_read), READERS * b.object.size);
  close_all(readers, READERS);
  bench_clear(&b);
}

static void *lend_late(void *arg) {
  struct borrower *a = arg;
  borrow_briefly(a->bench, a->reader, 1);
  atomic_store(a->next, 1);
  return NULL;
}

static void a_piece_is_lent_when_all_of_it_has_come(void **state) {
  (void)state;
  enum { SENT = 2 * SOURCE_PIECE_BYTES - 16 * 1024 };
  struct bench b;
  _Atomic uint64_t is_lent = 0;
  pthread_t thread;
  bench_init(&b, "s3://b", 3 * SOURCE_PIECE_BYTES);
  atomic_store(&b.s3.pause_at, SENT);
  struct source_reader *r = open_object(&b);
  borrow_briefly(&b, r, 0);
  assert_int_equal(pthread_create(&thread, NULL, lend_late, &(struct borrower){&b, r, &is_lent}), 0);
  while (atomic_load(&b.s3.bytes) < SENT)
    sched_yield();
  rest();
  assert_int_equal(atomic_load(&is_lent), 0);
  atomic_store(&b.s3.pause_at, 0);
  pthread_join(thread, NULL);
  assert_int_equal(atomic_load(&is_lent), 1);
  source_close(r);
  bench_clear(&b);
}

/* What came before the break is not lost. */
static void a_piece_that_broke_says_why(void **state) {
  (void)state;
  struct bench b;
  struct source_loan loan = {0};
  bench_init(&b, "s3://b", OBJECT_BYTES_MAX);
  b.s3.break_at = 2 * SOURCE_PIECE_BYTES + 1;
  b.s3.breaks_left = 3;
  struct source_reader *r = open_object(&b);
  assert_int_equal(source_lend(r, b.s3.break_at - 1, SOURCE_PIECE_BYTES, &loan, &b.err), KPI_S3_UNAVAILABLE);
  assert_string_equal(b.err.object, "orders/0.csv");
  assert_null(loan.of);
  for (uint64_t i = 0; i < 2; i++)
    borrow_briefly(&b, r, i);
  source_close(r);
  bench_clear(&b);
}

/* Others hold all memory, so that the part behind one that breaks is never asked for. */
static void who_waits_behind_a_piece_that_broke_is_told(void **state) {
  (void)state;
  enum { BROKEN = S3_RANGE_BYTES / SOURCE_PIECE_BYTES - 1 };
  struct bench b;
  struct source_loan loan;
  struct source_reader *others[2];
  bench_init(&b, "s3://b", OBJECT_BYTES_MAX);
  b.s3.break_at = S3_RANGE_BYTES - 1000;
  for (size_t i = 0; i < COUNT_OF(others); i++)
    others[i] = open_object(&b);
  wait_for_gets(&b, CONCURRENCY + CONCURRENCY / 4);
  atomic_store(&b.s3.breaks_left, INT_MAX);
  struct source_reader *r = open_object(&b);
  for (uint64_t i = 0; i < BROKEN; i++)
    borrow_briefly(&b, r, i);
  for (uint64_t i = BROKEN; i < BROKEN + 2; i++)
    assert_int_equal(source_lend(r, i * SOURCE_PIECE_BYTES, SOURCE_PIECE_BYTES, &loan, &b.err),
                     KPI_S3_UNAVAILABLE);
  source_close(r);
  close_all(others, COUNT_OF(others));
  bench_clear(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(urls_are_taken_or_refused),
      cmocka_unit_test(each_data_set_is_listed_below_the_prefix),
      cmocka_unit_test(only_input_objects_are_listed),
      cmocka_unit_test(a_data_set_without_input_is_told),
      cmocka_unit_test(keys_that_cannot_be_kept_are_refused),
      cmocka_unit_test(objects_of_every_size_are_read_byte_by_byte),
      cmocka_unit_test(ranges_that_break_are_resumed_where_they_did),
      cmocka_unit_test(another_version_is_refused),
      cmocka_unit_test(ranges_are_asked_for_in_the_order_of_the_objects),
      cmocka_unit_test(what_nobody_reads_fills_no_more_than_the_memory),
      cmocka_unit_test(many_readers_wait_for_each_other_not),
      cmocka_unit_test(readers_that_wait_do_not_starve_the_one_that_is_read),
      cmocka_unit_test(closing_ends_what_is_downloaded),
      cmocka_unit_test(a_run_that_is_stopped_does_not_wait_for_bytes),
      cmocka_unit_test(pieces_lie_where_they_were_received),
      cmocka_unit_test(threads_borrow_from_one_reader),
      cmocka_unit_test(a_piece_is_lent_when_all_of_it_has_come),
      cmocka_unit_test(a_piece_that_broke_says_why),
      cmocka_unit_test(who_waits_behind_a_piece_that_broke_is_told),
  };
  return cmocka_run_group_tests_name("source_s3", tests, NULL, NULL);
}
