/* SPDX-License-Identifier: MIT
 * The publisher to DynamoDB as a whole: what it observes before, whom it tells after. */
#include "base/log.h"
#include "pipeline/publish_dynamodb.h"

#include "unit.h"

#include "fake_dynamodb.h"
#include "quiet_log.h"

enum { DAY = 20000 };

#define DATE "2024-10-04"

/* The publisher that follows. */
struct follower {
  struct publisher base;
  uint64_t orders; /* that it knows to be published */
  enum kpi_code begin_code, publish_code;
  size_t begun, published, open;
  bool is_free;
};

struct followed {
  struct publication base;
  struct follower *follower;
};

static enum kpi_code follow_publish(struct publication *p, const struct publish_order *order,
                                    struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  struct follower *f = ((struct followed *)p)->follower;
  assert_string_equal(order->run_id, "run-1");
  out[KPI_ORDERS].put = 99; /* nobody wants to know */
  f->published++;
  return f->publish_code ? err_set(err, f->publish_code, "follower") : KPI_OK;
}

static void follow_release(struct publication *p) {
  ((struct followed *)p)->follower->open--;
  free(p);
}

static const struct publication_vtable followed_vtable = {follow_publish, follow_release};

static enum kpi_code follow_begin(struct publisher *base, day_t day, const struct stop_flag *stop,
                                  struct publication **out, struct err *err) {
  struct follower *f = (struct follower *)base;
  struct followed *p;
  (void)stop;
  assert_int_equal(day, DAY);
  f->begun++;
  if (f->begin_code)
    return err_set(err, f->begin_code, "follower");
  p = malloc(sizeof *p);
  *p = (struct followed){{.vtable = &followed_vtable, .orders = f->orders}, f};
  f->open++;
  *out = &p->base;
  return KPI_OK;
}

static void follow_free(struct publisher *base) {
  ((struct follower *)base)->is_free = true;
}

static const struct publisher_vtable follower_vtable = {follow_begin, follow_free};

struct bench {
  struct fake_dynamodb db;
  struct aws *aws;
  struct follower follower;
  struct publisher *publisher;
  struct publication *publication;
  struct job_result result;
  struct publish_counts counts[KPI_TABLE_COUNT];
  struct err err;
};

static void bench_init(struct bench *b, enum publish_mode mode) {
  *b = (struct bench){.follower = {.base = {&follower_vtable}}};
  b->aws = fake_dynamodb_init(&b->db);
  struct publish_dynamodb_options options = {
      {{[KPI_ORDERS] = "orders", [KPI_CATEGORIES] = "categories"}, mode == PUBLISH_ATOMIC ? "control" : NULL},
      mode,
      SHAPE_FULL};
  b->publisher = publish_dynamodb_new(b->aws, &options, &b->follower.base);
  assert_non_null(b->publisher);
  kpi_rows_add(&b->result.tables[KPI_ORDERS], DAY, (struct view){0})->orders = 42;
  kpi_rows_add(&b->result.tables[KPI_CATEGORIES], DAY, VIEW_LIT("a"));
}

static void bench_clear(struct bench *b) {
  publication_free(b->publication);
  publisher_free(b->publisher);
  assert_true(b->follower.is_free);
  assert_int_equal(b->follower.open, 0);
  job_result_clear(&b->result);
  fake_dynamodb_clear(&b->db, b->aws);
}

static enum kpi_code begin(struct bench *b) {
  publication_free(b->publication);
  b->publication = NULL;
  return publisher_begin(b->publisher, DAY, NULL, &b->publication, &b->err);
}

static enum kpi_code publish(struct bench *b) {
  struct publish_order order = {.run_id = "run-1", .result = &b->result};
  return publication_publish(b->publication, &order, b->counts, &b->err);
}

static void put_item(struct bench *b, const char *table, const char *text) {
  json_t *item = json_loads(text, 0, NULL);
  assert_non_null(item);
  fake_put(&b->db, table, item);
  json_decref(item);
}

/* ---- keys ---- */

static void keys_are_checked_once(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, "DescribeTable"), 3);
  bench_clear(&b);
}

static void other_keys_are_refused_until_they_are_right(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  b.db.has_other_keys = true;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(begin(&b), KPI_DYNAMODB_SCHEMA_MISMATCH);
    assert_null(b.publication);
  }
  assert_int_equal(fake_count(&b.db, "GetItem"), 0);
  b.db.has_other_keys = false;
  assert_int_equal(begin(&b), KPI_OK);
  bench_clear(&b);
}

/* The least-privilege policy has no DescribeTable. */
static void who_may_not_describe_is_believed(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  b.db.wanted = "DescribeTable";
  b.db.fault = FAULT_DENIED;
  b.db.times = 1;
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, "DescribeTable"), 1);
  bench_clear(&b);
}

/* ---- observing ---- */

static void what_is_published_is_observed(void **state) {
  (void)state;
  static const struct {
    const char *control, *order_row;
    uint64_t orders;
    size_t reads;
  } cases[] = {
      {NULL, NULL, 0, 2},
      {NULL, "{\"order_date\":{\"S\":\"" DATE "\"},\"total_orders\":{\"N\":\"7\"}}", 7, 2},
      {NULL, "{\"order_date\":{\"S\":\"" DATE "\"},\"total_orders\":{\"S\":\"x\"}}", 0, 2},
      {"{\"pk\":{\"S\":\"date#" DATE
       "\"},\"ver\":{\"N\":\"3\"},\"publish_id\":{\"S\":\"p\"},\"orders\":{\"N\":\"9\"}}",
       "{\"order_date\":{\"S\":\"" DATE "\"},\"total_orders\":{\"N\":\"7\"}}", 9, 1},
      {"{\"pk\":{\"S\":\"date#" DATE "\"},\"pending\":{\"N\":\"1\"},\"pending_id\":{\"S\":\"x\"}}",
       "{\"order_date\":{\"S\":\"" DATE "\"},\"total_orders\":{\"N\":\"7\"}}", 7, 2},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b, PUBLISH_ATOMIC);
    b.follower.orders = 1000; /* what the follower knows counts in plain mode only */
    if (cases[i].control)
      put_item(&b, "control", cases[i].control);
    if (cases[i].order_row)
      put_item(&b, "orders", cases[i].order_row);
    assert_int_equal(begin(&b), KPI_OK);
    assert_int_equal(b.publication->orders, cases[i].orders);
    assert_true(b.publication->is_guarded);
    assert_int_equal(fake_count(&b.db, "GetItem"), cases[i].reads);
    bench_clear(&b);
  }
}

static void plain_mode_observes_what_its_follower_knows(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_PLAIN);
  b.follower.orders = 5;
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(b.publication->orders, 5);
  assert_int_equal(fake_count(&b.db, NULL), 0); /* it may do nothing but write */
  assert_int_equal(publish(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, NULL), 2);
  assert_int_equal(fake_count(&b.db, "BatchWriteItem"), 2);
  bench_clear(&b);
}

static void an_observation_that_fails_is_no_publication(void **state) {
  (void)state;
  for (size_t skip = 0; skip < 2; skip++) {
    struct bench b;
    bench_init(&b, PUBLISH_ATOMIC);
    b.db.wanted = "GetItem";
    b.db.fault = FAULT_DENIED;
    b.db.skip = skip;
    b.db.times = 1;
    assert_int_equal(begin(&b), KPI_DYNAMODB_ACCESS_DENIED);
    assert_null(b.publication);
    bench_clear(&b);
  }
}

/* ---- following ---- */

static void the_follower_publishes_after_dynamodb_has_taken_all(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(publish(&b), KPI_OK);
  assert_int_equal(b.follower.published, 1);
  assert_int_equal(b.counts[KPI_ORDERS].put, 1); /* DynamoDB's, not the follower's */
  bench_clear(&b);
}

static void the_follower_does_not_publish_what_dynamodb_refused(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  assert_int_equal(begin(&b), KPI_OK);
  b.db.wanted = "TransactWriteItems";
  b.db.fault = FAULT_DENIED;
  b.db.times = 1;
  assert_int_equal(publish(&b), KPI_DYNAMODB_ACCESS_DENIED);
  assert_int_equal(b.follower.published, 0);
  bench_clear(&b);
}

static void a_follower_that_fails_fails_the_whole(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, PUBLISH_ATOMIC);
  b.follower.begin_code = KPI_STORAGE_UNAVAILABLE;
  assert_int_equal(begin(&b), KPI_STORAGE_UNAVAILABLE);
  assert_int_equal(fake_count(&b.db, NULL), 0);
  b.follower.begin_code = KPI_OK;
  b.follower.publish_code = KPI_DISK_FULL;
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(publish(&b), KPI_DISK_FULL);
  assert_string_equal(b.err.message, "follower");
  /* Nothing is lost: the same again finds DynamoDB as it should be, and asks the follower. */
  b.follower.publish_code = KPI_OK;
  assert_int_equal(begin(&b), KPI_OK);
  assert_int_equal(publish(&b), KPI_OK);
  assert_int_equal(b.counts[KPI_ORDERS].unchanged, 1);
  assert_int_equal(b.follower.published, 2);
  bench_clear(&b);
}

static void without_a_follower_there_is_no_publisher(void **state) {
  (void)state;
  static const struct publish_dynamodb_options options = {{{"o", "c"}, "k"}, PUBLISH_ATOMIC, SHAPE_FULL};
  assert_null(publish_dynamodb_new(NULL, &options, NULL));
  publisher_free(NULL);
  publication_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(keys_are_checked_once),
      cmocka_unit_test(other_keys_are_refused_until_they_are_right),
      cmocka_unit_test(who_may_not_describe_is_believed),
      cmocka_unit_test(what_is_published_is_observed),
      cmocka_unit_test(plain_mode_observes_what_its_follower_knows),
      cmocka_unit_test(an_observation_that_fails_is_no_publication),
      cmocka_unit_test(the_follower_publishes_after_dynamodb_has_taken_all),
      cmocka_unit_test(the_follower_does_not_publish_what_dynamodb_refused),
      cmocka_unit_test(a_follower_that_fails_fails_the_whole),
      cmocka_unit_test(without_a_follower_there_is_no_publisher),
  };
  return cmocka_run_group_tests_name("publisher", tests, quiet_log, NULL);
}
