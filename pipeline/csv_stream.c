/* SPDX-License-Identifier: MIT */
#include "pipeline/csv_stream.h"

#include <stdlib.h>
#include <string.h>

/* The tail grows while no row ends in a piece; more than the longest allowed row has none. */
enum {
  BLOCK_BYTES_MAX = CSV_LINE_MAX_BYTES + CSV_BLOCK_BYTES,
  TAIL_ROOM = 4096 /* before a piece, for what is left of most rows; the piece is moved for a longer one */
};

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
  enum kpi_code rc = source_open(source, object, use, &s->reader, err);
  s->piece_bytes = CSV_BLOCK_BYTES;
  s->reads_anywhere = rc == KPI_OK && source_reads_anywhere(s->reader);
  return rc;
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

/* ---- pieces ---- */

uint64_t csv_stream_pieces(const struct csv_stream *s) {
  if (!s->reads_anywhere)
    return 0;
  return s->object->size ? (s->object->size + s->piece_bytes - 1) / s->piece_bytes : 1;
}

static bool reserve_piece(const struct csv_stream *s, struct csv_block *b) {
  b->piece_len = 0;
  return reserve(&b->bytes, &b->cap, TAIL_ROOM + s->piece_bytes);
}

enum kpi_code csv_stream_fetch(const struct csv_stream *s, uint64_t piece, struct csv_block *b,
                               struct err *err) {
  const uint64_t from = piece * s->piece_bytes, left = s->object->size - from;
  const size_t size = left < s->piece_bytes ? (size_t)left : s->piece_bytes;
  if (!reserve_piece(s, b))
    return no_memory(s, err);
  for (size_t got = 1; b->piece_len < size && got; b->piece_len += got) {
    char *to = b->bytes + TAIL_ROOM + b->piece_len;
    enum kpi_code rc = source_read_at(s->reader, from + b->piece_len, to, size - b->piece_len, &got, err);
    if (rc)
      return rc;
  }
  if (b->piece_len == size)
    return KPI_OK;
  /* Other pieces may be older: what follows this one must not be put behind it. */
  enum kpi_code rc = source_finish(s->reader, err);
  return rc ? rc : err_set(err, KPI_SOURCE_UNREADABLE, "%s: the file ends early", s->object->name);
}

/* Reads the next piece of what can only be read in order; s->at_end is set behind the last byte. */
static enum kpi_code read_piece(struct csv_stream *s, struct csv_block *b, struct err *err) {
  if (!reserve_piece(s, b))
    return no_memory(s, err);
  while (b->piece_len < s->piece_bytes && !s->at_end) {
    size_t got;
    char *to = b->bytes + TAIL_ROOM + b->piece_len;
    enum kpi_code rc = source_read(s->reader, to, s->piece_bytes - b->piece_len, &got, err);
    if (rc)
      return rc;
    b->piece_len += got;
    s->at_end = got == 0;
  }
  return KPI_OK;
}

/* Puts the tail before the piece. An empty view without ptr: memory is exhausted. */
static struct view join_tail(const struct csv_stream *s, struct csv_block *b) {
  size_t piece_at = TAIL_ROOM;
  if (s->tail_len > TAIL_ROOM) {
    if (!reserve(&b->bytes, &b->cap, s->tail_len + b->piece_len))
      return (struct view){0};
    piece_at = s->tail_len;
    memmove(b->bytes + piece_at, b->bytes + TAIL_ROOM, b->piece_len);
  }
  char *from = b->bytes + piece_at - s->tail_len;
  if (s->tail_len)
    memcpy(from, s->tail, s->tail_len);
  return (struct view){from, s->tail_len + b->piece_len};
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

/* Finds the whole rows of tail and piece, and *line_ends of these; keeps the rest as the next tail. */
static enum kpi_code cut_piece(struct csv_stream *s, struct csv_block *b, uint64_t *line_ends,
                               struct err *err) {
  const struct view text = join_tail(s, b);
  if (!text.ptr)
    return no_memory(s, err);
  const size_t bom = s->next_line == 1 ? csv_bom(text) : 0; /* a quote behind it opens a cell */
  const struct csv_cut cut = csv_cut((struct view){text.ptr + bom, text.len - bom}, s->at_end);
  const size_t whole = cut.whole ? bom + cut.whole : 0;
  *line_ends = cut.line_ends;
  if (whole == 0 && !s->at_end && text.len > BLOCK_BYTES_MAX)
    return csv_problem_err(cut.open_quote ? CSV_OPEN_QUOTE : CSV_LINE_TOO_LONG, s->object->name, s->next_line,
                           err);
  if (!keep_tail(s, (struct view){text.ptr + whole, text.len - whole}))
    return no_memory(s, err);
  b->rows = (struct view){text.ptr, whole};
  return KPI_OK;
}

/* ---- blocks ---- */

/* Binds the header at the start of the rows and steps over it, or over rows that are all blank. */
static enum kpi_code take_header(struct csv_stream *s, struct view *rows, uint64_t *line_ends,
                                 struct err *err) {
  size_t used;
  uint64_t lines;
  enum kpi_code rc =
      csv_bind(*rows, s->schema, s->object->name, s->next_line, &s->binding, &used, &lines, err);
  if (rc)
    return rc;
  if (used == 0) {
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
  *line_ends -= lines;
  *rows = (struct view){rows->ptr + used, rows->len - used};
  return KPI_OK;
}

/* Makes a block of the next piece, which may have no row. */
static enum kpi_code next_block(struct csv_stream *s, struct csv_block *b, struct err *err) {
  enum kpi_code rc = KPI_OK;
  uint64_t line_ends = 0;
  if (s->reads_anywhere)
    s->at_end = ++s->pieces_cut >= csv_stream_pieces(s);
  else
    rc = read_piece(s, b, err);
  if (rc == KPI_OK && s->at_end)
    rc = source_finish(s->reader, err);
  if (rc == KPI_OK)
    rc = cut_piece(s, b, &line_ends, err);
  if (rc == KPI_OK && !s->has_header && b->rows.len)
    rc = take_header(s, &b->rows, &line_ends, err);
  b->first_line = s->next_line;
  s->next_line += line_ends;
  return rc;
}

enum kpi_code csv_stream_next(struct csv_stream *s, struct csv_block *b, struct err *err) {
  enum kpi_code rc = KPI_OK;
  b->rows = (struct view){0};
  do
    rc = next_block(s, b, err);
  while (rc == KPI_OK && b->rows.len == 0 && !s->at_end && !s->reads_anywhere);
  return rc;
}
