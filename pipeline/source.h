/* SPDX-License-Identifier: MIT
 * Where the input lies: an interface. A source lists the objects of each data set and opens them as byte
 * streams. Knows no CSV; implementations: source_file and source_s3. */
#ifndef KPID_PIPELINE_SOURCE_H
#define KPID_PIPELINE_SOURCE_H

#include "base/buf.h"
#include "base/crypto.h"
#include "base/err.h"
#include "base/pool.h"
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

/* Appends a finished listing as text: a line of name, size and version for each object, tab separated, in the
 * order that is fingerprinted. */
void source_listing_text(const struct source_listing *l, struct buf *out);

/* True for the name of an input object within a data set's folder: ends in .csv or .csv.gz, starts with
 * neither '_' nor '.'. A folder of such a name holds parts. */
bool source_name_is_input(struct view name);

/* True for the name of a part in such a folder: starts with neither '_' nor '.'. */
bool source_name_is_part(struct view name);

/* Several threads can read an object in pieces of so many bytes, if its source lets them. */
enum { SOURCE_PIECE_BYTES = 256 * 1024 };

/* Bytes of an object where the source has them. */
struct source_loan {
  char *bytes; /* to be read only */
  size_t len;
  size_t before; /* bytes of the object that lie right before these, lent with them */
  size_t room;   /* bytes before those, which the borrower may write */
  void *of;      /* the lender's */
};

struct source_reader;
struct source_reader_vtable {
  enum kpi_code (*read)(struct source_reader *r, char *to, size_t size, size_t *got, struct err *err);
  enum kpi_code (*finish)(struct source_reader *r, struct err *err);
  void (*close)(struct source_reader *r);
  /* Where the object can be read in pieces, one of two ways; the others are NULL: */
  enum kpi_code (*read_at)(struct source_reader *r, uint64_t at, char *to, size_t size, size_t *got,
                           struct err *err);
  enum kpi_code (*lend)(struct source_reader *r, uint64_t at, size_t size, struct source_loan *out,
                        struct err *err);
  void (*take_back)(struct source_reader *r, const struct source_loan *loan);
};

/* A byte stream over one object; the first member of every implementation. One thread at a time, except for
 * pieces. */
struct source_reader {
  const struct source_reader_vtable *vtable;
};

/* Reads up to size bytes; *got 0 is the end. Errors: KPI_SOURCE_UNREADABLE and those of the implementation.
 */
KPI_MUST_CHECK enum kpi_code source_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                         struct err *err);

/* True when source_read_at can be called instead of source_read. */
bool source_reads_anywhere(const struct source_reader *r);

/* The same from byte `at` on. Any number of threads. */
KPI_MUST_CHECK enum kpi_code source_read_at(struct source_reader *r, uint64_t at, char *to, size_t size,
                                            size_t *got, struct err *err);

/* True when source_lend can be called instead of source_read. */
bool source_lends(const struct source_reader *r);

/* Waits for bytes `at` to `at + size` of the object, which lie in one piece, and lends them. What is lent is
 * given back once, else it is with source_close; every byte is to be borrowed once. Any number of threads.
 * Errors: those of source_read. */
KPI_MUST_CHECK enum kpi_code source_lend(struct source_reader *r, uint64_t at, size_t size,
                                         struct source_loan *out, struct err *err);
void source_take_back(struct source_reader *r, const struct source_loan *loan);

/* Call at the end, or where an object that is read anywhere ends early, there by any thread: fails when the
 * object has changed since it was listed. */
KPI_MUST_CHECK enum kpi_code source_finish(struct source_reader *r, struct err *err);

/* Closes and frees. Accepts NULL. */
void source_close(struct source_reader *r);

/* For whom something is read; borrowed while it is. */
struct source_use {
  const struct stop_flag *stop; /* ends waiting; NULL: none */
  _Atomic uint64_t *bytes_read; /* grows by the bytes as stored; NULL: not counted */
};

struct source;
struct source_vtable {
  const char *kind;      /* "file", "s3" */
  enum kpi_code changed; /* what it says of an object that is not as it was listed */
  enum kpi_code (*list)(struct source *s, const struct source_use *use, struct source_listing *out,
                        struct err *err);
  enum kpi_code (*open)(struct source *s, const struct source_object *object, const struct source_use *use,
                        struct source_reader **out, struct err *err);
  void (*free)(struct source *s);
};

/* The first member of every implementation. Thread-safe. */
struct source {
  const struct source_vtable *vtable;
  size_t open_ahead; /* objects that are worth opening before they are read: opening starts a download */
  char *url;         /* owned: what source_new was given; NULL: it was made in another way */
};

struct aws;

/* True for URLs that need AWS: s3://. */
bool source_needs_aws(const char *url);

/* True for URLs that source_new takes: file:///absolute/folder and s3://bucket[/prefix]. */
bool source_url_is_valid(const char *url);

/* Opens the source of a URL: file:///dir, or s3://bucket/prefix with `aws` (borrowed; else NULL) and at most
 * `s3_concurrency` downloads at a time. Returns owned in *out. Looks at nothing yet. Errors:
 * KPI_CONFIG_INVALID, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code source_new(const char *url, struct aws *aws, size_t s3_concurrency,
                                        struct source **out, struct err *err);

/* Accepts NULL. */
void source_free(struct source *s);

/* Lists all three data sets as they are now. Returns owned in *out. Errors: KPI_SOURCE_NOT_FOUND,
 * KPI_SOURCE_UNREADABLE, and those of the implementation. */
KPI_MUST_CHECK enum kpi_code source_list(struct source *s, const struct source_use *use,
                                         struct source_listing *out, struct err *err);

/* Opens a listed object, decompressed when its name ends in .gz. Borrows object and use until source_close.
 * Returns owned in *out. Errors: KPI_SOURCE_UNREADABLE, and those of the implementation. */
KPI_MUST_CHECK enum kpi_code source_open(struct source *s, const struct source_object *object,
                                         const struct source_use *use, struct source_reader **out,
                                         struct err *err);

#endif
