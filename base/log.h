/* SPDX-License-Identifier: MIT
 * JSON-lines log on stdout: one object a line with ts, level, event and the fields given. Thread-safe; a
 * line is written with one write(2). Secrets never go in: callers log names, not values. */
#ifndef KPID_BASE_LOG_H
#define KPID_BASE_LOG_H

#include "base/err.h"
#include "base/view.h"

#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_field_type { LOG_STR, LOG_INT };

/* One field of a line. Keys are static identifiers. */
struct log_field {
  const char *key;
  enum log_field_type type;
  const char *str; /* borrowed; NULL leaves the field out */
  int64_t num;
};

#define LOG_S(k, v) ((struct log_field){.key = (k), .type = LOG_STR, .str = (v)})
#define LOG_I(k, v) ((struct log_field){.key = (k), .type = LOG_INT, .num = (int64_t)(v)})

/* Sets the lowest level that is written and the file descriptor (1 by default). */
void log_init(enum log_level lowest, int fd);

/* Sets what every line from now on has as its field `task`: whose log this is, where several are read
 * together. */
void log_set_task(const char *id);

/* A line that names a run, for who keeps those. Borrowed for the call. */
struct log_line {
  enum log_level level;
  const char *run_id;
  int64_t attempt;  /* its field `attempt`; LOG_NO_ATTEMPT without one */
  struct view json; /* the whole object, without line end */
};
enum { LOG_NO_ATTEMPT = -1 };

/* Takes a line over. Any thread; must neither wait nor log. */
typedef void (*log_sink_fn)(void *arg, const struct log_line *line);

/* Sets who also gets the lines that have a field `run_id` and are written, or at least LOG_INFO; NULL for
 * nobody. When it returns, the one before is no longer called. */
void log_set_sink(log_sink_fn fn, void *arg);

/* Parses debug|info|warn|error. False for anything else. */
bool log_level_of(const char *name, enum log_level *out);

/* Returns the name of a level. */
const char *log_level_name(enum log_level level);

/* Writes one line: {"ts":..,"level":..,"event":event,"msg":msg, fields...}. */
void log_write(enum log_level level, const char *event, const char *msg, const struct log_field *fields,
               int count);

/* log_at(LOG_INFO, "run.started", "run started", LOG_S("run_id", id)) */
#define log_at(level, event, msg, ...)                                                                       \
  log_write((level), (event), (msg), (const struct log_field[]){{.key = NULL}, ##__VA_ARGS__} + 1,           \
            (int)(sizeof((struct log_field[]){{.key = NULL}, ##__VA_ARGS__}) / sizeof(struct log_field)) -   \
                1)

#endif
