/* SPDX-License-Identifier: MIT
 * Pieces of an object that can be read anywhere, where reading goes wrong. What is right is in fuzz_stream.
 */
#include "pipeline/csv_stream.h"

#include "unit.h"

enum { PIECE_BYTES = 16, PIECES = 3 };

/* An object whose bytes are fewer than it was listed with, or cannot be read from a place on. */
struct bad_reader {
  struct source_reader base;
  struct view bytes;
  size_t most;       /* bytes of a read */
  uint64_t fails_at; /* UINT64_MAX: nowhere */
  enum kpi_code finish;
};

static enum kpi_code bad_read_at(struct source_reader *r, uint64_t at, char *to, size_t size, size_t *got,
                                 struct err *err) {
  const struct bad_reader *b = (const struct bad_reader *)r;
  const size_t left = at < b->bytes.len ? b->bytes.len - (size_t)at : 0;
  if (at >= b->fails_at)
    return err_set(err, KPI_SOURCE_UNREADABLE, "read at %lu", (unsigned long)at);
  *got = size < left ? size : left;
  *got = *got < b->most ? *got : b->most;
  if (*got)
    memcpy(to, b->bytes.ptr + at, *got);
  return KPI_OK;
}

static enum kpi_code bad_finish(struct source_reader *r, struct err *err) {
  const enum kpi_code rc = ((const struct bad_reader *)r)->finish;
  return rc ? err_set(err, rc, "changed") : KPI_OK;
}

static void bad_close(struct source_reader *r) {
  (void)r;
}

static const struct source_reader_vtable bad_vtable = {
    .finish = bad_finish, .close = bad_close, .read_at = bad_read_at};

/* A stream of three pieces over the reader. */
static struct csv_stream stream_of(struct bad_reader *r, const struct source_object *object) {
  r->base.vtable = &bad_vtable;
  return (struct csv_stream){.object = object,
                             .schema = schema_of(DATASET_PRODUCTS),
                             .reader = &r->base,
                             .next_line = 1,
                             .has_pieces = true,
                             .piece_bytes = PIECE_BYTES};
}

static const struct source_object object = {.name = (char *)"products/a.csv",
                                            .size = PIECES * PIECE_BYTES - 6};
#define WHOLE VIEW_LIT("id,category\n1,Ab\n22,\"C\nD\"\n3,E\n4,Ffff\n555,G")

static void short_reads_fill_a_piece(void **state) {
  (void)state;
  struct bad_reader reader = {.bytes = WHOLE, .most = 3, .fails_at = UINT64_MAX};
  struct csv_stream s = stream_of(&reader, &object);
  struct csv_block blocks[PIECES] = {{0}};
  struct err err = {0};
  static const char *const rows[] = {"", "1,Ab\n22,\"C\nD\"\n3,E\n", "4,Ffff\n555,G"};
  static const uint64_t lines[] = {2, 2, 6};
  assert_int_equal(WHOLE.len, object.size);
  assert_int_equal(csv_stream_pieces(&s), PIECES);
  for (uint64_t i = PIECES; i-- > 0;) /* in any order */
    assert_int_equal(csv_stream_fetch(&s, i, &blocks[i], &err), KPI_OK);
  for (uint64_t i = 0; i < PIECES; i++) {
    assert_false(s.at_end);
    assert_int_equal(csv_stream_next(&s, &blocks[i], &err), KPI_OK);
    assert_view(blocks[i].rows, rows[i]);
    assert_int_equal(blocks[i].first_line, lines[i]);
    csv_block_clear(&blocks[i]);
  }
  assert_true(s.at_end);
  csv_stream_close(&s);
}

/* Else what follows in another piece, which was read before, would be put behind half of a row. */
static void object_that_got_shorter_is_no_piece(void **state) {
  (void)state;
  static const enum kpi_code finishes[] = {KPI_S3_OBJECT_CHANGED, KPI_OK};
  for (size_t f = 0; f < COUNT_OF(finishes); f++)
    for (size_t len = 0; len < object.size; len++) {
      struct bad_reader reader = {
          .bytes = {WHOLE.ptr, len}, .most = SIZE_MAX, .fails_at = UINT64_MAX, .finish = finishes[f]};
      struct csv_stream s = stream_of(&reader, &object);
      for (uint64_t i = 0; i < PIECES; i++) {
        struct csv_block block = {0};
        struct err err = {0};
        const bool is_whole = len >= (i + 1) * PIECE_BYTES;
        enum kpi_code wanted = is_whole ? KPI_OK : finishes[f] ? finishes[f] : KPI_SOURCE_UNREADABLE;
        assert_int_equal(csv_stream_fetch(&s, i, &block, &err), wanted);
        csv_block_clear(&block);
      }
      csv_stream_close(&s);
    }
}

static void piece_that_cannot_be_read_says_so(void **state) {
  (void)state;
  struct bad_reader reader = {.bytes = WHOLE, .most = 3, .fails_at = PIECE_BYTES + 4};
  struct csv_stream s = stream_of(&reader, &object);
  struct csv_block block = {0};
  struct err err = {0};
  assert_int_equal(csv_stream_fetch(&s, 0, &block, &err), KPI_OK);
  assert_int_equal(csv_stream_fetch(&s, 1, &block, &err), KPI_SOURCE_UNREADABLE);
  assert_string_equal(err.message, "read at 22");
  assert_int_equal(csv_stream_fetch(&s, 2, &block, &err), KPI_SOURCE_UNREADABLE);
  csv_block_clear(&block);
  csv_stream_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_reads_fill_a_piece),
      cmocka_unit_test(object_that_got_shorter_is_no_piece),
      cmocka_unit_test(piece_that_cannot_be_read_says_so),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
