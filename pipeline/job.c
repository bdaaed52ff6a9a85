/* SPDX-License-Identifier: MIT */
#include "pipeline/job.h"

#include <stdlib.h>
#include <string.h>

static const char *const phase_names[PHASE_COUNT] = {
    [PHASE_LISTING] = "listing",   [PHASE_SCANNING] = "scanning",     [PHASE_AGGREGATING] = "aggregating",
    [PHASE_CHECKING] = "checking", [PHASE_PUBLISHING] = "publishing", [PHASE_FINALIZING] = "finalizing"};
static const char *const engine_names[ENGINE_KIND_COUNT] = {"native", "spark", "auto"};
static const char *const bad_rows_names[BAD_ROWS_COUNT] = {"fail", "skip"};
static const char *const gate_names[GATE_COUNT] = {"off", "warn", "block"};
static const char *const match_names[STATUS_MATCH_COUNT] = {"folded", "exact"};

const char *run_phase_name(enum run_phase p) {
  return phase_names[p];
}

const char *engine_kind_name(enum engine_kind k) {
  return engine_names[k];
}

const char *bad_rows_name(enum bad_rows b) {
  return bad_rows_names[b];
}

const char *quality_gate_name(enum quality_gate g) {
  return gate_names[g];
}

const char *status_match_name(enum status_match m) {
  return match_names[m];
}

bool run_phase_of(struct view name, enum run_phase *out) {
  int i = view_index_of(name, phase_names, PHASE_COUNT);
  *out = i < 0 ? PHASE_NONE : (enum run_phase)i;
  return i >= 0;
}

bool engine_kind_of(struct view name, enum engine_kind *out) {
  int i = view_index_of(name, engine_names, ENGINE_KIND_COUNT);
  *out = i < 0 ? ENGINE_NATIVE : (enum engine_kind)i;
  return i >= 0;
}

bool bad_rows_of(struct view name, enum bad_rows *out) {
  int i = view_index_of(name, bad_rows_names, BAD_ROWS_COUNT);
  *out = i < 0 ? BAD_ROWS_FAIL : (enum bad_rows)i;
  return i >= 0;
}

bool quality_gate_of(struct view name, enum quality_gate *out) {
  int i = view_index_of(name, gate_names, GATE_COUNT);
  *out = i < 0 ? GATE_WARN : (enum quality_gate)i;
  return i >= 0;
}

bool status_match_of(struct view name, enum status_match *out) {
  int i = view_index_of(name, match_names, STATUS_MATCH_COUNT);
  *out = i < 0 ? STATUS_FOLDED : (enum status_match)i;
  return i >= 0;
}

bool bad_rows_limit_parse(struct view text, struct bad_rows_limit *out) {
  *out = (struct bad_rows_limit){0};
  if (!view_ends(text, "%"))
    return view_to_u64(text, &out->count);
  char number[16];
  struct view digits = {text.ptr, text.len - 1};
  if (digits.len == 0 || strspn(text.ptr, "0123456789.") < digits.len ||
      !view_to_cstr(digits, number, sizeof number))
    return false;
  char *end;
  out->is_percent = true;
  out->percent = strtod(number, &end);
  return *end == '\0' && number[0] != '.' && out->percent <= 100.0;
}

bool bad_rows_exceed(const struct bad_rows_limit *limit, uint64_t bad, uint64_t rows) {
  if (!limit->is_percent)
    return bad > limit->count;
  return (double)bad * 100.0 > limit->percent * (double)rows;
}

struct run_progress job_progress_copy(const struct job_progress *p) {
  return (struct run_progress){
      .bytes_read = atomic_load(&p->bytes_read),
      .bytes_total = atomic_load(&p->bytes_total),
      .rows_orders = atomic_load(&p->rows[DATASET_ORDERS]),
      .rows_order_items = atomic_load(&p->rows[DATASET_ORDER_ITEMS]),
      .rows_products = atomic_load(&p->rows[DATASET_PRODUCTS]),
      .files_done = atomic_load(&p->files_done),
      .files_total = atomic_load(&p->files_total),
      .items_published = atomic_load(&p->items_published),
      .items_total = atomic_load(&p->items_total),
  };
}

void job_progress_set(struct job_progress *p, const struct job_progress *from) {
  const struct run_progress now = job_progress_copy(from);
  const uint64_t rows[DATASET_COUNT] = {[DATASET_ORDERS] = now.rows_orders,
                                        [DATASET_ORDER_ITEMS] = now.rows_order_items,
                                        [DATASET_PRODUCTS] = now.rows_products};
  atomic_store(&p->bytes_read, now.bytes_read);
  atomic_store(&p->bytes_total, now.bytes_total);
  for (int d = 0; d < DATASET_COUNT; d++)
    atomic_store(&p->rows[d], rows[d]);
  atomic_store(&p->files_done, now.files_done);
  atomic_store(&p->files_total, now.files_total);
  atomic_store(&p->items_published, now.items_published);
  atomic_store(&p->items_total, now.items_total);
  atomic_store(&p->phase, atomic_load(&from->phase));
}

enum kpi_code job_stopped_err(const struct job *job, struct err *err) {
  switch (stop_reason(job->stop)) {
  case STOP_DRAIN:
    return err_set(err, KPI_INTERRUPTED, "the service is shutting down");
  case STOP_STALLED:
    return err_set(err, KPI_STALLED, "the attempt made no progress");
  case STOP_TIMEOUT:
    return err_set(err, KPI_TIMEOUT, "the attempt took longer than allowed");
  case STOP_NONE:
  case STOP_CANCEL:
    break;
  }
  return err_set(err, KPI_CANCELLED, "the run was cancelled");
}

enum kpi_code job_memory_err(const struct job *job, struct err *err) {
  if (job->budget && atomic_load(&job->budget->exceeded))
    return err_set(err, KPI_OUT_OF_MEMORY,
                   "the run needs more than the %zu bytes that KPI_MEMORY_LIMIT allows", job->budget->limit);
  return err_set(err, KPI_OUT_OF_MEMORY, "the system has no memory left");
}
