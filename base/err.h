/* SPDX-License-Identifier: MIT
 * Error codes and the caller-owned error value.
 * One table (err.c) maps a code to its public name, HTTP status, category, retryability and hint.
 * This header knows nothing about HTTP libraries, SQL or CSV. */
#ifndef KPID_BASE_ERR_H
#define KPID_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#define KPI_MUST_CHECK __attribute__((warn_unused_result))
#define KPI_UNSET                                                                                            \
  __attribute__((uninitialized)) /* set before it is read: spares loops the clearing of a hardened build */
#define KPI_COLD __attribute__((cold, noinline)) /* kept out of loops, with its large err on the stack */
#define KPI_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

/* Every way a call, a run or a request can fail. Run errors carry snake_case public names, request
 * errors (problem documents) kebab-case ones; err.c holds both. Order is not part of the contract. */
enum kpi_code {
  KPI_OK = 0,
  /* run errors: the closed list of the API */
  KPI_S3_ACCESS_DENIED,
  KPI_S3_NO_SUCH_BUCKET,
  KPI_S3_NO_OBJECTS,
  KPI_S3_THROTTLED,
  KPI_S3_UNAVAILABLE,
  KPI_S3_OBJECT_CHANGED,
  KPI_S3_TIMEOUT,
  KPI_SOURCE_NOT_FOUND,
  KPI_SOURCE_UNREADABLE,
  KPI_DYNAMODB_ACCESS_DENIED,
  KPI_DYNAMODB_TABLE_MISSING,
  KPI_DYNAMODB_SCHEMA_MISMATCH,
  KPI_DYNAMODB_THROTTLED,
  KPI_DYNAMODB_VALIDATION,
  KPI_DYNAMODB_UNAVAILABLE,
  KPI_NEWER_RUN_PUBLISHED,
  KPI_CREDENTIALS_MISSING,
  KPI_CREDENTIALS_EXPIRED,
  KPI_CSV_HEADER_MISSING,
  KPI_CSV_MALFORMED,
  KPI_CSV_ENCODING,
  KPI_VALUE_UNPARSABLE,
  KPI_TOO_MANY_BAD_ROWS,
  KPI_QUALITY_BLOCKED,
  KPI_ENGINE_UNAVAILABLE,
  KPI_ENGINE_FAILED,
  KPI_OUT_OF_MEMORY,
  KPI_DISK_FULL,
  KPI_TIMEOUT,
  KPI_STALLED,
  KPI_EXPIRED,
  KPI_WORKER_LOST,
  KPI_TOO_MANY_DAYS,
  KPI_INTERRUPTED,
  KPI_INTERNAL,
  /* request errors: the problem documents of the API */
  KPI_MALFORMED_JSON,
  KPI_MALFORMED_QUERY,
  KPI_MALFORMED_HEADER,
  KPI_UNAUTHENTICATED,
  KPI_FORBIDDEN,
  KPI_RUN_NOT_FOUND,
  KPI_BACKFILL_NOT_FOUND,
  KPI_ROUTE_NOT_FOUND,
  KPI_METHOD_NOT_ALLOWED,
  KPI_NOT_ACCEPTABLE,
  KPI_LENGTH_REQUIRED,
  KPI_RUN_ALREADY_ACTIVE,
  KPI_RUN_ALREADY_FINISHED,
  KPI_RESULTS_NOT_READY,
  KPI_INPUT_CHANGED,
  KPI_PRECONDITION_FAILED,
  KPI_BODY_TOO_LARGE,
  KPI_URI_TOO_LONG,
  KPI_UNSUPPORTED_MEDIA_TYPE,
  KPI_EXPECTATION_FAILED,
  KPI_VALIDATION_FAILED,
  KPI_IDEMPOTENCY_KEY_REUSED,
  KPI_DATE_IN_FUTURE,
  KPI_RANGE_TOO_LONG,
  KPI_RUN_NOT_SUCCEEDED,
  KPI_HEADERS_TOO_LARGE,
  KPI_QUEUE_FULL,
  KPI_TOO_MANY_WATCHERS,
  KPI_QUOTA_EXCEEDED,
  KPI_INTERNAL_ERROR,
  KPI_STARTING,
  KPI_DRAINING,
  KPI_STORAGE_UNAVAILABLE,
  /* start-up and command line */
  KPI_USAGE,
  KPI_CONFIG_INVALID,
  KPI_DB_LOCKED,
  KPI_DB_TOO_NEW,
  KPI_DB_FAILED,
  KPI_LIBRARY_MISSING,
  KPI_CANCELLED,
  KPI_CODE_COUNT
};

/* Who has to act on a failure. */
enum err_category { ERR_CLIENT, ERR_DATA, ERR_UPSTREAM, ERR_INTERNAL };

/* What is known about a code, from the one table. Strings are static. */
struct err_info {
  const char *name;     /* public name: "value_unparsable", "validation-failed" */
  uint16_t http_status; /* status of a reply that reports it */
  enum err_category category;
  bool retryable;    /* an unchanged retry may succeed */
  uint8_t exit_code; /* of the command line (sysexits.h where one fits) */
  const char *title; /* one short sentence */
  const char *hint;  /* what the reader should do next */
};

/* What a remote service said of a failure. Empty texts and 0: not known. */
struct err_remote {
  char service[24];   /* s3, dynamodb, sts, ... */
  char operation[40]; /* GetObject */
  char error[64];     /* the service's own code: NoSuchKey */
  char request_id[96];
  char bucket[64];
  int http_status;
};

/* A failure with the value at fault. Owned by the caller, filled by whoever detects it; zero-initialise
 * it or call err_clear. Texts are cut to fit, never overrun. */
struct err {
  enum kpi_code code;
  char message[768];
  char object[512]; /* input object or file, empty if none */
  uint64_t line;    /* 1-based physical line in that object, 0 if none */
  char column[64];  /* column name, empty if none */
  char value[128];  /* the offending text, cut, empty if none */
  struct err_remote remote;
};

/* Returns the table row of a code; never NULL. */
const struct err_info *err_info(enum kpi_code code);

/* Returns the public name of a code; never NULL. */
const char *err_name(enum kpi_code code);

/* Returns the code of a public name, KPI_CODE_COUNT when there is none. */
enum kpi_code err_code_of(const char *name);

/* Returns the public name of a category: client, data, upstream or internal. */
const char *err_category_name(enum err_category category);

/* Empties *e. */
void err_clear(struct err *e);

/* Fills *e with a code and a printf-formatted message, clearing the place (object, line, column, value),
 * and returns the code, so that a detector can `return err_set(...)`. */
enum kpi_code err_set(struct err *e, enum kpi_code code, const char *fmt, ...) KPI_PRINTF(3, 4);

/* As err_set, with the text of errno `errnum` appended to the message. */
enum kpi_code err_set_errno(struct err *e, enum kpi_code code, int errnum, const char *fmt, ...)
    KPI_PRINTF(4, 5);

#endif
