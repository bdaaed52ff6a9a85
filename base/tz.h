/* SPDX-License-Identifier: MIT
 * Time zones by IANA name, read from the system's TZif files (RFC 8536), independent of TZ and of localtime's
 * global state. Knows no calendar: it maps seconds to offsets. */
#ifndef KPID_BASE_TZ_H
#define KPID_BASE_TZ_H

#include "base/err.h"
#include "base/view.h"

struct tz;

/* Loads a zone such as "UTC" or "America/New_York" from $TZDIR or /usr/share/zoneinfo. "UTC" needs no file.
 * Returns owned; NULL when there is no such zone or its file is damaged. */
struct tz *tz_load(struct view name);

/* Accepts NULL. */
void tz_free(struct tz *z);

/* Returns the zone's offset from UTC, in seconds east, at a UTC instant (seconds since 1970). */
int32_t tz_offset_at_utc(const struct tz *z, int64_t utc);

/* True when the zone never had another offset than 0. */
bool tz_is_utc(const struct tz *z);

/* Returns the offset for a local wall-clock time (seconds since 1970 as if it were UTC). A time that happens
 * twice gets the earlier instant; a time that a gap skips gets the offset from before the gap (as java.time
 * does). */
int32_t tz_offset_at_local(const struct tz *z, int64_t local);

/* Returns the instant, in seconds since 1970, at which a day of the zone begins; days count from 1970-01-01.
 */
int64_t tz_day_begins(const struct tz *z, int64_t day);

/* Returns a number that changes when the rules of a zone do. */
uint64_t tz_checksum(const struct tz *z);

/* Returns a zone from a process-wide cache; it lives until exit. NULL as tz_load. Thread-safe. */
const struct tz *tz_cached(struct view name);

#endif
