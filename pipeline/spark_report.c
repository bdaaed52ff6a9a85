/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_report.h"

#include "base/scope.h"
#include "pipeline/spark_tally.h"

/* A task that ran twice counts twice: no more than there is. */
static void take_count(const json_t *json, const char *name, uint64_t most, _Atomic uint64_t *out) {
  uint64_t count;
  if (spark_get_count(json, name, &count))
    atomic_store(out, count < most ? count : most);
}

bool spark_progress_read(struct view text, struct job_progress *out, bool *waits) {
  auto_json json_t *json = json_loadb(text.ptr, text.len, 0, NULL);
  struct view phase;
  for (int d = 0; json && d < DATASET_COUNT; d++)
    take_count(json_object_get(json, "rows"), schema_of((enum dataset)d)->name, UINT64_MAX, &out->rows[d]);
  take_count(json, "bytes_read", atomic_load(&out->bytes_total), &out->bytes_read);
  take_count(json, "files_done", atomic_load(&out->files_total), &out->files_done);
  if (spark_get_text(json, "phase", &phase) && view_is(phase, run_phase_name(PHASE_AGGREGATING)))
    atomic_store(&out->phase, PHASE_AGGREGATING);
  if (json)
    *waits = json_is_true(json_object_get(json, "waiting"));
  return json;
}

bool spark_error_parse(struct view text, const char *spec_sha256, struct err *out) {
  auto_json json_t *json = json_loadb(text.ptr, text.len, 0, NULL);
  struct view spec;
  if (spark_get_text(json, "spec_sha256", &spec) && !view_is(spec, spec_sha256))
    return false;
  return json && spark_error_read(json, out);
}
