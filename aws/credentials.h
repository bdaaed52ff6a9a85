/* SPDX-License-Identifier: MIT
 * Who signs: the chain of places where AWS credentials are found, and a cache that refreshes them in advance.
 * Source: AWS SDKs and Tools Reference Guide, "Credential providers". Secrets are never logged, and cleansed
 * when freed. */
#ifndef KPID_AWS_CREDENTIALS_H
#define KPID_AWS_CREDENTIALS_H

#include "aws/endpoint.h"
#include "aws/profile.h"
#include "base/http_client.h"

/* A key with its lifetime. Owns its strings. */
struct credentials {
  char *access_key, *secret_key;
  char *session_token; /* NULL: a long-lived key */
  int64_t expires_at;  /* Unix ms; 0: never */
};

/* Cleanses and frees. Accepts NULL. */
void credentials_clear(struct credentials *c);

/* Copies three texts and a time. False when memory is exhausted. */
bool credentials_set(struct credentials *c, struct view access_key, struct view secret_key,
                     struct view session_token, int64_t expires_at);

/* What a place needs to be looked at; all borrowed. */
struct credential_context {
  struct http_client *http;
  const struct profiles *profiles;
  const struct endpoint_options *sts; /* region and custom endpoint of STS */
  const struct stop_flag *stop;       /* of the call that needs the credentials; NULL: none */
};

/* Looks at one place. *found false and KPI_OK: it is not set up, look at the next. Errors:
 * KPI_CREDENTIALS_MISSING and KPI_CREDENTIALS_EXPIRED, naming what is wrong with a place that is set up.
 * Returns owned in *out. */
typedef enum kpi_code (*credential_fn)(const struct credential_context *c, struct credentials *out,
                                       bool *found, struct err *err);

/* The places, in the order they are asked. */
enum kpi_code cred_environment(const struct credential_context *, struct credentials *, bool *, struct err *);
enum kpi_code cred_web_identity(const struct credential_context *, struct credentials *, bool *,
                                struct err *);
enum kpi_code cred_profile(const struct credential_context *, struct credentials *, bool *, struct err *);
enum kpi_code cred_container(const struct credential_context *, struct credentials *, bool *, struct err *);
enum kpi_code cred_instance(const struct credential_context *, struct credentials *, bool *, struct err *);

/* Parses the JSON that container and instance endpoints answer: AccessKeyId, SecretAccessKey, Token,
 * Expiration. False when it is no such document. */
bool credentials_parse_json(struct view text, struct credentials *out);

/* Parses 2026-11-24T03:00:00[.123456]Z to Unix ms. */
bool credentials_parse_time(struct view text, int64_t *out);

struct credential_cache;

/* Borrows the context for its life. Returns owned, NULL when memory is exhausted. */
struct credential_cache *credential_cache_new(const struct credential_context *context);

/* Accepts NULL. */
void credential_cache_free(struct credential_cache *c);

/* Returns a copy, owned, in *out. Asks the chain when there is none yet; from 15 min before the end one
 * caller asks while the others go on with the old, and for about a minute nobody when that brought nothing.
 * Valid ones are given out until they end. `stop` ends the asking and the waiting; NULL: none. Any thread.
 * Errors: KPI_CREDENTIALS_MISSING, KPI_CREDENTIALS_EXPIRED, KPI_CANCELLED. */
KPI_MUST_CHECK enum kpi_code credential_cache_get(struct credential_cache *c, const struct stop_flag *stop,
                                                  struct credentials *out, struct err *err);

/* The service has refused `used` as expired: the next get asks the chain again, unless somebody has done so
 * already. */
void credential_cache_refuse(struct credential_cache *c, const struct credentials *used);

#endif
