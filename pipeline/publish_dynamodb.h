/* SPDX-License-Identifier: MIT
 * Publishing to the two KPI tables of DynamoDB: `atomic` by the protocol of publish_flow with a control
 * table, or `plain`, item by item, with the permissions of the job that kpid replaces. */
#ifndef KPID_PIPELINE_PUBLISH_DYNAMODB_H
#define KPID_PIPELINE_PUBLISH_DYNAMODB_H

#include "pipeline/dynamodb_items.h"
#include "pipeline/dynamodb_tables.h"
#include "pipeline/publish.h"

enum publish_mode { PUBLISH_ATOMIC, PUBLISH_PLAIN };

struct publish_dynamodb_options {
  struct dynamodb_tables tables;
  enum publish_mode mode;
  enum item_shape shape;
};

/* Returns owned, NULL when memory is exhausted. Borrows aws and the names. Takes `then`, which publishes as
 * well after DynamoDB has taken everything, and knows what was published before where the tables are not
 * asked. */
struct publisher *publish_dynamodb_new(struct aws *aws, const struct publish_dynamodb_options *options,
                                       struct publisher *then);

#endif
