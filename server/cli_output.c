/* SPDX-License-Identifier: MIT */
#include "server/cli_output.h"

#include "base/scope.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { COLUMNS_MAX_SHOWN = 16 };

/* ---- aligned text ---- */

/* Puts blanks for the control bytes of what was added from there on. */
static void blank_controls(struct buf *out, size_t from) {
  for (size_t i = from; i < out->len; i++)
    if ((unsigned char)out->ptr[i] < ' ' || out->ptr[i] == 0x7f)
      out->ptr[i] = ' ';
}

void cli_add_shown(struct view text, struct buf *out) {
  const size_t at = out->len;
  buf_add(out, text);
  blank_controls(out, at);
}

static void add_blanks(size_t count, struct buf *out) {
  static const char blanks[] = "                                ";
  for (size_t n; count > 0; count -= n) {
    n = count < sizeof blanks - 1 ? count : sizeof blanks - 1;
    buf_add(out, (struct view){blanks, n});
  }
}

void cli_add_padded(struct view text, size_t width, bool right, struct buf *out) {
  size_t own = utf8_count(text), blanks = width > own ? width - own : 0;
  if (right)
    add_blanks(blanks, out);
  buf_add(out, text);
  if (!right)
    add_blanks(blanks, out);
}

static bool is_right_aligned(const struct kpi_column *col) {
  return col->type != KPI_COL_DATE && col->type != KPI_COL_TEXT;
}

/* A walk over the rows of a table, day by day. */
struct row_walk {
  const struct day_results *results;
  enum kpi_table table;
  size_t day, row;
};

static const struct kpi_row *next_row(struct row_walk *w) {
  for (; w->day < w->results->count; w->day++, w->row = 0) {
    const struct kpi_rows *rows = &w->results->at[w->day].result.tables[w->table];
    if (w->row < rows->count)
      return &rows->rows[w->row++];
  }
  return NULL;
}

/* Adds every cell as it is shown, with a NUL behind each, and finds how wide the columns are. Returns the
 * number of rows. */
static size_t add_cells(struct row_walk walk, struct kpi_columns cols, struct buf *out,
                        size_t widths[COLUMNS_MAX_SHOWN]) {
  const struct kpi_row *row;
  size_t count = 0;
  for (size_t c = 0; c < cols.count; c++)
    widths[c] = strlen(cols.at[c].name);
  for (; (row = next_row(&walk)) != NULL; count++)
    for (size_t c = 0; c < cols.count; c++) {
      const size_t at = out->len;
      kpi_cell_text(row, &cols.at[c], out);
      const size_t width = out->len > at ? utf8_count((struct view){out->ptr + at, out->len - at}) : 0;
      blank_controls(out, at);
      buf_add_char(out, '\0');
      widths[c] = width > widths[c] ? width : widths[c];
    }
  return count;
}

static void add_text_table(struct row_walk walk, struct buf *out) {
  struct kpi_columns cols = kpi_table_columns(walk.table);
  size_t widths[COLUMNS_MAX_SHOWN];
  auto_buf struct buf cells;
  buf_init(&cells, SIZE_MAX);
  size_t count = add_cells(walk, cols, &cells, widths);
  struct view rest = buf_view(&cells);
  out->failed |= buf_failed(&cells); /* or the rows would be missing without a word */
  buf_printf(out, "%s (%zu row%s)\n", kpi_table_name(walk.table), count, count == 1 ? "" : "s");
  for (size_t c = 0; c < cols.count; c++) {
    cli_add_padded(view_of(cols.at[c].name), widths[c], is_right_aligned(&cols.at[c]), out);
    buf_add_cstr(out, c + 1 < cols.count ? "  " : "\n");
  }
  while (rest.len)
    for (size_t c = 0; c < cols.count; c++) {
      cli_add_padded(view_split(&rest, '\0'), widths[c], is_right_aligned(&cols.at[c]), out);
      buf_add_cstr(out, c + 1 < cols.count ? "  " : "\n");
    }
}

/* ---- formats ---- */

static void add_csv(struct row_walk walk, struct buf *out) {
  const struct kpi_row *row;
  kpi_csv_header(walk.table, out);
  while ((row = next_row(&walk)) != NULL)
    kpi_row_csv(row, walk.table, false, out);
}

static void add_json(struct row_walk walk, struct buf *out) {
  const struct kpi_row *row;
  const char *separator = "[\n ";
  while ((row = next_row(&walk)) != NULL) {
    buf_add_cstr(out, separator);
    kpi_row_json(row, walk.table, out);
    separator = ",\n ";
  }
  buf_add_cstr(out, *separator == ',' ? "\n]" : "[]");
}

static void add_quality(const struct shown_days *days, struct buf *out) {
  const struct day_results *r = days->results;
  if (!days->is_range) {
    buf_printf(out, ",\n\"quality\":%s}\n", r->at[0].result.quality.report_json);
    return;
  }
  buf_add_cstr(out, ",\n\"quality\":{");
  for (size_t i = 0; i < r->count; i++) {
    char date[DAY_TEXT_SIZE];
    buf_printf(out, "%s\n \"%s\":%s", i ? "," : "", day_text(r->at[i].day, date),
               r->at[i].result.quality.report_json);
  }
  buf_add_cstr(out, "}}\n");
}

static void add_all(const struct shown_days *days, struct buf *out) {
  for (int t = 0; t < KPI_TABLE_COUNT; t++) {
    const struct row_walk walk = {.results = days->results, .table = (enum kpi_table)t};
    switch (days->format) {
    case FORMAT_TABLE:
      add_text_table(walk, out);
      break;
    case FORMAT_CSV:
      add_csv(walk, out);
      break;
    case FORMAT_JSON:
      buf_printf(out, "%s\"%s\":", t ? ",\n" : "{", kpi_table_name(walk.table));
      add_json(walk, out);
      break;
    }
    if (t == 0 && days->format != FORMAT_JSON)
      buf_add_char(out, '\n');
  }
  if (days->format == FORMAT_JSON)
    add_quality(days, out);
}

static void add_file(const struct shown_days *days, enum kpi_table table, struct buf *out) {
  const struct row_walk walk = {.results = days->results, .table = table};
  if (days->format != FORMAT_JSON) {
    add_csv(walk, out);
    return;
  }
  add_json(walk, out);
  buf_add_char(out, '\n');
}

static enum kpi_code write_to(FILE *file, struct view bytes, const char *name, struct err *err) {
  errno = 0;
  if (fwrite(bytes.ptr, 1, bytes.len, file) != bytes.len || fflush(file) != 0)
    return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_USAGE, errno, "%s: cannot be written",
                         name);
  return KPI_OK;
}

enum kpi_code cli_put(struct view text, struct err *err) {
  return write_to(stdout, text, "standard output", err);
}

/* ---- files ---- */

/* Makes a folder and those above it. */
static enum kpi_code make_folders(const char *folder, struct err *err) {
  auto_free char *path = strdup(folder);
  for (char *slash = path; slash;) {
    slash = strchr(slash + 1, '/');
    if (!slash)
      break;
    *slash = '\0';
    mkdir(path, 0755); /* the last one below tells what went wrong */
    *slash = '/';
  }
  struct stat st;
  if (mkdir(folder, 0755) == 0 || (errno == EEXIST && stat(folder, &st) == 0 && S_ISDIR(st.st_mode)))
    return KPI_OK;
  return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_USAGE, errno, "--out %s: cannot be made",
                       folder);
}

static enum kpi_code write_file(const struct buf *bytes, const char *path, struct err *err) {
  auto_free char *draft = NULL;
  if (asprintf(&draft, "%s.tmp", path) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to write %s", path);
  FILE *file = fopen(draft, "we");
  if (!file)
    return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_USAGE, errno, "%s: cannot be written",
                         draft);
  enum kpi_code rc = write_to(file, buf_view(bytes), draft, err);
  if (fclose(file) != 0 && rc == KPI_OK)
    rc = err_set_errno(err, KPI_DISK_FULL, errno, "%s: cannot be written", draft);
  if (rc == KPI_OK && rename(draft, path) != 0)
    rc = err_set_errno(err, KPI_USAGE, errno, "%s: cannot be written", path);
  if (rc)
    unlink(draft);
  return rc;
}

static enum kpi_code write_table(const struct shown_days *days, enum kpi_table table, const struct buf *bytes,
                                 struct err *err) {
  auto_free char *path = NULL;
  const char *kind = days->format == FORMAT_JSON ? "json" : "csv";
  if (asprintf(&path, "%s/%s.%s", days->folder, kpi_table_name(table), kind) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to write the results");
  return write_file(bytes, path, err);
}

/* ---- all ---- */

/* What is made of the results: the file of a table, or what is printed. */
struct text {
  const struct shown_days *days;
  enum kpi_table table; /* KPI_TABLE_COUNT: what is printed */
  struct buf bytes;
};

static void make_text(void *arg) {
  struct text *t = arg;
  buf_init(&t->bytes, SIZE_MAX);
  if (t->table == KPI_TABLE_COUNT)
    add_all(t->days, &t->bytes);
  else
    add_file(t->days, t->table, &t->bytes);
}

/* `texts`: of each table, and what is printed. */
static enum kpi_code put_texts(const struct shown_days *days, const struct text *texts, struct err *err) {
  enum kpi_code rc = days->folder ? make_folders(days->folder, err) : KPI_OK;
  for (int t = 0; t <= KPI_TABLE_COUNT; t++)
    if (buf_failed(&texts[t].bytes))
      return err_set(err, KPI_OUT_OF_MEMORY, "no memory to show the results");
  for (int t = 0; t < KPI_TABLE_COUNT && rc == KPI_OK && days->folder; t++)
    rc = write_table(days, (enum kpi_table)t, &texts[t].bytes, err);
  return rc ? rc : cli_put(buf_view(&texts[KPI_TABLE_COUNT].bytes), err);
}

enum kpi_code cli_show(const struct shown_days *days, struct pool *pool, struct err *err) {
  struct text texts[KPI_TABLE_COUNT + 1] = {{0}};
  const int first = days->folder ? 0 : KPI_TABLE_COUNT;
  for (int t = 0; t <= KPI_TABLE_COUNT; t++)
    texts[t] = (struct text){.days = days, .table = (enum kpi_table)t};
  pool_map(pool, NULL, make_text, &texts[first], sizeof texts[0], (size_t)(KPI_TABLE_COUNT + 1 - first));
  enum kpi_code rc = put_texts(days, texts, err);
  for (int t = 0; t <= KPI_TABLE_COUNT; t++)
    buf_clear(&texts[t].bytes);
  return rc;
}
