/* SPDX-License-Identifier: MIT */
#include "server/day_scan.h"

#include "pipeline/run_job.h"
#include "server/run_metrics.h"

void day_scan_clear(struct day_scan *s) {
  day_results_clear(&s->results);
  buf_clear(&s->listing);
  *s = (struct day_scan){0};
}

/* A pass, as the listener of its job sees it. */
struct pass {
  const struct day_scan_plan *plan;
  struct day_scan *scan;
  struct phase_clock clock;
};

static void on_phase(void *arg, enum run_phase phase) {
  struct pass *p = arg;
  run_metrics_phase(&p->clock, phase);
  if (p->plan->phase)
    p->plan->phase(p->plan->arg, phase);
}

static enum kpi_code on_listed(void *arg, const struct source_listing *l, enum engine_kind engine,
                               struct err *err) {
  const struct pass *p = arg;
  (void)err;
  buf_clear(&p->scan->listing);
  run_input_of(l, engine, &p->scan->listing, &p->scan->input);
  if (p->plan->listed)
    p->plan->listed(p->plan->arg, &p->scan->input);
  return KPI_OK;
}

static enum kpi_code scan(struct pass *p, const struct run_plan *plan, struct err *err) {
  enum kpi_code rc = run_job_days(plan, &p->scan->results, err);
  const struct run_progress read = job_progress_copy(&p->plan->live->progress);
  run_metrics_phase(&p->clock, PHASE_NONE);
  run_metrics_scanned(&read);
  return rc;
}

enum kpi_code day_scan_compute(const struct day_scan_plan *plan, struct day_scan *out, struct err *err) {
  const struct run_exec *x = plan->x;
  struct budget budget;
  struct job job;
  struct kpi_rows history = {0};
  struct pass pass = {.plan = plan, .scan = out};
  day_scan_clear(out);
  enum kpi_code rc = run_exec_job(x, &plan->ask, &budget, plan->live, &job, err);
  const struct run_plan run = {.engines = &x->engines,
                               .engine = plan->ask.engine,
                               .job = &job,
                               .listener = {.arg = &pass, .phase = on_phase, .listed = on_listed}};
  job.hand_off = plan->hand_off;
  job.without_reports = plan->without_reports;
  if (rc == KPI_OK && x->db) {
    rc = run_exec_history(x, &job.days, &history, err);
    job.history = &history;
  }
  if (rc == KPI_OK)
    rc = scan(&pass, &run, err);
  kpi_rows_clear(&history);
  out->memory_peak_bytes = atomic_load(&budget.peak);
  return rc;
}
