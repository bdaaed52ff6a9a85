/* SPDX-License-Identifier: MIT
 * A small sorted set of texts, such as the categories of a day. */
#ifndef KPID_PIPELINE_NAMES_H
#define KPID_PIPELINE_NAMES_H

#include "base/view.h"

/* Owns its texts. Zero-initialise. */
struct names {
  struct view *at; /* owned; sorted bytewise, without repetition, after names_seal */
  size_t count, cap;
};

/* Appends a copy; false when memory is exhausted. */
bool names_add(struct names *n, struct view name);

/* Appends copies of all of `from`. */
bool names_add_all(struct names *n, const struct names *from);

/* Sorts and removes repetitions; names_has needs it. */
void names_seal(struct names *n);

/* True when a sealed set holds the text. */
bool names_has(const struct names *n, struct view name);

/* Frees and empties. Accepts NULL. */
void names_clear(struct names *n);

#endif
