/* SPDX-License-Identifier: MIT
 * Input in an S3 bucket: s3://bucket/prefix with orders/, order_items/ and products/ below. Objects are
 * downloaded in ranges, several at a time, while they are read; none is held whole. */
#ifndef KPID_PIPELINE_SOURCE_S3_H
#define KPID_PIPELINE_SOURCE_S3_H

#include "aws/aws_call.h"
#include "pipeline/source.h"

enum { S3_RANGE_BYTES = 8 * 1024 * 1024 };

/* True for s3://bucket[/prefix]. */
bool source_s3_takes(const char *url);

/* Bytes of objects that are held at most: of the ranges that are downloaded at a time, and a quarter more, so
 * that they are as many while others are read. (Each worker may have one more when others take them all.) */
size_t source_s3_memory(size_t concurrency);

/* Opens a URL that it takes. Returns owned in *out; borrows aws. At most `concurrency` ranges are downloaded
 * at a time. Errors: KPI_OUT_OF_MEMORY. Reading fails with KPI_S3_* and
 * KPI_CREDENTIALS_*; KPI_S3_OBJECT_CHANGED when an object is no longer the one that was listed. */
KPI_MUST_CHECK enum kpi_code source_s3_new(const char *url, struct aws *aws, size_t concurrency,
                                           struct source **out, struct err *err);

#endif
