/* SPDX-License-Identifier: MIT */
#include "server/submission.h"

#include "base/scope.h"
#include "pipeline/timestamp.h"
#include "server/body.h"
#include "server/config.h"
#include "server/service.h"

#include <stdio.h>
#include <string.h>

enum { FINGERPRINT_BYTES_MAX = 128 * 1024 }; /* a body has at most 64 KiB */

void submission_clear(struct submission *s) {
  json_decref(s->body);
  free(s->labels);
}

/* ---- fields ---- */

bool submission_date(const json_t *value, const struct request *rq, day_t *out) {
  return json_is_string(value) && config_date(service_config(rq->app), body_text(value), out);
}

/* RFC 3339: a date, a time and an offset. Whether they are real is for timestamp_day to say. */
static bool is_instant(struct view text) {
  static const char form[] = "0000-00-00T00:00:00";
  for (size_t i = 0; i < sizeof form - 1; i++) {
    bool is_digit = i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9';
    if (i >= text.len || (form[i] == '0' ? !is_digit : text.ptr[i] != form[i]))
      return false;
  }
  const char *last = text.ptr + text.len;
  return last[-1] == 'Z' ||
         (text.len >= sizeof form + 5 && last[-3] == ':' && (last[-6] == '+' || last[-6] == '-'));
}

/* The last day that was complete at an instant. */
static void read_as_of(const json_t *value, const struct request *rq, day_t *out, struct problem *p) {
  day_t day;
  struct view text = body_text(value);
  if (is_instant(text) && timestamp_day(text, service_config(rq->app)->zone, &day))
    *out = day - 1;
  else
    problem_add(p, "/as_of", "Must be an instant with its offset: 2026-11-23T02:00:00Z.");
}

static void read_date(const struct request *rq, const json_t *body, day_t *out, struct problem *p) {
  const json_t *date = json_object_get(body, "date"), *as_of = json_object_get(body, "as_of");
  if (date && as_of)
    problem_add(p, "/as_of", "Send date or as_of, not both.");
  else if (as_of)
    read_as_of(as_of, rq, out, p);
  else if (!date)
    problem_add(p, "/date",
                "A date is needed: YYYY-MM-DD, \"yesterday\" or \"today\"; or as_of with an instant.");
  else if (!submission_date(date, rq, out))
    problem_add(p, "/date", "Must be a real date as YYYY-MM-DD, or \"yesterday\" or \"today\".");
}

static void read_words(struct submission *s, bool has_spark, struct problem *p) {
  const json_t *gate = json_object_get(s->body, "quality_gate"),
               *bad_rows = json_object_get(s->body, "bad_rows"), *engine = json_object_get(s->body, "engine");
  if (gate && !quality_gate_of(body_text(gate), &s->request.gate))
    problem_add(p, "/quality_gate", "Must be \"off\", \"warn\" or \"block\".");
  if (bad_rows && !bad_rows_of(body_text(bad_rows), &s->request.bad_rows))
    problem_add(p, "/bad_rows", "Must be \"fail\" or \"skip\".");
  if (engine && !engine_kind_of(body_text(engine), &s->request.engine))
    problem_add(p, "/engine", "Must be \"native\", \"spark\" or \"auto\".");
  else if (s->request.engine == ENGINE_SPARK && !has_spark)
    problem_add(p, "/engine", "There is no Spark cluster: KPI_SPARK_KIND is not set.");
}

static void read_max_bad_rows(const json_t *value, struct submission *s, struct problem *p) {
  struct bad_rows_limit limit;
  if (!value)
    return;
  if (json_is_integer(value) && json_integer_value(value) >= 0)
    snprintf(s->max_bad_rows, sizeof s->max_bad_rows, "%lld", (long long)json_integer_value(value));
  else if (json_is_string(value) && !view_to_cstr(body_text(value), s->max_bad_rows, sizeof s->max_bad_rows))
    s->max_bad_rows[0] = '\0';
  s->request.max_bad_rows = view_of(s->max_bad_rows);
  if (!bad_rows_limit_parse(s->request.max_bad_rows, &limit))
    problem_add(p, "/max_bad_rows", "Must be a count such as 100, or a percentage such as \"0.5%%\".");
}

static void read_labels(json_t *labels, struct submission *s, struct problem *p) {
  const char *name;
  json_t *value;
  if (!labels)
    return;
  if (!json_is_object(labels) || json_object_size(labels) > LABELS_MAX) {
    problem_add(p, "/labels", "Must be an object of at most %d strings.", LABELS_MAX);
    return;
  }
  json_object_foreach(labels, name, value) {
    if (*name == '\0' || utf8_count(view_of(name)) > LABEL_NAME_CHARS_MAX)
      problem_add(p, "/labels", "A label's name has 1 to %d characters.", LABEL_NAME_CHARS_MAX);
    if (!json_is_string(value) || utf8_count(body_text(value)) > LABEL_VALUE_CHARS_MAX)
      problem_add(p, "/labels", "A label's value is a string of at most %d characters.",
                  LABEL_VALUE_CHARS_MAX);
  }
  s->labels = json_dumps(labels, JSON_COMPACT);
  s->request.labels_json = view_of(s->labels);
}

static void read_reason(const json_t *reason, struct submission *s, struct problem *p) {
  if (!reason)
    return;
  s->request.reason = json_is_string(reason) ? body_text(reason) : (struct view){0};
  if (!json_is_string(reason) || utf8_count(s->request.reason) > REASON_CHARS_MAX)
    problem_add(p, "/reason", "Must be a string of at most %d characters.", REASON_CHARS_MAX);
}

/* ---- idempotency key ---- */

bool idempotency_key_is_valid(struct view key) {
  for (size_t i = 0; i < key.len; i++)
    if (key.ptr[i] < 0x21 || key.ptr[i] > 0x7E)
      return false;
  return key.len >= 1 && key.len <= IDEMPOTENCY_KEY_BYTES_MAX;
}

/* Takes a key, bare or as a string of RFC 8941 ("...", with \" and \\ inside), into `out`. False when it is
 * none. */
static bool take_key(struct view text, char out[IDEMPOTENCY_KEY_BYTES_MAX + 1]) {
  bool is_quoted = text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"';
  size_t n = 0, end = text.len - (is_quoted ? 1 : 0);
  for (size_t i = is_quoted ? 1 : 0; i < end; i++) {
    char c = text.ptr[i];
    bool is_escaped = is_quoted && c == '\\';
    if (is_escaped)
      c = ++i < end ? text.ptr[i] : '\0';
    if (n == IDEMPOTENCY_KEY_BYTES_MAX)
      return false;
    if (is_quoted && is_escaped != (c == '"' || c == '\\'))
      return false;
    out[n++] = c;
  }
  out[n] = '\0';
  return idempotency_key_is_valid((struct view){out, n});
}

static enum kpi_code read_key_header(const struct request *rq, char out[IDEMPOTENCY_KEY_BYTES_MAX + 1],
                                     bool *found, struct err *err) {
  struct view value = {0};
  size_t count = 0;
  for (size_t i = 0; i < rq->field_count; i++)
    count += view_eq_fold(rq->fields[i].name, VIEW_LIT("Idempotency-Key"));
  *found = request_header(rq, "Idempotency-Key", &value);
  if (count > 1)
    return err_set(err, KPI_MALFORMED_HEADER, "Idempotency-Key was sent more than once.");
  if (*found && !take_key(value, out))
    return err_set(err, KPI_MALFORMED_HEADER, "Idempotency-Key must be 1 to %d visible ASCII characters.",
                   IDEMPOTENCY_KEY_BYTES_MAX);
  return KPI_OK;
}

/* Reads the key from header or body. False when the reply is a problem already. */
static bool read_key(struct request *rq, struct reply *rp, struct submission *s, struct problem *p) {
  const json_t *member = json_object_get(s->body, "idempotency_key");
  char in_header[IDEMPOTENCY_KEY_BYTES_MAX + 1] = "";
  bool has_header;
  struct err err;
  enum kpi_code rc = read_key_header(rq, in_header, &has_header, &err);
  bool is_valid = json_is_string(member) && take_key(body_text(member), s->key);
  if (rc == KPI_OK && member && !is_valid)
    problem_add(p, "/idempotency_key", "Must be a string of 1 to %d visible ASCII characters.",
                IDEMPOTENCY_KEY_BYTES_MAX);
  if (rc == KPI_OK && has_header && is_valid && strcmp(in_header, s->key) != 0)
    rc = err_set(&err, KPI_MALFORMED_HEADER, "Idempotency-Key and idempotency_key are not the same.");
  if (rc) {
    reply_err(rp, rq, &err);
    return false;
  }
  if (has_header)
    memcpy(s->key, in_header, sizeof s->key);
  s->policy.key = view_of(s->key);
  return true;
}

/* What makes a request another one under the same key: what would be computed and where it would go, as it
 * was written: "yesterday" stays the same request on the next day. */
static bool make_fingerprint(const struct service *service, const struct submission_kind *kind,
                             const void *arg, struct submission *s) {
  auto_buf struct buf b;
  buf_init(&b, FINGERPRINT_BYTES_MAX);
  kind->identify(s->body, arg, &b);
  buf_printf(&b, "%d %d %s %s\n", s->request.publish, s->request.force, quality_gate_name(s->request.gate),
             bad_rows_name(s->request.bad_rows));
  buf_add(&b, s->request.max_bad_rows);
  const json_t *engine = json_object_get(s->body, "engine"); /* the default may be another one tomorrow */
  buf_printf(&b, "\n%s\n%s\n", engine ? engine_kind_name(s->request.engine) : "native",
             service_config(service)->source);
  if (buf_failed(&b))
    return false;
  crypto_sha256_hex(buf_view(&b), s->fingerprint);
  s->policy.fingerprint = s->fingerprint;
  return true;
}

/* ---- whole ---- */

bool submission_accept(struct request *rq, struct reply *rp, const json_t *body, const char *const *known,
                       struct problem *faults) {
  body_refuse_unknown(body, known, faults);
  if (faults->error_count > 0)
    reply_problem(rp, rq, faults);
  return faults->error_count == 0;
}

bool submission_read_optional(struct request *rq, struct reply *rp, json_t **body) {
  struct err err;
  *body = NULL;
  if (rq->body.len == 0 || body_read_object(rq, NULL, body, &err) == KPI_OK)
    return true;
  reply_err(rp, rq, &err);
  return false;
}

bool submission_is_empty(struct request *rq, struct reply *rp) {
  static const char *const none[] = {NULL};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  json_t *body;
  bool accepted = submission_read_optional(rq, rp, &body) && submission_accept(rq, rp, body, none, &p);
  json_decref(body);
  return accepted;
}

static void read_fields(const struct request *rq, struct submission *s, struct problem *p) {
  read_words(s, service_config(rq->app)->spark.kind != SPARK_NONE, p);
  read_max_bad_rows(json_object_get(s->body, "max_bad_rows"), s, p);
  read_labels(json_object_get(s->body, "labels"), s, p);
  read_reason(json_object_get(s->body, "reason"), s, p);
  s->request.publish = body_boolean(s->body, "publish", true, p);
  s->request.force = body_boolean(s->body, "force", false, p);
  s->request.timeout_seconds = body_number(s->body, "timeout_seconds", TIMEOUT_SECONDS_MAX, p);
  s->request.max_attempts = body_number(s->body, "max_attempts", ATTEMPTS_MAX, p);
  request_header(rq, "User-Agent", &s->request.user_agent);
  s->request.request_id = view_of(rq->id);
  s->request.principal = view_of(rq->principal);
  s->request.trace_id = view_of(rq->trace_id);
}

bool submission_read_as(struct request *rq, struct reply *rp, const struct submission_kind *kind, void *arg,
                        struct submission *s) {
  struct err err;
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  *s = (struct submission){.request = {.gate = GATE_WARN,
                                       .bad_rows = service_default_bad_rows(rq->app),
                                       .engine = service_config(rq->app)->engine}};
  if (body_read_object(rq, kind->form, &s->body, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  kind->read(rq, s->body, arg, &p);
  read_fields(rq, s, &p);
  if (!read_key(rq, rp, s, &p) || !submission_accept(rq, rp, s->body, kind->known, &p))
    return false;
  if (make_fingerprint(rq->app, kind, arg, s))
    return true;
  reply_error(rp, rq, KPI_INTERNAL_ERROR, "No memory for the request.");
  return false;
}

/* ---- POST /runs ---- */

/* What only a run for one date has. */
struct one_date {
  day_t date;
  uint32_t expires_in_seconds;
  enum on_active on_active;
  enum on_finished on_finished;
};

static void read_one_date(const struct request *rq, const json_t *body, void *arg, struct problem *p) {
  struct one_date *one = arg;
  const json_t *active = json_object_get(body, "on_active"), *finished = json_object_get(body, "on_finished");
  read_date(rq, body, &one->date, p);
  one->expires_in_seconds = body_number(body, "expires_in_seconds", EXPIRES_SECONDS_MAX, p);
  if (active && !on_active_of(body_text(active), &one->on_active))
    problem_add(p, "/on_active", "Must be \"attach\", \"reject\" or \"supersede\".");
  if (finished && !on_finished_of(body_text(finished), &one->on_finished))
    problem_add(p, "/on_finished",
                "Must be \"new\", \"attach\", \"retry_failed\", \"if_changed\" or \"reject\".");
}

static void identify_one_date(const json_t *body, const void *arg, struct buf *out) {
  static const char *const texts[] = {"date", "as_of", NULL};
  (void)arg;
  for (const char *const *name = texts; *name; name++) {
    buf_add_json(out, body_text(json_object_get(body, *name)));
    buf_add_char(out, '\n');
  }
}

bool submission_read(struct request *rq, struct reply *rp, struct submission *s) {
  static const char *const known[] = {"date",
                                      "as_of",
                                      "engine",
                                      "publish",
                                      "quality_gate",
                                      "bad_rows",
                                      "max_bad_rows",
                                      "labels",
                                      "reason",
                                      "force",
                                      "on_active",
                                      "on_finished",
                                      "idempotency_key",
                                      "timeout_seconds",
                                      "max_attempts",
                                      "expires_in_seconds",
                                      NULL};
  static const char *const booleans[] = {"publish", "force", NULL};
  static const char *const numbers[] = {"timeout_seconds", "max_attempts", "expires_in_seconds", NULL};
  static const struct body_form form = {booleans, numbers};
  static const struct submission_kind kind = {known, &form, read_one_date, identify_one_date};
  struct one_date one = {0};
  bool ok = submission_read_as(rq, rp, &kind, &one, s);
  s->request.date = one.date;
  s->request.expires_in_seconds = one.expires_in_seconds;
  s->policy.on_active = one.on_active;
  s->policy.on_finished = one.on_finished;
  return ok;
}
