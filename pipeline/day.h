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

/* Returns the day of a civil date; the caller has checked the ranges. Source: Howard Hinnant,
 * chrono-compatible low-level date algorithms, days_from_civil. */
day_t day_from_civil(int year, int month, int day);

/* The inverse. */
void day_to_civil(day_t d, int *year, int *month, int *day);

/* True when year 1-9999, month and day name a real date. */
bool day_is_valid(int year, int month, int day);

/* Parses exactly YYYY-MM-DD, a real date. */
bool day_parse(struct view text, day_t *out);

/* Writes YYYY-MM-DD. Returns out. */
char *day_text(day_t d, char out[DAY_TEXT_SIZE]);

#endif
