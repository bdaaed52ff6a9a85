/* SPDX-License-Identifier: MIT */
#include "pipeline/finding.h"

#include <stdlib.h>
#include <string.h>

int place_cmp(struct place a, struct place b) {
  if (a.object != b.object)
    return a.object < b.object ? -1 : 1;
  return a.line < b.line ? -1 : a.line > b.line;
}

static void remove_example(struct finding *f, size_t at) {
  f->example_count--;
  memmove(&f->examples[at], &f->examples[at + 1], (f->example_count - at) * sizeof f->examples[0]);
}

/* Removes a later example of the same value; false when there is an earlier one. */
static bool replaces_its_value(struct finding *f, const struct finding_example *e) {
  for (size_t i = 0; i < f->example_count; i++)
    if (strcmp(f->examples[i].value, e->value) == 0) {
      if (place_cmp(f->examples[i].place, e->place) <= 0)
        return false;
      remove_example(f, i);
      return true;
    }
  return true;
}

static void keep_example(struct finding *f, const struct finding_example *e) {
  if (f->is_distinct && !replaces_its_value(f, e))
    return;
  size_t at = f->example_count;
  while (at > 0 && place_cmp(e->place, f->examples[at - 1].place) < 0)
    at--;
  if (!f->examples)
    f->examples = calloc(FINDING_EXAMPLES_MAX, sizeof *f->examples);
  if (at == FINDING_EXAMPLES_MAX || !f->examples)
    return;
  if (f->example_count < FINDING_EXAMPLES_MAX)
    f->example_count++;
  memmove(&f->examples[at + 1], &f->examples[at], (f->example_count - at - 1) * sizeof *e);
  f->examples[at] = *e;
}

void finding_add(struct finding *f, struct place place, struct view value) {
  f->count++;
  struct finding_example e = {.place = place};
  if (f->example_count == FINDING_EXAMPLES_MAX &&
      place_cmp(place, f->examples[FINDING_EXAMPLES_MAX - 1].place) > 0)
    return;
  view_to_cstr(value, e.value, sizeof e.value);
  keep_example(f, &e);
}

void finding_add_distinct(struct finding *f, struct place place, struct view value) {
  f->is_distinct = true;
  finding_add(f, place, value);
}

void finding_merge(struct finding *f, const struct finding *from) {
  f->count += from->count;
  f->is_distinct |= from->is_distinct;
  for (size_t i = 0; i < from->example_count; i++)
    keep_example(f, &from->examples[i]);
}

void finding_clear(struct finding *f) {
  free(f->examples);
  *f = (struct finding){0};
}
