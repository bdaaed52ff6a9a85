/* SPDX-License-Identifier: MIT */
#include "aws/s3_xml.h"
#include "aws/uri.h"
#include "aws/xml.h"

#include "unit.h"

/* ---- percent-encoding ---- */

static void keys_are_encoded_as_aws_signs_them(void **state) {
  (void)state;
  static const struct {
    const char *text, *with_slashes, *without;
  } cases[] = {{"", "", ""},
               {"azAZ09-._~", "azAZ09-._~", "azAZ09-._~"},
               {"a/b", "a/b", "a%2Fb"},
               {"a b", "a%20b", "a%20b"},
               {"a+b%c", "a%2Bb%25c", "a%2Bb%25c"},
               {"!*'()&=@:,$;?#[]", "%21%2A%27%28%29%26%3D%40%3A%2C%24%3B%3F%23%5B%5D",
                "%21%2A%27%28%29%26%3D%40%3A%2C%24%3B%3F%23%5B%5D"},
               {"\xc3\xa4\x7f\x01", "%C3%A4%7F%01", "%C3%A4%7F%01"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct buf with, without;
    buf_init(&with, 256);
    buf_init(&without, 256);
    uri_encode(view_of(cases[i].text), true, &with);
    uri_encode(view_of(cases[i].text), false, &without);
    assert_view(buf_view(&with), cases[i].with_slashes);
    assert_view(buf_view(&without), cases[i].without);
    buf_clear(&with);
    buf_clear(&without);
  }
}

static void encoded_keys_are_decoded_with_plus_as_a_blank(void **state) {
  (void)state;
  static const struct {
    const char *encoded, *text; /* NULL: is refused */
  } cases[] = {{"", ""},         {"a+b", "a b"}, {"a%2Bb", "a+b"}, {"%c3%A4", "\xc3\xa4"}, {"100%25", "100%"},
               {"%2525", "%25"}, {"a/b", "a/b"}, {"%", NULL},      {"a%2", NULL},          {"%g0", NULL},
               {"%0g", NULL},    {"%%41", NULL}, {"% 41", NULL}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct buf out;
    buf_init(&out, 256);
    bool ok = uri_decode_form(view_of(cases[i].encoded), &out);
    assert_int_equal(ok, cases[i].text != NULL);
    if (cases[i].text)
      assert_view(buf_view(&out), cases[i].text);
    buf_clear(&out);
  }
}

static void every_byte_survives_encoding_and_decoding(void **state) {
  (void)state;
  char all[256];
  struct buf encoded, decoded;
  for (size_t i = 0; i < sizeof all; i++)
    all[i] = (char)i;
  buf_init(&encoded, 1024);
  buf_init(&decoded, 1024);
  uri_encode((struct view){all, sizeof all}, false, &encoded);
  assert_true(uri_decode_form(buf_view(&encoded), &decoded));
  assert_true(view_eq(buf_view(&decoded), (struct view){all, sizeof all}));
  buf_clear(&encoded);
  buf_clear(&decoded);
}

/* ---- XML ---- */

struct walked {
  struct buf text;         /* path=text; of each end */
  size_t calls, refuse_at; /* 1-based call that is refused; 0: none */
};

static bool note_element(void *arg, struct view path, struct view text) {
  struct walked *w = arg;
  buf_printf(&w->text, "%.*s=%.*s;", (int)path.len, path.ptr, (int)text.len, text.len ? text.ptr : "");
  return ++w->calls != w->refuse_at;
}

static bool walk(struct view document, struct walked *w) {
  buf_init(&w->text, 64 * 1024);
  return xml_walk(document, note_element, w);
}

static void elements_come_at_their_end_with_their_own_text(void **state) {
  (void)state;
  static const struct {
    const char *document, *expected;
  } cases[] = {
      {"<a/>", "a=;"},
      {"<a>x</a>", "a=x;"},
      {"<a><b>1</b><b>2</b></a>", "a/b=1;a/b=2;a=;"},
      {"<a>x<b>y</b>z</a>", "a/b=y;a=xz;"},
      {"<a><b><c>deep</c></b></a>", "a/b/c=deep;a/b=;a=;"},
      {"<a>&lt;&amp;&gt;&quot;&apos;&#65;&#xe4;</a>", "a=<&>\"'A\xc3\xa4;"},
      {"<a><![CDATA[<b>&amp;]]></a>", "a=<b>&amp;;"},
      {"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"http://s3/\" b=\"c\">x</a>\n", "a=x;"},
      {"<a><!-- <b>no</b> -->x</a>", "a=x;"},
      {"<a> x </a>", "a= x ;"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct walked w = {0};
    assert_true(walk(view_of(cases[i].document), &w));
    assert_view(buf_view(&w.text), cases[i].expected);
    buf_clear(&w.text);
  }
}

static void what_is_not_well_formed_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"",
                                      " ",
                                      "a",
                                      "<a>",
                                      "<a></b>",
                                      "<a></a><b/>",
                                      "<a/>trailing",
                                      "<a>\xff</a>",
                                      "<a>&unknown;</a>",
                                      "<a>\x01</a>",
                                      "<a b=1/>",
                                      "{\"a\":1}",
                                      "<html><br></html>"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct walked w = {0};
    if (walk(view_of(cases[i]), &w))
      fail_msg("\"%s\" was taken", cases[i]);
    buf_clear(&w.text);
  }
}

/* Billion laughs, files of this machine, and everything else that needs a document type. */
static void document_types_are_refused(void **state) {
  (void)state;
  static const char *const cases[] = {"<!DOCTYPE a><a>x</a>", "<!DOCTYPE a [<!ENTITY l \"lol\">]><a>&l;</a>",
                                      "<!DOCTYPE a [<!ENTITY l \"lol\"><!ENTITY m \"&l;&l;&l;\">]><a>&m;</a>",
                                      "<!DOCTYPE a [<!ENTITY f SYSTEM \"file:///etc/hostname\">]><a>&f;</a>",
                                      "<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/x.dtd\"><a>x</a>"};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct walked w = {0};
    assert_false(walk(view_of(cases[i]), &w));
    assert_int_equal(w.calls, 0);
    buf_clear(&w.text);
  }
}

static void nesting_has_a_limit(void **state) {
  (void)state;
  for (size_t depth = 15; depth <= 18; depth++) {
    struct buf document;
    struct walked w = {0};
    buf_init(&document, 4096);
    for (size_t i = 0; i < depth; i++)
      buf_add_cstr(&document, "<a>");
    for (size_t i = 0; i < depth; i++)
      buf_add_cstr(&document, "</a>");
    assert_int_equal(walk(buf_view(&document), &w), depth <= 16);
    assert_int_equal(w.calls, depth <= 16 ? depth : 0);
    buf_clear(&document);
    buf_clear(&w.text);
  }
}

/* expat still reports the end of an empty element at whose start the walk was given up. */
static void nothing_is_reported_after_the_limit_was_passed(void **state) {
  (void)state;
  struct walked w = {0};
  struct buf document;
  buf_init(&document, 4096);
  for (size_t i = 0; i < 16; i++)
    buf_add_cstr(&document, "<a>");
  buf_add_cstr(&document, "<a-longer-name-than-the-path-of-all-elements-around-it/>");
  assert_false(walk(buf_view(&document), &w));
  assert_int_equal(w.calls, 0);
  buf_clear(&w.text);

  buf_reset(&document);
  w = (struct walked){0};
  buf_add_cstr(&document, "<r><");
  for (size_t i = 0; i < 1100; i++)
    buf_add_char(&document, 'n');
  buf_add_cstr(&document, "/></r>");
  assert_false(walk(buf_view(&document), &w));
  assert_int_equal(w.calls, 0);
  buf_clear(&w.text);
  buf_clear(&document);
}

static void a_refusal_ends_the_walk(void **state) {
  (void)state;
  struct walked w = {.refuse_at = 2};
  assert_false(walk(VIEW_LIT("<a><b/><b/><b/></a>"), &w));
  assert_view(buf_view(&w.text), "a/b=;a/b=;");
  buf_clear(&w.text);
}

static void a_document_that_is_too_large_is_not_looked_at(void **state) {
  (void)state;
  struct walked w = {0};
  size_t len = XML_BYTES_MAX + 1;
  char *document = malloc(len);
  memset(document, ' ', len);
  memcpy(document, "<a/>", 4);
  assert_false(walk((struct view){document, len}, &w));
  assert_int_equal(w.calls, 0);
  buf_clear(&w.text);
  assert_true(walk((struct view){document, len - 1}, &w));
  buf_clear(&w.text);
  free(document);
}

/* ---- pages of a listing ---- */

static enum kpi_code note_object(void *arg, const struct s3_object *o, struct err *err) {
  struct buf *to = arg;
  if (view_starts(o->key, "refuse"))
    return err_set(err, KPI_OUT_OF_MEMORY, "refused");
  buf_printf(to, "%.*s|%.*s|%llu|%lld;", (int)o->key.len, o->key.ptr, (int)o->etag.len, o->etag.ptr,
             (unsigned long long)o->size, (long long)o->modified_ms);
  return KPI_OK;
}

#define OBJECT(key, etag, size, time)                                                                        \
  "<Contents><Key>" key "</Key><LastModified>" time "</LastModified><ETag>" etag "</ETag><Size>" size        \
  "</Size><StorageClass>STANDARD</StorageClass></Contents>"
#define TIME "1970-01-01T00:00:01.000Z"
#define PAGE(content) "<ListBucketResult xmlns=\"x\">" content "</ListBucketResult>"

static enum kpi_code read_page(const char *document, struct s3_page *page, struct buf *objects,
                               struct err *err) {
  buf_init(objects, 4096);
  *page = (struct s3_page){.fn = note_object, .arg = objects};
  buf_init(&page->next_token, 4096);
  assert_true(s3_page_check(view_of(document), page));
  return s3_page_read(view_of(document), page, err);
}

static void a_page_hands_on_its_objects(void **state) {
  (void)state;
  static const struct {
    const char *document, *objects, *token;
    bool is_truncated;
  } cases[] = {
      {PAGE(""), "", "", false},
      {PAGE("<KeyCount>0</KeyCount><Name>b</Name><IsTruncated>false</IsTruncated>"), "", "", false},
      {PAGE(OBJECT("a", "&quot;e&quot;", "5", TIME)), "a|\"e\"|5|1000;", "", false},
      {PAGE(OBJECT("a+b%20c", "e", "0", TIME)), "a+b%20c|e|0|1000;", "", false},
      {PAGE("<EncodingType>url</EncodingType>" OBJECT("a+b%20c%2B", "e", "0", TIME)), "a b c+|e|0|1000;", "",
       false},
      {PAGE(OBJECT("a+b", "e", "0", TIME) "<EncodingType>url</EncodingType>"), "a b|e|0|1000;", "", false},
      {PAGE("<EncodingType>none</EncodingType>" OBJECT("a+b", "e", "0", TIME)), "a+b|e|0|1000;", "", false},
      {PAGE(OBJECT("z", "1", "1", TIME) OBJECT("a", "2", "2", TIME)), "z|1|1|1000;a|2|2|1000;", "", false},
      {PAGE("<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;=</NextContinuationToken>"), "",
       "t&=", true},
      {PAGE("<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>" OBJECT("a", "e", "1", TIME)),
       "a|e|1|1000;", "", false},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct s3_page page;
    struct buf objects;
    struct err err;
    assert_int_equal(read_page(cases[i].document, &page, &objects, &err), KPI_OK);
    assert_view(buf_view(&objects), cases[i].objects);
    assert_view(buf_view(&page.next_token), cases[i].token);
    assert_int_equal(page.is_truncated, cases[i].is_truncated);
    buf_clear(&objects);
    buf_clear(&page.next_token);
  }
}

static void an_object_that_lacks_something_is_refused(void **state) {
  (void)state;
  static const char *const cases[] = {
      PAGE("<Contents><Key>a</Key></Contents>"),
      PAGE(OBJECT("a", "", "1", TIME)),
      PAGE(OBJECT("a", "e", "", TIME)),
      PAGE(OBJECT("a", "e", "-1", TIME)),
      PAGE(OBJECT("a", "e", "18446744073709551616", TIME)),
      PAGE(OBJECT("a", "e", "1", "")),
      PAGE(OBJECT("a", "e", "1", "yesterday")),
      PAGE("<EncodingType>url</EncodingType>" OBJECT("a%", "e", "1", TIME)),
      PAGE(OBJECT("", "e", "1", TIME)),
      /* the second lacks one: that of the first must not stand for it */
      PAGE(OBJECT("a", "e", "1", TIME) "<Contents><Key>b</Key><LastModified>" TIME
                                       "</LastModified><Size>1</Size></Contents>"),
      PAGE(OBJECT("a", "e", "1", TIME) "<Contents><LastModified>" TIME
                                       "</LastModified><ETag>e</ETag><Size>1</Size></Contents>"),
      PAGE(OBJECT("a", "e", "1", TIME) "<Contents><Key>b</Key><LastModified>" TIME
                                       "</LastModified><ETag>e</ETag></Contents>"),
      PAGE(OBJECT("a", "e", "1", TIME) "<Contents><Key>b</Key><ETag>e</ETag><Size>1</Size></Contents>"),
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct s3_page page;
    struct buf objects;
    struct err err;
    if (read_page(cases[i], &page, &objects, &err) != KPI_S3_UNAVAILABLE)
      fail_msg("%s", cases[i]);
    buf_clear(&objects);
    buf_clear(&page.next_token);
  }
}

static void texts_that_are_too_long_are_refused(void **state) {
  (void)state;
  struct buf document;
  buf_init(&document, 64 * 1024);
  for (int which = 0; which < 2; which++) {
    struct s3_page page;
    struct buf objects;
    struct err err;
    buf_reset(&document);
    buf_printf(&document,
               "<ListBucketResult><Contents><Key>%0*d</Key><LastModified>" TIME "</LastModified><ETag>%0*d"
               "</ETag><Size>1</Size></Contents></ListBucketResult>",
               which == 0 ? 4000 : 10, 0, which == 1 ? 300 : 10, 0);
    assert_int_equal(read_page(document.ptr, &page, &objects, &err), KPI_S3_UNAVAILABLE);
    assert_int_equal(objects.len, 0);
    buf_clear(&objects);
    buf_clear(&page.next_token);
  }
  buf_clear(&document);
}

static void an_error_of_the_taker_ends_the_page(void **state) {
  (void)state;
  struct s3_page page;
  struct buf objects;
  struct err err;
  assert_int_equal(read_page(PAGE(OBJECT("a", "e", "1", TIME) OBJECT("refuse", "e", "1", TIME)
                                      OBJECT("c", "e", "1", TIME)),
                             &page, &objects, &err),
                   KPI_OUT_OF_MEMORY);
  assert_string_equal(err.message, "refused");
  assert_view(buf_view(&objects), "a|e|1|1000;");
  buf_clear(&objects);
  buf_clear(&page.next_token);
}

static void other_documents_are_no_page(void **state) {
  (void)state;
  static const char *const cases[] = {"<Error><Code>x</Code></Error>", "<ListBucketResults/>",
                                      "<x><ListBucketResult/></x>", "<ListBucketResult>", ""};
  struct s3_page page = {0};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_false(s3_page_check(view_of(cases[i]), &page));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_encoded_as_aws_signs_them),
      cmocka_unit_test(encoded_keys_are_decoded_with_plus_as_a_blank),
      cmocka_unit_test(every_byte_survives_encoding_and_decoding),
      cmocka_unit_test(elements_come_at_their_end_with_their_own_text),
      cmocka_unit_test(what_is_not_well_formed_is_refused),
      cmocka_unit_test(document_types_are_refused),
      cmocka_unit_test(nesting_has_a_limit),
      cmocka_unit_test(nothing_is_reported_after_the_limit_was_passed),
      cmocka_unit_test(a_refusal_ends_the_walk),
      cmocka_unit_test(a_document_that_is_too_large_is_not_looked_at),
      cmocka_unit_test(a_page_hands_on_its_objects),
      cmocka_unit_test(an_object_that_lacks_something_is_refused),
      cmocka_unit_test(texts_that_are_too_long_are_refused),
      cmocka_unit_test(an_error_of_the_taker_ends_the_page),
      cmocka_unit_test(other_documents_are_no_page),
  };
  return cmocka_run_group_tests_name("aws_xml", tests, NULL, NULL);
}
