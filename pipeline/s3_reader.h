/* SPDX-License-Identifier: MIT
 * Objects of a bucket as byte streams: downloaded in ranges, several at a time, into memory that all readers
 * share, where they are read. None is held whole. */
#ifndef KPID_PIPELINE_S3_READER_H
#define KPID_PIPELINE_S3_READER_H

#include "aws/aws_call.h"
#include "pipeline/source.h"

enum { S3_RANGE_BYTES = 8 * 1024 * 1024 };

/* Bytes of objects that are held at most: of the ranges that are downloaded at a time, and a quarter more.
 * (One range more for each thread that waits while others have all of it.) */
size_t s3_downloads_memory(size_t concurrency);

/* What the readers of a bucket share. */
struct s3_downloads;

/* At most `concurrency` ranges are downloaded at a time. Borrows both pointers. Returns owned, NULL when
 * there is no memory or no thread. */
struct s3_downloads *s3_downloads_new(struct aws *aws, const char *bucket, size_t concurrency);

/* Every reader was closed. Accepts NULL. */
void s3_downloads_free(struct s3_downloads *d);

/* Opens an object, whose download begins; takes over the key. As source_open otherwise. */
KPI_MUST_CHECK enum kpi_code s3_reader_open(struct s3_downloads *d, char *key,
                                            const struct source_object *object, const struct source_use *use,
                                            struct source_reader **out, struct err *err);

#endif
