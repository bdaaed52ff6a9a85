/* SPDX-License-Identifier: MIT
 * What the fuzz targets share. Each compares the program with something slower and plainer, and stops the
 * process where they differ; libFuzzer then keeps the input. The bytes that steer a target stand at the end
 * of its input, so that a file of tests/data is an input as it is. */
#ifndef KPID_TESTS_FUZZ_H
#define KPID_TESTS_FUZZ_H

#include "base/view.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops at a difference, and says which. */
#define REQUIRE(holds, ...)                                                                                  \
  do {                                                                                                       \
    if (!(holds)) {                                                                                          \
      fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                                        \
      fprintf(stderr, __VA_ARGS__);                                                                          \
      fputc('\n', stderr);                                                                                   \
      abort();                                                                                               \
    }                                                                                                        \
  } while (0)

/* Takes the last byte of the input; 0 when there is none. */
static inline uint8_t take_knob(struct view *input) {
  return input->len ? (uint8_t)input->ptr[--input->len] : 0;
}

static inline struct view input_of(const uint8_t *data, size_t size) {
  return (struct view){(const char *)data, size};
}

/* Returns owned bytes of exactly that length, so that every byte behind them is out of bounds. */
static inline char *exact_copy(struct view v) {
  char *copy = malloc(v.len ? v.len : 1);
  REQUIRE(copy, "no memory");
  if (v.len)
    memcpy(copy, v.ptr, v.len);
  return copy;
}

/* Bytes for %.*s. */
#define SHOWN(v) (int)(v).len, (v).ptr

/* Counts LF, CRLF and lone CR. */
static inline uint64_t count_line_ends(struct view v) {
  uint64_t count = 0;
  for (size_t i = 0; i < v.len; i++)
    count += v.ptr[i] == '\n' || (v.ptr[i] == '\r' && (i + 1 == v.len || v.ptr[i + 1] != '\n'));
  return count;
}

#endif
