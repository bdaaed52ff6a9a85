/* SPDX-License-Identifier: MIT
 * The three tables themselves: names, keys, creation and check. */
#ifndef KPID_PIPELINE_DYNAMODB_TABLES_H
#define KPID_PIPELINE_DYNAMODB_TABLES_H

#include "aws/dynamodb.h"
#include "pipeline/kpi_table.h"

/* Names; borrowed. */
struct dynamodb_tables {
  const char *kpi[KPI_TABLE_COUNT];
  const char *control; /* NULL: plain mode needs none */
};

enum { DYNAMODB_TABLE_COUNT = KPI_TABLE_COUNT + 1 };

enum table_finding { TABLE_OK, TABLE_CREATED, TABLE_NO_RECOVERY };

/* What was found out about one table. */
struct table_report {
  const char *name;
  enum table_finding finding;
};

/* Checks that each table exists, is usable and has its keys. `report` (may be NULL) gets one entry a table;
 * *count says how many. Errors: KPI_DYNAMODB_TABLE_MISSING, KPI_DYNAMODB_SCHEMA_MISMATCH, those of
 * dynamodb_call. */
KPI_MUST_CHECK enum kpi_code dynamodb_tables_check(struct aws *a, const struct dynamodb_tables *t,
                                                   struct table_report report[DYNAMODB_TABLE_COUNT],
                                                   size_t *count, struct err *err);

/* Creates the tables that do not exist, billed on demand, waits until they can be used, and switches
 * point-in-time recovery on; leaves those that exist as they are, after the same check. */
KPI_MUST_CHECK enum kpi_code dynamodb_tables_create(struct aws *a, const struct dynamodb_tables *t,
                                                    struct table_report report[DYNAMODB_TABLE_COUNT],
                                                    size_t *count, struct err *err);

#endif
