/* SPDX-License-Identifier: MIT */
#include "server/body.h"
#include "server/cursor.h"
#include "server/router.h"

#include "unit.h"

/* ---- gate ---- */

static enum kpi_code gate(const char *method, const char *target, const struct http_field *fields,
                          size_t count, uint64_t *body_size) {
  struct http_head head = {.method = view_of(method),
                           .target = view_of(target),
                           .version = VIEW_LIT("HTTP/1.1"),
                           .fields = fields,
                           .field_count = count};
  struct err err = {0};
  enum kpi_code code = http_gate_check(&head, body_size, &err);
  assert_true(code == KPI_OK || err.message[0] != '\0');
  return code;
}

#define FIELD(n, v) ((struct http_field){VIEW_LIT(n), VIEW_LIT(v)})

static void clean_heads_pass_the_gate(void **state) {
  (void)state;
  struct http_field fields[] = {FIELD("Host", "localhost"), FIELD("Content-Length", "12")};
  uint64_t size;
  assert_int_equal(gate("GET", "/livez", fields, 1, &size), KPI_OK);
  assert_int_equal(size, 0);
  assert_int_equal(gate("POST", "/runs?wait=1", fields, 2, &size), KPI_OK);
  assert_int_equal(size, 12);
}

static void ambiguous_heads_do_not_pass(void **state) {
  (void)state;
  struct http_field host = FIELD("Host", "localhost");
  static const struct {
    struct http_field extra;
    enum kpi_code code;
  } cases[] = {
      {{VIEW_LIT("Host"), VIEW_LIT("other")}, KPI_MALFORMED_HEADER},
      {{VIEW_LIT("Transfer-Encoding"), VIEW_LIT("chunked")}, KPI_LENGTH_REQUIRED},
      {{VIEW_LIT("Expect"), VIEW_LIT("100-continue")}, KPI_EXPECTATION_FAILED},
      {{VIEW_LIT("Content-Length"), VIEW_LIT("-1")}, KPI_MALFORMED_HEADER},
      {{VIEW_LIT("Content-Length"), VIEW_LIT("1, 1")}, KPI_MALFORMED_HEADER},
      {{VIEW_LIT("Content-Length"), VIEW_LIT("99999999999999999999")}, KPI_MALFORMED_HEADER},
      {{VIEW_LIT("Bad Name"), VIEW_LIT("x")}, KPI_MALFORMED_HEADER},
      {{VIEW_LIT("X"), VIEW_LIT("a\x01")}, KPI_MALFORMED_HEADER},
  };
  uint64_t size;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct http_field fields[] = {host, cases[i].extra};
    assert_int_equal(gate("POST", "/runs", fields, 2, &size), cases[i].code);
  }
  assert_int_equal(gate("GET", "/livez", NULL, 0, &size), KPI_MALFORMED_HEADER);
  static const char *const targets[] = {"/livez%00x", "livez", "http://x/livez", "/a b", "/\x01", "", "*"};
  for (size_t i = 0; i < COUNT_OF(targets); i++)
    assert_int_equal(gate("GET", targets[i], &host, 1, &size), KPI_MALFORMED_HEADER);
}

static void sizes_of_heads_are_limited(void **state) {
  (void)state;
  static struct http_field fields[HTTP_HEADERS_MAX + 1];
  static char target[HTTP_TARGET_BYTES_MAX + 2];
  uint64_t size;
  for (size_t i = 0; i < COUNT_OF(fields); i++)
    fields[i] = FIELD("X", "y");
  fields[0] = FIELD("Host", "localhost");
  assert_int_equal(gate("GET", "/", fields, HTTP_HEADERS_MAX, &size), KPI_OK);
  assert_int_equal(gate("GET", "/", fields, HTTP_HEADERS_MAX + 1, &size), KPI_HEADERS_TOO_LARGE);
  memset(target, 'a', HTTP_TARGET_BYTES_MAX + 1);
  target[0] = '/';
  assert_int_equal(gate("GET", target, fields, 1, &size), KPI_URI_TOO_LONG);
  target[HTTP_TARGET_BYTES_MAX] = '\0';
  assert_int_equal(gate("GET", target, fields, 1, &size), KPI_OK);
}

/* ---- request ---- */

static struct request request_of(const char *target) {
  struct request rq = {.method = HTTP_GET};
  request_set_target(&rq, view_of(target));
  return rq;
}

static void queries_are_decoded_and_checked(void **state) {
  (void)state;
  static const char *const known[] = {"a", "b", NULL};
  struct err err;
  struct view value;
  struct request rq = request_of("/x?a=1%202+3&b=");
  assert_int_equal(request_parse_query(&rq, known, &err), KPI_OK);
  assert_true(request_arg(&rq, "a", &value));
  assert_view(value, "1 2 3");
  assert_true(request_arg(&rq, "b", &value));
  assert_int_equal(value.len, 0);
  request_clear(&rq);
  static const char *const wrong[] = {"/x?c=1",   "/x?a=1&a=2", "/x?a=%", "/x?a=%0",
                                      "/x?a=%zz", "/x?a=%00",   "/x?=1",  "/x?a=%ff"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    rq = request_of(wrong[i]);
    assert_int_equal(request_parse_query(&rq, known, &err), KPI_MALFORMED_QUERY);
    request_clear(&rq);
  }
}

static int negotiated(const char *accept) {
  static const char *const offers[] = {"application/json", "text/csv", "text/html", NULL};
  struct request rq = request_of("/x");
  rq.fields[0] = (struct http_field){VIEW_LIT("Accept"), view_of(accept)};
  rq.field_count = accept ? 1 : 0;
  return request_negotiate(&rq, offers);
}

static void media_types_are_negotiated(void **state) {
  (void)state;
  static const struct {
    const char *accept;
    int offer;
  } cases[] = {{NULL, 0},
               {"*/*", 0},
               {"text/csv", 1},
               {"text/*", 1},
               {"text/html,application/json;q=0.5", 2},
               {"application/json;q=0, text/html", 2},
               {"image/png", -1},
               {"text/html;q=0, image/*", -1},
               {"text/html;q=0.2, */*;q=0.1", 2}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_int_equal(negotiated(cases[i].accept), cases[i].offer);
}

/* ---- router ---- */

static void say_one(struct request *rq, struct reply *rp) {
  (void)rq;
  reply_text(rp, 200, VIEW_LIT("one"));
}

static const struct route routes[] = {{HTTP_GET, "/runs/{id}", say_one, NULL, false},
                                      {HTTP_POST, "/runs/{id}/cancel", say_one, NULL, false}};
static const struct route_set set = {routes, 2};
static const struct route_set *const sets[] = {&set, NULL};

static unsigned status_of(enum http_method method, const char *target, const char **allow) {
  static char allowed[64];
  struct request rq = request_of(target);
  struct reply rp;
  rq.method = method;
  reply_init(&rp);
  router_dispatch(sets, &rq, &rp);
  unsigned status = rp.status;
  const char *header = reply_header_value(&rp, "Allow");
  snprintf(allowed, sizeof allowed, "%s", header ? header : "");
  *allow = allowed;
  reply_clear(&rp);
  request_clear(&rq);
  return status;
}

static void routes_are_found_or_told_apart(void **state) {
  (void)state;
  static const struct {
    enum http_method method;
    const char *target;
    unsigned status;
  } cases[] = {
      {HTTP_GET, "/runs/1", 200},   {HTTP_HEAD, "/runs/1", 200},       {HTTP_POST, "/runs/1/cancel", 200},
      {HTTP_POST, "/runs/1", 405},  {HTTP_GET, "/runs/1/cancel", 405}, {HTTP_OTHER, "/runs/1", 405},
      {HTTP_GET, "/runs", 404},     {HTTP_GET, "/runs/", 404},         {HTTP_GET, "/runs/1/", 404},
      {HTTP_GET, "/runs/1/2", 404}, {HTTP_GET, "/runs/1?x=1", 400}};
  const char *allow;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    if (status_of(cases[i].method, cases[i].target, &allow) != cases[i].status)
      fail_msg("%s", cases[i].target);
  status_of(HTTP_POST, "/runs/1", &allow);
  assert_non_null(strstr(allow, "GET"));
  assert_null(strstr(allow, "POST"));
}

/* ---- body ---- */

static enum kpi_code read_body(const char *type, struct view text, json_t **out) {
  static const char *const booleans[] = {"publish", NULL}, *const none[] = {NULL};
  struct request rq = {.method = HTTP_POST, .body = text};
  struct err err;
  rq.fields[0] = (struct http_field){VIEW_LIT("Content-Type"), view_of(type)};
  rq.field_count = 1;
  return body_read_object(&rq, &(struct body_form){booleans, none}, out, &err);
}

static void bodies_become_one_object(void **state) {
  (void)state;
  json_t *json, *form;
  assert_int_equal(
      read_body("application/json", VIEW_LIT("{\"date\":\"2023-01-15\",\"publish\":false}"), &json), KPI_OK);
  assert_int_equal(
      read_body("application/x-www-form-urlencoded", VIEW_LIT("date=2023%2D01-15&publish=false"), &form),
      KPI_OK);
  assert_true(json_equal(json, form));
  json_decref(json);
  json_decref(form);
}

static void hostile_bodies_are_refused(void **state) {
  (void)state;
  static const struct {
    struct view text;
    enum kpi_code code;
  } cases[] = {
      {VIEW_LIT(""), KPI_MALFORMED_JSON},
      {VIEW_LIT("{\"a\":1,\"a\":2}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("{\"a\":\"\\u0000\"}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("{\"a\":\"\\ud800\"}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("{\"a\":\"\xff\"}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("[1]"), KPI_VALIDATION_FAILED},
      {VIEW_LIT("{\"a\":1e999}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("{} {}"), KPI_MALFORMED_JSON},
      {VIEW_LIT("{\"a\":[[[[[[[1]]]]]]]}"), KPI_OK},
      {VIEW_LIT("{\"a\":[[[[[[[[1]]]]]]]]}"), KPI_MALFORMED_JSON},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    json_t *json;
    if (read_body("application/json", cases[i].text, &json) != cases[i].code)
      fail_msg("%s", cases[i].text.ptr);
    json_decref(json);
  }
  json_t *json;
  assert_int_equal(read_body("text/plain", VIEW_LIT("{}"), &json), KPI_UNSUPPORTED_MEDIA_TYPE);
  assert_int_equal(read_body("application/json; charset=latin1", VIEW_LIT("{}"), &json),
                   KPI_UNSUPPORTED_MEDIA_TYPE);
}

/* ---- cursor ---- */

static void cursors_decode_to_what_was_encoded(void **state) {
  (void)state;
  static const char *const texts[] = {
      "", "a", "ab", "abc", "2023-01-15\xc3\xa4,=+/", "01890000-0000-7000-8000-000000000000"};
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    struct buf cursor, back;
    buf_init(&cursor, 200);
    buf_init(&back, 200);
    cursor_encode(view_of(texts[i]), &cursor);
    assert_true(cursor_decode(buf_view(&cursor), &back));
    assert_view(buf_view(&back), texts[i]);
    buf_clear(&cursor);
    buf_clear(&back);
  }
  struct buf none;
  buf_init(&none, 200);
  assert_false(cursor_decode(VIEW_LIT("a b"), &none));
  assert_false(cursor_decode(VIEW_LIT("x"), &none));
  assert_false(cursor_decode(VIEW_LIT("ab=="), &none));
  buf_clear(&none);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clean_heads_pass_the_gate),          cmocka_unit_test(ambiguous_heads_do_not_pass),
      cmocka_unit_test(sizes_of_heads_are_limited),         cmocka_unit_test(queries_are_decoded_and_checked),
      cmocka_unit_test(media_types_are_negotiated),         cmocka_unit_test(routes_are_found_or_told_apart),
      cmocka_unit_test(bodies_become_one_object),           cmocka_unit_test(hostile_bodies_are_refused),
      cmocka_unit_test(cursors_decode_to_what_was_encoded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
