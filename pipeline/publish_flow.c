/* SPDX-License-Identifier: MIT */
#include "pipeline/publish_flow.h"

#include <string.h>

static bool is_mine(const struct publish_flow *f, const char *id) {
  return strcmp(f->id, id) == 0;
}

void publish_flow_start(struct publish_flow *f, const char *id, const struct publish_control *observed,
                        size_t rows, size_t limit) {
  *f = (struct publish_flow){.observed = *observed, .rows = rows, .limit = limit};
  strncpy(f->id, id, sizeof f->id - 1);
  uint64_t newest = observed->version > observed->pending ? observed->version : observed->pending;
  f->version = newest + 1;
  f->next = rows + 1 <= limit ? PUBLISH_ALL : PUBLISH_BEGIN;
}

struct publish_step publish_flow_next(const struct publish_flow *f) {
  size_t left = f->rows - f->sent, most = f->limit - 1; /* one action is the control row */
  switch (f->next) {
  case PUBLISH_ALL:
    return (struct publish_step){PUBLISH_ALL, 0, f->rows};
  case PUBLISH_CHUNK:
    return (struct publish_step){PUBLISH_CHUNK, f->sent, most};
  case PUBLISH_COMMIT:
    return (struct publish_step){PUBLISH_COMMIT, f->sent, left};
  case PUBLISH_BEGIN:
  case PUBLISH_LOOK:
  case PUBLISH_DONE:
  case PUBLISH_SUPERSEDED:
    break;
  }
  return (struct publish_step){f->next, 0, 0};
}

/* Chunks as long as more is left than a commit can take. */
static void go_on(struct publish_flow *f) {
  f->next = f->rows - f->sent > f->limit - 1 ? PUBLISH_CHUNK : PUBLISH_COMMIT;
}

void publish_flow_done(struct publish_flow *f) {
  if (f->next == PUBLISH_ALL || f->next == PUBLISH_COMMIT) {
    f->next = PUBLISH_DONE;
    return;
  }
  if (f->next == PUBLISH_CHUNK)
    f->sent += f->limit - 1;
  go_on(f);
}

void publish_flow_unsure(struct publish_flow *f) {
  f->refused = f->next;
  f->next = PUBLISH_LOOK;
}

void publish_flow_look(struct publish_flow *f, const struct publish_control *now) {
  bool committed = now->version == f->version && is_mine(f, now->published_id);
  bool begun = now->pending == f->version && is_mine(f, now->pending_id);
  if (committed)
    f->next = PUBLISH_DONE; /* the reply was lost */
  else if (!begun || ++f->looks > PUBLISH_LOOKS_MAX)
    f->next = PUBLISH_SUPERSEDED; /* by somebody else, or by a store that refuses what it should take */
  else if (f->refused == PUBLISH_BEGIN)
    go_on(f);
  else
    f->next = f->refused; /* the same again: puts and deletes may be repeated */
}
