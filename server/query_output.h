/* SPDX-License-Identifier: MIT
 * What `kpid query` prints: the rows of any query as aligned text, CSV or JSON. Knows no database. */
#ifndef KPID_SERVER_QUERY_OUTPUT_H
#define KPID_SERVER_QUERY_OUTPUT_H

#include "server/cli_options.h"
#include "server/query_store.h"

struct query_output;

/* Starts an output to standard output. Returns owned, NULL when memory is exhausted. */
struct query_output *query_output_new(enum output_format format);

/* Returns what takes the rows; borrows o. CSV and JSON are printed as they come. Errors: KPI_DISK_FULL,
 * KPI_USAGE (standard output cannot be written; more than a table holds). */
struct query_sink query_output_sink(struct query_output *o);

/* Prints what is left. Errors: as above, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code query_output_end(struct query_output *o, struct err *err);

/* Accepts NULL. */
void query_output_free(struct query_output *o);

#endif
