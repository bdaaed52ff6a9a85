/* SPDX-License-Identifier: MIT
 * Grammars as regular expressions: how a text looks, said once more and in another way than the parsers do.
 */
#ifndef KPID_TESTS_PLAIN_TEXT_H
#define KPID_TESTS_PLAIN_TEXT_H

#include "fuzz.h"

#include <regex.h>

enum { GROUPS_MAX = 16 };

#define BLANKS "[ \t\r\n\v\f]*"
#define NUMBER BLANKS "([+-]?)(([0-9]*)\\.?([0-9]*))([eE]([+-]?)([0-9]+))?" BLANKS
enum {
  NUMBER_SIGN = 1,
  NUMBER_WHOLE = 3,
  NUMBER_FRACTION = 4,
  NUMBER_EXPONENT_SIGN = 6,
  NUMBER_EXPONENT = 7
};

/* Matches the whole text; `compiled` belongs to the caller and is made the first time. Groups that took no
 * part are empty. */
static inline bool matches(regex_t *compiled, bool *is_compiled, const char *pattern, struct view text,
                           struct view groups[GROUPS_MAX]) {
  regmatch_t found[GROUPS_MAX];
  if (!*is_compiled)
    REQUIRE(regcomp(compiled, pattern, REG_EXTENDED) == 0, "no pattern: %s", pattern);
  *is_compiled = true;
  if (text.len && memchr(text.ptr, '\0', text.len)) /* POSIX ends there */
    return false;
  char *terminated = malloc(text.len + 1);
  REQUIRE(terminated, "no memory");
  if (text.len)
    memcpy(terminated, text.ptr, text.len);
  terminated[text.len] = '\0';
  bool is_match = regexec(compiled, terminated, GROUPS_MAX, found, 0) == 0;
  free(terminated);
  for (size_t i = 0; is_match && i < GROUPS_MAX; i++)
    groups[i] = found[i].rm_so < 0
                    ? (struct view){text.ptr, 0}
                    : (struct view){text.ptr + found[i].rm_so, (size_t)(found[i].rm_eo - found[i].rm_so)};
  return is_match;
}

/* Matches NUMBER, and that there is a digit. */
static inline bool is_number(struct view text, struct view groups[GROUPS_MAX]) {
  static regex_t compiled;
  static bool is_compiled;
  return matches(&compiled, &is_compiled, "^" NUMBER "$", text, groups) &&
         groups[NUMBER_WHOLE].len + groups[NUMBER_FRACTION].len > 0;
}

/* A digit of a number without its point, counted from the left. */
static inline char digit_at(const struct view groups[GROUPS_MAX], size_t i) {
  const struct view whole = groups[NUMBER_WHOLE], fraction = groups[NUMBER_FRACTION];
  return i < whole.len ? whole.ptr[i] : fraction.ptr[i - whole.len];
}

/* Its exponent, at most a million either way. */
static inline long exponent_of(const struct view groups[GROUPS_MAX]) {
  enum { CAP = 1000 * 1000 };
  const struct view digits = groups[NUMBER_EXPONENT];
  long value = 0;
  for (size_t i = 0; i < digits.len && value < CAP; i++)
    value = value * 10 + (digits.ptr[i] - '0');
  value = value < CAP ? value : CAP;
  return view_is(groups[NUMBER_EXPONENT_SIGN], "-") ? -value : value;
}

#endif
