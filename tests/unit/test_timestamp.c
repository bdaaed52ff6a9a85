/* SPDX-License-Identifier: MIT */
#include "pipeline/timestamp.h"

#include "unit.h"

static const char *day_in(const char *text, const char *zone, char out[DAY_TEXT_SIZE]) {
  day_t day;
  const struct tz *business = tz_cached(view_of(zone));
  assert_non_null(business);
  return timestamp_day(view_of(text), business, &day) ? day_text(day, out) : "refused";
}

static void timestamps_become_days(void **state) {
  (void)state;
  static const char *const cases[][3] = {
      {"2023-01-15", "UTC", "2023-01-15"},
      {"2023-1-5", "UTC", "2023-01-05"},
      {"2023-01", "UTC", "2023-01-01"},
      {" 2023-01-15 10:00:00 ", "UTC", "2023-01-15"},
      {"2023-01-15T1:2:3.123456789", "UTC", "2023-01-15"},
      {"2023-01-15 10", "UTC", "2023-01-15"},
      {"2023-01-15T23:30:00", "America/New_York", "2023-01-15"},
      {"2023-01-15T23:30:00Z", "UTC", "2023-01-15"},
      {"2023-01-15T03:30:00Z", "America/New_York", "2023-01-14"},
      {"2023-01-15 23:30:00 UTC", "Europe/Berlin", "2023-01-16"},
      {"2023-01-15T00:30:00+02:00", "UTC", "2023-01-14"},
      {"2023-01-15T23:30:00-0230", "UTC", "2023-01-16"},
      {"2023-01-15T00:30:00+18:00", "UTC", "2023-01-14"},
      {"2023-07-01T00:30:00 Europe/Berlin", "UTC", "2023-06-30"},
      {"2024-02-29", "UTC", "2024-02-29"},
      {"0001-01-01", "UTC", "0001-01-01"},
      {"9999-12-31T23:59:59.999999999", "UTC", "9999-12-31"},
      /* the hour that summer time skips, and the one that happens twice */
      {"2023-03-26T02:30:00 Europe/Berlin", "UTC", "2023-03-26"},
      {"2023-10-29T02:30:00 Europe/Berlin", "UTC", "2023-10-29"},
  };
  char text[DAY_TEXT_SIZE];
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (strcmp(day_in(cases[i][0], cases[i][1], text), cases[i][2]) != 0)
      fail_msg("%s in %s: %s", cases[i][0], cases[i][1], day_in(cases[i][0], cases[i][1], text));
}

static void other_texts_are_refused(void **state) {
  (void)state;
  static const char *const cases[] = {
      "",
      " ",
      "garbage",
      "2023",
      "2023-13-01",
      "2023-00-01",
      "2023-02-29",
      "2023-01-32",
      "2023-01-00",
      "20230115",
      "1673740800",
      "15-01-2023",
      "2023/01/15",
      "2023-01-15t10:00:00",
      "2023-01-15 24:00:00",
      "2023-01-15 10:60:00",
      "2023-01-15 10:00:60",
      "23-01-15",
      "0000-01-01",
      "10000-01-01",
      "2023-01-15T10:00:00+18:01",
      "2023-01-15T10:00:00+25:00",
      "2023-01-15T10:00:00.1234567890",
      "2023-01-15T10:00:00.",
      "2023-01-15T",
      "2023-01T10:00",
      "2023-01-15Z",
      "2023-01-15T10:00:00 Mars/Olympus",
      "2023-01-15T10:00:00 ../../etc/passwd",
      "0001-01-01T00:00:00+01:00",
      "9999-12-31T23:00:00-02:00",
  };
  char text[DAY_TEXT_SIZE];
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (strcmp(day_in(cases[i], "UTC", text), "refused") != 0)
      fail_msg("\"%s\" was taken for %s", cases[i], text);
}

/* A blank in front sends a text the general way: both ways must agree on whatever looks like the common form.
 */
static void the_common_form_is_read_as_any_other(void **state) {
  (void)state;
  static const char alphabet[] = "0123456789-:T .Z/";
  const char *common[] = {"2023-01-15 10:20:30", "2024-02-29T23:59:59", "0001-01-01 00:00:00"};
  const struct tz *utc = tz_cached(view_of("UTC"));
  for (size_t i = 0; i < COUNT_OF(common); i++)
    for (size_t at = 0; at < strlen(common[i]); at++)
      for (const char *c = alphabet; *c; c++) {
        char text[32] = " ";
        strcpy(text + 1, common[i]);
        text[1 + at] = *c;
        day_t fast = 0, general = 0;
        bool is_fast = timestamp_day(view_of(text + 1), utc, &fast);
        bool is_general = timestamp_day(view_of(text), utc, &general);
        if (is_fast != is_general || (is_fast && fast != general))
          fail_msg("\"%s\" depends on the way it is read", text + 1);
      }
}

static void days_and_civil_dates_are_inverse(void **state) {
  (void)state;
  int year = 1, month = 1, day = 1;
  for (day_t d = DAY_MIN; d <= DAY_MAX; d += 1 + d % 7 * (d % 7) / 9) {
    day_to_civil(d, &year, &month, &day);
    assert_true(day_is_valid(year, month, day));
    assert_int_equal(day_from_civil(year, month, day), d);
  }
  assert_int_equal(day_from_civil(1970, 1, 1), 0);
  assert_int_equal(day_from_civil(1, 1, 1), DAY_MIN);
  assert_int_equal(day_from_civil(9999, 12, 31), DAY_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(timestamps_become_days),
      cmocka_unit_test(other_texts_are_refused),
      cmocka_unit_test(the_common_form_is_read_as_any_other),
      cmocka_unit_test(days_and_civil_dates_are_inverse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
