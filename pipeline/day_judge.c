/* SPDX-License-Identifier: MIT */
#include "pipeline/day_judge.h"

enum { CATEGORIES_A_DAY_MAX = 5000 };

bool day_has_too_many_categories(day_t day, uint64_t categories, struct err *err) {
  char text[DAY_TEXT_SIZE];
  if (categories <= CATEGORIES_A_DAY_MAX)
    return false;
  err_set(err, KPI_VALUE_UNPARSABLE, "%s has more than %d categories; is the category column right?",
          day_text(day, text), CATEGORIES_A_DAY_MAX);
  return true;
}

/* Fills err, naming the first, when more rows were left out than the job allows. */
static bool has_too_many_bad_rows(const struct quality_facts *facts, struct err *err) {
  static const struct {
    enum check_id check;
    enum dataset dataset;
    int column;
  } reasons[] = {{CHECK_ORDERS_TIMESTAMP, DATASET_ORDERS, ORDERS_CREATED_AT},
                 {CHECK_ITEMS_TIMESTAMP, DATASET_ORDER_ITEMS, ITEMS_CREATED_AT},
                 {CHECK_PRICE_NOT_FINITE, DATASET_ORDER_ITEMS, ITEMS_SALE_PRICE}};
  const struct quality_tally *t = facts->tally;
  uint64_t bad = 0, rows = 0;
  for (int d = 0; d < DATASET_COUNT; d++) {
    bad += t->bad_rows[d];
    rows += facts->rows[d];
  }
  if (!bad_rows_exceed(&facts->job->max_bad_rows, bad, rows))
    return false;
  err_set(err, KPI_TOO_MANY_BAD_ROWS, "%llu of %llu rows are bad, more than allowed", (unsigned long long)bad,
          (unsigned long long)rows);
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
    const struct finding *f = &t->found[reasons[i].check];
    if (f->example_count == 0)
      continue;
    const struct finding_example *e = &f->examples[0];
    const char *object = facts->listing->datasets[reasons[i].dataset].at[e->place.object].name;
    const char *column = schema_of(reasons[i].dataset)->columns[reasons[i].column].name;
    err_set(err, KPI_TOO_MANY_BAD_ROWS,
            "%llu of %llu rows are bad, more than allowed; the first: %s:%llu: %s: \"%s\"",
            (unsigned long long)bad, (unsigned long long)rows, object, (unsigned long long)e->place.line,
            column, e->value);
    view_to_cstr(view_of(object), err->object, sizeof err->object);
    view_to_cstr(view_of(column), err->column, sizeof err->column);
    err->line = e->place.line;
    view_to_cstr(view_of(e->value), err->value, sizeof err->value);
    break;
  }
  return true;
}

enum kpi_code day_judge(const struct quality_facts *facts, struct quality *out, bool *fails, struct err *why,
                        struct err *err) {
  enum kpi_code rc = quality_report(facts, out, err);
  *fails = rc == KPI_OK && has_too_many_bad_rows(facts, why);
  return rc;
}
