/* SPDX-License-Identifier: MIT
 * What the service last found out about itself, for the health routes: one row a check, kept in memory, so
 * that asking never waits for what is checked. Knows no HTTP. */
#ifndef KPID_SERVER_HEALTH_H
#define KPID_SERVER_HEALTH_H

#include "server/service.h"

#include <pthread.h>

enum health_check_id {
  CHECK_DATABASE,
  CHECK_QUEUE,
  CHECK_SOURCE, /* shown only: a source that fails is no reason to refuse runs */
  CHECK_WORKERS,
  CHECK_INTENTS, /* last: shown only where intents are kept */
  HEALTH_CHECKS
};

/* All functions may be called from any thread. */
struct health_board {
  struct {
    pthread_mutex_t lock;
    struct health_check checks[HEALTH_CHECKS];
    struct run_census census;
    bool stuck; /* a stalled run did not stop when it was told to */
  } synced;
};

/* Everything is well at first. */
void health_board_init(struct health_board *b);
void health_board_clear(struct health_board *b);

/* Notes what a check has found. */
void health_board_set(struct health_board *b, enum health_check_id check, bool ok, const char *error);
void health_board_set_census(struct health_board *b, const struct run_census *census);
void health_board_set_stuck(struct health_board *b, bool stuck);

/* Fills checks, census, alive and ready; `check_count` of them are shown. */
void health_board_show(struct health_board *b, size_t check_count, struct health *out);

#endif
