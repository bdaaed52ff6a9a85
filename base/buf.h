/* SPDX-License-Identifier: MIT
 * A growing byte buffer with a hard maximum. A failure sticks: later appends do nothing, and buf_failed
 * tells, so that a writer checks once at the end. */
#ifndef KPID_BASE_BUF_H
#define KPID_BASE_BUF_H

#include "base/err.h"
#include "base/view.h"

#include <stdarg.h>

struct buf {
  char *ptr; /* NUL-terminated once anything was appended */
  size_t len;
  size_t cap;
  size_t max;  /* most bytes it may hold */
  bool failed; /* an append passed max or memory ran out */
};

/* Prepares an empty buffer that holds at most max_bytes. Allocates nothing. */
void buf_init(struct buf *b, size_t max_bytes);

/* Frees the bytes and leaves an empty buffer with the same maximum. Accepts NULL. */
void buf_clear(struct buf *b);

/* Empties it but keeps the memory. */
void buf_reset(struct buf *b);

/* Appends; on failure sets the sticky flag. */
void buf_add(struct buf *b, struct view v);
void buf_add_cstr(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
char *buf_extend(struct buf *b, size_t len);       /* by bytes that the caller writes; NULL on failure */
void buf_add_count(struct buf *b, uint64_t count); /* in decimal digits */
void buf_printf(struct buf *b, const char *fmt, ...) KPI_PRINTF(2, 3);
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) KPI_PRINTF(2, 0);

/* Appends v as the inside of a JSON string, invalid UTF-8 as U+FFFD. */
void buf_add_json(struct buf *b, struct view v);

/* Appends v with & < > " ' escaped for HTML. */
void buf_add_html(struct buf *b, struct view v);

/* Appends v with every ill-formed UTF-8 sequence replaced by U+FFFD (one for each maximal subpart, as
 * the Unicode standard recommends). */
void buf_add_utf8(struct buf *b, struct view v);

/* True when any append failed. */
bool buf_failed(const struct buf *b);

/* Borrows the bytes; valid until the next append, reset or clear. */
struct view buf_view(const struct buf *b);

/* Returns owned: the bytes as a NUL-terminated string to free(); the buffer is left empty. NULL when it
 * failed. */
char *buf_take(struct buf *b);

#endif
