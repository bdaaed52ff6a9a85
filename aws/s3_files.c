/* SPDX-License-Identifier: MIT */
#include "aws/s3_files.h"

#include "aws/s3.h"
#include "base/scope.h"

#include <string.h>

enum { FILE_TIMEOUT_MS = 300 * 1000, REMOVE_TIMEOUT_MS = 30 * 1000, STALL_SECONDS = 15 };

/* ---- one call ---- */

/* A call about one file. It comes first, so that its callbacks find the rest. */
struct file_call {
  struct aws_call call;
  struct buf path;
  struct buf got; /* of the body, in this attempt */
  bool is_too_large;
  _Atomic uint64_t *beats;
};

/* False when memory is exhausted; to be ended in any case. */
static bool begin(struct file_call *c, const struct s3_file *f, const char *operation, const char *method) {
  *c = (struct file_call){.call = {.service = AWS_S3,
                                   .operation = operation,
                                   .method = method,
                                   .bucket = f->bucket,
                                   .timeout_ms = FILE_TIMEOUT_MS,
                                   .stall_seconds = STALL_SECONDS,
                                   .reply_max = S3_ERROR_BYTES_MAX,
                                   .stop = f->stop},
                          .beats = f->beats};
  buf_init(&c->path, S3_PATH_BYTES_MAX);
  s3_path(f->key, &c->path);
  c->call.path = buf_view(&c->path);
  return !buf_failed(&c->path);
}

static void end(struct file_call *c) {
  buf_clear(&c->path);
  buf_clear(&c->got);
}

/* *error (may be NULL) as in aws_call. */
static enum kpi_code send(struct aws *a, struct file_call *c, const struct s3_file *f,
                          struct aws_error *error, struct err *err) {
  struct http_reply reply;
  enum kpi_code rc = aws_call(a, &c->call, &reply, error, err);
  http_reply_clear(&reply);
  if (rc)
    s3_blame(f->bucket, f->key, err);
  return rc;
}

static enum kpi_code no_memory(const struct s3_file *f, struct err *err) {
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %.*s", (int)f->key.len, f->key.ptr);
}

/* ---- writing ---- */

enum kpi_code s3_file_put(struct aws *a, const struct s3_file *f, struct view bytes, struct err *err) {
  struct file_call c;
  enum kpi_code rc;
  if (begin(&c, f, "PutObject", "PUT")) {
    c.call.headers[0] = (struct sigv4_pair){VIEW_LIT("content-type"), VIEW_LIT("application/octet-stream")};
    c.call.header_count = 1;
    c.call.has_body = true;
    c.call.body = bytes;
    rc = send(a, &c, f, NULL, err);
  } else {
    rc = no_memory(f, err);
  }
  end(&c);
  return rc;
}

/* ---- reading ---- */

static void start_again(struct aws_call *call) {
  buf_reset(&((struct file_call *)call)->got);
}

static bool on_bytes(void *arg, long status, struct view head, struct view piece) {
  struct file_call *c = arg;
  uint64_t length;
  (void)status;
  if (c->beats)
    atomic_fetch_add_explicit(c->beats, 1, memory_order_relaxed);
  c->is_too_large = piece.len > c->got.max - c->got.len ||
                    (view_to_u64(http_header(head, "content-length"), &length) && length > c->got.max);
  if (!c->is_too_large)
    buf_add(&c->got, piece);
  return !c->is_too_large && !buf_failed(&c->got);
}

/* Without a length nobody would see that the end is missing. */
static bool is_whole(struct aws_call *call, const struct http_reply *reply, const char **problem) {
  const struct file_call *c = (const struct file_call *)call;
  uint64_t length;
  *problem = "the reply does not tell its length, or has another one";
  return view_to_u64(http_header(buf_view(&reply->head), "content-length"), &length) && length == c->got.len;
}

static enum kpi_code read_whole(struct aws *a, struct file_call *c, const struct s3_file *f, bool *found,
                                struct err *err) {
  struct aws_error error;
  enum kpi_code rc = send(a, c, f, &error, err);
  *found = rc == KPI_OK;
  if (rc && strcmp(error.code, "NoSuchKey") == 0) {
    err_clear(err);
    return KPI_OK;
  }
  if (buf_failed(&c->got))
    return no_memory(f, err);
  if (!c->is_too_large)
    return rc;
  err_set(err, KPI_SOURCE_UNREADABLE, "larger than %zu bytes", c->got.max);
  aws_error_place(AWS_S3, c->call.operation, err);
  s3_blame(f->bucket, f->key, err);
  return err->code;
}

enum kpi_code s3_file_get(struct aws *a, const struct s3_file *f, struct buf *out, bool *found,
                          struct err *err) {
  struct file_call c;
  enum kpi_code rc;
  *found = false;
  if (begin(&c, f, "GetObject", "GET")) {
    buf_init(&c.got, out->max - out->len);
    c.call.sink = on_bytes;
    c.call.sink_arg = &c;
    c.call.prepare = start_again;
    c.call.accept = is_whole;
    rc = read_whole(a, &c, f, found, err);
  } else {
    rc = no_memory(f, err);
  }
  if (*found)
    buf_add(out, buf_view(&c.got));
  end(&c);
  return rc || !buf_failed(out) ? rc : no_memory(f, err);
}

/* ---- removing ---- */

struct removal {
  struct aws *aws;
  struct view bucket;
  const struct stop_flag *stop;
};

/* One that is gone already is removed. */
static enum kpi_code remove_one(void *arg, const struct s3_object *object, struct err *err) {
  const struct removal *r = arg;
  const struct s3_file f = {.bucket = r->bucket, .key = object->key, .stop = r->stop};
  struct file_call c;
  struct aws_error error = {0};
  enum kpi_code rc;
  if (begin(&c, &f, "DeleteObject", "DELETE")) {
    c.call.timeout_ms = REMOVE_TIMEOUT_MS;
    rc = send(r->aws, &c, &f, &error, err);
  } else {
    rc = no_memory(&f, err);
  }
  end(&c);
  if (strcmp(error.code, "NoSuchKey") != 0)
    return rc;
  err_clear(err);
  return KPI_OK;
}

enum kpi_code s3_files_remove(struct aws *a, struct view bucket, struct view prefix,
                              const struct stop_flag *stop, struct err *err) {
  struct removal r = {a, bucket, stop};
  return s3_list(a, bucket, prefix, stop, remove_one, &r, err);
}
