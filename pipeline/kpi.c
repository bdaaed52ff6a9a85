/* SPDX-License-Identifier: MIT */
#include "pipeline/kpi.h"

/* Averages and rates are the double nearest to the exact quotient; over zero orders they are 0. A rate is a
 * ratio, not a percentage, and may exceed 1: one order with five returned items gives 5. */
static void fill(const struct kpi_totals *t, struct kpi_row *row) {
  row->revenue = t->revenue;
  row->orders = t->orders;
  row->returned_items = t->returned_item_rows;
  row->returned_orders = t->returned_orders;
  row->returned_orders_known = t->returned_orders_known;
  row->avg_order_value = decimal_ratio(&t->revenue, t->orders);
  row->return_rate = count_ratio(t->returned_item_rows, t->orders);
  row->orders_returned_rate = count_ratio(t->returned_orders, t->orders);
}

void kpi_order_day(const struct kpi_totals *t, struct kpi_row *row) {
  fill(t, row);
  row->items = t->distinct_items;
  row->customers = t->customers;
}

void kpi_category_day(const struct kpi_totals *t, struct kpi_row *row) {
  fill(t, row);
  row->items = t->item_rows;
}
