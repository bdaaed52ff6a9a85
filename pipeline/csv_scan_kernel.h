/* SPDX-License-Identifier: MIT
 * The loops of every scanner; included by the file of each, which first defines
 *   struct csv_look look_at(const char *at)                               bits of 64 bytes
 *   void put_offsets(uint16_t *to, uint64_t bits, size_t base)        offsets of the bits, ascending; may
 * write up to 64 entries more so that they are compiled into one with its instructions. */
#ifndef KPID_PIPELINE_CSV_SCAN_KERNEL_H
#define KPID_PIPELINE_CSV_SCAN_KERNEL_H

/* The number of each LF among the marks. Words with more than two are rare: no branch for the others. */
static inline void put_rows(struct csv_marks *out, uint64_t marks, uint64_t line_feeds) {
  size_t n = (size_t)__builtin_popcountll(line_feeds);
  uint16_t *to = &out->rows[out->row_count];
  uint64_t left = line_feeds;
  for (size_t i = 0; i < 2 || i < n; i++) {
    uint64_t below = (left & (0 - left)) - 1;
    to[i] = (uint16_t)(out->count + (size_t)__builtin_popcountll(marks & below));
    left &= left - 1;
  }
  out->row_count += n;
}

/* Where quotes stand: takes commas inside of them out of the marks. Returns the bits where a closer look is
 * needed. Source of the mask: Langdale and Lemire, "Parsing gigabytes of JSON per second". */
static inline uint64_t look_at_quotes(const char *text, const struct csv_look *look, struct csv_marks *out,
                                      uint64_t *marks) {
  const uint64_t inside = prefix_xor(look->quotes) ^ (out->in_quotes ? ~(uint64_t)0 : 0);
  const uint64_t ends = look->commas | look->line_feeds | look->returns;
  const char next = text[CSV_WORD_BYTES];
  const bool next_ends = next == ',' || next == '\n' || next == '\r';
  const uint64_t opening = look->quotes & inside, closing = look->quotes & ~inside;
  *marks &= ~inside;
  const uint64_t stop = (opening & ~(*marks << 1 | out->at_cell)) |
                        (closing & ~(ends >> 1 | (uint64_t)next_ends << 63)) |
                        (inside & (look->line_feeds | look->returns | backslashes(text)));
  out->in_quotes = inside >> 63;
  return stop;
}

static bool scan_words(const char *text, size_t words, size_t base, struct csv_marks *out) {
  for (size_t w = 0; w < words; w++, text += CSV_WORD_BYTES, base += CSV_WORD_BYTES) {
    struct csv_look look = look_at(text);
    uint64_t marks = look.commas | look.line_feeds, line_feeds = look.line_feeds, stop = 0;
    out->is_ascii &= look.high == 0;
    if (look.quotes || out->in_quotes) {
      stop = look_at_quotes(text, &look, out, &marks);
      out->is_bare = false;
    }
    if (look.returns) {
      out->is_bare = false;
      uint64_t next = look.line_feeds >> 1 | (uint64_t)(text[CSV_WORD_BYTES] == '\n') << 63;
      stop |= look.returns & ~next;
    }
    if (stop) {
      uint64_t before = (stop & (0 - stop)) - 1;
      marks &= before;
      line_feeds &= before;
    }
    out->at_cell = marks >> 63;
    put_offsets(&out->at[out->count], marks, base);
    put_rows(out, marks, line_feeds);
    out->count += (size_t)__builtin_popcountll(marks);
    if (stop)
      return false;
  }
  return true;
}

/* A CR is a line end, and an LF unless it follows one. */
static void survey_words(const char *text, size_t words, struct csv_survey *out) {
  uint64_t quotes = 0, after_cr = out->ends_in_cr;
  for (size_t w = 0; w < words; w++, text += CSV_WORD_BYTES) {
    const struct csv_look look = look_at(text);
    const uint64_t ends = (look.line_feeds & ~(look.returns << 1 | after_cr)) | look.returns;
    out->line_ends += (size_t)__builtin_popcountll(ends);
    after_cr = look.returns >> 63;
    quotes |= look.quotes;
  }
  out->ends_in_cr = after_cr;
  out->has_quote |= quotes != 0;
}

#endif
