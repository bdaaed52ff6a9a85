/* SPDX-License-Identifier: MIT
 * The rows of a run as they are shown: their columns, each row beside that of an earlier run where the two
 * are compared, in any order, with a name for the place of a row that is short whatever the row holds. Pure;
 * knows no storage and no HTTP. */
#ifndef KPID_SERVER_RESULT_VIEW_H
#define KPID_SERVER_RESULT_VIEW_H

#include "pipeline/kpi_table.h"

enum { RESULT_COLUMNS_MAX = 32, RESULT_COLUMN_NAME_SIZE = 48, RESULT_PLACE_SIZE = 33 };

/* What a column shows of the two rows that are compared. */
enum result_part { PART_VALUE, PART_CHANGE, PART_PREVIOUS, PART_DIFFERENCE };

struct result_column {
  char name[RESULT_COLUMN_NAME_SIZE]; /* that of the KPI; with _previous or _difference behind it; change */
  enum result_part part;
  const struct kpi_column *kpi; /* NULL for PART_CHANGE */
};

/* One row: of the run, of the run it is compared with, or both. Borrows them. */
struct result_row {
  const struct kpi_row *now, *before;
  struct decimal difference; /* of the column that rows are sorted by, if that is PART_DIFFERENCE */
  bool has_difference;
};

/* Owns rows; borrows what they point to. */
struct result_view {
  struct result_column columns[RESULT_COLUMNS_MAX];
  size_t column_count;
  struct result_row *rows;
  size_t count;
};

/* Makes the view of rows sorted by day, then category. `before`: compare with these, sorted too; NULL: do not
 * compare. Borrows both. Returns owned in *out; false when memory is exhausted. */
bool result_view_init(struct result_view *out, enum kpi_table table, const struct kpi_rows *now,
                      const struct kpi_rows *before);

/* Accepts NULL. */
void result_view_clear(struct result_view *v);

/* Finds a column by name; borrowed, NULL when there is none. */
const struct result_column *result_view_column(const struct result_view *v, struct view name);

/* Sorts by a column: money and differences as exact numbers, text bytewise, null below every value. Equal
 * rows stay by day, then category, ascending. */
void result_view_sort(struct result_view *v, const struct result_column *col, bool descending);

/* Writes a name for a row that no other row of its table has: a hash of day and category. */
void result_place(const struct kpi_row *row, char out[RESULT_PLACE_SIZE]);

/* The same for row i of a view. */
void result_view_place(const struct result_view *v, size_t i, char out[RESULT_PLACE_SIZE]);

/* Finds the row of a place, wherever it is now. False when there is none. */
bool result_view_find(const struct result_view *v, struct view place, size_t *i);

/* Returns the public name of a column's type: as kpi_column_type_name, string for PART_CHANGE, decimal for
 * the difference of ratios. */
const char *result_column_type(const struct result_column *col);

/* Appends a cell as plain text; nothing for null. */
void result_cell_text(const struct result_row *row, const struct result_column *col, struct buf *out);

/* Appends rows as kpi_row_json, kpi_csv_header and kpi_row_csv do. */
void result_row_json(const struct result_view *v, size_t i, struct buf *out);
void result_view_csv_header(const struct result_view *v, struct buf *out);
void result_row_csv(const struct result_view *v, size_t i, struct buf *out);

#endif
