/* SPDX-License-Identifier: MIT
 * What a quality check has found so far: a count, and the examples that stand first in the input, whatever
 * order the workers read it in. */
#ifndef KPID_PIPELINE_FINDING_H
#define KPID_PIPELINE_FINDING_H

#include "base/view.h"

enum { FINDING_EXAMPLES_MAX = 5, FINDING_VALUE_BYTES = 64 };

/* Where a row stands in a data set. */
struct place {
  uint32_t object; /* index into the listing's objects of the data set */
  uint64_t line;   /* 1-based physical line */
};

/* Returns <0, 0, >0. */
int place_cmp(struct place a, struct place b);

struct finding_example {
  struct place place;
  char value[FINDING_VALUE_BYTES]; /* cut to fit */
};

/* Zero-initialised has found nothing. */
struct finding {
  uint64_t count;
  struct finding_example *examples; /* owned; by place; none without memory for them */
  uint32_t example_count;
  bool is_distinct; /* one example a value: the first */
};

/* Counts one row and keeps it if it is among the first. */
void finding_add(struct finding *f, struct place place, struct view value);

/* The same, keeping different values instead of first rows. */
void finding_add_distinct(struct finding *f, struct place place, struct view value);

/* Adds all that `from` has found. */
void finding_merge(struct finding *f, const struct finding *from);

/* Frees and empties. */
void finding_clear(struct finding *f);

#endif
