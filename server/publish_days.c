/* SPDX-License-Identifier: MIT */
#include "server/publish_days.h"

#include "base/scope.h"

#include <string.h>

enum { WINDOW_RUNS = 64, AT_A_TIME = 16, QUEUE = 256 };

/* One run on its way. */
struct task {
  const struct publish_days *p;
  size_t at;
  struct day_run day; /* run: NULL: left out, or not to be had */
  struct publication *publication;
  bool is_left; /* it was not ended: the inputs have changed */
  enum kpi_code rc;
  struct err err;
};

static void take_and_observe(void *arg) {
  struct task *t = arg;
  const struct publish_days *p = t->p;
  t->rc = p->take(p->arg, t->at, &t->day, &t->err);
  if (t->rc == KPI_OK && t->day.run && t->day.run->publish)
    t->rc = publisher_begin(p->x->publisher, t->day.run->date, p->stop, &t->publication, &t->err);
}

/* Ends the run by what has come of it so far, or by publishing. */
static void finish(void *arg) {
  struct task *t = arg;
  const struct publish_days *p = t->p;
  if (!t->day.run)
    return;
  t->is_left = t->rc && t->rc == p->x->source->vtable->changed && p->leaves_changed;
  if (t->is_left || (p->begin && !p->begin(p->arg, t->at))) {
    publication_free(t->publication);
    return;
  }
  const struct day_result *result = day_results_find(&p->scan->results, t->day.run->date);
  if (t->rc == KPI_OK && result->err) {
    t->err = *result->err;
    t->rc = t->err.code;
  }
  struct run_computed computed = {&p->scan->input, &result->result};
  if (t->rc == KPI_OK) {
    t->rc = run_exec_computed(p->x, t->day.run, t->day.live, &computed, t->publication, &t->err);
  } else {
    publication_free(t->publication);
    run_exec_failed(p->x, t->day.run, t->day.live, &result->result, &t->err);
  }
  p->over(p->arg, t->at);
}

/* True for failures that the next runs will share: not for those of a day's own data or readers. */
static bool is_outage(const struct publish_days *p, enum kpi_code rc) {
  bool is_of_the_day = err_info(rc)->category == ERR_DATA || rc == KPI_NEWER_RUN_PUBLISHED;
  return rc && (!is_of_the_day || rc == p->x->source->vtable->changed);
}

/* The inputs must be what was computed, now that what is published was observed. */
static void check_inputs(const struct publish_days *p, struct task *tasks, size_t count) {
  struct err changed;
  bool is_observed = false;
  for (size_t i = 0; i < count; i++)
    is_observed |= tasks[i].publication != NULL;
  enum kpi_code rc = is_observed ? run_exec_check_inputs(p->x, &p->scan->input, p->stop, &changed) : KPI_OK;
  for (size_t i = 0; i < count && rc; i++)
    if (tasks[i].rc == KPI_OK && tasks[i].publication) {
      tasks[i].rc = rc;
      tasks[i].err = changed;
    }
}

/* What has come of runs. */
struct outcome {
  bool is_hopeless; /* nothing but outages */
  bool is_shared;   /* rc is also what keeps those back that were not ended */
  enum kpi_code rc; /* such a reason, or else the first failure */
  struct err err;
};

static void publish_window(const struct publish_days *p, struct pool *pool, struct task *tasks, size_t count,
                           struct outcome *out) {
  const struct task *first = NULL, *left = NULL;
  out->is_hopeless = count > 0;
  pool_map(pool, NULL, take_and_observe, tasks, sizeof *tasks, count);
  check_inputs(p, tasks, count);
  pool_map(pool, NULL, finish, tasks, sizeof *tasks, count);
  for (size_t i = 0; i < count; i++) {
    out->is_hopeless &= is_outage(p, tasks[i].rc);
    first = first || !tasks[i].rc ? first : &tasks[i];
    left = left || !tasks[i].is_left ? left : &tasks[i];
  }
  const struct task *why = left ? left : first;
  out->is_shared = left || out->is_hopeless;
  out->rc = why ? why->rc : KPI_OK;
  if (why)
    out->err = why->err;
}

static enum kpi_code publish_all(const struct publish_days *p, struct pool *pool, struct task *tasks,
                                 struct err *err) {
  enum kpi_code told = KPI_OK;
  struct outcome window = {.is_hopeless = false};
  for (size_t at = 0; at < p->count && !window.is_hopeless; at += WINDOW_RUNS) {
    size_t count = p->count - at < WINDOW_RUNS ? p->count - at : WINDOW_RUNS;
    for (size_t i = 0; i < count; i++)
      tasks[i] = (struct task){.p = p, .at = at + i};
    publish_window(p, pool, tasks, count, &window);
    if (window.rc && (told == KPI_OK || window.is_shared)) {
      told = window.rc;
      *err = window.err;
    }
    if (!window.is_hopeless && stop_reason(p->stop) != STOP_NONE)
      return err_set(err, KPI_INTERRUPTED, "stopped after the days that were being published");
  }
  return told;
}

enum kpi_code publish_days(const struct publish_days *p, struct err *err) {
  auto_free struct task *tasks = calloc(WINDOW_RUNS, sizeof *tasks);
  struct pool *pool = pool_new(AT_A_TIME, QUEUE);
  enum kpi_code rc = tasks && pool ? publish_all(p, pool, tasks, err)
                                   : err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads to publish");
  pool_free(pool);
  return rc;
}
