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

static bool scan_words(const char *text, size_t words, size_t base, struct csv_marks *out) {
  for (size_t w = 0; w < words; w++, text += CSV_WORD_BYTES, base += CSV_WORD_BYTES) {
    struct csv_look look = look_at(text);
    uint64_t marks = look.commas | look.line_feeds, line_feeds = look.line_feeds, stop = look.quotes;
    out->is_ascii &= look.high == 0;
    if (look.returns) {
      uint64_t next = look.line_feeds >> 1 | (uint64_t)(text[CSV_WORD_BYTES] == '\n') << 63;
      stop |= look.returns & ~next;
    }
    if (stop) {
      uint64_t before = (stop & (0 - stop)) - 1;
      marks &= before;
      line_feeds &= before;
    }
    put_offsets(&out->at[out->count], marks, base);
    put_rows(out, marks, line_feeds);
    out->count += (size_t)__builtin_popcountll(marks);
    if (stop)
      return false;
  }
  return true;
}

static void survey_words(const char *text, size_t words, struct csv_survey *out) {
  uint64_t returns = 0;
  for (size_t w = 0; w < words; w++, text += CSV_WORD_BYTES) {
    struct csv_look look = look_at(text);
    out->line_feeds += (size_t)__builtin_popcountll(look.line_feeds);
    returns |= look.returns;
  }
  out->has_cr |= returns != 0;
}

#endif
