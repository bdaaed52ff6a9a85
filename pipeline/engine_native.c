/* SPDX-License-Identifier: MIT */
#include "base/scope.h"
#include "pipeline/engine.h"
#include "pipeline/kpi.h"
#include "pipeline/native_rows.h"

#include <string.h>

/* Three scans, products, orders, items, so that every item can be joined when it is read. All ids are first
 * taken for numbers; when the input shows that a column holds text and that this matters, a second pass reads
 * it as text. */

enum { CATEGORIES_A_DAY_MAX = 5000, PASSES_MAX = 2 };

struct engine_native {
  struct engine base;
  struct pool *pool; /* borrowed */
};

/* One pass with its workers and, after finish_workers, what they have found together. */
struct native {
  struct native_pass pass;
  struct pool *pool;
  struct native_worker *workers;
  size_t worker_count;
  struct native_worker *all; /* workers[0], which takes the totals of the others */
  struct scan_report reports[DATASET_COUNT];
};

/* ---- scans ---- */

static enum kpi_code scan_dataset(struct native *n, enum dataset d, scan_row_fn fn, struct err *err) {
  struct scan scan = {.job = n->pass.job,
                      .pool = n->pool,
                      .objects = &n->pass.listing->datasets[d],
                      .dataset = d,
                      .row_fn = fn,
                      .workers = n->workers,
                      .worker_size = sizeof *n->workers};
  return scan_rows(&scan, &n->reports[d], err);
}

/* Builds a join map from the pairs of all workers and frees these. */
static bool build_map(struct native *n, struct join_map *map, size_t pairs_offset) {
  struct budget *budget = n->pass.job->budget;
  size_t total = 0;
  for (size_t i = 0; i < n->worker_count; i++)
    total += ((struct join_pairs *)((char *)&n->workers[i] + pairs_offset))->count;
  if (!join_map_init(map, budget, total))
    return false;
  for (size_t i = 0; i < n->worker_count; i++) {
    struct join_pairs *pairs = (struct join_pairs *)((char *)&n->workers[i] + pairs_offset);
    join_map_add(map, pairs);
    join_pairs_clear(pairs, budget);
  }
  return true;
}

static bool collect_all_orders(struct native *n) {
  for (size_t i = 0; i < n->worker_count; i++)
    if (!idset_absorb(&n->pass.all_orders, &n->workers[i].all_orders, n->pass.job->budget))
      return false;
  idset_seal(&n->pass.all_orders);
  return true;
}

static enum kpi_code scan_all(struct native *n, struct err *err) {
  enum kpi_code rc = scan_dataset(n, DATASET_PRODUCTS, native_product_row, err);
  if (rc)
    return rc;
  if (!build_map(n, &n->pass.products, offsetof(struct native_worker, products)))
    return job_memory_err(n->pass.job, err);
  rc = scan_dataset(n, DATASET_ORDERS, native_order_row, err);
  if (rc)
    return rc;
  if (!build_map(n, &n->pass.orders, offsetof(struct native_worker, orders)) || !collect_all_orders(n))
    return job_memory_err(n->pass.job, err);
  return scan_dataset(n, DATASET_ORDER_ITEMS, native_item_row, err);
}

/* Brings what all workers have found together in the first. */
static enum kpi_code finish_workers(struct native *n, struct err *err) {
  n->all = &n->workers[0];
  for (size_t i = 1; i < n->worker_count; i++) {
    struct native_worker *w = &n->workers[i];
    for (int c = 0; c < ID_COLUMN_COUNT; c++) {
      n->all->seen[c].text |= w->seen[c].text;
      n->all->seen[c].number |= w->seen[c].number;
    }
    n->all->product_id_rows += w->product_id_rows;
    n->all->unjoinable_orders += w->unjoinable_orders;
    quality_tally_merge(&n->all->tally, &w->tally);
    deferred_error_keep(&n->all->deferred, &w->deferred);
    if (!aggregate_merge(&n->all->groups, &w->groups, n->pass.job->budget))
      return job_memory_err(n->pass.job, err);
  }
  return KPI_OK;
}

/* ---- results ---- */

static struct kpi_totals totals_of(const struct native *n, struct group *g) {
  struct group_counts c = group_seal(g);
  bool is_category = g->category != GROUP_NO_CATEGORY;
  return (struct kpi_totals){.revenue = g->revenue,
                             .orders = c.orders,
                             .item_rows = g->item_rows,
                             .distinct_items = c.items,
                             .customers = c.users,
                             .returned_item_rows = g->returned_rows,
                             .returned_orders = c.returned_orders,
                             .returned_orders_known =
                                 is_category || n->reports[DATASET_ORDERS].has_column[ORDERS_STATUS]};
}

static bool add_result(const struct native *n, struct group *g, struct job_result *out) {
  bool is_category = g->category != GROUP_NO_CATEGORY;
  struct view category = is_category ? dict_text(n->pass.categories, g->category) : (struct view){0};
  struct kpi_row *row =
      kpi_rows_add(&out->tables[is_category ? KPI_CATEGORIES : KPI_ORDERS], g->day, category);
  if (!row)
    return false;
  struct kpi_totals totals = totals_of(n, g);
  if (is_category)
    kpi_category_day(&totals, row);
  else
    kpi_order_day(&totals, row);
  return true;
}

/* Refuses a day with more categories than a publish can hold. */
static enum kpi_code check_categories(const struct kpi_rows *categories, struct err *err) {
  size_t in_day = 0;
  for (size_t i = 0; i < categories->count; i++) {
    in_day = i && categories->rows[i].day == categories->rows[i - 1].day ? in_day + 1 : 1;
    if (in_day > CATEGORIES_A_DAY_MAX) {
      char day[DAY_TEXT_SIZE];
      return err_set(err, KPI_VALUE_UNPARSABLE,
                     "%s has more than %d categories; is the category column right?",
                     day_text(categories->rows[i].day, day), CATEGORIES_A_DAY_MAX);
    }
  }
  return KPI_OK;
}

static bool add_category_name(void *out, struct view name) {
  return names_add(out, name);
}

static enum kpi_code build_results(struct native *n, struct job_result *out, struct err *err) {
  struct aggregate *groups = &n->all->groups;
  for (size_t i = 0; i < groups->slot_count; i++)
    if (groups->slots[i] && !add_result(n, groups->slots[i], out))
      return job_memory_err(n->pass.job, err);
  if (!dict_each(n->pass.categories, add_category_name, &out->categories))
    return job_memory_err(n->pass.job, err);
  names_seal(&out->categories);
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    kpi_rows_sort(&out->tables[t]);
  return check_categories(&out->tables[KPI_CATEGORIES], err);
}

/* ---- quality ---- */

/* Findings that only the finished totals and maps show. */
static void find_at_end(struct native *n) {
  struct quality_tally *t = &n->all->tally;
  static const enum check_id reader_checks[DATASET_COUNT][3] = {
      [DATASET_ORDERS] = {CHECK_ORDERS_HEADER, CHECK_ORDERS_RAGGED, CHECK_ORDERS_ENCODING},
      [DATASET_ORDER_ITEMS] = {CHECK_ITEMS_HEADER, CHECK_ITEMS_RAGGED, CHECK_ITEMS_ENCODING},
      [DATASET_PRODUCTS] = {CHECK_PRODUCTS_HEADER, CHECK_PRODUCTS_RAGGED, CHECK_PRODUCTS_ENCODING}};
  for (int d = 0; d < DATASET_COUNT; d++) {
    t->found[reader_checks[d][0]] = n->reports[d].repeated_header;
    t->found[reader_checks[d][1]] = n->reports[d].ragged;
    t->found[reader_checks[d][2]] = n->reports[d].undecodable;
  }
  for (size_t i = 0; i < n->all->groups.slot_count; i++) {
    struct group *g = n->all->groups.slots[i];
    if (!g || g->category != GROUP_NO_CATEGORY)
      continue;
    t->found[CHECK_ORDER_ID_UNIQUE].count += g->order_id_rows - g->orders.count;
    t->found[CHECK_ITEM_ID_UNIQUE].count += g->item_id_rows - g->items.count;
  }
  t->found[CHECK_PRODUCT_ID_UNIQUE].count += n->all->product_id_rows - join_map_count(&n->pass.products).keys;
  t->found[CHECK_ORDER_WITHOUT_ITEMS].count +=
      join_map_count(&n->pass.orders).unmet_pairs + n->all->unjoinable_orders;
}

static enum kpi_code report_quality(struct native *n, struct job_result *out, struct err *err) {
  static const struct {
    enum dataset dataset;
    int column;
  } place[ID_COLUMN_COUNT] = {[ID_ORDERS_ORDER] = {DATASET_ORDERS, ORDERS_ORDER_ID},
                              [ID_ORDERS_USER] = {DATASET_ORDERS, ORDERS_USER_ID},
                              [ID_ITEMS_ID] = {DATASET_ORDER_ITEMS, ITEMS_ID},
                              [ID_ITEMS_ORDER] = {DATASET_ORDER_ITEMS, ITEMS_ORDER_ID},
                              [ID_ITEMS_PRODUCT] = {DATASET_ORDER_ITEMS, ITEMS_PRODUCT_ID},
                              [ID_PRODUCTS_ID] = {DATASET_PRODUCTS, PRODUCTS_ID}};
  find_at_end(n);
  struct quality_facts facts = {.job = n->pass.job, .listing = n->pass.listing, .tally = &n->all->tally};
  for (int d = 0; d < DATASET_COUNT; d++)
    facts.rows[d] = n->reports[d].rows;
  for (int c = 0; c < ID_COLUMN_COUNT; c++)
    facts.is_text_id[place[c].dataset][place[c].column] = n->all->seen[c].text;
  for (size_t i = 0; i < out->tables[KPI_CATEGORIES].count; i++)
    decimal_add(&facts.category_revenue, &out->tables[KPI_CATEGORIES].rows[i].revenue);
  facts.result_rows = out->tables[KPI_ORDERS].count + out->tables[KPI_CATEGORIES].count;
  facts.day = out->tables[KPI_ORDERS].count ? out->tables[KPI_ORDERS].rows : NULL;
  enum kpi_code rc = quality_report(&facts, &out->quality, err);
  facts.result_rows = 0;
  return rc || facts.job->from == facts.job->to ? rc : quality_report(&facts, &out->empty_day, err);
}

/* Fails when more rows were left out than the job allows, naming the first. */
static enum kpi_code check_bad_rows(const struct native *n, struct err *err) {
  static const struct {
    enum check_id check;
    enum dataset dataset;
    int column;
  } reasons[] = {{CHECK_ORDERS_TIMESTAMP, DATASET_ORDERS, ORDERS_CREATED_AT},
                 {CHECK_ITEMS_TIMESTAMP, DATASET_ORDER_ITEMS, ITEMS_CREATED_AT},
                 {CHECK_PRICE_NOT_FINITE, DATASET_ORDER_ITEMS, ITEMS_SALE_PRICE}};
  const struct quality_tally *t = &n->all->tally;
  uint64_t bad = 0, rows = 0;
  for (int d = 0; d < DATASET_COUNT; d++) {
    bad += t->bad_rows[d];
    rows += n->reports[d].rows;
  }
  if (!bad_rows_exceed(&n->pass.job->max_bad_rows, bad, rows))
    return KPI_OK;
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
    const struct finding *f = &t->found[reasons[i].check];
    if (f->example_count == 0)
      continue;
    const struct finding_example *e = &f->examples[0];
    const char *object = n->pass.listing->datasets[reasons[i].dataset].at[e->place.object].name;
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
  return KPI_TOO_MANY_BAD_ROWS;
}

/* ---- passes ---- */

/* True when a column was read by the wrong rule and that can have changed something; corrects the rule. */
static bool kinds_were_wrong(struct native *n, enum id_kind kinds[ID_COLUMN_COUNT]) {
  bool wrong = false;
  for (int c = 0; c < ID_COLUMN_COUNT; c++) {
    bool is_text = n->all->seen[c].text;
    wrong |= is_text && n->all->seen[c].number && kinds[c] == ID_NUMERIC;
    kinds[c] = is_text ? ID_TEXT : ID_NUMERIC;
  }
  return wrong;
}

static void native_clear(struct native *n) {
  struct budget *budget = n->pass.job->budget;
  for (size_t i = 0; n->workers && i < n->worker_count; i++) {
    struct native_worker *w = &n->workers[i];
    join_pairs_clear(&w->products, budget);
    join_pairs_clear(&w->orders, budget);
    idset_clear(&w->all_orders, budget);
    aggregate_clear(&w->groups, budget);
  }
  free(n->workers);
  join_map_clear(&n->pass.products, budget);
  join_map_clear(&n->pass.orders, budget);
  idset_clear(&n->pass.all_orders, budget);
  budget_free(budget, n->pass.bad_products.at, n->pass.bad_products.cap * sizeof *n->pass.bad_products.at);
  dict_free(n->pass.ids);
  dict_free(n->pass.categories);
  pthread_mutex_destroy(&n->pass.lock);
}

static enum kpi_code native_init(struct native *n, struct pool *pool, const struct job *job,
                                 const struct source_listing *listing,
                                 const enum id_kind kinds[ID_COLUMN_COUNT], struct err *err) {
  *n = (struct native){.pool = pool, .worker_count = pool_threads(pool)};
  n->pass.job = job;
  n->pass.listing = listing;
  n->pass.covers_all_days = job->from == DAY_MIN && job->to == DAY_MAX;
  memcpy(n->pass.kinds, kinds, sizeof n->pass.kinds);
  pthread_mutex_init(&n->pass.lock, NULL);
  n->workers = calloc(n->worker_count, sizeof *n->workers);
  n->pass.ids = dict_new(job->budget);
  n->pass.categories = dict_new(job->budget);
  if (!n->workers || !n->pass.ids || !n->pass.categories)
    return job_memory_err(job, err);
  for (size_t i = 0; i < n->worker_count; i++)
    n->workers[i].pass = &n->pass;
  return KPI_OK;
}

/* Reads everything under the given kinds. *again: they were wrong, are right now, and nothing was written to
 * out. */
static enum kpi_code run_pass(struct native *n, enum id_kind kinds[ID_COLUMN_COUNT], bool *again,
                              struct job_result *out, struct err *err) {
  atomic_store(&n->pass.job->progress->phase, PHASE_SCANNING);
  enum kpi_code rc = scan_all(n, err);
  if (rc)
    return rc;
  atomic_store(&n->pass.job->progress->phase, PHASE_AGGREGATING);
  rc = finish_workers(n, err);
  if (rc)
    return rc;
  *again = kinds_were_wrong(n, kinds);
  if (*again)
    return KPI_OK;
  if (n->all->deferred.is_set) {
    *err = n->all->deferred.err;
    return err->code;
  }
  rc = build_results(n, out, err);
  if (rc)
    return rc;
  rc = report_quality(n, out, err);
  return rc ? rc : check_bad_rows(n, err);
}

static void restart_progress(struct job_progress *p) {
  atomic_store(&p->bytes_read, 0);
  atomic_store(&p->files_done, 0);
  for (int d = 0; d < DATASET_COUNT; d++)
    atomic_store(&p->rows[d], 0);
}

static enum kpi_code native_compute(struct engine *e, const struct job *job,
                                    const struct source_listing *listing, struct job_result *out,
                                    struct err *err) {
  enum id_kind kinds[ID_COLUMN_COUNT] = {ID_NUMERIC};
  enum kpi_code rc = KPI_OK;
  bool again = true;
  for (int i = 0; i < PASSES_MAX && again && rc == KPI_OK; i++) {
    struct native n;
    restart_progress(job->progress);
    again = false;
    rc = native_init(&n, ((struct engine_native *)e)->pool, job, listing, kinds, err);
    if (rc == KPI_OK)
      rc = run_pass(&n, kinds, &again, out, err);
    native_clear(&n);
  }
  return rc;
}

static void native_free(struct engine *e) {
  free(e);
}

static const struct engine_vtable native_vtable = {"native", native_compute, native_free};

struct engine *engine_native_new(struct pool *pool) {
  struct engine_native *e = malloc(sizeof *e);
  if (!e)
    return NULL;
  *e = (struct engine_native){{&native_vtable}, pool};
  return &e->base;
}
