/* SPDX-License-Identifier: MIT */
#include "server/body.h"

#include "base/scope.h"

#include <string.h>

/* --- scan -------------------------------------------------------------------------------------------- */

struct scan {
  struct view text;
  size_t at;
  size_t depth;
  bool in_string;
};

static enum kpi_code scan_error(const struct scan *s, const char *what, struct err *err) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < s->at; i++) {
    column = s->text.ptr[i] == '\n' ? 1 : column + 1;
    line += s->text.ptr[i] == '\n';
  }
  return err_set(err, KPI_MALFORMED_JSON, "line %zu, column %zu: %s", line, column, what);
}

/* Reads \uXXXX at `at`; -1 when there is none. */
static int32_t unicode_escape(struct view text, size_t at) {
  if (at + 6 > text.len || text.ptr[at] != '\\' || text.ptr[at + 1] != 'u')
    return -1;
  int32_t n = 0;
  for (size_t i = at + 2; i < at + 6; i++) {
    char c = text.ptr[i];
    if (c >= '0' && c <= '9')
      n = n * 16 + (c - '0');
    else if (c >= 'a' && c <= 'f')
      n = n * 16 + (c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
      n = n * 16 + (c - 'A') + 10;
    else
      return -1;
  }
  return n;
}

static bool is_high(int32_t n) {
  return n >= 0xD800 && n <= 0xDBFF;
}

static bool is_low(int32_t n) {
  return n >= 0xDC00 && n <= 0xDFFF;
}

/* Moves over one escape inside a string. A bad one is left to the JSON parser. */
static enum kpi_code scan_escape(struct scan *s, struct err *err) {
  int32_t n = unicode_escape(s->text, s->at);
  if (n == 0)
    return scan_error(s, "the character U+0000 is not taken", err);
  if (is_low(n) || (is_high(n) && !is_low(unicode_escape(s->text, s->at + 6))))
    return scan_error(s, "half of a surrogate pair", err);
  s->at += n < 0 ? 2 : is_high(n) ? 12 : 6;
  return KPI_OK;
}

static enum kpi_code scan_structure(struct scan *s, char c, struct err *err) {
  if (c == '{' || c == '[') {
    if (++s->depth > HTTP_JSON_DEPTH_MAX)
      return scan_error(s, "nested too deeply", err);
  } else if ((c == '}' || c == ']') && s->depth > 0) {
    s->depth--;
  }
  return KPI_OK;
}

static enum kpi_code scan_one(struct scan *s, struct err *err) {
  char c = s->text.ptr[s->at];
  size_t length = utf8_sequence((struct view){s->text.ptr + s->at, s->text.len - s->at});
  if (length == 0)
    return scan_error(s, "not UTF-8", err);
  if (c == '\0')
    return scan_error(s, "a NUL byte", err);
  if (c == '\\' && s->in_string)
    return scan_escape(s, err);
  if (c == '"')
    s->in_string = !s->in_string;
  enum kpi_code rc = s->in_string ? KPI_OK : scan_structure(s, c, err);
  s->at += length;
  return rc;
}

enum kpi_code body_scan_json(struct view text, struct err *err) {
  struct scan s = {.text = text};
  while (s.at < text.len) {
    enum kpi_code rc = scan_one(&s, err);
    if (rc)
      return rc;
  }
  return KPI_OK;
}

/* --- type -------------------------------------------------------------------------------------------- */

static bool is_utf8_charset(struct view parameter) {
  struct view value = parameter;
  struct view name = view_trim(view_split(&value, '='));
  value = view_trim(value);
  if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
    value = (struct view){value.ptr + 1, value.len - 2};
  return view_eq_fold(name, VIEW_LIT("charset")) && view_eq_fold(value, VIEW_LIT("utf-8"));
}

enum body_type { BODY_OTHER, BODY_JSON, BODY_FORM };

/* The type, also with charset=utf-8; no other parameter. */
static enum body_type type_of(struct view type) {
  struct view name = view_trim(view_split(&type, ';'));
  while (type.ptr) {
    struct view parameter = view_trim(view_split(&type, ';'));
    if (parameter.len && !is_utf8_charset(parameter))
      return BODY_OTHER;
  }
  if (view_eq_fold(name, VIEW_LIT("application/json")))
    return BODY_JSON;
  return view_eq_fold(name, VIEW_LIT("application/x-www-form-urlencoded")) ? BODY_FORM : BODY_OTHER;
}

static enum kpi_code check_type(const struct request *rq, enum body_type *out, struct err *err) {
  struct view type, encoding;
  size_t types = 0;
  *out = BODY_OTHER;
  for (size_t i = 0; i < rq->field_count; i++)
    types += view_eq_fold(rq->fields[i].name, VIEW_LIT("Content-Type"));
  if (types == 1 && request_header(rq, "Content-Type", &type))
    *out = type_of(type);
  if (*out == BODY_OTHER)
    return err_set(err, KPI_UNSUPPORTED_MEDIA_TYPE,
                   "The body must be sent with one Content-Type, application/json or "
                   "application/x-www-form-urlencoded, in UTF-8.");
  if (request_header(rq, "Content-Encoding", &encoding) && !view_eq_fold(encoding, VIEW_LIT("identity")))
    return err_set(err, KPI_UNSUPPORTED_MEDIA_TYPE, "The body must be sent without Content-Encoding.");
  return KPI_OK;
}

/* --- object ------------------------------------------------------------------------------------------ */

static bool is_listed(const char *name, const char *const *list) {
  for (; *list; list++)
    if (strcmp(name, *list) == 0)
      return true;
  return false;
}

static enum kpi_code read_json(const struct request *rq, json_t **out, struct err *err) {
  json_error_t fault;
  if (view_trim(rq->body).len == 0)
    return err_set(err, KPI_MALFORMED_JSON, "The body is empty; a JSON object is expected.");
  enum kpi_code rc = body_scan_json(rq->body, err);
  if (rc)
    return rc;
  json_t *value = json_loadb(rq->body.ptr, rq->body.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
  if (!value)
    return err_set(err, KPI_MALFORMED_JSON, "line %d, column %d: %s", fault.line, fault.column, fault.text);
  if (!json_is_object(value)) {
    json_decref(value);
    return err_set(err, KPI_VALIDATION_FAILED, "The body must be a JSON object.");
  }
  *out = value;
  return KPI_OK;
}

/* The value of a field of a form, which is a boolean or a number where the field is and it looks like one. */
static json_t *form_value(const char *name, struct view text, const struct body_form *form) {
  uint64_t number;
  if (form && is_listed(name, form->booleans) && (view_is(text, "true") || view_is(text, "false")))
    return json_boolean(view_is(text, "true"));
  if (form && is_listed(name, form->numbers) && view_to_u64(text, &number) && number <= INT64_MAX)
    return json_integer((json_int_t)number);
  return json_stringn(text.ptr, text.len);
}

/* Adds one pair of a form; false when it is malformed or repeats a name. */
static bool add_pair(json_t *object, struct view pair, const struct body_form *form, char **scratch) {
  struct view value = pair, name = view_split(&value, '=');
  struct view key, text;
  if (!request_decode(name, scratch, &key) || !request_decode(value, scratch, &text) || key.len == 0)
    return false;
  char key_text[128];
  if (!view_to_cstr(key, key_text, sizeof key_text) || json_object_get(object, key_text))
    return false;
  return json_object_set_new(object, key_text, form_value(key_text, text, form)) == 0;
}

static enum kpi_code read_form(const struct request *rq, const struct body_form *form, json_t **out,
                               struct err *err) {
  auto_free char *scratch = malloc(rq->body.len + 1);
  json_t *object = json_object();
  char *to = scratch;
  bool ok = scratch && object;
  for (struct view rest = rq->body; ok && rest.ptr && rest.len;)
    ok = add_pair(object, view_split(&rest, '&'), form, &to);
  if (!ok) {
    json_decref(object);
    return err_set(err, KPI_VALIDATION_FAILED, "The form must be name=value pairs in UTF-8, each name once.");
  }
  *out = object;
  return KPI_OK;
}

enum kpi_code body_read_object(const struct request *rq, const struct body_form *form, json_t **out,
                               struct err *err) {
  enum body_type type;
  *out = NULL;
  enum kpi_code rc = check_type(rq, &type, err);
  if (rc)
    return rc;
  return type == BODY_JSON ? read_json(rq, out, err) : read_form(rq, form, out, err);
}

struct view body_text(const json_t *value) {
  return (struct view){json_string_value(value), json_string_length(value)};
}

/* RFC 6901: '~' is written ~0 and '/' is written ~1. */
static void add_pointer(struct buf *to, const char *name) {
  buf_add_char(to, '/');
  for (; *name; name++) {
    if (*name == '~' || *name == '/')
      buf_add_cstr(to, *name == '~' ? "~0" : "~1");
    else
      buf_add_char(to, *name);
  }
}

void body_refuse_unknown(const json_t *object, const char *const *known, struct problem *p) {
  const char *name;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)object, name, value) {
    if (is_listed(name, known))
      continue;
    struct buf pointer;
    buf_init(&pointer, HTTP_BODY_BYTES_MAX * 2);
    add_pointer(&pointer, name);
    problem_add(p, buf_failed(&pointer) ? "" : pointer.ptr, "This field is not known here.");
    buf_clear(&pointer);
  }
}

bool body_boolean(const json_t *body, const char *name, bool absent, struct problem *p) {
  const json_t *value = json_object_get(body, name);
  char pointer[32];
  snprintf(pointer, sizeof pointer, "/%s", name);
  if (value && !json_is_boolean(value))
    problem_add(p, pointer, "Must be true or false.");
  return value ? json_is_true(value) : absent;
}

uint32_t body_number(const json_t *body, const char *name, uint32_t max, struct problem *p) {
  const json_t *value = json_object_get(body, name);
  char pointer[32];
  snprintf(pointer, sizeof pointer, "/%s", name);
  json_int_t n = json_integer_value(value);
  if (value && (!json_is_integer(value) || n < 1 || n > max))
    problem_add(p, pointer, "Must be a whole number from 1 to %u.", max);
  return n >= 1 && n <= max ? (uint32_t)n : 0;
}
