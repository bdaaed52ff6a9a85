/* SPDX-License-Identifier: MIT
 * Where cells end: the commas and line ends of 64 bytes as a bit mask. Knows neither rows nor quotes. */
#ifndef KPID_PIPELINE_CSV_SCAN_H
#define KPID_PIPELINE_CSV_SCAN_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { CSV_SCAN_BYTES = 64 };

/* The portable way: what the others must agree with. */
static inline uint64_t csv_scan_scalar(const char at[CSV_SCAN_BYTES]) {
  uint64_t mask = 0;
  for (unsigned i = 0; i < CSV_SCAN_BYTES; i++)
    mask |= (uint64_t)(at[i] == ',' || at[i] == '\n' || at[i] == '\r') << i;
  return mask;
}

/* Returns a mask whose bit i is set when at[i] is a comma, LF or CR. */
static inline uint64_t csv_scan_delimiters(const char at[CSV_SCAN_BYTES]) {
#ifdef __SSE2__
  const __m128i comma = _mm_set1_epi8(','), lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
  uint64_t mask = 0;
  for (int i = 0; i < CSV_SCAN_BYTES / 16; i++) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i * 16));
    __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(bytes, comma),
                                _mm_or_si128(_mm_cmpeq_epi8(bytes, lf), _mm_cmpeq_epi8(bytes, cr)));
    mask |= (uint64_t)(unsigned)_mm_movemask_epi8(ends) << (i * 16);
  }
  return mask;
#else
  return csv_scan_scalar(at);
#endif
}

#endif
