/* SPDX-License-Identifier: MIT */
#include "server/query_output.h"

#include "base/alloc.h"
#include "base/scope.h"
#include "pipeline/double_text.h"
#include "pipeline/kpi_table.h"
#include "server/cli_output.h"

#include <math.h>
#include <string.h>

enum { TABLE_BYTES_MAX = 256 * 1024 * 1024, FLUSH_BYTES = 64 * 1024 };

/* The width of a column, and which side its cells stand on. */
struct output_column {
  char *name; /* owned */
  size_t width;
  bool is_text; /* any cell is text: to the left */
};

struct query_output {
  enum output_format format;
  struct output_column columns[QUERY_COLUMNS_MAX];
  int count;
  uint64_t rows;
  struct buf out; /* CSV and JSON: what is not printed yet; table: the cells, one after another */
  size_t *ends;   /* table: where each cell ends */
  size_t end_count, end_cap;
};

struct query_output *query_output_new(enum output_format format) {
  struct query_output *o = calloc(1, sizeof *o);
  if (!o)
    return NULL;
  o->format = format;
  buf_init(&o->out, format == FORMAT_TABLE ? TABLE_BYTES_MAX : SIZE_MAX);
  return o;
}

void query_output_free(struct query_output *o) {
  if (!o)
    return;
  for (int i = 0; i < o->count; i++)
    free(o->columns[i].name);
  free(o->ends);
  buf_clear(&o->out);
  free(o);
}

static enum kpi_code flush(struct query_output *o, size_t at_least, struct err *err) {
  if (buf_failed(&o->out))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the output");
  if (o->out.len < at_least)
    return KPI_OK;
  enum kpi_code rc = cli_put(buf_view(&o->out), err);
  buf_reset(&o->out);
  return rc;
}

/* ---- cells ---- */

static bool is_number(const struct query_cell *cell) {
  return cell->type == QUERY_INTEGER || cell->type == QUERY_REAL;
}

/* Text as it is, numbers as they are read back, blobs in hexadecimal; nothing for null. */
static void add_plain(const struct query_cell *cell, struct buf *out) {
  char text[DOUBLE_TEXT_SIZE];
  switch (cell->type) {
  case QUERY_NULL:
    break;
  case QUERY_INTEGER:
    buf_printf(out, "%lld", (long long)cell->integer);
    break;
  case QUERY_REAL:
    if (isinf(cell->real))
      buf_add_cstr(out, cell->real < 0 ? "-Infinity" : "Infinity");
    else
      buf_add(out, (struct view){text, double_text(cell->real, text)});
    break;
  case QUERY_TEXT:
    buf_add_utf8(out, cell->bytes);
    break;
  case QUERY_BLOB:
    for (size_t i = 0; i < cell->bytes.len; i++)
      buf_printf(out, "%02x", (unsigned char)cell->bytes.ptr[i]);
    break;
  }
}

static void add_json(const struct query_cell *cell, struct buf *out) {
  if (cell->type == QUERY_NULL || (cell->type == QUERY_REAL && isinf(cell->real))) {
    buf_add_cstr(out, "null");
  } else if (is_number(cell)) {
    add_plain(cell, out);
  } else {
    buf_add_char(out, '"');
    if (cell->type == QUERY_TEXT)
      buf_add_json(out, cell->bytes);
    else
      add_plain(cell, out);
    buf_add_char(out, '"');
  }
}

static void add_csv(const struct query_cell *cell, struct buf *out) {
  if (cell->type == QUERY_TEXT)
    kpi_csv_text(cell->bytes, false, out);
  else
    add_plain(cell, out);
}

static void widen(struct output_column *col, struct view text) {
  size_t width = utf8_count(text);
  col->width = width > col->width ? width : col->width;
}

/* Keeps a cell: how wide its column is, only the last row tells. */
static enum kpi_code keep_cell(struct query_output *o, int column, const struct query_cell *cell,
                               struct err *err) {
  auto_buf struct buf plain;
  buf_init(&plain, TABLE_BYTES_MAX);
  size_t *grown = array_room(o->ends, o->end_count, &o->end_cap, sizeof *grown);
  if (!grown)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the table");
  o->ends = grown;
  size_t start = o->out.len;
  add_plain(cell, &plain);
  cli_add_shown(buf_view(&plain), &o->out);
  if (buf_failed(&o->out) || buf_failed(&plain))
    return err_set(err, KPI_USAGE, "a table holds at most %d bytes: print csv or json, or LIMIT the rows",
                   TABLE_BYTES_MAX);
  o->ends[o->end_count++] = o->out.len;
  o->columns[column].is_text |= cell->type == QUERY_TEXT || cell->type == QUERY_BLOB;
  widen(&o->columns[column], (struct view){o->out.ptr + start, o->out.len - start});
  return KPI_OK;
}

/* ---- rows ---- */

static enum kpi_code take_columns(void *arg, const char *const *names, int count, struct err *err) {
  struct query_output *o = arg;
  for (; o->count < count; o->count++) {
    struct output_column *col = &o->columns[o->count];
    col->name = strdup(names[o->count]);
    if (!col->name)
      return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the output");
    widen(col, view_of(col->name));
    if (o->format == FORMAT_CSV) {
      buf_add_cstr(&o->out, o->count ? "," : "");
      kpi_csv_text(view_of(col->name), false, &o->out);
    }
  }
  buf_add_cstr(&o->out, o->format == FORMAT_CSV ? "\n" : o->format == FORMAT_JSON ? "[" : "");
  return flush(o, FLUSH_BYTES, err);
}

static enum kpi_code take_row(void *arg, const struct query_cell *cells, int count, struct err *err) {
  struct query_output *o = arg;
  enum kpi_code rc = KPI_OK;
  if (o->format == FORMAT_JSON)
    buf_add_cstr(&o->out, o->rows ? ",\n " : "\n ");
  o->rows++;
  for (int i = 0; i < count && rc == KPI_OK; i++)
    switch (o->format) {
    case FORMAT_TABLE:
      rc = keep_cell(o, i, &cells[i], err);
      break;
    case FORMAT_CSV:
      buf_add_cstr(&o->out, i ? "," : "");
      add_csv(&cells[i], &o->out);
      break;
    case FORMAT_JSON:
      buf_add_cstr(&o->out, i ? ",\"" : "{\"");
      buf_add_json(&o->out, view_of(o->columns[i].name));
      buf_add_cstr(&o->out, "\":");
      add_json(&cells[i], &o->out);
      break;
    }
  if (o->format == FORMAT_TABLE)
    return rc;
  buf_add_cstr(&o->out, o->format == FORMAT_JSON ? "}" : "\n");
  return flush(o, FLUSH_BYTES, err);
}

struct query_sink query_output_sink(struct query_output *o) {
  return (struct query_sink){o, take_columns, take_row};
}

/* ---- end ---- */

static void add_table(const struct query_output *o, struct buf *out) {
  size_t start = 0;
  for (int i = 0; i < o->count; i++) {
    auto_buf struct buf name;
    buf_init(&name, SIZE_MAX);
    cli_add_shown(view_of(o->columns[i].name), &name);
    cli_add_padded(buf_view(&name), o->columns[i].width, !o->columns[i].is_text, out);
    buf_add_cstr(out, i + 1 < o->count ? "  " : "\n");
  }
  for (size_t c = 0; c < o->end_count; c++) {
    const struct output_column *col = &o->columns[c % (size_t)o->count];
    struct view cell = {o->out.ptr + start, o->ends[c] - start};
    cli_add_padded(cell, col->width, !col->is_text, out);
    buf_add_cstr(out, (c + 1) % (size_t)o->count ? "  " : "\n");
    start = o->ends[c];
  }
  buf_printf(out, "(%llu row%s)\n", (unsigned long long)o->rows, o->rows == 1 ? "" : "s");
}

enum kpi_code query_output_end(struct query_output *o, struct err *err) {
  if (o->format != FORMAT_TABLE) {
    buf_add_cstr(&o->out, o->format == FORMAT_CSV ? "" : o->rows ? "\n]\n" : "]\n");
    return flush(o, 0, err);
  }
  auto_buf struct buf table;
  buf_init(&table, SIZE_MAX);
  add_table(o, &table);
  return buf_failed(&table) ? err_set(err, KPI_OUT_OF_MEMORY, "no memory for the output")
                            : cli_put(buf_view(&table), err);
}
