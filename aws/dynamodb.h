/* SPDX-License-Identifier: MIT
 * Calls of DynamoDB in its JSON protocol. Knows no table of kpid's. Source: Amazon DynamoDB API Reference. */
#ifndef KPID_AWS_DYNAMODB_H
#define KPID_AWS_DYNAMODB_H

#include "aws/aws_call.h"

#include <jansson.h>

enum { DYNAMODB_TRANSACTION_MAX = 100, DYNAMODB_BATCH_MAX = 25, DYNAMODB_ITEM_BYTES_MAX = 409600 };

/* Calls an operation ("PutItem") with a body, which is taken. Returns owned in *out (may be NULL when it is
 * of no use). *error (may be NULL) is what the service said. A reply whose x-amz-crc32 does not match, or
 * that is no JSON object, counts as none. Errors: those of aws_call, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code dynamodb_call(struct aws *a, const char *operation, json_t *body,
                                           const struct stop_flag *stop, json_t **out,
                                           struct aws_error *error, struct err *err);

/* Attribute values: {"S": text}, {"N": digits}. Return owned; NULL when memory is exhausted or text is no
 * UTF-8. */
json_t *dynamodb_text(struct view text);
json_t *dynamodb_number(struct view digits);
json_t *dynamodb_count(uint64_t value);

/* The value of an attribute of an item; empty, or false, when there is none of that type. */
struct view dynamodb_get_text(const json_t *item, const char *name);
bool dynamodb_get_count(const json_t *item, const char *name, uint64_t *out);

#endif
