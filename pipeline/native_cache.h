/* SPDX-License-Identifier: MIT
 * What the native engine asks of cached rows: which can be told by day and order, and which blocks of them
 * matter to a pass. Takes of the others what the functions of native_rows.h would. */
#ifndef KPID_PIPELINE_NATIVE_CACHE_H
#define KPID_PIPELINE_NATIVE_CACHE_H

#include "pipeline/native_rows.h"

/* How the rows of a data set are cached; of no cache when it is NULL. */
struct row_caching native_caching(struct object_cache *cache, enum dataset d);

#endif
