/* SPDX-License-Identifier: MIT */
#include "pipeline/day.h"

enum { DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 };

void day_to_civil(day_t d, int *year, int *month, int *day) {
  d += DAYS_TO_1970;
  int era = (d >= 0 ? d : d - (DAYS_PER_ERA - 1)) / DAYS_PER_ERA;
  int day_of_era = d - era * DAYS_PER_ERA;
  int year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int shifted_month = (5 * day_of_year + 2) / 153;
  *day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  *month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  *year = year_of_era + era * 400 + (*month <= 2);
}

/* Reads exactly n digits at text[at]; -1 when one is none. */
static int digits(struct view text, size_t at, size_t n) {
  int value = 0;
  for (size_t i = at; i < at + n; i++) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9')
      return -1;
    value = value * 10 + (text.ptr[i] - '0');
  }
  return value;
}

bool day_parse(struct view text, day_t *out) {
  if (text.len != DAY_TEXT_SIZE - 1 || text.ptr[4] != '-' || text.ptr[7] != '-')
    return false;
  int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  if (!day_is_valid(year, month, day))
    return false;
  *out = day_from_civil(year, month, day);
  return true;
}

/* Writes exactly n digits. */
static void put_digits(int value, size_t n, char *out) {
  for (; n > 0; value /= 10)
    out[--n] = (char)('0' + value % 10);
}

char *day_text(day_t d, char out[DAY_TEXT_SIZE]) {
  int year, month, day;
  day_to_civil(d, &year, &month, &day);
  put_digits(year, 4, out);
  put_digits(month, 2, out + 5);
  put_digits(day, 2, out + 8);
  out[4] = out[7] = '-';
  out[DAY_TEXT_SIZE - 1] = '\0';
  return out;
}
