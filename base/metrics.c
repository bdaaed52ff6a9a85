/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"

#include "base/scope.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One combination of labels; lives as long as the process. */
struct metric_series {
  const char *values[METRIC_LABELS_MAX];
  _Atomic int64_t value; /* of a histogram: the sum */
  _Atomic uint64_t buckets[METRIC_BOUNDS_MAX + 1];
  char text[]; /* what values points to */
};

static const char *const others[METRIC_LABELS_MAX] = {"other", "other", "other"};

/* Held while a series is made; they are found without it. */
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* ---- series ---- */

static size_t count_labels(const struct metric *m) {
  size_t count = 0;
  while (count < METRIC_LABELS_MAX && m->labels[count])
    count++;
  return count;
}

/* FNV-1a of the values. */
static size_t hash_of(const char *const *values, size_t count) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; i++)
    for (const char *at = values[i];; at++) {
      hash = (hash ^ (unsigned char)*at) * 0x100000001b3u;
      if (!*at)
        break;
    }
  return hash;
}

static bool has_values(const struct metric_series *s, const char *const *values, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(s->values[i], values[i]) != 0)
      return false;
  return true;
}

static struct metric_series *make_series(const char *const *values, size_t count) {
  size_t size = 0;
  for (size_t i = 0; i < count; i++)
    size += strlen(values[i]) + 1;
  struct metric_series *s = calloc(1, sizeof *s + size);
  char *text = s ? s->text : NULL;
  for (size_t i = 0; s && i < count; i++) {
    s->values[i] = text;
    text = stpcpy(text, values[i]) + 1;
  }
  return s;
}

/* Finds a series, or the empty place where it belongs; NULL when the table is full. */
static struct metric_series *_Atomic *find_place(struct metric *m, const char *const *values, size_t count) {
  size_t at = hash_of(values, count);
  for (size_t i = 0; i < METRIC_SERIES_MAX; i++) {
    struct metric_series *_Atomic *place = &m->at[(at + i) % METRIC_SERIES_MAX];
    const struct metric_series *s = atomic_load_explicit(place, memory_order_acquire);
    if (!s || has_values(s, values, count))
      return place;
  }
  return NULL;
}

/* The last place of the table is kept for what has none. NULL without memory. */
static struct metric_series *make_at(struct metric *m, const char *const *values, size_t count) {
  SCOPE_LOCK(&making);
  size_t made = 0;
  for (size_t i = 0; i < METRIC_SERIES_MAX; i++)
    made += atomic_load_explicit(&m->at[i], memory_order_relaxed) != NULL;
  if (made >= METRIC_SERIES_MAX - 1)
    values = others;
  struct metric_series *_Atomic *place = find_place(m, values, count);
  struct metric_series *s = place ? atomic_load_explicit(place, memory_order_relaxed) : NULL;
  if (place && !s) {
    s = make_series(values, count);
    atomic_store_explicit(place, s, memory_order_release);
  }
  return s;
}

static struct metric_series *series_of(struct metric *m, const char *const *values) {
  size_t count = count_labels(m);
  struct metric_series *_Atomic *place = find_place(m, values, count);
  struct metric_series *s = place ? atomic_load_explicit(place, memory_order_acquire) : NULL;
  return s ? s : make_at(m, values, count);
}

/* ---- counting ---- */

void metric_move(struct metric *m, int64_t by, const char *const values[METRIC_LABELS_MAX]) {
  struct metric_series *s = series_of(m, values);
  if (s)
    atomic_fetch_add_explicit(&s->value, by, memory_order_relaxed);
}

void metric_add(struct metric *m, uint64_t n, const char *const values[METRIC_LABELS_MAX]) {
  metric_move(m, (int64_t)n, values);
}

static size_t count_bounds(const struct metric *m) {
  size_t count = 0;
  while (count < METRIC_BOUNDS_MAX && m->bounds[count])
    count++;
  return count;
}

void metric_observe(struct metric *m, int64_t value, const char *const values[METRIC_LABELS_MAX]) {
  struct metric_series *s = series_of(m, values);
  size_t bounds = count_bounds(m), bucket = 0;
  while (bucket < bounds && value > m->bounds[bucket])
    bucket++;
  if (!s)
    return;
  atomic_fetch_add_explicit(&s->buckets[bucket], 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&s->value, value, memory_order_relaxed);
}

/* ---- text ---- */

static double in_units(const struct metric *m, int64_t counted) {
  return (double)counted * (m->unit > 0 ? m->unit : 1);
}

/* 15 digits: a scaled whole number is written as its decimal. */
static void write_number(struct buf *out, double value) {
  buf_printf(out, "%.15g", value);
}

static void write_label(struct buf *out, const char *name, const char *value) {
  buf_printf(out, "%s=\"", name);
  for (; *value; value++) {
    if (*value == '"' || *value == '\\')
      buf_add_char(out, '\\');
    if (*value == '\n')
      buf_add_cstr(out, "\\n");
    else
      buf_add_char(out, *value);
  }
  buf_add_char(out, '"');
}

/* Writes name and labels of a sample; `le` NULL: none. */
static void write_name(const struct metrics_out *o, const struct metric *m, const char *suffix,
                       const char *const *values, const char *le) {
  size_t count = count_labels(m);
  buf_printf(o->out, "%s%s", m->name, suffix);
  for (size_t i = 0; i < count; i++) {
    buf_add_char(o->out, i ? ',' : '{');
    write_label(o->out, m->labels[i], values[i]);
  }
  if (le) {
    buf_add_char(o->out, count ? ',' : '{');
    write_label(o->out, "le", le);
  }
  buf_add_cstr(o->out, count || le ? "} " : " ");
}

static void write_value(const struct metrics_out *o, double value) {
  write_number(o->out, value);
  buf_add_char(o->out, '\n');
}

/* OpenMetrics wants bounds as floating point numbers: 1.0. */
static const char *bound_text(double bound, char text[32]) {
  int length = snprintf(text, 32, "%.15g", bound);
  if (!strpbrk(text, ".e"))
    snprintf(text + length, 32 - (size_t)length, ".0");
  return text;
}

static void write_histogram(const struct metrics_out *o, const struct metric *m,
                            const struct metric_series *s) {
  char text[32];
  uint64_t so_far = 0;
  size_t bounds = count_bounds(m);
  for (size_t i = 0; i <= bounds; i++) {
    so_far += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
    write_name(o, m, "_bucket", s->values, i < bounds ? bound_text(in_units(m, m->bounds[i]), text) : "+Inf");
    buf_printf(o->out, "%" PRIu64 "\n", so_far);
  }
  write_name(o, m, "_sum", s->values, NULL);
  write_value(o, in_units(m, atomic_load_explicit(&s->value, memory_order_relaxed)));
  write_name(o, m, "_count", s->values, NULL);
  buf_printf(o->out, "%" PRIu64 "\n", so_far);
}

/* In text format 0.0.4 a counter's family is called as its samples are. */
void metrics_write_head(const struct metrics_out *o, const struct metric *m) {
  static const char *const kinds[] = {"counter", "gauge", "histogram"};
  const char *suffix = m->kind == METRIC_COUNTER && !o->is_open_metrics ? "_total" : "";
  buf_printf(o->out, "# HELP %s%s %s\n# TYPE %s%s %s\n", m->name, suffix, m->help, m->name, suffix,
             kinds[m->kind]);
}

void metrics_write_sample(const struct metrics_out *o, const struct metric *m,
                          const char *const values[METRIC_LABELS_MAX], double value) {
  write_name(o, m, m->kind == METRIC_COUNTER ? "_total" : "", values, NULL);
  write_value(o, value);
}

void metrics_write(const struct metrics_out *o, const struct metric *m) {
  metrics_write_head(o, m);
  for (size_t i = 0; i < METRIC_SERIES_MAX; i++) {
    const struct metric_series *s = atomic_load_explicit(&m->at[i], memory_order_acquire);
    if (s && m->kind == METRIC_HISTOGRAM)
      write_histogram(o, m, s);
    else if (s)
      metrics_write_sample(o, m, s->values,
                           in_units(m, atomic_load_explicit(&s->value, memory_order_relaxed)));
  }
}

void metrics_write_end(const struct metrics_out *o) {
  if (o->is_open_metrics)
    buf_add_cstr(o->out, "# EOF\n");
}
