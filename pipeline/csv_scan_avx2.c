/* SPDX-License-Identifier: MIT
 * Compiled for AVX2 (Haswell, Zen and later); see CMakeLists.txt. */
#include "pipeline/csv_scan.h"

#ifdef __x86_64__
#include <immintrin.h>

static inline uint64_t both(__m256i low, __m256i high) {
  return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

static inline uint64_t equal(__m256i low, __m256i high, char c) {
  const __m256i all = _mm256_set1_epi8(c);
  return both(_mm256_cmpeq_epi8(low, all), _mm256_cmpeq_epi8(high, all));
}

static inline struct csv_look look_at(const char *at) {
  const __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)at);
  const __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32));
  return (struct csv_look){.commas = equal(low, high, ','),
                           .line_feeds = equal(low, high, '\n'),
                           .returns = equal(low, high, '\r'),
                           .quotes = equal(low, high, '"'),
                           .high = both(low, high)};
}

static inline uint64_t backslashes(const char *at) {
  return equal(_mm256_loadu_si256((const __m256i *)(const void *)at),
               _mm256_loadu_si256((const __m256i *)(const void *)(at + 32)), '\\');
}

static inline uint64_t prefix_xor(uint64_t bits) {
  const __m128i ones = _mm_set1_epi8((char)0xFF);
  return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), ones, 0));
}

/* By fours, whether there are so many or not: a branch for each bit would be guessed wrong at every end. */
static inline void put_offsets(uint16_t *to, uint64_t bits, size_t base) {
  for (; bits; to += 4)
    for (int i = 0; i < 4; i++) {
      to[i] = (uint16_t)(base + _tzcnt_u64(bits));
      bits = _blsr_u64(bits);
    }
}

#include "pipeline/csv_scan_kernel.h"

#include "pipeline/plain_batch_kernel.h"

static bool is_usable(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("pclmul");
}

extern const struct csv_scanner csv_scanner_avx2;
const struct csv_scanner csv_scanner_avx2 = {"avx2", is_usable, scan_words, survey_words, read_batch};
#endif
