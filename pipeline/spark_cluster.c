/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_cluster.h"

#include <string.h>

#define S3 "s3://"

void spark_uri_write(const char *uri, const char *name, const char *s3_scheme, struct buf *out) {
  if (view_starts(view_of(uri), S3))
    buf_printf(out, "%s://%s", s3_scheme, uri + strlen(S3));
  else
    buf_add_cstr(out, uri);
  if (name)
    buf_printf(out, "%s%s", view_ends(view_of(uri), "/") ? "" : "/", name);
}

enum kpi_code spark_cluster_start(struct spark_cluster *c, const struct spark_submission *s,
                                  char id[SPARK_JOB_ID_SIZE], struct err *err) {
  id[0] = '\0';
  return c->vtable->start(c, s, id, err);
}

enum kpi_code spark_cluster_find(struct spark_cluster *c, const char *token, const struct stop_flag *stop,
                                 char id[SPARK_JOB_ID_SIZE], struct err *err) {
  id[0] = '\0';
  return c->vtable->find ? c->vtable->find(c, token, stop, id, err) : KPI_OK;
}

enum kpi_code spark_cluster_look(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                                 struct spark_job_status *out, struct err *err) {
  *out = (struct spark_job_status){SPARK_JOB_WAITING, ""};
  return c->vtable->look(c, id, stop, out, err);
}

enum kpi_code spark_cluster_cancel(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                                   struct err *err) {
  return c->vtable->cancel(c, id, stop, err);
}

void spark_cluster_free(struct spark_cluster *c) {
  if (c)
    c->vtable->free(c);
}
