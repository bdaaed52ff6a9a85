/* SPDX-License-Identifier: MIT
 * Compiled for AVX-512 with VBMI2 (Ice Lake, Zen 4 and later); see CMakeLists.txt. */
#include "pipeline/csv_scan.h"

#ifdef __x86_64__
#include <immintrin.h>

static inline struct csv_look look_at(const char *at) {
  const __m512i bytes = _mm512_loadu_si512(at);
  return (struct csv_look){.commas = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(',')),
                           .line_feeds = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\n')),
                           .returns = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\r')),
                           .quotes = _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('"')),
                           .high = _mm512_movepi8_mask(bytes)};
}

static inline uint64_t backslashes(const char *at) {
  return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(at), _mm512_set1_epi8('\\'));
}

static inline uint64_t prefix_xor(uint64_t bits) {
  const __m128i ones = _mm_set1_epi8((char)0xFF);
  return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), ones, 0));
}

/* The offsets 0 to 63, those of the bits pushed together (as Lemire and Keiser do in simdjson), widened. */
static inline void put_offsets(uint16_t *to, uint64_t bits, size_t base) {
  static const char all[CSV_WORD_BYTES] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                           16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
                                           32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                           48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
  const __m512i found = _mm512_maskz_compress_epi8(bits, _mm512_loadu_si512(all));
  const __m512i start = _mm512_set1_epi16((short)base);
  const __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(found));
  _mm512_storeu_si512(to, _mm512_add_epi16(low, start));
  if (__builtin_popcountll(bits) > 32) {
    const __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(found, 1));
    _mm512_storeu_si512(to + 32, _mm512_add_epi16(high, start));
  }
}

#include "pipeline/csv_scan_kernel.h"

#include "pipeline/plain_batch_kernel.h"

static bool is_usable(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("pclmul");
}

extern const struct csv_scanner csv_scanner_avx512;
const struct csv_scanner csv_scanner_avx512 = {"avx512", is_usable, scan_words, survey_words, read_batch};
#endif
