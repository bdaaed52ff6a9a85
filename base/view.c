/* SPDX-License-Identifier: MIT */
#include "base/view.h"

#include <string.h>

struct view view_of(const char *s) {
  return (struct view){s, s ? strlen(s) : 0};
}

bool view_eq(struct view a, struct view b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool view_is(struct view a, const char *s) {
  return view_eq(a, view_of(s));
}

static unsigned char fold(char c) {
  return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool view_eq_fold(struct view a, struct view b) {
  if (a.len != b.len)
    return false;
  for (size_t i = 0; i < a.len; i++)
    if (fold(a.ptr[i]) != fold(b.ptr[i]))
      return false;
  return true;
}

bool view_starts(struct view a, const char *prefix) {
  size_t n = strlen(prefix);
  return a.len >= n && memcmp(a.ptr, prefix, n) == 0;
}

bool view_ends(struct view a, const char *suffix) {
  size_t n = strlen(suffix);
  return a.len >= n && memcmp(a.ptr + a.len - n, suffix, n) == 0;
}

int view_cmp(struct view a, struct view b) {
  size_t n = a.len < b.len ? a.len : b.len;
  int order = n ? memcmp(a.ptr, b.ptr, n) : 0;
  if (order)
    return order;
  return (a.len > b.len) - (a.len < b.len);
}

static bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

struct view view_trim(struct view a) {
  while (a.len && is_blank(a.ptr[0]))
    a = (struct view){a.ptr + 1, a.len - 1};
  while (a.len && is_blank(a.ptr[a.len - 1]))
    a.len--;
  return a;
}

struct view view_split(struct view *rest, char sep) {
  const char *at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
  struct view part = *rest;
  if (!at) {
    *rest = (struct view){NULL, 0};
    return part;
  }
  part.len = (size_t)(at - rest->ptr);
  *rest = (struct view){at + 1, rest->len - part.len - 1};
  return part;
}

bool view_to_u64(struct view a, uint64_t *out) {
  uint64_t n = 0;
  if (a.len == 0)
    return false;
  for (size_t i = 0; i < a.len; i++) {
    if (a.ptr[i] < '0' || a.ptr[i] > '9')
      return false;
    if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(a.ptr[i] - '0'), &n))
      return false;
  }
  *out = n;
  return true;
}

bool view_to_cstr(struct view a, char *out, size_t size) {
  size_t n = a.len < size ? a.len : size - 1;
  if (n)
    memcpy(out, a.ptr, n);
  out[n] = '\0';
  return n == a.len;
}

/* Length of the ASCII at the start, in whole words. */
static size_t ascii_words(struct view a) {
  size_t i = 0;
  for (uint64_t word; i + sizeof word <= a.len; i += sizeof word) {
    memcpy(&word, a.ptr + i, sizeof word);
    if (word & 0x8080808080808080u)
      break;
  }
  return i;
}

bool view_is_utf8(struct view a) {
  size_t i = 0;
  while ((i += ascii_words((struct view){a.ptr + i, a.len - i})) < a.len) {
    size_t n = utf8_sequence((struct view){a.ptr + i, a.len - i});
    if (n == 0)
      return false;
    i += n;
  }
  return true;
}

size_t utf8_sequence(struct view a) {
  size_t bad;
  return utf8_sequence_or_bad(a, &bad);
}

size_t utf8_sequence_or_bad(struct view a, size_t *bad) {
  const unsigned char *s = (const unsigned char *)a.ptr;
  *bad = 1;
  if (s[0] < 0x80)
    return 1;
  if (s[0] < 0xC2 || s[0] > 0xF4)
    return 0;
  size_t need = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
  /* The second byte has a narrower range after E0, ED, F0 and F4 (Unicode 15, table 3-7). */
  unsigned char lo = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
  unsigned char hi = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < need; i++) {
    if (i >= a.len || s[i] < lo || s[i] > hi) {
      *bad = i;
      return 0;
    }
    lo = 0x80;
    hi = 0xBF;
  }
  return need;
}

size_t utf8_count(struct view a) {
  size_t count = 0;
  for (size_t i = 0; i < a.len; i++)
    count += ((unsigned char)a.ptr[i] & 0xc0) != 0x80;
  return count;
}

int view_index_of(struct view name, const char *const *names, int count) {
  for (int i = 0; i < count; i++)
    if (names[i] && view_is(name, names[i]))
      return i;
  return -1;
}
