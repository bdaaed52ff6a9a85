/* SPDX-License-Identifier: MIT
 * Rows of a text that is cut into blocks, and of one that is streamed, against rows of the whole text. */
#include "fuzz.h"

#include "memory_reader.h"
#include "pipeline/csv_stream.h"

enum { ROWS_MAX = CSV_BLOCK_BYTES / 8 };

/* What is compared: where each row stands and what is in it, then how it ended. */
struct trace {
  struct {
    uint64_t line, hash;
  } row[ROWS_MAX];
  size_t count;
  enum csv_problem problem;
  uint64_t problem_line;
};

static void forget(struct trace *t) {
  t->count = 0;
  t->problem = CSV_FINE;
  t->problem_line = 0;
}

static uint64_t hash_row(const struct csv_row *row) {
  uint64_t hash = row->cell_count;
  for (size_t i = 0; i < COLUMNS_MAX; i++)
    hash = hash * 0x9e3779b97f4a7c15u + dict_hash(row->cells[i]);
  return hash;
}

/* Adds the rows of a piece whose first line has that number. False at a problem. */
static bool add_rows(struct trace *t, struct csv_cursor *c, struct view piece, uint64_t first_line,
                     const struct csv_binding *binding) {
  struct csv_row row;
  csv_start(c, piece);
  while (csv_next(c, binding, &row)) {
    REQUIRE(t->count < ROWS_MAX, "too many rows");
    t->row[t->count].line = first_line + row.line;
    t->row[t->count++].hash = hash_row(&row);
  }
  t->problem = c->problem;
  t->problem_line = c->problem ? first_line + row.line : 0;
  return c->problem == CSV_FINE;
}

static void require_same(const char *how, const struct trace *want, const struct trace *got) {
  for (size_t i = 0; i < want->count && i < got->count; i++)
    REQUIRE(want->row[i].line == got->row[i].line && want->row[i].hash == got->row[i].hash,
            "%s: row %zu is another: line %lu, not %lu", how, i, (unsigned long)got->row[i].line,
            (unsigned long)want->row[i].line);
  REQUIRE(want->count == got->count, "%s: %zu rows, not %zu", how, got->count, want->count);
  REQUIRE(want->problem == got->problem && want->problem_line == got->problem_line,
          "%s: problem %d in line %lu, not %d in line %lu", how, (int)got->problem,
          (unsigned long)got->problem_line, (int)want->problem, (unsigned long)want->problem_line);
}

/* ---- blocks of any size ---- */

/* As a stream does it: bytes are added until a row ends in them, and what follows the last whole row waits.
 */
static void read_in_blocks(struct view text, size_t block, const struct csv_binding *binding,
                           struct trace *out) {
  struct csv_cursor c;
  uint64_t line = 1;
  size_t from = 0, upto = 0;
  csv_init(&c);
  forget(out);
  for (bool more = true; more && !(from == text.len && upto == text.len);) {
    bool is_last;
    upto = text.len - upto < block ? text.len : upto + block;
    is_last = upto == text.len;
    char *exact = exact_copy((struct view){text.ptr + from, upto - from});
    const struct csv_cut cut = csv_cut((struct view){exact, upto - from}, is_last);
    struct view piece = {exact, cut.whole};
    REQUIRE(cut.line_ends == count_line_ends(piece), "cut: %lu line ends, not %lu",
            (unsigned long)cut.line_ends, (unsigned long)count_line_ends(piece));
    more = add_rows(out, &c, piece, line, binding);
    line += count_line_ends(piece);
    from += piece.len;
    free(exact);
  }
  csv_clear(&c);
}

static void require_same_in_blocks(struct view text, size_t block) {
  static struct trace whole, blocks;
  const struct csv_binding binding = {
      .columns = 3, .slot = {0, -1, 1}, .needed = {{0, 0}, {2, 1}}, .needed_count = 2};
  read_in_blocks(text, text.len + 1, &binding, &whole);
  read_in_blocks(text, block, &binding, &blocks);
  require_same("cut", &whole, &blocks);
}

/* ---- a stream of an object ---- */

/* The object in parts of some pieces, each in memory of its own that goes when all of it was given back, so
 * that nobody can read or write more of it, or for longer, than is lent. */
struct lender {
  struct memory_reader memory;
  size_t part_bytes, room;
  char *part; /* owned; NULL: the next one has to be made */
  size_t returned;
};

static enum kpi_code lender_lend(struct source_reader *r, uint64_t at, size_t size, struct source_loan *out,
                                 struct err *err) {
  struct lender *l = (struct lender *)r;
  const size_t before = (size_t)at % l->part_bytes, first = (size_t)at - before;
  const size_t left = l->memory.left.len - first, part = left < l->part_bytes ? left : l->part_bytes;
  (void)err;
  REQUIRE(size > 0 && before + size <= part, "%zu bytes at %zu of a part of %zu", size, before, part);
  if (!l->part) {
    l->part = malloc(l->room + part);
    memcpy(l->part + l->room, l->memory.left.ptr + first, part);
  }
  *out = (struct source_loan){l->part + l->room + before, size, before, l->room, l};
  return KPI_OK;
}

static void lender_take_back(struct source_reader *r, const struct source_loan *loan) {
  struct lender *l = (struct lender *)r;
  l->returned += loan->len;
  if (l->returned % l->part_bytes == 0 || l->returned == l->memory.left.len) {
    free(l->part);
    l->part = NULL;
  }
}

static void lender_close(struct source_reader *r) {
  free(((struct lender *)r)->part); /* of an object that is not read to its end */
}

static const struct source_reader_vtable lender_vtable = {
    .finish = memory_finish, .close = lender_close, .lend = lender_lend, .take_back = lender_take_back};

/* A source of one object. */
struct memory_source {
  struct source base;
  struct lender reader;
};

static enum kpi_code open_memory(struct source *s, const struct source_object *object,
                                 const struct source_use *use, struct source_reader **out, struct err *err) {
  (void)object, (void)use, (void)err;
  *out = &((struct memory_source *)s)->reader.memory.base;
  return KPI_OK;
}

static const struct source_vtable source_vtable = {.kind = "memory", .open = open_memory};

/* How an object is read. */
struct reading {
  const char *name;
  const struct source_reader_vtable *vtable;
  size_t most;        /* bytes of a read; what is lent is in parts of some pieces, and has some room */
  size_t piece_bytes; /* of which blocks are made */
};

static const char object_name[] = "orders/a.csv";

/* Makes the next block, of a piece that is fetched where it has to be. */
static enum kpi_code next_block(struct csv_stream *s, uint64_t piece, struct csv_block *block,
                                struct err *err) {
  enum kpi_code rc = csv_stream_pieces(s) ? csv_stream_fetch(s, piece, block, err) : KPI_OK;
  return rc ? rc : csv_stream_next(s, block, err);
}

static enum kpi_code read_stream(struct view text, const struct reading *how, struct trace *out,
                                 struct err *err) {
  const struct source_object object = {.name = (char *)(uintptr_t)object_name, .size = text.len};
  struct memory_source memory = {{.vtable = &source_vtable},
                                 {.memory = {{how->vtable}, text, how->most},
                                  .part_bytes = (how->most % 4 + 1) * how->piece_bytes,
                                  .room = how->most % 32}};
  struct csv_stream stream = {0};
  struct csv_block block = {0};
  struct csv_cursor c;
  csv_init(&c);
  enum kpi_code rc = csv_stream_open(&stream, &memory.base, &object, schema_of(DATASET_ORDERS), NULL, err);
  stream.piece_bytes = how->piece_bytes;
  for (uint64_t piece = 0; rc == KPI_OK && !stream.at_end; piece++) {
    rc = next_block(&stream, piece, &block, err);
    const bool goes_on = rc == KPI_OK && add_rows(out, &c, block.rows, block.first_line, &stream.binding);
    csv_stream_release(&stream, &block);
    if (!goes_on)
      break;
  }
  csv_stream_close(&stream);
  csv_block_clear(&block);
  csv_clear(&c);
  return rc;
}

static enum kpi_code read_whole(struct view text, struct trace *out, struct err *err) {
  struct csv_binding binding;
  struct csv_cursor c;
  size_t used;
  uint64_t lines;
  enum kpi_code rc = csv_bind(text, schema_of(DATASET_ORDERS), object_name, 1, &binding, &used, &lines, err);
  if (rc || used == 0)
    return rc;
  csv_init(&c);
  add_rows(out, &c, (struct view){text.ptr + used, text.len - used}, lines + 1, &binding);
  csv_clear(&c);
  return KPI_OK;
}

static void require_same_stream(struct view text, const struct reading *how) {
  static struct trace whole, streamed;
  struct err want, got;
  forget(&whole);
  forget(&streamed);
  enum kpi_code rc = read_whole(text, &whole, &want), found = read_stream(text, how, &streamed, &got);
  REQUIRE(found == rc, "%s: code %d, not %d", how->name, (int)found, (int)rc);
  if (rc)
    REQUIRE(strcmp(want.message, got.message) == 0, "%s: '%s', not '%s'", how->name, got.message,
            want.message);
  require_same(how->name, &whole, &streamed);
}

/* A header and rows of `filler` bytes in all before the text, or the text alone. */
static char *build(struct view text, size_t filler, size_t *len) {
  enum { ROW_BYTES = 1024 };
  static const char header[] = "order_id,user_id,created_at\n";
  char *bytes = malloc(filler + text.len + 1);
  REQUIRE(bytes, "no memory");
  memset(bytes, 'x', filler);
  for (size_t at = ROW_BYTES; at < filler; at += ROW_BYTES)
    bytes[at] = '\n';
  if (filler) {
    memcpy(bytes, header, sizeof header - 1);
    bytes[filler - 1] = '\n';
  }
  if (text.len)
    memcpy(bytes + filler, text.ptr, text.len);
  *len = filler + text.len;
  return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct view text = input_of(data, size);
  uint8_t block = take_knob(&text), piece = take_knob(&text), filler = take_knob(&text);
  require_same_in_blocks(text, block % 64 + 1u);
  bool is_long = filler % 16 == 15; /* then the end of a block lies in the text, or near it */
  size_t len;
  char *bytes = build(text, is_long ? CSV_BLOCK_BYTES - filler / 16u * 16u : 0, &len);
  const size_t most = is_long ? SIZE_MAX : piece + 1u, piece_bytes = is_long ? CSV_BLOCK_BYTES : block + 1u;
  require_same_stream((struct view){bytes, len},
                      &(struct reading){"in order", &memory_vtable, most, piece_bytes});
  require_same_stream((struct view){bytes, len},
                      &(struct reading){"in pieces", &memory_anywhere_vtable, most, piece_bytes});
  require_same_stream((struct view){bytes, len},
                      &(struct reading){"borrowed", &lender_vtable, most, piece_bytes});
  free(bytes);
  return 0;
}
