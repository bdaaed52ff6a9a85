/* SPDX-License-Identifier: MIT
 * What the control group of this process allows, of either version. Source: cgroups(7), and cgroup-v2.rst and
 * cgroup-v1/memory.rst of the Linux kernel. */
#ifndef KPID_BASE_CGROUP_H
#define KPID_BASE_CGROUP_H

#include <stdint.h>

/* Returns how many bytes of memory this process and those in its group may use together: the least that the
 * group or one above it says; UINT64_MAX without a limit. `mount` is where control groups are mounted, `self`
 * the file that says which this process is in: NULL for the system's. */
uint64_t cgroup_memory_limit(const char *mount, const char *self);

#endif
