/* SPDX-License-Identifier: MIT */
#include "aws/uri.h"

#include <string.h>

static bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

void uri_encode(struct view v, bool keep_slashes, struct buf *out) {
  for (size_t i = 0; i < v.len; i++)
    if (is_unreserved(v.ptr[i]) || (keep_slashes && v.ptr[i] == '/'))
      buf_add_char(out, v.ptr[i]);
    else
      buf_printf(out, "%%%02X", (unsigned)(unsigned char)v.ptr[i]);
}

static int hex_value(char c) {
  const char *digits = "0123456789abcdef0123456789ABCDEF";
  const char *at = c ? strchr(digits, c) : NULL;
  return at ? (int)((at - digits) % 16) : -1;
}

bool uri_decode_form(struct view v, struct buf *out) {
  for (size_t i = 0; i < v.len; i++) {
    if (v.ptr[i] != '%') {
      buf_add_char(out, v.ptr[i] == '+' ? ' ' : v.ptr[i]);
      continue;
    }
    int high = v.len - i > 2 ? hex_value(v.ptr[i + 1]) : -1;
    int low = v.len - i > 2 ? hex_value(v.ptr[i + 2]) : -1;
    if (high < 0 || low < 0)
      return false;
    buf_add_char(out, (char)(high * 16 + low));
    i += 2;
  }
  return true;
}
