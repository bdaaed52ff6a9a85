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

enum id_mark {
  ID_MARK_NEW,
  ID_MARK_REPEATED, /* it was marked before */
  ID_MARK_NO_ROOM   /* it is too great, the ids are too far from each other, or memory is exhausted */
};

/* Marks an id. Any thread. */
enum id_mark id_marks_add(struct id_marks *m, id_code code);

/* True when the id is marked. Any thread. */
bool id_marks_has(const struct id_marks *m, id_code code);

#endif
