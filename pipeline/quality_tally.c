/* SPDX-License-Identifier: MIT */
#include "pipeline/quality.h"

#include <string.h>

void column_stats_number(struct column_stats *s, int64_t value) {
  if (s->kind == STATS_NONE || value < s->number.min)
    s->number.min = value;
  if (s->kind == STATS_NONE || value > s->number.max)
    s->number.max = value;
  s->kind = STATS_NUMBER;
}

void column_stats_money(struct column_stats *s, const struct decimal *value) {
  if (s->kind == STATS_NONE || decimal_cmp(value, &s->money.min) < 0)
    s->money.min = *value;
  if (s->kind == STATS_NONE || decimal_cmp(value, &s->money.max) > 0)
    s->money.max = *value;
  s->kind = STATS_MONEY;
}

void column_stats_text(struct column_stats *s, struct view value) {
  if (value.len > FINDING_VALUE_BYTES - 1)
    value.len = FINDING_VALUE_BYTES - 1;
  if (s->kind == STATS_NONE || view_cmp(value, view_of(s->text.min)) < 0)
    view_to_cstr(value, s->text.min, sizeof s->text.min);
  if (s->kind == STATS_NONE || view_cmp(value, view_of(s->text.max)) > 0)
    view_to_cstr(value, s->text.max, sizeof s->text.max);
  s->kind = STATS_TEXT;
}

static void column_stats_merge(struct column_stats *s, const struct column_stats *from) {
  s->nulls += from->nulls;
  switch (from->kind) {
  case STATS_NONE:
    break;
  case STATS_NUMBER:
    column_stats_number(s, from->number.min);
    column_stats_number(s, from->number.max);
    break;
  case STATS_MONEY:
    column_stats_money(s, &from->money.min);
    column_stats_money(s, &from->money.max);
    break;
  case STATS_TEXT:
    column_stats_text(s, view_of(from->text.min));
    column_stats_text(s, view_of(from->text.max));
    break;
  }
}

/* ---- statuses ---- */

/* The words that shops use; compared folded and trimmed. */
static const char *const known_statuses[] = {"complete", "completed", "pending",   "processing",
                                             "shipped",  "delivered", "cancelled", "canceled",
                                             "returned", "refunded",  NULL};

static bool is_known_status(struct view status) {
  for (const char *const *known = known_statuses; *known; known++)
    if (view_eq_fold(status, view_of(*known)))
      return true;
  return false;
}

/* Looks like returned to a reader, does not count as it by the rule of the job. */
static bool is_near_miss(struct view raw, enum status_match match) {
  struct view status = view_trim(raw);
  if (view_eq_fold(status, view_of("returned")))
    return match == STATUS_EXACT && !view_is(raw, "returned");
  struct view stem = {status.ptr, status.len < 5 ? status.len : 5};
  return view_eq_fold(stem, view_of("retur")) || view_eq_fold(status, view_of("refunded"));
}

static struct status_verdict judge(struct view status, enum status_match match) {
  return (struct status_verdict){is_known_status(view_trim(status)), is_near_miss(status, match)};
}

struct status_verdict status_judge(struct status_cache *c, struct view status, enum status_match match) {
  if (c->last < c->count && view_is(status, c->at[c->last].text))
    return c->at[c->last].verdict;
  for (c->last = 0; c->last < c->count; c->last++)
    if (view_is(status, c->at[c->last].text))
      return c->at[c->last].verdict;
  struct status_verdict verdict = judge(status, match);
  if (c->count < STATUS_CACHE_MAX && view_to_cstr(status, c->at[c->count].text, FINDING_VALUE_BYTES))
    c->at[c->count++].verdict = verdict;
  return verdict;
}

/* ---- merging ---- */

void quality_tally_merge(struct quality_tally *t, const struct quality_tally *from) {
  for (int c = 0; c < CHECK_COUNT; c++)
    finding_merge(&t->found[c], &from->found[c]);
  for (int d = 0; d < DATASET_COUNT; d++) {
    t->relevant[d] += from->relevant[d];
    t->bad_rows[d] += from->bad_rows[d];
    for (int c = 0; c < COLUMNS_MAX; c++)
      column_stats_merge(&t->columns[d][c], &from->columns[d][c]);
  }
  decimal_add(&t->item_revenue, &from->item_revenue);
  decimal_add(&t->dropped_revenue, &from->dropped_revenue);
  decimal_add(&t->orphan_revenue, &from->orphan_revenue);
}

void quality_tally_clear(struct quality_tally *t) {
  for (int c = 0; c < CHECK_COUNT; c++)
    finding_clear(&t->found[c]);
  *t = (struct quality_tally){0};
}
