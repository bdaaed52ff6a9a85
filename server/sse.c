/* SPDX-License-Identifier: MIT */
#include "server/sse.h"

#include <inttypes.h>

void sse_begin(struct buf *out, const char *name, uint64_t id) {
  buf_printf(out, "event: %s\n", name);
  if (id != SSE_NO_ID)
    buf_printf(out, "id: %" PRIu64 "\n", id);
}

/* CR ends a line for clients as LF does. */
static struct view take_line(struct view *rest) {
  size_t n = 0;
  while (n < rest->len && rest->ptr[n] != '\n' && rest->ptr[n] != '\r')
    n++;
  struct view line = {rest->ptr, n};
  if (n == rest->len) {
    *rest = (struct view){0};
    return line;
  }
  size_t end = rest->ptr[n] == '\r' && n + 1 < rest->len && rest->ptr[n + 1] == '\n' ? n + 2 : n + 1;
  *rest = (struct view){rest->ptr + end, rest->len - end};
  return line;
}

void sse_data(struct buf *out, struct view data) {
  do {
    buf_add_cstr(out, "data: ");
    buf_add(out, take_line(&data));
    buf_add_char(out, '\n');
  } while (data.ptr);
}

void sse_end(struct buf *out) {
  buf_add_char(out, '\n');
}

void sse_event(struct buf *out, const char *name, uint64_t id, struct view data) {
  sse_begin(out, name, id);
  sse_data(out, data);
  sse_end(out);
}

void sse_comment(struct buf *out, const char *text) {
  buf_printf(out, ": %s\n\n", text);
}

void sse_retry(struct buf *out, unsigned wait_ms) {
  buf_printf(out, "retry: %u\n\n", wait_ms);
}
