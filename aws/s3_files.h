/* SPDX-License-Identifier: MIT
 * Files of kpid's own in S3: written, read and removed whole, by key, whatever their version. Source: Amazon
 * S3 API Reference, PutObject, GetObject and DeleteObject. */
#ifndef KPID_AWS_S3_FILES_H
#define KPID_AWS_S3_FILES_H

#include "aws/aws_call.h"

/* Where a file lies. Borrowed. */
struct s3_file {
  struct view bucket, key;
  const struct stop_flag *stop;
  _Atomic uint64_t *beats; /* counts the pieces of it that come; NULL: nobody does */
};

/* Writes a file; one that is there already is replaced. Errors: those of aws_call. */
KPI_MUST_CHECK enum kpi_code s3_file_put(struct aws *a, const struct s3_file *f, struct view bytes,
                                         struct err *err);

/* Appends a file. *found false: there is none, which is no error; S3 tells that only to who may list the
 * bucket, others are denied access. Errors: those of aws_call; KPI_SOURCE_UNREADABLE for one that `out` has
 * no room for; KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code s3_file_get(struct aws *a, const struct s3_file *f, struct buf *out, bool *found,
                                         struct err *err);

/* Removes all files whose key starts with prefix, one after the other. None is no error. Errors: those of
 * s3_list and of aws_call. */
KPI_MUST_CHECK enum kpi_code s3_files_remove(struct aws *a, struct view bucket, struct view prefix,
                                             const struct stop_flag *stop, struct err *err);

#endif
