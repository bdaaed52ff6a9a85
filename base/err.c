/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* sysexits.h values that the command line returns; named here so that base stays free of it. */
enum {
  EXIT_OK_ = 0,
  EXIT_USAGE_ = 64,
  EXIT_DATA_ = 65,
  EXIT_SOURCE_ = 66,
  EXIT_PUBLISH_ = 69,
  EXIT_SOFTWARE_ = 70,
  EXIT_OS_ = 71,
  EXIT_LOCKED_ = 73,
  EXIT_TEMP_ = 75,
  EXIT_CONFIG_ = 78,
  EXIT_INTERRUPTED_ = 130
};

/* The one table: code -> name, HTTP status, category, retryable, exit code, title, hint. */
static const struct err_info table[KPI_CODE_COUNT] = {
    [KPI_OK] = {"ok", 200, ERR_INTERNAL, false, EXIT_OK_, "no error", ""},

    [KPI_S3_ACCESS_DENIED] =
        {"s3_access_denied", 424, ERR_CLIENT, false, EXIT_SOURCE_, "S3 refused access",
         "Grant s3:ListBucket on the bucket and s3:GetObject on its keys to the task role."},
    [KPI_S3_NO_SUCH_BUCKET] = {"s3_no_such_bucket", 424, ERR_CLIENT, false, EXIT_SOURCE_,
                               "The S3 bucket does not exist", "Check KPI_SOURCE and AWS_REGION."},
    [KPI_S3_NO_OBJECTS] =
        {"s3_no_objects", 424, ERR_DATA, false, EXIT_SOURCE_, "No CSV object for a data set",
         "Each of orders/, order_items/ and products/ needs at least one .csv or .csv.gz object."},
    [KPI_S3_THROTTLED] = {"s3_throttled", 424, ERR_UPSTREAM, true, EXIT_SOURCE_, "S3 asked to slow down",
                          "Retry later, or lower KPI_S3_CONCURRENCY."},
    [KPI_S3_UNAVAILABLE] = {"s3_unavailable", 424, ERR_UPSTREAM, true, EXIT_SOURCE_,
                            "S3 could not be reached",
                            "Retry; if it lasts, check the network path and the endpoint."},
    [KPI_S3_OBJECT_CHANGED] = {"s3_object_changed", 424, ERR_DATA, true, EXIT_SOURCE_,
                               "An input object changed while it was read",
                               "Retry when the producer has finished writing; write new keys instead of "
                               "overwriting."},
    [KPI_S3_TIMEOUT] = {"s3_timeout", 424, ERR_UPSTREAM, true, EXIT_SOURCE_, "S3 did not answer in time",
                        "Retry."},
    [KPI_SOURCE_NOT_FOUND] = {"source_not_found", 424, ERR_CLIENT, false, EXIT_SOURCE_,
                              "The input was not found",
                              "KPI_SOURCE must name a folder with orders/, order_items/ and products/, each "
                              "holding at least one .csv or .csv.gz file."},
    [KPI_SOURCE_UNREADABLE] =
        {"source_unreadable", 424, ERR_UPSTREAM, true, EXIT_SOURCE_, "The input could not be read",
         "Check permissions and whether another program was writing the file; then retry."},
    [KPI_DYNAMODB_ACCESS_DENIED] = {"dynamodb_access_denied", 424, ERR_CLIENT, false, EXIT_PUBLISH_,
                                    "DynamoDB refused access",
                                    "Grant the actions of deploy/iam-policy.json."},
    [KPI_DYNAMODB_TABLE_MISSING] = {"dynamodb_table_missing", 424, ERR_CLIENT, false, EXIT_PUBLISH_,
                                    "A DynamoDB table does not exist",
                                    "Create it with `kpid tables create`."},
    [KPI_DYNAMODB_SCHEMA_MISMATCH] = {"dynamodb_schema_mismatch", 424, ERR_CLIENT, false, EXIT_PUBLISH_,
                                      "A DynamoDB table has other keys", "Compare with `kpid tables check`."},
    [KPI_DYNAMODB_THROTTLED] = {"dynamodb_throttled", 424, ERR_UPSTREAM, true, EXIT_PUBLISH_,
                                "DynamoDB throttled the writes",
                                "Retry later or raise the table's capacity."},
    [KPI_DYNAMODB_VALIDATION] = {"dynamodb_validation", 424, ERR_DATA, false, EXIT_PUBLISH_,
                                 "DynamoDB refused an item", "The message names the item."},
    [KPI_DYNAMODB_UNAVAILABLE] = {"dynamodb_unavailable", 424, ERR_UPSTREAM, true, EXIT_PUBLISH_,
                                  "DynamoDB could not be reached", "Retry."},
    [KPI_NEWER_RUN_PUBLISHED] = {"newer_run_published", 424, ERR_CLIENT, false, EXIT_PUBLISH_,
                                 "Another run published this date meanwhile", "Look at the newer run."},
    [KPI_CREDENTIALS_MISSING] = {"credentials_missing", 424, ERR_CLIENT, false, EXIT_SOURCE_,
                                 "No AWS credentials were found", "Give the task a role or set AWS_PROFILE."},
    [KPI_CREDENTIALS_EXPIRED] = {"credentials_expired", 424, ERR_CLIENT, true, EXIT_SOURCE_,
                                 "The AWS credentials have expired", "Refresh them, then retry."},
    [KPI_CSV_HEADER_MISSING] =
        {"csv_header_missing", 424, ERR_DATA, false, EXIT_DATA_, "A CSV header lacks a needed column",
         "Each file needs a first line that names the columns, comma separated: orders "
         "order_id,user_id,created_at; order_items id,order_id,product_id,status,"
         "created_at,sale_price; products id,category."},
    [KPI_CSV_MALFORMED] = {"csv_malformed", 424, ERR_DATA, false, EXIT_DATA_, "A file is not readable as CSV",
                           "Write RFC 4180 CSV: comma separated, cells with commas, quotes or line breaks in "
                           "double quotes, quotes inside doubled."},
    [KPI_CSV_ENCODING] = {"csv_encoding", 424, ERR_DATA, false, EXIT_DATA_, "A file is not UTF-8 text",
                          "Export the file as UTF-8."},
    [KPI_VALUE_UNPARSABLE] =
        {"value_unparsable", 424, ERR_DATA, false, EXIT_DATA_, "A value cannot be used",
         "Correct the value at the place named, or send \"bad_rows\":\"skip\" with a "
         "\"max_bad_rows\" to leave such rows out (null categories: KPI_UNKNOWN_CATEGORY)."},
    [KPI_TOO_MANY_BAD_ROWS] =
        {"too_many_bad_rows", 424, ERR_DATA, false, EXIT_DATA_, "More rows are bad than allowed",
         "Look at the examples in the quality report; raise max_bad_rows only if they may "
         "be left out."},
    [KPI_QUALITY_BLOCKED] =
        {"quality_blocked", 424, ERR_DATA, false, EXIT_DATA_,
         "A quality check stopped the run before publishing",
         "Read the quality report of the run; \"quality_gate\":\"warn\" publishes in spite of failed checks, "
         "\"force\":true in spite of lost orders."},
    [KPI_ENGINE_UNAVAILABLE] = {"engine_unavailable", 424, ERR_UPSTREAM, true, EXIT_SOFTWARE_,
                                "The engine cannot be reached", "Retry, or use the native engine."},
    [KPI_ENGINE_FAILED] = {"engine_failed", 424, ERR_INTERNAL, true, EXIT_SOFTWARE_, "The engine failed",
                           "Look at the log of the run."},
    [KPI_OUT_OF_MEMORY] =
        {"out_of_memory", 424, ERR_INTERNAL, false, EXIT_OS_, "The run needs more memory than allowed",
         "Raise KPI_MEMORY_LIMIT (and the memory of the task), or run fewer dates at once."},
    [KPI_DISK_FULL] = {"disk_full", 424, ERR_INTERNAL, true, EXIT_OS_, "The disk is full",
                       "Free space on the volume of KPI_DB, then retry."},
    [KPI_TIMEOUT] = {"timeout", 424, ERR_UPSTREAM, true, EXIT_TEMP_, "The attempt took too long",
                     "Raise timeout_seconds or KPI_THREADS."},
    [KPI_STALLED] = {"stalled", 424, ERR_INTERNAL, true, EXIT_TEMP_, "The attempt made no progress",
                     "Check that the source answers; KPI_STALL_SECONDS sets the limit."},
    [KPI_EXPIRED] = {"expired", 424, ERR_CLIENT, false, EXIT_TEMP_, "The run was not started in time",
                     "Post it again."},
    [KPI_TOO_MANY_DAYS] = {"too_many_days", 424, ERR_CLIENT, false, EXIT_DATA_,
                           "The data has more days than can be queued",
                           "Name the days in several backfills, one after the other."},
    [KPI_WORKER_LOST] =
        {"worker_lost", 424, ERR_INTERNAL, false, EXIT_SOFTWARE_,
         "The service died under this run again and again",
         "Look at the memory of the task and at the log before the crash, then post a new run."},
    [KPI_INTERRUPTED] = {"interrupted", 424, ERR_INTERNAL, true, EXIT_INTERRUPTED_, "The run was interrupted",
                         "Start it again; a date that was published by then stays."},
    [KPI_INTERNAL] = {"internal", 424, ERR_INTERNAL, true, EXIT_SOFTWARE_, "Internal error",
                      "Report it with the log lines of the run."},

    [KPI_MALFORMED_JSON] = {"malformed-json", 400, ERR_CLIENT, false, EXIT_USAGE_,
                            "The body is not valid JSON",
                            "Send one JSON object, UTF-8, without duplicate keys."},
    [KPI_MALFORMED_QUERY] = {"malformed-query", 400, ERR_CLIENT, false, EXIT_USAGE_,
                             "The query string is not valid", "See /openapi.yaml for the parameters."},
    [KPI_MALFORMED_HEADER] = {"malformed-header", 400, ERR_CLIENT, false, EXIT_USAGE_,
                              "The request head is not valid", "See RFC 9110 and 9112."},
    [KPI_UNAUTHENTICATED] = {"unauthenticated", 401, ERR_CLIENT, false, EXIT_USAGE_, "No valid key was sent",
                             "Send Authorization: Bearer KEY."},
    [KPI_FORBIDDEN] = {"forbidden", 403, ERR_CLIENT, false, EXIT_USAGE_, "The key may not do this",
                       "Use a key with the role run."},
    [KPI_RUN_NOT_FOUND] = {"run-not-found", 404, ERR_CLIENT, false, EXIT_USAGE_, "There is no such run",
                           "GET /runs lists the runs that are kept."},
    [KPI_BACKFILL_NOT_FOUND] = {"backfill-not-found", 404, ERR_CLIENT, false, EXIT_USAGE_,
                                "There is no such backfill", "GET /backfills lists them."},
    [KPI_ROUTE_NOT_FOUND] = {"route-not-found", 404, ERR_CLIENT, false, EXIT_USAGE_, "There is no such path",
                             "See /openapi.yaml."},
    [KPI_METHOD_NOT_ALLOWED] = {"method-not-allowed", 405, ERR_CLIENT, false, EXIT_USAGE_,
                                "The path does not take this method", "See the Allow header."},
    [KPI_NOT_ACCEPTABLE] = {"not-acceptable", 406, ERR_CLIENT, false, EXIT_USAGE_,
                            "None of the accepted types can be sent", "Accept application/json."},
    [KPI_LENGTH_REQUIRED] = {"length-required", 411, ERR_CLIENT, false, EXIT_USAGE_,
                             "The request must carry a Content-Length",
                             "Send the body with Content-Length, not chunked."},
    [KPI_RUN_ALREADY_ACTIVE] = {"run-already-active", 409, ERR_CLIENT, true, EXIT_TEMP_,
                                "Another run for this date is active", "Wait for the run that is named."},
    [KPI_RUN_ALREADY_FINISHED] = {"run-already-finished", 409, ERR_CLIENT, false, EXIT_USAGE_,
                                  "The run has finished", "Nothing is left to stop."},
    [KPI_RESULTS_NOT_READY] = {"results-not-ready", 409, ERR_CLIENT, true, EXIT_USAGE_,
                               "The run has no results yet", "Wait for the run: GET /runs/{id}?wait=30."},
    [KPI_INPUT_CHANGED] = {"input-changed", 409, ERR_CLIENT, false, EXIT_USAGE_,
                           "The input differs from the one of the stored results", "Retry from start."},
    [KPI_PRECONDITION_FAILED] = {"precondition-failed", 412, ERR_CLIENT, false, EXIT_USAGE_,
                                 "The run has changed meanwhile", "Read it again and send its new ETag."},
    [KPI_BODY_TOO_LARGE] = {"body-too-large", 413, ERR_CLIENT, false, EXIT_USAGE_, "The body is too large",
                            "A body has at most 65,536 bytes."},
    [KPI_URI_TOO_LONG] = {"uri-too-long", 414, ERR_CLIENT, false, EXIT_USAGE_,
                          "The request target is too long", "A request target has at most 2,048 bytes."},
    [KPI_UNSUPPORTED_MEDIA_TYPE] = {"unsupported-media-type", 415, ERR_CLIENT, false, EXIT_USAGE_,
                                    "The body has an unsupported type",
                                    "Send Content-Type: application/json."},
    [KPI_EXPECTATION_FAILED] = {"expectation-failed", 417, ERR_CLIENT, false, EXIT_USAGE_,
                                "Expect is not supported", "Send the body at once (curl: -H 'Expect:')."},
    [KPI_VALIDATION_FAILED] = {"validation-failed", 422, ERR_CLIENT, false, EXIT_USAGE_,
                               "A field has a value that is not allowed",
                               "The errors list names each field."},
    [KPI_IDEMPOTENCY_KEY_REUSED] = {"idempotency-key-reused", 422, ERR_CLIENT, false, EXIT_USAGE_,
                                    "The idempotency key belongs to another request", "Use a new key."},
    [KPI_DATE_IN_FUTURE] = {"date-in-future", 422, ERR_CLIENT, false, EXIT_USAGE_,
                            "The date has not begun yet in the service's zone",
                            "Check the date and KPI_TIMEZONE."},
    [KPI_RANGE_TOO_LONG] = {"range-too-long", 422, ERR_CLIENT, false, EXIT_USAGE_,
                            "The range has too many days", "A range has at most 3,660 days."},
    [KPI_RUN_NOT_SUCCEEDED] = {"run-not-succeeded", 424, ERR_CLIENT, false, EXIT_USAGE_,
                               "The run has not succeeded", "The error of the run says why."},
    [KPI_HEADERS_TOO_LARGE] = {"headers-too-large", 431, ERR_CLIENT, false, EXIT_USAGE_,
                               "The request head is too large", "Send at most 64 headers and 16 KiB."},
    [KPI_QUEUE_FULL] = {"queue-full", 429, ERR_UPSTREAM, true, EXIT_TEMP_, "The queue is full",
                        "Send it again after Retry-After."},
    [KPI_TOO_MANY_WATCHERS] = {"too-many-watchers", 429, ERR_UPSTREAM, true, EXIT_TEMP_,
                               "Too many clients are waiting", "Poll without wait."},
    [KPI_QUOTA_EXCEEDED] = {"quota-exceeded", 429, ERR_UPSTREAM, true, EXIT_TEMP_, "Too many requests",
                            "Send it again after Retry-After."},
    [KPI_INTERNAL_ERROR] = {"internal-error", 500, ERR_INTERNAL, true, EXIT_SOFTWARE_, "Internal error",
                            "Report it with the request id."},
    [KPI_STARTING] = {"starting", 503, ERR_INTERNAL, true, EXIT_TEMP_, "The service is starting",
                      "Send it again."},
    [KPI_DRAINING] = {"draining", 503, ERR_INTERNAL, true, EXIT_TEMP_, "The service is shutting down",
                      "Send it again: another task or the next start takes it."},
    [KPI_STORAGE_UNAVAILABLE] =
        {"storage-unavailable", 503, ERR_INTERNAL, true, EXIT_OS_, "The database cannot store this now",
         "Check space and permissions of the volume of KPI_DB; nothing was accepted."},

    [KPI_USAGE] = {"usage", 400, ERR_CLIENT, false, EXIT_USAGE_, "The command line is not valid",
                   "`kpid help` lists the commands and options."},
    [KPI_CONFIG_INVALID] = {"config_invalid", 500, ERR_CLIENT, false, EXIT_CONFIG_,
                            "A setting has a wrong value",
                            "`kpid check-config` prints every setting with its range."},
    [KPI_DB_LOCKED] =
        {"db_locked", 503, ERR_CLIENT, true, EXIT_LOCKED_, "Another process uses the database",
         "POST the run to the server that holds it, stop that server, set another KPI_DB, or pass "
         "--no-publish."},
    [KPI_DB_FAILED] =
        {"db_failed", 503, ERR_INTERNAL, true, EXIT_TEMP_, "The database failed while writing",
         "Start the service again: it recovers; check the volume of KPI_DB if it happens again."},
    [KPI_LIBRARY_MISSING] = {"library_missing", 500, ERR_CLIENT, false, EXIT_OS_, "A library does not load",
                             "Install the package that has it, in the version that kpid was built for."},
    [KPI_DB_TOO_NEW] = {"db_too_new", 503, ERR_CLIENT, false, EXIT_CONFIG_,
                        "The database was written by a newer kpid", "Use that version or another KPI_DB."},
    [KPI_CANCELLED] = {"cancelled", 424, ERR_CLIENT, false, EXIT_INTERRUPTED_, "The run was cancelled",
                       "Post a new run when it is wanted after all."},
};

const struct err_info *err_info(enum kpi_code code) {
  if ((int)code < 0 || code >= KPI_CODE_COUNT || !table[code].name)
    return &table[KPI_INTERNAL];
  return &table[code];
}

const char *err_name(enum kpi_code code) {
  return err_info(code)->name;
}

enum kpi_code err_code_of(const char *name) {
  for (int i = 0; i < KPI_CODE_COUNT; i++)
    if (table[i].name && strcmp(table[i].name, name) == 0)
      return (enum kpi_code)i;
  return KPI_CODE_COUNT;
}

const char *err_category_name(enum err_category category) {
  static const char *const names[] = {"client", "data", "upstream", "internal"};
  return names[category];
}

void err_clear(struct err *e) {
  memset(e, 0, sizeof *e);
}

static void KPI_PRINTF(3, 0) set_message(struct err *e, enum kpi_code code, const char *fmt, va_list ap) {
  char text[sizeof e->message]; /* arguments may point into *e */
  vsnprintf(text, sizeof text, fmt, ap);
  err_clear(e);
  e->code = code;
  memcpy(e->message, text, sizeof text);
}

enum kpi_code err_set(struct err *e, enum kpi_code code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  set_message(e, code, fmt, ap);
  va_end(ap);
  return code;
}

enum kpi_code err_set_errno(struct err *e, enum kpi_code code, int errnum, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  set_message(e, code, fmt, ap);
  va_end(ap);
  size_t used = strlen(e->message);
  char reason[128];
  snprintf(e->message + used, sizeof e->message - used, ": %s", strerror_r(errnum, reason, sizeof reason));
  return code;
}
