/* SPDX-License-Identifier: MIT
 * Timestamps against their grammar and the C library's calendar; the quick way of the common form against the
 * way for any. */
#include "fuzz.h"

#include "pipeline/timestamp.h"
#include "plain_text.h"

#include <time.h>

enum { MONTH_LENGTHS = 12, SECONDS_A_DAY = 86400, OFFSET_MAX = 18 * 3600 };

#define TIMESTAMP                                                                                            \
  "^" BLANKS "([0-9]{4})-([0-9]{1,2})(-([0-9]{1,2})([ "                                                      \
  "T]([0-9]{1,2})(:([0-9]{1,2})(:([0-9]{1,2})(\\.[0-9]{1,9})?)?)?" BLANKS "(.*[^ \t\r\n\v\f])?)?)?" BLANKS   \
  "$"
enum { YEAR = 1, MONTH = 2, DAY = 4, TIME = 5, HOUR = 6, MINUTE = 8, SECOND = 10, ZONE = 12 };

#define OFFSET "^([+-])([0-9]{1,2})(:([0-9]{2})(:([0-9]{2}))?)?$"
#define SHORT_OFFSET "^([+-])([0-9]{2})([0-9]{2})$"

static int number_of(struct view digits, int otherwise) {
  int value = 0;
  for (size_t i = 0; i < digits.len; i++)
    value = value * 10 + (digits.ptr[i] - '0');
  return digits.len ? value : otherwise;
}

/* Reads a zone that is an offset. */
static bool is_offset(struct view zone, long *out) {
  static regex_t colons, shorts;
  static bool has_colons, has_shorts;
  struct view groups[GROUPS_MAX];
  int minutes, seconds = 0;
  if (matches(&shorts, &has_shorts, SHORT_OFFSET, zone, groups)) {
    minutes = number_of(groups[3], 0);
  } else if (matches(&colons, &has_colons, OFFSET, zone, groups)) {
    minutes = number_of(groups[4], 0);
    seconds = number_of(groups[6], 0);
  } else {
    return false;
  }
  *out = number_of(groups[2], 0) * 3600L + minutes * 60L + seconds;
  bool is_real = minutes < 60 && seconds < 60 && *out <= OFFSET_MAX;
  if (view_is(groups[1], "-"))
    *out = -*out;
  return is_real;
}

enum answer { REFUSED, ACCEPTED, NAMED_ZONE };

/* The day in UTC, by the grammar; NAMED_ZONE where the zone's rules would be needed. */
static enum answer plain_day(struct view text, day_t *out) {
  static regex_t compiled;
  static bool is_compiled;
  struct view g[GROUPS_MAX];
  if (!matches(&compiled, &is_compiled, TIMESTAMP, text, g))
    return REFUSED;
  struct tm want = {.tm_year = number_of(g[YEAR], 0) - 1900,
                    .tm_mon = number_of(g[MONTH], 0) - 1,
                    .tm_mday = number_of(g[DAY], 1),
                    .tm_hour = number_of(g[HOUR], 0),
                    .tm_min = number_of(g[MINUTE], 0),
                    .tm_sec = number_of(g[SECOND], 0)};
  struct tm real = want;
  time_t local = timegm(&real);
  if (real.tm_year != want.tm_year || real.tm_mon != want.tm_mon || real.tm_mday != want.tm_mday ||
      real.tm_hour != want.tm_hour || real.tm_min != want.tm_min || real.tm_sec != want.tm_sec)
    return REFUSED;
  if (real.tm_year < 1 - 1900)
    return REFUSED;
  long offset = 0;
  bool has_zone = g[ZONE].len > 0 && !view_is(g[ZONE], "Z") && !view_is(g[ZONE], "UTC");
  if (has_zone && !is_offset(g[ZONE], &offset))
    return tz_cached(g[ZONE]) ? NAMED_ZONE : REFUSED;
  long long utc = (long long)local - offset;
  *out = (day_t)(utc >= 0 ? utc / SECONDS_A_DAY : -((-utc + SECONDS_A_DAY - 1) / SECONDS_A_DAY));
  return *out >= DAY_MIN && *out <= DAY_MAX ? ACCEPTED : REFUSED;
}

static void require_right_day(struct view text, const struct tz *utc) {
  day_t found, want, any, common;
  bool is_day = timestamp_day(text, utc, &found), is_any = timestamp_day_of_any(text, utc, &any);
  REQUIRE(is_day == is_any && (!is_day || found == any), "'%.*s': quickly %d, else %d", SHOWN(text), is_day,
          is_any);
  REQUIRE(!timestamp_day_of_common(text, &common) || (is_any && common == any), "'%.*s' is another day",
          SHOWN(text));
  enum answer answer = plain_day(text, &want);
  if (answer == NAMED_ZONE)
    return;
  REQUIRE(is_day == (answer == ACCEPTED), "'%.*s' is %s", SHOWN(text), is_day ? "taken" : "refused");
  REQUIRE(!is_day || found == want, "'%.*s' is day %d, not %d", SHOWN(text), (int)found, (int)want);
}

/* A day that was found is written as a date that is read as the same day. */
static void require_right_date(struct view text, const struct tz *business) {
  day_t day, again;
  char date[DAY_TEXT_SIZE];
  if (!timestamp_day(text, business, &day))
    return;
  REQUIRE(day >= DAY_MIN && day <= DAY_MAX, "'%.*s' is day %d", SHOWN(text), (int)day);
  REQUIRE(day_parse(view_of(day_text(day, date)), &again) && again == day, "%s is another day", date);
  REQUIRE(timestamp_day(view_of(date), business, &again) && again == day, "%s is another day", date);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const struct tz *utc = tz_cached(VIEW_LIT("UTC")), *far = tz_cached(VIEW_LIT("America/New_York"));
  REQUIRE(utc && far, "no time zones: install tzdata");
  struct view text = input_of(data, size);
  char *exact = exact_copy(text);
  text.ptr = exact;
  require_right_day(text, utc);
  require_right_date(text, far);
  free(exact);
  return 0;
}
