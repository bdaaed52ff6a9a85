/* SPDX-License-Identifier: MIT
 * The place of Spark jobs' files: a folder, and a bucket behind a scripted transport. */
#include "aws/s3_files.h"
#include "base/scope.h"
#include "pipeline/spark_store.h"

#include "aws_env.h"
#include "unit.h"

#include "fake_http.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define XML_ERROR(code) "<Error><Code>" code "</Code><Message>why</Message></Error>"

enum { ROOM = 64 };

/* ---- a folder ---- */

struct place {
  char root[32], url[80];
  struct spark_store *store;
  struct err err;
  struct buf got;
};

static void place_init(struct place *p) {
  *p = (struct place){.root = "/tmp/kpid_store_XXXXXX"};
  assert_non_null(mkdtemp(p->root));
  snprintf(p->url, sizeof p->url, "file://%s/new/work/", p->root);
  assert_int_equal(spark_store_new(p->url, NULL, &p->store, &p->err), KPI_OK);
  buf_init(&p->got, ROOM);
}

static void place_clear(struct place *p) {
  char command[64];
  spark_store_free(p->store);
  buf_clear(&p->got);
  snprintf(command, sizeof command, "rm -rf %s", p->root);
  assert_int_equal(system(command), 0);
}

static void path_in(const struct place *p, const char *name, char out[160]) {
  snprintf(out, 160, "%s/new/work/%s", p->root, name);
}

static enum kpi_code put(struct place *p, const char *name, const char *text) {
  return spark_store_put(p->store, name, view_of(text), NULL, &p->err);
}

static enum kpi_code get(struct place *p, const char *name, bool *found) {
  buf_reset(&p->got);
  return spark_store_get(p->store, name, NULL, NULL, &p->got, found, &p->err);
}

static bool exists(const struct place *p, const char *name) {
  char path[160];
  struct stat st;
  path_in(p, name, path);
  return lstat(path, &st) == 0;
}

static int count_entries(const struct place *p, const char *name) {
  char path[160];
  int count = 0;
  path_in(p, name, path);
  DIR *dir = opendir(path);
  assert_non_null(dir);
  while (readdir(dir))
    count++;
  closedir(dir);
  return count - 2;
}

static void a_file_is_written_read_replaced_and_removed(void **state) {
  (void)state;
  struct place p;
  bool found;
  place_init(&p);
  assert_int_equal(get(&p, "runs/a/1/spec.json", &found), KPI_OK);
  assert_false(found);
  assert_int_equal(spark_store_remove_all(p.store, "runs/a/1/", NULL, &p.err), KPI_OK);
  assert_int_equal(put(&p, "runs/a/1/spec.json", "one"), KPI_OK);
  assert_int_equal(put(&p, "runs/a/1/spec.json", "two and more"), KPI_OK);
  assert_int_equal(put(&p, "runs/a/1/empty", ""), KPI_OK);
  assert_int_equal(put(&p, "runs/a/1/results/part-0", "x"), KPI_OK);
  assert_int_equal(put(&p, "runs/a/10/spec.json", "other"), KPI_OK);
  assert_int_equal(get(&p, "runs/a/1/spec.json", &found), KPI_OK);
  assert_true(found);
  assert_view(buf_view(&p.got), "two and more");
  assert_int_equal(get(&p, "runs/a/1/empty", NULL), KPI_OK);
  assert_int_equal(p.got.len, 0);
  assert_int_equal(count_entries(&p, "runs/a/1"), 3); /* nothing temporary is left */
  assert_int_equal(spark_store_remove_all(p.store, "runs/a/1/", NULL, &p.err), KPI_OK);
  assert_false(exists(&p, "runs/a/1"));
  assert_int_equal(get(&p, "runs/a/10/spec.json", NULL), KPI_OK);
  place_clear(&p);
}

static void bytes_are_appended_up_to_the_room_of_the_buffer(void **state) {
  (void)state;
  struct place p;
  char large[ROOM + 1];
  place_init(&p);
  memset(large, 'x', ROOM);
  large[ROOM] = '\0';
  assert_int_equal(put(&p, "a/large", large), KPI_OK);
  assert_int_equal(get(&p, "a/large", NULL), KPI_OK);
  assert_int_equal(p.got.len, ROOM);
  buf_reset(&p.got);
  buf_add_cstr(&p.got, "y");
  assert_int_equal(spark_store_get(p.store, "a/large", NULL, NULL, &p.got, NULL, &p.err), KPI_ENGINE_FAILED);
  assert_view(buf_view(&p.got), "y");
  assert_int_equal(put(&p, "a/small", "z"), KPI_OK);
  assert_int_equal(spark_store_get(p.store, "a/small", NULL, NULL, &p.got, NULL, &p.err), KPI_OK);
  assert_view(buf_view(&p.got), "yz");
  place_clear(&p);
}

/* One that lies on a slow disk, as in a bucket far away. */
static void each_piece_of_a_large_file_is_a_beat(void **state) {
  (void)state;
  enum { BYTES = 1 << 20 };
  struct place p;
  struct buf large;
  _Atomic uint64_t beats = 0;
  place_init(&p);
  buf_init(&large, BYTES);
  for (int i = 0; i < BYTES / ROOM; i++)
    buf_printf(&large, "%0*d", ROOM, i);
  assert_int_equal(spark_store_put(p.store, "a/large", buf_view(&large), NULL, &p.err), KPI_OK);
  buf_reset(&large);
  assert_int_equal(spark_store_get(p.store, "a/large", NULL, &beats, &large, NULL, &p.err), KPI_OK);
  assert_int_equal(large.len, BYTES);
  assert_in_range(beats, 2, BYTES / 4096);
  buf_clear(&large);
  place_clear(&p);
}

static void a_file_that_must_be_there_is_an_error_when_it_is_not(void **state) {
  (void)state;
  struct place p;
  place_init(&p);
  assert_int_equal(get(&p, "runs/a/1/results/part-0", NULL), KPI_ENGINE_FAILED);
  assert_string_equal(p.err.object, "runs/a/1/results/part-0");
  assert_int_equal(put(&p, "file", "x"), KPI_OK);
  assert_int_equal(get(&p, "file/below", NULL), KPI_ENGINE_FAILED);
  place_clear(&p);
}

static void names_that_lead_elsewhere_are_refused(void **state) {
  (void)state;
  static const char *const names[] = {"",    "/etc/passwd", "../x", "a/../x", "a/..", "a//b",
                                      "a/.", "./a",         "..",   "a/",     "/",    "//"};
  struct place p;
  place_init(&p);
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s/", names[i]);
    assert_int_equal(put(&p, names[i], "x"), KPI_ENGINE_FAILED);
    assert_int_equal(get(&p, names[i], NULL), KPI_ENGINE_FAILED);
    assert_int_equal(spark_store_remove_all(p.store, prefix, NULL, &p.err), KPI_ENGINE_FAILED);
  }
  assert_int_equal(spark_store_remove_all(p.store, "a", NULL, &p.err), KPI_ENGINE_FAILED);
  assert_int_equal(spark_store_remove_all(p.store, "", NULL, &p.err), KPI_ENGINE_FAILED);
  place_clear(&p);
}

static void links_within_the_folder_are_not_followed(void **state) {
  (void)state;
  struct place p;
  char outside[64], kept[80], link[160];
  bool found;
  place_init(&p);
  snprintf(outside, sizeof outside, "%s/outside", p.root);
  snprintf(kept, sizeof kept, "%s/kept", outside);
  assert_int_equal(mkdir(outside, 0777), 0);
  close(open(kept, O_CREAT | O_WRONLY, 0666));
  assert_int_equal(put(&p, "runs/a/1/spec.json", "x"), KPI_OK);
  path_in(&p, "runs/a/1/folder", link);
  assert_int_equal(symlink(outside, link), 0);
  path_in(&p, "runs/a/1/file", link);
  assert_int_equal(symlink(kept, link), 0);
  path_in(&p, "runs/b", link);
  assert_int_equal(symlink(outside, link), 0);
  assert_int_equal(get(&p, "runs/a/1/file", &found), KPI_ENGINE_FAILED);
  assert_int_equal(get(&p, "runs/a/1/folder/kept", NULL), KPI_ENGINE_FAILED);
  assert_int_equal(put(&p, "runs/b/new", "x"), KPI_ENGINE_FAILED);
  assert_int_equal(spark_store_remove_all(p.store, "runs/b/kept/", NULL, &p.err), KPI_OK);
  assert_int_equal(spark_store_remove_all(p.store, "runs/a/1/", NULL, &p.err), KPI_OK);
  assert_false(exists(&p, "runs/a/1"));
  assert_int_equal(spark_store_remove_all(p.store, "runs/b/", NULL, &p.err), KPI_OK);
  assert_false(exists(&p, "runs/b"));
  assert_int_equal(access(kept, F_OK), 0);
  place_clear(&p);
}

static void what_is_no_file_is_an_error_and_keeps_nobody_waiting(void **state) {
  (void)state;
  struct place p;
  char fifo[160];
  place_init(&p);
  assert_int_equal(put(&p, "a/b/c", "x"), KPI_OK);
  assert_int_equal(get(&p, "a/b", NULL), KPI_ENGINE_FAILED);
  assert_int_equal(put(&p, "a/b", "x"), KPI_ENGINE_FAILED);
  assert_int_equal(count_entries(&p, "a"), 1);
  path_in(&p, "a/fifo", fifo);
  assert_int_equal(mkfifo(fifo, 0666), 0);
  assert_int_equal(get(&p, "a/fifo", NULL), KPI_ENGINE_FAILED);
  assert_int_equal(put(&p, "a/b/c/d", "x"), KPI_ENGINE_FAILED);
  assert_non_null(strstr(p.err.message, "a/b/c/d: cannot be written"));
  place_clear(&p);
}

static void a_stop_ends_all_calls_and_leaves_nothing_half_written(void **state) {
  (void)state;
  struct place p;
  struct stop_flag stop = {0};
  place_init(&p);
  assert_int_equal(put(&p, "a/b", "old"), KPI_OK);
  stop_raise(&stop, STOP_CANCEL);
  assert_int_equal(spark_store_put(p.store, "a/b", VIEW_LIT("new"), &stop, &p.err), KPI_CANCELLED);
  assert_int_equal(spark_store_get(p.store, "a/b", &stop, NULL, &p.got, NULL, &p.err), KPI_CANCELLED);
  assert_int_equal(spark_store_remove_all(p.store, "a/", &stop, &p.err), KPI_CANCELLED);
  assert_int_equal(count_entries(&p, "a"), 1);
  assert_int_equal(get(&p, "a/b", NULL), KPI_OK);
  assert_view(buf_view(&p.got), "old");
  place_clear(&p);
}

static void only_urls_that_spark_reads_in_the_same_way_are_taken(void **state) {
  (void)state;
  static const struct {
    const char *url;
    bool valid;
  } cases[] = {{"file:///data/work", true},
               {"file:///data/a b/", true},
               {"s3://bucket", true},
               {"s3://bucket/", true},
               {"s3://bucket/a/b//", true},
               {"file:///", false},
               {"file://host/a", false},
               {"file:/data", false},
               {"/data", false},
               {"s3://", false},
               {"s3:///a", false},
               {"s3a://bucket/a", false},
               {"s3://bucket/../a", false},
               {"file:///data/../a", false},
               {"file:///data//a", false},
               {"file:///a%20b", false},
               {"s3://bucket/50%", false},
               {"", false},
               {"https://bucket/a", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct spark_store *store = NULL;
    struct err err = {0};
    assert_int_equal(spark_store_url_is_valid(cases[i].url), cases[i].valid);
    assert_int_equal(spark_store_new(cases[i].url, NULL, &store, &err),
                     cases[i].valid ? KPI_OK : KPI_CONFIG_INVALID);
    spark_store_free(store);
  }
  spark_store_free(NULL);
}

/* ---- a bucket ---- */

struct bucket {
  struct fake_http http;
  struct aws *aws;
  struct spark_store *store;
  struct err err;
  struct buf got;
};

static void bucket_init(struct bucket *b, const struct fake_reply *script, size_t len) {
  *b = (struct bucket){0};
  fake_http_init(&b->http, script, len);
  assert_int_equal(aws_new_with(&b->http.base, &b->aws, &b->err), KPI_OK);
  assert_int_equal(spark_store_new("s3://bk/w k/", b->aws, &b->store, &b->err), KPI_OK);
  buf_init(&b->got, ROOM);
}

static void bucket_clear(struct bucket *b) {
  spark_store_free(b->store);
  aws_free(b->aws);
  buf_clear(&b->http.requests);
  buf_clear(&b->got);
}

static void a_file_is_put_whole_and_signed(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 503, NULL, XML_ERROR("SlowDown"), 0},
                                             {HTTP_REPLIED, 200, NULL, "", 0}};
  struct bucket b;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_put(b.store, "r/1/spec.json", VIEW_LIT("{}"), NULL, &b.err), KPI_OK);
  assert_int_equal(fake_http_count(&b.http, "PUT http://127.0.0.1:9/bk/w%20k/r/1/spec.json\n"), 2);
  assert_int_equal(fake_http_count(&b.http, "\n{}\n"), 2);
  assert_int_equal(fake_http_count(&b.http, "content-type: application/octet-stream\n"), 2);
  assert_int_equal(fake_http_count(&b.http, "x-amz-content-sha256: 44136fa355b3678a1146ad16f7e8649e94fb4fc21"
                                            "fe77e8310c060f61caaff8a\n"),
                   2);
  assert_int_equal(fake_http_count(&b.http, "/eu-west-1/s3/aws4_request"), 2);
  bucket_clear(&b);
}

static void a_file_is_got_whole_or_not_at_all(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_BROKEN, 200, "Content-Length: 6\r\n", "abcdef", 3},
                                             {HTTP_REPLIED, 200, NULL, "abc", 0},
                                             {HTTP_REPLIED, 200, "Content-Length: 6\r\n", "abcdef", 0}};
  struct bucket b;
  bool found;
  _Atomic uint64_t beats = 0;
  bucket_init(&b, script, COUNT_OF(script));
  buf_add_cstr(&b.got, ">");
  assert_int_equal(spark_store_get(b.store, "r/1/manifest.json", NULL, &beats, &b.got, &found, &b.err),
                   KPI_OK);
  assert_true(found);
  assert_view(buf_view(&b.got), ">abcdef");
  assert_int_equal(b.http.asked, 3);
  assert_int_equal(beats, 3); /* of what has come, each time */
  assert_int_equal(fake_http_count(&b.http, "GET http://127.0.0.1:9/bk/w%20k/r/1/manifest.json\n"), 3);
  assert_int_equal(fake_http_count(&b.http, "range:"), 0);
  bucket_clear(&b);
}

static void what_is_no_piece_of_a_file_is_no_beat(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 503, NULL, XML_ERROR("SlowDown"), 0},
                                             {HTTP_UNREACHABLE, 0, NULL, NULL, 0},
                                             {HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchKey"), 0}};
  struct bucket b;
  bool found;
  _Atomic uint64_t beats = 0;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_get(b.store, "a", NULL, &beats, &b.got, &found, &b.err), KPI_OK);
  assert_int_equal(b.http.asked, 3);
  assert_int_equal(beats, 0);
  bucket_clear(&b);
}

static void an_empty_file_is_there(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 200, "Content-Length: 0\r\n", "", 0}};
  struct bucket b;
  bool found;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_get(b.store, "a", NULL, NULL, &b.got, &found, &b.err), KPI_OK);
  assert_true(found);
  assert_int_equal(b.got.len, 0);
  bucket_clear(&b);
}

static void each_refusal_of_a_read_has_its_code(void **state) {
  (void)state;
  static const struct {
    struct fake_reply reply;
    enum kpi_code code;
    size_t asked;
  } cases[] = {
      {{HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchKey"), 0}, KPI_OK, 1},
      {{HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchBucket"), 0}, KPI_S3_NO_SUCH_BUCKET, 1},
      {{HTTP_REPLIED, 404, NULL, "<html>not here</html>", 0}, KPI_S3_UNAVAILABLE, 1},
      {{HTTP_REPLIED, 403, NULL, XML_ERROR("AccessDenied"), 0}, KPI_S3_ACCESS_DENIED, 1},
      {{HTTP_REPLIED, 400, NULL, XML_ERROR("InvalidArgument"), 0}, KPI_ENGINE_FAILED, 1},
      {{HTTP_REPLIED, 500, NULL, XML_ERROR("InternalError"), 0}, KPI_S3_UNAVAILABLE, 3},
      {{HTTP_REPLIED, 200, "Content-Length: 4\r\n", "abc", 0}, KPI_S3_UNAVAILABLE, 3},
      {{HTTP_REPLIED, 200, "Content-Length: 65\r\n", "abc", 0}, KPI_ENGINE_FAILED, 1},
      {{HTTP_REPLIED, 200, NULL, "0123456789012345678901234567890123456789012345678901234567890123456789", 0},
       KPI_ENGINE_FAILED,
       1},
      {{HTTP_STOPPED, 0, NULL, NULL, 0}, KPI_CANCELLED, 1},
      {{HTTP_UNREACHABLE, 0, NULL, NULL, 0}, KPI_S3_UNAVAILABLE, 3}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bucket b;
    bool found = true;
    bucket_init(&b, &cases[i].reply, 1);
    assert_int_equal(spark_store_get(b.store, "r/1/x", NULL, NULL, &b.got, &found, &b.err), cases[i].code);
    assert_false(found);
    assert_int_equal(b.got.len, 0);
    assert_int_equal(b.http.asked, cases[i].asked);
    assert_int_equal(b.err.code, cases[i].code);
    if (cases[i].code) {
      assert_string_equal(b.err.remote.service, "s3");
      assert_string_equal(b.err.remote.operation, "GetObject");
      assert_string_equal(b.err.remote.bucket, "bk");
      assert_string_equal(b.err.object, "w k/r/1/x");
    }
    bucket_clear(&b);
  }
}

static void a_file_that_must_be_in_the_bucket_is_an_error_when_it_is_not(void **state) {
  (void)state;
  static const struct fake_reply script[] = {{HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchKey"), 0}};
  struct bucket b;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_get(b.store, "r/1/x", NULL, NULL, &b.got, NULL, &b.err), KPI_ENGINE_FAILED);
  bucket_clear(&b);
}

#define CONTENTS(key)                                                                                        \
  "<Contents><Key>" key "</Key><LastModified>2026-11-24T03:00:00.000Z</LastModified>"                        \
  "<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"

static void all_objects_of_all_pages_are_removed(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL,
       "<ListBucketResult>" CONTENTS("w k/r/1/") CONTENTS(
           "w k/r/1/a+b%") "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
                           "</ListBucketResult>",
       0},
      {HTTP_REPLIED, 204, NULL, "", 0},
      {HTTP_REPLIED, 404, NULL, XML_ERROR("NoSuchKey"), 0},
      {HTTP_REPLIED, 200, NULL, "<ListBucketResult>" CONTENTS("w k/r/1/c") "</ListBucketResult>", 0},
      {HTTP_REPLIED, 204, NULL, "", 0}};
  struct bucket b;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_remove_all(b.store, "r/1/", NULL, &b.err), KPI_OK);
  assert_int_equal(b.http.asked, 5);
  assert_int_equal(fake_http_count(&b.http, "prefix=w%20k%2Fr%2F1%2F\n"), 2);
  assert_int_equal(fake_http_count(&b.http, "DELETE http://127.0.0.1:9/bk/w%20k/r/1/\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "DELETE http://127.0.0.1:9/bk/w%20k/r/1/a%2Bb%25\n"), 1);
  assert_int_equal(fake_http_count(&b.http, "DELETE http://127.0.0.1:9/bk/w%20k/r/1/c\n"), 1);
  bucket_clear(&b);
}

static void a_refused_removal_names_its_object(void **state) {
  (void)state;
  static const struct fake_reply script[] = {
      {HTTP_REPLIED, 200, NULL, "<ListBucketResult>" CONTENTS("w k/r/1/a") "</ListBucketResult>", 0},
      {HTTP_REPLIED, 403, NULL, XML_ERROR("AccessDenied"), 0}};
  struct bucket b;
  bucket_init(&b, script, COUNT_OF(script));
  assert_int_equal(spark_store_remove_all(b.store, "r/1/", NULL, &b.err), KPI_S3_ACCESS_DENIED);
  assert_string_equal(b.err.remote.operation, "DeleteObject");
  assert_string_equal(b.err.object, "w k/r/1/a");
  bucket_clear(&b);
}

static int set_environment(void **state) {
  (void)state;
  aws_env_set();
  setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9", 1);
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_file_is_written_read_replaced_and_removed),
      cmocka_unit_test(bytes_are_appended_up_to_the_room_of_the_buffer),
      cmocka_unit_test(each_piece_of_a_large_file_is_a_beat),
      cmocka_unit_test(a_file_that_must_be_there_is_an_error_when_it_is_not),
      cmocka_unit_test(names_that_lead_elsewhere_are_refused),
      cmocka_unit_test(links_within_the_folder_are_not_followed),
      cmocka_unit_test(what_is_no_file_is_an_error_and_keeps_nobody_waiting),
      cmocka_unit_test(a_stop_ends_all_calls_and_leaves_nothing_half_written),
      cmocka_unit_test(only_urls_that_spark_reads_in_the_same_way_are_taken),
      cmocka_unit_test(a_file_is_put_whole_and_signed),
      cmocka_unit_test(a_file_is_got_whole_or_not_at_all),
      cmocka_unit_test(what_is_no_piece_of_a_file_is_no_beat),
      cmocka_unit_test(an_empty_file_is_there),
      cmocka_unit_test(each_refusal_of_a_read_has_its_code),
      cmocka_unit_test(a_file_that_must_be_in_the_bucket_is_an_error_when_it_is_not),
      cmocka_unit_test(all_objects_of_all_pages_are_removed),
      cmocka_unit_test(a_refused_removal_names_its_object)};
  return cmocka_run_group_tests_name("spark_store", tests, set_environment, NULL);
}
