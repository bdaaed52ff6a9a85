/* SPDX-License-Identifier: MIT */
#include "server/run_group.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "pipeline/run_job.h" /* RUN_RESTARTS_MAX */
#include "server/publish_days.h"
#include "server/run_hand_off.h"

enum { LOOK_MS = 100, ENDINGS = 64 /* at a time */ };

/* A part of the members that is computed in one pass: all, unless that takes more memory than there is. */
struct batch {
  struct run_group *g;
  struct run_member *members;
  size_t count;
  const struct day_scan *scan; /* that is published */
};

/* ---- members ---- */

bool run_group_init(struct run_group *g, const struct run_exec *x, struct live_runs *live,
                    struct run_list *runs) {
  *g = (struct run_group){.x = x, .live = live, .count = runs->count, .scan = {.is_scan = true}};
  g->members = calloc(runs->count, sizeof *g->members);
  if (!g->members)
    return false;
  pthread_mutex_init(&g->synced.lock, NULL);
  pthread_cond_init(&g->synced.changed, NULL);
  live_runs_enter(live, &g->scan);
  for (size_t i = 0; i < g->count; i++) {
    struct run_member *m = &g->members[i];
    m->run = runs->runs[i];
    m->live = run_live_of(&m->run);
    live_runs_enter(live, &m->live);
    live_runs_scan(live, &m->live, &g->scan);
  }
  free(runs->runs);
  *runs = (struct run_list){0};
  return true;
}

void run_group_clear(struct run_group *g) {
  live_runs_leave(g->live, &g->scan);
  for (size_t i = 0; i < g->count; i++)
    run_clear(&g->members[i].run);
  free(g->members);
  pthread_cond_destroy(&g->synced.changed);
  pthread_mutex_destroy(&g->synced.lock);
}

static bool waits(struct run_group *g, const struct run_member *m) {
  SCOPE_LOCK(&g->synced.lock);
  return m->state == MEMBER_WAITS;
}

/* Moves a member that waits to work. False when it does not wait. */
static bool start(struct run_group *g, struct run_member *m) {
  SCOPE_LOCK(&g->synced.lock);
  bool is_mine = m->state == MEMBER_WAITS;
  if (is_mine)
    m->state = MEMBER_WORKS;
  return is_mine;
}

static void leave(struct run_group *g, struct run_member *m) {
  live_runs_leave(g->live, &m->live);
  if (g->over)
    g->over(g->over_arg, &m->run);
  SCOPE_LOCK(&g->synced.lock);
  m->state = MEMBER_OVER;
}

/* A member that is to end. */
struct ending {
  struct run_group *g;
  struct run_member *m;
  struct err err; /* why */
};

/* Ends a member that waits, unless somebody else has. */
static void end(void *arg) {
  struct ending *e = arg;
  if (!start(e->g, e->m))
    return;
  live_runs_scan(e->g->live, &e->m->live, NULL);
  run_exec_failed(e->g->x, &e->m->run, &e->m->live, NULL, &e->err);
  leave(e->g, e->m);
}

/* Members that end side by side: they share the commits of the database. */
struct endings {
  struct ending at[ENDINGS];
  size_t count;
  struct pool *pool; /* made when it is needed; NULL without memory for it: one after the other */
};

static void end_now(struct endings *list) {
  if (!list->pool && list->count > 1)
    list->pool = pool_new(ENDINGS, ENDINGS);
  if (list->pool)
    pool_map(list->pool, NULL, end, list->at, sizeof *list->at, list->count);
  for (size_t i = 0; !list->pool && i < list->count; i++)
    end(&list->at[i]);
  list->count = 0;
}

static void end_soon(struct endings *list, struct run_group *g, struct run_member *m, const struct err *why) {
  if (list->count == ENDINGS)
    end_now(list);
  list->at[list->count++] = (struct ending){g, m, *why};
}

static void end_the_rest(struct endings *list) {
  end_now(list);
  pool_free(list->pool);
}

/* Those that were stopped end for that reason. */
static void end_all(struct batch *b, const struct err *why) {
  struct endings list = {.count = 0};
  for (size_t i = 0; i < b->count; i++)
    if (waits(b->g, &b->members[i]) && stop_reason(&b->members[i].live.stop) == STOP_NONE)
      end_soon(&list, b->g, &b->members[i], why);
  end_the_rest(&list);
}

/* ---- computing ---- */

/* Lists the runs that wait. Returns owned, NULL without memory: then there are none. */
static const char **ids_that_wait(struct batch *b, size_t *count) {
  const char **ids = calloc(b->count, sizeof *ids);
  *count = 0;
  for (size_t i = 0; ids && i < b->count; i++)
    if (waits(b->g, &b->members[i]))
      ids[(*count)++] = b->members[i].run.id;
  return ids;
}

/* Tells the runs that wait what is done for all of them. What is shown only is no reason to stop. */
static void tell_all(struct batch *b, enum run_phase phase, const struct run_input *input) {
  struct run_group *g = b->g;
  struct err err;
  size_t count;
  auto_free const char **ids = ids_that_wait(b, &count);
  const struct run_progress now = job_progress_copy(&g->scan.progress);
  enum kpi_code rc = input ? run_store_input(g->x->db, ids, count, input, &err)
                           : run_store_progress(g->x->db, ids, count, phase, &now, &err);
  if (rc)
    log_at(LOG_WARN, "run.phase_not_stored", err.message, LOG_I("runs", count));
  for (size_t i = 0; i < count && g->x->changed; i++)
    g->x->changed(g->x->changed_arg, ids[i]);
}

static void on_phase(void *arg, enum run_phase phase) {
  if (phase != PHASE_LISTING) /* as claimed */
    tell_all(arg, phase, NULL);
}

static void on_listed(void *arg, const struct run_input *input) {
  tell_all(arg, PHASE_LISTING, input);
}

/* Lists the days of the members that wait. *count 0: there are none. False when memory is exhausted. */
static bool days_of(struct batch *b, struct day_set *out, size_t *count) {
  auto_free day_t *days = calloc(b->count, sizeof *days);
  *count = 0;
  for (size_t i = 0; days && i < b->count; i++) {
    struct run_member *m = &b->members[i];
    if (!waits(b->g, m))
      continue;
    live_runs_scan(b->g->live, &m->live, &b->g->scan);
    days[(*count)++] = m->run.date;
  }
  return days && (*count == 0 || day_set_of(days, *count, out));
}

/* Computes the days in one pass. */
static enum kpi_code compute(struct batch *b, const struct day_set *days, struct day_scan *out,
                             struct err *err) {
  struct run_group *g = b->g;
  struct run_hand_off hand_off;
  size_t count;
  auto_free const char **ids = ids_that_wait(b, &count);
  const struct run *any = &b->members[0].run;
  const struct job_progress nothing = {0};
  const struct day_scan_plan plan = {.x = g->x,
                                     .ask = {*days, any->bad_rows, any->max_bad_rows, any->engine_asked},
                                     .live = &g->scan,
                                     .hand_off = &hand_off.base,
                                     .phase = on_phase,
                                     .listed = on_listed,
                                     .arg = b};
  if (!ids)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %zu runs", b->count);
  run_hand_off_init(&hand_off, g->x->db, g->x->reaper,
                    any->engine_job_owner ? any->engine_job_owner : any->id, any->engine_job_owner, ids,
                    count);
  run_hand_off_outlive(&hand_off, g->x->intents, &g->scan.stop);
  for (size_t i = 0; i < b->count; i++)
    if (b->members[i].live.timeout_ms > g->scan.timeout_ms)
      g->scan.timeout_ms = b->members[i].live.timeout_ms;
  job_progress_set(&g->scan.progress, &nothing);
  enum kpi_code rc = day_scan_compute(&plan, out, err);
  atomic_store(&g->scan.progress.phase, PHASE_PUBLISHING);
  log_at(rc ? LOG_WARN : LOG_INFO, "scan.finished", rc ? err->message : "days computed together",
         LOG_I("runs", b->count), LOG_I("days", out->results.count),
         LOG_I("bytes", g->scan.progress.bytes_read), LOG_I("memory_peak_bytes", out->memory_peak_bytes),
         LOG_S("code", rc ? err_name(rc) : NULL));
  return rc;
}

/* ---- publishing ---- */

static enum kpi_code take_member(void *arg, size_t at, struct day_run *out, struct err *err) {
  struct batch *b = arg;
  struct run_member *m = &b->members[at];
  (void)err;
  bool is_computed = day_results_find(&b->scan->results, m->run.date) != NULL;
  if (is_computed && waits(b->g, m) && stop_reason(&m->live.stop) == STOP_NONE)
    *out = (struct day_run){&m->run, &m->live};
  return KPI_OK;
}

static bool begin_member(void *arg, size_t at) {
  struct batch *b = arg;
  struct run_member *m = &b->members[at];
  if (stop_reason(&m->live.stop) != STOP_NONE || !start(b->g, m))
    return false;
  live_runs_scan(b->g->live, &m->live, NULL);
  return true;
}

static void member_is_over(void *arg, size_t at) {
  struct batch *b = arg;
  leave(b->g, &b->members[at]);
}

static enum kpi_code publish(struct batch *b, const struct day_scan *scan, struct err *err) {
  struct publish_days p = {.x = b->g->x,
                           .scan = scan,
                           .stop = &b->g->scan.stop,
                           .leaves_changed = true,
                           .count = b->count,
                           .take = take_member,
                           .begin = begin_member,
                           .over = member_is_over,
                           .arg = b};
  b->scan = scan;
  return publish_days(&p, err);
}

/* One pass for the members that wait, and what follows from it. */
static enum kpi_code run_round(struct batch *b, struct err *err) {
  struct day_set days = {0};
  struct day_scan scan = {0};
  size_t count = 0;
  if (!days_of(b, &days, &count))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the days of %zu runs", b->count);
  if (count == 0)
    return KPI_OK;
  enum kpi_code rc = compute(b, &days, &scan, err);
  if (rc == KPI_OK)
    rc = publish(b, &scan, err);
  day_scan_clear(&scan);
  day_set_clear(&days);
  return rc;
}

/* Executes the members. When they are too many for the memory, one half after the other. */
static enum kpi_code run_batch(struct run_group *g, struct run_member *members, size_t count,
                               struct err *err) {
  struct batch b = {.g = g, .members = members, .count = count};
  const enum kpi_code changed = g->x->source->vtable->changed;
  enum kpi_code rc = KPI_OK;
  if (g->given) {
    atomic_store(&g->scan.progress.phase, PHASE_PUBLISHING);
    rc = publish(&b, g->given, err);
    g->given = NULL;
  }
  if (rc == KPI_OK || rc == changed)
    rc = run_round(&b, err);
  for (int again = 0; rc == changed && again < RUN_RESTARTS_MAX; again++)
    rc = run_round(&b, err);
  if (rc == KPI_OUT_OF_MEMORY && count > 1) {
    log_at(LOG_WARN, "scan.halved", err->message, LOG_I("runs", count));
    rc = run_batch(g, members, count / 2, err);
    enum kpi_code other = run_batch(g, members + count / 2, count - count / 2, err);
    rc = rc ? rc : other;
  } else if (rc) {
    end_all(&b, err); /* those that no round has brought to an end */
  }
  return rc;
}

/* ---- watching ---- */

static void *work(void *arg) {
  struct run_group *g = arg;
  g->rc = run_batch(g, g->members, g->count, &g->err);
  SCOPE_LOCK(&g->synced.lock);
  g->synced.done = true;
  pthread_cond_signal(&g->synced.changed);
  return NULL;
}

/* True when the work is done. */
static bool wait_a_little(struct run_group *g) {
  struct timespec until = clock_timespec(clock_mono_ms() + LOOK_MS);
  SCOPE_LOCK(&g->synced.lock);
  while (!g->synced.done)
    if (pthread_cond_clockwait(&g->synced.changed, &g->synced.lock, CLOCK_MONOTONIC, &until) != 0)
      break;
  return g->synced.done;
}

/* Stops a scan that nobody waits for any more. */
static void stop_idle_scan(struct run_group *g) {
  enum stop_reason last = STOP_NONE;
  for (size_t i = 0; i < g->count; i++) {
    const struct run_member *m = &g->members[i];
    enum stop_reason reason = stop_reason(&m->live.stop);
    if (!waits(g, m))
      continue;
    if (reason == STOP_NONE)
      return;
    last = reason;
  }
  if (last != STOP_NONE)
    stop_raise(&g->scan.stop, last);
}

/* Ends the members that were stopped while they wait; the scan first, so that it takes no time from them. */
static void end_those_stopped(struct run_group *g) {
  struct endings list = {.count = 0};
  stop_idle_scan(g);
  for (size_t i = 0; i < g->count; i++) {
    struct run_member *m = &g->members[i];
    const struct job job = {.stop = &m->live.stop};
    struct err err = {0};
    if (stop_reason(job.stop) == STOP_NONE || !waits(g, m))
      continue;
    job_stopped_err(&job, &err);
    end_soon(&list, g, m, &err);
  }
  end_the_rest(&list);
}

enum kpi_code run_group_exec(struct run_group *g, struct err *err) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, work, g) != 0) {
    work(g);
  } else {
    while (!wait_a_little(g))
      end_those_stopped(g);
    pthread_join(thread, NULL);
  }
  end_those_stopped(g); /* which publishing has left to us */
  *err = g->err;
  return g->rc;
}
