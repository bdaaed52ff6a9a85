/* SPDX-License-Identifier: MIT
 * Static keys of the profile in the shared files. */
#include "aws/credentials.h"

enum kpi_code cred_profile(const struct credential_context *c, struct credentials *out, bool *found,
                           struct err *err) {
  static const char *const unsupported[] = {"role_arn", "credential_process", "sso_session", "sso_start_url"};
  const struct profiles *p = c->profiles;
  struct view access = profiles_get(p, "aws_access_key_id");
  struct view secret = profiles_get(p, "aws_secret_access_key");
  *found = access.len && secret.len;
  if (*found)
    return credentials_set(out, access, secret, profiles_get(p, "aws_session_token"), 0)
               ? KPI_OK
               : err_set(err, KPI_OUT_OF_MEMORY, "no memory for AWS credentials");
  for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
    if (p->name_is_set && profiles_get(p, unsupported[i]).len)
      return err_set(err, KPI_CREDENTIALS_MISSING,
                     "the profile %.*s uses %s, which kpid does not run; export keys instead: aws configure "
                     "export-credentials --format env",
                     (int)p->name.len, p->name.ptr, unsupported[i]);
  return KPI_OK;
}
