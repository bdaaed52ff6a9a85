/* SPDX-License-Identifier: MIT
 * The memory limit of a control group, as either version of the kernel's interface says it. */
#include "base/cgroup.h"

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64];

static int set_up(void **state) {
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/kpid-cgroup-XXXXXX");
  return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command);
}

/* Writes a file below the folder, with the folders above it. */
static void put(const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  for (char *at = path + strlen(folder) + 1; (at = strchr(at, '/')); at++) {
    *at = '\0';
    mkdir(path, 0700);
    *at = '/';
  }
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static uint64_t limit(void) {
  char self[128];
  snprintf(self, sizeof self, "%s/self", folder);
  return cgroup_memory_limit(folder, self);
}

static void version_2_says_it_in_the_group(void **state) {
  (void)state;
  put("self", "0::/system.slice/kpid.service\n");
  put("system.slice/kpid.service/memory.max", "268435456\n");
  assert_true(limit() == 268435456);
}

static void a_group_above_binds_too(void **state) {
  (void)state;
  put("self", "0::/a/b\n");
  put("a/b/memory.max", "max\n");
  put("a/memory.max", "1000000\n");
  put("memory.max", "3000000\n");
  assert_true(limit() == 1000000);
}

static void a_container_sees_its_group_as_the_root(void **state) {
  (void)state;
  put("self", "0::/docker/of-the-host\n");
  put("memory.max", "5000000\n");
  assert_true(limit() == 5000000);
}

static void version_1_has_controllers(void **state) {
  (void)state;
  put("self", "5:cpuset:/x\n4:cpu,memory:/ecs/task\n0::/\n");
  put("memory/ecs/task/memory.limit_in_bytes", "7000000\n");
  put("memory/memory.limit_in_bytes", "9223372036854771712\n");
  assert_true(limit() == 7000000);
}

static void what_says_nothing_is_no_limit(void **state) {
  (void)state;
  assert_true(limit() == UINT64_MAX);
  put("self", "0::/\n4:memorymap:/x\n");
  put("memory.max", "max\n");
  put("memory/x/memory.limit_in_bytes", "1\n");
  assert_true(limit() == UINT64_MAX);
  put("memory.max", "lots\n");
  assert_true(limit() == UINT64_MAX);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(version_2_says_it_in_the_group, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_group_above_binds_too, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_container_sees_its_group_as_the_root, set_up, tear_down),
      cmocka_unit_test_setup_teardown(version_1_has_controllers, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_says_nothing_is_no_limit, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
