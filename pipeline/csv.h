/* SPDX-License-Identifier: MIT
 * RFC 4180 rows in memory: walks a block of whole rows, binds columns by header name, cuts a byte stream at
 * row ends. Also reads \" and \\ inside quotes. Knows no file and no column's meaning. */
#ifndef KPID_PIPELINE_CSV_H
#define KPID_PIPELINE_CSV_H

#include "base/buf.h"
#include "base/err.h"
#include "pipeline/csv_scan.h"
#include "pipeline/schema.h"

enum { CSV_LINE_MAX_BYTES = 1024 * 1024, CSV_FIELD_MAX_BYTES = 64 * 1024, CSV_COLUMNS_MAX = 256 };

/* Which cell of a file's rows is which column of the schema. */
struct csv_binding {
  int slot[CSV_COLUMNS_MAX]; /* position in the file -> schema column, -1: not needed */
  size_t columns;            /* cells in the header */
  bool has[COLUMNS_MAX];     /* the file has this schema column */
  size_t cell[COLUMNS_MAX];  /* where it stands, if so: the inverse of slot */
  struct {
    size_t cell, slot;
  } needed[COLUMNS_MAX]; /* the same, of those that are needed, by position */
  size_t needed_count;
  struct view header; /* the header line's bytes without line end; borrowed */
};

/* One row. Cells are views into the block or into the cursor's scratch, valid until the next row. */
struct csv_row {
  struct view cells[COLUMNS_MAX]; /* by schema column; empty for null */
  struct view raw;                /* the row's bytes without line end */
  size_t cell_count;              /* cells in the row, also unneeded ones */
  uint64_t line;                  /* line of the block where the row starts, 0-based */
  bool is_utf8, is_bare;          /* it is; no cell is quoted: as far as is known without a look at it */
};

enum csv_problem {
  CSV_FINE,
  CSV_FIELD_TOO_LONG,
  CSV_LINE_TOO_LONG,
  CSV_TOO_MANY_COLUMNS,
  CSV_OPEN_QUOTE,
  CSV_STRAY_QUOTE
};

/* Walks the rows of a block. */
struct csv_cursor {
  const char *at, *end;
  uint64_t lines;                  /* line ends passed so far in this block */
  struct buf scratch[COLUMNS_MAX]; /* unescaped text of a quoted cell, one for each column */
  enum csv_problem problem;
  const char *marked; /* start of the text that `marks` tells of; what stands before `row` there was read */
  size_t row, first;  /* next row, and the mark that ends its first cell */
  uint64_t looks;     /* how often there were other marks */
  bool has_looked;    /* the marks are those of the text at the cursor, also when there are none */
  bool is_utf8;       /* every marked row is: one byte that is not sends all of them the longer way */
  struct csv_marks marks;
};

/* Prepares a cursor. */
void csv_init(struct csv_cursor *c);

/* Frees the scratch of a cursor. */
void csv_clear(struct csv_cursor *c);

/* Starts on a block of whole rows. Borrows it. */
void csv_start(struct csv_cursor *c, struct view block);

/* Makes sure that the marks tell of the next row, if they can: those of the rows behind it come with it.
 * False when the row can only be walked, or there is none. */
bool csv_look(struct csv_cursor *c);

/* How many rows from the next on, at most so many, have been marked, are UTF-8 and have a cell for each of
 * the header's: csv_plain_cell then reads them without csv_next. */
static inline size_t csv_count_plain(const struct csv_cursor *c, const struct csv_binding *b, size_t most) {
  const size_t left = c->is_utf8 ? c->marks.row_count - c->row : 0;
  size_t count = 0, end = c->first + b->columns - 1;
  for (; count < left && count < most && c->marks.rows[c->row + count] == end; count++)
    end += b->columns;
  return count;
}

/* The end of a row that has been marked: where its LF stands. */
static inline const char *csv_row_end(const struct csv_cursor *c, size_t row) {
  return c->marked + c->marks.at[c->marks.rows[row]];
}

/* The cell that a mark ends. */
static inline struct view csv_marked_cell(const struct csv_cursor *c, size_t mark) {
  const char *from = mark ? c->marked + c->marks.at[mark - 1] + 1 : c->marked;
  const char *to = c->marked + c->marks.at[mark];
  if (!c->marks.is_bare) {
    to -= from < to && to[-1] == '\r'; /* only one before the LF is marked */
    const bool is_quoted = from < to && *from == '"';
    from += is_quoted;
    to -= is_quoted;
  }
  return (struct view){from, (size_t)(to - from)};
}

/* A cell of the next row, which has been marked and has it. */
static inline struct view csv_plain_cell(const struct csv_cursor *c, size_t cell) {
  return csv_marked_cell(c, c->first + cell);
}

/* Steps over the next row, which has been marked. */
static inline void csv_skip_plain(struct csv_cursor *c) {
  c->at = csv_row_end(c, c->row) + 1;
  c->first = c->marks.rows[c->row++] + 1u;
  c->lines++;
}

/* Reads the next row that is not blank. Returns false at the end or when c->problem says why not; row->line
 * then holds the line of the problem. */
bool csv_next(struct csv_cursor *c, const struct csv_binding *binding, struct csv_row *row);

/* Where a piece of text is cut. */
struct csv_cut {
  size_t whole;       /* bytes of whole rows at its start: 0 when no row ends in it */
  uint64_t line_ends; /* in these, as csv_survey counts them */
  bool open_quote;    /* the text ends inside of quotes */
};

/* Cuts a text that begins at a row start behind its last whole row; at the end of the input (`is_last`)
 * behind all of it. */
struct csv_cut csv_cut(struct view text, bool is_last);

/* Returns the length of the byte order mark that a file begins with; 0: it has none. */
size_t csv_bom(struct view data);

/* Binds a header row by name: case-insensitive, blanks trimmed. Data begins with line `first_line` of the
 * file that `object` names in errors: KPI_CSV_HEADER_MISSING, KPI_CSV_MALFORMED, KPI_CSV_ENCODING. What only
 * the start of a file tells (a byte order mark, another format) is looked for in line 1. Borrows data. *used
 * is set to the bytes of leading blank lines and the header with its line end, *lines to the line ends in
 * them. `*used` 0: data holds only blank lines. */
KPI_MUST_CHECK enum kpi_code csv_bind(struct view data, const struct schema *schema, const char *object,
                                      uint64_t first_line, struct csv_binding *out, size_t *used,
                                      uint64_t *lines, struct err *err);

/* Fills err for a problem met in `object` at a 1-based line. Returns KPI_CSV_MALFORMED. */
enum kpi_code csv_problem_err(enum csv_problem problem, const char *object, uint64_t line, struct err *err);

#endif
