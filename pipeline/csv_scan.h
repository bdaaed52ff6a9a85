/* SPDX-License-Identifier: MIT
 * Where cells and rows end: the commas and line ends of a piece of text as a list of offsets, found 64 bytes
 * at a time by the widest instructions the processor has. Knows no row's meaning, and stops where quotes are
 * other than around a cell. */
#ifndef KPID_PIPELINE_CSV_SCAN_H
#define KPID_PIPELINE_CSV_SCAN_H

#include "base/view.h"

#include <stdint.h>

enum {
  CSV_WORD_BYTES = 64,
  CSV_MARKS_BYTES_MAX = 16 * 1024,     /* of text that is looked at in one go: stays in the first cache */
  CSV_MARKS_SLACK = 2 * CSV_WORD_BYTES /* entries that may be overwritten behind the last */
};

/* What was found. Offsets are from the start of the text. */
struct csv_marks {
  uint16_t at[CSV_MARKS_BYTES_MAX + CSV_MARKS_SLACK];   /* commas and LFs, ascending */
  uint16_t rows[CSV_MARKS_BYTES_MAX + CSV_MARKS_SLACK]; /* which of them are LFs: indices into `at` */
  size_t count, row_count;
  bool is_ascii;    /* of what was looked at, and perhaps a little more */
  bool is_bare;     /* of what was looked at: no quote and no CR */
  bool in_quotes;   /* at the end of what was looked at */
  uint64_t at_cell; /* 1: that is where a cell begins; else 0 */
};

/* Fills `out` from the start of the text, which begins a row, at most CSV_MARKS_BYTES_MAX bytes of it, up to
 * the first byte that is not plain: a quote that does not open or close a whole cell, a backslash or line end
 * inside of quotes, or a CR that no LF follows. A CR before its LF is part of the cell, and so are quotes. */
void csv_scan(struct view text, struct csv_marks *out);

/* What a text holds; zero-initialised is of none. */
struct csv_survey {
  size_t line_ends; /* LF, CRLF and lone CR, also within quotes */
  bool has_quote;
  bool ends_in_cr; /* carried from one call of a scanner to the next, not a result */
};

/* Looks at the whole text. */
struct csv_survey csv_scan_survey(struct view text);

/* What stands where in 64 bytes: bit i for byte i. */
struct csv_look {
  uint64_t commas, line_feeds, returns, quotes, high; /* high: 0x80 or more */
};

struct plain_words;
struct plain_batch;

/* One way to do it. */
struct csv_scanner {
  const char *name; /* as in KPID_SIMD */
  bool (*is_usable)(void);
  /* Looks at `words` times 64 bytes, and may read one byte more, which start at offset `base` of the text.
   * Returns false when it has stopped at a byte that is not plain. */
  bool (*scan)(const char *text, size_t words, size_t base, struct csv_marks *out);
  /* Adds what words hold to the survey. */
  void (*survey)(const char *text, size_t words, struct csv_survey *out);
  /* Reads days and `ids` columns of ids of a batch's rows; see plain_batch.h. */
  void (*read_batch)(const struct plain_words *words, size_t ids, struct plain_batch *out);
};

/* All that were built for this processor's family, the best first, the portable one last; NULL ends. */
extern const struct csv_scanner *const csv_scanners[];

/* The one that is used: the first usable one, or, for tests, the one that KPID_SIMD names, if it is usable.
 */
const struct csv_scanner *csv_scanner(void);

#endif
