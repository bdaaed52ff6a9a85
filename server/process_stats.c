/* SPDX-License-Identifier: MIT */
#include "server/process_stats.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Fields of /proc/self/stat after the name, see proc(5). */
struct proc_stat {
  unsigned long long user_ticks, system_ticks, start_ticks, virtual_bytes;
  long threads, resident_pages;
};

static bool read_stat(struct proc_stat *out) {
  char line[1024];
  FILE *file = fopen("/proc/self/stat", "re");
  size_t length = file ? fread(line, 1, sizeof line - 1, file) : 0;
  if (file)
    fclose(file);
  line[length] = '\0';
  const char *rest = strrchr(line, ')'); /* a name may hold blanks and brackets */
  return rest && sscanf(rest,
                        ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d"
                        " %llu %llu %ld",
                        &out->user_ticks, &out->system_ticks, &out->threads, &out->start_ticks,
                        &out->virtual_bytes, &out->resident_pages) == 6;
}

/* When the machine was started, in seconds since 1970; 0: unknown. */
static unsigned long long boot_time(void) {
  char line[256];
  unsigned long long seconds = 0;
  FILE *file = fopen("/proc/stat", "re");
  while (file && fgets(line, sizeof line, file) && sscanf(line, "btime %llu", &seconds) != 1) {
  }
  if (file)
    fclose(file);
  return seconds;
}

/* 0: unknown. */
static size_t count_descriptors(void) {
  size_t count = 0;
  DIR *folder = opendir("/proc/self/fd");
  if (!folder)
    return 0;
  for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
    count += entry->d_name[0] != '.';
  closedir(folder);
  return count - 1; /* its own */
}

static void write_one(const struct metrics_out *o, const char *name, enum metric_kind kind, const char *help,
                      double value) {
  const struct metric m = {.name = name, .help = help, .kind = kind};
  metrics_write_head(o, &m);
  metrics_write_sample(o, &m, METRIC_PLAIN, value);
}

void process_stats_write(const struct metrics_out *o) {
  struct proc_stat stat;
  struct rlimit files;
  const double ticks = (double)sysconf(_SC_CLK_TCK);
  const unsigned long long booted = boot_time();
  const size_t descriptors = count_descriptors();
  if (read_stat(&stat)) {
    write_one(o, "process_cpu_seconds", METRIC_COUNTER, "CPU time used, user and system.",
              (double)(stat.user_ticks + stat.system_ticks) / ticks);
    write_one(o, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory.",
              (double)stat.resident_pages * (double)sysconf(_SC_PAGESIZE));
    write_one(o, "process_virtual_memory_bytes", METRIC_GAUGE, "Virtual memory.", (double)stat.virtual_bytes);
    write_one(o, "process_threads", METRIC_GAUGE, "Threads.", (double)stat.threads);
    if (booted)
      write_one(o, "process_start_time_seconds", METRIC_GAUGE, "When the process was started, since 1970.",
                (double)booted + (double)stat.start_ticks / ticks);
  }
  if (descriptors)
    write_one(o, "process_open_fds", METRIC_GAUGE, "Open file descriptors.", (double)descriptors);
  if (getrlimit(RLIMIT_NOFILE, &files) == 0)
    write_one(o, "process_max_fds", METRIC_GAUGE, "Most file descriptors that may be open.",
              (double)files.rlim_cur);
}
