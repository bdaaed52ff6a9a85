/* SPDX-License-Identifier: MIT
 * Made-up shop data in the shape of the real one: orders, their items over a few days, products in
 * categories. The same seed gives the same bytes. */
#ifndef KPID_PIPELINE_SAMPLE_H
#define KPID_PIPELINE_SAMPLE_H

#include "base/err.h"
#include "pipeline/day.h"

enum { SAMPLE_DAYS_MAX = 3660 };

struct sample {
  const char *out; /* folder; made when missing */
  uint64_t orders;
  uint64_t days; /* 1 to SAMPLE_DAYS_MAX; the orders are spread over from..from+days-1 */
  day_t from;
  uint64_t seed;
  bool is_dirty; /* some rows have bad dates and prices, repeated ids, unknown products, other spellings */
};

/* Writes out/orders, out/order_items and out/products as CSV parts. Errors: KPI_USAGE (a file cannot be
 * written), KPI_DISK_FULL. */
KPI_MUST_CHECK enum kpi_code sample_write(const struct sample *s, struct err *err);

#endif
