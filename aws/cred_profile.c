/* SPDX-License-Identifier: MIT
 * Static keys of the profile in the shared files. */
#include "aws/credentials.h"

/* The other tools of AWS would sign as somebody else than the keys beside such a setting, or than the next
 * place of the chain. */
static enum kpi_code refuse_other_kinds(const struct profiles *p, struct err *err) {
  static const char *const unsupported[] = {"role_arn", "credential_process", "sso_session", "sso_start_url"};
  for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
    if (profiles_get(p, unsupported[i]).len)
      return err_set(err, KPI_CREDENTIALS_MISSING,
                     "the profile %.*s uses %s, which kpid does not run; export keys instead: aws configure "
                     "export-credentials --format env",
                     (int)p->name.len, p->name.ptr, unsupported[i]);
  return KPI_OK;
}

enum kpi_code cred_profile(const struct credential_context *c, struct credentials *out, bool *found,
                           struct err *err) {
  enum kpi_code rc = refuse_other_kinds(c->profiles, err);
  struct view access = profiles_get(c->profiles, "aws_access_key_id");
  struct view secret = profiles_get(c->profiles, "aws_secret_access_key");
  *found = access.len && secret.len;
  if (rc || !*found)
    return rc;
  return credentials_set(out, access, secret, profiles_get(c->profiles, "aws_session_token"), 0)
             ? KPI_OK
             : err_set(err, KPI_OUT_OF_MEMORY, "no memory for AWS credentials");
}
