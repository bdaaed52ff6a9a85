/* SPDX-License-Identifier: MIT
 * Which format a client wants: the query parameter `format`, else Accept; and what tables share in JSON.
 * Knows no resource. */
#ifndef KPID_SERVER_FORMAT_H
#define KPID_SERVER_FORMAT_H

#include "server/reply.h"

enum format { AS_JSON, AS_CSV, AS_HTML, FORMAT_COUNT };

/* Returns json, csv or html; static. */
const char *format_name(enum format f);

/* Chooses among json and, where a resource has them, csv and html; adds Vary. False when the reply is a
 * problem already: malformed-query for an unknown name, not-acceptable for what is not offered. */
bool format_choose(struct request *rq, struct reply *rp, bool has_csv, bool has_html, enum format *out);

/* Writes an item of the array `columns`, which tables have in JSON. */
void format_json_column(struct json_out *j, const char *name, const char *type);

#endif
