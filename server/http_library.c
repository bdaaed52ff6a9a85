/* SPDX-License-Identifier: MIT */
#include "server/http_library.h"

#include <string.h>

#define VERSION_TRIED "0.9.75"

struct microhttpd microhttpd;

DYNLIB_NOTE(microhttpd_note, MICROHTTPD_SONAME, "http-server", "kpid serve");

enum kpi_code http_library_load(struct err *err) {
  static const char *const names[] = {HTTP_LIBRARY_FUNCTIONS(DYNLIB_NAME)};
  static struct dynlib library = {.soname = MICROHTTPD_SONAME,
                                  .names = names,
                                  .count = sizeof names / sizeof names[0],
                                  .pointers = &microhttpd};
  return dynlib_load(&library, err);
}

bool http_library_keeps_heads(void) {
  return strcmp(http_library_version(), VERSION_TRIED) == 0;
}

const char *http_library_version(void) {
  struct err err;
  return http_library_load(&err) ? "missing" : microhttpd.get_version();
}
