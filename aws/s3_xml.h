/* SPDX-License-Identifier: MIT
 * A page of ListObjectsV2 from its XML. Knows no transport. */
#ifndef KPID_AWS_S3_XML_H
#define KPID_AWS_S3_XML_H

#include "aws/s3.h"

struct s3_page {
  s3_object_fn fn;
  void *arg;
  /* what the page says of itself */
  bool is_encoded, is_truncated;
  struct buf next_token; /* initialised by the caller */
};

/* True when a document is a whole page; learns whether its keys are encoded. */
KPI_MUST_CHECK bool s3_page_check(struct view document, struct s3_page *page);

/* Walks a page that was checked and hands each object on. Keys are decoded when the page says that they are
 * encoded. Errors: those of fn; KPI_S3_UNAVAILABLE when an object lacks something. */
KPI_MUST_CHECK enum kpi_code s3_page_read(struct view document, struct s3_page *page, struct err *err);

#endif
