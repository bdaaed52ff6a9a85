/* SPDX-License-Identifier: MIT
 * The shared configuration and credentials files of AWS tools: INI with one level of nesting. Source: AWS
 * SDKs and Tools Reference Guide, "Shared config and credentials files". */
#ifndef KPID_AWS_PROFILE_H
#define KPID_AWS_PROFILE_H

#include "base/err.h"
#include "base/view.h"

/* One setting. Strings point into the file's text. */
struct profile_entry {
  struct view section; /* "default", "profile x", "services x" */
  struct view key;     /* "region", or "s3" of a nested one */
  struct view sub_key; /* "endpoint_url" below "s3 ="; empty if not nested */
  struct view value;
};

struct profile_file {
  char *text; /* owned */
  struct profile_entry *at;
  size_t count, cap;
};

/* The profile in use and both files; a missing file is an empty one. profiles_clear releases it. */
struct profiles {
  struct view name; /* AWS_PROFILE, else "default" */
  struct profile_file config, credentials;
};

/* Reads AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE (~/.aws/config, ~/.aws/credentials).
 * Errors: KPI_CONFIG_INVALID for a file that cannot be read, or a profile that is named but in neither. */
KPI_MUST_CHECK enum kpi_code profiles_load(struct profiles *out, struct err *err);

/* Overwrites what may be secret and frees. Accepts NULL. */
void profiles_clear(struct profiles *p);

/* Returns a setting of the profile: from the credentials file, else from the configuration. Empty if none. */
struct view profiles_get(const struct profiles *p, const char *key);

/* Returns a setting of a service ("s3", "endpoint_url") in the services section that the profile names. */
struct view profiles_get_service(const struct profiles *p, const char *service, const char *key);

#endif
