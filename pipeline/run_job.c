/* SPDX-License-Identifier: MIT */
#include "pipeline/run_job.h"

#include "base/log.h"

#include <string.h>

enum { SHRINK_PERCENT = 50, PERCENT = 100 };

/* What a run carries from one round to the next. */
struct rounds {
  struct publication *publication; /* owned; NULL: compute only */
  struct source_listing listing;   /* of this round */
  enum engine_kind engine;         /* that reads it */
  bool has_results;                /* of the inputs named by fingerprint */
  char fingerprint[SHA256_HEX_SIZE];
  int superseded, changed; /* how often a round had to be started again, and why */
};

static void enter(const struct run_plan *plan, enum run_phase phase) {
  atomic_store(&plan->job->progress->phase, phase);
  if (plan->listener.phase)
    plan->listener.phase(plan->listener.arg, phase);
}

/* What is published is observed before the inputs are listed: what others publish later is newer than ours.
 */
static enum kpi_code observe_and_list(const struct run_plan *plan, struct rounds *r, struct err *err) {
  const struct source_use use = {.stop = plan->job->stop};
  enum kpi_code rc = KPI_OK;
  enter(plan, PHASE_LISTING);
  if (plan->publisher)
    rc = publisher_begin(plan->publisher, plan->job->days.from, plan->job->stop, &r->publication, err);
  if (rc == KPI_OK)
    rc = source_list(plan->job->source, &use, &r->listing, err);
  if (rc)
    return stop_reason(plan->job->stop) != STOP_NONE ? job_stopped_err(plan->job, err) : rc;
  if (plan->kept && strcmp(r->fingerprint, r->listing.fingerprint) != 0)
    return err_set(err, plan->job->source->vtable->changed,
                   "the inputs have changed since the results were computed: retry from the start");
  atomic_store(&plan->job->progress->bytes_total, r->listing.bytes);
  atomic_store(&plan->job->progress->files_total, r->listing.objects);
  r->engine = engines_choose(plan->engines, plan->engine, r->listing.bytes);
  return plan->listener.listed ? plan->listener.listed(plan->listener.arg, &r->listing, r->engine, err)
                               : KPI_OK;
}

enum kpi_code run_job_gate(enum quality_gate gate, const struct quality *quality, struct err *err) {
  if (gate == GATE_BLOCK && quality->status == QUALITY_FAILED)
    return err_set(err, KPI_QUALITY_BLOCKED, "failed check: %s", quality->failed_title);
  return KPI_OK;
}

/* Computes what was listed. */
static enum kpi_code scan(const struct run_plan *plan, const struct rounds *r, struct day_results *out,
                          struct err *err) {
  struct engine *engine = NULL;
  enter(plan, PHASE_SCANNING);
  enum kpi_code rc = engines_get(plan->engines, r->engine, &engine, err);
  return rc ? rc : engine_compute(engine, plan->job, &r->listing, out, err);
}

static enum kpi_code check_quality(const struct run_plan *plan, const struct job_result *result,
                                   struct err *err) {
  enter(plan, PHASE_CHECKING);
  if (stop_reason(plan->job->stop) != STOP_NONE)
    return job_stopped_err(plan->job, err);
  return run_job_gate(plan->gate, &result->quality, err);
}

/* Results of these very inputs need not be computed again. */
static enum kpi_code compute(const struct run_plan *plan, struct rounds *r, struct job_result *result,
                             struct err *err) {
  if (r->has_results && strcmp(r->fingerprint, r->listing.fingerprint) == 0)
    return KPI_OK;
  struct day_results days = {0};
  job_result_clear(result);
  r->has_results = false;
  enum kpi_code rc = scan(plan, r, &days, err);
  if (rc == KPI_OK)
    rc = day_results_take(&days, result, err);
  day_results_clear(&days);
  if (rc == KPI_OK)
    rc = check_quality(plan, result, err);
  if (rc)
    return rc;
  memcpy(r->fingerprint, r->listing.fingerprint, sizeof r->fingerprint);
  r->has_results = true;
  enter(plan, PHASE_PUBLISHING);
  return plan->listener.computed ? plan->listener.computed(plan->listener.arg, result, err) : KPI_OK;
}

enum kpi_code run_job_guard(const struct publication *p, const struct job_result *result, bool force,
                            struct err *err) {
  const struct kpi_rows *days = &result->tables[KPI_ORDERS];
  uint64_t orders = days->count ? days->rows[0].orders : 0;
  if (force || !p->is_guarded)
    return KPI_OK;
  if (days->count + result->tables[KPI_CATEGORIES].count == 0)
    return err_set(err, KPI_QUALITY_BLOCKED,
                   "the inputs hold no rows of the date: nothing is published unless the request says "
                   "\"force\": true");
  if (p->orders == 0 || orders * PERCENT > p->orders * (PERCENT - SHRINK_PERCENT))
    return KPI_OK;
  return err_set(
      err, KPI_QUALITY_BLOCKED,
      "%llu orders, %llu are published for the date: a loss of half or more is not published unless the "
      "request says \"force\": true",
      (unsigned long long)orders, (unsigned long long)p->orders);
}

static enum kpi_code publish(const struct run_plan *plan, const struct rounds *r,
                             const struct job_result *result,
                             struct publish_counts published[KPI_TABLE_COUNT], struct err *err) {
  const struct publish_order order = {plan->run_id, result, plan->force, plan->job->progress,
                                      plan->job->abandon};
  if (!r->publication)
    return KPI_OK;
  enter(plan, PHASE_PUBLISHING);
  if (stop_reason(plan->job->stop) != STOP_NONE)
    return job_stopped_err(plan->job, err);
  enum kpi_code rc = run_job_guard(r->publication, result, plan->force, err);
  if (rc == KPI_OK)
    rc = publication_publish(r->publication, &order, published, err);
  return rc && stop_reason(plan->job->abandon) != STOP_NONE ? job_stopped_err(plan->job, err) : rc;
}

static enum kpi_code run_round(const struct run_plan *plan, struct rounds *r, struct job_result *result,
                               struct publish_counts published[KPI_TABLE_COUNT], struct err *err) {
  enum kpi_code rc = observe_and_list(plan, r, err);
  if (rc == KPI_OK)
    rc = compute(plan, r, result, err);
  if (rc == KPI_OK)
    rc = publish(plan, r, result, published, err);
  publication_free(r->publication);
  r->publication = NULL;
  source_listing_clear(&r->listing);
  return rc;
}

/* True when the world has moved on under this round, which a new one may catch up with. */
static bool try_again(const struct run_plan *plan, struct rounds *r, enum kpi_code rc) {
  if (rc == KPI_NEWER_RUN_PUBLISHED)
    return r->superseded++ < RUN_RESTARTS_MAX;
  if (rc == KPI_S3_OBJECT_CHANGED && !plan->kept)
    return r->changed++ < RUN_RESTARTS_MAX;
  return false;
}

enum kpi_code run_job(const struct run_plan *plan, struct job_result *result,
                      struct publish_counts published[KPI_TABLE_COUNT], struct err *err) {
  struct rounds r = {.has_results = plan->kept != NULL};
  if (plan->kept)
    view_to_cstr(view_of(plan->kept), r.fingerprint, sizeof r.fingerprint);
  enum kpi_code rc = run_round(plan, &r, result, published, err);
  while (rc && try_again(plan, &r, rc)) {
    log_at(LOG_INFO, "run.restarted", err->message, LOG_S("run_id", plan->run_id));
    rc = run_round(plan, &r, result, published, err);
  }
  if (rc == KPI_OK)
    enter(plan, PHASE_FINALIZING);
  return rc;
}

enum kpi_code run_job_days(const struct run_plan *plan, struct day_results *out, struct err *err) {
  struct rounds r = {0};
  enum kpi_code rc;
  do {
    day_results_clear(out);
    rc = observe_and_list(plan, &r, err);
    if (rc == KPI_OK)
      rc = scan(plan, &r, out, err);
    source_listing_clear(&r.listing);
  } while (rc && try_again(plan, &r, rc));
  return rc;
}
