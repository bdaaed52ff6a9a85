/* SPDX-License-Identifier: MIT
 * Where the input lies: an interface. A source lists the objects of each data set and opens them as byte
 * streams. Knows no CSV; implementations: source_file (and, with the AWS layer, S3). */
#ifndef KPID_PIPELINE_SOURCE_H
#define KPID_PIPELINE_SOURCE_H

#include "base/crypto.h"
#include "base/err.h"
#include "pipeline/schema.h"

#include <stdatomic.h>

/* One input object. Owned by its listing. */
struct source_object {
  char *name;          /* relative to the base, as in messages: "orders/part-1.csv" */
  uint64_t size;       /* bytes as stored */
  int64_t modified_ms; /* Unix time of the last change */
  char version[96];    /* changes whenever the object's bytes do */
  bool is_gzip;
};

struct source_objects {
  struct source_object *at; /* sorted by name */
  size_t count, cap;
};

/* What a source held at one moment. */
struct source_listing {
  struct source_objects datasets[DATASET_COUNT];
  uint64_t objects, bytes;
  char fingerprint[SHA256_HEX_SIZE]; /* over names, sizes and versions */
};

/* Frees a listing and empties it. Accepts NULL. */
void source_listing_clear(struct source_listing *l);

/* Appends an object; copies its name. False when memory is exhausted. */
bool source_listing_add(struct source_listing *l, enum dataset d, const struct source_object *object);

/* Sorts, counts and fingerprints a listing that is complete. Errors: KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code source_listing_finish(struct source_listing *l, struct err *err);

/* True for the name of an input object within a data set's folder: ends in .csv or .csv.gz, starts with
 * neither '_' nor
 * '.'. */
bool source_name_is_input(struct view name);

struct source_reader;
struct source_reader_vtable {
  enum kpi_code (*read)(struct source_reader *r, char *to, size_t size, size_t *got, struct err *err);
  enum kpi_code (*finish)(struct source_reader *r, struct err *err);
  void (*close)(struct source_reader *r);
};

/* A byte stream over one object; the first member of every implementation. One thread at a time. */
struct source_reader {
  const struct source_reader_vtable *vtable;
};

/* Reads up to size bytes; *got 0 is the end. Errors: KPI_SOURCE_UNREADABLE and those of the implementation.
 */
KPI_MUST_CHECK enum kpi_code source_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                         struct err *err);

/* Call at the end: fails when the object has changed since it was listed. */
KPI_MUST_CHECK enum kpi_code source_finish(struct source_reader *r, struct err *err);

/* Closes and frees. Accepts NULL. */
void source_close(struct source_reader *r);

struct source;
struct source_vtable {
  const char *kind; /* "file" */
  enum kpi_code (*list)(struct source *s, struct source_listing *out, struct err *err);
  enum kpi_code (*open)(struct source *s, const struct source_object *object, _Atomic uint64_t *bytes_read,
                        struct source_reader **out, struct err *err);
  void (*free)(struct source *s);
};

/* The first member of every implementation. Thread-safe. */
struct source {
  const struct source_vtable *vtable;
};

/* Opens the source of a URL (file:///dir). Returns owned in *out. Looks at nothing yet. Errors:
 * KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code source_new(const char *url, struct source **out, struct err *err);

/* Accepts NULL. */
void source_free(struct source *s);

/* Lists all three data sets as they are now. Returns owned in *out. Errors: KPI_SOURCE_NOT_FOUND,
 * KPI_SOURCE_UNREADABLE. */
KPI_MUST_CHECK enum kpi_code source_list(struct source *s, struct source_listing *out, struct err *err);

/* Opens a listed object, decompressed when its name ends in .gz. Bytes as stored are added to *bytes_read
 * while they are read. Returns owned in *out. Errors: KPI_SOURCE_UNREADABLE. */
KPI_MUST_CHECK enum kpi_code source_open(struct source *s, const struct source_object *object,
                                         _Atomic uint64_t *bytes_read, struct source_reader **out,
                                         struct err *err);

#endif
