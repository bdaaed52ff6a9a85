/* SPDX-License-Identifier: MIT
 * The items of the three tables as DynamoDB's JSON: KPI rows and the control row of a date. Shapes: README,
 * "DynamoDB tables". Knows no protocol. */
#ifndef KPID_PIPELINE_DYNAMODB_ITEMS_H
#define KPID_PIPELINE_DYNAMODB_ITEMS_H

#include "pipeline/kpi_table.h"
#include "pipeline/names.h"
#include "pipeline/publish_flow.h"

#include <jansson.h>

enum item_shape {
  SHAPE_FULL,    /* all columns, and who published the item when */
  SHAPE_ORIGINAL /* the attributes of the job that kpid replaces, nothing else */
};

enum { CONTROL_PK_SIZE = 32 };

/* Who publishes, when; stamped on full items. */
struct item_stamp {
  const char *run_id;
  const char *published_at; /* RFC 3339 */
  uint64_t version;         /* of the date; 0: none (plain mode) */
};

/* Returns owned: the item of a row. NULL when memory is exhausted. */
json_t *dynamodb_kpi_item(const struct kpi_row *row, enum kpi_table table, enum item_shape shape,
                          const struct item_stamp *stamp);

/* Returns owned: the key of a row; category is not looked at for the order table. */
json_t *dynamodb_kpi_key(enum kpi_table table, day_t day, struct view category);

/* The control row of a date as stored. Zero-initialise; control_row_clear releases it. */
struct control_row {
  struct publish_control control;
  char digest[SHA256_HEX_SIZE]; /* of what is published */
  uint64_t orders;              /* total_orders of what is published */
  struct names categories;      /* of what is published, sealed */
  struct names pending_categories;
};

/* Accepts NULL. */
void control_row_clear(struct control_row *c);

/* Reads an item (NULL: there is none). False when it is not a control row, or memory is exhausted. */
bool control_row_read(const json_t *item, struct control_row *out);

/* Writes "date#2026-11-24". */
void control_pk(day_t day, char out[CONTROL_PK_SIZE]);

/* Returns owned: {"pk": {"S": pk}}. */
json_t *control_key(const char *pk);

/* Returns owned: {"L": [{"S": name}, ...]}. */
json_t *control_names(const struct names *names);

#endif
