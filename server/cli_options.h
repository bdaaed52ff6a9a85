/* SPDX-License-Identifier: MIT
 * Options of `kpid run` and `kpid backfill`: they override the settings of the environment. */
#ifndef KPID_SERVER_CLI_OPTIONS_H
#define KPID_SERVER_CLI_OPTIONS_H

#include "server/config.h"

enum output_format { FORMAT_TABLE, FORMAT_CSV, FORMAT_JSON };

/* Reads table, csv or json. False for anything else. */
bool output_format_of(struct view name, enum output_format *out);

struct cli_options {
  struct config config;
  day_t from, to; /* inclusive */
  bool all;       /* every day of the data */
  bool publish;
  bool force; /* publish against the guard, and what is published already */
  enum quality_gate gate;
  enum output_format format;
  const char *out; /* folder, NULL for none */
};

/* Reads environment and arguments. Errors: KPI_USAGE naming the option, KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code cli_options_parse(int argc, char **argv, bool is_backfill,
                                               struct cli_options *out, struct err *err);

#endif
