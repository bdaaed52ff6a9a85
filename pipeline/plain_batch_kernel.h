/* SPDX-License-Identifier: MIT
 * How the words of a batch are read; included by the file of each scanner, so that it is compiled into one
 * with its instructions. The arithmetic is that of swar.h, timestamp.h and day.h, without branches and
 * tables. */
#ifndef KPID_PIPELINE_PLAIN_BATCH_KERNEL_H
#define KPID_PIPELINE_PLAIN_BATCH_KERNEL_H

#include "pipeline/lanes.h"
#include "pipeline/plain_batch.h"

_Static_assert(PLAIN_BATCH_ROWS % LANES == 0, "a batch is whole vectors");

/* As swar_fits, of the differences: has no bit of 0xF0 in any byte where they fit. */
static inline lanes misfits(lanes rest, uint64_t fixed) {
  return (rest + fixed) | rest;
}

/* The number that eight digits make: pairs of them, fours, all. */
static inline lanes number_of(lanes digits) {
  const lanes fours = lanes_sum_quarters(lanes_sum_bytes(digits, 0x010A010A010A010Au), 0x0001006400010064u);
  return lanes_times(fours, 10000) + (fours >> 32);
}

/* Reads ids; sets bits in *odd for those that are none of 1 to ID_FAST_DIGITS_MAX digits in shortest form. */
static inline lanes ids_at(const struct plain_id_words *w, size_t at, lanes *odd) {
  const lanes len = lanes_load(&w->len[at]), start = lanes_load(&w->start[at]) ^ SWAR_ZEROS;
  const lanes digits =
      start << (-len * 8 & 63); /* the first 1 to 8, those that eight more follow, behind zeros */
  lanes number = number_of(digits);
  *odd |= (misfits(digits, 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) |
          ((lanes)((start & 0xFF) == 0) & (len ^ 1)) | (lanes)(len - 1 >= ID_FAST_DIGITS_MAX);
  if (w->is_long) {
    const lanes last = lanes_load(&w->end[at]) ^ SWAR_ZEROS, is_long = (lanes)(len > 8);
    *odd |= is_long & misfits(last, 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u;
    number = lanes_pick(is_long, number * 100000000u + number_of(last), number);
  }
  return number;
}

/* The days since 0001-01-01 of real dates; sets bits in *odd for others. */
static inline lanes days_of(lanes year, lanes month, lanes day, lanes *odd) {
  const lanes past = year - 1;
  const lanes century = lanes_times(year, 5243) >> 19,
              past_centuries = lanes_times(past, 5243) >> 19; /* / 100 */
  const lanes is_leap =
      (lanes)((year & 3) == 0) & ((lanes)(lanes_times(century, 100) != year) | (lanes)((century & 3) == 0));
  const lanes length = lanes_pick((lanes)(month == 2), 28 + (is_leap & 1), 30 + ((month ^ month >> 3) & 1));
  const lanes before =
      lanes_times(lanes_times(month, 367) - 362, 43691) >> 19; /* / 12: had February 30 days */
  *odd |= (lanes)(day - 1 >= length) | (lanes)(month - 1 >= 12) | (lanes)(year == 0);
  return lanes_times(past, 365) + (past >> 2) - past_centuries + (past_centuries >> 2) + before -
         ((lanes)(month > 2) & (2 - (is_leap & 1))) + day - 1;
}

/* Reads times of the form YYYY-MM-DD HH:MM:SS as days; sets bits in *odd for those that are none. */
static inline lanes days_at(const struct plain_words *w, size_t at, lanes *odd) {
  const lanes end = lanes_load(&w->date_end[at]), separator = end >> 56;
  const lanes date = lanes_load(&w->date[at]) ^ 0x2D30302D30303030u; /* 0000-00- */
  const lanes date_end = (end ^ 0x0030302D30302D30u) << 8;           /* 0-00-00, behind a zero */
  const lanes time = lanes_load(&w->time[at]) ^ 0x30303A30303A3030u; /* 00:00:00 */
  /* Years and months in the halves of a word, days in the high half. */
  const lanes years = lanes_sum_quarters(lanes_sum_bytes(date, 0x00010A00010A010Au), 0x0001000100010064u);
  const lanes days = lanes_sum_bytes(date_end, 0x010A000000000000u);
  /* Hours, minutes and seconds, the minutes' digits apart; adding what lacks of 2^15 sets the high bit of
   * those that are too great. */
  const lanes late = lanes_sum_bytes(time, 0x010A00010A00010Au) + 0x7FC47FF67FCD7FE8u;
  *odd |= ((misfits(date, 0x0F06060F06060606u) | misfits(date_end, 0x06060F06060F0600u) |
            misfits(time, 0x06060F06060F0606u)) &
           0xF0F0F0F0F0F0F0F0u) |
          (late & 0x8000800080008000u) | ((lanes)(separator != ' ') & (lanes)(separator != 'T'));
  return days_of(years & 0xFFFFFFFFu, years >> 32, days >> 48, odd);
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
