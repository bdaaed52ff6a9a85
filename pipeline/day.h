/* SPDX-License-Identifier: MIT
 * Calendar days as numbers: days since 1970-01-01 in the proleptic Gregorian calendar, years 0001-9999. */
#ifndef KPID_PIPELINE_DAY_H
#define KPID_PIPELINE_DAY_H

#include "base/view.h"

#include <stdint.h>

typedef int32_t day_t; /* days since 1970-01-01 */

#define DAY_MIN ((day_t)-719162) /* 0001-01-01 */
#define DAY_MAX ((day_t)2932896) /* 9999-12-31 */

enum { DAY_TEXT_SIZE = 11 };

static inline bool day_is_leap(int year) {
  return year % 4 == 0 && (year % 25 != 0 || year % 16 == 0);
}

/* True when year 1-9999, month and day name a real date. */
static inline bool day_is_valid(int year, int month, int day) {
  static const unsigned char lengths[] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return (unsigned)year - 1 < 9999 && (unsigned)month - 1 < 12 && day >= 1 &&
         (day <= lengths[month] || (month == 2 && day == 29 && day_is_leap(year)));
}

/* Returns the day of a real date. */
static inline day_t day_from_civil(int year, int month, int day) {
  static const short before[] = {0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  const unsigned past = (unsigned)year - 1;
  return (day_t)(past * 365 + past / 4 - past / 100 + past / 400) + before[month] +
         (month > 2 && day_is_leap(year)) + day - 1 + DAY_MIN;
}

/* The inverse. Source: Howard Hinnant, chrono-compatible low-level date algorithms, civil_from_days. */
void day_to_civil(day_t d, int *year, int *month, int *day);

/* Parses exactly YYYY-MM-DD, a real date. */
bool day_parse(struct view text, day_t *out);

/* Writes YYYY-MM-DD. Returns out. */
char *day_text(day_t d, char out[DAY_TEXT_SIZE]);

#endif
