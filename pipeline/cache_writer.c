/* SPDX-License-Identifier: MIT */
#include "pipeline/cache_writer.h"

#include "base/alloc.h"
#include "base/scope.h"
#include "pipeline/checksum.h"

#include <errno.h>
#include <string.h>

enum {
  CHUNK_ROWS_MIN = 64 * 1024, /* so many rows are put in order and written together, or so many bytes */
  CHUNK_BYTES_MIN = 8 * 1024 * 1024,
  CHUNK_BYTES_MAX = CHUNK_BYTES_MIN + 4 * CSV_LINE_MAX_BYTES, /* with what one block of an object has */
  BLOCK_BYTES_MAX = 64 * 1024,                                /* of text; a block ends when it has as many */
  BLOCK_BYTES_MIN =
      8 * 1024,         /* or when it has as many, or the part below, and the next row is of another day */
  BLOCK_PART_MIN = 256, /* of a small chunk; so that its days can be told from each other, too */
  WHERE_SPREAD_MAX = 4, /* numbers for a row, where it is told of each number where it is */
  BITS_SPREAD_MAX = 64, /* the same, of bits */
  RADIX_BITS = 11       /* two digits hold a day of the calendar, and more */
};
_Static_assert(DAY_MAX - DAY_MIN + 2 < 1 << 2 * RADIX_BITS, "days can be sorted by two digits");

/* Before the header of the object: nothing behind it is taken for a byte order mark, or another kind of file.
 */
#define HEADER_START "\xEF\xBB\xBF\n"

struct cache_writer {
  int fd;
  bool asks_where;
  pthread_mutex_t lock; /* guards what follows */
  struct cached_rows gathered;
  struct buf chunks, blocks; /* the directory so far */
  uint64_t size;             /* of the file so far */
  bool failed;
};

/* ---- gathering ---- */

static struct cached_row *next_row(struct cached_rows *r) {
  struct cached_row *at = array_room(r->at, r->count, &r->cap, sizeof *at);
  if (!at) {
    r->failed = true;
    return NULL;
  }
  r->at = at;
  return &r->at[r->count];
}

/* Ends a row whose text has been added from `at` on. */
static void end_row(struct cached_rows *r, struct cached_row *row, size_t at) {
  row->at = (uint32_t)at;
  row->len = (uint32_t)(r->text.len - at);
  r->count++;
  r->failed |= buf_failed(&r->text);
}

static void begin_text(struct cached_rows *r) {
  if (r->text.max == 0)
    buf_init(&r->text, CHUNK_BYTES_MAX);
}

void cached_rows_add_verbatim(struct cached_rows *r, const struct csv_row *row, uint64_t line) {
  struct cached_row *kept = next_row(r);
  if (!kept)
    return;
  begin_text(r);
  const size_t at = r->text.len;
  buf_add(&r->text, row->raw);
  buf_add_char(&r->text, '\n');
  *kept = (struct cached_row){.facts = {.order = ID_NULL}, .line = line, .is_verbatim = true};
  end_row(r, kept, at);
}

/* True when the reader finds the same cell again between commas. */
static bool is_bare(struct view cell) {
  for (size_t i = 0; i < cell.len; i++)
    if (cell.ptr[i] == ',' || cell.ptr[i] == '"' || cell.ptr[i] == '\n' || cell.ptr[i] == '\r')
      return false;
  return true;
}

/* True when nothing is to be said of the row but what its cells say. */
static bool is_usual(const struct csv_row *row, const struct csv_binding *binding) {
  if (row->cell_count != binding->columns || (!row->is_utf8 && !view_is_utf8(row->raw)))
    return false;
  for (int c = 0; c < COLUMNS_MAX && !row->is_bare; c++)
    if (!is_bare(row->cells[c]))
      return false;
  return true;
}

/* Adds the cells that are needed, with commas between them and a line end. */
static void add_cells(struct buf *to, const struct csv_row *row, const struct csv_binding *binding) {
  size_t len = 0;
  for (int c = 0; c < COLUMNS_MAX; c++)
    len += binding->has[c] ? row->cells[c].len + 1 : 0;
  char *at = buf_extend(to, len);
  if (!at)
    return;
  for (int c = 0; c < COLUMNS_MAX; c++)
    if (binding->has[c]) {
      if (row->cells[c].len)
        memcpy(at, row->cells[c].ptr, row->cells[c].len);
      at += row->cells[c].len;
      *at++ = ',';
    }
  at[-1] = '\n'; /* a header without any column that is needed was refused */
}

void cached_rows_add(struct cached_rows *r, const struct csv_row *row, const struct csv_binding *binding,
                     uint64_t line, const struct cached_facts *facts) {
  if (!is_usual(row, binding)) {
    cached_rows_add_verbatim(r, row, line);
    return;
  }
  struct cached_row *kept = next_row(r);
  if (!kept)
    return;
  begin_text(r);
  const size_t at = r->text.len;
  add_cells(&r->text, row, binding);
  *kept = (struct cached_row){.facts = *facts, .line = line};
  end_row(r, kept, at);
}

void cached_rows_reset(struct cached_rows *r) {
  buf_reset(&r->text);
  r->count = 0;
}

void cached_rows_clear(struct cached_rows *r) {
  buf_clear(&r->text);
  free(r->at);
  *r = (struct cached_rows){0};
}

/* Moves the rows of `from` behind those of `to`. */
static void append(struct cached_rows *to, struct cached_rows *from) {
  to->failed |= from->failed;
  for (size_t i = 0; i < from->count && !to->failed; i++) {
    struct cached_row *row = next_row(to);
    if (!row)
      break;
    *row = from->at[i];
    row->at += (uint32_t)to->text.len;
    to->count++;
  }
  begin_text(to);
  buf_add(&to->text, buf_view(&from->text));
  to->failed |= buf_failed(&to->text);
  cached_rows_reset(from);
}

/* ---- rows of a day together ---- */

/* Rows that stand as they are come first, the others by day. */
static uint32_t sort_key(const struct cached_row *row) {
  return row->is_verbatim ? 0 : (uint32_t)(row->facts.day - DAY_MIN) + 1;
}

/* Sorts by one digit of the keys, keeping the order of equal ones. */
static void sort_by_digit(const struct cached_rows *r, const uint32_t *from, uint32_t *to, unsigned shift) {
  enum { DIGITS = 1 << RADIX_BITS };
  size_t starts[DIGITS + 1] = {0};
  for (size_t i = 0; i < r->count; i++)
    starts[(sort_key(&r->at[i]) >> shift & (DIGITS - 1)) + 1]++;
  for (size_t d = 1; d <= DIGITS; d++)
    starts[d] += starts[d - 1];
  for (size_t i = 0; i < r->count; i++)
    to[starts[sort_key(&r->at[from[i]]) >> shift & (DIGITS - 1)]++] = from[i];
}

/* Returns owned: the numbers of the rows, by key. NULL when memory is exhausted. */
static uint32_t *sorted(const struct cached_rows *r) {
  uint32_t *order = malloc((r->count + 1) * sizeof *order);
  auto_free uint32_t *other = malloc((r->count + 1) * sizeof *other);
  if (!order || !other) {
    free(order);
    return NULL;
  }
  for (size_t i = 0; i < r->count; i++)
    order[i] = (uint32_t)i;
  sort_by_digit(r, order, other, 0);
  sort_by_digit(r, other, order, RADIX_BITS);
  return order;
}

/* ---- chunks ---- */

static void add_bytes(struct buf *to, const void *bytes, size_t len) {
  buf_add(to, (struct view){bytes, len});
}

static uint64_t sum_from(const struct buf *b, size_t at) {
  return b->len > at ? checksum_of(b->ptr + at, b->len - at) : 0;
}

/* Rows on their way into the file. */
struct chunk {
  const struct cached_rows *rows;
  uint32_t *order;           /* of the rows, as they are written */
  struct cached_pair *pairs; /* of rows with an order: it and the block, in the order of the rows */
  size_t pair_count;
  struct cached_chunk head;
  struct buf blocks; /* of struct cached_block */
  struct buf bytes;
};

static const struct cached_row *row_at(const struct chunk *c, size_t i) {
  return &c->rows->at[c->order[i]];
}

/* Returns how many rows from `from` on make a block. */
static size_t block_rows(const struct chunk *c, size_t from) {
  const size_t part = c->rows->text.len / BLOCK_PART_MIN;
  const size_t bytes_min = part < BLOCK_BYTES_MIN ? part : BLOCK_BYTES_MIN;
  size_t bytes = 0, to = from;
  for (; to < c->rows->count && bytes < BLOCK_BYTES_MAX; to++) {
    const struct cached_row *row = row_at(c, to), *last = to > from ? row_at(c, to - 1) : row;
    if (row->is_verbatim != last->is_verbatim || (row->facts.day != last->facts.day && bytes >= bytes_min))
      break;
    bytes += row->len;
  }
  return to - from;
}

/* Cuts the rows into blocks. False when that cannot be done. */
static bool make_blocks(struct chunk *c) {
  size_t count;
  for (size_t from = 0; from < c->rows->count; from += count) {
    const struct cached_row *first = row_at(c, from);
    count = block_rows(c, from);
    struct cached_block b = {.first_line = UINT64_MAX,
                             .rows = (uint32_t)count,
                             .first_day = first->facts.day,
                             .is_verbatim = first->is_verbatim};
    uint64_t last_line = 0;
    for (size_t i = from; i < from + count; i++) {
      const struct cached_row *row = row_at(c, i);
      b.text_bytes += row->len;
      b.last_day = row->facts.day;
      b.first_line = row->line < b.first_line ? row->line : b.first_line;
      last_line = row->line > last_line ? row->line : last_line;
      c->head.forms |= row->facts.forms;
      if (row->facts.order != ID_NULL)
        c->pairs[c->pair_count++] = (struct cached_pair){row->facts.order, c->head.blocks};
    }
    add_bytes(&c->blocks, &b, sizeof b);
    if (last_line - b.first_line > UINT32_MAX || ++c->head.blocks > CACHED_CHUNK_BLOCKS_MAX)
      return false;
  }
  return true;
}

/* ---- orders of a chunk ---- */

/* Notes that an order is in a block. */
static void note_where(cached_where *where, uint64_t block) {
  const cached_where here = (cached_where)(block + 1);
  *where = *where == CACHED_NOWHERE || *where == here ? here : CACHED_IN_SEVERAL;
}

/* Of orders in several blocks: each with one of them. */
static void add_pair(struct chunk *c, const struct cached_pair *pair) {
  add_bytes(&c->bytes, pair, sizeof *pair);
  c->head.pairs++;
}

/* Writes numbers from the least on as bits. */
static bool add_bits(struct chunk *c, uint64_t span) {
  enum { WORD_BITS = 64 };
  const id_code least = c->head.least_order / WORD_BITS * WORD_BITS;
  const uint64_t words = (span + c->head.least_order - least + WORD_BITS - 1) / WORD_BITS;
  auto_free uint64_t *bits = calloc(words, sizeof *bits);
  if (!bits)
    return false;
  for (size_t i = 0; i < c->pair_count; i++)
    bits[(c->pairs[i].order - least) / WORD_BITS] |= (uint64_t)1 << c->pairs[i].order % WORD_BITS;
  c->head.kind = CACHED_BITS;
  c->head.least_order = least;
  c->head.orders = words * WORD_BITS;
  add_bytes(&c->bytes, bits, words * sizeof *bits);
  return true;
}

/* Writes where numbers from the least on are. */
static bool add_span(struct chunk *c, uint64_t span) {
  auto_free cached_where *where = calloc(span, sizeof *where);
  if (!where)
    return false;
  for (size_t i = 0; i < c->pair_count; i++)
    note_where(&where[c->pairs[i].order - c->head.least_order], c->pairs[i].block);
  for (size_t i = 0; i < c->pair_count; i++)
    if (where[c->pairs[i].order - c->head.least_order] == CACHED_IN_SEVERAL)
      add_pair(c, &c->pairs[i]);
  c->head.kind = CACHED_SPAN;
  c->head.orders = span;
  add_bytes(&c->bytes, where, span * sizeof *where);
  return true;
}

static int by_order(const void *a, const void *b) {
  const struct cached_pair *x = a, *y = b;
  return x->order != y->order ? (x->order > y->order) - (x->order < y->order)
                              : (x->block > y->block) - (x->block < y->block);
}

/* Writes ids, which are far apart, and where they are. */
static bool add_ids(struct chunk *c) {
  auto_free id_code *ids = calloc(c->pair_count, sizeof *ids);
  auto_free cached_where *where = calloc(c->pair_count, sizeof *where);
  if (!ids || !where)
    return false;
  qsort(c->pairs, c->pair_count, sizeof *c->pairs, by_order);
  for (size_t i = 0; i < c->pair_count; i++) {
    if (i == 0 || c->pairs[i].order != c->pairs[i - 1].order)
      ids[c->head.orders++] = c->pairs[i].order;
    note_where(&where[c->head.orders - 1], c->pairs[i].block);
  }
  for (size_t i = 0, at = 0; i < c->pair_count; i++) {
    at += c->pairs[i].order != ids[at];
    if (where[at] == CACHED_IN_SEVERAL)
      add_pair(c, &c->pairs[i]);
  }
  c->head.kind = CACHED_IDS;
  add_bytes(&c->bytes, ids, c->head.orders * sizeof *ids);
  add_bytes(&c->bytes, where, c->head.orders * sizeof *where);
  return true;
}

/* Writes which orders there are, and where if that is asked for. False when memory is exhausted. */
static bool encode_orders(struct chunk *c, bool asks_where) {
  id_code least = ID_NULL, greatest = 0;
  for (size_t i = 0; i < c->pair_count; i++) {
    const id_code order = c->pairs[i].order;
    least = order < least ? order : least;
    greatest = order > greatest ? order : greatest;
  }
  bool ok = true;
  if (c->pair_count > 0) {
    const uint64_t spread = asks_where ? WHERE_SPREAD_MAX : BITS_SPREAD_MAX;
    c->head.least_order = least;
    if ((greatest - least) / spread >= c->pair_count)
      ok = add_ids(c);
    else
      ok = asks_where ? add_span(c, greatest - least + 1) : add_bits(c, greatest - least + 1);
  }
  c->head.crc = sum_from(&c->bytes, 0);
  return ok;
}

/* ---- writing ---- */

/* Appends the bytes of a block. */
static void encode_block(struct chunk *c, size_t from, struct cached_block *b) {
  b->at = c->bytes.len;
  char *line = buf_extend(&c->bytes, cached_bytes(b));
  if (!line)
    return;
  char *text = line + cached_lines_bytes(b);
  for (size_t i = from; i < from + b->rows; i++) {
    const struct cached_row *row = row_at(c, i);
    const uint32_t past = (uint32_t)(row->line - b->first_line);
    memcpy(line, &past, sizeof past);
    line += sizeof past;
    memcpy(text, c->rows->text.ptr + row->at, row->len);
    text += row->len;
  }
  b->crc = sum_from(&c->bytes, b->at);
}

static void encode_blocks(struct chunk *c) {
  struct cached_block *blocks = (struct cached_block *)(void *)c->blocks.ptr;
  for (size_t i = 0, from = 0; i < c->head.blocks; from += blocks[i++].rows)
    encode_block(c, from, &blocks[i]);
}

static bool write_at(int fd, const void *bytes, size_t size, uint64_t at) {
  for (size_t done = 0; done < size;) {
    ssize_t n = pwrite(fd, (const char *)bytes + done, size - done, (off_t)(at + done));
    if (n == 0 || (n < 0 && errno != EINTR))
      return false;
    done += n > 0 ? (size_t)n : 0;
  }
  return true;
}

/* Takes room in the file for a chunk, and it into the directory. Returns where the room begins. */
static uint64_t take_room(struct cache_writer *w, struct chunk *c) {
  SCOPE_LOCK(&w->lock);
  const uint64_t at = w->size;
  struct cached_block *blocks = (struct cached_block *)(void *)c->blocks.ptr;
  for (size_t i = 0; i < c->head.blocks; i++)
    blocks[i].at += at;
  c->head.at = at;
  add_bytes(&w->chunks, &c->head, sizeof c->head);
  buf_add(&w->blocks, buf_view(&c->blocks));
  w->size += c->bytes.len;
  return at;
}

static bool make_chunk(struct chunk *c, bool asks_where) {
  c->order = sorted(c->rows);
  c->pairs = calloc(c->rows->count, sizeof *c->pairs);
  if (!c->order || !c->pairs || !make_blocks(c) || buf_failed(&c->blocks) || !encode_orders(c, asks_where))
    return false;
  encode_blocks(c);
  return !buf_failed(&c->bytes);
}

/* Writes rows as a chunk. False when that fails. */
static bool write_chunk(struct cache_writer *w, const struct cached_rows *rows) {
  struct chunk c = {.rows = rows};
  buf_init(&c.blocks, SIZE_MAX);
  buf_init(&c.bytes, SIZE_MAX);
  bool ok = !rows->failed && make_chunk(&c, w->asks_where);
  if (ok) {
    const uint64_t at = take_room(w, &c);
    ok = write_at(w->fd, c.bytes.ptr, c.bytes.len, at);
  }
  free(c.order);
  free(c.pairs);
  buf_clear(&c.blocks);
  buf_clear(&c.bytes);
  return ok;
}

/* ---- the entry ---- */

struct cache_writer *cache_writer_new(int fd, bool asks_where) {
  struct cache_writer *w = calloc(1, sizeof *w);
  if (!w)
    return NULL;
  w->fd = fd;
  w->asks_where = asks_where;
  w->size = sizeof(struct cached_head);
  buf_init(&w->chunks, SIZE_MAX);
  buf_init(&w->blocks, SIZE_MAX);
  pthread_mutex_init(&w->lock, NULL);
  return w;
}

void cache_writer_free(struct cache_writer *w) {
  if (!w)
    return;
  cached_rows_clear(&w->gathered);
  buf_clear(&w->chunks);
  buf_clear(&w->blocks);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

static void fail(struct cache_writer *w) {
  SCOPE_LOCK(&w->lock);
  w->failed = true;
}

/* Adds rows to those that are gathered; moves these into *full when they are enough for a chunk. */
static void gather(struct cache_writer *w, struct cached_rows *rows, struct cached_rows *full) {
  SCOPE_LOCK(&w->lock);
  if (w->failed)
    cached_rows_reset(rows);
  else
    append(&w->gathered, rows);
  if (w->gathered.count < CHUNK_ROWS_MIN && w->gathered.text.len < CHUNK_BYTES_MIN)
    return;
  *full = w->gathered;
  w->gathered = (struct cached_rows){0};
}

void cache_writer_add(struct cache_writer *w, struct cached_rows *rows) {
  struct cached_rows full = {0};
  gather(w, rows, &full);
  if (full.count && !write_chunk(w, &full))
    fail(w);
  cached_rows_clear(&full);
}

/* Appends the header of the columns that are needed: quoted, as no row is. */
static void add_header(struct buf *to, const struct schema *schema, const struct csv_binding *binding) {
  const char *gap = "";
  for (size_t c = 0; c < schema->column_count; c++)
    if (binding->has[c]) {
      buf_printf(to, "%s\"%s\"", gap, schema->columns[c].name);
      gap = ",";
    }
  buf_add_char(to, '\n');
}

bool cache_writer_finish(struct cache_writer *w, const char *name, const struct schema *schema,
                         const struct csv_binding *binding, uint64_t *bytes) {
  struct cached_head head = {.magic = CACHED_MAGIC};
  auto_buf struct buf end;
  buf_init(&end, SIZE_MAX);
  if (w->failed || w->gathered.failed || (w->gathered.count && !write_chunk(w, &w->gathered)))
    return false;
  buf_add(&end, buf_view(&w->chunks));
  buf_add(&end, buf_view(&w->blocks));
  const size_t headers_at = end.len;
  add_header(&end, schema, binding);
  head.header_bytes[CACHED_COLUMNS_NEEDED] = end.len - headers_at;
  const size_t verbatim_at = end.len;
  buf_add_cstr(&end, HEADER_START);
  buf_add(&end, binding->header);
  buf_add_char(&end, '\n');
  head.header_bytes[CACHED_VERBATIM] = end.len - verbatim_at;
  if (buf_failed(&w->chunks) || buf_failed(&w->blocks) || buf_failed(&end))
    return false;
  view_to_cstr(view_of(name), head.name, sizeof head.name);
  head.directory_at = w->size;
  head.chunks = w->chunks.len / sizeof(struct cached_chunk);
  head.blocks = w->blocks.len / sizeof(struct cached_block);
  head.directory_crc = sum_from(&end, 0);
  head.crc = checksum_of(&head, offsetof(struct cached_head, crc));
  *bytes = w->size + end.len;
  return write_at(w->fd, end.ptr, end.len, w->size) && write_at(w->fd, &head, sizeof head, 0);
}
