/* SPDX-License-Identifier: MIT
 * A checksum for bytes that are kept and read again: CRC-64 (ECMA-182), at the speed of memory. Finds damage,
 * not forgery. */
#ifndef KPID_PIPELINE_CHECKSUM_H
#define KPID_PIPELINE_CHECKSUM_H

#include "base/view.h"

#include <stdint.h>

/* Returns the sum of some bytes; 0 of none. */
uint64_t checksum_of(const void *bytes, size_t len);

#endif
