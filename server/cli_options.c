/* SPDX-License-Identifier: MIT */
#include "server/cli_options.h"

#include <getopt.h>
#include <string.h>

enum { RANGE_DAYS_MAX = 3660, THREADS_MAX = 256 };

enum option_id {
  OPT_DATE = 1000,
  OPT_FROM,
  OPT_TO,
  OPT_ALL,
  OPT_SOURCE,
  OPT_FORMAT,
  OPT_OUT,
  OPT_NO_PUBLISH,
  OPT_THREADS,
  OPT_BAD_ROWS,
  OPT_MAX_BAD_ROWS,
  OPT_GATE,
  OPT_FORCE
};

#define COMMON_OPTIONS                                                                                       \
  {"source", required_argument, NULL, OPT_SOURCE}, {"format", required_argument, NULL, OPT_FORMAT},          \
      {"out", required_argument, NULL, OPT_OUT}, {"no-publish", no_argument, NULL, OPT_NO_PUBLISH},          \
      {"threads", required_argument, NULL, OPT_THREADS},                                                     \
      {"bad-rows", required_argument, NULL, OPT_BAD_ROWS},                                                   \
      {"max-bad-rows", required_argument, NULL, OPT_MAX_BAD_ROWS},                                           \
      {"quality-gate", required_argument, NULL, OPT_GATE}, {"force", no_argument, NULL, OPT_FORCE}, {        \
    NULL, 0, NULL, 0                                                                                         \
  }

static const struct option run_options[] = {{"date", required_argument, NULL, OPT_DATE}, COMMON_OPTIONS};
static const struct option backfill_options[] = {{"from", required_argument, NULL, OPT_FROM},
                                                 {"to", required_argument, NULL, OPT_TO},
                                                 {"all", no_argument, NULL, OPT_ALL},
                                                 COMMON_OPTIONS};

/* Which day options were given. */
struct seen {
  bool date, from, to;
};

bool output_format_of(struct view name, enum output_format *out) {
  static const char *const names[] = {"table", "csv", "json"};
  for (int i = 0; i < 3; i++)
    if (view_is(name, names[i])) {
      *out = (enum output_format)i;
      return true;
    }
  return false;
}

/* Takes one option; false when its value is not allowed. */
static bool take_option(int id, struct view value, struct cli_options *o, struct seen *seen) {
  switch (id) {
  case OPT_DATE:
    seen->date = config_date(&o->config, value, &o->from);
    o->to = o->from;
    return seen->date;
  case OPT_FROM:
    return seen->from = config_date(&o->config, value, &o->from);
  case OPT_TO:
    return seen->to = config_date(&o->config, value, &o->to);
  case OPT_ALL:
    return o->all = true;
  case OPT_SOURCE:
    o->config.source = value.ptr;
    return true;
  case OPT_FORMAT:
    return output_format_of(value, &o->format);
  case OPT_OUT:
    o->out = value.ptr;
    return value.len > 0;
  case OPT_NO_PUBLISH:
    o->publish = false;
    return true;
  case OPT_FORCE:
    return o->force = true;
  case OPT_THREADS:
    return view_to_u64(value, &o->config.threads) && o->config.threads >= 1 &&
           o->config.threads <= THREADS_MAX;
  case OPT_BAD_ROWS:
    return bad_rows_of(value, &o->config.bad_rows);
  case OPT_MAX_BAD_ROWS:
    o->config.max_bad_rows_text = value.ptr;
    return bad_rows_limit_parse(value, &o->config.max_bad_rows);
  case OPT_GATE:
    return quality_gate_of(value, &o->gate);
  default:
    return false;
  }
}

static enum kpi_code check_days(struct cli_options *o, const struct seen *seen, bool is_backfill,
                                struct err *err) {
  if (!is_backfill)
    return seen->date ? KPI_OK : err_set(err, KPI_USAGE, "run needs --date YYYY-MM-DD");
  if (o->all && (seen->from || seen->to))
    return err_set(err, KPI_USAGE, "backfill takes either --all or --from and --to");
  if (o->all) {
    o->from = DAY_MIN;
    o->to = DAY_MAX;
    return KPI_OK;
  }
  if (!seen->from || !seen->to)
    return err_set(err, KPI_USAGE, "backfill needs --from YYYY-MM-DD and --to YYYY-MM-DD, or --all");
  if (o->from > o->to)
    return err_set(err, KPI_USAGE, "--from is after --to");
  if (o->to - o->from >= RANGE_DAYS_MAX)
    return err_set(err, KPI_USAGE, "a range has at most %d days", RANGE_DAYS_MAX);
  return KPI_OK;
}

static enum kpi_code take_all(int argc, char **argv, bool is_backfill, struct cli_options *o,
                              struct seen *seen, struct err *err) {
  const struct option *table = is_backfill ? backfill_options : run_options;
  int id, index = 0;
  opterr = 0;
  optind = 1;
  while ((id = getopt_long(argc, argv, ":", table, &index)) != -1) {
    if (id == ':')
      return err_set(err, KPI_USAGE, "%s needs a value", argv[optind - 1]);
    if (id == '?')
      return err_set(err, KPI_USAGE, "there is no option %s", argv[optind - 1]);
    if (!take_option(id, view_of(optarg), o, seen))
      return err_set(err, KPI_USAGE, "--%s %s: not allowed", table[index].name, optarg ? optarg : "");
  }
  if (optind < argc)
    return err_set(err, KPI_USAGE, "unexpected argument %s", argv[optind]);
  return check_days(o, seen, is_backfill, err);
}

enum kpi_code cli_options_parse(int argc, char **argv, bool is_backfill, struct cli_options *out,
                                struct err *err) {
  struct seen seen = {0};
  *out = (struct cli_options){.publish = true, .gate = GATE_WARN, .format = FORMAT_TABLE};
  enum kpi_code rc = config_load(&out->config, err);
  if (rc)
    return rc;
  config_share_memory(&out->config, 1);
  rc = take_all(argc, argv, is_backfill, out, &seen, err);
  if (rc == KPI_OK && !out->config.source)
    return err_set(err, KPI_USAGE, "no source: pass --source file:///folder or set KPI_SOURCE");
  return rc;
}
