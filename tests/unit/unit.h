/* SPDX-License-Identifier: MIT
 * What every unit test includes: cmocka in the order it asks for, and views in assertions. */
#ifndef KPID_TESTS_UNIT_H
#define KPID_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/view.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

/* The next of a row of numbers of 53 bits that look random, the same for the same seed (Knuth's LCG). */
static inline uint64_t unit_random(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  return *seed >> 11;
}

#define assert_view(actual, expected)                                                                        \
  do {                                                                                                       \
    struct view actual_ = (actual), expected_ = view_of(expected);                                           \
    if (!view_eq(actual_, expected_))                                                                        \
      fail_msg("\"%.*s\" is not \"%s\"", (int)actual_.len, actual_.ptr, (expected));                         \
  } while (0)

#endif
