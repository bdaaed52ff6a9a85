/* SPDX-License-Identifier: MIT */
#include "server/health.h"

#include "base/clock.h"
#include "base/scope.h"

void health_board_init(struct health_board *b) {
  static const char *const names[HEALTH_CHECKS] = {"database", "queue", "source", "workers", "intents"};
  pthread_mutex_init(&b->synced.lock, NULL);
  for (int i = 0; i < HEALTH_CHECKS; i++)
    b->synced.checks[i] = (struct health_check){.name = names[i], .ok = true, .checked_at = clock_wall_ms()};
}

void health_board_clear(struct health_board *b) {
  pthread_mutex_destroy(&b->synced.lock);
}

void health_board_set(struct health_board *b, enum health_check_id check, bool ok, const char *error) {
  SCOPE_LOCK(&b->synced.lock);
  struct health_check *c = &b->synced.checks[check];
  c->ok = ok;
  c->checked_at = clock_wall_ms();
  view_to_cstr(ok ? (struct view){0} : view_of(error), c->error, sizeof c->error);
}

void health_board_set_census(struct health_board *b, const struct run_census *census) {
  SCOPE_LOCK(&b->synced.lock);
  b->synced.census = *census;
}

void health_board_set_stuck(struct health_board *b, bool stuck) {
  SCOPE_LOCK(&b->synced.lock);
  b->synced.stuck = stuck;
}

void health_board_show(struct health_board *b, size_t check_count, struct health *out) {
  SCOPE_LOCK(&b->synced.lock);
  out->alive = !b->synced.stuck;
  out->ready = true;
  out->census = b->synced.census;
  out->check_count = check_count;
  for (size_t i = 0; i < check_count; i++) {
    out->checks[i] = b->synced.checks[i];
    out->ready &= b->synced.checks[i].ok || i == CHECK_SOURCE;
  }
}
