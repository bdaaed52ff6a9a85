/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stdio.h>

enum { MS_PER_S = 1000, US_PER_S = 1000000, NS_PER_US = 1000, NS_PER_MS = 1000000 };

static int64_t now_ms(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * MS_PER_S + t.tv_nsec / NS_PER_MS;
}

int64_t clock_wall_ms(void) {
  return now_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void) {
  return now_ms(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / NS_PER_US;
}

char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]) {
  time_t seconds = (time_t)(wall_ms / MS_PER_S);
  struct tm t;
  gmtime_r(&seconds, &t);
  char day[CLOCK_RFC3339_SIZE - 6];
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &t);
  snprintf(out, CLOCK_RFC3339_SIZE, "%s.%03dZ", day, (int)(wall_ms % MS_PER_S));
  return out;
}

struct timespec clock_timespec(int64_t mono_ms) {
  return (struct timespec){.tv_sec = (time_t)(mono_ms / MS_PER_S),
                           .tv_nsec = (long)(mono_ms % MS_PER_S) * NS_PER_MS};
}
