/* SPDX-License-Identifier: MIT
 * Publishing a day in one instant: what publish_flow asks for, done with transactions of DynamoDB. */
#ifndef KPID_PIPELINE_PUBLISH_ATOMIC_H
#define KPID_PIPELINE_PUBLISH_ATOMIC_H

#include "pipeline/dynamodb_items.h"
#include "pipeline/dynamodb_tables.h"
#include "pipeline/publish.h"

/* Where to, and in which shape. aws is borrowed. */
struct publish_target {
  struct aws *aws;
  struct dynamodb_tables tables;
  enum item_shape shape;
};

/* Reads the control row of a day, consistently. Returns owned in *out. Errors: those of dynamodb_call;
 * KPI_DYNAMODB_SCHEMA_MISMATCH when the row is none of ours. */
KPI_MUST_CHECK enum kpi_code publish_control_get(const struct publish_target *t, day_t day,
                                                 const struct stop_flag *stop, struct control_row *out,
                                                 struct err *err);

/* Replaces the rows of a day, given the control row as it was before the inputs were listed. Is not stopped
 * half-way. Errors: KPI_NEWER_RUN_PUBLISHED, KPI_DYNAMODB_VALIDATION when the categories do not fit into a
 * control row, those of dynamodb_call. */
KPI_MUST_CHECK enum kpi_code publish_atomic(const struct publish_target *t, day_t day,
                                            const struct control_row *observed,
                                            const struct publish_order *order,
                                            struct publish_counts out[KPI_TABLE_COUNT], struct err *err);

#endif
