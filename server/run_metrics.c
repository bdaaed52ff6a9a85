/* SPDX-License-Identifier: MIT */
#include "server/run_metrics.h"

#include "base/clock.h"

/* From a tenth of a second to an hour, in ms. */
#define RUN_BOUNDS                                                                                           \
  { 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000 }

static struct metric moves = {.name = "kpid_run_state_changes",
                              .help = "Runs that have come to a state.",
                              .kind = METRIC_COUNTER,
                              .labels = {"state", "trigger"}};

static struct metric durations = {.name = "kpid_run_duration_seconds",
                                  .help = "From the request to the end of a run.",
                                  .kind = METRIC_HISTOGRAM,
                                  .labels = {"state", "trigger"},
                                  .unit = METRIC_MS,
                                  .bounds = RUN_BOUNDS};

static struct metric waits = {.name = "kpid_run_queue_seconds",
                              .help = "From the request to the start of the first attempt.",
                              .kind = METRIC_HISTOGRAM,
                              .labels = {"trigger"},
                              .unit = METRIC_MS,
                              .bounds = RUN_BOUNDS};

static struct metric cancels = {.name = "kpid_run_cancel_seconds",
                                .help = "From the request to cancel to the end of the run.",
                                .kind = METRIC_HISTOGRAM,
                                .unit = METRIC_MS,
                                .bounds = {10, 50, 100, 250, 500, 1000, 2000, 5000, 10000, 30000}};

static struct metric phases = {.name = "kpid_run_phase_seconds",
                               .help = "Phases of runs; a scan that several share is counted once.",
                               .kind = METRIC_HISTOGRAM,
                               .labels = {"phase"},
                               .unit = METRIC_MS,
                               .bounds = RUN_BOUNDS};

static struct metric attempts = {.name = "kpid_run_attempts",
                                 .help = "Attempts that have ended, by state and error code.",
                                 .kind = METRIC_COUNTER,
                                 .labels = {"state", "code"}};

static struct metric scans = {
    .name = "kpid_scans", .help = "Passes over the inputs.", .kind = METRIC_COUNTER};

static struct metric bytes = {.name = "kpid_input_bytes",
                              .help = "Bytes of input that were read, as they are stored.",
                              .kind = METRIC_COUNTER};

static struct metric rows = {.name = "kpid_input_rows",
                             .help = "Rows of input that were read.",
                             .kind = METRIC_COUNTER,
                             .labels = {"table"}};

static struct metric bad_rows = {.name = "kpid_input_bad_rows",
                                 .help = "Rows of input that were left out, by the reports of runs.",
                                 .kind = METRIC_COUNTER};

static struct metric checks = {.name = "kpid_quality_checks",
                               .help = "Quality checks of runs by what they have found.",
                               .kind = METRIC_COUNTER,
                               .labels = {"result"}};

static struct metric items = {.name = "kpid_published_items",
                              .help = "Items of the published tables: written, left as they were, deleted.",
                              .kind = METRIC_COUNTER,
                              .labels = {"table", "change"}};

static struct metric lost_lines = {.name = "kpid_log_lines_dropped",
                                   .help = "Log lines that were not kept with their runs.",
                                   .kind = METRIC_COUNTER};

static const char *const triggers[PRIORITY_COUNT] = {"day", "backfill"};
static const char *const tables[KPI_TABLE_COUNT] = {"orders", "categories"};

const char *run_metrics_trigger(enum run_priority priority) {
  return triggers[priority];
}

void run_metrics_moved(const struct run_move *move) {
  const char *state = run_state_name(move->state), *trigger = triggers[move->priority];
  metric_add(&moves, 1, METRIC_OF(state, trigger));
  if (move->state == RUN_RUNNING && move->attempt == 1)
    metric_observe(&waits, move->at - move->created_at, METRIC_OF(trigger));
  if (run_state_is_terminal(move->state))
    metric_observe(&durations, move->at - move->created_at, METRIC_OF(state, trigger));
  if (move->state == RUN_CANCELLED && move->cancel_requested_at)
    metric_observe(&cancels, move->at - move->cancel_requested_at, METRIC_PLAIN);
}

int64_t run_metrics_phase(struct phase_clock *clock, enum run_phase next) {
  const struct phase_clock before = *clock;
  *clock = (struct phase_clock){next, clock_mono_ms()};
  if (before.phase == PHASE_NONE)
    return 0;
  metric_observe(&phases, clock->since - before.since, METRIC_OF(run_phase_name(before.phase)));
  return clock->since - before.since;
}

static void add_scans(uint64_t n, const struct run_progress *progress) {
  metric_add(&scans, n, METRIC_PLAIN);
  metric_add(&bytes, progress->bytes_read, METRIC_PLAIN);
  metric_add(&rows, progress->rows_orders, METRIC_OF("orders"));
  metric_add(&rows, progress->rows_order_items, METRIC_OF("order_items"));
  metric_add(&rows, progress->rows_products, METRIC_OF("products"));
}

void run_metrics_scanned(const struct run_progress *progress) {
  add_scans(1, progress);
}

void run_metrics_judged(const struct quality *quality) {
  metric_add(&bad_rows, quality->bad_rows, METRIC_PLAIN);
  metric_add(&checks, quality->passed, METRIC_OF("passed"));
  metric_add(&checks, quality->warned, METRIC_OF("warned"));
  metric_add(&checks, quality->failed, METRIC_OF("failed"));
}

void run_metrics_published(enum kpi_table table, const struct publish_counts *counts) {
  metric_add(&items, counts->put, METRIC_OF(tables[table], "put"));
  metric_add(&items, counts->unchanged, METRIC_OF(tables[table], "unchanged"));
  metric_add(&items, counts->deleted, METRIC_OF(tables[table], "deleted"));
}

void run_metrics_attempt(enum run_state state, enum kpi_code code) {
  metric_add(&attempts, 1, METRIC_OF(run_state_name(state), code ? err_name(code) : "none"));
}

void run_metrics_lines_dropped(uint64_t lines) {
  metric_add(&lost_lines, lines, METRIC_PLAIN);
}

void run_metrics_init(void) {
  const struct run_progress nothing_read = {0};
  const struct quality nothing_judged = {0};
  const struct publish_counts nothing_published = {0};
  for (int s = 0; s < RUN_STATE_COUNT; s++)
    for (int p = 0; p < PRIORITY_COUNT; p++)
      metric_add(&moves, 0, METRIC_OF(run_state_name((enum run_state)s), triggers[p]));
  for (int t = 0; t < KPI_TABLE_COUNT; t++)
    run_metrics_published((enum kpi_table)t, &nothing_published);
  run_metrics_judged(&nothing_judged);
  add_scans(0, &nothing_read);
  run_metrics_lines_dropped(0);
}

void run_metrics_write(const struct metrics_out *o) {
  struct metric *const all[] = {&moves, &durations, &waits,    &cancels, &phases, &attempts,  &scans,
                                &bytes, &rows,      &bad_rows, &checks,  &items,  &lost_lines};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    metrics_write(o, all[i]);
}
