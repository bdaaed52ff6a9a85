/* SPDX-License-Identifier: MIT
 * A day beside the days before it: whether its KPIs are where the last four weeks let expect them. Pure; the
 * history is data that the caller hands in. Knows no SQL and no report. */
#ifndef KPID_PIPELINE_QUALITY_HISTORY_H
#define KPID_PIPELINE_QUALITY_HISTORY_H

#include "pipeline/kpi_table.h"

enum {
  HISTORY_DAYS = 28,              /* how far it reaches back */
  HISTORY_DAYS_MIN = 7,           /* fewer published days among these: not judged */
  HISTORY_WEEKDAYS_MIN = 3,       /* so many of the same weekday: they are the measure, else all days are */
  HISTORY_DEVIATION_PERCENT = 50, /* of the median, up or down */
  HISTORY_RATE_SLACK_PERCENT = 5  /* percentage points that a return rate may always differ */
};

enum history_kpi { HISTORY_ORDERS, HISTORY_REVENUE, HISTORY_ITEMS, HISTORY_CUSTOMERS, HISTORY_RETURN_RATE };

/* Where a KPI stands. Doubles: nothing that is published is made of them. */
struct history_verdict {
  bool is_judged;   /* false: too few days */
  unsigned days;    /* published days of the history */
  unsigned measure; /* days that the median is of */
  bool is_weekday;  /* these are the same weekday */
  double value, median, low, high;
};

/* Compares one KPI of `row` with the rows of the days before it, among rows that are sorted by day. */
struct history_verdict history_judge(const struct kpi_row *row, const struct kpi_rows *history,
                                     enum history_kpi kpi);

/* True when the value is outside low..high. */
bool history_deviates(const struct history_verdict *v);

/* True when the value is zero and the median is more. */
bool history_is_lost(const struct history_verdict *v);

#endif
