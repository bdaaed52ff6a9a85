/* SPDX-License-Identifier: MIT
 * The kept log lines of runs in the database. A run has at most RUN_LOG_LINES_MAX lines of RUN_LOG_BYTES_MAX
 * together: its first and last stay, those between give way, the least severe and oldest first. Knows no
 * HTTP. */
#ifndef KPID_SERVER_RUN_LOG_STORE_H
#define KPID_SERVER_RUN_LOG_STORE_H

#include "base/log.h"
#include "server/db.h"
#include "server/run.h"

enum {
  RUN_LOG_LINES_MAX = 1000,
  RUN_LOG_BYTES_MAX = 256 * 1024,
  RUN_LOG_LINE_BYTES_MAX = 4096,
  RUN_LOG_FIRST_LINES = 30, /* never give way, as the last; together they are within RUN_LOG_BYTES_MAX */
  RUN_LOG_LAST_LINES = 30
};

/* A line on its way to the database, in a list. Owned by who has the list. */
struct run_log_entry {
  struct run_log_entry *next;
  char run_id[UUID_TEXT_SIZE];
  enum log_level level;
  int64_t attempt; /* LOG_NO_ATTEMPT: the one the run is in */
  size_t size;
  char json[]; /* at most RUN_LOG_LINE_BYTES_MAX */
};

/* Appends lines to the logs of their runs, which are then within their bounds; lines of runs that are not
 * known are dropped. Errors: those of db_call; then none is stored. */
KPI_MUST_CHECK enum kpi_code run_log_store_add(struct db *db, const struct run_log_entry *first,
                                               struct err *err);

/* Which lines to read. */
struct run_log_filter {
  uint64_t after;       /* only lines with a greater seq */
  enum log_level level; /* and at least as severe */
  bool has_attempt;
  uint64_t attempt;
  size_t limit;
};

/* A stored line. Owns its text. */
struct run_log_row {
  uint64_t seq;
  uint64_t left_out; /* lines before this one that gave way */
  char *json;
};

/* A page of lines, oldest first. Owns them. */
struct run_log_page {
  struct run_log_row *rows;
  size_t count;
  bool more;
};

/* Reads the lines of a run; none for one that is not known. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code run_log_store_page(struct db *db, struct view run_id,
                                                const struct run_log_filter *filter, struct run_log_page *out,
                                                struct err *err);

/* Frees the page. Accepts NULL. */
void run_log_page_clear(struct run_log_page *page);

#endif
