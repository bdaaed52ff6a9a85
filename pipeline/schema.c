/* SPDX-License-Identifier: MIT */
#include "pipeline/schema.h"

static const struct schema schemas[DATASET_COUNT] = {
    [DATASET_ORDERS] = {"orders",
                        {[ORDERS_ORDER_ID] = {"order_id", false},
                         [ORDERS_USER_ID] = {"user_id", false},
                         [ORDERS_CREATED_AT] = {"created_at", false},
                         [ORDERS_STATUS] = {"status", true}},
                        4},
    [DATASET_ORDER_ITEMS] = {"order_items",
                             {[ITEMS_ID] = {"id", false},
                              [ITEMS_ORDER_ID] = {"order_id", false},
                              [ITEMS_PRODUCT_ID] = {"product_id", false},
                              [ITEMS_STATUS] = {"status", false},
                              [ITEMS_CREATED_AT] = {"created_at", false},
                              [ITEMS_SALE_PRICE] = {"sale_price", false}},
                             6},
    [DATASET_PRODUCTS] = {"products",
                          {[PRODUCTS_ID] = {"id", false}, [PRODUCTS_CATEGORY] = {"category", false}},
                          2},
};

const struct schema *schema_of(enum dataset d) {
  return &schemas[d];
}
