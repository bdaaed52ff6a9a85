/* SPDX-License-Identifier: MIT
 * Doubles as text. */
#ifndef KPID_PIPELINE_DOUBLE_TEXT_H
#define KPID_PIPELINE_DOUBLE_TEXT_H

#include <stddef.h>

enum { DOUBLE_TEXT_SIZE = 32 };

/* Writes the shortest decimal text that reads back as the same finite double: "0.5", "3", "1e+22"; of several
 * the nearest. Returns the length. */
size_t double_text(double d, char out[DOUBLE_TEXT_SIZE]);

#endif
