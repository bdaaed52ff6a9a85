/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/scope.h"
#include "server/backends.h"
#include "server/cli_output.h"

#include <string.h>
#include <unistd.h>

enum { REQUESTS = 4 };

static void add_line(const struct table_report *r, struct buf *out) {
  static const char *const findings[] = {[TABLE_UNUSABLE] = "cannot be used",
                                         [TABLE_OK] = "exists, with the keys it needs",
                                         [TABLE_CREATED] = "created: on demand"};
  static const char *const recoveries[] = {[RECOVERY_UNKNOWN] = "",
                                           [RECOVERY_ON] = ", point-in-time recovery on",
                                           [RECOVERY_UNSUPPORTED] =
                                               " (no point-in-time recovery at this endpoint)"};
  buf_printf(out, "%s: %s%s", r->name, findings[r->finding], recoveries[r->recovery]);
  if (r->trouble.code)
    buf_printf(out, "; failed: %s", r->trouble.message);
  buf_add_char(out, '\n');
}

static enum kpi_code print_report(const struct table_report *report, size_t count, struct err *err) {
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  for (size_t i = 0; i < count; i++)
    add_line(&report[i], &text);
  return cli_put(buf_view(&text), err);
}

static enum kpi_code run_tables(const struct config *config, bool create, struct err *err) {
  struct aws *aws;
  struct table_report report[DYNAMODB_TABLE_COUNT];
  size_t count = 0;
  struct dynamodb_tables tables = backends_tables(config);
  enum kpi_code rc = aws_new(REQUESTS, &aws, err);
  if (rc)
    return rc;
  rc = create ? dynamodb_tables_create(aws, &tables, report, &count, err)
              : dynamodb_tables_check(aws, &tables, report, &count, err);
  aws_free(aws);
  if (rc && !create)
    return rc;
  struct err unprinted;
  enum kpi_code printed = print_report(report, count, rc ? &unprinted : err);
  return rc ? rc : printed;
}

int cli_tables(int argc, char **argv) {
  struct config config;
  struct err err;
  bool create = argc == 2 && strcmp(argv[1], "create") == 0;
  if (!create && (argc != 2 || strcmp(argv[1], "check") != 0))
    return cli_usage_error("tables takes create or check");
  log_init(LOG_ERROR, STDERR_FILENO);
  if (config_load(&config, &err) || run_tables(&config, create, &err))
    return cli_fail(&err);
  return 0;
}
