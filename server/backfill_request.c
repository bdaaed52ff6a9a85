/* SPDX-License-Identifier: MIT */
#include "server/backfill_request.h"

#include <stdlib.h>

/* ---- days ---- */

static int compare_days(const void *a, const void *b) {
  day_t x = *(const day_t *)a, y = *(const day_t *)b;
  return (x > y) - (x < y);
}

static void too_long(struct problem *p, size_t days) {
  p->code = KPI_RANGE_TOO_LONG;
  problem_add(p, "", "%zu days are more than the %d that one backfill may have; send several.", days,
              BACKFILL_DAYS_MAX);
}

/* Makes room for so many days. False when they are too many or there is no memory. */
static bool make_days(struct backfill_submission *s, size_t count, struct problem *p) {
  if (count > BACKFILL_DAYS_MAX)
    too_long(p, count);
  else
    s->days = calloc(count, sizeof *s->days);
  s->request.days = s->days;
  return s->days;
}

static void read_range(const struct request *rq, const json_t *start, const json_t *end,
                       struct backfill_submission *s, struct problem *p) {
  static const char what[] = "Must be a real date as YYYY-MM-DD, or \"yesterday\" or \"today\".";
  day_t from, to;
  bool has_from = submission_date(start, rq, &from), has_to = submission_date(end, rq, &to);
  if (!has_from)
    problem_add(p, "/start_date", what);
  if (!has_to)
    problem_add(p, "/end_date", what);
  if (!has_from || !has_to)
    return;
  if (from > to) {
    problem_add(p, "/end_date", "Must not be before start_date; both are part of the range.");
    return;
  }
  if (make_days(s, (size_t)(to - from) + 1, p))
    for (day_t day = from; day <= to; day++)
      s->days[s->request.count++] = day;
}

static void read_list(const struct request *rq, const json_t *dates, struct backfill_submission *s,
                      struct problem *p) {
  size_t count = json_array_size(dates), kept = 0;
  if (count == 0) {
    problem_add(p, "/dates", "Must be an array of dates, at least one.");
    return;
  }
  if (!make_days(s, count, p))
    return;
  for (size_t i = 0; i < count; i++)
    if (!submission_date(json_array_get(dates, i), rq, &s->days[i]))
      problem_add(p, "/dates", "Item %zu must be a real date as YYYY-MM-DD, or \"yesterday\" or \"today\".",
                  i);
  qsort(s->days, count, sizeof *s->days, compare_days);
  for (size_t i = 0; i < count; i++)
    if (i == 0 || s->days[i] != s->days[i - 1])
      s->days[kept++] = s->days[i];
  s->request.count = kept;
}

static void read_days(const struct request *rq, const json_t *body, struct backfill_submission *s,
                      struct problem *p) {
  const json_t *start = json_object_get(body, "start_date"), *end = json_object_get(body, "end_date");
  const json_t *dates = json_object_get(body, "dates");
  bool all = body_boolean(body, "all", false, p);
  int ways = (start || end) + (dates != NULL) + all;
  if (ways != 1)
    problem_add(p, "/start_date", "Send start_date and end_date, or dates, or all: true; one of these.");
  else if (dates)
    read_list(rq, dates, s, p);
  else if (!all)
    read_range(rq, start, end, s, p);
}

/* ---- whole ---- */

static void read_fields(const struct request *rq, const json_t *body, void *arg, struct problem *p) {
  struct backfill_submission *s = arg;
  const json_t *reprocess = json_object_get(body, "reprocess"), *order = json_object_get(body, "order");
  s->request.reprocess = REPROCESS_FAILED;
  if (reprocess && !reprocess_of(body_text(reprocess), &s->request.reprocess))
    problem_add(p, "/reprocess", "Must be \"missing\", \"failed\", \"changed\" or \"all\".");
  s->request.is_descending = view_is(body_text(order), "desc");
  if (order && !s->request.is_descending && !view_is(body_text(order), "asc"))
    problem_add(p, "/order", "Must be \"asc\" or \"desc\".");
  s->is_dry_run = body_boolean(body, "dry_run", false, p);
  read_days(rq, body, s, p);
}

static void identify(const json_t *body, const void *arg, struct buf *out) {
  const struct backfill_submission *s = arg;
  static const char *const texts[] = {"start_date", "end_date", NULL};
  const json_t *date;
  size_t i;
  buf_add_cstr(out, "backfill\n");
  for (const char *const *name = texts; *name; name++) {
    buf_add_json(out, body_text(json_object_get(body, *name)));
    buf_add_char(out, '\n');
  }
  json_array_foreach(json_object_get(body, "dates"), i, date) {
    buf_add_json(out, body_text(date));
    buf_add_char(out, ',');
  }
  buf_printf(out, "\n%s %d\n", reprocess_name(s->request.reprocess), s->request.is_descending);
}

bool backfill_submission_read(struct request *rq, struct reply *rp, struct backfill_submission *s) {
  static const char *const known[] = {"start_date",      "end_date",     "dates",    "all",
                                      "reprocess",       "order",        "dry_run",  "engine",
                                      "publish",         "quality_gate", "bad_rows", "max_bad_rows",
                                      "labels",          "reason",       "force",    "idempotency_key",
                                      "timeout_seconds", "max_attempts", NULL};
  static const char *const booleans[] = {"all", "dry_run", "publish", "force", NULL};
  static const char *const numbers[] = {"timeout_seconds", "max_attempts", NULL};
  static const struct body_form form = {booleans, numbers};
  static const struct submission_kind kind = {known, &form, read_fields, identify};
  *s = (struct backfill_submission){.request = {.run = &s->common.request}};
  return submission_read_as(rq, rp, &kind, s, &s->common);
}

void backfill_submission_clear(struct backfill_submission *s) {
  submission_clear(&s->common);
  free(s->days);
}
