/* SPDX-License-Identifier: MIT
 * Marks of ids that were seen, one bit each, to tell whether any is repeated: where none is, counting rows
 * counts ids, and nobody needs sets of them. For ids that are close to each other, as numbers given in turn
 * are, and those of a dictionary. */
#ifndef KPID_PIPELINE_ID_MARKS_H
#define KPID_PIPELINE_ID_MARKS_H

#include "base/alloc.h"
#include "pipeline/id.h"

struct id_marks;

/* How many ids of a neighbourhood of some 260,000 have no room before it gets the memory for marks, which a
 * set takes for about as many. */
enum id_patience { ID_MARKS_AT_ONCE = 0, ID_MARKS_WHEN_DENSE = 2048 };

/* Returns owned, NULL when memory is exhausted. */
struct id_marks *id_marks_new(struct budget *budget, enum id_patience patience);

/* Accepts NULL. */
void id_marks_free(struct id_marks *m);

enum id_mark {
  ID_MARK_NEW,
  ID_MARK_REPEATED, /* it was marked before */
  ID_MARK_NO_ROOM   /* too great, too far from the others (or the first near it), or memory is exhausted */
};

/* Marks an id. Any thread. */
enum id_mark id_marks_add(struct id_marks *m, id_code code);

/* True when the id is marked. Any thread. */
bool id_marks_has(const struct id_marks *m, id_code code);

#endif
