/* SPDX-License-Identifier: MIT */
#include "base/scope.h"
#include "pipeline/day_judge.h"
#include "pipeline/engine.h"
#include "pipeline/kpi.h"
#include "pipeline/native_cache.h"
#include "pipeline/native_plain.h"

#include <string.h>

/* Three scans, products, orders, items, so that every item can be joined when it is read. All ids are first
 * taken for numbers, and those of orders and items, where many days are computed, for unique; when the input
 * shows that this is wrong and that it matters, another pass reads it as it is; and so does one without the
 * cache when that does not do. */

enum { PASSES_MAX = 4, UNIQUE_IDS_DAYS_MIN = 8 };

struct engine_native {
  struct engine base;
  struct pool *pool; /* borrowed */
};

/* One pass with its workers and, after finish_workers, what they have found together. */
struct native {
  struct native_pass pass;
  struct pool *pool;
  struct object_cache *cache; /* NULL: none is used */
  struct native_worker *workers;
  size_t worker_count;
  struct native_worker *all; /* workers[0], which takes the totals of the others */
  struct scan_report reports[DATASET_COUNT];
};

/* ---- scans ---- */

/* What the rows of each data set go to. */
static const struct {
  scan_row_fn row;
  const struct scan_plain *plain;
} readers[DATASET_COUNT] = {[DATASET_PRODUCTS] = {native_product_row, NULL},
                            [DATASET_ORDERS] = {native_order_row, &native_plain_orders},
                            [DATASET_ORDER_ITEMS] = {native_item_row, &native_plain_items}};

static enum kpi_code scan_dataset(struct native *n, enum dataset d, struct err *err) {
  struct scan scan = {.job = n->pass.job,
                      .pool = n->pool,
                      .objects = &n->pass.listing->datasets[d],
                      .dataset = d,
                      .row_fn = readers[d].row,
                      .plain = readers[d].plain,
                      .caching = native_caching(n->cache, d),
                      .workers = n->workers,
                      .worker_size = sizeof *n->workers};
  enum kpi_code rc = scan_rows(&scan, &n->reports[d], err);
  for (size_t i = 0; i < n->worker_count; i++)
    native_flush_marks(&n->workers[i]);
  return rc;
}

/* Builds a join map from the pairs of all workers, which stand at `offset` in each, and frees these. */
static bool build_map(struct native *n, struct join_map *map, size_t offset) {
  auto_free struct join_pairs **parts =
      (struct join_pairs **)calloc(n->worker_count, sizeof(struct join_pairs *));
  for (size_t i = 0; parts && i < n->worker_count; i++)
    parts[i] = (struct join_pairs *)((char *)&n->workers[i] + offset);
  return parts && join_map_build(map, n->pass.job->budget, parts, n->worker_count);
}

static bool collect_orders(struct native *n) {
  for (size_t i = 0; i < n->worker_count; i++)
    if (!idset_absorb(&n->pass.other_orders, &n->workers[i].other_orders, n->pass.job->budget))
      return false;
  idset_seal(&n->pass.other_orders);
  return true;
}

/* Gives a category the next bit. False when there are too many. */
static bool give_bit(void *arg, struct view name, uint64_t number) {
  struct native_pass *p = arg;
  (void)name;
  if (p->category_count == CATEGORY_MARKS_MAX || number >= CATEGORY_NUMBERS_MAX)
    return false;
  p->category_bits[number] = (unsigned char)p->category_count++;
  return true;
}

/* How much memory the marks of one order take. */
static size_t category_marks_bytes(const struct native_pass *p) {
  return p->category_marks.words_an_order * sizeof *p->category_marks.words;
}

/* Bits for each category of each order, instead of sets of orders for each category: where an order is one
 * row, and items name it by the same code. */
static bool make_category_marks(struct native *n) {
  struct native_pass *p = &n->pass;
  if (!p->order_marks || p->kinds[ID_ITEMS_ORDER] != ID_NUMERIC || !dict_each(p->categories, give_bit, p))
    return true;
  struct category_marks *marks = &p->category_marks;
  marks->words_an_order = p->category_count > CATEGORY_MARKS_HALF ? 2 : 1;
  marks->words = budget_zeroed(p->job->budget, p->orders.slot_count, category_marks_bytes(p));
  if (p->products.is_direct)
    p->product_bits = budget_calloc(p->job->budget, p->products.slot_count, 1);
  for (size_t i = 0; p->product_bits && i < p->products.slot_count; i++) {
    const struct join_slot *product = &p->products.slots[i];
    if (product->times == 1 && !(product->value & PRODUCT_IS_BAD))
      p->product_bits[i] = CATEGORY_BIT_KNOWN | p->category_bits[product->value];
  }
  return marks->words != NULL;
}

static enum kpi_code scan_all(struct native *n, struct err *err) {
  enum kpi_code rc = scan_dataset(n, DATASET_PRODUCTS, err);
  if (rc)
    return rc;
  if (!build_map(n, &n->pass.products, offsetof(struct native_worker, products)))
    return job_memory_err(n->pass.job, err);
  rc = scan_dataset(n, DATASET_ORDERS, err);
  if (rc)
    return rc;
  if (!build_map(n, &n->pass.orders, offsetof(struct native_worker, orders)) || !collect_orders(n) ||
      !make_category_marks(n))
    return job_memory_err(n->pass.job, err);
  return scan_dataset(n, DATASET_ORDER_ITEMS, err);
}

static bool merge_groups(struct native *n) {
  auto_free struct aggregate **parts =
      (struct aggregate **)calloc(n->worker_count, sizeof(struct aggregate *));
  for (size_t i = 0; parts && i < n->worker_count; i++)
    parts[i] = &n->workers[i].groups;
  return parts &&
         aggregate_merge(parts, n->worker_count, n->pool, &n->pass.job->progress->tasks, n->pass.job->budget);
}

/* Brings what all workers have found together in the first. */
static enum kpi_code finish_workers(struct native *n, struct err *err) {
  n->all = &n->workers[0];
  if (!native_plain_settle(n->all, n->all)) /* its own days get tallies and groups */
    return job_memory_err(n->pass.job, err);
  for (size_t i = 1; i < n->worker_count; i++) {
    struct native_worker *w = &n->workers[i];
    for (int c = 0; c < ID_COLUMN_COUNT; c++) {
      n->all->seen[c].text |= w->seen[c].text;
      n->all->seen[c].number |= w->seen[c].number;
    }
    n->all->product_id_rows += w->product_id_rows;
    n->all->product_text_rows += w->product_text_rows;
    quality_tally_merge(&n->all->whole, &w->whole);
    if (!native_plain_settle(w, n->all) || !native_days_merge(&n->all->days, &w->days, n->pass.job->budget))
      return job_memory_err(n->pass.job, err);
  }
  return merge_groups(n) ? KPI_OK : job_memory_err(n->pass.job, err);
}

/* ---- results ---- */

static struct native_day *day_of(struct native *n, day_t day) {
  return native_days_tallied(&n->all->days, n->pass.job->budget, day);
}

/* Lists the days that are asked for: those with rows, when that is all of the calendar. */
static bool list_days(struct native *n, struct day_results *out) {
  const struct day_set *days = &n->pass.job->days;
  const bool is_all = n->pass.covers_all_days;
  size_t count = is_all ? n->all->days.count : day_set_count(days);
  out->at = calloc(count + 1, sizeof *out->at);
  if (!out->at)
    return false;
  if (!is_all)
    for (day_t day = days->from; day <= days->to; day++)
      if (day_set_has(days, day))
        out->at[out->count++].day = day;
  const struct native_day *noted;
  for (day_t day = DAY_MIN; is_all && (noted = native_days_next(&n->all->days, &day)) != NULL; day++)
    if (noted->has_rows || noted->refusal)
      out->at[out->count++].day = day;
  return true;
}

/* How many different ids a group has. */
static struct group_counts counts_of(const struct native *n, const struct group *g) {
  struct group_counts c = g->counts;
  if (n->pass.order_marks && g->category == GROUP_NO_CATEGORY) { /* each row has another id */
    c.orders = g->order_id_rows;
    c.items = g->item_id_rows;
  }
  return c;
}

static struct kpi_totals totals_of(const struct native *n, const struct group *g) {
  struct group_counts c = counts_of(n, g);
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

/* Adds the row of a group to its day's tables, and its repeated ids to the findings. */
static bool add_row(const struct native *n, const struct group *g, const struct native_day *noted,
                    struct job_result *out) {
  bool is_category = g->category != GROUP_NO_CATEGORY;
  struct view category = is_category ? dict_text(n->pass.categories, g->category) : (struct view){0};
  struct kpi_row *row =
      kpi_rows_add(&out->tables[is_category ? KPI_CATEGORIES : KPI_ORDERS], g->day, category);
  if (!row)
    return false;
  const struct kpi_totals totals = totals_of(n, g);
  if (is_category) {
    kpi_category_day(&totals, row);
    return true;
  }
  kpi_order_day(&totals, row);
  noted->tally->found[CHECK_ORDER_ID_UNIQUE].count += g->order_id_rows - totals.orders;
  noted->tally->found[CHECK_ITEM_ID_UNIQUE].count += g->item_id_rows - totals.distinct_items;
  return true;
}

static bool make_tables(const struct native *n, const struct native_day *noted, struct job_result *out) {
  for (const struct group *g = noted->groups; g; g = g->next_of_day)
    if (!add_row(n, g, noted, out))
      return false;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    kpi_rows_sort(&out->tables[t]);
  return true;
}

/* Gives each day its groups. */
static bool hand_out_groups(struct native *n) {
  for (struct group *g = n->all->groups.first; g; g = g->next) {
    struct native_day *noted = day_of(n, g->day);
    if (!noted)
      return false;
    g->next_of_day = noted->groups;
    noted->groups = g;
  }
  return true;
}

static bool add_category_name(void *out, struct view name, uint64_t number) {
  (void)number;
  return names_add(out, name);
}

static bool list_categories(const struct native *n, struct day_results *out) {
  if (!dict_each(n->pass.categories, add_category_name, &out->categories))
    return false;
  names_seal(&out->categories);
  for (size_t i = 0; i < out->count; i++)
    out->at[i].result.categories = out->categories;
  return true;
}

/* ---- quality ---- */

static void note_unmet_order(void *arg, const struct join_slot *order) {
  struct native *n = arg;
  struct native_day *noted = day_of(n, (day_t)order->value);
  if (noted) /* it was, with a tally, when the order's rows were settled */
    noted->tally->found[CHECK_ORDER_WITHOUT_ITEMS].count++;
}

/* Rows of products beyond the first of an id that items can name. Where these have numbers only, texts are in
 * the map, under interned codes, as long as no number in another form was met beside them. */
static uint64_t repeated_products(const struct native *n) {
  const struct id_seen *ids = &n->all->seen[ID_PRODUCTS_ID];
  const bool has_idle_texts = ids->text && !ids->number && !n->all->seen[ID_ITEMS_PRODUCT].text;
  const uint64_t rows = n->all->product_id_rows - (has_idle_texts ? n->all->product_text_rows : 0);
  return rows - join_map_count(&n->pass.products, has_idle_texts ? ID_INTERNED : ID_NULL).keys;
}

/* Findings that only the finished totals and maps show. */
static void find_at_end(struct native *n) {
  static const enum check_id reader_checks[DATASET_COUNT][3] = {
      [DATASET_ORDERS] = {CHECK_ORDERS_HEADER, CHECK_ORDERS_RAGGED, CHECK_ORDERS_ENCODING},
      [DATASET_ORDER_ITEMS] = {CHECK_ITEMS_HEADER, CHECK_ITEMS_RAGGED, CHECK_ITEMS_ENCODING},
      [DATASET_PRODUCTS] = {CHECK_PRODUCTS_HEADER, CHECK_PRODUCTS_RAGGED, CHECK_PRODUCTS_ENCODING}};
  struct finding *found = n->all->whole.found;
  for (int d = 0; d < DATASET_COUNT; d++) {
    finding_merge(&found[reader_checks[d][0]], &n->reports[d].repeated_header);
    finding_merge(&found[reader_checks[d][1]], &n->reports[d].ragged);
    finding_merge(&found[reader_checks[d][2]], &n->reports[d].undecodable);
  }
  found[CHECK_PRODUCT_ID_UNIQUE].count += repeated_products(n);
  join_map_each_unmet(&n->pass.orders, note_unmet_order, n);
}

/* Gathers what is known of a day. */
static struct quality_facts facts_of(const struct native *n, const struct quality_tally *tally,
                                     const struct day_result *day) {
  static const struct {
    enum dataset dataset;
    int column;
  } place[ID_COLUMN_COUNT] = {[ID_ORDERS_ORDER] = {DATASET_ORDERS, ORDERS_ORDER_ID},
                              [ID_ORDERS_USER] = {DATASET_ORDERS, ORDERS_USER_ID},
                              [ID_ITEMS_ID] = {DATASET_ORDER_ITEMS, ITEMS_ID},
                              [ID_ITEMS_ORDER] = {DATASET_ORDER_ITEMS, ITEMS_ORDER_ID},
                              [ID_ITEMS_PRODUCT] = {DATASET_ORDER_ITEMS, ITEMS_PRODUCT_ID},
                              [ID_PRODUCTS_ID] = {DATASET_PRODUCTS, PRODUCTS_ID}};
  struct quality_facts facts = {.job = n->pass.job,
                                .listing = n->pass.listing,
                                .day = day->day,
                                .tally = tally,
                                .tables = day->result.tables};
  for (int d = 0; d < DATASET_COUNT; d++)
    facts.rows[d] = n->reports[d].rows;
  for (int c = 0; c < ID_COLUMN_COUNT; c++)
    facts.is_text_id[place[c].dataset][place[c].column] = n->all->seen[c].text;
  return facts;
}

/* Keeps why a day must fail. False when memory is exhausted. */
static bool refuse_day(struct day_result *day, const struct err *why) {
  day->err = malloc(sizeof *why);
  if (day->err)
    *day->err = *why;
  return day->err != NULL;
}

/* Reports the quality of a day and refuses it for that if it must. False when memory is exhausted. */
static bool judge_day(struct native *n, struct native_day *noted, struct day_result *day) {
  struct quality_tally tally = {0};
  struct err why = {0}, err;
  bool fails;
  noted->tally->found[CHECK_ORDER_WITHOUT_ITEMS].count += idset_seal(&noted->unjoinable_orders);
  quality_tally_merge(&tally, &n->all->whole);
  quality_tally_merge(&tally, noted->tally);
  const struct quality_facts facts = facts_of(n, &tally, day);
  const enum kpi_code rc = day_judge(&facts, &day->result.quality, &fails, &why, &err);
  quality_tally_clear(&tally);
  return rc == KPI_OK && (!fails || refuse_day(day, &why));
}

/* A day on its way to its results; the pool finishes many at a time. */
struct finishing {
  struct native *n;
  struct native_day *noted;
  struct day_result *day;
  bool is_done; /* else memory is exhausted */
};

static void finish_day(void *arg) {
  struct finishing *f = arg;
  struct err why = {0};
  if (!make_tables(f->n, f->noted, &f->day->result))
    return;
  if (f->noted->refusal)
    f->is_done = refuse_day(f->day, &f->noted->refusal->err);
  else if (day_has_too_many_categories(f->day->day, f->day->result.tables[KPI_CATEGORIES].count, &why))
    f->is_done = refuse_day(f->day, &why);
  else
    f->is_done = judge_day(f->n, f->noted, f->day);
}

static bool finish_days(struct native *n, struct day_results *out) {
  auto_free struct finishing *days = calloc(out->count + 1, sizeof *days);
  bool ok = days != NULL;
  find_at_end(n);
  for (size_t i = 0; ok && i < out->count; i++) {
    days[i] = (struct finishing){.n = n, .noted = day_of(n, out->at[i].day), .day = &out->at[i]};
    ok = days[i].noted != NULL;
  }
  if (!ok)
    return false;
  pool_map(n->pool, &n->pass.job->progress->tasks, finish_day, days, sizeof *days, out->count);
  for (size_t i = 0; i < out->count; i++)
    ok &= days[i].is_done;
  return ok;
}

/* ---- passes ---- */

/* What a pass takes for granted. */
struct belief {
  enum id_kind kinds[ID_COLUMN_COUNT];
  bool ids_are_unique; /* of orders and items */
  bool cache_does;     /* nothing has to be read of the input itself */
};

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
    idset_clear(&w->other_orders, budget);
    aggregate_clear(&w->groups, budget);
    native_days_clear(&w->days, budget);
    quality_tally_clear(&w->whole);
  }
  free(n->workers);
  for (int d = 0; d < DATASET_COUNT; d++)
    scan_report_clear(&n->reports[d]);
  budget_free(budget, (void *)n->pass.category_marks.words,
              n->pass.orders.slot_count * category_marks_bytes(&n->pass));
  budget_free(budget, n->pass.product_bits, n->pass.product_bits ? n->pass.products.slot_count : 0);
  join_map_clear(&n->pass.products, budget);
  join_map_clear(&n->pass.orders, budget);
  idset_clear(&n->pass.other_orders, budget);
  budget_free(budget, n->pass.bad_products.at, n->pass.bad_products.cap * sizeof *n->pass.bad_products.at);
  id_marks_free(n->pass.all_orders);
  id_marks_free(n->pass.order_marks);
  id_marks_free(n->pass.item_marks);
  dict_free(n->pass.ids);
  dict_free(n->pass.categories);
  pthread_mutex_destroy(&n->pass.lock);
}

static enum kpi_code native_init(struct native *n, struct pool *pool, const struct job *job,
                                 const struct source_listing *listing, const struct belief *belief,
                                 struct err *err) {
  *n = (struct native){.pool = pool, .worker_count = pool_threads(pool)};
  n->cache = belief->cache_does ? job->cache : NULL;
  n->pass.job = job;
  n->pass.listing = listing;
  n->pass.covers_all_days = day_set_is_all(&job->days);
  memcpy(n->pass.kinds, belief->kinds, sizeof n->pass.kinds);
  pthread_mutex_init(&n->pass.lock, NULL);
  n->workers = calloc(n->worker_count, sizeof *n->workers);
  n->pass.ids = dict_new(job->budget);
  n->pass.categories = dict_new(job->budget);
  if (belief->ids_are_unique) {
    n->pass.order_marks = id_marks_new(job->budget, ID_MARKS_AT_ONCE);
    n->pass.item_marks = id_marks_new(job->budget, ID_MARKS_AT_ONCE);
  }
  if (!n->pass.covers_all_days)
    n->pass.all_orders = id_marks_new(job->budget, ID_MARKS_WHEN_DENSE);
  bool has_marks = n->pass.order_marks && n->pass.item_marks;
  if (!n->workers || !n->pass.ids || !n->pass.categories || belief->ids_are_unique != has_marks ||
      n->pass.covers_all_days == (n->pass.all_orders != NULL))
    return job_memory_err(job, err);
  for (size_t i = 0; i < n->worker_count; i++)
    n->workers[i].pass = &n->pass;
  return KPI_OK;
}

/* True when a pass that took ids for unique says nothing: one is repeated, and also the row that it refuses
 * may not be the first that is to be refused; or marks of ids that lie far apart may have taken the memory.
 */
static bool is_void(const struct native *n, const struct belief *belief, enum kpi_code rc) {
  if (!belief->ids_are_unique)
    return false;
  return rc == KPI_OUT_OF_MEMORY ||
         (atomic_load(&n->pass.ids_repeat) && (rc == KPI_OK || err_info(rc)->category == ERR_DATA));
}

/* True when what the cache holds does not do: it is damaged, or a row is to be refused, and which is the
 * first is only known of the input itself, since the cache has its rows in another order. */
static bool needs_input_itself(const struct native *n, enum kpi_code rc) {
  bool is_damaged = false, is_of_cache = false;
  for (int d = 0; d < DATASET_COUNT; d++) {
    is_damaged |= n->reports[d].is_damaged;
    is_of_cache |= n->reports[d].is_of_cache;
  }
  return is_damaged || (is_of_cache && rc && err_info(rc)->category == ERR_DATA);
}

/* Reads everything under a belief. *again: it was wrong, is right now, and nothing was written to out. */
static enum kpi_code run_pass(struct native *n, struct belief *belief, bool *again, struct day_results *out,
                              struct err *err) {
  atomic_store(&n->pass.job->progress->phase, PHASE_SCANNING);
  enum kpi_code rc = scan_all(n, err);
  if (needs_input_itself(n, rc)) {
    belief->cache_does = false;
    *again = true;
    return KPI_OK;
  }
  if (rc == KPI_OK && !atomic_load(&n->pass.ids_repeat)) {
    atomic_store(&n->pass.job->progress->phase, PHASE_AGGREGATING);
    rc = finish_workers(n, err);
  }
  if (is_void(n, belief, rc)) {
    belief->ids_are_unique = false;
    *again = true;
    return KPI_OK;
  }
  if (rc)
    return rc;
  *again = kinds_were_wrong(n, belief->kinds);
  if (*again)
    return KPI_OK;
  const bool ok = list_days(n, out) && list_categories(n, out) && hand_out_groups(n) && finish_days(n, out);
  return ok ? KPI_OK : job_memory_err(n->pass.job, err);
}

static void restart_progress(struct job_progress *p) {
  atomic_store(&p->bytes_read, 0);
  atomic_store(&p->files_done, 0);
  for (int d = 0; d < DATASET_COUNT; d++)
    atomic_store(&p->rows[d], 0);
}

/* For a few days sets are cheap, and another pass is not, unless a cache holds the rows. */
static bool believes_in_unique_ids(const struct job *job) {
  return job->cache || day_set_is_all(&job->days) || day_set_count(&job->days) >= UNIQUE_IDS_DAYS_MIN;
}

static enum kpi_code native_compute(struct engine *e, const struct job *job,
                                    const struct source_listing *listing, struct day_results *out,
                                    struct err *err) {
  struct belief belief = {{ID_NUMERIC}, believes_in_unique_ids(job), true};
  enum kpi_code rc = KPI_OK;
  bool again = true;
  for (int i = 0; i < PASSES_MAX && again && rc == KPI_OK; i++) {
    struct native n;
    restart_progress(job->progress);
    again = false;
    rc = native_init(&n, ((struct engine_native *)e)->pool, job, listing, &belief, err);
    if (rc == KPI_OK)
      rc = run_pass(&n, &belief, &again, out, err);
    native_clear(&n);
  }
  if (rc == KPI_OK && again)
    return err_set(err, KPI_INTERNAL, "what was taken for granted of the input was wrong each time");
  return rc;
}

static void native_free(struct engine *e) {
  free(e);
}

static const struct engine_vtable native_vtable = {native_compute, NULL, native_free};

struct engine *engine_native_new(struct pool *pool) {
  struct engine_native *e = malloc(sizeof *e);
  if (!e)
    return NULL;
  *e = (struct engine_native){{&native_vtable}, pool};
  return &e->base;
}
