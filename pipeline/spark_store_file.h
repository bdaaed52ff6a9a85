/* SPDX-License-Identifier: MIT
 * A folder as the place where service and Spark jobs leave files for each other: one that both see. The
 * folder itself may be reached by symbolic links; within it none is followed. */
#ifndef KPID_PIPELINE_SPARK_STORE_FILE_H
#define KPID_PIPELINE_SPARK_STORE_FILE_H

#include "pipeline/spark_store.h"

/* An absolute folder, without a slash at its end; it is made when the first file is written. Returns owned,
 * NULL when memory is exhausted. */
struct spark_store *spark_store_file_new(struct view folder);

#endif
