/* SPDX-License-Identifier: MIT
 * A prefix of a bucket as the place where service and Spark jobs leave files for each other. */
#ifndef KPID_PIPELINE_SPARK_STORE_S3_H
#define KPID_PIPELINE_SPARK_STORE_S3_H

#include "pipeline/spark_store.h"

/* "bucket" or "bucket/prefix". Borrows aws. Returns owned, NULL when memory is exhausted. */
struct spark_store *spark_store_s3_new(struct aws *aws, struct view place);

#endif
