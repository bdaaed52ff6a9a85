/* SPDX-License-Identifier: MIT */
#include "aws/sigv4.h"

#include "base/scope.h"
#include "unit.h"

#include <dirent.h>
#include <jansson.h>

#define SUITE TESTS_DIR "/data/sigv4"

/* A case of the suite, read from its folder. */
struct suite_case {
  char *request, *canonical, *to_sign, *signature; /* owned */
  json_t *context;
  struct sigv4_request q;
  struct sigv4_scope scope;
  struct buf texts; /* decoded query texts and joined header lines; never moves */
  char payload[SHA256_HEX_SIZE];
};

static char *read_file(const char *name, const char *file) {
  char path[512];
  snprintf(path, sizeof path, SUITE "/%s/%s", name, file);
  FILE *f = fopen(path, "re");
  assert_non_null(f);
  char *text = calloc(1, 64 * 1024);
  size_t n = fread(text, 1, 64 * 1024 - 1, f);
  fclose(f);
  while (n && strchr("\n", text[n - 1]))
    text[--n] = '\0';
  return text;
}

static struct view keep(struct suite_case *c, struct view v) {
  size_t at = c->texts.len;
  buf_add(&c->texts, v);
  return (struct view){c->texts.ptr + at, v.len};
}

static int hex(char c) {
  return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* The suite writes paths and queries encoded once or not at all; the signer encodes what it is given. */
static struct view keep_decoded(struct suite_case *c, struct view v) {
  size_t at = c->texts.len;
  for (size_t i = 0; i < v.len; i++)
    if (v.ptr[i] == '%' && i + 2 < v.len) {
      buf_add_char(&c->texts, (char)(hex(v.ptr[i + 1]) * 16 + hex(v.ptr[i + 2])));
      i += 2;
    } else {
      buf_add_char(&c->texts, v.ptr[i]);
    }
  return (struct view){c->texts.ptr + at, c->texts.len - at};
}

static void parse_target(struct suite_case *c, struct view line) {
  c->q.method = view_split(&line, ' ');
  const char *version = strstr(line.ptr, " HTTP/1.1");
  line.len = (size_t)(version - line.ptr);
  c->q.path = keep_decoded(c, view_split(&line, '?'));
  while (line.len) {
    struct view value = view_split(&line, '&');
    struct view name = view_split(&value, '=');
    c->q.query[c->q.query_count++] = (struct sigv4_pair){keep_decoded(c, name), keep_decoded(c, value)};
  }
}

static void add_header(struct suite_case *c, struct view name, struct view value) {
  c->q.headers[c->q.header_count++] = (struct sigv4_pair){name, value};
}

/* A line that begins with a blank continues the header before it. */
static void parse_header(struct suite_case *c, struct view line) {
  if (line.ptr[0] != ' ') {
    struct view name = view_split(&line, ':');
    add_header(c, name, keep(c, line));
    return;
  }
  struct sigv4_pair *last = &c->q.headers[c->q.header_count - 1];
  keep(c, line);
  last->value.len += line.len;
}

static void parse_request(struct suite_case *c) {
  struct view rest = view_of(c->request);
  parse_target(c, view_split(&rest, '\n'));
  while (rest.len) {
    struct view line = view_split(&rest, '\n');
    if (line.len == 0)
      break;
    parse_header(c, line);
  }
  crypto_sha256_hex(rest, c->payload);
  c->q.payload_sha256 = view_of(c->payload);
}

static const char *text_of(const json_t *object, const char *key) {
  return json_string_value(json_object_get(object, key));
}

static bool has_header(const struct suite_case *c, const char *name) {
  for (size_t i = 0; i < c->q.header_count; i++)
    if (view_eq_fold(c->q.headers[i].name, view_of(name)))
      return true;
  return false;
}

static void apply_context(struct suite_case *c) {
  const json_t *who = json_object_get(c->context, "credentials");
  const char *time = text_of(c->context, "timestamp"); /* 2015-08-30T12:36:00Z */
  size_t n = 0;
  for (const char *p = time; *p; p++)
    if (*p != '-' && *p != ':')
      c->scope.time[n++] = *p;
  c->scope.access_key = view_of(text_of(who, "access_key_id"));
  c->scope.secret_key = view_of(text_of(who, "secret_access_key"));
  c->scope.region = view_of(text_of(c->context, "region"));
  c->scope.service = view_of(text_of(c->context, "service"));
  c->q.keep_dots = !json_is_true(json_object_get(c->context, "normalize"));
  if (!has_header(c, "x-amz-date"))
    add_header(c, VIEW_LIT("x-amz-date"), view_of(c->scope.time));
  if (text_of(who, "token") && !json_is_true(json_object_get(c->context, "omit_session_token")))
    add_header(c, VIEW_LIT("x-amz-security-token"), view_of(text_of(who, "token")));
  if (json_is_true(json_object_get(c->context, "sign_body")))
    add_header(c, VIEW_LIT("x-amz-content-sha256"), c->q.payload_sha256);
}

static void case_read(const char *name, struct suite_case *c) {
  *c = (struct suite_case){0};
  buf_init(&c->texts, 64 * 1024);
  for (int i = 0; i < 32 * 1024; i++) /* so that it does not move later */
    buf_add_char(&c->texts, ' ');
  buf_reset(&c->texts);
  c->request = read_file(name, "request.txt");
  c->canonical = read_file(name, "header-canonical-request.txt");
  c->to_sign = read_file(name, "header-string-to-sign.txt");
  c->signature = read_file(name, "header-signature.txt");
  char *context = read_file(name, "context.json");
  c->context = json_loads(context, 0, NULL);
  assert_non_null(c->context);
  free(context);
  parse_request(c);
  apply_context(c);
}

static void case_clear(struct suite_case *c) {
  char *const texts[] = {c->request, c->canonical, c->to_sign, c->signature};
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    free(texts[i]);
  json_decref(c->context);
  buf_clear(&c->texts);
}

static void check_case(const char *name) {
  struct suite_case c;
  struct buf canonical, to_sign;
  char signature[SHA256_HEX_SIZE];
  print_message("%s\n", name);
  case_read(name, &c);
  buf_init(&canonical, 64 * 1024);
  buf_init(&to_sign, 64 * 1024);
  sigv4_canonical_request(&c.q, &canonical);
  assert_view(buf_view(&canonical), c.canonical);
  sigv4_string_to_sign(buf_view(&canonical), &c.scope, &to_sign);
  assert_view(buf_view(&to_sign), c.to_sign);
  sigv4_signature(buf_view(&to_sign), &c.scope, signature);
  assert_string_equal(signature, c.signature);
  buf_clear(&canonical);
  buf_clear(&to_sign);
  case_clear(&c);
}

/* Every stage of every case of AWS's suite. */
static void the_suite_of_aws_holds(void **state) {
  (void)state;
  int cases = 0;
  DIR *dir = opendir(SUITE);
  assert_non_null(dir);
  for (struct dirent *e; (e = readdir(dir)) != NULL;)
    if (e->d_name[0] != '.' && !strstr(e->d_name, ".md")) {
      check_case(e->d_name);
      cases++;
    }
  closedir(dir);
  print_message("%d cases, every stage as expected\n", cases);
  assert_true(cases >= 38);
}

/* S3 signs the path as it is sent; everything else is encoded once more. */
static void a_path_of_s3_is_signed_as_sent(void **state) {
  (void)state;
  struct buf out;
  buf_init(&out, 4096);
  struct sigv4_request q = {.method = VIEW_LIT("GET"),
                            .path = VIEW_LIT("/b/a%2B%25/../x%20y"),
                            .headers = {{VIEW_LIT("host"), VIEW_LIT("h")}},
                            .header_count = 1,
                            .payload_sha256 = VIEW_LIT("0"),
                            .keep_path = true};
  sigv4_canonical_request(&q, &out);
  assert_view(buf_view(&out), "GET\n/b/a%2B%25/../x%20y\n\nhost:h\n\nhost\n0");
  buf_clear(&out);
}

static void time_is_written_as_aws_wants_it(void **state) {
  (void)state;
  char text[SIGV4_TIME_SIZE];
  sigv4_time(1440938160999, text);
  assert_string_equal(text, "20150830T123600Z");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_suite_of_aws_holds),
                                     cmocka_unit_test(a_path_of_s3_is_signed_as_sent),
                                     cmocka_unit_test(time_is_written_as_aws_wants_it)};
  return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
