/* SPDX-License-Identifier: MIT
 * Bytes in memory as an object of a source, read in order in pieces of any size, or anywhere. */
#ifndef KPID_TESTS_MEMORY_READER_H
#define KPID_TESTS_MEMORY_READER_H

#include "fuzz.h"

#include "pipeline/source.h"

struct memory_reader {
  struct source_reader base;
  struct view left; /* all of it, when it is read anywhere */
  size_t piece;     /* most bytes of a read */
};

static inline enum kpi_code memory_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                        struct err *err) {
  struct memory_reader *m = (struct memory_reader *)r;
  (void)err;
  *got = size < m->piece ? size : m->piece;
  if (*got > m->left.len)
    *got = m->left.len;
  if (*got)
    memcpy(to, m->left.ptr, *got);
  m->left = (struct view){m->left.ptr + *got, m->left.len - *got};
  return KPI_OK;
}

static inline enum kpi_code memory_read_at(struct source_reader *r, uint64_t at, char *to, size_t size,
                                           size_t *got, struct err *err) {
  struct memory_reader from = *(struct memory_reader *)r;
  from.left = at < from.left.len ? (struct view){from.left.ptr + at, from.left.len - at} : (struct view){0};
  return memory_read(&from.base, to, size, got, err);
}

static inline enum kpi_code memory_finish(struct source_reader *r, struct err *err) {
  (void)r, (void)err;
  return KPI_OK;
}

static inline void memory_close(struct source_reader *r) {
  (void)r;
}

static const struct source_reader_vtable memory_vtable = {
    .read = memory_read, .finish = memory_finish, .close = memory_close};
static const struct source_reader_vtable memory_anywhere_vtable = {
    .finish = memory_finish, .close = memory_close, .read_at = memory_read_at};

#endif
