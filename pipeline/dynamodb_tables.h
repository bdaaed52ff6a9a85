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

enum table_finding { TABLE_UNUSABLE, TABLE_OK, TABLE_CREATED };
enum table_recovery { RECOVERY_UNKNOWN, RECOVERY_ON, RECOVERY_UNSUPPORTED };

/* What was found out about one table, and done. */
struct table_report {
  const char *name;
  enum table_finding finding;
  enum table_recovery recovery; /* unknown unless it was asked for */
  struct err trouble;           /* KPI_OK: none */
};

/* Checks that each table exists, is usable and has its keys. `report` (may be NULL) gets one entry a table;
 * *count says how many. Errors: KPI_DYNAMODB_TABLE_MISSING, KPI_DYNAMODB_SCHEMA_MISMATCH, those of
 * dynamodb_call. */
KPI_MUST_CHECK enum kpi_code dynamodb_tables_check(struct aws *a, const struct dynamodb_tables *t,
                                                   struct table_report report[DYNAMODB_TABLE_COUNT],
                                                   size_t *count, struct err *err);

/* Creates the tables that do not exist, billed on demand, waits until they can be used, and switches
 * point-in-time recovery on, also for those that exist, after the same check. Goes on with the others when
 * one is in trouble; the error is that of the first such, and the report is whole all the same. */
KPI_MUST_CHECK enum kpi_code dynamodb_tables_create(struct aws *a, const struct dynamodb_tables *t,
                                                    struct table_report report[DYNAMODB_TABLE_COUNT],
                                                    size_t *count, struct err *err);

#endif
