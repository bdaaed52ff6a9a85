/* SPDX-License-Identifier: MIT
 * Timestamps of the input as calendar days. Grammar (semantics in README.md):
 *   YYYY-M[M] | YYYY-M[M]-D[D] [ (blank|T) H[H][:M[M][:S[S][.f{1,9}]]] [blanks] [zone] ]
 * with zone Z, UTC, +H[H], +HHMM, +HH:MM, +HH:MM:SS or an IANA name; blanks around allowed. */
#ifndef KPID_PIPELINE_TIMESTAMP_H
#define KPID_PIPELINE_TIMESTAMP_H

#include "base/tz.h"
#include "pipeline/day.h"
#include "pipeline/swar.h"

/* The two digits that begin at byte i. */
static inline unsigned timestamp_two_digits(uint64_t digits, unsigned i) {
  return (unsigned)(digits >> (8 * i) & 0xff) * 10 + (unsigned)(digits >> (8 * i + 8) & 0xff);
}

/* The form that nearly every export has, YYYY-MM-DD HH:MM:SS without zone, in one look. False for any other
 * form, and for what is no time. */
static inline bool timestamp_day_of_common(struct view text, day_t *out) {
  uint64_t month, day, time;
  if (text.len != 19 || (text.ptr[10] != ' ' && text.ptr[10] != 'T') ||
      !swar_fits(swar_load(text.ptr), 0x2D30302D30303030u, 0x0F06060F06060606u, &month) ||   /* 0000-00- */
      !swar_fits(swar_load(text.ptr + 2), 0x30302D30302D3030u, 0x06060F06060F0606u, &day) || /* 00-00-00 */
      !swar_fits(swar_load(text.ptr + 11), 0x30303A30303A3030u, 0x06060F06060F0606u, &time)) /* 00:00:00 */
    return false;
  int year = (int)(timestamp_two_digits(month, 0) * 100 + timestamp_two_digits(month, 2));
  if (timestamp_two_digits(time, 0) > 23 || timestamp_two_digits(time, 3) > 59 ||
      timestamp_two_digits(time, 6) > 59 ||
      !day_is_valid(year, (int)timestamp_two_digits(month, 5), (int)timestamp_two_digits(day, 6)))
    return false;
  *out = day_from_civil(year, (int)timestamp_two_digits(month, 5), (int)timestamp_two_digits(day, 6));
  return true;
}

/* As timestamp_day, for any form. */
bool timestamp_day_of_any(struct view text, const struct tz *business, day_t *out);

/* Parses a timestamp into its day: as written without a zone, else in the `business` zone (borrowed). False
 * when the text is none or leaves years 0001-9999. Thread-safe. */
static inline bool timestamp_day(struct view text, const struct tz *business, day_t *out) {
  return timestamp_day_of_common(text, out) || timestamp_day_of_any(text, business, out);
}

#endif
