/* SPDX-License-Identifier: MIT
 * Reads all objects of a data set on the worker pool: workers share files and blocks of files, and each row
 * goes to a function with the state of its worker. The first error in the order of the input wins, whatever
 * the timing. */
#ifndef KPID_PIPELINE_SCAN_H
#define KPID_PIPELINE_SCAN_H

#include "pipeline/csv.h"
#include "pipeline/finding.h"
#include "pipeline/job.h"
#include "pipeline/plain_batch.h"
#include "pipeline/row_stream.h"

struct scan_row {
  const struct csv_row *csv;
  const struct csv_binding *binding;
  const char *object; /* name, borrowed */
  struct place place;
};

/* Handles one row on a worker's thread. An error stops the scan. */
typedef enum kpi_code (*scan_row_fn)(void *worker, const struct scan_row *row, struct err *err);

/* How plain rows are handled, many at a time. */
struct scan_plain {
  struct plain_columns columns; /* what is read of them */
  /* Handles rows of a batch from the cursor on, and steps over them, up to one that row_fn has to handle.
   * Returns how many. */
  size_t (*take)(void *worker, struct csv_cursor *c, const struct csv_binding *binding,
                 const struct plain_batch *batch);
};

struct scan {
  const struct job *job;
  struct pool *pool;
  const struct source_objects *objects;
  enum dataset dataset;
  scan_row_fn row_fn;
  const struct scan_plain *plain; /* NULL: every row goes to row_fn */
  struct row_caching caching;
  void *workers; /* array of pool_threads() states */
  size_t worker_size;
};

/* What the reader itself noticed. */
struct scan_report {
  uint64_t rows;                /* without headers and blank lines */
  bool has_column[COLUMNS_MAX]; /* in at least one object */
  bool has_header;              /* at least one object had one */
  bool is_of_cache; /* some rows came out of it: the first error may be another one than in the input */
  bool is_damaged; /* what the cache held of an object: nothing else that was found counts; read again without
                      it */
  struct finding ragged, undecodable, repeated_header;
};

/* Frees what it found. */
void scan_report_clear(struct scan_report *r);

/* Reads everything. On failure err names object, line, column and value. Errors: those of the source, the CSV
 * reader and row_fn; KPI_CANCELLED and the like when the job was stopped; KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code scan_rows(const struct scan *s, struct scan_report *out, struct err *err);

#endif
