/* SPDX-License-Identifier: MIT
 * What `kpid run` and `kpid backfill` print and write: both KPI tables as aligned text, CSV or JSON. Made by
 * the workers of a pool, a text each, which are in memory together. */
#ifndef KPID_SERVER_CLI_OUTPUT_H
#define KPID_SERVER_CLI_OUTPUT_H

#include "pipeline/engine.h"
#include "server/cli_options.h"

/* Writes text to standard output, at once. Errors: KPI_DISK_FULL, KPI_USAGE. */
KPI_MUST_CHECK enum kpi_code cli_put(struct view text, struct err *err);

/* Appends text for a terminal: control bytes, which could steer it, as blanks. */
void cli_add_shown(struct view text, struct buf *out);

/* Appends text and blanks up to that many characters, the blanks first when `right`. */
void cli_add_padded(struct view text, size_t width, bool right, struct buf *out);

/* The days of a command as they are shown; borrowed. */
struct shown_days {
  const struct day_results *results;
  enum output_format format;
  const char *folder; /* for the files; NULL: none are written */
  bool is_range;      /* quality reports stand under their dates, not alone */
};

/* Writes folder/order_kpis and folder/category_kpis, .json for FORMAT_JSON and .csv otherwise, each complete
 * or not there, and then prints both tables, with JSON also the quality reports. Errors: KPI_DISK_FULL,
 * KPI_USAGE (stdout or a file cannot be written), KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code cli_show(const struct shown_days *days, struct pool *pool, struct err *err);

#endif
