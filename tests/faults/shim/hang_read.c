/* SPDX-License-Identifier: MIT
 * Preloaded: reading a .csv file hangs while the file $HANG_READ_FLAG exists, like a network disk whose
 * server is gone. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_csv(int fd) {
  char link[64], name[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, name, sizeof name);
  return n > 4 && memcmp(name + n - 4, ".csv", 4) == 0;
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
  const char *flag = getenv("HANG_READ_FLAG");
  while (flag && access(flag, F_OK) == 0 && is_csv(fd))
    usleep(20000);
  return syscall(SYS_pread64, fd, to, size, at);
}
