/* SPDX-License-Identifier: MIT
 * Shared libraries that are loaded when they are first needed, not when the program starts.
 *
 * libcurl and libmicrohttpd bring some thirty others along (two kinds of TLS, Kerberos, LDAP), which take
 * longer to load and relocate than the KPIs of a small folder, which needs none of them. Who uses such a
 * library lists its functions once and calls them through pointers of the same types and names:
 *
 *   #define FUNCTIONS(X) X(curl_, easy_init) X(curl_, easy_perform)
 *   static struct { FUNCTIONS(DYNLIB_POINTER) } curl;
 *   static const char *const names[] = {FUNCTIONS(DYNLIB_NAME)};
 *   DYNLIB_NOTE(curl_note, "libcurl.so.4", "http-client", "requests to AWS");
 *
 * Model: systemd's dlopen-util. */
#ifndef KPID_BASE_DYNLIB_H
#define KPID_BASE_DYNLIB_H

#include "base/err.h"

#include <stddef.h>

#define DYNLIB_POINTER(prefix, name) __typeof__(prefix##name) *name;
#define DYNLIB_NAME(prefix, name) #prefix #name,

/* Tells packagers, who see only what a program is linked with, in a note of the ELF file what it loads.
 * Source: https://uapi-group.org/specifications/specs/elf_dlopen_metadata/ */
#define DYNLIB_NOTE(variable, soname, feature, description)                                                  \
  DYNLIB_NOTE_(variable, "[{\"soname\":[\"" soname "\"],\"feature\":\"" feature                              \
                         "\",\"description\":\"" description "\",\"priority\":\"required\"}]")
#define DYNLIB_NOTE_(variable, json)                                                                         \
  static const struct {                                                                                      \
    uint32_t name_size, json_size, type;                                                                     \
    char name[4];                                                                                            \
    _Alignas(4) char text[sizeof(json)];                                                                     \
  } variable __attribute__((used, section(".note.dlopen"), aligned(4))) = {4, sizeof(json), 0x407c0c0a,      \
                                                                           "FDO", json}

/* A library and where the addresses of its functions go. Static. */
struct dynlib {
  const char *soname;
  const char *const *names; /* of functions */
  size_t count;
  void *pointers; /* as many, in the same order */
  bool is_loaded;
};

/* Loads a library unless that was done, for good. Errors: KPI_LIBRARY_MISSING (also for one of another
 * version, which lacks a function). Any thread. */
KPI_MUST_CHECK enum kpi_code dynlib_load(struct dynlib *l, struct err *err);

#endif
