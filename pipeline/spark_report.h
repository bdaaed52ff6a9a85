/* SPDX-License-Identifier: MIT
 * Reads what a Spark job tells of itself: progress.json and error.json. The format: pipeline/spark/README.md.
 */
#ifndef KPID_PIPELINE_SPARK_REPORT_H
#define KPID_PIPELINE_SPARK_REPORT_H

#include "base/err.h"
#include "pipeline/job.h"

/* Reads progress into the counters and the phase that it tells. *waits: the job has no executors yet, or none
 * any more. False when it cannot be read: nothing is changed then. */
bool spark_progress_read(struct view text, struct job_progress *out, bool *waits);

/* Reads the error that a job has ended with. False when it is none, says that it is of another spec, or has a
 * code that no run ends with. */
bool spark_error_parse(struct view text, const char *spec_sha256, struct err *out);

#endif
