/* SPDX-License-Identifier: MIT */
#include "pipeline/dynamodb_items.h"

#include "aws/dynamodb.h"
#include "base/scope.h"

#include <stdio.h>
#include <string.h>

enum { DIGITS_MAX = 38, CELL_BYTES_MAX = 4096 };

/* ---- KPI rows ---- */

/* DynamoDB keeps 38 digits: a longer sum is rounded half up, and written as digits and exponent. (No sum of
 * this world comes near.) */
static void round_digits(struct buf *text) {
  char digits[DECIMAL_TEXT_SIZE + 1] = "0"; /* a leading 0 takes the carry */
  size_t count = 1;
  long exponent = 0;
  bool after_point = false;
  struct view v = buf_view(text);
  for (size_t i = 0; i < v.len; i++) {
    after_point |= v.ptr[i] == '.';
    if (v.ptr[i] < '0' || v.ptr[i] > '9' || (v.ptr[i] == '0' && count == 1))
      continue;
    digits[count++] = v.ptr[i];
    exponent -= after_point;
  }
  if (count <= DIGITS_MAX + 1)
    return;
  exponent += (long)count - (DIGITS_MAX + 1);
  bool carry = digits[DIGITS_MAX + 1] >= '5';
  for (size_t i = DIGITS_MAX + 1; carry && i-- > 0;) {
    carry = digits[i] == '9';
    digits[i] = carry ? '0' : (char)(digits[i] + 1);
  }
  bool is_negative = v.ptr[0] == '-';
  buf_reset(text);
  buf_printf(text, "%s%.*sE%ld", is_negative ? "-" : "", DIGITS_MAX + 1, digits, exponent);
}

static json_t *cell_value(const struct kpi_row *row, const struct kpi_column *col) {
  auto_buf struct buf text;
  buf_init(&text, CELL_BYTES_MAX);
  kpi_cell_text(row, col, &text);
  if (buf_failed(&text))
    return NULL;
  if (col->type == KPI_COL_DATE || col->type == KPI_COL_TEXT)
    return dynamodb_text(buf_view(&text));
  if (col->type == KPI_COL_MONEY)
    round_digits(&text);
  return dynamodb_number(buf_view(&text));
}

static bool add_stamp(json_t *item, const struct item_stamp *stamp) {
  bool ok = json_object_set_new(item, "run_id", dynamodb_text(view_of(stamp->run_id))) == 0 &&
            json_object_set_new(item, "published_at", dynamodb_text(view_of(stamp->published_at))) == 0;
  return ok && (stamp->version == 0 ||
                json_object_set_new(item, "publish_version", dynamodb_count(stamp->version)) == 0);
}

json_t *dynamodb_kpi_item(const struct kpi_row *row, enum kpi_table table, enum item_shape shape,
                          const struct item_stamp *stamp) {
  struct kpi_columns columns = kpi_table_columns(table);
  json_t *item = json_object();
  bool ok = item != NULL;
  for (size_t i = 0; ok && i < columns.count; i++) {
    const struct kpi_column *col = &columns.at[i];
    if ((shape == SHAPE_FULL || col->original) && !kpi_cell_is_null(row, col))
      ok = json_object_set_new(item, col->name, cell_value(row, col)) == 0;
  }
  if (ok && shape == SHAPE_FULL)
    ok = add_stamp(item, stamp);
  if (ok)
    return item;
  json_decref(item);
  return NULL;
}

json_t *dynamodb_kpi_key(enum kpi_table table, day_t day, struct view category) {
  char date[DAY_TEXT_SIZE];
  json_t *value = dynamodb_text(view_of(day_text(day, date)));
  if (table == KPI_ORDERS)
    return json_pack("{s:o}", "order_date", value);
  return json_pack("{s:o, s:o}", "category", dynamodb_text(category), "order_date", value);
}

/* ---- control rows ---- */

void control_pk(day_t day, char out[CONTROL_PK_SIZE]) {
  char date[DAY_TEXT_SIZE];
  snprintf(out, CONTROL_PK_SIZE, "date#%s", day_text(day, date));
}

json_t *control_key(const char *pk) {
  return json_pack("{s:o}", "pk", dynamodb_text(view_of(pk)));
}

json_t *control_names(const struct names *names) {
  json_t *list = json_array();
  for (size_t i = 0; i < names->count; i++)
    if (json_array_append_new(list, dynamodb_text(names->at[i])) != 0) {
      json_decref(list);
      return NULL;
    }
  return list ? json_pack("{s:o}", "L", list) : NULL;
}

static bool read_names(const json_t *item, const char *name, struct names *out) {
  size_t i;
  json_t *value;
  json_t *list = json_object_get(json_object_get(item, name), "L");
  json_array_foreach(list, i, value) {
    const json_t *text = json_object_get(value, "S");
    if (!json_is_string(text) ||
        !names_add(out, (struct view){json_string_value(text), json_string_length(text)}))
      return false;
  }
  names_seal(out);
  return true;
}

void control_row_clear(struct control_row *c) {
  if (!c)
    return;
  names_clear(&c->categories);
  names_clear(&c->pending_categories);
  *c = (struct control_row){0};
}

static bool read_count(const json_t *item, const char *name, uint64_t *out) {
  return !json_object_get(item, name) || dynamodb_get_count(item, name, out);
}

bool control_row_read(const json_t *item, struct control_row *out) {
  *out = (struct control_row){0};
  if (!item)
    return true;
  struct publish_control *c = &out->control;
  bool ok = read_count(item, "ver", &c->version) && read_count(item, "pending", &c->pending) &&
            read_count(item, "orders", &out->orders) &&
            view_to_cstr(dynamodb_get_text(item, "publish_id"), c->published_id, sizeof c->published_id) &&
            view_to_cstr(dynamodb_get_text(item, "pending_id"), c->pending_id, sizeof c->pending_id) &&
            view_to_cstr(dynamodb_get_text(item, "digest"), out->digest, sizeof out->digest) &&
            read_names(item, "categories", &out->categories) &&
            read_names(item, "pending_categories", &out->pending_categories);
  ok = ok && (c->version > 0) == (json_object_get(item, "ver") != NULL) &&
       (c->version > 0) == (c->published_id[0] != '\0') && (c->pending > 0) == (c->pending_id[0] != '\0');
  if (!ok)
    control_row_clear(out);
  return ok;
}
