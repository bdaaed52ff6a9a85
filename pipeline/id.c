/* SPDX-License-Identifier: MIT */
#include "pipeline/id.h"

#include "base/scope.h"

#include <stdio.h>
#include <string.h>

enum { EXPONENT_DIGITS_MAX = 9, KEY_BYTES_MAX = 64 * 1024 + 64 };

/* A number taken apart: sign, digits with the point left out, and the power of ten of the last digit. */
struct number {
  bool negative, has_exponent;
  struct view whole, fraction; /* digits before and behind the point */
  int64_t exponent;            /* as written */
};

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static struct view take_digits(const char **at, const char *end) {
  const char *start = *at;
  while (*at < end && is_digit(**at))
    ++*at;
  return (struct view){start, (size_t)(*at - start)};
}

static bool take_sign(const char **at, const char *end) {
  bool negative = *at < end && **at == '-';
  if (*at < end && (**at == '-' || **at == '+'))
    ++*at;
  return negative;
}

static bool take_exponent(const char **at, const char *end, struct number *out) {
  if (*at == end || (**at != 'e' && **at != 'E'))
    return true;
  ++*at;
  bool negative = take_sign(at, end);
  struct view digits = take_digits(at, end);
  uint64_t value;
  if (digits.len == 0 || digits.len > EXPONENT_DIGITS_MAX || !view_to_u64(digits, &value))
    return false;
  out->has_exponent = true;
  out->exponent = negative ? -(int64_t)value : (int64_t)value;
  return true;
}

/* Parses blanks, sign, digits with an optional point, exponent, blanks. */
static bool parse_number(struct view cell, struct number *out) {
  cell = view_trim(cell);
  const char *at = cell.ptr, *end = cell.ptr + cell.len;
  *out = (struct number){.negative = take_sign(&at, end)};
  out->whole = take_digits(&at, end);
  if (at < end && *at == '.') {
    at++;
    out->fraction = take_digits(&at, end);
  }
  if (out->whole.len + out->fraction.len == 0)
    return false;
  return take_exponent(&at, end, out) && at == end;
}

enum id_form id_classify_other(struct view cell) {
  struct number n;
  if (cell.len == 0)
    return ID_FORM_NULL;
  return parse_number(cell, &n) ? ID_FORM_NUMBER : ID_FORM_TEXT;
}

/* Appends the digits of both parts without leading zeros; returns how many trailing zeros were cut. */
static size_t add_significant(const struct number *n, struct buf *out) {
  struct view parts[] = {n->whole, n->fraction};
  for (int p = 0; p < 2; p++)
    for (size_t i = 0; i < parts[p].len; i++)
      if (out->len > 0 || parts[p].ptr[i] != '0')
        buf_add_char(out, parts[p].ptr[i]);
  size_t cut = 0;
  while (out->len > 0 && out->ptr[out->len - 1] == '0') {
    out->len--;
    cut++;
  }
  return cut;
}

/* Codes the bytes that stand for an identifier. */
static bool encode_key(struct dict *d, enum id_mode mode, struct view key, id_code *out) {
  uint64_t number = 0;
  if (mode == ID_INTERN && !dict_intern(d, key, &number))
    return false;
  if (mode == ID_HASH)
    number = dict_hash(key) >> 2;
  *out = mode == ID_FIND && !dict_find(d, key, &number) ? ID_UNKNOWN : ID_INTERNED | number;
  return true;
}

/* Codes a number by value: small whole ones are their own code, others are interned as digits and power of
 * ten. */
static bool encode_number(struct dict *d, enum id_mode mode, const struct number *n, id_code *out) {
  auto_buf struct buf digits;
  buf_init(&digits, KEY_BYTES_MAX);
  size_t cut = add_significant(n, &digits);
  int64_t power = n->exponent - (int64_t)n->fraction.len + (int64_t)cut;
  struct view significant = buf_view(&digits);
  if (buf_failed(&digits))
    return false;
  if (significant.len == 0) {
    *out = 0;
    return true;
  }
  uint64_t value;
  if (!n->negative && power >= 0 && (int64_t)significant.len + power <= ID_PLAIN_DIGITS_MAX &&
      view_to_u64(significant, &value)) {
    for (; power > 0; power--)
      value *= 10;
    *out = value;
    return true;
  }
  buf_printf(&digits, "e%lld%s", (long long)power, n->negative ? "-" : "");
  return !buf_failed(&digits) && encode_key(d, mode, buf_view(&digits), out);
}

/* Codes a cell by its bytes, ill-formed UTF-8 as U+FFFD. */
static bool encode_text(struct dict *d, enum id_mode mode, struct view cell, id_code *out) {
  if (view_is_utf8(cell))
    return encode_key(d, mode, cell, out);
  auto_buf struct buf text;
  buf_init(&text, 3 * KEY_BYTES_MAX);
  buf_add_utf8(&text, cell);
  return !buf_failed(&text) && encode_key(d, mode, buf_view(&text), out);
}

bool id_encode(struct dict *d, enum id_mode mode, struct view cell, enum id_kind kind, id_code *out) {
  enum id_form form = id_classify(cell, out);
  if (form == ID_FORM_PLAIN)
    return true;
  *out = ID_NULL;
  if (form == ID_FORM_NULL)
    return true;
  struct number n;
  if (form == ID_FORM_NUMBER && kind == ID_NUMERIC && parse_number(cell, &n))
    return encode_number(d, mode, &n, out);
  return encode_text(d, mode, cell, out);
}

bool id_join_code(struct dict *d, enum id_mode mode, struct view cell, enum id_kind own, enum id_kind partner,
                  id_code *out) {
  if (own == ID_NUMERIC || partner == ID_TEXT)
    return id_encode(d, mode, cell, own, out);
  struct number n;
  *out = ID_NULL;
  return !parse_number(cell, &n) || n.has_exponent || encode_number(d, mode, &n, out);
}
