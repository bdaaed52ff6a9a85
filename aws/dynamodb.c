/* SPDX-License-Identifier: MIT */
#include "aws/dynamodb.h"

#include "base/scope.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { TIMEOUT_MS = 20 * 1000, STALL_SECONDS = 10, REPLY_BYTES_MAX = 16 * 1024 * 1024, TARGET_MAX = 80 };

/* A call and its reply. The call comes first, so that its callback finds the rest. */
struct dynamodb_exchange {
  struct aws_call call;
  json_t *reply; /* owned */
};

/* Whole and undamaged: the checksum where there is one, and an object of JSON. */
static bool accept(struct aws_call *c, const struct http_reply *reply, const char **problem) {
  struct dynamodb_exchange *x = (struct dynamodb_exchange *)c;
  uint64_t promised;
  struct view body = buf_view(&reply->body);
  struct view checksum = http_header(buf_view(&reply->head), "x-amz-crc32");
  if (checksum.len && (!view_to_u64(checksum, &promised) ||
                       crc32_z(0, (const unsigned char *)body.ptr, body.len) != promised)) {
    *problem = "the checksum of the reply does not match";
    return false;
  }
  *problem = "the reply is no JSON";
  x->reply = json_loadb(body.ptr, body.len, JSON_ALLOW_NUL, NULL);
  if (json_is_object(x->reply))
    return true;
  json_decref(x->reply);
  x->reply = NULL;
  return false;
}

enum kpi_code dynamodb_call(struct aws *a, const char *operation, json_t *body, const struct stop_flag *stop,
                            json_t **out, struct aws_error *error, struct err *err) {
  char target[TARGET_MAX];
  struct http_reply reply;
  auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
  json_decref(body);
  if (!text)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s, or a text that is no UTF-8", operation);
  snprintf(target, sizeof target, "DynamoDB_20120810.%s", operation);
  struct dynamodb_exchange x = {
      .call = {.service = AWS_DYNAMODB,
               .operation = operation,
               .method = "POST",
               .path = VIEW_LIT("/"),
               .headers = {{VIEW_LIT("x-amz-target"), view_of(target)},
                           {VIEW_LIT("content-type"), VIEW_LIT("application/x-amz-json-1.0")}},
               .header_count = 2,
               .has_body = true,
               .body = view_of(text),
               .timeout_ms = TIMEOUT_MS,
               .stall_seconds = STALL_SECONDS,
               .reply_max = REPLY_BYTES_MAX,
               .accept = accept,
               .stop = stop}};
  enum kpi_code rc = aws_call(a, &x.call, &reply, error, err);
  http_reply_clear(&reply);
  if (rc == KPI_OK && out)
    *out = x.reply;
  else
    json_decref(x.reply);
  return rc;
}

static json_t *typed(const char *type, struct view value) {
  json_t *text = json_stringn(value.ptr ? value.ptr : "", value.len);
  return text ? json_pack("{s:o}", type, text) : NULL;
}

json_t *dynamodb_text(struct view text) {
  return typed("S", text);
}

json_t *dynamodb_number(struct view digits) {
  return typed("N", digits);
}

json_t *dynamodb_count(uint64_t value) {
  char digits[24];
  int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
  return typed("N", (struct view){digits, (size_t)n});
}

struct view dynamodb_get_text(const json_t *item, const char *name) {
  const json_t *text = json_object_get(json_object_get(item, name), "S");
  return (struct view){json_string_value(text), json_string_length(text)};
}

bool dynamodb_get_count(const json_t *item, const char *name, uint64_t *out) {
  const json_t *digits = json_object_get(json_object_get(item, name), "N");
  return view_to_u64((struct view){json_string_value(digits), json_string_length(digits)}, out);
}
