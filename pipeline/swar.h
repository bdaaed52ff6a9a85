/* SPDX-License-Identifier: MIT
 * Eight characters in a 64-bit word, the first in its lowest byte, worked on together ("SIMD within a
 * register"). Knows no format. */
#ifndef KPID_PIPELINE_SWAR_H
#define KPID_PIPELINE_SWAR_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SWAR_EACH_BYTE 0x0101010101010101u
#define SWAR_HIGH_BITS 0x8080808080808080u
#define SWAR_ZEROS 0x3030303030303030u /* "00000000" */

static inline uint64_t swar_load(const char at[8]) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return le64toh(word);
}

static inline uint32_t swar_load4(const char at[4]) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return le32toh(word);
}

/* The first 1 to 8 characters of a word, with '0' before them. */
static inline uint64_t swar_first(uint64_t word, size_t len) {
  const unsigned bits = 8 * (unsigned)len;
  return word << (64 - bits) | SWAR_ZEROS >> (bits - 1) >> 1;
}

/* Loads 1 to 8 characters, with '0' before them. Reads no other byte. */
static inline uint64_t swar_load_number(const char *at, size_t len) {
  if (len == 8)
    return swar_load(at);
  uint64_t word;
  if (len >= 4) /* both loads may hold the same characters in the middle */
    word = swar_load4(at) | (uint64_t)swar_load4(at + len - 4) << (8 * (len - 4));
  else
    word = (unsigned char)at[0] | (uint64_t)(unsigned char)at[len / 2] << (8 * (len / 2)) |
           (uint64_t)(unsigned char)at[len - 1] << (8 * (len - 1));
  return swar_first(word, len);
}

/* Has all bits of the first characters. */
static inline uint64_t swar_mask(size_t characters) {
  return characters < 8 ? ((uint64_t)1 << (8 * characters)) - 1 : ~(uint64_t)0;
}

/* The high bits of the bytes that are c. */
static inline uint64_t swar_equal(uint64_t word, unsigned char c) {
  const uint64_t rest = word ^ SWAR_EACH_BYTE * c;
  return ~(((rest & ~SWAR_HIGH_BITS) + ~SWAR_HIGH_BITS) | rest) & SWAR_HIGH_BITS;
}

/* True when every byte differs from that of `pattern`, where that is '0', by 0 to 9, and not at all where
 * `fixed` has 0x0F instead of 0x06. *digits are the differences. */
static inline bool swar_fits(uint64_t word, uint64_t pattern, uint64_t fixed, uint64_t *digits) {
  uint64_t rest = word ^ pattern;
  *digits = rest;
  return (((rest + fixed) | rest) & 0xF0F0F0F0F0F0F0F0u) == 0;
}

/* Reads eight digits; false when one is none. Source: Johnny Lee and Daniel Lemire, "Quickly parsing eight
 * digits". */
static inline bool swar_eight_digits(uint64_t word, uint64_t *value) {
  uint64_t digits;
  bool fits = swar_fits(word, SWAR_ZEROS, 0x0606060606060606u, &digits);
  uint64_t pairs = digits * 10 + (digits >> 8); /* in every other byte */
  *value = ((pairs & 0x000000FF000000FFu) * 0x000F424000000064u +
            (pairs >> 16 & 0x000000FF000000FFu) * 0x0000271000000001u) >>
           32;
  return fits;
}

#endif
