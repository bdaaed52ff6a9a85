/* SPDX-License-Identifier: MIT
 * The two KPI tables as data: a row type and, for each table, its columns by name. Every writer (command
 * line, HTTP, SQLite, DynamoDB) walks these columns; none names a KPI column of its own. */
#ifndef KPID_PIPELINE_KPI_TABLE_H
#define KPID_PIPELINE_KPI_TABLE_H

#include "base/crypto.h"
#include "pipeline/day.h"
#include "pipeline/decimal.h"

enum kpi_table { KPI_ORDERS, KPI_CATEGORIES, KPI_TABLE_COUNT };

/* One result row of either table. */
struct kpi_row {
  day_t day;
  struct view category; /* UTF-8, empty in the order table; borrowed from the kpi_rows that hold the row */
  struct decimal revenue;
  uint64_t orders;            /* distinct order ids */
  uint64_t items;             /* order table: distinct item ids; category table: item rows */
  uint64_t customers;         /* distinct user ids; order table only */
  uint64_t returned_items;    /* item rows with status returned */
  uint64_t returned_orders;   /* order table: orders with status returned; category table: orders with such an
                                 item */
  bool returned_orders_known; /* false when no orders file has a status column */
  double avg_order_value;     /* revenue / orders */
  double return_rate;         /* returned_items / orders */
  double orders_returned_rate; /* returned_orders / orders */
};

/* Rows of one table, sorted by day, then category bytewise. Owns rows and category bytes. */
struct kpi_rows {
  struct kpi_row *rows;
  size_t count, cap;
};

enum kpi_column_type { KPI_COL_DATE, KPI_COL_TEXT, KPI_COL_MONEY, KPI_COL_RATIO, KPI_COL_COUNT };

struct kpi_column {
  const char *name;
  enum kpi_column_type type;
  size_t offset;           /* of the member in struct kpi_row */
  bool original;           /* part of the replaced job's item shape */
  bool needs_order_status; /* null when the rows say returned_orders_known = false */
};

struct kpi_columns {
  const struct kpi_column *at;
  size_t count;
};

/* Returns the columns of a table in the order they are shown. */
struct kpi_columns kpi_table_columns(enum kpi_table table);

/* Returns "order_kpis" or "category_kpis". */
const char *kpi_table_name(enum kpi_table table);

/* Returns the public name of a column type: date, string, decimal, ratio or integer. */
const char *kpi_column_type_name(enum kpi_column_type type);

/* True when the cell is null. */
bool kpi_cell_is_null(const struct kpi_row *row, const struct kpi_column *col);

/* Appends the cell's plain text (money exact, ratios as the shortest text); nothing for null. */
void kpi_cell_text(const struct kpi_row *row, const struct kpi_column *col, struct buf *out);

/* Compares two cells of a column that are not null, by value: money exactly. Returns <0, 0, >0. */
int kpi_cell_cmp(const struct kpi_row *a, const struct kpi_row *b, const struct kpi_column *col);

/* The cell as an exact number: a ratio is what its shortest text says, beyond 18 decimals rounded. False for
 * null, dates, texts, and ratios of 10^126 or more. */
bool kpi_cell_number(const struct kpi_row *row, const struct kpi_column *col, struct decimal *out);

/* Appends "name":value as kpi_row_json does. */
void kpi_cell_json(const char *name, const struct kpi_row *row, const struct kpi_column *col,
                   struct buf *out);

/* Appends "name":number, and the twin "name_exact" where it has more than 17 significant digits. */
void kpi_number_json(const char *name, const struct decimal *number, struct buf *out);

/* Appends a text as a cell of RFC 4180, in quotes where it needs them and when it is empty. */
void kpi_csv_text(struct view text, bool guard_formulas, struct buf *out);

/* Appends the cell as kpi_row_csv does. */
void kpi_cell_csv(const struct kpi_row *row, const struct kpi_column *col, bool guard_formulas,
                  struct buf *out);

/* Appends the row as a JSON object: numbers with at most 17 significant digits and, where money holds more, a
 * string twin named <column>_exact. */
void kpi_row_json(const struct kpi_row *row, enum kpi_table table, struct buf *out);

/* Appends an RFC 4180 header line or row with LF. `guard_formulas` puts a ' before a text that a spreadsheet
 * would run as a formula (starts with = + - @ tab CR). */
void kpi_csv_header(enum kpi_table table, struct buf *out);
void kpi_row_csv(const struct kpi_row *row, enum kpi_table table, bool guard_formulas, struct buf *out);

/* Writes the SHA-256 over the rows of both tables as CSV, in their order. False when memory is exhausted. */
bool kpi_tables_digest(const struct kpi_rows tables[KPI_TABLE_COUNT], char out[SHA256_HEX_SIZE]);

/* Appends an empty row with a copy of `category`. Returns it (borrowed), NULL when memory is exhausted. */
struct kpi_row *kpi_rows_add(struct kpi_rows *rows, day_t day, struct view category);

/* Sorts by day, then category. */
void kpi_rows_sort(struct kpi_rows *rows);

/* Frees all rows. Accepts NULL. */
void kpi_rows_clear(struct kpi_rows *rows);

#endif
