/* SPDX-License-Identifier: MIT
 * The place where service and Spark jobs leave files for each other: a folder, or a prefix of a bucket. Knows
 * nothing of what the files say. */
#ifndef KPID_PIPELINE_SPARK_STORE_H
#define KPID_PIPELINE_SPARK_STORE_H

#include "base/buf.h"
#include "base/pool.h"

struct aws;

struct spark_store;
struct spark_store_vtable {
  enum kpi_code (*put)(struct spark_store *s, const char *name, struct view bytes,
                       const struct stop_flag *stop, struct err *err);
  enum kpi_code (*get)(struct spark_store *s, const char *name, const struct stop_flag *stop,
                       _Atomic uint64_t *beats, struct buf *out, bool *found, struct err *err);
  enum kpi_code (*remove_all)(struct spark_store *s, const char *prefix, const struct stop_flag *stop,
                              struct err *err);
  void (*free)(struct spark_store *s);
};

/* The first member of every implementation. Any thread. */
struct spark_store {
  const struct spark_store_vtable *vtable;
};

/* True for file:///absolute/folder and s3://bucket[/prefix], as Spark reads them: nothing in them is
 * percent-encoded, and since that is not clear to everybody, there is no percent sign either; no empty parts,
 * no "." and "..". */
bool spark_store_url_is_valid(const char *url);

/* Opens a place without touching it. Borrows aws, which a folder does not need. Returns owned in *out.
 * Errors: KPI_CONFIG_INVALID, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code spark_store_new(const char *url, struct aws *aws, struct spark_store **out,
                                             struct err *err);

/* Accepts NULL. */
void spark_store_free(struct spark_store *s);

/* Names are relative to the place: "kpi-runs/RUN/1/spec.json". Errors of all calls: those of S3 for a bucket;
 * KPI_ENGINE_FAILED for a folder that cannot be written or read, for a name with empty parts, "." or "..",
 * for what is no file and for one that the buffer has no room for; KPI_CANCELLED, KPI_OUT_OF_MEMORY. */

/* Writes a file, whole or not at all; one that is there already is replaced. */
KPI_MUST_CHECK enum kpi_code spark_store_put(struct spark_store *s, const char *name, struct view bytes,
                                             const struct stop_flag *stop, struct err *err);

/* Appends a file, of which the pieces that come are counted in `beats`, NULL: by nobody. *found false: there
 * is none, which is no error; `found` NULL: it is one. */
KPI_MUST_CHECK enum kpi_code spark_store_get(struct spark_store *s, const char *name,
                                             const struct stop_flag *stop, _Atomic uint64_t *beats,
                                             struct buf *out, bool *found, struct err *err);

/* Removes all files whose names begin with `prefix`, which ends with a slash. None is no error. */
KPI_MUST_CHECK enum kpi_code spark_store_remove_all(struct spark_store *s, const char *prefix,
                                                    const struct stop_flag *stop, struct err *err);

#endif
