/* SPDX-License-Identifier: MIT
 * What workers of the native engine note of each day: its quality tally, and why it must fail. Knows no row.
 */
#ifndef KPID_PIPELINE_NATIVE_DAYS_H
#define KPID_PIPELINE_NATIVE_DAYS_H

#include "pipeline/idset.h"
#include "pipeline/plain_day.h"

/* An error of a day that depends on what kind of ids a column holds, or on the joins, which is only known at
 * the end of a pass. */
struct native_refusal {
  enum dataset dataset;
  struct place place;
  struct err err;
};

struct native_day {
  struct plain_day plain;         /* first: what is written most */
  bool has_rows;                  /* some row counts in its results */
  struct quality_tally *tally;    /* NULL: not yet needed */
  struct native_refusal *refusal; /* the first of the input; NULL: none */
  struct group *groups;           /* borrowed; at the end, through next_of_day */
  struct idset unjoinable_orders; /* own codes of orders that no item can name: the items have numbers */
};

enum { NATIVE_DAYS_CHUNK = 4096, NATIVE_DAYS_CHUNKS = (DAY_MAX - DAY_MIN) / NATIVE_DAYS_CHUNK + 1 };

/* The days of one worker; zero-initialised has none. */
struct native_days {
  struct native_day **chunks[NATIVE_DAYS_CHUNKS]; /* owned; of NATIVE_DAYS_CHUNK days each */
  size_t count;
  struct arena arena; /* of the days, and of what they point to */
};

/* Returns a day, an empty one at first; NULL when memory is exhausted. Borrowed. */
struct native_day *native_days_at(struct native_days *d, struct budget *budget, day_t day);

/* The same, and it has a tally. */
struct native_day *native_days_tallied(struct native_days *d, struct budget *budget, day_t day);

/* Returns the first day from *day on that was asked for, and sets *day to it; NULL: there is none. */
struct native_day *native_days_next(const struct native_days *d, day_t *day);

/* Keeps the refusal unless one that stands before it in the input was kept. False when memory is exhausted.
 */
bool native_days_refuse(struct native_days *d, struct budget *budget, struct native_day *day,
                        const struct native_refusal *refusal);

/* Moves everything of `from` into `to`; `from` is empty afterwards. False when memory is exhausted. */
bool native_days_merge(struct native_days *to, struct native_days *from, struct budget *budget);

/* Frees all days. */
void native_days_clear(struct native_days *d, struct budget *budget);

#endif
