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
  s->has_pieces = rc == KPI_OK && (source_reads_anywhere(s->reader) || source_lends(s->reader));
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
  if (!s->has_pieces)
    return 0;
  return s->object->size ? (s->object->size + s->piece_bytes - 1) / s->piece_bytes : 1;
}

/* An empty piece in the block's own buffer. */
static bool reserve_piece(const struct csv_stream *s, struct csv_block *b) {
  if (!reserve(&b->bytes, &b->cap, TAIL_ROOM + s->piece_bytes))
    return false;
  b->piece = (struct source_loan){.bytes = b->bytes + TAIL_ROOM, .room = TAIL_ROOM};
  return true;
}

/* Reads a piece from the middle of the object. */
static enum kpi_code fetch_piece(const struct csv_stream *s, uint64_t from, size_t size, struct csv_block *b,
                                 struct err *err) {
  if (!reserve_piece(s, b))
    return no_memory(s, err);
  struct source_loan *p = &b->piece;
  for (size_t got = 1; p->len < size && got; p->len += got) {
    enum kpi_code rc = source_read_at(s->reader, from + p->len, p->bytes + p->len, size - p->len, &got, err);
    if (rc)
      return rc;
  }
  if (p->len == size)
    return KPI_OK;
  /* Other pieces may be older: what follows this one must not be put behind it. */
  enum kpi_code rc = source_finish(s->reader, err);
  return rc ? rc : err_set(err, KPI_SOURCE_UNREADABLE, "%s: the file ends early", s->object->name);
}

enum kpi_code csv_stream_fetch(const struct csv_stream *s, uint64_t piece, struct csv_block *b,
                               struct err *err) {
  const uint64_t from = piece * s->piece_bytes, left = s->object->size - from;
  const size_t size = left < s->piece_bytes ? (size_t)left : s->piece_bytes;
  if (source_lends(s->reader) && size)
    return source_lend(s->reader, from, size, &b->piece, err);
  return fetch_piece(s, from, size, b, err);
}

void csv_stream_release(const struct csv_stream *s, struct csv_block *b) {
  if (b->piece.of)
    source_take_back(s->reader, &b->piece);
  b->piece = (struct source_loan){0};
}

/* Reads the next piece of what can only be read in order; s->at_end is set behind the last byte. */
static enum kpi_code read_piece(struct csv_stream *s, struct csv_block *b, struct err *err) {
  if (!reserve_piece(s, b))
    return no_memory(s, err);
  struct source_loan *p = &b->piece;
  while (p->len < s->piece_bytes && !s->at_end) {
    size_t got;
    enum kpi_code rc = source_read(s->reader, p->bytes + p->len, s->piece_bytes - p->len, &got, err);
    if (rc)
      return rc;
    p->len += got;
    s->at_end = got == 0;
  }
  return KPI_OK;
}

/* Text of `before` bytes of room and the piece, in a buffer of the block's own. NULL: memory is exhausted. */
static char *move_piece(struct csv_block *b, size_t before) {
  char *bytes = malloc(before + b->piece.len);
  if (!bytes)
    return NULL;
  if (b->piece.len)
    memcpy(bytes + before, b->piece.bytes, b->piece.len);
  free(b->bytes);
  b->bytes = bytes;
  b->cap = before + b->piece.len;
  b->piece.bytes = bytes + before;
  return bytes;
}

/* Puts the tail before the piece, unless it lies there. An empty view without ptr: memory is exhausted. */
static struct view join_tail(const struct csv_stream *s, struct csv_block *b) {
  const struct source_loan *p = &b->piece;
  const bool is_there = s->tail_len <= p->before, has_room = p->before == 0 && s->tail_len <= p->room;
  char *text = is_there || has_room ? p->bytes - s->tail_len : move_piece(b, s->tail_len);
  if (text && !is_there)
    memcpy(text, s->tail, s->tail_len);
  return (struct view){text, text ? s->tail_len + p->len : 0};
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
  if (s->has_pieces)
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
  while (rc == KPI_OK && b->rows.len == 0 && !s->at_end && !s->has_pieces);
  return rc;
}
