/* SPDX-License-Identifier: MIT
 * Which kpid this is, and the libraries it runs with. */
#ifndef KPID_SERVER_VERSION_H
#define KPID_SERVER_VERSION_H

#include "base/buf.h"

/* The commit it was built from, abbreviated, "+" behind it when files had been changed since; "unknown" where
 * that was not said. */
extern const char kpid_commit[];

/* A library and the version that is loaded, which may be another than at build time. */
struct library {
  const char *name;
  const char *version; /* lives as long as the process */
};

enum { LIBRARY_COUNT = 8 };

/* Fills the table of all libraries. */
void version_libraries(struct library out[LIBRARY_COUNT]);

/* Appends two lines: the program, and its libraries as name/version. */
void version_describe(struct buf *out);

#endif
