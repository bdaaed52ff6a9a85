/* SPDX-License-Identifier: MIT
 * A folder as source: file:///dir with one folder a data set. A directory whose name ends in .csv is read as
 * one set of parts: every plain file in it that is not hidden. */
#ifndef KPID_PIPELINE_SOURCE_FILE_H
#define KPID_PIPELINE_SOURCE_FILE_H

#include "pipeline/source.h"

/* True for file:///absolute/folder; percent escapes are allowed. */
bool source_file_takes(const char *url);

/* Opens the folder of a URL that it takes. Returns owned in *out. Errors: KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code source_file_new(const char *url, struct source **out, struct err *err);

#endif
