/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST_BYTES = 256 };

#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

void buf_init(struct buf *b, size_t max_bytes) {
  *b = (struct buf){.max = max_bytes};
}

void buf_clear(struct buf *b) {
  if (!b)
    return;
  free(b->ptr);
  buf_init(b, b->max);
}

void buf_reset(struct buf *b) {
  b->len = 0;
  b->failed = false;
}

/* Makes room for `more` bytes and a NUL. */
static bool reserve(struct buf *b, size_t more) {
  if (b->failed || more > b->max - b->len) {
    b->failed = true;
    return false;
  }
  size_t need = b->len + more + 1;
  if (need <= b->cap)
    return true;
  size_t cap = b->cap ? b->cap * 2 : BUF_FIRST_BYTES;
  if (cap < need)
    cap = need;
  char *grown = realloc(b->ptr, cap);
  if (!grown) {
    b->failed = true;
    return false;
  }
  b->ptr = grown;
  b->cap = cap;
  return true;
}

char *buf_extend(struct buf *b, size_t len) {
  if (!reserve(b, len))
    return NULL;
  char *added = b->ptr + b->len;
  b->len += len;
  b->ptr[b->len] = '\0';
  return added;
}

void buf_add(struct buf *b, struct view v) {
  char *to = buf_extend(b, v.len);
  if (to && v.len)
    memcpy(to, v.ptr, v.len);
}

void buf_add_cstr(struct buf *b, const char *s) {
  buf_add(b, view_of(s));
}

void buf_add_char(struct buf *b, char c) {
  buf_add(b, (struct view){&c, 1});
}

void buf_add_count(struct buf *b, uint64_t count) {
  char digits[20]; /* of 2^64 */
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + count % 10);
    count /= 10;
  } while (count > 0);
  buf_add(b, (struct view){digits + at, sizeof digits - at});
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap) {
  if (!reserve(b, 0))
    return;
  const size_t room = b->cap - b->len;
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(b->ptr + b->len, room, fmt, ap);
  if (n < 0 || !reserve(b, (size_t)n)) {
    b->ptr[b->len] = '\0';
    b->failed = true;
  } else {
    if ((size_t)n >= room)
      vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
  }
  va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  buf_vprintf(b, fmt, ap);
  va_end(ap);
}

/* Appends one well-formed sequence at the start of *rest, or U+FFFD for an ill-formed one, and moves on. */
static void add_sequence(struct buf *b, struct view *rest) {
  size_t bad;
  size_t n = utf8_sequence_or_bad(*rest, &bad);
  if (n)
    buf_add(b, (struct view){rest->ptr, n});
  else
    buf_add(b, VIEW_LIT(UTF8_REPLACEMENT));
  n = n ? n : bad;
  *rest = (struct view){rest->ptr + n, rest->len - n};
}

void buf_add_utf8(struct buf *b, struct view v) {
  while (v.len)
    add_sequence(b, &v);
}

static const char *json_escape(char c) {
  switch (c) {
  case '"':
    return "\\\"";
  case '\\':
    return "\\\\";
  case '\n':
    return "\\n";
  case '\r':
    return "\\r";
  case '\t':
    return "\\t";
  default:
    return NULL;
  }
}

/* Length of what needs no escape at the start of v, ASCII only. */
static size_t plain_json(struct view v) {
  size_t n = 0;
  while (n < v.len && v.ptr[n] >= 0x20 && v.ptr[n] < 0x7F && v.ptr[n] != '"' && v.ptr[n] != '\\')
    n++;
  return n;
}

void buf_add_json(struct buf *b, struct view v) {
  while (v.len) {
    size_t plain = plain_json(v);
    buf_add(b, (struct view){v.ptr, plain});
    v = (struct view){v.ptr + plain, v.len - plain};
    if (!v.len)
      return;
    char c = v.ptr[0];
    const char *escaped = json_escape(c);
    if (!escaped && (unsigned char)c >= 0x20 && c != 0x7F) {
      add_sequence(b, &v);
      continue;
    }
    if (escaped)
      buf_add_cstr(b, escaped);
    else
      buf_printf(b, "\\u%04x", (unsigned)(unsigned char)c);
    v = (struct view){v.ptr + 1, v.len - 1};
  }
}

static const char *html_escape(char c) {
  switch (c) {
  case '&':
    return "&amp;";
  case '<':
    return "&lt;";
  case '>':
    return "&gt;";
  case '"':
    return "&quot;";
  case '\'':
    return "&#39;";
  default:
    return NULL;
  }
}

void buf_add_html(struct buf *b, struct view v) {
  while (v.len) {
    const char *escaped = html_escape(v.ptr[0]);
    if (!escaped) {
      add_sequence(b, &v);
      continue;
    }
    buf_add_cstr(b, escaped);
    v = (struct view){v.ptr + 1, v.len - 1};
  }
}

bool buf_failed(const struct buf *b) {
  return b->failed;
}

struct view buf_view(const struct buf *b) {
  return (struct view){b->ptr, b->len};
}

char *buf_take(struct buf *b) {
  if (b->failed || !reserve(b, 0)) {
    buf_clear(b);
    return NULL;
  }
  b->ptr[b->len] = '\0';
  char *taken = b->ptr;
  buf_init(b, b->max);
  return taken;
}
