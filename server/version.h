/* SPDX-License-Identifier: MIT
 * Which kpid this is, the libraries it runs with, and the processor it is for. */
#ifndef KPID_SERVER_VERSION_H
#define KPID_SERVER_VERSION_H

#include "base/buf.h"
#include "base/err.h"

/* The commit it was built from, abbreviated, "+" behind it when files had been changed since; "unknown" where
 * that was not said. */
extern const char kpid_commit[];

/* A library and the version that is loaded, which may be another than at build time. */
struct library {
  const char *name;
  const char *version; /* lives as long as the process */
};

enum { LIBRARY_COUNT = 8 };

/* Loads those that are only loaded when they are needed (base/dynlib.h): a service finds out before it
 * touches anything. Errors: KPI_LIBRARY_MISSING. */
KPI_MUST_CHECK enum kpi_code version_load_libraries(struct err *err);

/* Fills the table of all libraries, and loads them for it. */
void version_libraries(struct library out[LIBRARY_COUNT]);

/* The processor it was built for, as uname names it. */
extern const char version_architecture[];

/* Which of its instructions cut CSV on this machine: "avx512", "avx2", "neon", or "scalar" for none of them.
 */
const char *version_simd(void);

/* Appends three lines: the program, its libraries as name/version, and the processor. */
void version_describe(struct buf *out);

#endif
