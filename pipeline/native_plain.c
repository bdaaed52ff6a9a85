/* SPDX-License-Identifier: MIT */
#include "pipeline/native_plain.h"

_Static_assert((int)PLAIN_STATUS_BYTES <= (int)PLAIN_BATCH_BYTES, "statuses can be read");

/* Finds what is known of a status; NULL when a row with it is not plain. */
static const struct plain_status *find_status(struct native_worker *w, struct view text) {
  struct plain_statuses *known = &w->plain_statuses;
  if (text.len - 1 >= PLAIN_STATUS_BYTES)
    return NULL;
  struct plain_status key;
  struct plain_status *home = plain_status_home(known, text, &key);
  if (plain_status_is(home, &key))
    return home;
  if (home->len || known->count == PLAIN_STATUSES_MAX)
    return NULL;
  const struct status_verdict v = status_judge(&w->statuses, text, w->pass->job->status_match);
  if (!v.is_known || v.is_near_miss)
    return NULL;
  *home = key;
  home->bit = (uint32_t)1 << known->count++;
  home->is_returned = native_is_returned(w, text);
  view_to_cstr(text, home->text, sizeof home->text);
  return home;
}

/* ---- orders ---- */

struct plain_order {
  day_t day;
  id_code order, user;
  const struct plain_status *status; /* NULL: orders have none */
};

/* False, and nothing is added, when the row has to go the usual way. */
static bool add_order(struct native_worker *w, const struct plain_order *o) {
  struct native_pass *p = w->pass;
  struct budget *budget = p->job->budget;
  struct native_day *noted = native_days_at(&w->days, budget, o->day);
  if (!noted || !p->order_marks)
    return false;
  struct plain_day *day = &noted->plain;
  if (!day->group)
    day->group = aggregate_group(&w->groups, budget, o->day, GROUP_NO_CATEGORY);
  if (!day->group || !idset_add(&day->group->users, budget, o->user) ||
      (o->status && o->status->is_returned && !idset_add(&day->group->returned_orders, budget, o->order)) ||
      !join_pairs_add(&w->orders, budget, o->order, (uint32_t)o->day))
    return false;
  native_mark_id(w, p->order_marks, &w->order_run, o->order);
  noted->has_rows = true;
  day->group->order_id_rows++;
  day->orders.rows++;
  plain_range_add(&day->orders.order, o->order);
  plain_range_add(&day->orders.user, o->user);
  if (o->status)
    day->orders.statuses |= o->status->bit;
  return true;
}

enum { ORDER_ID, USER_ID }; /* in a batch */

static size_t take_orders(void *worker, struct csv_cursor *c, const struct csv_binding *b,
                          const struct plain_batch *batch) {
  struct native_worker *w = worker;
  size_t taken = 0;
  if (native_is_void(w))
    return 0;
  for (size_t i = c->row - batch->row; i < batch->count && !batch->is_odd[i]; i++, taken++) {
    struct plain_order o = {
        .day = (day_t)batch->days[i], .order = batch->ids[ORDER_ID][i], .user = batch->ids[USER_ID][i]};
    if (!native_keep_for_orphans(w, o.order))
      break;
    if (day_set_has(&w->pass->job->days, o.day)) {
      if (b->has[ORDERS_STATUS] && !(o.status = find_status(w, csv_plain_cell(c, b->cell[ORDERS_STATUS]))))
        break;
      if (!add_order(w, &o))
        break;
    }
    csv_skip_plain(c);
  }
  return taken;
}

const struct scan_plain native_plain_orders = {
    .columns = {.day = ORDERS_CREATED_AT,
                .ids = {[ORDER_ID] = ORDERS_ORDER_ID, [USER_ID] = ORDERS_USER_ID},
                .id_count = 2},
    .take = take_orders};

/* ---- items ---- */

struct plain_item {
  day_t day;
  id_code id, order, product;
  decimal_small price;
  const struct plain_status *status;
};

/* Finds the bit of a product's category. False unless the product is one row that can be sold. */
static bool find_category_bit(const struct native_pass *p, id_code product, unsigned *bit) {
  if (p->product_bits) {
    const id_code at = product - p->products.least;
    const unsigned known = at < p->products.slot_count ? p->product_bits[at] : 0;
    *bit = known & ~(unsigned)CATEGORY_BIT_KNOWN;
    return known;
  }
  const struct join_slot *only = join_map_only(&p->products, product);
  if (!only || only->value & PRODUCT_IS_BAD)
    return false;
  *bit = p->category_bits[only->value];
  return true;
}

/* Adds the item to its category, which is sold once in an order of the day. */
static bool add_to_category(struct native_worker *w, struct plain_day *day, const struct plain_item *it,
                            const struct join_slot *order, unsigned bit) {
  const struct native_pass *p = w->pass;
  if (!plain_day_reserve(day, &w->days.arena, p->job->budget, p->category_count))
    return false;
  struct plain_category *sum = &day->categories[bit];
  sum->revenue += it->price;
  sum->rows++;
  sum->returned_rows += it->status->is_returned;
  native_count_order(p, order, bit, it->status->is_returned, &sum->orders, &sum->returned_orders);
  return true;
}

/* False, and nothing is added, when the row has to go the usual way. */
static bool add_item(struct native_worker *w, const struct plain_item *it) {
  struct native_pass *p = w->pass;
  const struct join_slot *order = join_map_only(&p->orders, it->order);
  unsigned bit;
  if (!order || (day_t)order->value != it->day || !find_category_bit(p, it->product, &bit))
    return false;
  struct native_day *noted = native_days_at(&w->days, p->job->budget, it->day);
  if (!noted || !add_to_category(w, &noted->plain, it, order, bit))
    return false;
  struct plain_day *day = &noted->plain;
  native_mark_id(w, p->item_marks, &w->item_run, it->id);
  join_map_meet(&p->orders, order);
  noted->has_rows = true;
  day->items.rows++;
  day->items.returned_rows += it->status->is_returned;
  day->items.statuses |= it->status->bit;
  plain_range_add(&day->items.id, it->id);
  plain_range_add(&day->items.order, it->order);
  plain_range_add(&day->items.product, it->product);
  day->items.revenue += it->price;
  if (it->price > day->items.price_max)
    day->items.price_max = it->price;
  if (~it->price > day->items.price_max_inverted)
    day->items.price_max_inverted = ~it->price;
  return true;
}

enum { ITEM_ID, ITEM_ORDER_ID, ITEM_PRODUCT_ID }; /* in a batch */

static size_t take_items(void *worker, struct csv_cursor *c, const struct csv_binding *b,
                         const struct plain_batch *batch) {
  struct native_worker *w = worker;
  size_t taken = 0;
  if (native_is_void(w))
    return 0;
  for (size_t i = c->row - batch->row; i < batch->count && !batch->is_odd[i]; i++, taken++) {
    KPI_UNSET struct plain_item it;
    it.day = (day_t)batch->days[i];
    it.id = batch->ids[ITEM_ID][i];
    it.order = batch->ids[ITEM_ORDER_ID][i];
    it.product = batch->ids[ITEM_PRODUCT_ID][i];
    if (day_set_has(&w->pass->job->days, it.day)) {
      if (!w->pass->category_marks.words || !w->pass->item_marks ||
          !decimal_read_small(csv_plain_cell(c, b->cell[ITEMS_SALE_PRICE]), &it.price) ||
          !(it.status = find_status(w, csv_plain_cell(c, b->cell[ITEMS_STATUS]))) || !add_item(w, &it))
        break;
    } else if (join_map_may_have(&w->pass->orders, it.order)) {
      break;
    }
    csv_skip_plain(c);
  }
  return taken;
}

const struct scan_plain native_plain_items = {
    .columns =
        {.day = ITEMS_CREATED_AT,
         .ids =
             {[ITEM_ID] = ITEMS_ID, [ITEM_ORDER_ID] = ITEMS_ORDER_ID, [ITEM_PRODUCT_ID] = ITEMS_PRODUCT_ID},
         .id_count = 3},
    .take = take_items};

/* ---- at the end ---- */

static void settle_orders(const struct native_worker *w, const struct plain_day *plain, day_t day,
                          struct quality_tally *tally) {
  struct column_stats *columns = tally->columns[DATASET_ORDERS];
  tally->relevant[DATASET_ORDERS] += plain->orders.rows;
  plain_range_settle(&plain->orders.order, &columns[ORDERS_ORDER_ID]);
  plain_range_settle(&plain->orders.user, &columns[ORDERS_USER_ID]);
  column_stats_number(&columns[ORDERS_CREATED_AT], day);
  plain_statuses_settle(&w->plain_statuses, plain->orders.statuses, &columns[ORDERS_STATUS]);
}

static void settle_items(const struct native_worker *w, const struct plain_day *plain, day_t day,
                         struct quality_tally *tally) {
  const struct decimal revenue = decimal_of_small(plain->items.revenue);
  const struct decimal least = decimal_of_small(~plain->items.price_max_inverted);
  const struct decimal greatest = decimal_of_small(plain->items.price_max);
  struct column_stats *columns = tally->columns[DATASET_ORDER_ITEMS];
  tally->relevant[DATASET_ORDER_ITEMS] += plain->items.rows;
  decimal_add(&tally->item_revenue, &revenue);
  plain_range_settle(&plain->items.id, &columns[ITEMS_ID]);
  plain_range_settle(&plain->items.order, &columns[ITEMS_ORDER_ID]);
  plain_range_settle(&plain->items.product, &columns[ITEMS_PRODUCT_ID]);
  column_stats_number(&columns[ITEMS_CREATED_AT], day);
  plain_statuses_settle(&w->plain_statuses, plain->items.statuses, &columns[ITEMS_STATUS]);
  column_stats_money(&columns[ITEMS_SALE_PRICE], &least);
  column_stats_money(&columns[ITEMS_SALE_PRICE], &greatest);
}

/* A day of plain items, on its way into groups. */
struct settling {
  struct native_worker *to;
  const struct plain_day *plain;
  day_t day;
};

static bool settle_category(void *arg, struct view name, uint64_t number) {
  const struct settling *s = arg;
  const struct native_pass *p = s->to->pass;
  (void)name;
  const struct plain_category *sum = &s->plain->categories[p->category_bits[number]];
  if (sum->rows == 0)
    return true;
  struct group *g = aggregate_group(&s->to->groups, p->job->budget, s->day, (uint32_t)number);
  if (!g)
    return false;
  const struct decimal revenue = decimal_of_small(sum->revenue);
  decimal_add(&g->revenue, &revenue);
  g->item_rows += sum->rows;
  g->returned_rows += sum->returned_rows;
  g->marked.orders += sum->orders;
  g->marked.returned_orders += sum->returned_orders;
  return true;
}

static bool settle_groups(struct native_worker *to, const struct plain_day *plain, day_t day) {
  const struct decimal revenue = decimal_of_small(plain->items.revenue);
  struct group *g = aggregate_group(&to->groups, to->pass->job->budget, day, GROUP_NO_CATEGORY);
  if (!g)
    return false;
  decimal_add(&g->revenue, &revenue);
  g->item_rows += plain->items.rows;
  g->item_id_rows += plain->items.rows;
  g->returned_rows += plain->items.returned_rows;
  return dict_each(to->pass->categories, settle_category, &(struct settling){to, plain, day});
}

bool native_plain_settle(const struct native_worker *w, struct native_worker *to) {
  const struct native_day *noted;
  for (day_t day = DAY_MIN; (noted = native_days_next(&w->days, &day)) != NULL; day++) {
    const struct plain_day *plain = &noted->plain;
    if (!plain->orders.rows && !plain->items.rows)
      continue;
    const struct native_day *home = native_days_tallied(&to->days, to->pass->job->budget, day);
    if (!home)
      return false;
    if (plain->orders.rows)
      settle_orders(w, plain, day, home->tally);
    if (plain->items.rows) {
      settle_items(w, plain, day, home->tally);
      if (!settle_groups(to, plain, day))
        return false;
    }
  }
  return true;
}
