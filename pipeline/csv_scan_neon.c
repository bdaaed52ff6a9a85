/* SPDX-License-Identifier: MIT
 * For 64-bit ARM, which always has NEON. */
#include "pipeline/csv_scan.h"

#ifdef __aarch64__
#include <arm_neon.h>

/* A bit for each byte of four vectors of 00 or FF: every byte keeps its own bit, and neighbours are added up
 * (as in simdjson). */
static inline uint64_t mask_of(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
  const uint8x16_t own = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t ab = vpaddq_u8(vandq_u8(a, own), vandq_u8(b, own));
  const uint8x16_t cd = vpaddq_u8(vandq_u8(c, own), vandq_u8(d, own));
  const uint8x16_t all = vpaddq_u8(ab, cd);
  return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

static inline uint64_t equal(const uint8x16_t v[4], char c) {
  const uint8x16_t all = vdupq_n_u8((uint8_t)c);
  return mask_of(vceqq_u8(v[0], all), vceqq_u8(v[1], all), vceqq_u8(v[2], all), vceqq_u8(v[3], all));
}

static inline uint64_t high_of(const uint8x16_t v[4]) {
  const uint8x16_t least = vdupq_n_u8(0x80);
  return mask_of(vcgeq_u8(v[0], least), vcgeq_u8(v[1], least), vcgeq_u8(v[2], least), vcgeq_u8(v[3], least));
}

static inline struct csv_look look_at(const char *at) {
  uint8x16_t v[4];
  for (int i = 0; i < 4; i++)
    v[i] = vld1q_u8((const uint8_t *)at + 16 * i);
  return (struct csv_look){.commas = equal(v, ','),
                           .line_feeds = equal(v, '\n'),
                           .returns = equal(v, '\r'),
                           .quotes = equal(v, '"'),
                           .high = high_of(v)};
}

static inline uint64_t backslashes(const char *at) {
  uint8x16_t v[4];
  for (int i = 0; i < 4; i++)
    v[i] = vld1q_u8((const uint8_t *)at + 16 * i);
  return equal(v, '\\');
}

static inline uint64_t prefix_xor(uint64_t bits) {
  for (int shift = 1; shift < CSV_WORD_BYTES; shift *= 2)
    bits ^= bits << shift;
  return bits;
}

static inline void put_offsets(uint16_t *to, uint64_t bits, size_t base) {
  for (; bits; to += 4)
    for (int i = 0; i < 4; i++) {
      to[i] = (uint16_t)(base + (size_t)(bits ? __builtin_ctzll(bits) : 0));
      bits &= bits - 1;
    }
}

#include "pipeline/csv_scan_kernel.h"

#include "pipeline/plain_batch_kernel.h"

static bool is_usable(void) {
  return true;
}

extern const struct csv_scanner csv_scanner_neon;
const struct csv_scanner csv_scanner_neon = {"neon", is_usable, scan_words, survey_words, read_batch};
#endif
