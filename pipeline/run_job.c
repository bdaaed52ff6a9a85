/* SPDX-License-Identifier: MIT */
#include "pipeline/run_job.h"

enum kpi_code publisher_publish(struct publisher *p, const char *run_id, const struct job *job,
                                const struct job_result *result, struct publish_counts out[KPI_TABLE_COUNT],
                                struct err *err) {
  return p->vtable->publish(p, run_id, job, result, out, err);
}

void publisher_free(struct publisher *p) {
  if (p)
    p->vtable->free(p);
}

static void enter(const struct run_plan *plan, enum run_phase phase) {
  atomic_store(&plan->job->progress->phase, phase);
  if (plan->listener.phase)
    plan->listener.phase(plan->listener.arg, phase);
}

static enum kpi_code list(const struct run_plan *plan, struct source_listing *listing, struct err *err) {
  enter(plan, PHASE_LISTING);
  enum kpi_code rc = source_list(plan->job->source, listing, err);
  if (rc)
    return rc;
  atomic_store(&plan->job->progress->bytes_total, listing->bytes);
  atomic_store(&plan->job->progress->files_total, listing->objects);
  return plan->listener.listed ? plan->listener.listed(plan->listener.arg, listing, err) : KPI_OK;
}

static enum kpi_code check(const struct run_plan *plan, const struct job_result *result, struct err *err) {
  enter(plan, PHASE_CHECKING);
  if (stop_reason(plan->job->stop) != STOP_NONE)
    return job_stopped_err(plan->job, err);
  if (plan->gate == GATE_BLOCK && result->quality.status == QUALITY_FAILED)
    return err_set(err, KPI_QUALITY_BLOCKED, "failed check: %s", result->quality.failed_title);
  return KPI_OK;
}

static enum kpi_code publish(const struct run_plan *plan, const struct job_result *result,
                             struct publish_counts published[KPI_TABLE_COUNT], struct err *err) {
  enter(plan, PHASE_PUBLISHING);
  if (plan->listener.computed) {
    enum kpi_code rc = plan->listener.computed(plan->listener.arg, result, err);
    if (rc)
      return rc;
  }
  if (!plan->publisher)
    return KPI_OK;
  return publisher_publish(plan->publisher, plan->run_id, plan->job, result, published, err);
}

enum kpi_code run_job(const struct run_plan *plan, struct job_result *result,
                      struct publish_counts published[KPI_TABLE_COUNT], struct err *err) {
  struct source_listing listing;
  enum kpi_code rc = list(plan, &listing, err);
  if (rc == KPI_OK) {
    enter(plan, PHASE_SCANNING);
    rc = engine_compute(plan->engine, plan->job, &listing, result, err);
  }
  source_listing_clear(&listing);
  if (rc == KPI_OK)
    rc = check(plan, result, err);
  if (rc == KPI_OK)
    rc = publish(plan, result, published, err);
  if (rc == KPI_OK)
    enter(plan, PHASE_FINALIZING);
  return rc;
}
