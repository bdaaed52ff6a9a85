/* SPDX-License-Identifier: MIT */
#include "server/result_view.h"

#include "base/scope.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PLACE_BYTES_MAX = 4096 };

/* ---- columns ---- */

static void add_column(struct result_view *v, const struct kpi_column *kpi, enum result_part part) {
  static const char *const suffixes[] = {"", "", "_previous", "_difference"};
  assert(v->column_count < RESULT_COLUMNS_MAX);
  struct result_column *col = &v->columns[v->column_count++];
  *col = (struct result_column){.part = part, .kpi = kpi};
  snprintf(col->name, sizeof col->name, "%s%s", kpi ? kpi->name : "change", suffixes[part]);
}

static bool is_key(const struct kpi_column *col) {
  return col->type == KPI_COL_DATE || col->type == KPI_COL_TEXT;
}

/* What names a row comes first in both tables; the change follows it. */
static void add_columns(struct result_view *v, enum kpi_table table, bool compares) {
  struct kpi_columns cols = kpi_table_columns(table);
  for (size_t i = 0; i < cols.count; i++) {
    const struct kpi_column *kpi = &cols.at[i];
    if (compares && !is_key(kpi) && is_key(&cols.at[i - 1]))
      add_column(v, NULL, PART_CHANGE);
    add_column(v, kpi, PART_VALUE);
    if (compares && !is_key(kpi)) {
      add_column(v, kpi, PART_PREVIOUS);
      add_column(v, kpi, PART_DIFFERENCE);
    }
  }
}

const struct result_column *result_view_column(const struct result_view *v, struct view name) {
  for (size_t i = 0; i < v->column_count; i++)
    if (view_is(name, v->columns[i].name))
      return &v->columns[i];
  return NULL;
}

const char *result_column_type(const struct result_column *col) {
  if (col->part == PART_CHANGE)
    return kpi_column_type_name(KPI_COL_TEXT);
  if (col->part == PART_DIFFERENCE && col->kpi->type == KPI_COL_RATIO)
    return kpi_column_type_name(KPI_COL_MONEY);
  return kpi_column_type_name(col->kpi->type);
}

/* ---- rows ---- */

static const struct kpi_row *key_of(const struct result_row *row) {
  return row->now ? row->now : row->before;
}

static int compare_keys(const struct kpi_row *a, const struct kpi_row *b) {
  if (a->day != b->day)
    return a->day < b->day ? -1 : 1;
  return view_cmp(a->category, b->category);
}

/* Both are sorted by their key. */
static void pair_rows(struct result_view *v, const struct kpi_rows *now, const struct kpi_rows *before) {
  size_t n = 0, b = 0;
  while (n < now->count || b < before->count) {
    int order = n == now->count ? 1 : b == before->count ? -1 : compare_keys(&now->rows[n], &before->rows[b]);
    struct result_row *row = &v->rows[v->count++];
    if (order <= 0)
      row->now = &now->rows[n++];
    if (order >= 0)
      row->before = &before->rows[b++];
  }
}

bool result_view_init(struct result_view *out, enum kpi_table table, const struct kpi_rows *now,
                      const struct kpi_rows *before) {
  static const struct kpi_rows none = {0};
  *out = (struct result_view){0};
  add_columns(out, table, before != NULL);
  before = before ? before : &none;
  out->rows = calloc(now->count + before->count + 1, sizeof *out->rows);
  if (out->rows)
    pair_rows(out, now, before);
  return out->rows != NULL;
}

void result_view_clear(struct result_view *v) {
  if (!v)
    return;
  free(v->rows);
  *v = (struct result_view){0};
}

/* ---- cells ---- */

static bool is_same_cell(const struct result_row *row, const struct kpi_column *kpi) {
  bool now_null = kpi_cell_is_null(row->now, kpi), before_null = kpi_cell_is_null(row->before, kpi);
  return now_null || before_null ? now_null == before_null : kpi_cell_cmp(row->now, row->before, kpi) == 0;
}

static const char *change_of(const struct result_row *row, enum kpi_table table) {
  struct kpi_columns cols = kpi_table_columns(table);
  if (!row->now || !row->before)
    return row->now ? "added" : "removed";
  for (size_t i = 0; i < cols.count; i++)
    if (!is_same_cell(row, &cols.at[i]))
      return "changed";
  return "unchanged";
}

/* A row of the order table has no category. */
static const char *change_text(const struct result_row *row) {
  return change_of(row, key_of(row)->category.len ? KPI_CATEGORIES : KPI_ORDERS);
}

/* Returns the row that a value, or the previous value, is taken from; NULL for none. */
static const struct kpi_row *row_of(const struct result_row *row, const struct result_column *col) {
  if (col->part == PART_PREVIOUS)
    return row->before;
  return is_key(col->kpi) ? key_of(row) : row->now;
}

static bool difference_of(const struct result_row *row, const struct kpi_column *kpi, struct decimal *out) {
  struct decimal before;
  if (!row->now || !row->before || !kpi_cell_number(row->now, kpi, out) ||
      !kpi_cell_number(row->before, kpi, &before))
    return false;
  decimal_sub(out, &before);
  return true;
}

static bool is_null(const struct result_row *row, const struct result_column *col) {
  const struct kpi_row *from = row_of(row, col);
  return !from || kpi_cell_is_null(from, col->kpi);
}

void result_cell_text(const struct result_row *row, const struct result_column *col, struct buf *out) {
  char text[DECIMAL_TEXT_SIZE];
  struct decimal difference;
  switch (col->part) {
  case PART_CHANGE:
    buf_add_cstr(out, change_text(row));
    break;
  case PART_DIFFERENCE:
    if (difference_of(row, col->kpi, &difference))
      buf_add(out, (struct view){text, decimal_text(&difference, text)});
    break;
  case PART_VALUE:
  case PART_PREVIOUS:
    if (!is_null(row, col))
      kpi_cell_text(row_of(row, col), col->kpi, out);
    break;
  }
}

static void cell_json(const struct result_row *row, const struct result_column *col, struct buf *out) {
  struct decimal difference;
  if (col->part == PART_CHANGE)
    buf_printf(out, "\"%s\":\"%s\"", col->name, change_text(row));
  else if (col->part == PART_DIFFERENCE && difference_of(row, col->kpi, &difference))
    kpi_number_json(col->name, &difference, out);
  else if (col->part == PART_DIFFERENCE || is_null(row, col))
    buf_printf(out, "\"%s\":null", col->name);
  else
    kpi_cell_json(col->name, row_of(row, col), col->kpi, out);
}

void result_row_json(const struct result_view *v, size_t i, struct buf *out) {
  for (size_t c = 0; c < v->column_count; c++) {
    buf_add_char(out, c ? ',' : '{');
    cell_json(&v->rows[i], &v->columns[c], out);
  }
  buf_add_char(out, '}');
}

void result_view_csv_header(const struct result_view *v, struct buf *out) {
  for (size_t c = 0; c < v->column_count; c++)
    buf_printf(out, "%s%s", c ? "," : "", v->columns[c].name);
  buf_add_char(out, '\n');
}

void result_row_csv(const struct result_view *v, size_t i, struct buf *out) {
  const struct result_row *row = &v->rows[i];
  for (size_t c = 0; c < v->column_count; c++) {
    const struct result_column *col = &v->columns[c];
    if (c)
      buf_add_char(out, ',');
    if (col->part == PART_VALUE && is_key(col->kpi))
      kpi_cell_csv(key_of(row), col->kpi, true, out);
    else
      result_cell_text(row, col, out);
  }
  buf_add_char(out, '\n');
}

/* ---- order ---- */

struct sorting {
  const struct result_column *col;
  bool descending;
};

/* Null stands below every value. */
static int compare_nulls(bool a_null, bool b_null) {
  return (int)b_null - (int)a_null;
}

static int compare_cells(const struct result_row *a, const struct result_row *b,
                         const struct result_column *col) {
  if (col->part == PART_CHANGE)
    return strcmp(change_text(a), change_text(b));
  if (col->part == PART_DIFFERENCE)
    return a->has_difference && b->has_difference ? decimal_cmp(&a->difference, &b->difference)
                                                  : compare_nulls(!a->has_difference, !b->has_difference);
  bool a_null = is_null(a, col), b_null = is_null(b, col);
  if (a_null || b_null)
    return compare_nulls(a_null, b_null);
  return kpi_cell_cmp(row_of(a, col), row_of(b, col), col->kpi);
}

static int compare_rows(const void *a, const void *b, void *arg) {
  const struct sorting *s = arg;
  int order = compare_cells(a, b, s->col);
  if (order == 0)
    return compare_keys(key_of(a), key_of(b));
  return s->descending ? -order : order;
}

void result_view_sort(struct result_view *v, const struct result_column *col, bool descending) {
  struct sorting s = {col, descending};
  if (col->part == PART_DIFFERENCE)
    for (size_t i = 0; i < v->count; i++)
      v->rows[i].has_difference = difference_of(&v->rows[i], col->kpi, &v->rows[i].difference);
  qsort_r(v->rows, v->count, sizeof *v->rows, compare_rows, &s);
}

/* ---- places ---- */

void result_place(const struct kpi_row *row, char out[RESULT_PLACE_SIZE]) {
  char date[DAY_TEXT_SIZE], hash[SHA256_HEX_SIZE];
  auto_buf struct buf name;
  buf_init(&name, PLACE_BYTES_MAX);
  buf_add_cstr(&name, day_text(row->day, date));
  buf_add(&name, row->category);
  crypto_sha256_hex(buf_view(&name), hash);
  view_to_cstr((struct view){hash, RESULT_PLACE_SIZE - 1}, out, RESULT_PLACE_SIZE);
}

void result_view_place(const struct result_view *v, size_t i, char out[RESULT_PLACE_SIZE]) {
  result_place(key_of(&v->rows[i]), out);
}

bool result_view_find(const struct result_view *v, struct view place, size_t *i) {
  char here[RESULT_PLACE_SIZE];
  for (*i = 0; *i < v->count; ++*i) {
    result_view_place(v, *i, here);
    if (view_is(place, here))
      return true;
  }
  return false;
}
