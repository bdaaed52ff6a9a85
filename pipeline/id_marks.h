/* SPDX-License-Identifier: MIT
 * Marks of ids that were seen, one bit each, to tell whether any is repeated: where none is, counting rows
 * counts ids, and nobody needs sets of them. For ids that are close to each other, as numbers given in turn
 * are, and those of a dictionary. */
#ifndef KPID_PIPELINE_ID_MARKS_H
#define KPID_PIPELINE_ID_MARKS_H

#include "base/alloc.h"
#include "pipeline/id.h"

struct id_marks;

/* Returns owned, NULL when memory is exhausted. */
struct id_marks *id_marks_new(struct budget *budget);

/* Accepts NULL. */
void id_marks_free(struct id_marks *m);

/* Marks an id. False when it was marked before, or cannot be: it is too great, the ids are too far from each
 * other, or memory is exhausted. Any thread. */
bool id_marks_add(struct id_marks *m, id_code code);

#endif
