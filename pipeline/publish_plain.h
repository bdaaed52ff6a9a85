/* SPDX-License-Identifier: MIT
 * Publishing a day item by item, as the job that kpid replaces did: needs no more than
 * dynamodb:BatchWriteItem on the two KPI tables, deletes nothing, and a reader may see a day half written. */
#ifndef KPID_PIPELINE_PUBLISH_PLAIN_H
#define KPID_PIPELINE_PUBLISH_PLAIN_H

#include "pipeline/publish_atomic.h"

/* Writes the category rows, then the order row. May be repeated. Errors: KPI_DYNAMODB_THROTTLED when items
 * stay unprocessed, those of dynamodb_call. */
KPI_MUST_CHECK enum kpi_code publish_plain(const struct publish_target *t, const struct publish_order *order,
                                           struct publish_counts out[KPI_TABLE_COUNT], struct err *err);

#endif
