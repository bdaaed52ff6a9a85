/* SPDX-License-Identifier: MIT
 * Timestamps of the input as calendar days. Grammar (semantics in README.md):
 *   YYYY-M[M] | YYYY-M[M]-D[D] [ (blank|T) H[H][:M[M][:S[S][.f{1,9}]]] [blanks] [zone] ]
 * with zone Z, UTC, +H[H], +HHMM, +HH:MM, +HH:MM:SS or an IANA name; blanks around allowed. */
#ifndef KPID_PIPELINE_TIMESTAMP_H
#define KPID_PIPELINE_TIMESTAMP_H

#include "base/tz.h"
#include "pipeline/day.h"
#include "pipeline/swar.h"

/* The numbers that two digits make, each in the byte of the first: byte i is that of the digits i and i + 1.
 */
static inline uint64_t timestamp_pairs(uint64_t digits) {
  return digits * 10 + (digits >> 8);
}

static inline unsigned timestamp_pair(uint64_t pairs, unsigned i) {
  return (unsigned)(pairs >> (8 * i)) & 0xff;
}

enum { TIMESTAMP_DATE_BYTES = 10, TIMESTAMP_COMMON_BYTES = 19 };

/* The form that nearly every export has, YYYY-MM-DD HH:MM:SS without zone, in one look. False for any other
 * form, and for what is no time. */
static inline bool timestamp_day_of_common(struct view text, day_t *out) {
  uint64_t month, day, time;
  if (text.len != TIMESTAMP_COMMON_BYTES)
    return false;
  bool fits = text.ptr[10] == ' ' || text.ptr[10] == 'T';
  fits &= swar_fits(swar_load(text.ptr), 0x2D30302D30303030u, 0x0F06060F06060606u, &month);     /* 0000-00- */
  fits &= swar_fits(swar_load(text.ptr + 2), 0x30302D30302D3030u, 0x06060F06060F0606u, &day);   /* 00-00-00 */
  fits &= swar_fits(swar_load(text.ptr + 11), 0x30303A30303A3030u, 0x06060F06060F0606u, &time); /* 00:00:00 */
  month = timestamp_pairs(month);
  day = timestamp_pairs(day);
  /* Adding what lacks of 128 to hours, minutes and seconds sets the high bit of those that are too great. */
  time = (timestamp_pairs(time) & 0x00FF0000FF0000FFu) + 0x0044000044000068u;
  const int y = (int)(timestamp_pair(month, 0) * 100 + timestamp_pair(month, 2));
  const int m = (int)timestamp_pair(month, 5), d = (int)timestamp_pair(day, 6);
  if (!fits || (time & 0x0080000080000080u) || !day_is_valid(y, m, d))
    return false;
  *out = day_from_civil(y, m, d);
  return true;
}

enum { TIMESTAMP_FRACTION_DIGITS_MAX = 9 };

/* Leaves out what follows a text of that form and changes nothing about its day: a fraction of a second and,
 * where days are those of UTC, a Z, " UTC" or +00:00. Any other text stays as it is. */
static inline struct view timestamp_common_part(struct view text, bool is_utc) {
  if (text.len <= TIMESTAMP_COMMON_BYTES)
    return text;
  size_t at = TIMESTAMP_COMMON_BYTES;
  if (text.ptr[at] == '.') {
    const size_t most = text.len - at - 1;
    size_t digits = 0;
    while (digits < most && digits < TIMESTAMP_FRACTION_DIGITS_MAX &&
           (unsigned)text.ptr[at + 1 + digits] - '0' < 10)
      digits++;
    if (digits == 0)
      return text;
    at += 1 + digits;
  }
  const struct view zone = {text.ptr + at, text.len - at};
  const bool is_common = zone.len == 0 || (is_utc && ((zone.len == 1 && zone.ptr[0] == 'Z') ||
                                                      (zone.len == 4 && memcmp(zone.ptr, " UTC", 4) == 0) ||
                                                      (zone.len == 6 && memcmp(zone.ptr, "+00:00", 6) == 0)));
  return (struct view){text.ptr, is_common ? TIMESTAMP_COMMON_BYTES : text.len};
}

/* As timestamp_day, for any form. */
bool timestamp_day_of_any(struct view text, const struct tz *business, day_t *out);

/* Parses a timestamp into its day: as written without a zone, else in the `business` zone (borrowed). False
 * when the text is none or leaves years 0001-9999. Thread-safe. */
static inline bool timestamp_day(struct view text, const struct tz *business, day_t *out) {
  return timestamp_day_of_common(text, out) || timestamp_day_of_any(text, business, out);
}

#endif
