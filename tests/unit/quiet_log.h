/* SPDX-License-Identifier: MIT
 * A log that says errors only, for tests of what warns while all is as it should be. */
#ifndef KPID_TESTS_QUIET_LOG_H
#define KPID_TESTS_QUIET_LOG_H

#include "base/log.h"

#include <unistd.h>

/* The set-up of a group of tests. */
static inline int quiet_log(void **state) {
  (void)state;
  log_init(LOG_ERROR, STDOUT_FILENO);
  return 0;
}

#endif
