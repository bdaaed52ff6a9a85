/* SPDX-License-Identifier: MIT */
#include "server/watch.h"

#include "server/run_log.h"
#include "server/run_metrics.h"

#include <stdlib.h>

struct watch {
  struct db *db;
  struct live_runs *live;
  struct run_log *log;
  watch_news_fn fn;
  void *arg;
  uint64_t seq; /* of the last event that was told; db_committed_fn's own */
};

static void on_moved(void *arg, const struct run_move *move) {
  const struct watch *w = arg;
  run_metrics_moved(move);
  w->fn(w->arg, move->run_id);
}

static void on_backfill_changed(void *arg, const char *backfill_id) {
  const struct watch *w = arg;
  w->fn(w->arg, backfill_id);
}

static void on_commit(struct db_conn *c, void *arg) {
  struct watch *w = arg;
  event_store_news(c, &w->seq, &(struct event_listener){on_moved, on_backfill_changed, w});
}

enum kpi_code watch_start(struct db *db, struct live_runs *live, watch_news_fn fn, void *arg,
                          struct watch **out, struct err *err) {
  *out = NULL;
  struct watch *w = calloc(1, sizeof *w);
  struct event last = {0};
  bool found;
  if (!w)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to watch runs");
  *w = (struct watch){.db = db, .live = live, .fn = fn, .arg = arg};
  enum kpi_code rc = event_store_last(db, (struct view){0}, &last, &found, err);
  if (rc == KPI_OK)
    rc = run_log_start(db, &w->log, err);
  if (rc) {
    free(w);
    return rc;
  }
  w->seq = last.seq;
  db_on_commit(db, on_commit, w);
  *out = w;
  return KPI_OK;
}

void watch_free(struct watch *w) {
  if (!w)
    return;
  run_log_stop(w->log);
  db_on_commit(w->db, NULL, NULL);
  free(w);
}

enum kpi_code watch_events(struct watch *w, struct view run_id, uint64_t after, size_t limit,
                           struct event *events, size_t *count, struct err *err) {
  return event_store_page(w->db, run_id, after, limit, events, count, err);
}

enum kpi_code watch_last_event(struct watch *w, struct view run_id, struct event *out, bool *found,
                               struct err *err) {
  return event_store_last(w->db, run_id, out, found, err);
}

enum kpi_code watch_active(struct watch *w, size_t limit, char (*ids)[UUID_TEXT_SIZE], size_t *count,
                           struct err *err) {
  return event_store_active(w->db, limit, ids, count, err);
}

size_t watch_live(struct watch *w, struct view run_id, struct run runs[LIVE_RUNS_SHOWN_MAX]) {
  return live_runs_show(w->live, run_id, runs);
}

enum kpi_code watch_log(struct watch *w, struct view run_id, const struct run_log_filter *filter,
                        struct run_log_page *out, struct err *err) {
  run_log_flush(w->log);
  return run_log_store_page(w->db, run_id, filter, out, err);
}
