/* SPDX-License-Identifier: MIT
 * Spark jobs on Amazon EMR Serverless. */
#include "aws/emr_serverless.h"
#include "base/scope.h"
#include "pipeline/spark_cluster.h"

#include <stdio.h>
#include <string.h>

enum {
  PARAMETERS_BYTES_MAX = 102400,
  MINUTES_MIN = 5,
  MINUTES_MAX = 7 * 24 * 60 /* the most that AWS allows a batch job, and no longer "for ever" */
};

struct emr {
  struct spark_cluster base;
  struct aws *aws; /* borrowed, as all below */
  const char *application_id, *role_arn;
  const struct spark_job_file *file;
};

/* ---- starting ---- */

/* Appends a word as a shell reads it: in double quotes where it has to be, which the service takes as well.
 */
static void add_word(struct view word, struct buf *out) {
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.,:/=+@%";
  bool is_plain = word.len > 0;
  for (size_t i = 0; i < word.len; i++)
    is_plain &= word.ptr[i] && strchr(plain, word.ptr[i]);
  if (is_plain) {
    buf_add(out, word);
    return;
  }
  buf_add_char(out, '"');
  for (size_t i = 0; i < word.len; i++) {
    if (word.ptr[i] == '"' || word.ptr[i] == '\\')
      buf_add_char(out, '\\');
    buf_add_char(out, word.ptr[i]);
  }
  buf_add_char(out, '"');
}

/* False when they are too long, or memory is exhausted. */
static bool write_parameters(const struct spark_job_file *file, struct buf *out) {
  auto_buf struct buf word;
  buf_init(&word, PARAMETERS_BYTES_MAX);
  for (size_t i = 0; i < file->property_count; i++) {
    buf_reset(&word);
    buf_add(&word, file->properties[i].name);
    buf_add_char(&word, '=');
    buf_add(&word, file->properties[i].value);
    buf_add_cstr(out, out->len ? " --conf " : "--conf ");
    add_word(buf_view(&word), out);
    if (buf_failed(&word) || buf_failed(out))
      return false;
  }
  return true;
}

static uint32_t minutes_of(uint32_t seconds) {
  uint32_t minutes = seconds / 60 + (seconds % 60 > 0);
  if (seconds == 0 || minutes > MINUTES_MAX)
    return MINUTES_MAX;
  return minutes < MINUTES_MIN ? MINUTES_MIN : minutes;
}

static enum kpi_code emr_start(struct spark_cluster *base, const struct spark_submission *s,
                               char id[SPARK_JOB_ID_SIZE], struct err *err) {
  const struct emr *c = (const struct emr *)base;
  auto_buf struct buf parameters;
  char found[EMR_ID_SIZE];
  buf_init(&parameters, PARAMETERS_BYTES_MAX);
  if (!write_parameters(c->file, &parameters))
    return err_set(err, KPI_ENGINE_FAILED, "the settings of Spark have more than %d bytes, or memory ran out",
                   PARAMETERS_BYTES_MAX);
  struct emr_job job = {.application_id = c->application_id,
                        .role_arn = c->role_arn,
                        .token = s->token,
                        .entry_point = c->file->uri,
                        .argument = s->spec_uri,
                        .parameters = parameters.len ? parameters.ptr : "",
                        .timeout_minutes = minutes_of(s->timeout_seconds),
                        .stop = s->stop};
  enum kpi_code rc = emr_start_job_run(c->aws, &job, found, err);
  if (rc == KPI_OK)
    view_to_cstr(view_of(found), id, SPARK_JOB_ID_SIZE);
  return rc;
}

/* ---- finding, looking and cancelling ---- */

static enum kpi_code emr_find(struct spark_cluster *base, const char *token, const struct stop_flag *stop,
                              char id[SPARK_JOB_ID_SIZE], struct err *err) {
  const struct emr *c = (const struct emr *)base;
  char found[EMR_ID_SIZE];
  enum kpi_code rc =
      emr_find_job_run(c->aws, &(struct emr_job_name){c->application_id, token, stop}, found, err);
  view_to_cstr(view_of(found), id, SPARK_JOB_ID_SIZE);
  return rc;
}

/* Whoever looks has to wait on for one that is being cancelled, as it may still write, though it computes
 * nothing any more; so too for a state that was invented later. */
static enum spark_job_state state_of(const char *name) {
  static const struct {
    const char *name;
    enum spark_job_state state;
  } states[] = {{"", SPARK_JOB_UNKNOWN},
                {"RUNNING", SPARK_JOB_RUNNING},
                {"SUCCESS", SPARK_JOB_SUCCEEDED},
                {"FAILED", SPARK_JOB_FAILED},
                {"CANCELLED", SPARK_JOB_CANCELLED}};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (strcmp(name, states[i].name) == 0)
      return states[i].state;
  return SPARK_JOB_WAITING; /* SUBMITTED, PENDING, QUEUED, SCHEDULED, CANCELLING */
}

static enum kpi_code emr_look(struct spark_cluster *base, const char *id, const struct stop_flag *stop,
                              struct spark_job_status *out, struct err *err) {
  const struct emr *c = (const struct emr *)base;
  const struct emr_job_run run = {c->application_id, id, stop};
  struct emr_job_status status;
  enum kpi_code rc = emr_get_job_run(c->aws, &run, &status, err);
  if (rc)
    return rc;
  out->state = state_of(status.state);
  const char *name = status.state[0] ? status.state : "EMR Serverless knows no such job run";
  auto_buf struct buf reason;
  buf_init(&reason, sizeof status);
  buf_printf(&reason, "%s%s%s", name, status.details[0] ? ": " : "", status.details);
  view_to_cstr(buf_view(&reason), out->reason, sizeof out->reason);
  return KPI_OK;
}

/* A job that is over is refused as any wrong request is: whether it is one tells a look. */
static enum kpi_code emr_cancel(struct spark_cluster *base, const char *id, const struct stop_flag *stop,
                                struct err *err) {
  const struct emr *c = (const struct emr *)base;
  const struct emr_job_run run = {c->application_id, id, stop};
  struct aws_error error;
  struct spark_job_status status;
  struct err ignored;
  enum kpi_code rc = emr_cancel_job_run(c->aws, &run, &error, err);
  if (rc == KPI_OK ||
      (strcmp(error.code, "ValidationException") != 0 && strcmp(error.code, "ConflictException") != 0))
    return rc;
  if (emr_look(base, id, stop, &status, &ignored) != KPI_OK || status.state < SPARK_JOB_SUCCEEDED)
    return rc;
  err_clear(err);
  return KPI_OK;
}

static void emr_free(struct spark_cluster *base) {
  free(base);
}

static const struct spark_cluster_vtable emr_vtable = {"s3",     true,       emr_start, emr_find,
                                                       emr_look, emr_cancel, emr_free};

struct spark_cluster *spark_emr_new(struct aws *aws, const char *application_id, const char *role_arn,
                                    const struct spark_job_file *file) {
  struct emr *c = malloc(sizeof *c);
  if (c)
    *c = (struct emr){{&emr_vtable}, aws, application_id, role_arn, file};
  return c ? &c->base : NULL;
}
