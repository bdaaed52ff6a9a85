/* SPDX-License-Identifier: MIT */
#include "pipeline/names.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

bool names_add(struct names *n, struct view name) {
  struct view *at = array_room(n->at, n->count, &n->cap, sizeof *at);
  if (!at)
    return false;
  n->at = at;
  char *copy = malloc(name.len + 1);
  if (!copy)
    return false;
  if (name.len)
    memcpy(copy, name.ptr, name.len);
  n->at[n->count++] = (struct view){copy, name.len};
  return true;
}

bool names_add_all(struct names *n, const struct names *from) {
  for (size_t i = 0; i < from->count; i++)
    if (!names_add(n, from->at[i]))
      return false;
  return true;
}

static int compare(const void *a, const void *b) {
  return view_cmp(*(const struct view *)a, *(const struct view *)b);
}

static void free_text(struct view text) {
  free((void *)(uintptr_t)text.ptr);
}

void names_seal(struct names *n) {
  size_t kept = 0;
  if (n->count)
    qsort(n->at, n->count, sizeof *n->at, compare);
  for (size_t i = 0; i < n->count; i++)
    if (kept && view_eq(n->at[kept - 1], n->at[i]))
      free_text(n->at[i]);
    else
      n->at[kept++] = n->at[i];
  n->count = kept;
}

bool names_has(const struct names *n, struct view name) {
  size_t low = 0, high = n->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = view_cmp(n->at[middle], name);
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
    free_text(n->at[i]);
  free(n->at);
  *n = (struct names){0};
}
