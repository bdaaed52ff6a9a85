/* SPDX-License-Identifier: MIT
 * API keys: who may read and who may run. Keys are known by their SHA-256 only; they are compared in constant
 * time, all of them, whatever was sent. Knows neither the HTTP library nor any route but the two that are
 * always open. */
#ifndef KPID_SERVER_AUTH_H
#define KPID_SERVER_AUTH_H

#include "server/reply.h"
#include "server/request.h"

struct auth;

enum auth_limit {
  AUTH_KEYS_MAX = 1000,
  AUTH_FILE_BYTES_MAX = 1024 * 1024,
  AUTH_CREDENTIALS_BYTES_MAX = 1024,
  AUTH_FAILURES_A_MINUTE = 60 /* beyond these, wrong keys are answered with 429; right ones pass */
};

/* Reads keys from text, entries name:role:sha256[:last-day] separated by commas or blanks, and from a file
 * that has one on a line and # before comments; either may be NULL. Roles are read and run; a last day is
 * YYYY-MM-DD in UTC. Borrows both texts. Returns owned in *out. Errors: KPI_CONFIG_INVALID naming the entry.
 */
KPI_MUST_CHECK enum kpi_code auth_new(const char *keys, const char *file, struct auth **out, struct err *err);

/* Accepts NULL. */
void auth_free(struct auth *a);

/* Reads the file again; the keys before stay when it cannot be used. Any thread. Errors: as auth_new. */
KPI_MUST_CHECK enum kpi_code auth_reload(struct auth *a, struct err *err);

/* False when there is no key at all: then everyone may do everything. */
bool auth_has_keys(struct auth *a);

/* Looks at who asks and sets rq->principal. False when the reply is the refusal: KPI_UNAUTHENTICATED (also
 * for keys that are unknown, wrong or too old), KPI_FORBIDDEN (the role does not suffice, or a browser asks
 * for another site), KPI_QUOTA_EXCEEDED. Any thread. */
bool auth_admit(struct auth *a, struct request *rq, struct reply *rp);

enum { AUTH_KEY_SIZE = 5 + 64 + 1 };

/* Writes a new key, "kpid_" and 32 random bytes as hex. */
void auth_make_key(char out[AUTH_KEY_SIZE]);

/* True for 1-64 of A-Za-z0-9._-: the name of a key. */
bool auth_name_is_valid(struct view name);

/* True for read and run. */
bool auth_role_is_valid(struct view role);

#endif
