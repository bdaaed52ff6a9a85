/* SPDX-License-Identifier: MIT
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. */
#include "aws/credentials.h"

#include <stdlib.h>

enum kpi_code cred_environment(const struct credential_context *c, struct credentials *out, bool *found,
                               struct err *err) {
  (void)c;
  struct view access = view_of(getenv("AWS_ACCESS_KEY_ID"));
  struct view secret = view_of(getenv("AWS_SECRET_ACCESS_KEY"));
  *found = access.len && secret.len;
  if (!*found)
    return access.len || secret.len
               ? err_set(err, KPI_CREDENTIALS_MISSING,
                         "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: one is set without the other")
               : KPI_OK;
  return credentials_set(out, access, secret, view_of(getenv("AWS_SESSION_TOKEN")), 0)
             ? KPI_OK
             : err_set(err, KPI_OUT_OF_MEMORY, "no memory for AWS credentials");
}
