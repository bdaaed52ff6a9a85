/* SPDX-License-Identifier: MIT */
#include "pipeline/native_skip.h"

#include "pipeline/timestamp.h"

/* Bytes that id_read_plain may look at; the rows at the end of a block that have fewer are not skipped. */
static bool is_readable(const struct csv_cursor *c) {
  return c->end - csv_plain_end(c) > ID_READ_BYTES;
}

static inline bool is_of_another_day(const struct native_worker *w, struct view created_at) {
  day_t day;
  return timestamp_day_of_common(created_at, &day) && !day_set_has(&w->pass->job->days, day);
}

/* Every order's id is kept, whatever its day, for the orphans among the items. */
size_t native_skip_orders(void *worker, struct csv_cursor *c, const struct csv_binding *b) {
  const struct native_worker *w = worker;
  size_t skipped = 0;
  for (; csv_is_plain(c, b) && is_readable(c); skipped++) {
    id_code order, user;
    if (!is_of_another_day(w, csv_plain_cell(c, b->cell[ORDERS_CREATED_AT])) ||
        !id_read_plain(csv_plain_cell(c, b->cell[ORDERS_ORDER_ID]), &order) ||
        !id_read_plain(csv_plain_cell(c, b->cell[ORDERS_USER_ID]), &user) ||
        id_marks_add(w->pass->all_orders, order) == ID_MARK_NO_ROOM)
      break;
    csv_skip_plain(c);
  }
  return skipped;
}

size_t native_skip_items(void *worker, struct csv_cursor *c, const struct csv_binding *b) {
  const struct native_worker *w = worker;
  size_t skipped = 0;
  for (; csv_is_plain(c, b) && is_readable(c); skipped++) {
    id_code item, order, product;
    if (!is_of_another_day(w, csv_plain_cell(c, b->cell[ITEMS_CREATED_AT])) ||
        !id_read_plain(csv_plain_cell(c, b->cell[ITEMS_ID]), &item) ||
        !id_read_plain(csv_plain_cell(c, b->cell[ITEMS_ORDER_ID]), &order) ||
        !id_read_plain(csv_plain_cell(c, b->cell[ITEMS_PRODUCT_ID]), &product) ||
        join_map_may_have(&w->pass->orders, order))
      break;
    csv_skip_plain(c);
  }
  return skipped;
}
