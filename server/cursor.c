/* SPDX-License-Identifier: MIT */
#include "server/cursor.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void cursor_encode(struct view text, struct buf *out) {
  unsigned bits = 0, held = 0;
  for (size_t i = 0; i < text.len; i++) {
    bits = bits << 8 | (unsigned char)text.ptr[i];
    for (held += 8; held >= 6; held -= 6)
      buf_add_char(out, alphabet[bits >> (held - 6) & 63]);
  }
  if (held)
    buf_add_char(out, alphabet[bits << (6 - held) & 63]);
}

bool cursor_decode(struct view cursor, struct buf *out) {
  unsigned bits = 0, held = 0;
  for (size_t i = 0; i < cursor.len; i++) {
    const char *at = cursor.ptr[i] ? strchr(alphabet, cursor.ptr[i]) : NULL;
    if (!at)
      return false;
    bits = bits << 6 | (unsigned)(at - alphabet);
    held += 6;
    if (held >= 8) {
      held -= 8;
      buf_add_char(out, (char)(bits >> held & 255));
    }
  }
  return cursor.len % 4 != 1 && !buf_failed(out);
}

void cursor_refuse(struct problem *p) {
  problem_add(p, "cursor", "Must be next_cursor of an earlier page.");
}

bool cursor_read_id(const struct request *rq, struct buf *text, struct view *id) {
  struct view value;
  *id = (struct view){0};
  if (!request_arg(rq, "cursor", &value))
    return true;
  bool ok = cursor_decode(value, text);
  *id = buf_view(text);
  return ok && crypto_is_uuid(*id);
}

void cursor_write(struct json_out *j, struct view cursor) {
  if (cursor.len)
    jout_text(j, "next_cursor", cursor);
  else
    jout_null(j, "next_cursor");
}

void cursor_write_next(const struct request *rq, struct reply *rp, struct json_out *j, struct view cursor) {
  if (cursor.len)
    reply_link_next(rp, rq, cursor);
  cursor_write(j, cursor);
}
