/* SPDX-License-Identifier: MIT
 * Reads what the Spark job writes of tallies and errors as JSON. The format: pipeline/spark/README.md. */
#ifndef KPID_PIPELINE_SPARK_TALLY_H
#define KPID_PIPELINE_SPARK_TALLY_H

#include "base/scope.h"
#include "pipeline/quality.h"

#include <jansson.h>

SCOPE_DEFINE(json_t *, json_decref)
#define auto_json AUTO(json_decref_scope)

/* Reads a tally, whose examples stand in objects of the listing. `out` is zero-initialised; the caller clears
 * it also after a failure. False when it is not as the format says. */
bool spark_tally_read(const json_t *json, const struct source_listing *listing, struct quality_tally *out);

/* Reads an error. False when it is none, or of a code that no run ends with. */
bool spark_error_read(const json_t *json, struct err *out);

/* Finds a column by its name in a tally: "orders.order_id". False when there is none. */
bool spark_column_of(struct view name, enum dataset *dataset, size_t *column);

/* The members of an object that are whole numbers and texts. False when there is none of that type. The text
 * borrows. */
bool spark_get_count(const json_t *object, const char *name, uint64_t *out);
bool spark_get_text(const json_t *object, const char *name, struct view *out);

/* Reads a text of exact money. False for anything else. */
bool spark_get_money(const json_t *object, const char *name, struct decimal *out);

/* Reads a text of a date. False for anything else. */
bool spark_get_day(const json_t *object, const char *name, day_t *out);

#endif
