/* SPDX-License-Identifier: MIT
 * Runs a command and writes what it cost: wall seconds from start to exit, CPU seconds of it and of all that
 * it has left behind, the peak memory of the largest process in KiB, and the KiB that were read from a disk.
 * A small process of its own, because a child's peak begins with the memory of the process that started it.
 * usage: bench_measure REPORT COMMAND [ARGUMENT...]; exits as the command does. */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { USAGE = 64, NOT_STARTED = 127, BLOCKS_A_KIB = 2 };

struct cost {
  double wall, cpu;
  long peak_kib, disk_kib;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t) {
  return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void add(struct cost *c, const struct rusage *used) {
  c->cpu += seconds(used->ru_utime) + seconds(used->ru_stime);
  if (used->ru_maxrss > c->peak_kib)
    c->peak_kib = used->ru_maxrss;
  c->disk_kib += used->ru_inblock / BLOCKS_A_KIB;
}

/* Waits for the command and then for whatever of it has come to us since it ended. Returns its status. */
static int wait_for(pid_t command, double started, struct cost *out) {
  struct rusage used;
  int status = 0, other;
  for (;;) {
    pid_t ended = wait4(-1, &other, 0, &used);
    if (ended < 0 && errno == EINTR)
      continue;
    if (ended < 0)
      return status;
    add(out, &used);
    if (ended == command) {
      out->wall = now() - started;
      status = other;
    }
  }
}

int main(int argc, char **argv) {
  struct cost cost = {0};
  if (argc < 3) {
    fprintf(stderr, "usage: bench_measure REPORT COMMAND [ARGUMENT...]\n");
    return USAGE;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  double started = now();
  pid_t command = fork();
  if (command == 0) {
    execvp(argv[2], argv + 2);
    perror(argv[2]);
    _exit(NOT_STARTED);
  }
  int status = wait_for(command, started, &cost);
  FILE *report = fopen(argv[1], "we");
  if (command < 0 || !report ||
      fprintf(report, "%.6f %.6f %ld %ld\n", cost.wall, cost.cpu, cost.peak_kib, cost.disk_kib) < 0 ||
      fclose(report) != 0) {
    perror("bench_measure");
    return USAGE;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
