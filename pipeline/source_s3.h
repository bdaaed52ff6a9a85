/* SPDX-License-Identifier: MIT
 * Input in an S3 bucket: s3://bucket/prefix with orders/, order_items/ and products/ below. Lists
 * objects; s3_reader.h reads them. */
#ifndef KPID_PIPELINE_SOURCE_S3_H
#define KPID_PIPELINE_SOURCE_S3_H

#include "aws/aws_call.h"
#include "pipeline/source.h"

/* True for s3://bucket[/prefix]. */
bool source_s3_takes(const char *url);

/* Opens a URL that it takes. Returns owned in *out; borrows aws. At most `concurrency` ranges are downloaded
 * at a time. Errors: KPI_OUT_OF_MEMORY. Reading fails with KPI_S3_* and KPI_CREDENTIALS_*;
 * KPI_S3_OBJECT_CHANGED when an object is no longer the one that was listed. */
KPI_MUST_CHECK enum kpi_code source_s3_new(const char *url, struct aws *aws, size_t concurrency,
                                           struct source **out, struct err *err);

#endif
