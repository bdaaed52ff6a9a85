/* SPDX-License-Identifier: MIT
 * Rows of every scanner against rows that are walked byte by byte: the same cells, lines and problems. */
#include "fuzz.h"

#include "pipeline/csv.h"
/* For its choice of a scanner, which is made once in the program. */
#include "pipeline/csv_scan.c"

enum { CELLS = 8, PREFIX_MAX = CSV_MARKS_BYTES_MAX + 4 * CSV_WORD_BYTES };

/* Stops before the first byte, so that no row is marked. */
static bool mark_nothing(const char *text, size_t words, size_t base, struct csv_marks *out) {
  (void)text, (void)words, (void)base, (void)out;
  return false;
}

static const struct csv_scanner walker = {"walker", is_always_usable, mark_nothing, survey_words};

/* Needs the cells of the bits, at most as many as a schema has. */
static struct csv_binding bind_bits(uint8_t needed) {
  struct csv_binding b = {.columns = CELLS};
  for (size_t i = 0; i < CELLS; i++) {
    bool is_needed = (needed >> i & 1) && b.needed_count < COLUMNS_MAX;
    b.slot[i] = is_needed ? (int)b.needed_count : -1;
    if (!is_needed)
      continue;
    b.needed[b.needed_count].cell = i;
    b.needed[b.needed_count].slot = b.needed_count;
    b.needed_count++;
  }
  return b;
}

static void require_same_row(const char *name, const struct csv_row *want, const struct csv_row *got) {
  REQUIRE(want->raw.ptr == got->raw.ptr && want->raw.len == got->raw.len, "%s: row '%.*s', not '%.*s'", name,
          SHOWN(got->raw), SHOWN(want->raw));
  REQUIRE(want->cell_count == got->cell_count, "%s: %zu cells, not %zu", name, got->cell_count,
          want->cell_count);
  for (size_t i = 0; i < COLUMNS_MAX; i++)
    REQUIRE(view_eq(want->cells[i], got->cells[i]), "%s: cell '%.*s', not '%.*s'", name, SHOWN(got->cells[i]),
            SHOWN(want->cells[i]));
  REQUIRE(!got->is_utf8 || view_is_utf8(got->raw), "%s: not UTF-8: '%.*s'", name, SHOWN(got->raw));
}

static void require_same_rows(const struct csv_scanner *s, struct view block, const struct csv_binding *b) {
  static struct csv_cursor walked, marked;
  struct csv_row want, got;
  csv_init(&walked);
  csv_init(&marked);
  csv_start(&walked, block);
  csv_start(&marked, block);
  bool more = true;
  while (more) {
    chosen = &walker;
    more = csv_next(&walked, b, &want);
    chosen = s;
    bool found = csv_next(&marked, b, &got);
    REQUIRE(found == more && marked.problem == walked.problem, "%s: %d and problem %d, not %d and %d",
            s->name, found, (int)marked.problem, more, (int)walked.problem);
    REQUIRE(got.line == want.line, "%s: line %lu, not %lu", s->name, (unsigned long)got.line,
            (unsigned long)want.line);
    if (more)
      require_same_row(s->name, &want, &got);
  }
  csv_clear(&walked);
  csv_clear(&marked);
}

static void require_right_survey(const struct csv_scanner *s, struct view block) {
  const size_t line_ends = count_line_ends(block);
  chosen = s;
  struct csv_survey found = csv_scan_survey(block);
  REQUIRE(found.line_ends == line_ends, "%s: surveyed %zu line ends, not %zu", s->name, found.line_ends,
          line_ends);
  REQUIRE(found.has_quote == (block.len && memchr(block.ptr, '"', block.len)), "%s: quotes", s->name);
}

/* Rows before the text, so that it lies across the end of what is marked in one go. */
static void write_prefix(char *to, size_t size) {
  enum { ROW_BYTES = 1024 };
  for (size_t i = 0; i < size; i++)
    to[i] = i % ROW_BYTES == ROW_BYTES - 1 ? '\n' : i % ROW_BYTES % 50 == 49 ? ',' : 'x';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct view text = input_of(data, size);
  const struct csv_binding binding = bind_bits((uint8_t)~take_knob(&text));
  uint8_t far = take_knob(&text), near = take_knob(&text);
  size_t before = far % 4 == 3 ? (size_t)PREFIX_MAX - (far / 4 % 2) * 64 - near : 0;
  char *bytes = malloc(before + text.len + 1);
  REQUIRE(bytes, "no memory");
  write_prefix(bytes, before);
  if (text.len)
    memcpy(bytes + before, text.ptr, text.len);
  char *exact = exact_copy((struct view){bytes, before + text.len});
  csv_scanner(); /* makes its choice now, and not later */
  for (size_t i = 0; csv_scanners[i]; i++)
    if (csv_scanners[i]->is_usable()) {
      require_same_rows(csv_scanners[i], (struct view){exact, before + text.len}, &binding);
      require_right_survey(csv_scanners[i], (struct view){exact, before + text.len});
    }
  free(exact);
  free(bytes);
  return 0;
}
