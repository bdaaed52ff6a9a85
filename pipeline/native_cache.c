/* SPDX-License-Identifier: MIT */
#include "pipeline/native_cache.h"

#include "pipeline/timestamp.h"

/* ---- what is kept of a row ---- */

/* True when the text names no zone but UTC: the rules of others, which may change, are not those that entries
 * are named after. */
static bool names_no_zone(struct view text) {
  for (size_t i = 0; i < text.len; i++)
    if (!memchr("0123456789-:. +TZUC", text.ptr[i], 19))
      return false;
  return true;
}

static bool read_day(const struct job *job, struct view text, struct cached_facts *out) {
  return timestamp_day_of_common(text, &out->day) ||
         (names_no_zone(text) && timestamp_day_of_any(text, job->zone, &out->day));
}

/* Reads the id of an order. False unless its code is the same whatever kind of column it stands in. */
static bool read_order(struct view cell, struct cached_facts *out) {
  id_code code;
  const enum id_form form = id_classify(cell, &code);
  out->order = form == ID_FORM_PLAIN ? code : ID_NULL;
  return form == ID_FORM_PLAIN || form == ID_FORM_NULL;
}

static uint16_t form_of(enum id_column column, struct view cell) {
  id_code code;
  return cached_form(column, id_classify(cell, &code));
}

static bool order_facts(const struct job *job, const struct csv_row *row, struct cached_facts *out) {
  out->forms = form_of(ID_ORDERS_USER, row->cells[ORDERS_USER_ID]);
  return read_day(job, row->cells[ORDERS_CREATED_AT], out) && read_order(row->cells[ORDERS_ORDER_ID], out);
}

static bool item_facts(const struct job *job, const struct csv_row *row, struct cached_facts *out) {
  out->forms =
      form_of(ID_ITEMS_ID, row->cells[ITEMS_ID]) | form_of(ID_ITEMS_PRODUCT, row->cells[ITEMS_PRODUCT_ID]);
  return read_day(job, row->cells[ITEMS_CREATED_AT], out) && read_order(row->cells[ITEMS_ORDER_ID], out);
}

/* Products are of no day: all are read. */
static bool product_facts(const struct job *job, const struct csv_row *row, struct cached_facts *out) {
  (void)job;
  (void)row;
  *out = (struct cached_facts){.order = ID_NULL};
  return true;
}

/* ---- which blocks matter ---- */

/* Notes what ids say of their columns. */
static void note_forms(struct native_worker *w, uint16_t forms) {
  for (int c = 0; c < ID_COLUMN_COUNT; c++) {
    w->seen[c].text |= (forms & cached_form((enum id_column)c, ID_FORM_TEXT)) != 0;
    w->seen[c].number |= (forms & cached_form((enum id_column)c, ID_FORM_NUMBER)) != 0;
  }
}

/* Orders of other days matter only to items that would miss them. */
static bool look_at_orders(void *worker, uint16_t forms, const struct cached_orders *orders,
                           unsigned char *wanted) {
  struct native_worker *w = worker;
  (void)wanted;
  note_forms(w, forms);
  if (orders->kind == CACHED_BITS &&
      !native_keep_bits_for_orphans(w, orders->least, orders->bits, orders->count / 64))
    return false;
  for (uint64_t i = 0; orders->kind == CACHED_IDS && i < orders->count; i++)
    if (!native_keep_for_orphans(w, orders->ids[i]))
      return false;
  return true;
}

/* Wants the block of an order of the days of the pass. */
static void want(const struct native_worker *w, id_code order, cached_where where, unsigned char *wanted) {
  if (where != CACHED_NOWHERE && where != CACHED_IN_SEVERAL && join_map_has(&w->pass->orders, order))
    wanted[where - 1] = true;
}

/* Items of other days matter when their order is of the days. */
static bool look_at_items(void *worker, uint16_t forms, const struct cached_orders *orders,
                          unsigned char *wanted) {
  struct native_worker *w = worker;
  note_forms(w, forms);
  for (uint64_t i = 0; orders->kind == CACHED_IDS && i < orders->count; i++)
    want(w, orders->ids[i], orders->where[i], wanted);
  const id_code end = orders->least + orders->count;
  for (id_code order = orders->least;
       orders->kind == CACHED_SPAN && join_map_find_key(&w->pass->orders, &order, end); order++)
    want(w, order, orders->where[order - orders->least], wanted);
  for (uint64_t i = 0; i < orders->pair_count; i++)
    if (join_map_has(&w->pass->orders, orders->pairs[i].order))
      wanted[orders->pairs[i].block] = true;
  return true;
}

struct row_caching native_caching(struct object_cache *cache, enum dataset d) {
  static const struct row_caching caching[DATASET_COUNT] = {
      [DATASET_ORDERS] = {.facts = order_facts, .look = look_at_orders},
      [DATASET_ORDER_ITEMS] = {.facts = item_facts, .look = look_at_items, .asks_where = true},
      [DATASET_PRODUCTS] = {.facts = product_facts}};
  struct row_caching of = caching[d];
  of.cache = cache;
  return of;
}
