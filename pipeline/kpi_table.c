/* SPDX-License-Identifier: MIT */
#include "pipeline/kpi_table.h"

#include "base/alloc.h"
#include "base/scope.h"
#include "pipeline/double_text.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_DIGITS_MAX = 17, LINE_BYTES_MAX = 64 * 1024 };

#define AT(member) offsetof(struct kpi_row, member)

static const struct kpi_column order_columns[] = {
    {"order_date", KPI_COL_DATE, AT(day), true, false},
    {"total_orders", KPI_COL_COUNT, AT(orders), true, false},
    {"total_revenue", KPI_COL_MONEY, AT(revenue), true, false},
    {"total_items_sold", KPI_COL_COUNT, AT(items), true, false},
    {"return_rate", KPI_COL_RATIO, AT(return_rate), true, false},
    {"unique_customers", KPI_COL_COUNT, AT(customers), true, false},
    {"returned_items", KPI_COL_COUNT, AT(returned_items), false, false},
    {"returned_orders", KPI_COL_COUNT, AT(returned_orders), false, true},
    {"orders_returned_rate", KPI_COL_RATIO, AT(orders_returned_rate), false, true},
    {"avg_order_value", KPI_COL_RATIO, AT(avg_order_value), false, false},
};

static const struct kpi_column category_columns[] = {
    {"category", KPI_COL_TEXT, AT(category), true, false},
    {"order_date", KPI_COL_DATE, AT(day), true, false},
    {"daily_revenue", KPI_COL_MONEY, AT(revenue), true, false},
    {"avg_order_value", KPI_COL_RATIO, AT(avg_order_value), true, false},
    {"avg_return_rate", KPI_COL_RATIO, AT(return_rate), true, false},
    {"order_count", KPI_COL_COUNT, AT(orders), false, false},
    {"item_count", KPI_COL_COUNT, AT(items), false, false},
    {"returned_items", KPI_COL_COUNT, AT(returned_items), false, false},
    {"returned_orders", KPI_COL_COUNT, AT(returned_orders), false, false},
    {"orders_returned_rate", KPI_COL_RATIO, AT(orders_returned_rate), false, false},
};

#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

struct kpi_columns kpi_table_columns(enum kpi_table table) {
  if (table == KPI_ORDERS)
    return (struct kpi_columns){order_columns, COUNT_OF(order_columns)};
  return (struct kpi_columns){category_columns, COUNT_OF(category_columns)};
}

const char *kpi_table_name(enum kpi_table table) {
  return table == KPI_ORDERS ? "order_kpis" : "category_kpis";
}

const char *kpi_column_type_name(enum kpi_column_type type) {
  static const char *const names[] = {"date", "string", "decimal", "ratio", "integer"};
  return names[type];
}

static const void *cell_of(const struct kpi_row *row, const struct kpi_column *col) {
  return (const char *)row + col->offset;
}

bool kpi_cell_is_null(const struct kpi_row *row, const struct kpi_column *col) {
  return col->needs_order_status && !row->returned_orders_known;
}

void kpi_cell_text(const struct kpi_row *row, const struct kpi_column *col, struct buf *out) {
  char text[DECIMAL_TEXT_SIZE];
  const void *cell = cell_of(row, col);
  if (kpi_cell_is_null(row, col))
    return;
  switch (col->type) {
  case KPI_COL_DATE:
    buf_add_cstr(out, day_text(*(const day_t *)cell, text));
    break;
  case KPI_COL_TEXT:
    buf_add(out, *(const struct view *)cell);
    break;
  case KPI_COL_MONEY:
    buf_add(out, (struct view){text, decimal_text(cell, text)});
    break;
  case KPI_COL_RATIO:
    buf_add(out, (struct view){text, double_text(*(const double *)cell, text)});
    break;
  case KPI_COL_COUNT:
    buf_add_count(out, *(const uint64_t *)cell);
    break;
  }
}

int kpi_cell_cmp(const struct kpi_row *a, const struct kpi_row *b, const struct kpi_column *col) {
  const void *x = cell_of(a, col), *y = cell_of(b, col);
  switch (col->type) {
  case KPI_COL_DATE:
    return (*(const day_t *)x > *(const day_t *)y) - (*(const day_t *)x < *(const day_t *)y);
  case KPI_COL_TEXT:
    return view_cmp(*(const struct view *)x, *(const struct view *)y);
  case KPI_COL_MONEY:
    return decimal_cmp(x, y);
  case KPI_COL_RATIO:
    return (*(const double *)x > *(const double *)y) - (*(const double *)x < *(const double *)y);
  case KPI_COL_COUNT:
    break;
  }
  return (*(const uint64_t *)x > *(const uint64_t *)y) - (*(const uint64_t *)x < *(const uint64_t *)y);
}

bool kpi_cell_number(const struct kpi_row *row, const struct kpi_column *col, struct decimal *out) {
  char text[DOUBLE_TEXT_SIZE];
  if (kpi_cell_is_null(row, col) || col->type == KPI_COL_DATE || col->type == KPI_COL_TEXT)
    return false;
  if (col->type == KPI_COL_MONEY) {
    *out = *(const struct decimal *)cell_of(row, col);
    return true;
  }
  if (col->type == KPI_COL_COUNT)
    snprintf(text, sizeof text, "%llu", (unsigned long long)*(const uint64_t *)cell_of(row, col));
  else
    double_text(*(const double *)cell_of(row, col), text);
  enum decimal_parse parsed = decimal_parse(view_of(text), out);
  return parsed == DECIMAL_OK || parsed == DECIMAL_ROUNDED;
}

/* ---- JSON ---- */

/* Counts digits without sign, point and leading zeros. */
static size_t significant_digits(const char *text) {
  size_t digits = 0;
  for (; *text; text++)
    if (*text >= '0' && *text <= '9' && (digits > 0 || *text != '0'))
      digits++;
  return digits;
}

/* More digits than a double keeps are sent as the nearest double and, exactly, as text. */
void kpi_number_json(const char *name, const struct decimal *number, struct buf *out) {
  char exact[DECIMAL_TEXT_SIZE];
  decimal_text(number, exact);
  if (significant_digits(exact) <= JSON_DIGITS_MAX) {
    buf_printf(out, "\"%s\":%s", name, exact);
    return;
  }
  char nearest[DOUBLE_TEXT_SIZE];
  double_text(decimal_ratio(number, 1), nearest);
  buf_printf(out, "\"%s\":%s,\"%s_exact\":\"%s\"", name, nearest, name, exact);
}

void kpi_cell_json(const char *name, const struct kpi_row *row, const struct kpi_column *col,
                   struct buf *out) {
  if (col->type == KPI_COL_MONEY) {
    kpi_number_json(name, cell_of(row, col), out);
    return;
  }
  buf_printf(out, "\"%s\":", name);
  if (kpi_cell_is_null(row, col)) {
    buf_add_cstr(out, "null");
  } else if (col->type == KPI_COL_TEXT) {
    buf_add_char(out, '"');
    buf_add_json(out, *(const struct view *)cell_of(row, col));
    buf_add_char(out, '"');
  } else {
    const char *quote = col->type == KPI_COL_DATE ? "\"" : "";
    buf_add_cstr(out, quote);
    kpi_cell_text(row, col, out);
    buf_add_cstr(out, quote);
  }
}

void kpi_row_json(const struct kpi_row *row, enum kpi_table table, struct buf *out) {
  struct kpi_columns cols = kpi_table_columns(table);
  for (size_t i = 0; i < cols.count; i++) {
    buf_add_char(out, i ? ',' : '{');
    kpi_cell_json(cols.at[i].name, row, &cols.at[i], out);
  }
  buf_add_char(out, '}');
}

/* ---- CSV ---- */

void kpi_csv_header(enum kpi_table table, struct buf *out) {
  struct kpi_columns cols = kpi_table_columns(table);
  for (size_t i = 0; i < cols.count; i++)
    buf_printf(out, "%s%s", i ? "," : "", cols.at[i].name);
  buf_add_char(out, '\n');
}

void kpi_csv_text(struct view text, bool guard_formulas, struct buf *out) {
  bool guard = guard_formulas && text.len && text.ptr[0] != '\0' && strchr("=+-@\t\r", text.ptr[0]);
  bool quote = text.len == 0;
  for (size_t i = 0; i < text.len; i++)
    quote |= text.ptr[i] == ',' || text.ptr[i] == '"' || text.ptr[i] == '\r' || text.ptr[i] == '\n';
  if (!quote && !guard) {
    buf_add(out, text);
    return;
  }
  if (quote)
    buf_add_char(out, '"');
  if (guard)
    buf_add_char(out, '\'');
  for (size_t i = 0; i < text.len; i++) {
    if (text.ptr[i] == '"')
      buf_add_char(out, '"');
    buf_add_char(out, text.ptr[i]);
  }
  if (quote)
    buf_add_char(out, '"');
}

void kpi_cell_csv(const struct kpi_row *row, const struct kpi_column *col, bool guard_formulas,
                  struct buf *out) {
  if (col->type == KPI_COL_TEXT)
    kpi_csv_text(*(const struct view *)cell_of(row, col), guard_formulas, out);
  else
    kpi_cell_text(row, col, out);
}

void kpi_row_csv(const struct kpi_row *row, enum kpi_table table, bool guard_formulas, struct buf *out) {
  struct kpi_columns cols = kpi_table_columns(table);
  for (size_t i = 0; i < cols.count; i++) {
    if (i)
      buf_add_char(out, ',');
    kpi_cell_csv(row, &cols.at[i], guard_formulas, out);
  }
  buf_add_char(out, '\n');
}

/* ---- rows ---- */

struct kpi_row *kpi_rows_add(struct kpi_rows *rows, day_t day, struct view category) {
  struct kpi_row *grown = array_room(rows->rows, rows->count, &rows->cap, sizeof *grown);
  if (!grown)
    return NULL;
  rows->rows = grown;
  char *copy = malloc(category.len + 1);
  if (!copy)
    return NULL;
  if (category.len)
    memcpy(copy, category.ptr, category.len);
  copy[category.len] = '\0';
  struct kpi_row *row = &rows->rows[rows->count++];
  *row = (struct kpi_row){.day = day, .category = {copy, category.len}};
  return row;
}

static int compare_rows(const void *a, const void *b) {
  const struct kpi_row *x = a, *y = b;
  if (x->day != y->day)
    return x->day < y->day ? -1 : 1;
  return view_cmp(x->category, y->category);
}

void kpi_rows_sort(struct kpi_rows *rows) {
  if (rows->count)
    qsort(rows->rows, rows->count, sizeof *rows->rows, compare_rows);
}

void kpi_rows_clear(struct kpi_rows *rows) {
  if (!rows)
    return;
  for (size_t i = 0; i < rows->count; i++)
    free((char *)(uintptr_t)rows->rows[i].category.ptr);
  free(rows->rows);
  *rows = (struct kpi_rows){0};
}

/* ---- digest ---- */

static void digest_rows(struct sha256 *hash, enum kpi_table table, const struct kpi_rows *rows) {
  for (size_t i = 0; i < rows->count; i++) {
    auto_buf struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    kpi_row_csv(&rows->rows[i], table, false, &line);
    sha256_add(hash, buf_view(&line));
  }
}

bool kpi_tables_digest(const struct kpi_rows tables[KPI_TABLE_COUNT], char out[SHA256_HEX_SIZE]) {
  struct sha256 *hash = sha256_new();
  if (!hash)
    return false;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    digest_rows(hash, (enum kpi_table)t, &tables[t]);
  sha256_hex(hash, out);
  sha256_free(hash);
  return true;
}
