/* SPDX-License-Identifier: MIT
 * Where the services of AWS are: pure rules from region and switches to an URL. Source: the endpoint rule
 * sets that botocore publishes; their vectors are the test. Knows no environment and no transport. */
#ifndef KPID_AWS_ENDPOINT_H
#define KPID_AWS_ENDPOINT_H

#include "base/err.h"
#include "base/view.h"

enum aws_service { AWS_S3, AWS_DYNAMODB, AWS_STS, AWS_EMR_SERVERLESS, AWS_SERVICE_COUNT };

/* Returns "s3", "dynamodb", "sts", "emr-serverless": the name in signatures and endpoints. */
const char *aws_service_name(enum aws_service s);

enum s3_style {
  S3_STYLE_AUTO,   /* the bucket in the host name where that works, in the path otherwise and always with a
                      custom   endpoint */
  S3_STYLE_PATH,   /* always in the path */
  S3_STYLE_VIRTUAL /* in the host name where that works, also with a custom endpoint */
};

struct endpoint_options {
  const char *region; /* NULL or empty: none */
  const char *custom; /* http(s)://host[:port][/path] that replaces AWS's own; NULL: none */
  bool use_fips, use_dualstack;
  enum s3_style s3_style;
};

enum { ENDPOINT_HOST_MAX = 320, ENDPOINT_PATH_MAX = 512, REGION_MAX = 64 };

struct endpoint {
  bool is_https;
  char host[ENDPOINT_HOST_MAX]; /* with the port, if any: the Host header */
  char path[ENDPOINT_PATH_MAX]; /* encoded, no final slash: "" or "/prefix" or "/bucket" */
  char region[REGION_MAX];      /* to sign for */
};

/* Finds the endpoint of a service. Errors: KPI_CONFIG_INVALID: no region, a region that is no host label, a
 * custom endpoint that is no URL or is combined with FIPS or dual-stack. */
KPI_MUST_CHECK enum kpi_code endpoint_resolve(enum aws_service service, const struct endpoint_options *o,
                                              struct endpoint *out, struct err *err);

/* Puts a bucket into an endpoint of S3: into the host name or the path. Errors: KPI_CONFIG_INVALID: the name
 * is too long or empty. */
KPI_MUST_CHECK enum kpi_code endpoint_add_bucket(struct endpoint *e, const struct endpoint_options *o,
                                                 struct view bucket, struct err *err);

#endif
