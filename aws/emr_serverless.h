/* SPDX-License-Identifier: MIT
 * Job runs of Amazon EMR Serverless. Knows nothing of what they compute. Source: Amazon EMR Serverless API
 * Reference, StartJobRun, ListJobRuns, GetJobRun, CancelJobRun. */
#ifndef KPID_AWS_EMR_SERVERLESS_H
#define KPID_AWS_EMR_SERVERLESS_H

#include "aws/aws_call.h"

/* Errors of all calls: those of aws_call, of which KPI_ENGINE_FAILED is a refusal, and
 * KPI_ENGINE_UNAVAILABLE that nothing of use came back; KPI_OUT_OF_MEMORY. */

enum { EMR_ID_SIZE = 65, EMR_STATE_SIZE = 32, EMR_DETAILS_SIZE = 257 };

/* A job run to be started; everything is borrowed. */
struct emr_job {
  const char *application_id, *role_arn;
  const char *token; /* at most 64 of A-Za-z0-9._-; its name, too */
  const char *entry_point, *argument;
  const char *parameters;   /* of spark-submit; empty: none */
  uint32_t timeout_minutes; /* after which AWS ends it */
  const struct stop_flag *stop;
};

/* Starts a job run, once for a token: a second call with the same job gives the id of the first, and one with
 * another job is refused. */
KPI_MUST_CHECK enum kpi_code emr_start_job_run(struct aws *a, const struct emr_job *job, char id[EMR_ID_SIZE],
                                               struct err *err);

/* Which job run is looked for. Borrowed. */
struct emr_job_name {
  const char *application_id, *name;
  const struct stop_flag *stop;
};

/* Finds a job run by its name among those that are not over. `id` is empty when there is none, and after an
 * error. */
KPI_MUST_CHECK enum kpi_code emr_find_job_run(struct aws *a, const struct emr_job_name *wanted,
                                              char id[EMR_ID_SIZE], struct err *err);

/* Which job run is asked for. Borrowed. */
struct emr_job_run {
  const char *application_id, *id;
  const struct stop_flag *stop;
};

struct emr_job_status {
  char state[EMR_STATE_SIZE];     /* "RUNNING", as AWS writes it; empty: there is no such job run */
  char details[EMR_DETAILS_SIZE]; /* cut to fit */
};

/* Looks at a job run. That there is none is no error, unless there is no such application. */
KPI_MUST_CHECK enum kpi_code emr_get_job_run(struct aws *a, const struct emr_job_run *run,
                                             struct emr_job_status *out, struct err *err);

/* Cancels a job run. *error (may be NULL) is what the service said. That there is none is no error, unless
 * there is no such application. */
KPI_MUST_CHECK enum kpi_code emr_cancel_job_run(struct aws *a, const struct emr_job_run *run,
                                                struct aws_error *error, struct err *err);

#endif
