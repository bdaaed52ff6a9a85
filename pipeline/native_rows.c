/* SPDX-License-Identifier: MIT */
#include "pipeline/native_rows.h"

#include "base/scope.h"
#include "pipeline/timestamp.h"

#include <stdio.h>
#include <string.h>

/* ---- errors and bad rows ---- */

/* Fills err for a value that cannot be used: "orders/a.csv:4: created_at: "x" is not a date". */
static enum kpi_code value_err(struct err *err, const char *object, uint64_t line, const char *column,
                               struct view value, const char *what) {
  char shown[sizeof err->value];
  view_to_cstr(value, shown, sizeof shown);
  err_set(err, KPI_VALUE_UNPARSABLE, "%s:%llu: %s: %s%s%s %s", object, (unsigned long long)line, column,
          value.len ? "\"" : "", value.len ? shown : "the cell", value.len ? "\"" : "", what);
  view_to_cstr(view_of(object), err->object, sizeof err->object);
  view_to_cstr(view_of(column), err->column, sizeof err->column);
  view_to_cstr(value, err->value, sizeof err->value);
  err->line = line;
  return err->code;
}

static const char *column_name(enum dataset d, int column) {
  return schema_of(d)->columns[column].name;
}

/* Refuses a row, or leaves it out and counts it, as the job says. */
KPI_COLD static enum kpi_code bad_date(struct native_worker *w, const struct scan_row *row, enum dataset d,
                                       int column, enum check_id check, struct err *err) {
  struct view value = row->csv->cells[column];
  if (w->pass->job->bad_rows == BAD_ROWS_SKIP) {
    finding_add(&w->whole.found[check], row->place, value);
    w->whole.bad_rows[d]++;
    return KPI_OK;
  }
  return value_err(err, row->object, row->place.line, column_name(d, column), value,
                   value.len ? "is not a date" : "is empty, a date is needed");
}

KPI_COLD static enum kpi_code no_memory(const struct native_worker *w, struct err *err) {
  return job_memory_err(w->pass->job, err);
}

static struct native_day *day_of(struct native_worker *w, day_t day) {
  return native_days_tallied(&w->days, w->pass->job->budget, day);
}

bool native_is_returned(const struct native_worker *w, struct view status) {
  if (w->pass->job->status_match == STATUS_EXACT)
    return view_is(status, "returned");
  return view_eq_fold(view_trim(status), view_of("returned"));
}

/* ---- identifiers ---- */

/* A cell of an id column, classified once. */
struct id_cell {
  struct view text;
  enum id_column column;
  enum id_form form;
  id_code plain; /* of ID_FORM_PLAIN */
};

static void take_id(struct native_worker *w, enum id_column column, struct view text, struct id_cell *out) {
  out->text = text;
  out->column = column;
  out->form = id_classify(text, &out->plain);
  id_note(&w->seen[column], out->form);
}

static bool own_code(const struct native_worker *w, const struct id_cell *cell, enum id_mode mode,
                     id_code *out) {
  *out = cell->form == ID_FORM_PLAIN ? cell->plain : ID_NULL;
  if (cell->form == ID_FORM_PLAIN || cell->form == ID_FORM_NULL)
    return true;
  return id_encode(w->pass->ids, mode, cell->text, w->pass->kinds[cell->column], out);
}

static bool join_code(const struct native_worker *w, const struct id_cell *cell, enum id_column partner,
                      enum id_mode mode, id_code *out) {
  *out = cell->form == ID_FORM_PLAIN ? cell->plain : ID_NULL;
  if (cell->form == ID_FORM_PLAIN || cell->form == ID_FORM_NULL)
    return true;
  return id_join_code(w->pass->ids, mode, cell->text, w->pass->kinds[cell->column], w->pass->kinds[partner],
                      out);
}

void native_flush_marks(struct native_worker *w) {
  bool all_new = id_marks_flush(&w->order_run);
  all_new &= id_marks_flush(&w->item_run);
  if (!all_new)
    atomic_store_explicit(&w->pass->ids_repeat, true, memory_order_relaxed);
  (void)id_marks_flush(&w->all_orders_run); /* an order may have several rows */
}

/* Counts a null or widens the range of a column's profile. */
static void note_id_stats(struct quality_tally *t, const struct scan_row *row, enum dataset d, int column,
                          const struct id_cell *cell, enum check_id null_check) {
  struct column_stats *stats = &t->columns[d][column];
  if (cell->form == ID_FORM_NULL) {
    stats->nulls++;
    finding_add(&t->found[null_check], row->place, (struct view){0});
  } else if (cell->form == ID_FORM_PLAIN) {
    column_stats_number(stats, (int64_t)cell->plain);
  }
}

/* Notes a status of orders, or of items, where near misses of returned matter. */
static void note_status(struct native_worker *w, struct quality_tally *t, const struct scan_row *row,
                        enum dataset d, int column, enum check_id domain_check) {
  struct view status = row->csv->cells[column];
  struct column_stats *stats = &t->columns[d][column];
  if (status.len == 0) {
    stats->nulls++;
    return;
  }
  column_stats_text(stats, status);
  struct status_verdict v = status_judge(&w->statuses, status, w->pass->job->status_match);
  if (!v.is_known)
    finding_add_distinct(&t->found[domain_check], row->place, status);
  if (v.is_near_miss && d == DATASET_ORDER_ITEMS)
    finding_add_distinct(&t->found[CHECK_STATUS_NEAR_MISS], row->place, status);
}

/* ---- products ---- */

static bool keep_bad_product(struct native_pass *p, struct place place, bool is_null, uint32_t *value) {
  SCOPE_LOCK(&p->lock);
  if (p->bad_products.count == p->bad_products.cap) {
    size_t cap = p->bad_products.cap ? p->bad_products.cap * 2 : 16;
    struct bad_product *at = budget_realloc(p->job->budget, p->bad_products.at,
                                            p->bad_products.cap * sizeof *at, cap * sizeof *at);
    if (!at)
      return false;
    p->bad_products.at = at;
    p->bad_products.cap = cap;
  }
  *value = PRODUCT_IS_BAD | (uint32_t)p->bad_products.count;
  p->bad_products.at[p->bad_products.count++] = (struct bad_product){place, is_null};
  return p->bad_products.count < PRODUCT_IS_BAD;
}

/* Sets *value to what the join map holds for the category of a product. */
static bool category_value(struct native_worker *w, const struct scan_row *row, uint32_t *value) {
  struct native_pass *p = w->pass;
  struct view category = row->csv->cells[PRODUCTS_CATEGORY];
  if (category.len == 0 && p->job->unknown_category)
    category = view_of(p->job->unknown_category);
  auto_buf struct buf text;
  buf_init(&text, 3 * CSV_FIELD_MAX_BYTES);
  if (!row->csv->is_utf8 && !view_is_utf8(category)) { /* the job's own word is UTF-8 in any case */
    buf_add_utf8(&text, category);
    category = buf_view(&text);
  }
  if (category.len == 0 || category.len > CATEGORY_BYTES_MAX)
    return !buf_failed(&text) && keep_bad_product(p, row->place, category.len == 0, value);
  uint64_t number;
  if (!dict_intern_again(p->categories, &w->known_categories, category, &number) || number >= PRODUCT_IS_BAD)
    return false;
  *value = (uint32_t)number;
  return true;
}

enum kpi_code native_product_row(void *worker, const struct scan_row *row, struct err *err) {
  struct native_worker *w = worker;
  struct quality_tally *t = &w->whole;
  struct view category = row->csv->cells[PRODUCTS_CATEGORY];
  struct id_cell id;
  take_id(w, ID_PRODUCTS_ID, row->csv->cells[PRODUCTS_ID], &id);
  t->relevant[DATASET_PRODUCTS]++;
  note_id_stats(t, row, DATASET_PRODUCTS, PRODUCTS_ID, &id, CHECK_PRODUCT_ID_NULL);
  if (category.len == 0) {
    t->columns[DATASET_PRODUCTS][PRODUCTS_CATEGORY].nulls++;
    finding_add(&t->found[CHECK_CATEGORY_NULL], row->place, category);
  } else {
    column_stats_text(&t->columns[DATASET_PRODUCTS][PRODUCTS_CATEGORY], category);
  }
  uint32_t value;
  id_code key;
  if (id.form == ID_FORM_NULL)
    return KPI_OK;
  if (!category_value(w, row, &value) || !join_code(w, &id, ID_ITEMS_PRODUCT, ID_INTERN, &key))
    return no_memory(w, err);
  if (key == ID_NULL) /* no item can name it */
    return KPI_OK;
  w->product_id_rows++;
  w->product_text_rows += id.form == ID_FORM_TEXT;
  if (!join_pairs_add(&w->products, w->pass->job->budget, key, value))
    return no_memory(w, err);
  return KPI_OK;
}

/* ---- orders ---- */

bool native_keep_for_orphans(struct native_worker *w, id_code order) {
  return w->pass->covers_all_days ||
         id_marks_add(w->pass->all_orders, &w->all_orders_run, order) != ID_MARK_NO_ROOM ||
         idset_add(&w->other_orders, w->pass->job->budget, order);
}

static bool keep_word_for_orphans(struct native_worker *w, id_code first, uint64_t bits) {
  for (; bits; bits &= bits - 1)
    if (!native_keep_for_orphans(w, first + (id_code)__builtin_ctzll(bits)))
      return false;
  return true;
}

bool native_keep_bits_for_orphans(struct native_worker *w, id_code first, const uint64_t *bits,
                                  size_t words) {
  if (w->pass->covers_all_days)
    return true;
  const bool are_dense = id_marks_are_dense(bits, words);
  for (size_t i = 0; i < words; i++, first += 64)
    if (bits[i] && !(are_dense && id_marks_add_word(w->pass->all_orders, first, bits[i])) &&
        !keep_word_for_orphans(w, first, bits[i]))
      return false;
  return true;
}

static bool keep_for_orphans(struct native_worker *w, const struct id_cell *id) {
  id_code hashed;
  if (w->pass->covers_all_days || id->form == ID_FORM_NULL)
    return true;
  return join_code(w, id, ID_ITEMS_ORDER, ID_HASH, &hashed) && native_keep_for_orphans(w, hashed);
}

static void note_order(struct native_worker *w, struct quality_tally *t, const struct scan_row *row,
                       const struct id_cell *id, const struct id_cell *user, day_t day) {
  t->relevant[DATASET_ORDERS]++;
  note_id_stats(t, row, DATASET_ORDERS, ORDERS_ORDER_ID, id, CHECK_ORDER_ID_NULL);
  note_id_stats(t, row, DATASET_ORDERS, ORDERS_USER_ID, user, CHECK_USER_ID_NULL);
  column_stats_number(&t->columns[DATASET_ORDERS][ORDERS_CREATED_AT], day);
  if (row->binding->has[ORDERS_STATUS])
    note_status(w, t, row, DATASET_ORDERS, ORDERS_STATUS, CHECK_ORDER_STATUS_DOMAIN);
}

/* Adds an order row of the job's days to its day's totals and to the join map. */
static bool add_order(struct native_worker *w, const struct scan_row *row, const struct id_cell *id,
                      const struct id_cell *user, day_t day) {
  struct budget *budget = w->pass->job->budget;
  struct native_day *noted = day_of(w, day);
  struct group *g = aggregate_group(&w->groups, budget, day, GROUP_NO_CATEGORY);
  id_code order, customer, key;
  if (!noted || !g || !own_code(w, id, ID_INTERN, &order) || !own_code(w, user, ID_INTERN, &customer) ||
      !join_code(w, id, ID_ITEMS_ORDER, ID_INTERN, &key))
    return false;
  noted->has_rows = true;
  note_order(w, noted->tally, row, id, user, day);
  if (customer != ID_NULL && !idset_add(&g->users, budget, customer))
    return false;
  if (order == ID_NULL)
    return true;
  g->order_id_rows++;
  if (native_is_returned(w, row->csv->cells[ORDERS_STATUS]) && !idset_add(&g->returned_orders, budget, order))
    return false;
  if (key == ID_NULL && !idset_add(&noted->unjoinable_orders, budget, order))
    return false;
  if (w->pass->order_marks)
    native_mark_id(w, w->pass->order_marks, &w->order_run, order);
  else if (!idset_add(&g->orders, budget, order))
    return false;
  return key == ID_NULL || join_pairs_add(&w->orders, budget, key, (uint32_t)day);
}

enum kpi_code native_order_row(void *worker, const struct scan_row *row, struct err *err) {
  struct native_worker *w = worker;
  const struct view *cells = row->csv->cells;
  KPI_UNSET struct id_cell id, user;
  day_t day;
  /* First: a row that is left out does not say what kind of column its ids are in either. */
  if (native_is_void(w))
    return KPI_OK;
  if (!timestamp_day(cells[ORDERS_CREATED_AT], w->pass->job->zone, &day))
    return bad_date(w, row, DATASET_ORDERS, ORDERS_CREATED_AT, CHECK_ORDERS_TIMESTAMP, err);
  take_id(w, ID_ORDERS_ORDER, cells[ORDERS_ORDER_ID], &id);
  take_id(w, ID_ORDERS_USER, cells[ORDERS_USER_ID], &user);
  if (!keep_for_orphans(w, &id))
    return no_memory(w, err);
  if (!day_set_has(&w->pass->job->days, day))
    return KPI_OK;
  return add_order(w, row, &id, &user, day) ? KPI_OK : no_memory(w, err);
}

/* ---- items ---- */

/* What says whether an item row matters at all. */
struct item_keys {
  struct id_cell id, order, product;
  day_t day;
  bool is_in_days;
  bool has_order; /* in the job's days */
  id_code order_key;
};

/* An item row on its way into the totals. */
struct item {
  const struct scan_row *row;
  struct item_keys k;
  bool is_returned;
  id_code id; /* of an item with an order of the job's days */
  id_code product_key;
  uint64_t sold_as; /* product rows it joins with; 0: without product */
  struct decimal price;
  enum decimal_parse price_is;
};

/* Looks up whether the order is one of the job's days. */
static bool find_order(const struct native_worker *w, struct item_keys *k, bool *found) {
  if (!join_code(w, &k->order, ID_ORDERS_ORDER, ID_FIND, &k->order_key))
    return false;
  *found = join_map_has(&w->pass->orders, k->order_key);
  return true;
}

/* Looks up the product of an item of the job's days. */
static bool find_product(struct native_worker *w, struct item *it) {
  struct join_walk walk = {0};
  if (!it->k.is_in_days)
    return true;
  if (!join_code(w, &it->k.product, ID_PRODUCTS_ID, ID_FIND, &it->product_key))
    return false;
  const struct join_slot *pair;
  while ((pair = join_map_next(&w->pass->products, it->product_key, &walk)) != NULL)
    it->sold_as += pair->times;
  return true;
}

static bool price_is_not_finite(const struct item *it) {
  return it->price_is == DECIMAL_NOT_FINITE || it->price_is == DECIMAL_TOO_LARGE;
}

static void note_price_not_finite(struct quality_tally *t, const struct item *it) {
  finding_add(&t->found[CHECK_PRICE_NOT_FINITE], it->row->place, it->row->csv->cells[ITEMS_SALE_PRICE]);
}

static void note_price(struct quality_tally *t, const struct item *it) {
  struct column_stats *stats = &t->columns[DATASET_ORDER_ITEMS][ITEMS_SALE_PRICE];
  struct view cell = it->row->csv->cells[ITEMS_SALE_PRICE];
  if (cell.len == 0) {
    stats->nulls++;
    finding_add(&t->found[CHECK_PRICE_MISSING], it->row->place, cell);
    return;
  }
  if (price_is_not_finite(it)) /* of a row that does not count: others are left out or refuse the day */
    note_price_not_finite(t, it);
  if (it->price_is == DECIMAL_NOT_A_NUMBER)
    finding_add(&t->found[CHECK_PRICE_UNPARSABLE], it->row->place, cell);
  if (it->price_is == DECIMAL_ROUNDED)
    finding_add(&t->found[CHECK_PRICE_ROUNDED], it->row->place, cell);
  if (it->price_is == DECIMAL_OK || it->price_is == DECIMAL_ROUNDED) {
    column_stats_money(stats, &it->price);
    if (decimal_is_negative(&it->price))
      finding_add(&t->found[CHECK_PRICE_NEGATIVE], it->row->place, cell);
  }
}

/* Counts an item of the job's days that misses its order among all orders. */
static bool note_orphan(struct native_worker *w, struct quality_tally *t, const struct item *it) {
  id_code hashed;
  if (it->k.has_order || it->k.order.form == ID_FORM_NULL)
    return true;
  if (!w->pass->covers_all_days) {
    if (!join_code(w, &it->k.order, ID_ORDERS_ORDER, ID_HASH, &hashed))
      return false;
    if (id_marks_has(w->pass->all_orders, hashed) || idset_has(&w->pass->other_orders, hashed))
      return true;
  }
  finding_add(&t->found[CHECK_ITEM_WITHOUT_ORDER], it->row->place, it->k.order.text);
  decimal_add(&t->orphan_revenue, &it->price);
  return true;
}

/* Notes an item of a day, or whose order is. */
static bool note_item(struct native_worker *w, struct quality_tally *t, const struct item *it, day_t day) {
  const struct scan_row *row = it->row;
  t->relevant[DATASET_ORDER_ITEMS]++;
  note_id_stats(t, row, DATASET_ORDER_ITEMS, ITEMS_ID, &it->k.id, CHECK_ITEM_ID_NULL);
  note_id_stats(t, row, DATASET_ORDER_ITEMS, ITEMS_ORDER_ID, &it->k.order, CHECK_ITEM_ORDER_NULL);
  note_id_stats(t, row, DATASET_ORDER_ITEMS, ITEMS_PRODUCT_ID, &it->k.product, CHECK_ITEM_PRODUCT_NULL);
  column_stats_number(&t->columns[DATASET_ORDER_ITEMS][ITEMS_CREATED_AT], it->k.day);
  note_status(w, t, row, DATASET_ORDER_ITEMS, ITEMS_STATUS, CHECK_ITEM_STATUS_DOMAIN);
  note_price(t, it);
  if (it->k.day != day) {
    finding_add(&t->found[CHECK_ITEM_DAY_DIFFERS], row->place, row->csv->cells[ITEMS_CREATED_AT]);
    return true;
  }
  decimal_add_times(&t->item_revenue, &it->price, it->sold_as ? it->sold_as : 1);
  if (it->sold_as == 0) {
    finding_add(&t->found[CHECK_ITEM_WITHOUT_PRODUCT], row->place, it->k.product.text);
    decimal_add(&t->dropped_revenue, &it->price);
  }
  return note_orphan(w, t, it);
}

/* Reads the id of an item that counts, and marks it once, however many orders it has. */
static bool take_item_id(struct native_worker *w, struct item *it) {
  if (!own_code(w, &it->k.id, ID_INTERN, &it->id))
    return false;
  if (it->id != ID_NULL && w->pass->item_marks)
    native_mark_id(w, w->pass->item_marks, &w->item_run, it->id);
  return true;
}

/* Adds the item to the day of the order rows with its order id. */
static bool add_to_order(struct native_worker *w, const struct item *it, const struct join_slot *order) {
  struct budget *budget = w->pass->job->budget;
  struct group *g = aggregate_group(&w->groups, budget, (day_t)order->value, GROUP_NO_CATEGORY);
  if (!g || (it->id != ID_NULL && !w->pass->item_marks && !idset_add(&g->items, budget, it->id)))
    return false;
  decimal_add_times(&g->revenue, &it->price, order->times);
  g->item_rows += order->times;
  g->returned_rows += it->is_returned ? order->times : 0;
  g->item_id_rows += it->id != ID_NULL;
  join_map_meet(&w->pass->orders, order);
  return true;
}

/* A sold product without a usable category refuses the day, at the product's place. */
KPI_COLD static bool refuse_product(struct native_worker *w, struct native_day *noted, uint32_t value) {
  struct bad_product bad = w->pass->bad_products.at[value & ~PRODUCT_IS_BAD];
  struct native_refusal refusal = {.dataset = DATASET_PRODUCTS, .place = bad.place};
  const char *object = w->pass->listing->datasets[DATASET_PRODUCTS].at[bad.place.object].name;
  value_err(&refusal.err, object, bad.place.line, column_name(DATASET_PRODUCTS, PRODUCTS_CATEGORY),
            (struct view){0},
            bad.is_null ? "is empty, but the product was sold"
                        : "is longer than 2048 bytes, and the product was sold");
  return native_days_refuse(&w->days, w->pass->job->budget, noted, &refusal);
}

/* Counts the order of an item in a category, once; `row` is that of the order on this day, NULL: there is
 * none. */
static bool count_order(const struct native_worker *w, struct group *g, const struct item *it,
                        const struct join_slot *row, id_code order) {
  const struct native_pass *p = w->pass;
  struct budget *budget = p->job->budget;
  if (!row || !p->category_marks.words)
    return order == ID_NULL || (idset_add(&g->orders, budget, order) &&
                                (!it->is_returned || idset_add(&g->returned_orders, budget, order)));
  native_count_order(p, row, p->category_bits[g->category], it->is_returned, &g->marked.orders,
                     &g->marked.returned_orders);
  return true;
}

/* Adds the item to the category of each product row with its product id; `row` is that of its order on this
 * day, NULL: there is none. */
static bool add_to_categories(struct native_worker *w, struct native_day *noted, const struct item *it,
                              const struct join_slot *row) {
  struct budget *budget = w->pass->job->budget;
  struct join_walk walk = {0};
  const struct join_slot *product;
  id_code order;
  if (!own_code(w, &it->k.order, ID_INTERN, &order))
    return false;
  while ((product = join_map_next(&w->pass->products, it->product_key, &walk)) != NULL) {
    if (product->value & PRODUCT_IS_BAD) {
      if (!refuse_product(w, noted, product->value))
        return false;
      continue;
    }
    struct group *g = aggregate_group(&w->groups, budget, it->k.day, product->value);
    if (!g || !count_order(w, g, it, row, order))
      return false;
    decimal_add_times(&g->revenue, &it->price, product->times);
    g->item_rows += product->times;
    g->returned_rows += it->is_returned ? product->times : 0;
  }
  return true;
}

/* A price that no sum can take. Whether the row counts depends on the joins, so a refusal waits for the end.
 */
KPI_COLD static bool bad_price(struct native_worker *w, struct native_day *noted, const struct item *it) {
  const struct scan_row *row = it->row;
  struct view value = row->csv->cells[ITEMS_SALE_PRICE];
  if (w->pass->job->bad_rows == BAD_ROWS_SKIP) {
    note_price_not_finite(noted->tally, it);
    noted->tally->relevant[DATASET_ORDER_ITEMS]++;
    noted->tally->bad_rows[DATASET_ORDER_ITEMS]++;
    return true;
  }
  struct native_refusal refusal = {.dataset = DATASET_ORDER_ITEMS, .place = row->place};
  value_err(
      &refusal.err, row->object, row->place.line, column_name(DATASET_ORDER_ITEMS, ITEMS_SALE_PRICE), value,
      it->price_is == DECIMAL_NOT_FINITE ? "is not a finite number" : "is out of range (10^126 or more)");
  return native_days_refuse(&w->days, w->pass->job->budget, noted, &refusal);
}

/* Adds the item to one day of the job: its own, or that of `order`, the rows of its order of that day (NULL:
 * there are none). */
static bool add_on_day(struct native_worker *w, const struct item *it, day_t day,
                       const struct join_slot *order) {
  struct native_day *noted = day_of(w, day);
  bool is_sold = day == it->k.day && it->sold_as > 0;
  if (!noted)
    return false;
  if ((order || is_sold) && price_is_not_finite(it))
    return bad_price(w, noted, it);
  noted->has_rows |= order || is_sold;
  return note_item(w, noted->tally, it, day) && (!order || add_to_order(w, it, order)) &&
         (!is_sold || add_to_categories(w, noted, it, order));
}

/* Adds an item that is of the job's days, or whose order is. Kept out of the loop over all rows, which would
 * have to clear its large stack each time. */
static __attribute__((noinline)) enum kpi_code add_item(struct native_worker *w, const struct scan_row *row,
                                                        const struct item_keys *keys, struct err *err) {
  struct item it = {.row = row, .k = *keys};
  struct join_walk walk = {0};
  const struct join_slot *order;
  bool is_added = !keys->is_in_days, ok = find_product(w, &it);
  it.price_is = decimal_parse(row->csv->cells[ITEMS_SALE_PRICE], &it.price);
  it.is_returned = native_is_returned(w, row->csv->cells[ITEMS_STATUS]);
  if (ok && keys->has_order)
    ok = take_item_id(w, &it);
  while (ok && (order = join_map_next(&w->pass->orders, keys->order_key, &walk)) != NULL) {
    is_added |= (day_t)order->value == keys->day;
    ok = add_on_day(w, &it, (day_t)order->value, order);
  }
  if (ok && !is_added)
    ok = add_on_day(w, &it, keys->day, NULL);
  return ok ? KPI_OK : no_memory(w, err);
}

/* Most rows are of other days: they are told apart before anything else is looked at. */
enum kpi_code native_item_row(void *worker, const struct scan_row *row, struct err *err) {
  struct native_worker *w = worker;
  const struct view *cells = row->csv->cells;
  KPI_UNSET struct item_keys k;
  if (native_is_void(w))
    return KPI_OK;
  if (!timestamp_day(cells[ITEMS_CREATED_AT], w->pass->job->zone, &k.day))
    return bad_date(w, row, DATASET_ORDER_ITEMS, ITEMS_CREATED_AT, CHECK_ITEMS_TIMESTAMP, err);
  take_id(w, ID_ITEMS_ID, cells[ITEMS_ID], &k.id);
  take_id(w, ID_ITEMS_ORDER, cells[ITEMS_ORDER_ID], &k.order);
  take_id(w, ID_ITEMS_PRODUCT, cells[ITEMS_PRODUCT_ID], &k.product);
  bool has_order;
  if (!find_order(w, &k, &has_order))
    return no_memory(w, err);
  bool is_in_days = day_set_has(&w->pass->job->days, k.day);
  if (!is_in_days && !has_order)
    return KPI_OK;
  k.is_in_days = is_in_days;
  k.has_order = has_order;
  return add_item(w, row, &k, err);
}
