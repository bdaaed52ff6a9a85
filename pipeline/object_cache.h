/* SPDX-License-Identifier: MIT
 * A folder of input objects that were read before, one file for each state of an object: what is kept of it
 * need not be downloaded or searched again. Holds no truth: any file may be deleted at any time, and one that
 * is damaged is as good as missing. Knows neither rows nor sources. */
#ifndef KPID_PIPELINE_OBJECT_CACHE_H
#define KPID_PIPELINE_OBJECT_CACHE_H

#include "base/crypto.h"
#include "base/err.h"
#include "base/metrics.h"

struct object_cache;

/* Opens a folder, which is made when it is missing, for entries of at most `max_bytes` together. Several
 * processes may share it. Returns owned in *out. Errors: KPI_CONFIG_INVALID, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code object_cache_open(const char *folder, uint64_t max_bytes,
                                               struct object_cache **out, struct err *err);

/* Accepts NULL. */
void object_cache_close(struct object_cache *c);

/* The name of an entry. */
struct object_cache_name {
  char text[SHA256_HEX_SIZE];
};

/* Names the entry of `what`, a text that tells the state of an object from every other. */
struct object_cache_name object_cache_name_of(struct view what);

/* Opens an entry for reading and marks it as used. Returns a file for the caller to close, -1: there is none.
 */
int object_cache_find(struct object_cache *c, const struct object_cache_name *name);

/* Removes an entry that turned out to be damaged. */
void object_cache_remove(struct object_cache *c, const struct object_cache_name *name);

/* Starts an entry, which nobody finds yet. Returns a file for the caller to close, -1 when that fails, as it
 * does for an entry that another thread is writing, and when many are being written. */
int object_cache_start(struct object_cache *c, const struct object_cache_name *name);

/* Ends an entry that was started: with `bytes` others find it from now on, and those that were not used for
 * longest have to go where there are too many; with 0 it is dropped. */
void object_cache_end(struct object_cache *c, const struct object_cache_name *name, uint64_t bytes);

/* Writes what all caches of the process have found, for GET /metrics. */
void object_cache_metrics_write(const struct metrics_out *o);

#endif
