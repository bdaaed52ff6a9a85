/* SPDX-License-Identifier: MIT
 * Preloaded: every fdatasync and fsync takes $SLOW_SYNC_US microseconds more, as on a disk behind a network.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_later(long number, int fd) {
  const char *delay = getenv("SLOW_SYNC_US");
  usleep(delay ? (useconds_t)atoi(delay) : 0);
  return (int)syscall(number, fd);
}

int fdatasync(int fd) {
  return sync_later(SYS_fdatasync, fd);
}

int fsync(int fd) {
  return sync_later(SYS_fsync, fd);
}
