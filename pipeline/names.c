/* SPDX-License-Identifier: MIT */
#include "pipeline/names.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

bool names_add(struct names *n, struct view name) {
  char **at = array_room(n->at, n->count, &n->cap, sizeof *at);
  if (!at)
    return false;
  n->at = at;
  char *copy = strndup(name.ptr ? name.ptr : "", name.len);
  if (copy)
    n->at[n->count++] = copy;
  return copy != NULL;
}

bool names_add_all(struct names *n, const struct names *from) {
  for (size_t i = 0; i < from->count; i++)
    if (!names_add(n, view_of(from->at[i])))
      return false;
  return true;
}

static int compare(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

void names_seal(struct names *n) {
  size_t kept = 0;
  if (n->count)
    qsort(n->at, n->count, sizeof *n->at, compare);
  for (size_t i = 0; i < n->count; i++)
    if (kept && strcmp(n->at[kept - 1], n->at[i]) == 0)
      free(n->at[i]);
    else
      n->at[kept++] = n->at[i];
  n->count = kept;
}

bool names_has(const struct names *n, struct view name) {
  size_t low = 0, high = n->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = view_cmp(view_of(n->at[middle]), name);
    if (order == 0)
      return true;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return false;
}

void names_clear(struct names *n) {
  if (!n)
    return;
  for (size_t i = 0; i < n->count; i++)
    free(n->at[i]);
  free(n->at);
  *n = (struct names){0};
}
