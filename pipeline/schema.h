/* SPDX-License-Identifier: MIT
 * The three input data sets and the columns of each, as data. Knows no file format. */
#ifndef KPID_PIPELINE_SCHEMA_H
#define KPID_PIPELINE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

enum dataset { DATASET_ORDERS, DATASET_ORDER_ITEMS, DATASET_PRODUCTS, DATASET_COUNT };

/* Positions of the columns in a row's cells. */
enum orders_column { ORDERS_ORDER_ID, ORDERS_USER_ID, ORDERS_CREATED_AT, ORDERS_STATUS };
enum items_column {
  ITEMS_ID,
  ITEMS_ORDER_ID,
  ITEMS_PRODUCT_ID,
  ITEMS_STATUS,
  ITEMS_CREATED_AT,
  ITEMS_SALE_PRICE
};
enum products_column { PRODUCTS_ID, PRODUCTS_CATEGORY };

enum { COLUMNS_MAX = 6 };

struct column {
  const char *name;
  bool optional;
};

struct schema {
  const char *name; /* folder and public name */
  struct column columns[COLUMNS_MAX];
  size_t column_count;
};

/* Returns the schema of a data set. */
const struct schema *schema_of(enum dataset d);

#endif
