/* SPDX-License-Identifier: MIT */
#include "server/run_tag.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

const char *run_tag(const struct run *run, char out[RUN_TAG_SIZE]) {
  bool is_at_work = run->state == RUN_RUNNING || run->state == RUN_CANCELLING;
  int length = snprintf(out, RUN_TAG_SIZE, "%s-%" PRIu64, run->id, run->version);
  if (is_at_work)
    snprintf(out + length, RUN_TAG_SIZE - (size_t)length, ".%" PRId64, clock_wall_ms());
  return out;
}

bool run_tag_parse(struct view header, struct view id, uint64_t *version) {
  struct view tag = view_trim(header);
  if (view_starts(tag, "W/"))
    tag = (struct view){tag.ptr + 2, tag.len - 2};
  if (tag.len < id.len + 4 || tag.ptr[0] != '"' || tag.ptr[tag.len - 1] != '"')
    return false;
  struct view head = {tag.ptr + 1, id.len};
  struct view tail = {tag.ptr + 1 + id.len, tag.len - 2 - id.len};
  if (!view_eq(head, id) || tail.ptr[0] != '-')
    return false;
  struct view rest = {tail.ptr + 1, tail.len - 1};
  return view_to_u64(view_split(&rest, '.'), version);
}
