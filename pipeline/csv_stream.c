/* SPDX-License-Identifier: MIT */
#include "pipeline/csv_stream.h"

#include <stdlib.h>
#include <string.h>

/* A block grows while no row ends in it; one that holds the longest allowed row and more has none. */
enum { BLOCK_BYTES_MAX = CSV_LINE_MAX_BYTES + CSV_BLOCK_BYTES };

void csv_block_clear(struct csv_block *b) {
  free(b->bytes);
  *b = (struct csv_block){0};
}

static bool reserve(char **bytes, size_t *cap, size_t size) {
  if (size <= *cap)
    return true;
  char *grown = realloc(*bytes, size);
  if (!grown)
    return false;
  *bytes = grown;
  *cap = size;
  return true;
}

enum kpi_code csv_stream_open(struct csv_stream *s, struct source *source, const struct source_object *object,
                              const struct schema *schema, const struct source_use *use, struct err *err) {
  s->object = object;
  s->schema = schema;
  s->next_line = 1;
  return source_open(source, object, use, &s->reader, err);
}

void csv_stream_close(struct csv_stream *s) {
  source_close(s->reader);
  free(s->header);
  free(s->tail);
  *s = (struct csv_stream){0};
}

static enum kpi_code no_memory(const struct csv_stream *s, struct err *err) {
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory to read %s", s->object->name);
}

/* Counts LF, CRLF and lone CR, also within quotes: physical lines. */
static uint64_t count_line_ends(struct view v) {
  struct csv_survey survey = csv_scan_survey(v);
  uint64_t lone = 0;
  for (size_t i = 0; survey.has_cr && i < v.len; i++)
    lone += v.ptr[i] == '\r' && (i + 1 == v.len || v.ptr[i + 1] != '\n');
  return survey.line_feeds + lone;
}

/* Fills the block from *len on up to `upto` bytes; sets s->at_end at the end of the input. */
static enum kpi_code fill(struct csv_stream *s, struct csv_block *b, size_t *len, size_t upto,
                          struct err *err) {
  if (!reserve(&b->bytes, &b->cap, upto))
    return no_memory(s, err);
  while (*len < upto && !s->at_end) {
    size_t got;
    enum kpi_code rc = source_read(s->reader, b->bytes + *len, upto - *len, &got, err);
    if (rc)
      return rc;
    *len += got;
    s->at_end = got == 0;
  }
  return s->at_end ? source_finish(s->reader, err) : KPI_OK;
}

/* Keeps what follows the last whole row for the next block. */
static bool keep_tail(struct csv_stream *s, struct view tail) {
  if (!reserve(&s->tail, &s->tail_cap, tail.len))
    return false;
  if (tail.len)
    memcpy(s->tail, tail.ptr, tail.len);
  s->tail_len = tail.len;
  return true;
}

/* Reads until whole rows are there: *whole of *len bytes. */
static enum kpi_code read_rows(struct csv_stream *s, struct csv_block *b, size_t *len, size_t *whole,
                               struct err *err) {
  if (!reserve(&b->bytes, &b->cap, s->tail_len + CSV_BLOCK_BYTES))
    return no_memory(s, err);
  if (s->tail_len)
    memcpy(b->bytes, s->tail, s->tail_len);
  *len = s->tail_len;
  for (;;) {
    bool open_quote;
    enum kpi_code rc = fill(s, b, len, *len + CSV_BLOCK_BYTES, err);
    if (rc)
      return rc;
    *whole = csv_cut((struct view){b->bytes, *len}, s->at_end, &open_quote);
    if (*whole || s->at_end)
      return KPI_OK;
    if (*len > BLOCK_BYTES_MAX)
      return csv_problem_err(open_quote ? CSV_OPEN_QUOTE : CSV_LINE_TOO_LONG, s->object->name, s->next_line,
                             err);
  }
}

/* Binds the header at the start of the rows and steps over it. */
static enum kpi_code take_header(struct csv_stream *s, struct view *rows, struct err *err) {
  size_t used;
  uint64_t lines;
  enum kpi_code rc = csv_bind(*rows, s->schema, s->object->name, &s->binding, &used, &lines, err);
  if (rc)
    return rc;
  if (used == 0) {
    s->next_line += count_line_ends(*rows);
    rows->len = 0;
    return KPI_OK;
  }
  s->header = malloc(s->binding.header.len + 1);
  if (!s->header)
    return no_memory(s, err);
  memcpy(s->header, s->binding.header.ptr, s->binding.header.len);
  s->binding.header.ptr = s->header;
  s->has_header = true;
  s->next_line += lines;
  *rows = (struct view){rows->ptr + used, rows->len - used};
  return KPI_OK;
}

enum kpi_code csv_stream_next(struct csv_stream *s, struct csv_block *b, struct err *err) {
  b->rows = (struct view){0};
  while (b->rows.len == 0 && !(s->at_end && s->tail_len == 0)) {
    size_t len = 0, whole = 0;
    enum kpi_code rc = read_rows(s, b, &len, &whole, err);
    if (rc)
      return rc;
    if (!keep_tail(s, (struct view){b->bytes + whole, len - whole}))
      return no_memory(s, err);
    b->rows = (struct view){b->bytes, whole};
    if (!s->has_header && (rc = take_header(s, &b->rows, err)) != KPI_OK)
      return rc;
  }
  b->first_line = s->next_line;
  s->next_line += count_line_ends(b->rows);
  return KPI_OK;
}
