/* SPDX-License-Identifier: MIT */
#include "server/backfill.h"

#include "base/scope.h"

#include <string.h>

enum { WINDOW_DAYS = 64, AT_A_TIME = 16, QUEUE = 256 };

/* One day on its way. */
struct day_task {
  const struct backfill *b;
  day_t day;
  bool claimed;
  struct run run;           /* owned */
  struct job_result result; /* borrows rows and categories of the whole */
  struct publication *publication;
  enum kpi_code rc;
  struct err err;
};

/* Where the walk over the days is. */
struct walk {
  day_t next;
  size_t at[KPI_TABLE_COUNT]; /* first row of each table that is not before `next` */
};

/* The rows of one day within rows sorted by day; borrows them. *at moves behind them. */
static struct kpi_rows rows_of_day(const struct kpi_rows *rows, day_t day, size_t *at) {
  while (*at < rows->count && rows->rows[*at].day < day)
    ++*at;
  size_t first = *at;
  while (*at < rows->count && rows->rows[*at].day == day)
    ++*at;
  return (struct kpi_rows){rows->rows + first, *at - first, 0};
}

/* The first day from w->next on that is to be published; beyond b->to when there is none. */
static day_t find_day(const struct backfill *b, const struct walk *w) {
  if (!b->only_days_of_data)
    return w->next;
  day_t first = DAY_MAX + 1;
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    if (w->at[t] < b->result->tables[t].count && b->result->tables[t].rows[w->at[t]].day < first)
      first = b->result->tables[t].rows[w->at[t]].day;
  return first;
}

static void claim_and_observe(void *arg) {
  struct day_task *t = arg;
  t->rc = t->b->claim(t->b->claim_arg, t->day, &t->run, &t->err);
  t->claimed = t->rc == KPI_OK;
  if (t->claimed)
    t->rc = publisher_begin(t->b->x->publisher, t->run.date, t->b->stop, &t->publication, &t->err);
}

static void publish(void *arg) {
  struct day_task *t = arg;
  if (!t->claimed)
    return;
  struct run_computed computed = {t->b->input, &t->b->scanned, &t->result};
  if (t->rc) {
    publication_free(t->publication);
    run_exec_failed(t->b->x, &t->run, &t->err);
    return;
  }
  t->rc = run_exec_computed(t->b->x, &t->run, &computed, t->publication, &t->err);
}

/* Takes the days of the next window; returns how many. */
static size_t take_window(const struct backfill *b, struct walk *w, struct day_task *tasks) {
  for (size_t count = 0; count < WINDOW_DAYS; count++) {
    struct day_task *t = &tasks[count];
    day_t day = find_day(b, w);
    if (day > b->to)
      return count;
    size_t rows = 0;
    *t = (struct day_task){.b = b, .day = day, .result = {.categories = b->result->categories}};
    for (int i = 0; i < KPI_TABLE_COUNT; i++) {
      t->result.tables[i] = rows_of_day(&b->result->tables[i], day, &w->at[i]);
      rows += t->result.tables[i].count;
    }
    t->result.quality = rows || b->from == b->to ? b->result->quality : b->result->empty_day;
    w->next = day + 1;
  }
  return WINDOW_DAYS;
}

/* True for failures that the next days will share: not for those of a day's own data or readers. */
static bool is_outage(const struct backfill *b, enum kpi_code rc) {
  bool is_of_the_day = err_info(rc)->category == ERR_DATA || rc == KPI_NEWER_RUN_PUBLISHED;
  return rc && (!is_of_the_day || rc == b->x->source->vtable->changed);
}

/* Publishes a window. *hopeless: nothing but outages. */
static enum kpi_code publish_window(const struct backfill *b, struct pool *pool, struct day_task *tasks,
                                    size_t count, bool *hopeless, struct err *err) {
  enum kpi_code rc = KPI_OK;
  *hopeless = count > 0;
  pool_map(pool, claim_and_observe, tasks, sizeof *tasks, count);
  struct err changed;
  /* The inputs must be what was computed, now that what is published was observed. */
  enum kpi_code check = count ? run_exec_check_inputs(b->x, b->input, b->stop, &changed) : KPI_OK;
  for (size_t i = 0; i < count && check; i++)
    if (tasks[i].rc == KPI_OK) {
      tasks[i].rc = check;
      tasks[i].err = changed;
    }
  pool_map(pool, publish, tasks, sizeof *tasks, count);
  for (size_t i = 0; i < count; i++) {
    *hopeless &= is_outage(b, tasks[i].rc);
    if (tasks[i].rc && rc == KPI_OK) {
      rc = tasks[i].rc;
      *err = tasks[i].err;
    }
    run_clear(&tasks[i].run);
  }
  return rc;
}

static enum kpi_code publish_all(const struct backfill *b, struct pool *pool, struct day_task *tasks,
                                 struct err *err) {
  struct walk walk = {.next = b->from};
  enum kpi_code first = KPI_OK;
  size_t count;
  bool hopeless;
  do {
    struct err window_err;
    count = take_window(b, &walk, tasks);
    enum kpi_code rc = publish_window(b, pool, tasks, count, &hopeless, &window_err);
    if (first == KPI_OK && rc) {
      first = rc;
      *err = window_err;
    }
    if (hopeless)
      return first;
    if (stop_reason(b->stop) != STOP_NONE)
      return err_set(err, KPI_INTERRUPTED, "stopped after the days that were being published");
  } while (count == WINDOW_DAYS);
  return first;
}

enum kpi_code backfill_publish(const struct backfill *b, struct err *err) {
  auto_free struct day_task *tasks = calloc(WINDOW_DAYS, sizeof *tasks);
  struct pool *pool = pool_new(AT_A_TIME, QUEUE);
  enum kpi_code rc = tasks && pool ? publish_all(b, pool, tasks, err)
                                   : err_set(err, KPI_OUT_OF_MEMORY, "no memory or threads to publish");
  pool_free(pool);
  return rc;
}
