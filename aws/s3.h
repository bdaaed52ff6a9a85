/* SPDX-License-Identifier: MIT
 * The two operations of S3 that input needs: listing a prefix and reading a range of one version of an
 * object. Files of kpid's own: s3_files.h. Source: Amazon S3 API Reference, ListObjectsV2 and GetObject. */
#ifndef KPID_AWS_S3_H
#define KPID_AWS_S3_H

#include "aws/aws_call.h"

/* The most bytes of a key's path, and of a refusal. */
enum { S3_PATH_BYTES_MAX = 8 * 1024, S3_ERROR_BYTES_MAX = 256 * 1024 };

/* Appends the path of a key as it stands in requests. */
void s3_path(struct view key, struct buf *out);

/* Says in err which object it is about: in front of the message, and where programs look for it. */
void s3_blame(struct view bucket, struct view key, struct err *err);

/* One object of a listing; borrowed for the call. */
struct s3_object {
  struct view key;  /* decoded */
  struct view etag; /* as it is sent in If-Match, with its quotes */
  uint64_t size;    /* bytes */
  int64_t modified_ms;
};

/* Takes one object; an error ends the listing. */
typedef enum kpi_code (*s3_object_fn)(void *arg, const struct s3_object *object, struct err *err);

/* Lists all objects whose key starts with prefix, in the order S3 gives them, over all pages. Errors: those
 * of aws_call, of fn, and KPI_S3_UNAVAILABLE for a listing that is no listing or runs in circles. */
KPI_MUST_CHECK enum kpi_code s3_list(struct aws *a, struct view bucket, struct view prefix,
                                     const struct stop_flag *stop, s3_object_fn fn, void *arg,
                                     struct err *err);

/* Takes bytes in their order, on the thread of the HTTP client: must not wait. */
typedef void (*s3_bytes_fn)(void *arg, struct view bytes);

/* A part of one version of an object; everything is borrowed. */
struct s3_range {
  struct view bucket, key, etag;
  uint64_t object_size;
  uint64_t first, size; /* bytes; size >= 1 */
  const struct stop_flag *stop;
};

/* Reads a range exactly: every byte once, in order, of the version named by the ETag; a body that breaks off
 * is resumed where it did. Errors: KPI_S3_OBJECT_CHANGED, and those of aws_call. */
KPI_MUST_CHECK enum kpi_code s3_get_range(struct aws *a, const struct s3_range *range, s3_bytes_fn fn,
                                          void *arg, struct err *err);

#endif
