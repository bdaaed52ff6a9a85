/* SPDX-License-Identifier: MIT
 * Any SELECT over a copy of the database, row by row. Knows no table and no format. */
#ifndef KPID_SERVER_QUERY_STORE_H
#define KPID_SERVER_QUERY_STORE_H

#include "base/err.h"
#include "base/view.h"

enum { QUERY_COLUMNS_MAX = 256 };

enum query_type { QUERY_NULL, QUERY_INTEGER, QUERY_REAL, QUERY_TEXT, QUERY_BLOB };

struct query_cell {
  enum query_type type;
  int64_t integer;
  double real;
  struct view bytes; /* of text and blobs; borrowed for the call */
};

/* Takes what a query gives: first the names, then each row. A code other than KPI_OK ends it. */
struct query_sink {
  void *arg;
  enum kpi_code (*columns)(void *arg, const char *const *names, int count, struct err *err);
  enum kpi_code (*row)(void *arg, const struct query_cell *cells, int count, struct err *err);
};

/* Runs one statement that only reads on the file at `path`, which nobody writes to. Errors: KPI_USAGE: the
 * statement is none, not one, or may do more than read; those of the sink; KPI_STORAGE_UNAVAILABLE. */
KPI_MUST_CHECK enum kpi_code query_store_run(const char *path, struct view sql, const struct query_sink *sink,
                                             struct err *err);

#endif
