/* SPDX-License-Identifier: MIT */
#include "pipeline/timestamp.h"

enum {
  SECONDS_PER_DAY = 86400,
  SECONDS_PER_HOUR = 3600,
  ZONE_OFFSET_MAX = 18 * SECONDS_PER_HOUR /* java.time.ZoneOffset, which the replaced job used */
};

/* Takes min to max digits from the front of *rest as a number; -1 when there are fewer. */
static int take_digits(struct view *rest, size_t min, size_t max) {
  size_t n = 0;
  int value = 0;
  for (; n < max && n < rest->len && rest->ptr[n] >= '0' && rest->ptr[n] <= '9'; n++)
    value = value * 10 + (rest->ptr[n] - '0');
  if (n < min)
    return -1;
  *rest = (struct view){rest->ptr + n, rest->len - n};
  return value;
}

static bool take_char(struct view *rest, char c) {
  if (rest->len == 0 || rest->ptr[0] != c)
    return false;
  *rest = (struct view){rest->ptr + 1, rest->len - 1};
  return true;
}

static bool take_date(struct view *rest, day_t *out, bool *has_day) {
  int year = take_digits(rest, 4, 4);
  if (year < 0 || !take_char(rest, '-'))
    return false;
  int month = take_digits(rest, 1, 2), day = 1;
  *has_day = take_char(rest, '-');
  if (*has_day)
    day = take_digits(rest, 1, 2);
  if (!day_is_valid(year, month, day))
    return false;
  *out = day_from_civil(year, month, day);
  return true;
}

/* Takes H[H][:M[M][:S[S][.f]]] as seconds after midnight. */
static bool take_time(struct view *rest, int *seconds) {
  int hour = take_digits(rest, 1, 2), minute = 0, second = 0;
  if (take_char(rest, ':')) {
    minute = take_digits(rest, 1, 2);
    if (take_char(rest, ':')) {
      second = take_digits(rest, 1, 2);
      if (take_char(rest, '.') && take_digits(rest, 1, TIMESTAMP_FRACTION_DIGITS_MAX) < 0)
        return false;
    }
  }
  *seconds = hour * SECONDS_PER_HOUR + minute * 60 + second;
  return hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60;
}

/* Reads +H[H][:MM[:SS]] or +HHMM. */
static bool parse_offset(struct view text, int32_t *out) {
  bool negative = take_char(&text, '-');
  if (!negative && !take_char(&text, '+'))
    return false;
  int hours = take_digits(&text, 1, 2), minutes = 0, seconds = 0;
  if (text.len == 2 && text.ptr[0] != ':') {
    minutes = take_digits(&text, 2, 2);
  } else if (take_char(&text, ':')) {
    minutes = take_digits(&text, 2, 2);
    if (take_char(&text, ':'))
      seconds = take_digits(&text, 2, 2);
  }
  int32_t offset = hours * SECONDS_PER_HOUR + minutes * 60 + seconds;
  *out = negative ? -offset : offset;
  return text.len == 0 && hours >= 0 && minutes >= 0 && minutes < 60 && seconds >= 0 && seconds < 60 &&
         offset <= ZONE_OFFSET_MAX;
}

/* Resolves a zone text to its offset at a local time. */
static bool zone_offset(struct view zone, int64_t local, int32_t *out) {
  *out = 0;
  if (view_is(zone, "Z") || view_is(zone, "UTC"))
    return true;
  if (parse_offset(zone, out))
    return true;
  const struct tz *z = tz_cached(zone);
  if (!z)
    return false;
  *out = tz_offset_at_local(z, local);
  return true;
}

static bool day_in_zone(int64_t utc, const struct tz *business, day_t *out) {
  int64_t local = utc + tz_offset_at_utc(business, utc);
  int64_t day = local >= 0 ? local / SECONDS_PER_DAY : -((-local + SECONDS_PER_DAY - 1) / SECONDS_PER_DAY);
  *out = (day_t)day;
  return day >= DAY_MIN && day <= DAY_MAX;
}

bool timestamp_day_of_any(struct view text, const struct tz *business, day_t *out) {
  struct view rest = view_trim(text);
  bool has_day;
  if (!take_date(&rest, out, &has_day))
    return false;
  if (rest.len == 0)
    return true;
  int seconds;
  if (!has_day || !(take_char(&rest, ' ') || take_char(&rest, 'T')) || !take_time(&rest, &seconds))
    return false;
  struct view zone = view_trim(rest);
  if (zone.len == 0)
    return true;
  int64_t local = (int64_t)*out * SECONDS_PER_DAY + seconds;
  int32_t offset;
  return zone_offset(zone, local, &offset) && day_in_zone(local - offset, business, out);
}
