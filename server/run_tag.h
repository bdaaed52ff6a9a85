/* SPDX-License-Identifier: MIT
 * Entity tags of runs: id and version of the record, and, while it works, the time: its counters change
 * without a new version. */
#ifndef KPID_SERVER_RUN_TAG_H
#define KPID_SERVER_RUN_TAG_H

#include "server/run.h"

enum { RUN_TAG_SIZE = 96 };

/* Writes the tag, without quotes; returns out. */
const char *run_tag(const struct run *run, char out[RUN_TAG_SIZE]);

/* Reads the version out of one tag, as it stands in a header, of the run with that id. False when it is
 * none. */
bool run_tag_parse(struct view header, struct view id, uint64_t *version);

#endif
