/* SPDX-License-Identifier: MIT */
#include "server/run_log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "server/run_metrics.h"

#include <stdio.h>
#include <string.h>

enum { GATHER_MS = 200 /* lines of so long share a commit */ };

struct run_log {
  struct db *db;
  pthread_t thread;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the thread: there is something to do */
    pthread_cond_t settled; /* who flushes */
    struct run_log_entry *first, **last;
    size_t lines, bytes;         /* waiting */
    uint64_t taken, done;        /* lines so far: handed over, and stored or dropped after that */
    uint64_t dropped, told;      /* lines so far; as the log was told */
    bool is_urgent, is_stopping; /* somebody waits for the lines; no more come */
  } synced;
};

/* ---- handing over ---- */

/* Returns owned: the line, or what stands for one that is too long; NULL without memory. */
static struct run_log_entry *entry_of(const struct log_line *line) {
  char stub[160], now[CLOCK_RFC3339_SIZE];
  struct view json = line->json;
  if (json.len > RUN_LOG_LINE_BYTES_MAX) {
    snprintf(stub, sizeof stub,
             "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"log.too_long\",\"msg\":\"a line of %zu bytes\"}",
             clock_rfc3339(clock_wall_ms(), now), log_level_name(line->level), json.len);
    json = view_of(stub);
  }
  struct run_log_entry *e = malloc(sizeof *e + json.len);
  if (!e)
    return NULL;
  *e = (struct run_log_entry){.level = line->level, .attempt = line->attempt, .size = json.len};
  view_to_cstr(view_of(line->run_id), e->run_id, sizeof e->run_id);
  memcpy(e->json, json.ptr, json.len);
  return e;
}

static void take_line(void *arg, const struct log_line *line) {
  struct run_log *l = arg;
  struct run_log_entry *e = entry_of(line);
  SCOPE_LOCK(&l->synced.lock);
  if (!e || l->synced.lines == RUN_LOG_PENDING_LINES_MAX ||
      l->synced.bytes + e->size > RUN_LOG_PENDING_BYTES_MAX) {
    l->synced.dropped++;
    free(e);
    return;
  }
  *l->synced.last = e;
  l->synced.last = &e->next;
  l->synced.lines++;
  l->synced.bytes += e->size;
  l->synced.taken++;
  if (l->synced.lines == 1)
    pthread_cond_signal(&l->synced.wake);
}

/* ---- the thread ---- */

/* Waits for lines, and a little longer for more. Returns owned; NULL when it is to end. */
static struct run_log_entry *gather(struct run_log *l, size_t *count) {
  SCOPE_LOCK(&l->synced.lock);
  while (!l->synced.first && !l->synced.is_stopping)
    pthread_cond_wait(&l->synced.wake, &l->synced.lock);
  struct timespec until = clock_timespec(clock_mono_ms() + GATHER_MS);
  while (!l->synced.is_urgent && !l->synced.is_stopping &&
         pthread_cond_clockwait(&l->synced.wake, &l->synced.lock, CLOCK_MONOTONIC, &until) == 0) {
  }
  struct run_log_entry *first = l->synced.first;
  *count = l->synced.lines;
  l->synced.first = NULL;
  l->synced.last = &l->synced.first;
  l->synced.lines = l->synced.bytes = 0;
  l->synced.is_urgent = false;
  return first;
}

/* Returns how many lines were dropped since it was last asked. */
static uint64_t settle(struct run_log *l, size_t count, bool stored) {
  SCOPE_LOCK(&l->synced.lock);
  l->synced.done += count;
  l->synced.dropped += stored ? 0 : count;
  uint64_t news = l->synced.dropped - l->synced.told;
  l->synced.told = l->synced.dropped;
  pthread_cond_broadcast(&l->synced.settled);
  return news;
}

static void free_entries(struct run_log_entry *e) {
  while (e) {
    struct run_log_entry *next = e->next;
    free(e);
    e = next;
  }
}

static void *keep_lines(void *arg) {
  struct run_log *l = arg;
  struct run_log_entry *first;
  size_t count;
  while ((first = gather(l, &count)) != NULL) {
    struct err err = {0};
    /* On a full disk the room that is left is for the ends of runs. */
    bool stored = !db_refuses_writes(l->db) && run_log_store_add(l->db, first, &err) == KPI_OK;
    free_entries(first);
    uint64_t dropped = settle(l, count, stored);
    run_metrics_lines_dropped(dropped);
    if (dropped)
      log_at(LOG_WARN, "run_log.dropped", "log lines of runs were not kept", LOG_I("lines", dropped),
             LOG_S("error", err.message[0] ? err.message : NULL));
  }
  return NULL;
}

/* ---- life ---- */

enum kpi_code run_log_start(struct db *db, struct run_log **out, struct err *err) {
  *out = NULL;
  struct run_log *l = calloc(1, sizeof *l);
  if (!l)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the logs of runs");
  l->db = db;
  l->synced.last = &l->synced.first;
  pthread_mutex_init(&l->synced.lock, NULL);
  pthread_cond_init(&l->synced.wake, NULL);
  pthread_cond_init(&l->synced.settled, NULL);
  if (pthread_create(&l->thread, NULL, keep_lines, l) != 0) {
    free(l);
    return err_set(err, KPI_INTERNAL, "the thread for the logs of runs cannot be started");
  }
  log_set_sink(take_line, l);
  *out = l;
  return KPI_OK;
}

void run_log_flush(struct run_log *l) {
  SCOPE_LOCK(&l->synced.lock);
  uint64_t until = l->synced.taken;
  if (l->synced.done < until) {
    l->synced.is_urgent = l->synced.first != NULL;
    pthread_cond_signal(&l->synced.wake);
  }
  while (l->synced.done < until)
    pthread_cond_wait(&l->synced.settled, &l->synced.lock);
}

uint64_t run_log_dropped(struct run_log *l) {
  SCOPE_LOCK(&l->synced.lock);
  return l->synced.dropped;
}

void run_log_stop(struct run_log *l) {
  if (!l)
    return;
  log_set_sink(NULL, NULL);
  pthread_mutex_lock(&l->synced.lock);
  l->synced.is_stopping = true;
  pthread_cond_signal(&l->synced.wake);
  pthread_mutex_unlock(&l->synced.lock);
  pthread_join(l->thread, NULL);
  pthread_cond_destroy(&l->synced.settled);
  pthread_cond_destroy(&l->synced.wake);
  pthread_mutex_destroy(&l->synced.lock);
  free(l);
}
