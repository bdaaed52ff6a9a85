/* SPDX-License-Identifier: MIT
 * Counters, gauges and histograms for Prometheus: families are static variables of whoever counts, and are
 * written as text format 0.0.4 or OpenMetrics 1.0. Knows neither HTTP nor what is counted. */
#ifndef KPID_BASE_METRICS_H
#define KPID_BASE_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum {
  METRIC_LABELS_MAX = 3,
  METRIC_BOUNDS_MAX = 20,
  METRIC_SERIES_MAX = 512 /* of a family; what comes later is counted under labels that all say "other" */
};

struct metric_series;

/* A family. Everything up to `bounds` is given when it is defined, the rest is zero and belongs to
 * metrics.c. All functions may be called from any thread. */
struct metric {
  const char *name; /* without _total */
  const char *help; /* one sentence: no quotes, backslashes or line ends */
  enum metric_kind kind;
  const char *labels[METRIC_LABELS_MAX]; /* names; fewer end with NULL */
  double unit;                           /* one of what is counted, in the unit of the name; 0: 1 */
  int64_t bounds[METRIC_BOUNDS_MAX]; /* upper bounds of the buckets, in what is counted; ascending, 0 ends */
  struct metric_series *_Atomic at[METRIC_SERIES_MAX];
};

/* The values of a family's labels, in their order. They are copied: keep them to closed sets. */
#define METRIC_OF(...) ((const char *const[METRIC_LABELS_MAX]){__VA_ARGS__})
#define METRIC_PLAIN METRIC_OF(NULL)

/* Bounds in milliseconds and microseconds for families in seconds. */
#define METRIC_MS 1e-3
#define METRIC_US 1e-6

/* Adds to a counter; n 0 makes the series appear. */
void metric_add(struct metric *m, uint64_t n, const char *const values[METRIC_LABELS_MAX]);

/* Moves a gauge up or down. */
void metric_move(struct metric *m, int64_t by, const char *const values[METRIC_LABELS_MAX]);

/* Adds an observation to a histogram. */
void metric_observe(struct metric *m, int64_t value, const char *const values[METRIC_LABELS_MAX]);

/* Where metrics are written to; `out` is borrowed and says whether its maximum was passed. */
struct metrics_out {
  struct buf *out;
  bool is_open_metrics; /* else text format 0.0.4 */
};

/* Writes a family that is counted: without series, its head alone. */
void metrics_write(const struct metrics_out *o, const struct metric *m);

/* Writes the head of a family whose samples follow, for what is looked up when it is asked for. */
void metrics_write_head(const struct metrics_out *o, const struct metric *m);

/* Writes one sample of it, in the unit of the name. */
void metrics_write_sample(const struct metrics_out *o, const struct metric *m,
                          const char *const values[METRIC_LABELS_MAX], double value);

/* Ends the text. */
void metrics_write_end(const struct metrics_out *o);

#endif
