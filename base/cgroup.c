/* SPDX-License-Identifier: MIT */
#include "base/cgroup.h"

#include "base/scope.h"
#include "base/view.h"

#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* Version 1 says "none" as a number near INT64_MAX. */
static const uint64_t NO_LIMIT = UINT64_C(1) << 60;

/* "max", a file that is not there or cannot be read are no limit. */
static uint64_t read_limit(const char *folder, struct view group, const char *file) {
  char path[PATH_BYTES], text[64];
  uint64_t limit;
  if (snprintf(path, sizeof path, "%s%.*s/%s", folder, (int)group.len, group.ptr, file) >= (int)sizeof path)
    return UINT64_MAX;
  auto_file FILE *f = fopen(path, "re");
  if (!f || !fgets(text, sizeof text, f) || !view_to_u64(view_trim(view_of(text)), &limit))
    return UINT64_MAX;
  return limit < NO_LIMIT ? limit : UINT64_MAX;
}

/* A group is bound by those above it, too. In a container the names may be those of the host, of which only
 * the root can be seen: it is the container's own group. */
static uint64_t least_limit(const char *folder, struct view group, const char *file) {
  uint64_t least = UINT64_MAX;
  for (;;) {
    while (group.len && group.ptr[group.len - 1] == '/')
      group.len--;
    uint64_t limit = read_limit(folder, group, file);
    least = limit < least ? limit : least;
    if (group.len == 0)
      return least;
    while (group.len && group.ptr[group.len - 1] != '/')
      group.len--;
  }
}

/* True when "memory" is one of the controllers, which commas part. */
static bool has_memory(struct view controllers) {
  while (controllers.len)
    if (view_is(view_split(&controllers, ','), "memory"))
      return true;
  return false;
}

uint64_t cgroup_memory_limit(const char *mount, const char *self) {
  char line[PATH_BYTES], memory[PATH_BYTES];
  uint64_t least = UINT64_MAX;
  mount = mount ? mount : "/sys/fs/cgroup";
  auto_file FILE *f = fopen(self ? self : "/proc/self/cgroup", "re");
  if (!f || snprintf(memory, sizeof memory, "%s/memory", mount) >= (int)sizeof memory)
    return least;
  while (fgets(line, sizeof line, f)) { /* number:controllers:group */
    struct view group = view_trim(view_of(line));
    struct view number = view_split(&group, ':'), controllers = view_split(&group, ':');
    uint64_t limit = UINT64_MAX;
    if (has_memory(controllers))
      limit = least_limit(memory, group, "memory.limit_in_bytes");
    else if (view_is(number, "0") && controllers.len == 0)
      limit = least_limit(mount, group, "memory.max");
    least = limit < least ? limit : least;
  }
  return least;
}
