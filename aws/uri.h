/* SPDX-License-Identifier: MIT
 * Percent-encoding as AWS signs it. Knows no signature. */
#ifndef KPID_AWS_URI_H
#define KPID_AWS_URI_H

#include "base/buf.h"

/* Appends v with every byte outside A-Za-z0-9-._~ as %XX; keep_slashes leaves '/' as it is. */
void uri_encode(struct view v, bool keep_slashes, struct buf *out);

/* Appends v with %XX decoded and, as in application/x-www-form-urlencoded, + as a space. False when a % is
 * not followed by two hex digits. */
KPI_MUST_CHECK bool uri_decode_form(struct view v, struct buf *out);

#endif
