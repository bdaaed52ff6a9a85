/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

enum { LINE_MAX_BYTES = 16 * 1024 };

static _Atomic int lowest_level = LOG_INFO;
static _Atomic int log_fd = STDOUT_FILENO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(enum log_level lowest, int fd) {
  atomic_store(&lowest_level, (int)lowest);
  atomic_store(&log_fd, fd);
}

bool log_level_of(const char *name, enum log_level *out) {
  for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
    if (strcmp(level_names[i], name) == 0) {
      *out = (enum log_level)i;
      return true;
    }
  return false;
}

const char *log_level_name(enum log_level level) {
  return level_names[level];
}

static void add_field(struct buf *line, const struct log_field *f) {
  if (f->type == LOG_STR && !f->str)
    return;
  buf_printf(line, ",\"%s\":", f->key);
  if (f->type == LOG_INT) {
    buf_printf(line, "%" PRId64, f->num);
    return;
  }
  buf_add_char(line, '"');
  buf_add_json(line, view_of(f->str));
  buf_add_char(line, '"');
}

void log_write(enum log_level level, const char *event, const char *msg, const struct log_field *fields,
               int count) {
  if ((int)level < atomic_load(&lowest_level))
    return;
  auto_buf struct buf line;
  buf_init(&line, LINE_MAX_BYTES);
  char ts[CLOCK_RFC3339_SIZE];
  buf_printf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"msg\":\"",
             clock_rfc3339(clock_wall_ms(), ts), level_names[level], event);
  buf_add_json(&line, view_of(msg));
  buf_add_char(&line, '"');
  for (int i = 0; i < count; i++)
    add_field(&line, &fields[i]);
  buf_add_cstr(&line, "}\n");
  if (buf_failed(&line))
    return;
  /* A log that cannot be written must not stop the service. */
  ssize_t ignored = write(atomic_load(&log_fd), line.ptr, line.len);
  (void)ignored;
}
