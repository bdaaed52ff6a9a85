/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 16 * 1024 };

static _Atomic int lowest_level = LOG_INFO;
static _Atomic int log_fd = STDOUT_FILENO;

static struct {
  pthread_rwlock_t lock;
  log_sink_fn fn; /* guarded by lock, as arg */
  void *arg;
} sink = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static struct {
  pthread_rwlock_t lock;
  char id[64]; /* guarded by lock; empty: none */
} task = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(enum log_level lowest, int fd) {
  atomic_store(&lowest_level, (int)lowest);
  atomic_store(&log_fd, fd);
}

void log_set_sink(log_sink_fn fn, void *arg) {
  pthread_rwlock_wrlock(&sink.lock);
  sink.fn = fn;
  sink.arg = arg;
  pthread_rwlock_unlock(&sink.lock);
}

void log_set_task(const char *id) {
  pthread_rwlock_wrlock(&task.lock);
  snprintf(task.id, sizeof task.id, "%s", id);
  pthread_rwlock_unlock(&task.lock);
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

static void add_task(struct buf *line) {
  pthread_rwlock_rdlock(&task.lock);
  add_field(line, &LOG_S("task", task.id[0] ? task.id : NULL));
  pthread_rwlock_unlock(&task.lock);
}

static const struct log_field *find_field(const struct log_field *fields, int count, const char *key) {
  for (int i = 0; i < count; i++)
    if (strcmp(fields[i].key, key) == 0)
      return &fields[i];
  return NULL;
}

/* The sink is called under a lock of its own, so that none is called after it was taken away. */
static void tell_sink(const struct log_line *line) {
  pthread_rwlock_rdlock(&sink.lock);
  if (sink.fn)
    sink.fn(sink.arg, line);
  pthread_rwlock_unlock(&sink.lock);
}

static void write_line(enum log_level level, const char *event, const char *msg,
                       const struct log_field *fields, int count, struct buf *out) {
  char ts[CLOCK_RFC3339_SIZE];
  buf_printf(out, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"msg\":\"",
             clock_rfc3339(clock_wall_ms(), ts), level_names[level], event);
  buf_add_json(out, view_of(msg));
  buf_add_char(out, '"');
  for (int i = 0; i < count; i++)
    add_field(out, &fields[i]);
  add_task(out);
  buf_add_cstr(out, "}\n");
}

void log_write(enum log_level level, const char *event, const char *msg, const struct log_field *fields,
               int count) {
  bool is_shown = (int)level >= atomic_load(&lowest_level);
  const struct log_field *run = find_field(fields, count, "run_id"),
                         *attempt = find_field(fields, count, "attempt");
  bool is_kept = run && run->str && (is_shown || level >= LOG_INFO);
  if (!is_shown && !is_kept)
    return;
  auto_buf struct buf line;
  buf_init(&line, LINE_MAX_BYTES);
  write_line(level, event, msg, fields, count, &line);
  if (buf_failed(&line))
    return;
  /* A log that cannot be written must not stop the service. */
  ssize_t ignored = is_shown ? write(atomic_load(&log_fd), line.ptr, line.len) : 0;
  (void)ignored;
  if (is_kept)
    tell_sink(&(struct log_line){
        level, run->str, attempt ? attempt->num : LOG_NO_ATTEMPT, {line.ptr, line.len - 1}});
}
