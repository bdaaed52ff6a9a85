/* SPDX-License-Identifier: MIT
 * Scope cleanup: a variable declared with one of these is released when its scope ends, so that a
 * function can return early anywhere. Model: systemd's _cleanup_ macros. */
#ifndef KPID_BASE_SCOPE_H
#define KPID_BASE_SCOPE_H

#include "base/buf.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Declares cleanup_name(T *p) which calls fn(*p): for handles whose free accepts NULL. */
#define SCOPE_DEFINE(type, fn)                                                                               \
  static inline void fn##_scope(type *p) {                                                                   \
    if (*p)                                                                                                  \
      fn(*p);                                                                                                \
  }

#define AUTO(fn_scope) __attribute__((cleanup(fn_scope)))

/* Hands a pointer on and empties the variable, so that its cleanup does nothing. */
#define TAKE(p)                                                                                              \
  __extension__({                                                                                            \
    __typeof__(p) taken_ = (p);                                                                              \
    (p) = NULL;                                                                                              \
    taken_;                                                                                                  \
  })

static inline void scope_free(void *p) {
  free(*(void **)p);
}

static inline void scope_close(const int *fd) {
  if (*fd >= 0)
    close(*fd);
}

static inline void scope_file_close(FILE **f) {
  if (*f)
    fclose(*f);
}

static inline void scope_buf_clear(struct buf *b) {
  buf_clear(b);
}

static inline void scope_unlock(pthread_mutex_t **m) {
  pthread_mutex_unlock(*m);
}

#define auto_free AUTO(scope_free)
#define auto_close AUTO(scope_close)
#define auto_file AUTO(scope_file_close)
#define auto_buf AUTO(scope_buf_clear)

#define SCOPE_CAT_(a, b) a##b
#define SCOPE_CAT(a, b) SCOPE_CAT_(a, b)
/* Holds a mutex to the end of the scope. */
#define SCOPE_LOCK(mutex)                                                                                    \
  AUTO(scope_unlock)                                                                                         \
  pthread_mutex_t *SCOPE_CAT(held_, __LINE__) = (pthread_mutex_lock(mutex), (mutex));                        \
  (void)SCOPE_CAT(held_, __LINE__)

#endif
