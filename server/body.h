/* SPDX-License-Identifier: MIT
 * Request bodies: checks type and encoding, scans the bytes for what a JSON library is too kind to, and hands
 * the handler one JSON object. A further body type becomes the same kind of object here, so that handlers
 * never know how it was written. Must not know any resource. */
#ifndef KPID_SERVER_BODY_H
#define KPID_SERVER_BODY_H

#include "server/reply.h"
#include "server/request.h"

#include <jansson.h>

/* Which fields of a form are no strings; NULL-terminated names. */
struct body_form {
  const char *const *booleans; /* true or false */
  const char *const *numbers;  /* whole numbers */
};

/* Reads the body as one JSON object without duplicate keys. A form (application/x-www-form-urlencoded)
 * becomes an object of strings but for those that `form` names (may be NULL). Returns owned in *out
 * (json_decref). The err message says line and column. Errors: KPI_UNSUPPORTED_MEDIA_TYPE (another type, not
 * UTF-8, or encoded), KPI_MALFORMED_JSON (syntax, duplicate key, NUL, lone surrogate, ill-formed UTF-8, a
 * number out of range, deeper than HTTP_JSON_DEPTH_MAX), KPI_VALIDATION_FAILED (not an object, or a malformed
 * form). */
KPI_MUST_CHECK enum kpi_code body_read_object(const struct request *rq, const struct body_form *form,
                                              json_t **out, struct err *err);

/* Scans JSON text without building anything. Errors: KPI_MALFORMED_JSON as above, for what it looks at:
 * depth, NUL, surrogates, UTF-8. Text that passes may still be no JSON. */
KPI_MUST_CHECK enum kpi_code body_scan_json(struct view text, struct err *err);

/* Borrows the text of a JSON string; empty for any other value and for NULL. */
struct view body_text(const json_t *value);

/* Adds an error with a JSON pointer to *p for every member of the object whose name is not in the
 * NULL-terminated list. */
void body_refuse_unknown(const json_t *object, const char *const *known, struct problem *p);

/* Reads a member that is true or false, `absent` without it; notes another value as a fault. */
bool body_boolean(const json_t *body, const char *name, bool absent, struct problem *p);

/* Reads a member that is a whole number from 1 to max, 0 without it; notes another value as a fault. */
uint32_t body_number(const json_t *body, const char *name, uint32_t max, struct problem *p);

#endif
