/* SPDX-License-Identifier: MIT
 * The environment of a caller of AWS with keys of its own and no files, whatever that of the test run is. */
#ifndef KPID_TESTS_AWS_ENV_H
#define KPID_TESTS_AWS_ENV_H

#include <stddef.h>
#include <stdlib.h>

static inline void aws_env_set(void) {
  static const char *const unset[] = {
      "AWS_PROFILE",        "AWS_SESSION_TOKEN",     "AWS_ENDPOINT_URL",          "AWS_ENDPOINT_URL_STS",
      "AWS_DEFAULT_REGION", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"};
  static const char *const set[][2] = {{"AWS_REGION", "eu-west-1"},
                                       {"AWS_ACCESS_KEY_ID", "AKID"},
                                       {"AWS_SECRET_ACCESS_KEY", "secret"},
                                       {"AWS_CONFIG_FILE", "/dev/null"},
                                       {"AWS_SHARED_CREDENTIALS_FILE", "/dev/null"}};
  for (size_t i = 0; i < sizeof unset / sizeof unset[0]; i++)
    unsetenv(unset[i]);
  for (size_t i = 0; i < sizeof set / sizeof set[0]; i++)
    setenv(set[i][0], set[i][1], 1);
}

#endif
