/* SPDX-License-Identifier: MIT
 * Where Spark jobs run: an interface, with an implementation for Amazon EMR Serverless and one for the REST
 * server of Spark standalone clusters. Starts, looks at and cancels one job; knows nothing of what it
 * computes. */
#ifndef KPID_PIPELINE_SPARK_CLUSTER_H
#define KPID_PIPELINE_SPARK_CLUSTER_H

#include "base/err.h"
#include "base/http_client.h"

struct aws;

enum spark_job_state {
  SPARK_JOB_WAITING, /* accepted; for resources, or for its turn */
  SPARK_JOB_RUNNING,
  SPARK_JOB_SUCCEEDED,
  SPARK_JOB_FAILED,
  SPARK_JOB_CANCELLED,
  SPARK_JOB_UNKNOWN, /* the cluster knows of no such job */
  SPARK_JOB_STATE_COUNT
};

enum { SPARK_JOB_ID_SIZE = 128, SPARK_REASON_SIZE = 256 };

struct spark_job_status {
  enum spark_job_state state;
  char reason[SPARK_REASON_SIZE]; /* what the cluster says of it; empty: nothing */
};

/* One job; everything is borrowed for the call. */
struct spark_submission {
  const char *token;        /* its name: at most 64 of A-Za-z0-9._- */
  const char *spec_uri;     /* the argument of the job's file */
  uint32_t timeout_seconds; /* after which the cluster may end it; 0: never */
  const struct stop_flag *stop;
};

/* Appends the URI of a file as jobs know it: that of a place as the settings have it, of which s3:// gets the
 * scheme, and the file's name in it; NULL: the URI is the file's. */
void spark_uri_write(const char *uri, const char *name, const char *s3_scheme, struct buf *out);

struct spark_cluster;
struct spark_cluster_vtable {
  const char *s3_scheme;    /* by which its jobs name objects of S3: "s3", "s3a" */
  bool start_is_idempotent; /* a second start with the same token gives the job of the first */
  enum kpi_code (*start)(struct spark_cluster *c, const struct spark_submission *s,
                         char id[SPARK_JOB_ID_SIZE], struct err *err);
  enum kpi_code (*find)(struct spark_cluster *c, const char *token, const struct stop_flag *stop,
                        char id[SPARK_JOB_ID_SIZE], struct err *err); /* NULL: its jobs have no names */
  enum kpi_code (*look)(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                        struct spark_job_status *out, struct err *err);
  enum kpi_code (*cancel)(struct spark_cluster *c, const char *id, const struct stop_flag *stop,
                          struct err *err);
  void (*free)(struct spark_cluster *c);
};

/* The first member of every implementation. Any thread. */
struct spark_cluster {
  const struct spark_cluster_vtable *vtable;
};

/* Errors of all calls: KPI_ENGINE_UNAVAILABLE when the cluster cannot be reached, is busy or replies with
 * nothing of use, though it may have acted on the call; KPI_ENGINE_FAILED when it has refused; of AWS also
 * those of credentials. err tells what the cluster said, and what to do. */

/* Submits a job. Its id is in `id`. */
KPI_MUST_CHECK enum kpi_code spark_cluster_start(struct spark_cluster *c, const struct spark_submission *s,
                                                 char id[SPARK_JOB_ID_SIZE], struct err *err);

/* Finds a job by its token among those that are not over. `id` is empty when there is none, or the cluster
 * cannot tell. */
KPI_MUST_CHECK enum kpi_code spark_cluster_find(struct spark_cluster *c, const char *token,
                                                const struct stop_flag *stop, char id[SPARK_JOB_ID_SIZE],
                                                struct err *err);

/* Looks at a job. */
KPI_MUST_CHECK enum kpi_code spark_cluster_look(struct spark_cluster *c, const char *id,
                                                const struct stop_flag *stop, struct spark_job_status *out,
                                                struct err *err);

/* Asks for the end of a job; one that is over or unknown is no error. */
KPI_MUST_CHECK enum kpi_code spark_cluster_cancel(struct spark_cluster *c, const char *id,
                                                  const struct stop_flag *stop, struct err *err);

/* Accepts NULL. */
void spark_cluster_free(struct spark_cluster *c);

/* A setting of Spark. Borrowed. */
struct spark_property {
  struct view name; /* "spark.executor.memory" */
  struct view value;
};

/* What every job is submitted with; borrowed for the life of the cluster. */
struct spark_job_file {
  const char *uri; /* of kpi_job.py, as the settings have it: s3://... or file:///... */
  const struct spark_property *properties;
  size_t property_count;
};

/* Amazon EMR Serverless: an application, and the role that its jobs have. Borrows all. Returns owned, NULL
 * when memory is exhausted. */
struct spark_cluster *spark_emr_new(struct aws *aws, const char *application_id, const char *role_arn,
                                    const struct spark_job_file *file);

/* A standalone cluster: its REST server ("http://host:6066"), its master ("spark://host:7077"), and a file
 * that holds a token for the REST server, read before every call; NULL: none is sent. Takes `http`. Returns
 * owned, NULL when memory is exhausted. */
struct spark_cluster *spark_standalone_new(struct http_client *http, const char *rest_url, const char *master,
                                           const char *token_file, const struct spark_job_file *file);

#endif
