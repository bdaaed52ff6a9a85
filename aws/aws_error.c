/* SPDX-License-Identifier: MIT */
#include "aws/aws_error.h"

#include "aws/xml.h"

#include <jansson.h>
#include <string.h>

/* ---- reading ---- */

static void set_text(struct view text, char *out, size_t size) {
  view_to_cstr(view_trim(text), out, size);
}

/* Of <Error><Code>..., and of STS's <ErrorResponse><Error>.... */
static bool on_element(void *arg, struct view path, struct view text) {
  struct aws_error *e = arg;
  if (view_ends(path, "Error/Code"))
    set_text(text, e->code, sizeof e->code);
  else if (view_ends(path, "Error/Message"))
    set_text(text, e->message, sizeof e->message);
  else if (view_ends(path, "Error/Region"))
    set_text(text, e->region, sizeof e->region);
  else if (view_ends(path, "RequestId") && !e->request_id[0])
    set_text(text, e->request_id, sizeof e->request_id);
  return true;
}

static enum aws_reason reason_of(const char *code) {
  static const struct {
    const char *code;
    enum aws_reason reason;
  } known[] = {{"None", REASON_NONE},
               {"ConditionalCheckFailed", REASON_CONDITION},
               {"TransactionConflict", REASON_CONFLICT},
               {"ThrottlingError", REASON_THROTTLED},
               {"ProvisionedThroughputExceeded", REASON_THROTTLED}};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (strcmp(code, known[i].code) == 0)
      return known[i].reason;
  return REASON_OTHER;
}

static void parse_reasons(const json_t *reasons, struct aws_error *e) {
  size_t i;
  json_t *reason;
  json_array_foreach(reasons, i, reason) {
    if (e->reason_count == AWS_REASONS_MAX)
      return;
    const char *code = json_string_value(json_object_get(reason, "Code"));
    e->reasons[e->reason_count++] = reason_of(code ? code : "");
    const char *message = json_string_value(json_object_get(reason, "Message"));
    if (message && !strstr(e->message, message)) {
      size_t used = strlen(e->message);
      set_text(view_of(message), e->message + used, sizeof e->message - used);
    }
  }
}

/* "com.amazonaws...#Code", "Code:http://...": the code alone. */
static struct view bare_code(struct view type) {
  const char *hash = type.len ? memchr(type.ptr, '#', type.len) : NULL;
  struct view rest = hash ? (struct view){hash + 1, type.len - (size_t)(hash + 1 - type.ptr)} : type;
  return view_split(&rest, ':');
}

/* {"__type":"com.amazonaws...#Code","message":...}; some write "Message", and some the code into the head. */
static void parse_json(const struct http_reply *reply, struct aws_error *e) {
  json_t *root = json_loadb(reply->body.ptr, reply->body.len, 0, NULL);
  struct view type = http_header(buf_view(&reply->head), "x-amzn-errortype");
  if (!type.len)
    type = view_of(json_string_value(json_object_get(root, "__type")));
  const char *message = json_string_value(json_object_get(root, "message"));
  if (!message)
    message = json_string_value(json_object_get(root, "Message"));
  set_text(bare_code(type), e->code, sizeof e->code);
  set_text(view_of(message), e->message, sizeof e->message);
  parse_reasons(json_object_get(root, "CancellationReasons"), e);
  json_decref(root);
}

/* S3 and DynamoDB each have a header of their own. */
static struct view request_id_of(const struct http_reply *reply) {
  struct view id = http_header(buf_view(&reply->head), "x-amz-request-id");
  return id.len ? id : http_header(buf_view(&reply->head), "x-amzn-requestid");
}

void aws_error_parse(enum aws_service service, const struct http_reply *reply, struct aws_error *out) {
  *out = (struct aws_error){.status = (int)reply->status};
  set_text(request_id_of(reply), out->request_id, sizeof out->request_id);
  set_text(http_header(buf_view(&reply->head), "x-amz-bucket-region"), out->region, sizeof out->region);
  struct aws_error parsed = *out;
  if (service == AWS_DYNAMODB || service == AWS_EMR_SERVERLESS)
    parse_json(reply, &parsed);
  else if (!xml_walk(buf_view(&reply->body), on_element, &parsed))
    return; /* not from the service: a proxy's page, say */
  *out = parsed;
}

/* ---- judging ---- */

static bool is_one_of(const char *code, const char *const *codes) {
  for (; *codes; codes++)
    if (strcmp(code, *codes) == 0)
      return true;
  return false;
}

static const char *const throttling[] = {"Throttling",
                                         "ThrottlingException",
                                         "ThrottledException",
                                         "RequestThrottledException",
                                         "TooManyRequestsException",
                                         "ProvisionedThroughputExceededException",
                                         "TransactionInProgressException",
                                         "RequestLimitExceeded",
                                         "BandwidthLimitExceeded",
                                         "LimitExceededException",
                                         "RequestThrottled",
                                         "SlowDown",
                                         "PriorRequestNotComplete",
                                         NULL};
static const char *const transient[] = {"RequestTimeout",
                                        "RequestTimeoutException",
                                        "InternalError",
                                        "InternalServerError",
                                        "ServiceUnavailable",
                                        "InternalFailure",
                                        "OperationAborted",
                                        "ConditionalRequestConflict",
                                        "TransactionConflictException",
                                        NULL};
static const char *const skewed[] = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture", NULL};
static const char *const expired[] = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", NULL};

bool aws_error_has_reason(const struct aws_error *e, enum aws_reason reason) {
  for (size_t i = 0; i < e->reason_count; i++)
    if (e->reasons[i] == reason)
      return true;
  return false;
}

static bool is_throttling(const struct aws_error *e) {
  return e->status == 429 || is_one_of(e->code, throttling) ||
         (e->status == 503 && strcmp(e->code, "SlowDown") == 0);
}

enum aws_verdict aws_error_verdict(const struct aws_error *e) {
  if (strcmp(e->code, "TransactionCanceledException") == 0) {
    bool passing = aws_error_has_reason(e, REASON_CONFLICT) || aws_error_has_reason(e, REASON_THROTTLED);
    if (!passing || aws_error_has_reason(e, REASON_CONDITION) || aws_error_has_reason(e, REASON_OTHER))
      return AWS_FINAL;
    return aws_error_has_reason(e, REASON_THROTTLED) ? AWS_RETRY_THROTTLED : AWS_RETRY;
  }
  bool says_skew =
      strcmp(e->code, "InvalidSignatureException") == 0 && strstr(e->message, "Signature expired");
  says_skew |=
      strcmp(e->code, "InvalidSignatureException") == 0 && strstr(e->message, "Signature not yet current");
  if (is_one_of(e->code, skewed) || says_skew)
    return AWS_RETRY_SKEW;
  if (is_one_of(e->code, expired))
    return AWS_RETRY_EXPIRED;
  if (is_throttling(e))
    return AWS_RETRY_THROTTLED;
  if (is_one_of(e->code, transient) || e->status == 500 || e->status == 502 || e->status == 503 ||
      e->status == 504)
    return AWS_RETRY;
  return AWS_FINAL;
}

/* ---- telling ---- */

/* A code of a service and ours; the first that fits counts. */
struct mapping {
  const char *code;
  enum kpi_code ours;
};

static const struct mapping s3_codes[] = {{"NoSuchBucket", KPI_S3_NO_SUCH_BUCKET},
                                          {"InvalidBucketName", KPI_S3_NO_SUCH_BUCKET},
                                          {"PermanentRedirect", KPI_S3_NO_SUCH_BUCKET},
                                          {"TemporaryRedirect", KPI_S3_NO_SUCH_BUCKET},
                                          {"AuthorizationHeaderMalformed", KPI_S3_NO_SUCH_BUCKET},
                                          {"IllegalLocationConstraintException", KPI_S3_NO_SUCH_BUCKET},
                                          {"InvalidToken", KPI_S3_ACCESS_DENIED},
                                          {"NoSuchKey", KPI_S3_OBJECT_CHANGED},
                                          {"NoSuchVersion", KPI_S3_OBJECT_CHANGED},
                                          {"PreconditionFailed", KPI_S3_OBJECT_CHANGED},
                                          {"InvalidRange", KPI_S3_OBJECT_CHANGED},
                                          {"InvalidObjectState", KPI_SOURCE_UNREADABLE},
                                          {"RequestTimeout", KPI_S3_TIMEOUT},
                                          {NULL, KPI_OK}};

static const struct mapping dynamodb_codes[] = {
    {"ResourceNotFoundException", KPI_DYNAMODB_TABLE_MISSING},
    {"TableNotFoundException", KPI_DYNAMODB_TABLE_MISSING},
    {"AccessDeniedException", KPI_DYNAMODB_ACCESS_DENIED},
    {"UnrecognizedClientException", KPI_DYNAMODB_ACCESS_DENIED},
    {"InvalidSignatureException", KPI_DYNAMODB_ACCESS_DENIED},
    {"IncompleteSignatureException", KPI_DYNAMODB_ACCESS_DENIED},
    {"MissingAuthenticationTokenException", KPI_DYNAMODB_ACCESS_DENIED},
    {"ValidationException", KPI_DYNAMODB_VALIDATION},
    {"SerializationException", KPI_DYNAMODB_VALIDATION},
    {"ItemCollectionSizeLimitExceededException", KPI_DYNAMODB_VALIDATION},
    {NULL, KPI_OK}};

static const struct mapping emr_codes[] = {{"ServiceQuotaExceededException", KPI_ENGINE_UNAVAILABLE},
                                           {NULL, KPI_OK}};

/* What a service's failures are called when no code says more. */
struct names {
  const struct mapping *codes;
  enum kpi_code denied, throttled, unavailable, timeout, other;
};

static const struct names names[AWS_SERVICE_COUNT] = {
    [AWS_S3] = {s3_codes, KPI_S3_ACCESS_DENIED, KPI_S3_THROTTLED, KPI_S3_UNAVAILABLE, KPI_S3_TIMEOUT,
                KPI_SOURCE_UNREADABLE},
    [AWS_DYNAMODB] = {dynamodb_codes, KPI_DYNAMODB_ACCESS_DENIED, KPI_DYNAMODB_THROTTLED,
                      KPI_DYNAMODB_UNAVAILABLE, KPI_DYNAMODB_UNAVAILABLE, KPI_DYNAMODB_VALIDATION},
    [AWS_STS] = {NULL, KPI_CREDENTIALS_MISSING, KPI_CREDENTIALS_MISSING, KPI_CREDENTIALS_MISSING,
                 KPI_CREDENTIALS_MISSING, KPI_CREDENTIALS_MISSING},
    [AWS_EMR_SERVERLESS] = {emr_codes, KPI_ENGINE_FAILED, KPI_ENGINE_UNAVAILABLE, KPI_ENGINE_UNAVAILABLE,
                            KPI_ENGINE_UNAVAILABLE, KPI_ENGINE_FAILED}};

/* DynamoDB calls a wrong key a validation error like any other. */
static bool is_about_keys(const struct aws_error *e) {
  static const char *const phrases[] = {"does not match the schema",        "Missing the key",
                                        "number of conditions on the keys", "Type mismatch for key",
                                        "key element does not match",       NULL};
  for (int i = 0; phrases[i]; i++)
    if (strstr(e->message, phrases[i]))
      return true;
  return false;
}

static enum kpi_code code_by_status(enum aws_service service, const struct aws_error *e) {
  const struct names *n = &names[service];
  if (e->status == 403 || e->status == 401)
    return n->denied;
  if (service == AWS_S3 && (e->status == 301 || e->status == 307))
    return KPI_S3_NO_SUCH_BUCKET;
  if (service == AWS_S3 && (e->status == 412 || e->status == 416))
    return KPI_S3_OBJECT_CHANGED;
  bool is_of_service = e->code[0] != '\0'; /* no document: somebody in between has answered */
  if (e->status >= 500 || e->status < 400 || !is_of_service)
    return n->unavailable;
  return n->other;
}

static enum kpi_code code_of(enum aws_service service, const struct aws_error *e) {
  const struct names *n = &names[service];
  enum aws_verdict verdict = aws_error_verdict(e);
  if (verdict == AWS_RETRY_EXPIRED)
    return KPI_CREDENTIALS_EXPIRED;
  if (verdict == AWS_RETRY_SKEW)
    return n->denied;
  if (verdict == AWS_RETRY_THROTTLED)
    return n->throttled;
  for (const struct mapping *m = n->codes; m && m->code; m++)
    if (strcmp(e->code, m->code) == 0)
      return m->ours == KPI_DYNAMODB_VALIDATION && is_about_keys(e) ? KPI_DYNAMODB_SCHEMA_MISMATCH : m->ours;
  return verdict == AWS_RETRY ? n->unavailable : code_by_status(service, e);
}

void aws_error_place(enum aws_service service, const char *operation, struct err *err) {
  view_to_cstr(view_of(aws_service_name(service)), err->remote.service, sizeof err->remote.service);
  view_to_cstr(view_of(operation), err->remote.operation, sizeof err->remote.operation);
}

bool aws_error_is_condition(const struct aws_error *e) {
  return strcmp(e->code, "ConditionalCheckFailedException") == 0 || aws_error_has_reason(e, REASON_CONDITION);
}

enum kpi_code aws_error_tell(enum aws_service service, const char *operation, const struct aws_error *e,
                             struct err *err) {
  enum kpi_code code = code_of(service, e);
  const char *what = e->code[0] ? e->code : "no error document";
  if (e->region[0] && code == KPI_S3_NO_SUCH_BUCKET)
    err_set(err, code, "%s: the bucket is in the region %s: set AWS_REGION (%s)", operation, e->region, what);
  else
    err_set(err, code, "%s: HTTP %d %s%s%s", operation, e->status, what, e->message[0] ? ": " : "",
            e->message);
  aws_error_place(service, operation, err);
  view_to_cstr(view_of(e->code), err->remote.error, sizeof err->remote.error);
  view_to_cstr(view_of(e->request_id), err->remote.request_id, sizeof err->remote.request_id);
  err->remote.http_status = e->status;
  return code;
}

enum kpi_code aws_outcome_tell(enum aws_service service, const char *operation, enum http_outcome outcome,
                               const struct http_reply *reply, const char *problem, struct err *err) {
  const struct names *n = &names[service];
  enum kpi_code code = n->unavailable;
  if (outcome == HTTP_TIMED_OUT)
    code = n->timeout;
  if (outcome == HTTP_NO_MEMORY)
    code = KPI_OUT_OF_MEMORY;
  if (outcome == HTTP_STOPPED)
    code = KPI_CANCELLED;
  err_set(err, code, "%s: %s", operation, problem);
  aws_error_place(service, operation, err);
  set_text(request_id_of(reply), err->remote.request_id, sizeof err->remote.request_id);
  err->remote.http_status = (int)reply->status;
  return code;
}
