/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/scope.h"
#include "server/backends.h"
#include "server/cli_output.h"

#include <string.h>
#include <unistd.h>

enum { REQUESTS = 4 };

static const char *finding_text(enum table_finding f) {
  static const char *const texts[] = {[TABLE_OK] = "exists, with the keys it needs",
                                      [TABLE_CREATED] = "created: on demand, point-in-time recovery on",
                                      [TABLE_NO_RECOVERY] =
                                          "created: on demand (no point-in-time recovery at this endpoint)"};
  return texts[f];
}

static enum kpi_code print_report(const struct table_report *report, size_t count, struct err *err) {
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  for (size_t i = 0; i < count; i++)
    buf_printf(&text, "%s: %s\n", report[i].name, finding_text(report[i].finding));
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
  return rc ? rc : print_report(report, count, err);
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
