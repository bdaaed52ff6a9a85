/* SPDX-License-Identifier: MIT */
#include "pipeline/csv_scan.h"

#include "pipeline/swar.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- the portable scanner ---- */

/* The high bits of eight bytes, as bits 0 to 7. */
static inline uint64_t gather(uint64_t high_bits) {
  return (high_bits * 0x0002040810204081u) >> 56;
}

/* Bits of the bytes that are c. */
static inline uint64_t equal(uint64_t bytes, unsigned char c) {
  return gather(swar_equal(bytes, c));
}

static inline struct csv_look look_at(const char *at) {
  struct csv_look look = {0};
  for (unsigned i = 0; i < CSV_WORD_BYTES; i += 8) {
    const uint64_t bytes = swar_load(at + i);
    look.commas |= equal(bytes, ',') << i;
    look.line_feeds |= equal(bytes, '\n') << i;
    look.returns |= equal(bytes, '\r') << i;
    look.quotes |= equal(bytes, '"') << i;
    look.high |= gather(bytes & SWAR_HIGH_BITS) << i;
  }
  return look;
}

static inline uint64_t backslashes(const char *at) {
  uint64_t found = 0;
  for (unsigned i = 0; i < CSV_WORD_BYTES; i += 8)
    found |= equal(swar_load(at + i), '\\') << i;
  return found;
}

static inline uint64_t prefix_xor(uint64_t bits) {
  for (int shift = 1; shift < CSV_WORD_BYTES; shift *= 2)
    bits ^= bits << shift;
  return bits;
}

static inline void put_offsets(uint16_t *to, uint64_t bits, size_t base) {
  for (; bits; bits &= bits - 1)
    *to++ = (uint16_t)(base + (size_t)__builtin_ctzll(bits));
}

#include "pipeline/csv_scan_kernel.h"

#include "pipeline/plain_batch_kernel.h"

static bool is_always_usable(void) {
  return true;
}

static const struct csv_scanner scalar = {"scalar", is_always_usable, scan_words, survey_words, read_batch};

/* ---- choice ---- */

#ifdef __x86_64__
extern const struct csv_scanner csv_scanner_avx512, csv_scanner_avx2;
const struct csv_scanner *const csv_scanners[] = {&csv_scanner_avx512, &csv_scanner_avx2, &scalar, NULL};
#elif defined(__aarch64__)
extern const struct csv_scanner csv_scanner_neon;
const struct csv_scanner *const csv_scanners[] = {&csv_scanner_neon, &scalar, NULL};
#else
const struct csv_scanner *const csv_scanners[] = {&scalar, NULL};
#endif

static const struct csv_scanner *chosen;

static void choose(void) {
  const char *wanted = getenv("KPID_SIMD");
  for (size_t i = 0; csv_scanners[i]; i++) {
    const struct csv_scanner *s = csv_scanners[i];
    if (!s->is_usable())
      continue;
    if (!chosen)
      chosen = s;
    if (wanted && strcmp(wanted, s->name) == 0)
      chosen = s;
  }
}

const struct csv_scanner *csv_scanner(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, choose);
  return chosen;
}

/* ---- texts of any length ---- */

/* The end of a text that is not followed by another byte, as words that are. */
struct padded {
  char bytes[2 * CSV_WORD_BYTES + 1];
  size_t words;
};

static void pad(struct view rest, struct padded *out) {
  memset(out->bytes, 0, sizeof out->bytes);
  if (rest.len)
    memcpy(out->bytes, rest.ptr, rest.len);
  out->words = (rest.len + CSV_WORD_BYTES - 1) / CSV_WORD_BYTES;
}

/* Whole words that a byte follows. */
static size_t count_words(size_t bytes) {
  return bytes ? (bytes - 1) / CSV_WORD_BYTES : 0;
}

void csv_scan(struct view text, struct csv_marks *out) {
  const struct csv_scanner *s = csv_scanner();
  struct padded end;
  out->count = out->row_count = 0;
  out->is_ascii = out->is_bare = true;
  out->in_quotes = false;
  out->at_cell = 1;
  if (text.len > CSV_MARKS_BYTES_MAX) { /* the byte behind it can be read */
    s->scan(text.ptr, CSV_MARKS_BYTES_MAX / CSV_WORD_BYTES, 0, out);
    return;
  }
  size_t words = count_words(text.len), bytes = words * CSV_WORD_BYTES;
  if (!s->scan(text.ptr, words, 0, out))
    return;
  pad((struct view){text.ptr + bytes, text.len - bytes}, &end);
  s->scan(end.bytes, end.words, bytes, out);
}

struct csv_survey csv_scan_survey(struct view text) {
  const struct csv_scanner *s = csv_scanner();
  struct csv_survey out = {0};
  struct padded end;
  size_t words = text.len / CSV_WORD_BYTES, bytes = words * CSV_WORD_BYTES;
  s->survey(text.ptr, words, &out);
  pad((struct view){text.ptr + bytes, text.len - bytes}, &end);
  s->survey(end.bytes, end.words, &out);
  return out;
}
