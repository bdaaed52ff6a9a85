/* SPDX-License-Identifier: MIT */
#include "base/dynlib.h"

#include "unit.h"

#include <zlib.h>

#define ZLIB_FUNCTIONS(X) X(, crc32) X(zlib, Version)

static struct { ZLIB_FUNCTIONS(DYNLIB_POINTER) } zlib;
static const char *const zlib_names[] = {ZLIB_FUNCTIONS(DYNLIB_NAME)};

static void functions_are_those_of_the_library(void **state) {
  (void)state;
  static struct dynlib library = {.soname = "libz.so.1", .names = zlib_names, .count = 2, .pointers = &zlib};
  struct err err;
  assert_int_equal(dynlib_load(&library, &err), KPI_OK);
  assert_string_equal(zlib.Version(), zlibVersion());
  assert_int_equal(zlib.crc32(0, (const unsigned char *)"123456789", 9), 0xcbf43926);
  zlib.Version = NULL;
  assert_int_equal(dynlib_load(&library, &err), KPI_OK);
  assert_null(zlib.Version); /* loaded once */
}

static void library_that_is_not_there_is_named(void **state) {
  (void)state;
  static struct dynlib library = {
      .soname = "libnone.so.7", .names = zlib_names, .count = 2, .pointers = &zlib};
  struct err err;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(dynlib_load(&library, &err), KPI_LIBRARY_MISSING);
    assert_non_null(strstr(err.message, "libnone.so.7"));
  }
}

static void function_that_is_not_there_is_named(void **state) {
  (void)state;
  static const char *const names[] = {"crc32", "crc33"};
  static struct dynlib library = {.soname = "libz.so.1", .names = names, .count = 2, .pointers = &zlib};
  struct err err;
  assert_int_equal(dynlib_load(&library, &err), KPI_LIBRARY_MISSING);
  assert_non_null(strstr(err.message, "crc33"));
  assert_non_null(strstr(err.message, "version"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(functions_are_those_of_the_library),
      cmocka_unit_test(library_that_is_not_there_is_named),
      cmocka_unit_test(function_that_is_not_there_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
