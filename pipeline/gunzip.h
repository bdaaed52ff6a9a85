/* SPDX-License-Identifier: MIT
 * A reader that decompresses gzip (RFC 1952, any number of members) read from another reader. The only user
 * of ISA-L, which inflates two to three times as fast as zlib. */
#ifndef KPID_PIPELINE_GUNZIP_H
#define KPID_PIPELINE_GUNZIP_H

#include "pipeline/source.h"

/* Takes `inner`, also on failure. `object` names it in errors; borrowed. Returns owned in *out. Reading
 * damaged or truncated data fails with KPI_SOURCE_UNREADABLE. */
KPI_MUST_CHECK enum kpi_code gunzip_new(struct source_reader *inner, const char *object,
                                        struct source_reader **out, struct err *err);

#endif
