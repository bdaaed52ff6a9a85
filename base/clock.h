/* SPDX-License-Identifier: MIT
 * Wall clock and monotonic clock in milliseconds, and RFC 3339 text. The wall clock is for showing,
 * the monotonic clock for waiting. */
#ifndef KPID_BASE_CLOCK_H
#define KPID_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since 1970-01-01T00:00:00Z. */
int64_t clock_wall_ms(void);

/* Milliseconds and microseconds of CLOCK_MONOTONIC. */
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

#define CLOCK_RFC3339_SIZE 32

/* Writes wall_ms as 2026-11-24T03:00:00.123Z. Returns out. */
char *clock_rfc3339(int64_t wall_ms, char out[CLOCK_RFC3339_SIZE]);

/* Returns the CLOCK_MONOTONIC deadline of a millisecond value, for pthread_cond_clockwait. */
struct timespec clock_timespec(int64_t mono_ms);

#endif
