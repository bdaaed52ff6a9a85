/* SPDX-License-Identifier: MIT
 * Every business formula and rounding rule, and nothing else: from the totals of a group to the row that is
 * published. */
#ifndef KPID_PIPELINE_KPI_H
#define KPID_PIPELINE_KPI_H

#include "pipeline/kpi_table.h"

/* Totals of one group: an order day, or a category on a day. */
struct kpi_totals {
  struct decimal revenue;      /* sum(sale_price) of its joined item rows; nulls add nothing */
  uint64_t orders;             /* count(distinct order_id) */
  uint64_t item_rows;          /* joined item rows */
  uint64_t distinct_items;     /* count(distinct item id) */
  uint64_t customers;          /* count(distinct user_id) */
  uint64_t returned_item_rows; /* joined item rows with status returned */
  uint64_t returned_orders;    /* orders with status returned; category: orders with such an item */
  bool returned_orders_known;
};

/* Fills the metrics of an order day: total_orders, total_revenue, total_items_sold = count(distinct item id),
 * return_rate = returned item rows / orders, unique_customers, avg_order_value = revenue / orders. */
void kpi_order_day(const struct kpi_totals *t, struct kpi_row *row);

/* Fills the metrics of a category on a day: daily_revenue, avg_order_value = revenue / orders,
 * avg_return_rate = returned item rows / orders. */
void kpi_category_day(const struct kpi_totals *t, struct kpi_row *row);

#endif
