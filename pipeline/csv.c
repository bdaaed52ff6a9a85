/* SPDX-License-Identifier: MIT */
#include "pipeline/csv.h"

#include "base/scope.h"

#include <stdio.h>
#include <string.h>

/* ---- cells ---- */

static bool is_line_end(char c) {
  return c == '\n' || c == '\r';
}

/* Steps over LF, CRLF or CR. */
static const char *skip_line_end(const char *at, const char *end) {
  if (at < end && *at == '\r')
    return at + 1 < end && at[1] == '\n' ? at + 2 : at + 1;
  return at < end ? at + 1 : at;
}

static const char *skip_to_delimiter(const char *at, const char *end) {
  while (at < end && *at != ',' && !is_line_end(*at))
    at++;
  return at;
}

/* What was found of a quoted cell. */
struct quoted {
  const char *close; /* the closing quote, NULL when there is none */
  bool escaped;      /* holds "" or a backslash escape */
  uint64_t lines;    /* line ends inside */
};

/* Scans behind the opening quote. */
static struct quoted scan_quoted(const char *at, const char *end) {
  struct quoted q = {0};
  for (; at < end; at++) {
    if (*at == '"') {
      if (at + 1 == end || at[1] != '"') {
        q.close = at;
        return q;
      }
      q.escaped = true;
      at++;
    } else if (*at == '\\' && at + 1 < end && (at[1] == '"' || at[1] == '\\')) {
      q.escaped = true;
      at++;
    } else if (is_line_end(*at)) {
      q.lines += !(*at == '\r' && at + 1 < end && at[1] == '\n');
    }
  }
  return q;
}

static void unescape(struct view inner, struct buf *out) {
  buf_reset(out);
  for (size_t i = 0; i < inner.len; i++) {
    char c = inner.ptr[i];
    if ((c == '"' || c == '\\') && i + 1 < inner.len &&
        (inner.ptr[i + 1] == '"' || (c == '\\' && inner.ptr[i + 1] == '\\')))
      c = inner.ptr[++i];
    buf_add_char(out, c);
  }
}

/* A cell as it lies in the block. */
struct cell {
  const char *next; /* the delimiter, line end or end behind it; NULL: the quote never closes */
  struct view text;
  bool escaped; /* text must be unescaped */
  bool stray;   /* its quotes hold line ends, but are no quotes around a cell */
  uint64_t lines;
};

static struct cell take_quoted(const char *at, const char *end) {
  struct quoted q = scan_quoted(at + 1, end);
  if (!q.close)
    return (struct cell){.lines = q.lines};
  const char *behind = q.close + 1;
  while (behind < end && (*behind == ' ' || *behind == '\t'))
    behind++;
  if (behind == end || *behind == ',' || is_line_end(*behind))
    return (struct cell){
        .next = behind, .text = {at + 1, (size_t)(q.close - at - 1)}, .escaped = q.escaped, .lines = q.lines};
  /* Text behind the closing quote: the cell is taken as written, quotes included, up to the delimiter (as the
   * parser of the replaced job does). Across a line end it is another row's quote that closes it. */
  const char *next = skip_to_delimiter(behind, end);
  return (struct cell){
      .next = next, .text = {at, (size_t)(next - at)}, .stray = q.lines > 0, .lines = q.lines};
}

static struct cell take_cell(const char *at, const char *end) {
  if (at < end && *at == '"')
    return take_quoted(at, end);
  const char *next = skip_to_delimiter(at, end);
  return (struct cell){.next = next, .text = {at, (size_t)(next - at)}};
}

/* ---- rows ---- */

void csv_init(struct csv_cursor *c) {
  for (int i = 0; i < COLUMNS_MAX; i++)
    buf_init(&c->scratch[i], CSV_FIELD_MAX_BYTES);
  c->looks = 0;
  csv_start(c, (struct view){0});
}

void csv_clear(struct csv_cursor *c) {
  for (int i = 0; i < COLUMNS_MAX; i++)
    buf_clear(&c->scratch[i]);
}

/* Forgets the marks: what is at the cursor has none. */
static void drop_marks(struct csv_cursor *c) {
  c->marked = c->at;
  c->row = c->first = 0;
  c->looks++;
  c->has_looked = false;
  c->marks.count = c->marks.row_count = 0;
}

void csv_start(struct csv_cursor *c, struct view block) {
  c->at = block.ptr;
  c->end = block.ptr + block.len;
  c->lines = 0;
  c->problem = CSV_FINE;
  drop_marks(c);
}

static bool fail(struct csv_cursor *c, enum csv_problem problem) {
  c->problem = problem;
  return false;
}

/* ---- plain rows: quotes only around whole cells, whole within the marks ---- */

static bool is_blank(const char *at, const char *end) {
  while (at < end && (unsigned char)*at <= ' ')
    at++;
  return at == end;
}

/* Cell by cell: a call of memset takes longer. */
static inline void empty_cells(struct csv_row *row) {
#pragma GCC unroll 8
  for (int i = 0; i < COLUMNS_MAX; i++)
    row->cells[i] = (struct view){NULL, 0};
}

/* Finds the cells of the next marked row, whose text ends at `end`. */
static bool take_marked(struct csv_cursor *c, const struct csv_binding *binding, const char *end,
                        struct csv_row *row) {
  size_t count = c->marks.rows[c->row] - c->first + 1u;
  empty_cells(row);
  row->line = c->lines;
  row->raw = (struct view){c->at, (size_t)(end - c->at)};
  row->cell_count = count;
  row->is_utf8 = c->is_utf8;
  row->is_bare = c->marks.is_bare;
  if (count > CSV_COLUMNS_MAX)
    return fail(c, CSV_TOO_MANY_COLUMNS);
  for (size_t i = 0; i < binding->needed_count; i++) {
    size_t cell = binding->needed[i].cell;
    if (cell >= count)
      break;
    row->cells[binding->needed[i].slot] = csv_plain_cell(c, cell);
  }
  return true;
}

/* Reads the next marked row that is not blank. False when there is none, or a problem. */
static bool next_marked(struct csv_cursor *c, const struct csv_binding *binding, struct csv_row *row) {
  bool found = false;
  while (!found && c->row < c->marks.row_count) {
    const char *line_feed = csv_row_end(c, c->row);
    const char *end = line_feed > c->at && line_feed[-1] == '\r' ? line_feed - 1 : line_feed;
    found = (unsigned char)*c->at > ' ' || !is_blank(c->at, end);
    if (found && !take_marked(c, binding, end, row))
      return false;
    csv_skip_plain(c);
  }
  return found;
}

/* ---- all others ---- */

/* Steps over lines that hold nothing but blanks. */
static void skip_blank_lines(struct csv_cursor *c) {
  while (c->at < c->end) {
    const char *p = c->at;
    while (p < c->end && (unsigned char)*p <= ' ' && !is_line_end(*p))
      p++;
    if (p < c->end && !is_line_end(*p))
      return;
    c->lines += p < c->end;
    c->at = skip_line_end(p, c->end);
  }
}

static void keep_cell(struct csv_cursor *c, const struct cell *cell, struct view *out, size_t column) {
  *out = cell->text;
  if (!cell->escaped)
    return;
  unescape(cell->text, &c->scratch[column]);
  *out = buf_view(&c->scratch[column]);
}

/* Walks the next row byte by byte. */
static bool walk_row(struct csv_cursor *c, const struct csv_binding *binding, struct csv_row *row) {
  skip_blank_lines(c);
  const char *start = c->at, *at = start;
  row->line = c->lines;
  if (at == c->end)
    return false;
  empty_cells(row);
  row->cell_count = 0;
  row->is_utf8 = row->is_bare = false;
  for (;;) {
    struct cell cell = take_cell(at, c->end);
    if (!cell.next)
      return fail(c, CSV_OPEN_QUOTE);
    if (cell.stray)
      return fail(c, CSV_STRAY_QUOTE);
    if (cell.text.len > CSV_FIELD_MAX_BYTES)
      return fail(c, CSV_FIELD_TOO_LONG);
    if (row->cell_count == CSV_COLUMNS_MAX)
      return fail(c, CSV_TOO_MANY_COLUMNS);
    int slot = row->cell_count < binding->columns ? binding->slot[row->cell_count] : -1;
    if (slot >= 0)
      keep_cell(c, &cell, &row->cells[slot], (size_t)slot);
    row->cell_count++;
    c->lines += cell.lines;
    at = cell.next;
    if (at == c->end || *at != ',')
      break;
    at++;
  }
  if (at - start > CSV_LINE_MAX_BYTES)
    return fail(c, CSV_LINE_TOO_LONG);
  row->raw = (struct view){start, (size_t)(at - start)};
  c->lines += at < c->end;
  c->at = skip_line_end(at, c->end);
  return true;
}

bool csv_look(struct csv_cursor *c) {
  if (c->row < c->marks.row_count)
    return true;
  if (c->has_looked && c->row == 0)
    return false;
  drop_marks(c);
  csv_scan((struct view){c->at, (size_t)(c->end - c->at)}, &c->marks);
  c->has_looked = true;
  if (c->marks.row_count == 0)
    return false;
  const char *end = csv_row_end(c, c->marks.row_count - 1);
  c->is_utf8 = c->marks.is_ascii || view_is_utf8((struct view){c->at, (size_t)(end - c->at)});
  return true;
}

/* Most rows are plain and marked. One that is not is walked, and the marks begin anew behind it. */
bool csv_next(struct csv_cursor *c, const struct csv_binding *binding, struct csv_row *row) {
  while (!c->problem && csv_look(c))
    if (next_marked(c, binding, row))
      return true;
  row->line = c->lines;
  if (c->problem || c->at == c->end)
    return false;
  bool found = walk_row(c, binding, row);
  drop_marks(c);
  return found;
}

enum kpi_code csv_problem_err(enum csv_problem problem, const char *object, uint64_t line, struct err *err) {
  const char *what = "";
  switch (problem) {
  case CSV_FINE:
    break;
  case CSV_FIELD_TOO_LONG:
    what = "a cell is longer than 64 KiB (is a quote missing?)";
    break;
  case CSV_LINE_TOO_LONG:
    what = "a row is longer than 1 MiB (is a quote missing?)";
    break;
  case CSV_TOO_MANY_COLUMNS:
    what = "a row has more than 256 columns";
    break;
  case CSV_OPEN_QUOTE:
    what = "a quoted cell is never closed";
    break;
  case CSV_STRAY_QUOTE:
    what =
        "a quoted cell goes on into the next line, and text follows its closing quote (is a quote missing?)";
    break;
  }
  err_set(err, KPI_CSV_MALFORMED, "%s:%lu: %s", object, (unsigned long)line, what);
  view_to_cstr(view_of(object), err->object, sizeof err->object);
  err->line = line;
  return KPI_CSV_MALFORMED;
}

/* ---- cutting ---- */

/* Returns the length of data up to and with its last line end. A CR at the very end may be half of a CRLF. */
static size_t cut_at_last_line_end(struct view data) {
  for (size_t n = data.len; n > 0; n--)
    if (data.ptr[n - 1] == '\n' || (data.ptr[n - 1] == '\r' && n < data.len))
      return n;
  return 0;
}

/* Returns the end of the last of the rows from `at` on that the scanner marks without a gap. */
static __attribute__((noinline)) const char *skip_marked_rows(const char *at, const char *end) {
  KPI_UNSET struct csv_marks marks;
  for (;;) {
    csv_scan((struct view){at, (size_t)(end - at)}, &marks);
    if (marks.row_count == 0)
      return at;
    at += marks.at[marks.rows[marks.row_count - 1]] + 1;
  }
}

/* Returns the end of the row at `at`, cell by cell; NULL when it does not end before the data does. */
static const char *skip_row(const char *at, const char *end, bool *open_quote) {
  for (;; at++) {
    const struct cell cell = take_cell(at, end);
    *open_quote = !cell.next;
    if (!cell.next || cell.next == end || (*cell.next == '\r' && cell.next + 1 == end))
      return NULL;
    at = cell.next;
    if (*at != ',')
      return skip_line_end(at, end);
  }
}

/* As cut_at_last_line_end, of a text with quotes: rows before the first are safe, and from there on they are
 * told apart. */
static size_t cut_quoted(struct view data, bool *open_quote) {
  const char *end = data.ptr + data.len, *quote = memchr(data.ptr, '"', data.len);
  const char *cut = data.ptr + cut_at_last_line_end((struct view){data.ptr, (size_t)(quote - data.ptr)});
  for (const char *next = cut; next; next = skip_row(cut, end, open_quote))
    cut = skip_marked_rows(next, end);
  return (size_t)(cut - data.ptr);
}

struct csv_cut csv_cut(struct view text, bool is_last) {
  const struct csv_survey all = csv_scan_survey(text);
  struct csv_cut out = {.line_ends = all.line_ends};
  out.whole = all.has_quote ? cut_quoted(text, &out.open_quote) : cut_at_last_line_end(text);
  if (is_last)
    out.whole = text.len;
  out.line_ends -= csv_scan_survey((struct view){text.ptr + out.whole, text.len - out.whole}).line_ends;
  return out;
}

/* ---- header ---- */

static enum kpi_code header_err(struct err *err, enum kpi_code code, const char *object, const char *column,
                                uint64_t line, const char *what) {
  err_set(err, code, "%s:%lu: %s", object, (unsigned long)line, what);
  view_to_cstr(view_of(object), err->object, sizeof err->object);
  view_to_cstr(view_of(column), err->column, sizeof err->column);
  err->line = line;
  return code;
}

size_t csv_bom(struct view data) {
  static const char bom[] = "\xEF\xBB\xBF";
  return view_starts(data, bom) ? sizeof bom - 1 : 0;
}

/* Refuses what is no comma-separated UTF-8 text at all, with words that name it. */
static enum kpi_code check_kind(struct view data, const char *object, struct err *err) {
  if (view_starts(data, "\xFF\xFE") || view_starts(data, "\xFE\xFF"))
    return header_err(err, KPI_CSV_ENCODING, object, "", 1, "the file is UTF-16, not UTF-8");
  if (view_starts(data, "\x1F\x8B"))
    return header_err(err, KPI_CSV_ENCODING, object, "", 1, "the file is gzip data; name it .csv.gz");
  struct view start = {data.ptr, data.len < CSV_FIELD_MAX_BYTES ? data.len : CSV_FIELD_MAX_BYTES};
  struct view line = view_split(&start, '\n'), first = view_trim(view_split(&line, '\r'));
  if (first.len && memchr(first.ptr, '\0', first.len))
    return header_err(err, KPI_CSV_ENCODING, object, "", 1, "the first line holds NUL bytes: not UTF-8 text");
  if (view_starts(first, "<"))
    return header_err(err, KPI_CSV_MALFORMED, object, "", 1, "the file is HTML or XML, not CSV");
  return KPI_OK;
}

static int column_of(const struct schema *schema, struct view name) {
  name = view_trim(name);
  for (size_t i = 0; i < schema->column_count; i++)
    if (view_eq_fold(name, view_of(schema->columns[i].name)))
      return (int)i;
  return -1;
}

static enum kpi_code check_bound(const struct csv_binding *b, const struct schema *schema, const char *object,
                                 uint64_t line, struct err *err) {
  for (size_t i = 0; i < schema->column_count; i++) {
    if (b->has[i] || schema->columns[i].optional)
      continue;
    char what[256];
    const char *extra = "";
    if (b->columns == 1 && memchr(b->header.ptr, ';', b->header.len))
      extra = " (the columns look separated by semicolons; commas are needed)";
    else if (b->columns == 1 && memchr(b->header.ptr, '\t', b->header.len))
      extra = " (the columns look separated by tabs; commas are needed)";
    snprintf(what, sizeof what, "the header has no column \"%s\"%s", schema->columns[i].name, extra);
    return header_err(err, KPI_CSV_HEADER_MISSING, object, schema->columns[i].name, line, what);
  }
  return KPI_OK;
}

/* Reads the header's cells one by one: a binding that sends cell i to column 0 and all others nowhere. */
static enum kpi_code bind_cells(struct view line, const struct schema *schema, const char *object,
                                uint64_t line_no, struct csv_binding *out, struct err *err) {
  struct buf text;
  buf_init(&text, CSV_FIELD_MAX_BYTES);
  auto_buf struct buf scratch = text;
  const char *at = line.ptr, *end = line.ptr + line.len;
  for (;; at++) {
    struct cell cell = take_cell(at, end);
    if (!cell.next)
      return csv_problem_err(CSV_OPEN_QUOTE, object, line_no, err);
    if (out->columns == CSV_COLUMNS_MAX)
      return csv_problem_err(CSV_TOO_MANY_COLUMNS, object, line_no, err);
    if (cell.escaped)
      unescape(cell.text, &scratch);
    int column = column_of(schema, cell.escaped ? buf_view(&scratch) : cell.text);
    if (column >= 0 && out->has[column]) {
      char what[128];
      snprintf(what, sizeof what, "the header names the column \"%s\" twice", schema->columns[column].name);
      return header_err(err, KPI_CSV_HEADER_MISSING, object, schema->columns[column].name, line_no, what);
    }
    if (column >= 0) {
      out->has[column] = true;
      out->cell[column] = out->columns;
      out->needed[out->needed_count].cell = out->columns;
      out->needed[out->needed_count++].slot = (size_t)column;
    }
    out->slot[out->columns++] = column;
    at = cell.next;
    if (at >= end || *at != ',')
      return KPI_OK;
  }
}

enum kpi_code csv_bind(struct view data, const struct schema *schema, const char *object, uint64_t first_line,
                       struct csv_binding *out, size_t *used, uint64_t *lines, struct err *err) {
  memset(out, 0, sizeof *out);
  *used = 0;
  *lines = 0;
  enum kpi_code rc = first_line == 1 ? check_kind(data, object, err) : KPI_OK;
  if (rc)
    return rc;
  const size_t bom = first_line == 1 ? csv_bom(data) : 0;
  struct csv_cursor c;
  csv_init(&c);
  csv_start(&c, (struct view){data.ptr + bom, data.len - bom});
  struct csv_row row;
  bool found = csv_next(&c, out, &row); /* nothing is bound yet: only finds the row's extent */
  csv_clear(&c);
  if (c.problem)
    return csv_problem_err(c.problem, object, first_line + row.line, err);
  if (!found)
    return KPI_OK;
  out->header = row.raw;
  *used = (size_t)(c.at - data.ptr);
  *lines = c.lines;
  rc = bind_cells(row.raw, schema, object, first_line + row.line, out, err);
  return rc ? rc : check_bound(out, schema, object, first_line + row.line, err);
}
