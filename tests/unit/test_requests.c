/* SPDX-License-Identifier: MIT
 * What test_http leaves open of requests, bodies, replies and cursors: the edges of each. */
#include "base/scope.h"
#include "server/body.h"
#include "server/cursor.h"
#include "server/router.h"

#include "unit.h"

static struct request request_of(const char *target) {
  struct request rq = {.method = HTTP_GET};
  request_set_target(&rq, view_of(target));
  strcpy(rq.id, "rq-1");
  return rq;
}

static void add_field(struct request *rq, const char *name, const char *value) {
  rq->fields[rq->field_count++] = (struct http_field){view_of(name), view_of(value)};
}

/* ---- targets and names ---- */

static void targets_are_split_at_the_first_question_mark(void **state) {
  (void)state;
  static const struct {
    const char *target, *path, *query;
  } cases[] = {{"/", "/", ""},
               {"/a", "/a", ""},
               {"/a?", "/a", ""},
               {"/a?b=c", "/a", "b=c"},
               {"/a?b=?&c", "/a", "b=?&c"},
               {"/?x", "/", "x"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct request rq = request_of(cases[i].target);
    assert_view(rq.path, cases[i].path);
    assert_view(rq.query, cases[i].query);
    request_clear(&rq);
  }
  request_clear(NULL);
}

static void methods_are_case_sensitive(void **state) {
  (void)state;
  static const struct {
    const char *name;
    enum http_method method;
  } cases[] = {{"GET", HTTP_GET},   {"HEAD", HTTP_HEAD}, {"POST", HTTP_POST}, {"OPTIONS", HTTP_OPTIONS},
               {"get", HTTP_OTHER}, {"PUT", HTTP_OTHER}, {"", HTTP_OTHER},    {"GETS", HTTP_OTHER}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(request_method_of(view_of(cases[i].name)), cases[i].method);
}

static void request_ids_are_taken_over_when_they_are_harmless(void **state) {
  (void)state;
  char longest[HTTP_REQUEST_ID_BYTES_MAX + 2];
  memset(longest, 'x', sizeof longest);
  longest[HTTP_REQUEST_ID_BYTES_MAX + 1] = '\0';
  const struct {
    const char *sent;
    bool is_taken;
  } cases[] = {{"abc-123_X.9", true}, {"", false},      {"a b", false},     {"a\"b", false},
               {"\xc3\xa4", false},   {longest, false}, {longest + 1, true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct request rq = request_of("/");
    add_field(&rq, "x-request-id", cases[i].sent);
    request_set_id(&rq);
    if ((strcmp(rq.id, cases[i].sent) == 0) != cases[i].is_taken)
      fail_msg("\"%s\" became %s", cases[i].sent, rq.id);
    if (!cases[i].is_taken)
      assert_true(crypto_is_uuid(view_of(rq.id)));
  }
}

/* ---- queries ---- */

static void no_more_parameters_than_the_limit(void **state) {
  (void)state;
  char names[HTTP_QUERY_ARGS_MAX + 1][8], target[1024] = "/x?";
  const char *known[HTTP_QUERY_ARGS_MAX + 2] = {NULL};
  for (int i = 0; i <= HTTP_QUERY_ARGS_MAX; i++) {
    struct err err;
    snprintf(names[i], sizeof names[i], "p%d", i);
    known[i] = names[i];
    snprintf(target + strlen(target), sizeof target - strlen(target), "%s%s=%d", i ? "&" : "", names[i], i);
    struct request rq = request_of(target);
    enum kpi_code rc = request_parse_query(&rq, known, &err);
    assert_int_equal(rc, i < HTTP_QUERY_ARGS_MAX ? KPI_OK : KPI_MALFORMED_QUERY);
    assert_true(rc || rq.arg_count == (size_t)i + 1);
    request_clear(&rq);
  }
}

static void queries_that_are_unclear_are_refused(void **state) {
  (void)state;
  static const char *const known[] = {"a", "b", NULL};
  static const struct {
    const char *target;
    bool ok;
  } cases[] = {{"/x?a", true},         {"/x?a=", true},          {"/x?a==", true},
               {"/x?%61=1", true},     {"/x?a=1&", false},       {"/x?&a=1", false},
               {"/x?a=1&&b=2", false}, {"/x?a=1&%61=2", false},  {"/x?a=%0a", false},
               {"/x?a=%7f", false},    {"/x?A=1", false},        {"/x?a=%c3%28", false},
               {"/x?a=%C3%A4", true},  {"/x?a=%ED%A0%80", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct err err;
    struct request rq = request_of(cases[i].target);
    enum kpi_code rc = request_parse_query(&rq, known, &err);
    if (rc != (cases[i].ok ? KPI_OK : KPI_MALFORMED_QUERY))
      fail_msg("%s", cases[i].target);
    request_clear(&rq);
  }
}

static void numbers_of_a_query_have_their_range(void **state) {
  (void)state;
  static const char *const known[] = {"n", NULL};
  static const struct {
    const char *target;
    uint64_t n;
    bool ok;
  } cases[] = {{"/x", 7, true},       {"/x?n=1", 1, true}, {"/x?n=10", 10, true}, {"/x?n=0", 7, false},
               {"/x?n=11", 7, false}, {"/x?n=", 7, false}, {"/x?n=-1", 7, false}, {"/x?n=1.0", 7, false},
               {"/x?n=+1", 7, false}, {"/x?n=01", 1, true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct err err;
    uint64_t n = 7;
    struct request rq = request_of(cases[i].target);
    assert_int_equal(request_parse_query(&rq, known, &err), KPI_OK);
    assert_int_equal(request_arg_u64(&rq, "n", 1, 10, &n, &err), cases[i].ok ? KPI_OK : KPI_MALFORMED_QUERY);
    assert_int_equal(n, cases[i].n);
    if (!cases[i].ok)
      assert_non_null(strstr(err.message, "'n'"));
    request_clear(&rq);
  }
}

static void waiting_is_asked_for_by_query_or_preference(void **state) {
  (void)state;
  static const char *const known[] = {"wait", NULL};
  static const struct {
    const char *target, *prefer;
    unsigned seconds;
    bool is_preferred, ok;
  } cases[] = {{"/x", NULL, 0, false, true},
               {"/x?wait=5", NULL, 5, false, true},
               {"/x?wait=51", NULL, 50, false, true},
               {"/x?wait=18446744073709551615", NULL, 50, false, true},
               {"/x?wait=soon", NULL, 0, false, false},
               {"/x?wait=-1", NULL, 0, false, false},
               {"/x", "wait=7", 7, true, true},
               {"/x", "respond-async, WAIT = 9; foo", 9, true, true},
               {"/x", "wait=99", 50, true, true},
               {"/x", "wait=soon", 0, false, true},
               {"/x", "await=7", 0, false, true},
               {"/x?wait=3", "wait=7", 3, false, true}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct err err;
    unsigned seconds = 99;
    bool is_preferred;
    struct request rq = request_of(cases[i].target);
    if (cases[i].prefer)
      add_field(&rq, "Prefer", cases[i].prefer);
    assert_int_equal(request_parse_query(&rq, known, &err), KPI_OK);
    enum kpi_code rc = request_wait_seconds(&rq, &seconds, &is_preferred, &err);
    assert_int_equal(rc, cases[i].ok ? KPI_OK : KPI_MALFORMED_QUERY);
    if (rc == KPI_OK) {
      assert_int_equal(seconds, cases[i].seconds);
      assert_int_equal(is_preferred, cases[i].is_preferred);
    }
    request_clear(&rq);
  }
}

static void malformed_media_ranges_count_as_none(void **state) {
  (void)state;
  static const char *const offers[] = {"application/json", "text/csv", NULL};
  static const struct {
    const char *accept;
    int offer;
  } cases[] = {{"", 0},
               {"json", 0},
               {"text/csv;q=2", 0},
               {"text/csv;q=0.5000", 0},
               {"text/csv;q=", 0},
               {"text/csv;q=0.001", 1},
               {"text/csv;q=1.000", 1},
               {"text/csv ; charset=utf-8 ; q=0.9, application/json;q=0.8", 1},
               {"TEXT/CSV", 1},
               {"*/json", -1},
               {"text/csv;q=0", -1},
               {"*/*;q=0", -1},
               {"text/*;q=0.1,*/*;q=0.05,text/csv;q=0", 0}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct request rq = request_of("/x");
    add_field(&rq, "Accept", cases[i].accept);
    if (request_negotiate(&rq, offers) != cases[i].offer)
      fail_msg("\"%s\": %d", cases[i].accept, request_negotiate(&rq, offers));
  }
}

static void entity_tags_are_compared_weakly(void **state) {
  (void)state;
  static const struct {
    const char *sent;
    bool matches;
  } cases[] = {{"\"v1\"", true},    {"W/\"v1\"", true}, {"*", true},     {"\"v0\", \"v1\"", true},
               {"v1", false},       {"\"v1", false},    {"\"\"", false}, {"\"v12\"", false},
               {"w/\"v1\"", false}, {"", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct request rq = request_of("/x");
    add_field(&rq, "If-None-Match", cases[i].sent);
    if (request_etag_matches(&rq, "v1") != cases[i].matches)
      fail_msg("%s", cases[i].sent);
  }
  struct request none = request_of("/x");
  assert_false(request_etag_matches(&none, "v1"));
}

/* ---- bodies ---- */

static enum kpi_code read_body(const char *type, const char *text, json_t **out, struct err *err) {
  static const char *const booleans[] = {"publish", NULL}, *const none[] = {NULL};
  struct request rq = {.method = HTTP_POST, .body = view_of(text)};
  add_field(&rq, "Content-Type", type);
  return body_read_object(&rq, &(struct body_form){booleans, none}, out, err);
}

#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"

static void types_of_bodies_are_taken_or_refused(void **state) {
  (void)state;
  static const struct {
    const char *type;
    bool ok;
  } cases[] = {{JSON, true},
               {"Application/JSON", true},
               {JSON ";charset=utf-8", true},
               {JSON " ; Charset = \"UTF-8\"", true},
               {JSON ";", true},
               {JSON "; charset=utf-16", false},
               {JSON "; version=1", false},
               {"application/jsonx", false},
               {"application/merge-patch+json", false},
               {"text/json", false},
               {"multipart/form-data; boundary=x", false},
               {"", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    json_t *json;
    struct err err;
    enum kpi_code rc = read_body(cases[i].type, "{}", &json, &err);
    if (rc != (cases[i].ok ? KPI_OK : KPI_UNSUPPORTED_MEDIA_TYPE))
      fail_msg("%s", cases[i].type);
    json_decref(json);
  }
}

static void two_types_or_an_encoding_are_refused(void **state) {
  (void)state;
  struct err err;
  json_t *json;
  struct request rq = {.body = VIEW_LIT("{}")};
  assert_int_equal(body_read_object(&rq, NULL, &json, &err), KPI_UNSUPPORTED_MEDIA_TYPE);
  add_field(&rq, "Content-Type", JSON);
  add_field(&rq, "Content-Encoding", "identity");
  assert_int_equal(body_read_object(&rq, NULL, &json, &err), KPI_OK);
  json_decref(json);
  rq.fields[1].value = VIEW_LIT("gzip");
  assert_int_equal(body_read_object(&rq, NULL, &json, &err), KPI_UNSUPPORTED_MEDIA_TYPE);
  rq.fields[1] = (struct http_field){VIEW_LIT("content-type"), VIEW_LIT(JSON)};
  assert_int_equal(body_read_object(&rq, NULL, &json, &err), KPI_UNSUPPORTED_MEDIA_TYPE);
}

static void faults_of_json_are_placed(void **state) {
  (void)state;
  static const struct {
    const char *text, *place; /* NULL: taken */
  } cases[] = {{"{\"a\":\"\\ud83d\\ude00\"}", NULL},
               {"{\"a\":\"\\\\u0000\"}", NULL},
               {"{\"a\":\"[[[[[[[[[[\"}", NULL},
               {"{\"a\":\"\\\"[[[[[[[[[[\"}", NULL},
               {"{\"a\":[],\"b\":[],\"c\":[[]]}", NULL},
               {"{\"a\":\"\\ud83d\"}", "line 1, column 7"},
               {"{\"a\":\"\\ude00\\ud83d\"}", "line 1, column 7"},
               {"{\"a\":\"\\ud83d\\u0041\"}", "line 1, column 7"},
               {"{\n\"a\":\n\"\\u0000\"}", "line 3, column 2"},
               {"{\"a\":\"\\u0000", "line 1, column 7"},
               {"{\"a\":1,}", "line 1"},
               {"{'a':1}", "line 1"},
               {"{\"a\":01}", "line 1"},
               {"{\"a\":NaN}", "line 1"},
               {"{\"a\":1} x", "line 1"},
               {"\xef\xbb\xbf{}", "line 1"},
               {"{\"a\":[[[[[[[[]]]]]]]]}", "line 1, column 13"},
               {"{\"a\":\"\xed\xa0\x80\"}", "line 1, column 7"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    json_t *json;
    struct err err;
    enum kpi_code rc = read_body(JSON, cases[i].text, &json, &err);
    if (rc != (cases[i].place ? KPI_MALFORMED_JSON : KPI_OK))
      fail_msg("%s: %s", cases[i].text, err.message);
    if (cases[i].place && !strstr(err.message, cases[i].place))
      fail_msg("%s: %s", cases[i].text, err.message);
    json_decref(json);
  }
}

static void other_values_are_no_object(void **state) {
  (void)state;
  static const char *const cases[] = {"[]", "1", "\"a\"", "true", "null"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    json_t *json;
    struct err err;
    assert_int_equal(read_body(JSON, cases[i], &json, &err), KPI_VALIDATION_FAILED);
    assert_null(json);
  }
}

static void forms_become_objects(void **state) {
  (void)state;
  static const struct {
    const char *form, *json; /* NULL: refused */
  } cases[] = {{"", "{}"},
               {"a=1", "{\"a\":\"1\"}"},
               {"a=1&", "{\"a\":\"1\"}"},
               {"a", "{\"a\":\"\"}"},
               {"a=b+c%26d", "{\"a\":\"b c&d\"}"},
               {"publish=true", "{\"publish\":true}"},
               {"publish=false&a=false", "{\"publish\":false,\"a\":\"false\"}"},
               {"publish=True", "{\"publish\":\"True\"}"},
               {"%61=1", "{\"a\":\"1\"}"},
               {"a=1&a=1", NULL},
               {"a=1&&b=2", NULL},
               {"=1", NULL},
               {"a=%", NULL},
               {"a=%00", NULL},
               {"a=\xff", NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    json_t *json, *want = cases[i].json ? json_loads(cases[i].json, 0, NULL) : NULL;
    struct err err;
    enum kpi_code rc = read_body(FORM, cases[i].form, &json, &err);
    if (rc != (want ? KPI_OK : KPI_VALIDATION_FAILED) || (want && !json_equal(json, want)))
      fail_msg("%s", cases[i].form);
    json_decref(json);
    json_decref(want);
  }
}

static void unknown_fields_are_pointed_at(void **state) {
  (void)state;
  static const char *const known[] = {"date", NULL};
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  json_t *object = json_loads("{\"date\":1,\"a/b~c\":2}", 0, NULL);
  body_refuse_unknown(object, known, &p);
  assert_int_equal(p.error_count, 1);
  assert_string_equal(p.errors[0].pointer, "/a~1b~0c");
  json_decref(object);
}

/* ---- replies ---- */

static void json_is_written_with_commas_and_escapes(void **state) {
  (void)state;
  struct reply rp;
  reply_init(&rp);
  struct json_out j = reply_json_begin(&rp, 200);
  jout_object(&j, NULL);
  jout_string(&j, "s", "a\"\\\n\x01/\xff\xc3\xa4");
  jout_string(&j, "none", NULL);
  jout_uint(&j, "u", UINT64_MAX);
  jout_bool(&j, "t", true);
  jout_array(&j, "empty");
  jout_array_end(&j);
  jout_array(&j, "list");
  jout_uint(&j, NULL, 1);
  jout_object(&j, NULL);
  jout_object_end(&j);
  jout_null(&j, NULL);
  jout_array_end(&j);
  jout_time(&j, "never", 0);
  jout_time(&j, "at", 1);
  jout_raw(&j, "raw", "12.50");
  jout_raw(&j, "noraw", NULL);
  jout_object_end(&j);
  reply_json_end(&j);
  assert_view(
      reply_body(&rp),
      "{\"s\":\"a\\\"\\\\\\n\\u0001/\xef\xbf\xbd\xc3\xa4\",\"none\":null,\"u\":18446744073709551615,"
      "\"t\":true,\"empty\":[],\"list\":[1,{},null],\"never\":null,\"at\":\"1970-01-01T00:00:00.001Z\","
      "\"raw\":12.50,\"noraw\":null}\n");
  assert_string_equal(rp.content_type, "application/json");
  assert_true(reply_is_whole(&rp));
  reply_clear(&rp);
  reply_clear(NULL);
}

static json_t *problem_json(const struct problem *p, const char *target, struct reply *rp) {
  struct request rq = request_of(target);
  reply_init(rp);
  reply_problem(rp, &rq, p);
  json_t *doc = json_loadb(reply_body(rp).ptr, reply_body(rp).len, 0, NULL);
  assert_non_null(doc);
  return doc;
}

static const char *member(const json_t *doc, const char *name) {
  const char *text = json_string_value(json_object_get(doc, name));
  return text ? text : "";
}

static void problems_replace_what_was_made_so_far(void **state) {
  (void)state;
  struct problem p = {.code = KPI_VALIDATION_FAILED, .run_id = "01890000-0000-7000-8000-000000000001"};
  struct reply rp;
  struct request rq = request_of("/runs?x=1");
  for (int i = 0; i < PROBLEM_ERRORS_MAX + 5; i++)
    problem_add(&p, "/date", "fault %d", i);
  reply_init(&rp);
  reply_header(&rp, "X-Old", "%d", 1);
  reply_text(&rp, 200, VIEW_LIT("half a rep"));
  reply_problem(&rp, &rq, &p);
  json_t *doc = json_loadb(reply_body(&rp).ptr, reply_body(&rp).len, 0, NULL);
  assert_null(reply_header_value(&rp, "X-Old"));
  assert_int_equal(rp.status, err_info(KPI_VALIDATION_FAILED)->http_status);
  assert_string_equal(rp.content_type, "application/problem+json");
  assert_string_equal(member(doc, "type"), "/problems/validation-failed");
  assert_string_equal(member(doc, "code"), "validation-failed");
  assert_string_equal(member(doc, "instance"), "/runs");
  assert_string_equal(member(doc, "request_id"), "rq-1");
  assert_string_equal(member(doc, "run_id"), "01890000-0000-7000-8000-000000000001");
  assert_int_equal(json_array_size(json_object_get(doc, "errors")), PROBLEM_ERRORS_MAX);
  assert_false(strcmp(member(doc, "detail"), "") == 0); /* the hint of the code */
  json_decref(doc);
  reply_clear(&rp);
}

/* A failure of a run or of the start is nobody's business in a reply. */
static void codes_of_runs_are_not_told(void **state) {
  (void)state;
  for (int c = 1; c < KPI_CODE_COUNT; c++) {
    struct problem p = {.code = (enum kpi_code)c};
    struct reply rp;
    json_t *doc = problem_json(&p, "/x", &rp);
    bool is_request_error = c >= KPI_MALFORMED_JSON && c <= KPI_STORAGE_UNAVAILABLE;
    const char *expected = is_request_error     ? err_name((enum kpi_code)c)
                           : c == KPI_DISK_FULL ? "storage-unavailable"
                                                : "internal-error";
    assert_string_equal(member(doc, "code"), expected);
    assert_int_equal(json_integer_value(json_object_get(doc, "status")), rp.status);
    bool says_when = reply_header_value(&rp, "retry-after") != NULL;
    assert_int_equal(says_when, rp.status == 429 || rp.status == 503);
    json_decref(doc);
    reply_clear(&rp);
  }
}

static void a_final_problem_is_not_retryable(void **state) {
  (void)state;
  struct problem p = {.code = KPI_QUEUE_FULL, .retry_after_seconds = 30};
  struct reply rp;
  json_t *doc = problem_json(&p, "/x", &rp);
  assert_true(json_is_true(json_object_get(doc, "retryable")));
  assert_string_equal(reply_header_value(&rp, "Retry-After"), "30");
  json_decref(doc);
  reply_clear(&rp);
  p.is_final = true;
  doc = problem_json(&p, "/x", &rp);
  assert_true(json_is_false(json_object_get(doc, "retryable")));
  json_decref(doc);
  reply_clear(&rp);
}

static void the_next_page_keeps_the_query(void **state) {
  (void)state;
  static const char *const known[] = {"limit", "cursor", "a*", NULL};
  static const struct {
    const char *target, *link;
  } cases[] = {{"/runs", "</runs?cursor=C>; rel=\"next\""},
               {"/runs?limit=5", "</runs?limit=5&cursor=C>; rel=\"next\""},
               {"/runs?cursor=old", "</runs?cursor=C>; rel=\"next\""},
               {"/runs?curs%6fr=old&limit=5", "</runs?limit=5&cursor=C>; rel=\"next\""},
               {"/runs?%6cimit=5", "</runs?limit=5&cursor=C>; rel=\"next\""},
               {"/runs?a=1+2&cursor=old&a=%26%3d%25%3E%C3%A4",
                "</runs?a=1%202&a=%26%3D%25%3E%C3%A4&cursor=C>; rel=\"next\""}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct reply rp;
    struct err err;
    struct request rq = request_of(cases[i].target);
    reply_init(&rp);
    assert_int_equal(request_parse_query(&rq, known, &err), KPI_OK);
    reply_link_next(&rp, &rq, VIEW_LIT("C"));
    assert_string_equal(reply_header_value(&rp, "link"), cases[i].link);
    reply_clear(&rp);
    request_clear(&rq);
  }
}

static void an_unchanged_entity_has_no_body(void **state) {
  (void)state;
  struct reply rp;
  struct request rq = request_of("/x");
  reply_init(&rp);
  assert_false(reply_etag(&rp, &rq, "v1"));
  reply_clear(&rp);
  add_field(&rq, "If-None-Match", "\"v1\"");
  reply_init(&rp);
  assert_true(reply_etag(&rp, &rq, "v1"));
  assert_int_equal(rp.status, 304);
  assert_string_equal(reply_header_value(&rp, "ETag"), "\"v1\"");
  assert_int_equal(reply_body(&rp).len, 0);
  reply_clear(&rp);
}

static void pages_escape_what_they_show(void **state) {
  (void)state;
  struct reply rp;
  reply_init(&rp);
  reply_html_begin(&rp, 200, "<script>alert('&')</script>");
  reply_html_end(&rp);
  assert_null(strstr(rp.body.ptr, "<script"));
  assert_non_null(strstr(rp.body.ptr, "<h1>&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</h1>"));
  assert_non_null(strstr(reply_header_value(&rp, "Content-Security-Policy"), "default-src 'none'"));
  reply_clear(&rp);
}

static void a_reply_with_too_many_headers_is_not_whole(void **state) {
  (void)state;
  struct reply rp;
  reply_init(&rp);
  reply_empty(&rp, 204);
  for (int i = 0; i < REPLY_HEADERS_MAX; i++)
    reply_header(&rp, "X", "%d", i);
  assert_true(reply_is_whole(&rp));
  reply_header(&rp, "X", "%d", 99);
  assert_false(reply_is_whole(&rp));
  reply_clear(&rp);
}

/* ---- cursors ---- */

static void cursors_hold_any_bytes(void **state) {
  (void)state;
  char bytes[256];
  for (size_t i = 0; i < sizeof bytes; i++)
    bytes[i] = (char)(255 - i);
  for (size_t len = 0; len < sizeof bytes; len += 17) {
    auto_buf struct buf cursor, back;
    buf_init(&cursor, 1024);
    buf_init(&back, 1024);
    cursor_encode((struct view){bytes, len}, &cursor);
    assert_int_equal(cursor.len, (len * 4 + 2) / 3);
    for (size_t i = 0; i < cursor.len; i++) /* safe in a query as it is */
      assert_non_null(
          strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", cursor.ptr[i]));
    assert_true(cursor_decode(buf_view(&cursor), &back));
    assert_true(view_eq(buf_view(&back), (struct view){bytes, len}));
  }
}

static void a_cursor_that_is_too_long_is_refused(void **state) {
  (void)state;
  auto_buf struct buf back;
  buf_init(&back, 3);
  assert_true(cursor_decode(VIEW_LIT("YWJj"), &back));
  buf_reset(&back);
  assert_false(cursor_decode(VIEW_LIT("YWJjZA"), &back));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(targets_are_split_at_the_first_question_mark),
      cmocka_unit_test(methods_are_case_sensitive),
      cmocka_unit_test(request_ids_are_taken_over_when_they_are_harmless),
      cmocka_unit_test(no_more_parameters_than_the_limit),
      cmocka_unit_test(queries_that_are_unclear_are_refused),
      cmocka_unit_test(numbers_of_a_query_have_their_range),
      cmocka_unit_test(waiting_is_asked_for_by_query_or_preference),
      cmocka_unit_test(malformed_media_ranges_count_as_none),
      cmocka_unit_test(entity_tags_are_compared_weakly),
      cmocka_unit_test(types_of_bodies_are_taken_or_refused),
      cmocka_unit_test(two_types_or_an_encoding_are_refused),
      cmocka_unit_test(faults_of_json_are_placed),
      cmocka_unit_test(other_values_are_no_object),
      cmocka_unit_test(forms_become_objects),
      cmocka_unit_test(unknown_fields_are_pointed_at),
      cmocka_unit_test(json_is_written_with_commas_and_escapes),
      cmocka_unit_test(problems_replace_what_was_made_so_far),
      cmocka_unit_test(codes_of_runs_are_not_told),
      cmocka_unit_test(a_final_problem_is_not_retryable),
      cmocka_unit_test(the_next_page_keeps_the_query),
      cmocka_unit_test(an_unchanged_entity_has_no_body),
      cmocka_unit_test(pages_escape_what_they_show),
      cmocka_unit_test(a_reply_with_too_many_headers_is_not_whole),
      cmocka_unit_test(cursors_hold_any_bytes),
      cmocka_unit_test(a_cursor_that_is_too_long_is_refused),
  };
  return cmocka_run_group_tests_name("requests", tests, NULL, NULL);
}
