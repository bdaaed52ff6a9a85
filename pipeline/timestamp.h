/* SPDX-License-Identifier: MIT
 * Timestamps of the input as calendar days. Grammar (semantics in README.md):
 *   YYYY-M[M] | YYYY-M[M]-D[D] [ (blank|T) H[H][:M[M][:S[S][.f{1,9}]]] [blanks] [zone] ]
 * with zone Z, UTC, +H[H], +HHMM, +HH:MM, +HH:MM:SS or an IANA name; blanks around allowed. */
#ifndef KPID_PIPELINE_TIMESTAMP_H
#define KPID_PIPELINE_TIMESTAMP_H

#include "base/tz.h"
#include "pipeline/day.h"

/* Parses a timestamp into its day: as written without a zone, else in the `business` zone (borrowed). False
 * when the text is none or leaves years 0001-9999. Thread-safe. */
bool timestamp_day(struct view text, const struct tz *business, day_t *out);

#endif
