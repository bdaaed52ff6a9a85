/* SPDX-License-Identifier: MIT
 * Words of eight characters of several rows side by side, in one vector as wide as the instructions are that
 * the file is compiled for. The operators of C work on each word by itself. Knows no format. */
#ifndef KPID_PIPELINE_LANES_H
#define KPID_PIPELINE_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#ifdef __AVX512BW__
#define LANE_BYTES 64
#elif defined(__AVX2__)
#define LANE_BYTES 32
#elif defined(__ARM_NEON)
#define LANE_BYTES 16
#else
#define LANE_BYTES 8
#endif

/* A word of each of several rows, and the same bytes as halves and quarters of words. */
typedef uint64_t lanes __attribute__((vector_size(LANE_BYTES)));
typedef uint32_t half_lanes __attribute__((vector_size(LANE_BYTES)));
typedef uint16_t quarter_lanes __attribute__((vector_size(LANE_BYTES)));

enum { LANES = LANE_BYTES / sizeof(uint64_t) };

static inline lanes lanes_load(const void *at) {
  lanes v;
  memcpy(&v, at, sizeof v);
  return v;
}

static inline void lanes_store(void *to, lanes v) {
  memcpy(to, &v, sizeof v);
}

/* Lane by lane: a where all bits of `where` are set, b where none is. */
static inline lanes lanes_pick(lanes where, lanes a, lanes b) {
  return (where & a) | (~where & b);
}

/* Weighs each byte of the words by that of `weights`, below 128, and adds up the two of each quarter. */
static inline lanes lanes_sum_bytes(lanes bytes, uint64_t weights) {
#ifdef __AVX512BW__
  return (lanes)_mm512_maddubs_epi16((__m512i)bytes, _mm512_set1_epi64((long long)weights));
#elif defined(__AVX2__)
  return (lanes)_mm256_maddubs_epi16((__m256i)bytes, _mm256_set1_epi64x((long long)weights));
#else
  const lanes all = (lanes){} + weights, low = (lanes){} + 0x00FF00FF00FF00FFu;
  return (lanes)((quarter_lanes)(bytes & low) * (quarter_lanes)(all & low) +
                 (quarter_lanes)(bytes >> 8 & low) * (quarter_lanes)(all >> 8 & low));
#endif
}

/* The same of quarters, below 32768, and the two of each half. */
static inline lanes lanes_sum_quarters(lanes quarters, uint64_t weights) {
#ifdef __AVX512BW__
  return (lanes)_mm512_madd_epi16((__m512i)quarters, _mm512_set1_epi64((long long)weights));
#elif defined(__AVX2__)
  return (lanes)_mm256_madd_epi16((__m256i)quarters, _mm256_set1_epi64x((long long)weights));
#else
  const lanes all = (lanes){} + weights, low = (lanes){} + 0x0000FFFF0000FFFFu;
  return (lanes)((half_lanes)(quarters & low) * (half_lanes)(all & low) +
                 (half_lanes)(quarters >> 16 & low) * (half_lanes)(all >> 16 & low));
#endif
}

/* The low halves of the words, times a factor below 2^32. */
static inline lanes lanes_times(lanes v, uint64_t factor) {
#ifdef __AVX512BW__
  return (lanes)_mm512_mul_epu32((__m512i)v, _mm512_set1_epi64((long long)factor));
#elif defined(__AVX2__)
  return (lanes)_mm256_mul_epu32((__m256i)v, _mm256_set1_epi64x((long long)factor));
#else
  return (v & 0xFFFFFFFFu) * factor;
#endif
}

#endif
