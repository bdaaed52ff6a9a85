/* SPDX-License-Identifier: MIT */
#include "pipeline/quality_history.h"

#include <stdlib.h>

enum { DAYS_PER_WEEK = 7, PERCENT = 100 };

static double value_of(const struct kpi_row *row, enum history_kpi kpi) {
  switch (kpi) {
  case HISTORY_ORDERS:
    return (double)row->orders;
  case HISTORY_REVENUE:
    return decimal_ratio(&row->revenue, 1);
  case HISTORY_ITEMS:
    return (double)row->items;
  case HISTORY_CUSTOMERS:
    return (double)row->customers;
  case HISTORY_RETURN_RATE:
    break;
  }
  return row->return_rate;
}

/* What is compared: all days, and those of the same weekday. */
struct samples {
  double all[HISTORY_DAYS], weekday[HISTORY_DAYS];
  unsigned all_count, weekday_count;
};

/* The first row of a day or of those after it. */
static size_t first_from(const struct kpi_rows *rows, day_t day) {
  size_t low = 0, high = rows->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (rows->rows[middle].day < day)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void collect(const struct kpi_row *row, const struct kpi_rows *history, enum history_kpi kpi,
                    struct samples *s) {
  for (size_t i = first_from(history, row->day - HISTORY_DAYS); i < history->count; i++) {
    const struct kpi_row *past = &history->rows[i];
    if (past->day >= row->day || s->all_count == HISTORY_DAYS)
      return;
    s->all[s->all_count++] = value_of(past, kpi);
    if ((row->day - past->day) % DAYS_PER_WEEK == 0)
      s->weekday[s->weekday_count++] = value_of(past, kpi);
  }
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *values, unsigned count) {
  qsort(values, count, sizeof *values, compare);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static double slack_of(double center, enum history_kpi kpi) {
  double slack = (center < 0 ? -center : center) * HISTORY_DEVIATION_PERCENT / PERCENT;
  double least = kpi == HISTORY_RETURN_RATE ? (double)HISTORY_RATE_SLACK_PERCENT / PERCENT : 0;
  return slack < least ? least : slack;
}

struct history_verdict history_judge(const struct kpi_row *row, const struct kpi_rows *history,
                                     enum history_kpi kpi) {
  struct samples s = {.all_count = 0};
  collect(row, history, kpi, &s);
  struct history_verdict v = {.days = s.all_count, .value = value_of(row, kpi)};
  v.is_judged = s.all_count >= HISTORY_DAYS_MIN;
  if (!v.is_judged)
    return v;
  v.is_weekday = s.weekday_count >= HISTORY_WEEKDAYS_MIN;
  v.measure = v.is_weekday ? s.weekday_count : s.all_count;
  v.median = median(v.is_weekday ? s.weekday : s.all, v.measure);
  double slack = slack_of(v.median, kpi);
  v.low = v.median - slack;
  v.high = v.median + slack;
  if (v.low < 0 && v.median >= 0)
    v.low = 0;
  return v;
}

bool history_deviates(const struct history_verdict *v) {
  return v->is_judged && (v->value < v->low || v->value > v->high);
}

bool history_is_lost(const struct history_verdict *v) {
  return v->is_judged && v->value == 0 && v->median > 0;
}
