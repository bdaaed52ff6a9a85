/* SPDX-License-Identifier: MIT
 * How the words of a batch are read; included by the file of each scanner, which first defines LANE_BYTES,
 * the width of its vectors, so that it is compiled into one with its instructions. The arithmetic is that of
 * swar.h, timestamp.h and day.h, without branches and tables. */
#ifndef KPID_PIPELINE_PLAIN_BATCH_KERNEL_H
#define KPID_PIPELINE_PLAIN_BATCH_KERNEL_H

#include "pipeline/plain_batch.h"

/* A word of each of several rows, and the same bytes as halves of words. */
typedef uint64_t lanes __attribute__((vector_size(LANE_BYTES)));
typedef uint32_t half_lanes __attribute__((vector_size(LANE_BYTES)));

enum { LANES = LANE_BYTES / sizeof(uint64_t) };
_Static_assert(PLAIN_BATCH_ROWS % LANES == 0, "a batch is whole vectors");

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

/* As swar_fits, of the differences: 0 where they fit. */
static inline lanes misfits(lanes rest, uint64_t fixed) {
  return ((rest + fixed) | rest) & 0xF0F0F0F0F0F0F0F0u;
}

/* The numbers that two digits make, each in the byte of the first. */
static inline lanes pairs_of(lanes digits) {
  return digits * 10 + (digits >> 8);
}

/* The number that eight digits make. */
static inline lanes number_of(lanes digits) {
  const lanes pairs = pairs_of(digits) & 0x00FF00FF00FF00FFu;
  const half_lanes fours = ((half_lanes)pairs & 0xFFFF) * 100 + ((half_lanes)pairs >> 16);
  const half_lanes high = (half_lanes)((lanes)fours & 0xFFFFFFFFu) * 10000;
  return (lanes)high + ((lanes)fours >> 32);
}

/* Reads ids; sets bits in *odd for those that are none of 1 to ID_FAST_DIGITS_MAX digits in shortest form. */
static inline lanes ids_at(const struct plain_id_words *w, size_t at, lanes *odd) {
  const lanes len = lanes_load(&w->len[at]), start = lanes_load(&w->start[at]);
  const lanes is_long = (lanes)(len > 8);
  const lanes shift = (64 - 8 * (len - (is_long & 8))) & 63; /* puts '0' before the first 1 to 8 digits */
  const lanes zeros = (((lanes){} + 1) << shift) - 1;
  const lanes digits = (start << shift | (SWAR_ZEROS & zeros)) ^ SWAR_ZEROS;
  lanes number = number_of(digits);
  *odd |= misfits(digits, 0x0606060606060606u) | ((lanes)((start & 0xFF) == '0') & (len ^ 1)) |
          (lanes)(len - 1 >= ID_FAST_DIGITS_MAX);
  if (w->is_long) {
    const lanes last = lanes_load(&w->end[at]) ^ SWAR_ZEROS;
    *odd |= is_long & misfits(last, 0x0606060606060606u);
    number = lanes_pick(is_long, number * 100000000u + number_of(last), number);
  }
  return number;
}

/* The days since 0001-01-01 of real dates; sets bits in *odd for others. */
static inline lanes days_of(lanes year, lanes month, lanes day, lanes *odd) {
  const lanes century = year * 5243 >> 19, past = year - 1, past_centuries = past * 5243 >> 19; /* / 100 */
  const lanes is_leap =
      (lanes)((year & 3) == 0) & ((lanes)(century * 100 != year) | (lanes)((century & 3) == 0));
  const lanes length = lanes_pick((lanes)(month == 2), 28 + (is_leap & 1), 30 + ((month ^ month >> 3) & 1));
  const lanes before = (month * 367 - 362) * 43691 >> 19; /* / 12; as if February had 30 days */
  *odd |= (lanes)(day - 1 >= length) | (lanes)(month - 1 >= 12) | (lanes)(year == 0);
  return past * 365 + (past >> 2) - past_centuries + (past_centuries >> 2) + before -
         ((lanes)(month > 2) & (2 - (is_leap & 1))) + day - 1;
}

/* Reads times of the form YYYY-MM-DD HH:MM:SS as days; sets bits in *odd for those that are none. */
static inline lanes days_at(const struct plain_words *w, size_t at, lanes *odd) {
  const lanes end = lanes_load(&w->date_end[at]), separator = end >> 56;
  const lanes date = lanes_load(&w->date[at]) ^ 0x2D30302D30303030u;  /* 0000-00- */
  const lanes date_end = end ^ 0x0030302D30302D30u ^ separator << 56; /* 0-00-00 */
  const lanes time = lanes_load(&w->time[at]) ^ 0x30303A30303A3030u;  /* 00:00:00 */
  const lanes years = pairs_of(date), days = pairs_of(date_end);
  /* Adding what lacks of 128 to hours, minutes and seconds sets the high bit of those that are too great. */
  const lanes late = (pairs_of(time) & 0x00FF0000FF0000FFu) + 0x0044000044000068u;
  *odd |= misfits(date, 0x0F06060F06060606u) | misfits(date_end, 0x0F06060F06060F06u) |
          misfits(time, 0x06060F06060F0606u) | (late & 0x0080000080000080u) |
          ((lanes)(separator != ' ') & (lanes)(separator != 'T'));
  return days_of((years & 0xFF) * 100 + (years >> 16 & 0xFF), years >> 40 & 0xFF, days >> 40 & 0xFF, odd);
}

static void read_batch(const struct plain_words *w, size_t id_count, struct plain_batch *out) {
  for (size_t at = 0; at < out->count; at += LANES) {
    lanes odd = {};
    lanes_store(&out->days[at], days_at(w, at, &odd) + (uint64_t)DAY_MIN);
    for (size_t k = 0; k < id_count; k++)
      lanes_store(&out->ids[k][at], ids_at(&w->ids[k], at, &odd));
    lanes_store(&out->is_odd[at], odd);
  }
}

#endif
