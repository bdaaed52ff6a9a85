/* SPDX-License-Identifier: MIT */
#include "pipeline/plain_day.h"

void plain_range_settle(const struct plain_range *r, struct column_stats *stats) {
  column_stats_number(stats, (int64_t)~r->max_inverted);
  column_stats_number(stats, (int64_t)r->max);
}

void plain_statuses_settle(const struct plain_statuses *s, uint32_t bits, struct column_stats *stats) {
  for (size_t i = 0; i < PLAIN_STATUS_HOMES; i++)
    if (s->homes[i].bit & bits)
      column_stats_text(stats, view_of(s->homes[i].text));
}
