/* SPDX-License-Identifier: MIT */
#include "pipeline/quality.h"

#include "base/clock.h"
#include "base/scope.h"
#include "pipeline/double_text.h"
#include "pipeline/quality_history.h"

#include <stdio.h>
#include <string.h>

enum { REPORT_BYTES_MAX = 1024 * 1024, OBSERVED_BYTES = 256, MS_PER_SECOND = 1000 };

/* What a count is a share of. */
enum check_base { OF_ROWS, OF_RELEVANT, OF_ONE };

struct check {
  const char *id, *title;
  enum dataset dataset;
  const char *column; /* NULL: the whole row or set */
  bool blocking;      /* error level: fails instead of warning */
  enum check_base base;
  const char *expected;
};

#define ORDERS DATASET_ORDERS
#define ITEMS DATASET_ORDER_ITEMS
#define PRODUCTS DATASET_PRODUCTS

static const struct check checks[CHECK_COUNT] = {
    [CHECK_ORDERS_HEADER] = {"orders_repeated_header", "No header line among the rows", ORDERS, NULL, false,
                             OF_ROWS, "0 lines"},
    [CHECK_ITEMS_HEADER] = {"order_items_repeated_header", "No header line among the rows", ITEMS, NULL,
                            false, OF_ROWS, "0 lines"},
    [CHECK_PRODUCTS_HEADER] = {"products_repeated_header", "No header line among the rows", PRODUCTS, NULL,
                               false, OF_ROWS, "0 lines"},
    [CHECK_ORDERS_RAGGED] = {"orders_ragged_rows", "Rows have as many cells as the header", ORDERS, NULL,
                             false, OF_ROWS, "0 rows"},
    [CHECK_ITEMS_RAGGED] = {"order_items_ragged_rows", "Rows have as many cells as the header", ITEMS, NULL,
                            false, OF_ROWS, "0 rows"},
    [CHECK_PRODUCTS_RAGGED] = {"products_ragged_rows", "Rows have as many cells as the header", PRODUCTS,
                               NULL, false, OF_ROWS, "0 rows"},
    [CHECK_ORDERS_ENCODING] = {"orders_encoding", "Rows are valid UTF-8", ORDERS, NULL, false, OF_ROWS,
                               "0 rows"},
    [CHECK_ITEMS_ENCODING] = {"order_items_encoding", "Rows are valid UTF-8", ITEMS, NULL, false, OF_ROWS,
                              "0 rows"},
    [CHECK_PRODUCTS_ENCODING] = {"products_encoding", "Rows are valid UTF-8", PRODUCTS, NULL, false, OF_ROWS,
                                 "0 rows"},
    [CHECK_ORDERS_TIMESTAMP] = {"orders_created_at_parses", "Every order has a usable date", ORDERS,
                                "created_at", false, OF_ROWS, "0 rows left out"},
    [CHECK_ITEMS_TIMESTAMP] = {"order_items_created_at_parses", "Every item has a usable date", ITEMS,
                               "created_at", false, OF_ROWS, "0 rows left out"},
    [CHECK_ORDER_ID_NULL] = {"orders_order_id_not_null", "Every order has an id", ORDERS, "order_id", false,
                             OF_RELEVANT, "0 nulls"},
    [CHECK_USER_ID_NULL] = {"orders_user_id_not_null", "Every order has a customer", ORDERS, "user_id", false,
                            OF_RELEVANT, "0 nulls"},
    [CHECK_ITEM_ID_NULL] = {"order_items_id_not_null", "Every item has an id", ITEMS, "id", false,
                            OF_RELEVANT, "0 nulls"},
    [CHECK_ITEM_ORDER_NULL] = {"order_items_order_id_not_null", "Every item names its order", ITEMS,
                               "order_id", false, OF_RELEVANT, "0 nulls"},
    [CHECK_ITEM_PRODUCT_NULL] = {"order_items_product_id_not_null", "Every item names its product", ITEMS,
                                 "product_id", false, OF_RELEVANT, "0 nulls"},
    [CHECK_PRODUCT_ID_NULL] = {"products_id_not_null", "Every product has an id", PRODUCTS, "id", false,
                               OF_ROWS, "0 nulls"},
    [CHECK_CATEGORY_NULL] = {"products_category_not_null", "Every product has a category", PRODUCTS,
                             "category", false, OF_ROWS, "0 nulls"},
    [CHECK_ORDER_ID_UNIQUE] = {"orders_order_id_unique",
                               "Order ids are unique (repeats multiply revenue and returns)", ORDERS,
                               "order_id", false, OF_RELEVANT, "0 repeats"},
    [CHECK_ITEM_ID_UNIQUE] = {"order_items_id_unique",
                              "Item ids are unique (repeats multiply revenue and returns)", ITEMS, "id",
                              false, OF_RELEVANT, "0 repeats"},
    [CHECK_PRODUCT_ID_UNIQUE] = {"products_id_unique",
                                 "Product ids are unique (repeats multiply category revenue)", PRODUCTS, "id",
                                 false, OF_ROWS, "0 repeats"},
    [CHECK_PRICE_MISSING] = {"sale_price_present", "Every item has a price", ITEMS, "sale_price", false,
                             OF_RELEVANT, "0 nulls"},
    [CHECK_PRICE_UNPARSABLE] = {"sale_price_parses", "Every price is a number (others add nothing)", ITEMS,
                                "sale_price", false, OF_RELEVANT, "0 values"},
    [CHECK_PRICE_NOT_FINITE] = {"sale_price_finite", "No price is NaN, infinite or out of range", ITEMS,
                                "sale_price", false, OF_RELEVANT, "0 rows left out"},
    [CHECK_PRICE_NEGATIVE] = {"sale_price_not_negative", "No price is negative", ITEMS, "sale_price", false,
                              OF_RELEVANT, "0 values"},
    [CHECK_PRICE_ROUNDED] = {"sale_price_precision", "Prices have at most 18 decimals (others are rounded)",
                             ITEMS, "sale_price", false, OF_RELEVANT, "0 values"},
    [CHECK_ORDER_STATUS_DOMAIN] = {"orders_status_domain", "Order statuses are known words", ORDERS, "status",
                                   false, OF_RELEVANT, "a known status"},
    [CHECK_ITEM_STATUS_DOMAIN] = {"order_items_status_domain", "Item statuses are known words", ITEMS,
                                  "status", false, OF_RELEVANT, "a known status"},
    [CHECK_STATUS_NEAR_MISS] = {"order_items_status_near_miss",
                                "No status looks like returned without counting as it", ITEMS, "status",
                                false, OF_RELEVANT, "0 rows"},
    [CHECK_ITEM_WITHOUT_PRODUCT] = {"items_without_product",
                                    "Every item of the day has its product (others miss in category KPIs)",
                                    ITEMS, "product_id", false, OF_RELEVANT, "0 rows"},
    [CHECK_ITEM_WITHOUT_ORDER] = {"items_without_order",
                                  "Every item of the day has its order (others miss in order KPIs)", ITEMS,
                                  "order_id", false, OF_RELEVANT, "0 rows"},
    [CHECK_ORDER_WITHOUT_ITEMS] = {"orders_without_items", "Every order has an item", ORDERS, "order_id",
                                   false, OF_RELEVANT, "0 orders"},
    [CHECK_ITEM_DAY_DIFFERS] = {"item_day_differs", "Items are dated on the day of their order", ITEMS,
                                "created_at", false, OF_RELEVANT, "0 rows"},
    [CHECK_DAY_HAS_ROWS] = {"day_has_rows", "There is data for the day", ORDERS, NULL, true, OF_ONE,
                            "at least 1 result row"},
    [CHECK_REVENUE_RECONCILES] = {"revenue_reconciles",
                                  "Category revenue and dropped revenue add up to item revenue", ITEMS,
                                  "sale_price", true, OF_ONE, "equal"},
    [CHECK_INPUT_COMPLETE] = {"input_newer_than_day", "The input was written after the day was over", ORDERS,
                              NULL, false, OF_ONE, ""},
    [CHECK_HISTORY_ORDERS] = {"orders_like_history", "Orders are as many as in the last four weeks", ORDERS,
                              NULL, false, OF_ONE, ""},
    [CHECK_HISTORY_REVENUE] = {"revenue_like_history", "Revenue is as high as in the last four weeks", ITEMS,
                               "sale_price", false, OF_ONE, ""},
    [CHECK_HISTORY_ITEMS] = {"items_like_history", "Items are as many as in the last four weeks", ITEMS, NULL,
                             false, OF_ONE, ""},
    [CHECK_HISTORY_CUSTOMERS] = {"customers_like_history", "Customers are as many as in the last four weeks",
                                 ORDERS, "user_id", false, OF_ONE, ""},
    [CHECK_HISTORY_RETURN_RATE] = {"return_rate_like_history",
                                   "The return rate is as high as in the last four weeks", ITEMS, "status",
                                   false, OF_ONE, ""},
    [CHECK_HISTORY_LOST] = {"nothing_lost_against_history",
                            "Nothing is zero that was not so in the last four weeks", ORDERS, NULL, true,
                            OF_ONE, "no zero"},
};

/* ---- judging ---- */

struct verdict {
  struct finding finding;
  char observed[OBSERVED_BYTES];
  char expected[OBSERVED_BYTES];
  uint64_t base;
  enum quality_status status;
  bool is_skipped;
  struct history_verdict history; /* of the checks of one KPI against its history */
};

/* Milliseconds of the end of a day in the business zone. */
static int64_t day_end_ms(const struct job *job, day_t day) {
  return tz_day_begins(job->zone, (int64_t)day + 1) * MS_PER_SECOND;
}

static int64_t newest_input_ms(const struct source_listing *l) {
  int64_t newest = 0;
  for (int d = 0; d < DATASET_COUNT; d++)
    for (size_t i = 0; d != PRODUCTS && i < l->datasets[d].count; i++)
      if (l->datasets[d].at[i].modified_ms > newest)
        newest = l->datasets[d].at[i].modified_ms;
  return newest;
}

static void judge_input_age(const struct quality_facts *f, struct verdict *v) {
  char text[CLOCK_RFC3339_SIZE];
  int64_t newest = newest_input_ms(f->listing), end = day_end_ms(f->job, f->day);
  snprintf(v->observed, sizeof v->observed, "newest input of %s", clock_rfc3339(newest, text));
  snprintf(v->expected, sizeof v->expected, "at or after %s", clock_rfc3339(end, text));
  v->finding.count = newest < end;
}

static void judge_revenue(const struct quality_facts *f, struct verdict *v) {
  char sum_text[DECIMAL_TEXT_SIZE], item_text[DECIMAL_TEXT_SIZE];
  struct decimal sum = f->tally->dropped_revenue;
  for (size_t i = 0; i < f->tables[KPI_CATEGORIES].count; i++)
    decimal_add(&sum, &f->tables[KPI_CATEGORIES].rows[i].revenue);
  decimal_text(&sum, sum_text);
  decimal_text(&f->tally->item_revenue, item_text);
  snprintf(v->observed, sizeof v->observed, "categories + dropped %.110s, items %.110s", sum_text, item_text);
  v->finding.count = decimal_cmp(&sum, &f->tally->item_revenue) != 0;
}

/* ---- history ---- */

static const char *const history_names[] = {[HISTORY_ORDERS] = "orders",
                                            [HISTORY_REVENUE] = "revenue",
                                            [HISTORY_ITEMS] = "items",
                                            [HISTORY_CUSTOMERS] = "customers",
                                            [HISTORY_RETURN_RATE] = "return rate"};

/* True when the day can be judged by what was published before it; says why if not. */
static bool has_history(const struct quality_facts *f, const struct history_verdict *history,
                        struct verdict *v) {
  v->is_skipped = !f->job->history || !history->is_judged;
  if (!v->is_skipped)
    return true;
  snprintf(v->expected, sizeof v->expected, "at least %d published days among the %d before",
           HISTORY_DAYS_MIN, HISTORY_DAYS);
  if (!f->job->history)
    snprintf(v->observed, sizeof v->observed, "not judged: no history is at hand for this computation");
  else
    snprintf(v->observed, sizeof v->observed, "not judged: %u published days", history->days);
  return false;
}

static struct history_verdict judge_kpi(const struct quality_facts *f, enum history_kpi kpi) {
  static const struct kpi_rows none = {0};
  const struct kpi_row no_rows = {.day = f->day};
  const struct kpi_rows *orders = &f->tables[KPI_ORDERS];
  return history_judge(orders->count ? orders->rows : &no_rows, f->job->history ? f->job->history : &none,
                       kpi);
}

static void judge_history(const struct quality_facts *f, enum history_kpi kpi, struct verdict *v) {
  const int decimals = kpi == HISTORY_RETURN_RATE ? 4
                       : kpi == HISTORY_REVENUE   ? 2
                                                  : 1; /* a median may be half */
  v->history = judge_kpi(f, kpi);
  const struct history_verdict *h = &v->history;
  if (!has_history(f, h, v))
    return;
  v->finding.count = history_deviates(h);
  snprintf(v->observed, sizeof v->observed, "%.*f %s", decimals == 1 ? 0 : decimals, h->value,
           history_names[kpi]);
  snprintf(v->expected, sizeof v->expected, "%.*f to %.*f: the median of %u %s is %.*f (%u days of history)",
           decimals, h->low, decimals, h->high, h->measure, h->is_weekday ? "days of this weekday" : "days",
           decimals, h->median, h->days);
}

/* What has vanished altogether is an error, not a deviation. */
static void judge_lost(const struct quality_facts *f, struct verdict *v) {
  auto_buf struct buf lost;
  buf_init(&lost, OBSERVED_BYTES);
  for (int kpi = HISTORY_ORDERS; kpi <= HISTORY_CUSTOMERS; kpi++) {
    struct history_verdict h = judge_kpi(f, (enum history_kpi)kpi);
    if (!has_history(f, &h, v))
      return;
    if (history_is_lost(&h)) {
      v->finding.count++;
      buf_printf(&lost, "%s%s", lost.len ? ", " : "", history_names[kpi]);
    }
  }
  v->base = HISTORY_CUSTOMERS + 1;
  snprintf(v->observed, sizeof v->observed, "%s%s", lost.len ? "zero: " : "no zero",
           lost.len ? lost.ptr : "");
}

static bool is_of_history(enum check_id id) {
  return id >= CHECK_HISTORY_ORDERS && id <= CHECK_HISTORY_RETURN_RATE;
}

static void observe_loss(const struct decimal *revenue, struct verdict *v) {
  char text[DECIMAL_TEXT_SIZE];
  decimal_text(revenue, text);
  snprintf(v->observed, sizeof v->observed, "%llu rows with revenue %.180s",
           (unsigned long long)v->finding.count, text);
}

static uint64_t base_of(const struct check *c, const struct quality_facts *f) {
  switch (c->base) {
  case OF_ROWS:
    return f->rows[c->dataset];
  case OF_RELEVANT:
    return f->tally->relevant[c->dataset];
  case OF_ONE:
    break;
  }
  return 1;
}

static void judge(enum check_id id, const struct quality_facts *f, struct verdict *v) {
  const struct quality_tally *t = f->tally;
  size_t result_rows = f->tables[KPI_ORDERS].count + f->tables[KPI_CATEGORIES].count;
  *v = (struct verdict){.finding = t->found[id], .base = base_of(&checks[id], f)};
  view_to_cstr(view_of(checks[id].expected), v->expected, sizeof v->expected);
  if (id == CHECK_DAY_HAS_ROWS)
    v->finding.count = result_rows == 0;
  snprintf(v->observed, sizeof v->observed, "%llu", (unsigned long long)v->finding.count);
  if (id == CHECK_DAY_HAS_ROWS)
    snprintf(v->observed, sizeof v->observed, "%zu result rows", result_rows);
  if (id == CHECK_REVENUE_RECONCILES)
    judge_revenue(f, v);
  if (id == CHECK_INPUT_COMPLETE)
    judge_input_age(f, v);
  if (id == CHECK_ITEM_WITHOUT_PRODUCT)
    observe_loss(&t->dropped_revenue, v);
  if (id == CHECK_ITEM_WITHOUT_ORDER)
    observe_loss(&t->orphan_revenue, v);
  if (is_of_history(id))
    judge_history(f, (enum history_kpi)(id - CHECK_HISTORY_ORDERS), v);
  if (id == CHECK_HISTORY_LOST)
    judge_lost(f, v);
  v->status = v->is_skipped           ? QUALITY_SKIPPED
              : v->finding.count == 0 ? QUALITY_PASSED
              : checks[id].blocking   ? QUALITY_FAILED
                                      : QUALITY_WARNED;
}

/* ---- writing ---- */

static void json_string(struct buf *out, const char *key, struct view value) {
  buf_add_char(out, '"');
  buf_add_cstr(out, key);
  buf_add_cstr(out, "\":\"");
  buf_add_json(out, value);
  buf_add_cstr(out, "\",");
}

static void write_examples(const struct quality_facts *f, const struct check *c, const struct finding *found,
                           struct buf *out) {
  buf_add_cstr(out, "\"examples\":[");
  for (size_t i = 0; i < found->example_count; i++) {
    const struct finding_example *e = &found->examples[i];
    buf_add_cstr(out, i ? ",{" : "{");
    json_string(out, "object", view_of(f->listing->datasets[c->dataset].at[e->place.object].name));
    buf_printf(out, "\"line\":%llu,\"value\":\"", (unsigned long long)e->place.line);
    buf_add_json(out, view_of(e->value));
    buf_add_cstr(out, "\"}");
  }
  buf_add_cstr(out, "]");
}

/* The figures behind the words of a check against history. */
static void write_history(const struct history_verdict *h, struct buf *out) {
  const struct {
    const char *name;
    double value;
  } figures[] = {{"value", h->value}, {"median", h->median}, {"low", h->low}, {"high", h->high}};
  if (!h->is_judged)
    return;
  buf_printf(out, "\"history\":{\"days\":%u,\"median_of\":\"%s\",\"median_days\":%u", h->days,
             h->is_weekday ? "weekday" : "all", h->measure);
  for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
    char text[DOUBLE_TEXT_SIZE];
    double_text(figures[i].value, text);
    buf_printf(out, ",\"%s\":%s", figures[i].name, text);
  }
  buf_add_cstr(out, "},");
}

static void write_check(const struct quality_facts *f, const struct check *c, const struct verdict *v,
                        struct buf *out) {
  buf_add_char(out, '{');
  json_string(out, "id", view_of(c->id));
  json_string(out, "title", view_of(c->title));
  json_string(out, "dataset", view_of(schema_of(c->dataset)->name));
  if (c->column)
    json_string(out, "column", view_of(c->column));
  else
    buf_add_cstr(out, "\"column\":null,");
  json_string(out, "severity", view_of(c->blocking ? "error" : "warning"));
  json_string(out, "status", view_of(quality_status_name(v->status)));
  json_string(out, "observed", view_of(v->observed));
  json_string(out, "expected", view_of(v->expected));
  char percent[DOUBLE_TEXT_SIZE];
  double_text(count_ratio(v->finding.count * 100, v->base), percent);
  buf_add_cstr(out, "\"unexpected_count\":");
  buf_add_count(out, v->finding.count);
  buf_add_cstr(out, ",\"unexpected_percent\":");
  buf_add_cstr(out, percent);
  buf_add_char(out, ',');
  write_history(&v->history, out);
  write_examples(f, c, &v->finding, out);
  buf_add_cstr(out, c->blocking ? ",\"blocking\":true}" : ",\"blocking\":false}");
}

static void write_range(const struct column_stats *s, bool is_day, struct buf *out) {
  char low[DECIMAL_TEXT_SIZE], high[DECIMAL_TEXT_SIZE];
  switch (s->kind) {
  case STATS_NONE:
    buf_add_cstr(out, "\"min\":null,\"max\":null");
    break;
  case STATS_NUMBER:
    if (is_day)
      buf_printf(out, "\"min\":\"%s\",\"max\":\"%s\"", day_text((day_t)s->number.min, low),
                 day_text((day_t)s->number.max, high));
    else
      buf_printf(out, "\"min\":%lld,\"max\":%lld", (long long)s->number.min, (long long)s->number.max);
    break;
  case STATS_MONEY:
    decimal_text(&s->money.min, low);
    decimal_text(&s->money.max, high);
    buf_printf(out, "\"min\":\"%s\",\"max\":\"%s\"", low, high);
    break;
  case STATS_TEXT:
    json_string(out, "min", view_of(s->text.min));
    buf_add_cstr(out, "\"max\":\"");
    buf_add_json(out, view_of(s->text.max));
    buf_add_char(out, '"');
    break;
  }
}

static void write_profile(const struct quality_facts *f, enum dataset d, struct buf *out) {
  const struct schema *schema = schema_of(d);
  uint64_t bytes = 0;
  for (size_t i = 0; i < f->listing->datasets[d].count; i++)
    bytes += f->listing->datasets[d].at[i].size;
  buf_printf(out,
             "\"%s\":{\"files\":%zu,\"bytes\":%llu,\"rows\":%llu,\"relevant_rows\":%llu,\"bad_rows\":%llu,"
             "\"columns\":{",
             schema->name, f->listing->datasets[d].count, (unsigned long long)bytes,
             (unsigned long long)f->rows[d], (unsigned long long)f->tally->relevant[d],
             (unsigned long long)f->tally->bad_rows[d]);
  for (size_t c = 0; c < schema->column_count; c++) {
    struct column_stats stats = f->tally->columns[d][c];
    if (f->is_text_id[d][c])
      stats.kind = STATS_NONE;
    buf_printf(out, "%s\"%s\":{\"nulls\":%llu,", c ? "," : "", schema->columns[c].name,
               (unsigned long long)stats.nulls);
    write_range(&stats, strcmp(schema->columns[c].name, "created_at") == 0, out);
    buf_add_char(out, '}');
  }
  buf_add_cstr(out, "}}");
}

/* `out`: of the checks as JSON; NULL: they are not written. */
static void judge_all(const struct quality_facts *f, struct quality *q, unsigned *skipped, struct buf *out) {
  for (int id = 0; id < CHECK_COUNT; id++) {
    struct verdict v;
    judge((enum check_id)id, f, &v);
    q->passed += v.status == QUALITY_PASSED;
    q->warned += v.status == QUALITY_WARNED;
    q->failed += v.status == QUALITY_FAILED;
    *skipped += v.status == QUALITY_SKIPPED;
    if (v.status == QUALITY_FAILED && q->failed == 1)
      view_to_cstr(view_of(checks[id].title), q->failed_title, sizeof q->failed_title);
    if (!out)
      continue;
    if (id)
      buf_add_char(out, ',');
    write_check(f, &checks[id], &v, out);
  }
  for (int d = 0; d < DATASET_COUNT; d++)
    q->bad_rows += f->tally->bad_rows[d];
  q->status = q->failed ? QUALITY_FAILED : q->warned ? QUALITY_WARNED : QUALITY_PASSED;
}

enum kpi_code quality_report(const struct quality_facts *f, struct quality *out, struct err *err) {
  *out = (struct quality){0};
  auto_buf struct buf list, report;
  buf_init(&list, REPORT_BYTES_MAX);
  buf_init(&report, REPORT_BYTES_MAX);
  unsigned skipped = 0;
  judge_all(f, out, &skipped, f->job->without_reports ? NULL : &list);
  if (f->job->without_reports)
    return KPI_OK;
  buf_printf(&report,
             "{\"status\":\"%s\",\"passed\":%u,\"warned\":%u,\"failed\":%u,\"skipped\":%u,\"checks\":[",
             quality_status_name(out->status), out->passed, out->warned, out->failed, skipped);
  buf_add(&report, buf_view(&list));
  buf_add_cstr(&report, "],\"profile\":{");
  for (int d = 0; d < DATASET_COUNT; d++) {
    if (d)
      buf_add_char(&report, ',');
    write_profile(f, (enum dataset)d, &report);
  }
  buf_add_cstr(&report, "}}");
  out->report_json = buf_failed(&list) ? NULL : buf_take(&report);
  return out->report_json ? KPI_OK : err_set(err, KPI_OUT_OF_MEMORY, "no memory for the quality report");
}

bool quality_check_of(struct view id, enum check_id *out) {
  int i = 0;
  while (i < CHECK_COUNT && !view_is(id, checks[i].id))
    i++;
  *out = (enum check_id)i;
  return i < CHECK_COUNT;
}

enum dataset quality_check_dataset(enum check_id id) {
  return checks[id].dataset;
}

const char *quality_status_name(enum quality_status s) {
  static const char *const names[] = {"passed", "warned", "failed", "skipped"};
  return names[s];
}

void quality_summary_json(const struct quality *q, struct buf *out) {
  buf_printf(out, "{\"status\":\"%s\",\"passed\":%u,\"warned\":%u,\"failed\":%u}",
             quality_status_name(q->status), q->passed, q->warned, q->failed);
}

void quality_clear(struct quality *q) {
  if (!q)
    return;
  free(q->report_json);
  *q = (struct quality){0};
}
