#include "pipeline/spark_cluster.h"
struct spark_cluster *spark_emr_new(struct aws *aws, const char *a, const char *r,
                                    const struct spark_job_file *f) {
  (void)aws;
  (void)a;
  (void)r;
  (void)f;
  return NULL;
}
