/* SPDX-License-Identifier: MIT */
#include "pipeline/quality.h"

#include <string.h>

void column_stats_number(struct column_stats *s, int64_t value) {
  if (!s->has_number || value < s->min_number)
    s->min_number = value;
  if (!s->has_number || value > s->max_number)
    s->max_number = value;
  s->has_number = true;
}

void column_stats_money(struct column_stats *s, const struct decimal *value) {
  if (!s->has_money || decimal_cmp(value, &s->min_money) < 0)
    s->min_money = *value;
  if (!s->has_money || decimal_cmp(value, &s->max_money) > 0)
    s->max_money = *value;
  s->has_money = true;
}

void column_stats_text(struct column_stats *s, struct view value) {
  if (value.len > FINDING_VALUE_BYTES - 1)
    value.len = FINDING_VALUE_BYTES - 1;
  if (!s->has_text || view_cmp(value, view_of(s->min_text)) < 0)
    view_to_cstr(value, s->min_text, sizeof s->min_text);
  if (!s->has_text || view_cmp(value, view_of(s->max_text)) > 0)
    view_to_cstr(value, s->max_text, sizeof s->max_text);
  s->has_text = true;
}

static void column_stats_merge(struct column_stats *s, const struct column_stats *from) {
  s->nulls += from->nulls;
  if (from->has_number) {
    column_stats_number(s, from->min_number);
    column_stats_number(s, from->max_number);
  }
  if (from->has_money) {
    column_stats_money(s, &from->min_money);
    column_stats_money(s, &from->max_money);
  }
  if (from->has_text) {
    column_stats_text(s, view_of(from->min_text));
    column_stats_text(s, view_of(from->max_text));
  }
}

/* Adds `count` rows with that status. */
static void tally(struct status_tally *t, struct view status, struct place place, uint64_t count) {
  if (t->last >= t->count || !view_is(status, t->at[t->last].text))
    for (t->last = 0; t->last < t->count && !view_is(status, t->at[t->last].text);)
      t->last++;
  if (t->last == STATUS_TALLY_MAX) {
    t->others += count;
    return;
  }
  if (t->last == t->count) {
    view_to_cstr(status, t->at[t->count].text, sizeof t->at[0].text);
    t->at[t->count++].first = place;
  }
  if (place_cmp(place, t->at[t->last].first) < 0)
    t->at[t->last].first = place;
  t->at[t->last].count += count;
}

void status_tally_add(struct status_tally *t, struct view status, struct place place) {
  if (status.len > FINDING_VALUE_BYTES - 1)
    status.len = FINDING_VALUE_BYTES - 1;
  tally(t, status, place, 1);
}

static void status_tally_merge(struct status_tally *t, const struct status_tally *from) {
  for (size_t i = 0; i < from->count; i++)
    tally(t, view_of(from->at[i].text), from->at[i].first, from->at[i].count);
  t->others += from->others;
}

void quality_tally_merge(struct quality_tally *t, const struct quality_tally *from) {
  for (int c = 0; c < CHECK_COUNT; c++)
    finding_merge(&t->found[c], &from->found[c]);
  for (int d = 0; d < DATASET_COUNT; d++) {
    t->relevant[d] += from->relevant[d];
    t->bad_rows[d] += from->bad_rows[d];
    for (int c = 0; c < COLUMNS_MAX; c++)
      column_stats_merge(&t->columns[d][c], &from->columns[d][c]);
  }
  status_tally_merge(&t->order_statuses, &from->order_statuses);
  status_tally_merge(&t->item_statuses, &from->item_statuses);
  decimal_add(&t->item_revenue, &from->item_revenue);
  decimal_add(&t->dropped_revenue, &from->dropped_revenue);
  decimal_add(&t->orphan_revenue, &from->orphan_revenue);
}
