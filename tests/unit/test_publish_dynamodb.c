/* SPDX-License-Identifier: MIT
 * Publishing against a DynamoDB in memory: what stands in the tables afterwards, whatever happened on the
 * way. */
#include "pipeline/publish_atomic.h"
#include "pipeline/publish_plain.h"

#include "unit.h"

#include "fake_dynamodb.h"

enum { DAY = 20000 }; /* 2024-10-04 */

#define DATE "2024-10-04"
#define RUN "01890000-0000-7000-8000-000000000001"

static const char *const tables[] = {"orders", "categories", "control"};

struct bench {
  struct fake_dynamodb db;
  struct publish_target target;
  struct job_result result;
  struct job_progress progress;
  struct publish_order order;
  struct control_row observed;
  struct publish_counts counts[KPI_TABLE_COUNT];
  struct err err;
};

static void bench_init(struct bench *b) {
  *b = (struct bench){.order = {.run_id = RUN}};
  b->target = (struct publish_target){
      fake_dynamodb_init(&b->db),
      {.kpi = {[KPI_ORDERS] = tables[0], [KPI_CATEGORIES] = tables[1]}, .control = tables[2]},
      SHAPE_FULL};
  b->order.result = &b->result;
  b->order.progress = &b->progress;
}

static void bench_clear(struct bench *b) {
  control_row_clear(&b->observed);
  job_result_clear(&b->result);
  fake_dynamodb_clear(&b->db, b->target.aws);
}

/* A result of one order row and `count` categories "<prefix>000"...; `orders` marks all rows. */
static void set_result(struct bench *b, const char *prefix, size_t count, uint64_t orders) {
  char name[64];
  job_result_clear(&b->result);
  b->result = (struct job_result){0};
  kpi_rows_add(&b->result.tables[KPI_ORDERS], DAY, (struct view){0})->orders = orders;
  for (size_t i = 0; i < count; i++) {
    snprintf(name, sizeof name, "%s%03zu", prefix, i);
    kpi_rows_add(&b->result.tables[KPI_CATEGORIES], DAY, view_of(name))->orders = orders;
    names_add(&b->result.categories, view_of(name));
  }
  names_seal(&b->result.categories);
}

static void observe(struct bench *b) {
  assert_int_equal(publish_control_get(&b->target, DAY, NULL, &b->observed, &b->err), KPI_OK);
}

static enum kpi_code publish(struct bench *b) {
  memset(b->counts, 0, sizeof b->counts);
  return publish_atomic(&b->target, DAY, &b->observed, &b->order, b->counts, &b->err);
}

static enum kpi_code publish_anew(struct bench *b) {
  observe(b);
  return publish(b);
}

static const char *number_of(const json_t *item, const char *name) {
  const char *digits = json_string_value(json_object_get(json_object_get(item, name), "N"));
  return digits ? digits : "";
}

/* The tables hold the rows of the result and nothing else, and the control row says so. */
static void assert_published(struct bench *b, const char *version) {
  const json_t *control = fake_item(&b->db, "control", "date#" DATE);
  const struct kpi_rows *categories = &b->result.tables[KPI_CATEGORIES];
  char key[128], orders[24];
  snprintf(orders, sizeof orders, "%llu", (unsigned long long)b->result.tables[KPI_ORDERS].rows[0].orders);
  assert_string_equal(number_of(control, "ver"), version);
  assert_string_equal(number_of(control, "orders"), orders);
  assert_string_equal(fake_text(control, "run_id"), RUN);
  assert_null(json_object_get(control, "pending"));
  assert_null(json_object_get(control, "pending_id"));
  assert_null(json_object_get(control, "pending_categories"));
  assert_int_equal(json_object_size(fake_table(&b->db, "categories")), categories->count);
  for (size_t i = 0; i < categories->count; i++) {
    snprintf(key, sizeof key, "%.*s|" DATE, (int)categories->rows[i].category.len,
             categories->rows[i].category.ptr);
    const json_t *item = fake_item(&b->db, "categories", key);
    assert_non_null(item);
    assert_string_equal(number_of(item, "order_count"), orders);
    assert_string_equal(number_of(item, "publish_version"), version);
  }
  assert_string_equal(number_of(fake_item(&b->db, "orders", DATE), "total_orders"), orders);
}

/* ---- atomic, without trouble ---- */

static void a_small_day_is_one_transaction(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 3, 7);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "1");
  assert_int_equal(fake_count(&b.db, "TransactWriteItems"), 1);
  assert_int_equal(fake_count(&b.db, NULL), 2);
  const json_t *actions = json_object_get(fake_body(&b.db, "TransactWriteItems", 0), "TransactItems");
  assert_int_equal(json_array_size(actions), 5);
  assert_non_null(json_object_get(json_array_get(actions, 0), "Update"));
  assert_non_null(json_object_get(json_array_get(actions, 1), "Put"));
  assert_string_equal(fake_string(json_object_get(json_array_get(actions, 1), "Put"), "TableName"), "orders");
  assert_int_equal(b.counts[KPI_ORDERS].put, 1);
  assert_int_equal(b.counts[KPI_CATEGORIES].put, 3);
  assert_int_equal(b.counts[KPI_CATEGORIES].deleted, 0);
  assert_int_equal(atomic_load(&b.progress.items_published), 4);
  assert_int_equal(atomic_load(&b.progress.items_total), 4);
  assert_true(json_is_true(json_object_get(fake_body(&b.db, "GetItem", 0), "ConsistentRead")));
  bench_clear(&b);
}

static void categories_that_are_gone_are_deleted(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 5, 7);
  assert_int_equal(publish_anew(&b), KPI_OK);
  set_result(&b, "c", 2, 8);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "2");
  assert_int_equal(b.counts[KPI_CATEGORIES].put, 2);
  assert_int_equal(b.counts[KPI_CATEGORIES].deleted, 3);
  bench_clear(&b);
}

static void what_is_published_already_is_left_alone(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 3, 7);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, "TransactWriteItems"), 1);
  assert_int_equal(b.counts[KPI_CATEGORIES].unchanged, 3);
  assert_int_equal(b.counts[KPI_CATEGORIES].put, 0);
  assert_published(&b, "1");
  b.order.force = true;
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "2");
  b.order.force = false;
  b.target.shape = SHAPE_ORIGINAL; /* the same rows in another shape are something else */
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, "TransactWriteItems"), 3);
  bench_clear(&b);
}

static void a_day_that_became_empty_loses_its_rows(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 2, 7);
  assert_int_equal(publish_anew(&b), KPI_OK);
  job_result_clear(&b.result);
  b.result = (struct job_result){0};
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_int_equal(json_object_size(fake_table(&b.db, "orders")), 0);
  assert_int_equal(json_object_size(fake_table(&b.db, "categories")), 0);
  assert_string_equal(number_of(fake_item(&b.db, "control", "date#" DATE), "orders"), "0");
  assert_int_equal(b.counts[KPI_ORDERS].deleted, 1);
  assert_int_equal(b.counts[KPI_CATEGORIES].deleted, 2);
  bench_clear(&b);
}

/* Rows of the job that kpid replaces: no control row knows them, but every category there is may have one. */
static void rows_of_the_replaced_job_are_deleted_at_first(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 2, 7);
  names_add(&b.result.categories, VIEW_LIT("unsold"));
  names_seal(&b.result.categories);
  json_t *old = json_pack("{s:{s:s}, s:{s:s}}", "category", "S", "unsold", "order_date", "S", DATE);
  fake_put(&b.db, "categories", old);
  json_decref(old);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "1");
  assert_int_equal(b.counts[KPI_CATEGORIES].deleted, 0); /* nobody knows whether there was one */
  bench_clear(&b);
}

static void a_long_day_is_begun_and_committed(void **state) {
  (void)state;
  static const struct {
    size_t categories, transactions;
  } cases[] = {{98, 1}, {99, 2}, {197, 2}, {198, 3}, {250, 3}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b);
    set_result(&b, "c", cases[i].categories, 7);
    assert_int_equal(publish_anew(&b), KPI_OK);
    assert_published(&b, "1");
    assert_int_equal(fake_count(&b.db, "TransactWriteItems"), cases[i].transactions);
    assert_int_equal(fake_count(&b.db, "UpdateItem"), cases[i].transactions > 1);
    assert_int_equal(json_object_size(b.db.synced.tokens), cases[i].transactions); /* one token each */
    assert_int_equal(atomic_load(&b.progress.items_published), cases[i].categories + 1);
    bench_clear(&b);
  }
}

static void chunks_check_that_the_day_is_still_ours(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 250, 7);
  assert_int_equal(publish_anew(&b), KPI_OK);
  const json_t *begin = fake_body(&b.db, "UpdateItem", 0);
  const char *id = fake_text(json_object_get(begin, "ExpressionAttributeValues"), ":id");
  assert_int_equal(strlen(id), 36);
  for (size_t i = 0; i < 3; i++) {
    json_t *actions = json_object_get(fake_body(&b.db, "TransactWriteItems", i), "TransactItems");
    const char *expected = i < 2 ? "ConditionCheck" : "Update";
    const json_t *first = json_object_get(json_array_get(actions, 0), expected);
    assert_non_null(first);
    assert_string_equal(fake_string(first, "ConditionExpression"), "pending_id = :id");
    assert_string_equal(fake_text(json_object_get(first, "ExpressionAttributeValues"), ":id"), id);
  }
  bench_clear(&b);
}

static void names_that_do_not_fit_into_a_control_row_are_refused(void **state) {
  (void)state;
  struct bench b;
  char name[2000];
  bench_init(&b);
  kpi_rows_add(&b.result.tables[KPI_ORDERS], DAY, (struct view){0});
  for (int i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "%01900d", i);
    kpi_rows_add(&b.result.tables[KPI_CATEGORIES], DAY, view_of(name));
  }
  assert_int_equal(publish_anew(&b), KPI_DYNAMODB_VALIDATION);
  assert_non_null(strstr(b.err.message, "100 categories"));
  assert_int_equal(fake_count(&b.db, "TransactWriteItems") + fake_count(&b.db, "UpdateItem"), 0);
  bench_clear(&b);
}

/* ---- others ---- */

static void somebody_elses_publication_is_not_overwritten(void **state) {
  (void)state;
  static const size_t sizes[] = {3, 150};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    struct bench b;
    bench_init(&b);
    observe(&b);
    struct control_row before = b.observed;
    set_result(&b, "c", 2, 9);
    assert_int_equal(publish_anew(&b), KPI_OK); /* the other */
    control_row_clear(&b.observed);
    b.observed = before;
    set_result(&b, "d", sizes[i], 5);
    assert_int_equal(publish(&b), KPI_NEWER_RUN_PUBLISHED);
    assert_non_null(strstr(b.err.message, "date#" DATE));
    set_result(&b, "c", 2, 9);
    assert_published(&b, "1");
    b.observed = (struct control_row){0};
    bench_clear(&b);
  }
}

/* A server died between begin and commit: who comes next removes what it may have written. */
static void a_publication_that_was_left_half_done_is_taken_over(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "dead", 250, 5);
  b.db.wanted = "TransactWriteItems";
  b.db.fault = FAULT_REQUEST_LOST;
  b.db.skip = 1;
  b.db.times = 1000;
  assert_int_equal(publish_anew(&b), KPI_DYNAMODB_UNAVAILABLE);
  b.db.times = 0;
  assert_int_equal(json_object_size(fake_table(&b.db, "categories")), 98);
  assert_non_null(json_object_get(fake_item(&b.db, "control", "date#" DATE), "pending_id"));
  set_result(&b, "c", 3, 8);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "2");
  bench_clear(&b);
}

/* Two servers die one after the other: the third knows what both may have written. */
static void what_all_before_may_have_written_is_removed(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  b.db.wanted = "TransactWriteItems";
  b.db.fault = FAULT_REQUEST_LOST;
  b.db.skip = 1;
  b.db.times = 1000;
  set_result(&b, "first", 250, 5); /* writes a chunk */
  assert_int_equal(publish_anew(&b), KPI_DYNAMODB_UNAVAILABLE);
  set_result(&b, "second", 250, 6); /* only begins */
  assert_int_equal(publish_anew(&b), KPI_DYNAMODB_UNAVAILABLE);
  b.db.times = 0;
  set_result(&b, "c", 3, 8);
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_published(&b, "3");
  bench_clear(&b);
}

static void who_was_overtaken_writes_no_further_rows(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "slow", 250, 5);
  b.db.wanted = "TransactWriteItems";
  b.db.fault = FAULT_REQUEST_LOST;
  b.db.times = 1000;
  observe(&b);
  struct control_row slow = b.observed;
  b.observed = (struct control_row){0};
  struct control_row nothing = {0};
  assert_int_equal(publish_atomic(&b.target, DAY, &slow, &b.order, b.counts, &b.err),
                   KPI_DYNAMODB_UNAVAILABLE);
  b.db.times = 0;
  set_result(&b, "c", 3, 8);
  assert_int_equal(publish_anew(&b), KPI_OK); /* another server takes the day over */
  set_result(&b, "slow", 250, 5);
  /* the slow one starts from its old observation, again */
  assert_int_equal(publish_atomic(&b.target, DAY, &nothing, &b.order, b.counts, &b.err),
                   KPI_NEWER_RUN_PUBLISHED);
  set_result(&b, "c", 3, 8);
  assert_published(&b, "2");
  control_row_clear(&slow);
  bench_clear(&b);
}

/* ---- faults ---- */

/* Each request in turn meets a fault that passes: the day is published all the same, once. */
static void a_fault_that_passes_changes_nothing(void **state) {
  (void)state;
  static const enum fake_fault faults[] = {FAULT_REQUEST_LOST, FAULT_REPLY_LOST, FAULT_SERVER_ERROR,
                                           FAULT_CONFLICT};
  for (size_t i = 0; i < COUNT_OF(faults); i++)
    for (size_t at = 0; at < 3; at++) {
      struct bench b;
      bench_init(&b);
      set_result(&b, "old", 2, 3);
      assert_int_equal(publish_anew(&b), KPI_OK);
      set_result(&b, "c", 200, 7);
      b.db.wanted = "TransactWriteItems";
      b.db.fault = faults[i];
      b.db.skip = at;
      b.db.times = 1;
      assert_int_equal(publish_anew(&b), KPI_OK);
      assert_int_equal(b.db.times, 0);
      assert_published(&b, "2");
      bench_clear(&b);
    }
}

/* Conflicts last longer than the attempts of one call. */
static void conflicts_are_waited_for(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 3, 7);
  b.db.wanted = "TransactWriteItems";
  b.db.fault = FAULT_CONFLICT;
  b.db.times = 4;
  assert_int_equal(publish_anew(&b), KPI_OK);
  assert_int_equal(fake_count(&b.db, "TransactWriteItems"), 5);
  assert_published(&b, "1");
  bench_clear(&b);
}

/* All attempts of a step are done but never answered: a look at the control row tells that they were. */
static void replies_that_are_lost_for_good_are_found_out(void **state) {
  (void)state;
  static const struct {
    const char *operation;
    size_t categories, skip;
  } cases[] = {{"TransactWriteItems", 3, 0},
               {"UpdateItem", 150, 0},
               {"TransactWriteItems", 150, 0},
               {"TransactWriteItems", 150, 1}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b);
    set_result(&b, "c", cases[i].categories, 7);
    b.db.wanted = cases[i].operation;
    b.db.fault = FAULT_REPLY_LOST;
    b.db.skip = cases[i].skip;
    b.db.times = 3;
    enum kpi_code rc = publish_anew(&b);
    bool is_chunk = i == 2; /* of which nothing tells: the whole is left for the next one */
    assert_int_equal(rc, is_chunk ? KPI_DYNAMODB_UNAVAILABLE : KPI_OK);
    if (!is_chunk)
      assert_published(&b, "1");
    bench_clear(&b);
  }
}

static void a_failure_that_has_changed_nothing_stays_a_failure(void **state) {
  (void)state;
  static const struct {
    enum fake_fault fault;
    enum kpi_code code;
  } cases[] = {{FAULT_REQUEST_LOST, KPI_DYNAMODB_UNAVAILABLE},
               {FAULT_SERVER_ERROR, KPI_DYNAMODB_UNAVAILABLE},
               {FAULT_DENIED, KPI_DYNAMODB_ACCESS_DENIED}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b);
    set_result(&b, "c", 3, 7);
    b.db.wanted = "TransactWriteItems";
    b.db.fault = cases[i].fault;
    b.db.times = 1000;
    assert_int_equal(publish_anew(&b), cases[i].code);
    assert_string_equal(b.err.remote.operation, "TransactWriteItems");
    assert_int_equal(json_object_size(fake_table(&b.db, "categories")), 0);
    assert_int_equal(json_object_size(fake_table(&b.db, "control")), 0);
    bench_clear(&b);
  }
}

static void a_control_row_that_is_none_is_refused(void **state) {
  (void)state;
  static const char *const rows[] = {"{\"pk\":{\"S\":\"date#" DATE "\"},\"ver\":{\"S\":\"1\"}}",
                                     "{\"pk\":{\"S\":\"date#" DATE "\"},\"ver\":{\"N\":\"-1\"}}",
                                     "{\"pk\":{\"S\":\"date#" DATE
                                     "\"},\"categories\":{\"L\":[{\"N\":\"1\"}]}}"};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    struct bench b;
    bench_init(&b);
    json_t *row = json_loads(rows[i], 0, NULL);
    fake_put(&b.db, "control", row);
    json_decref(row);
    assert_int_equal(publish_control_get(&b.target, DAY, NULL, &b.observed, &b.err),
                     KPI_DYNAMODB_SCHEMA_MISMATCH);
    assert_non_null(strstr(b.err.message, "control date#" DATE));
    bench_clear(&b);
  }
}

static void a_control_table_that_cannot_be_read_is_named(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  b.db.fault = FAULT_DENIED;
  b.db.times = 1;
  assert_int_equal(publish_control_get(&b.target, DAY, NULL, &b.observed, &b.err),
                   KPI_DYNAMODB_ACCESS_DENIED);
  assert_non_null(strstr(b.err.message, "control date#" DATE));
  assert_string_equal(b.err.remote.operation, "GetItem");
  bench_clear(&b);
}

/* ---- plain ---- */

static void plain_writes_batches_and_the_order_row_last(void **state) {
  (void)state;
  static const struct { size_t categories, batches; } cases[] = {{0, 1}, {1, 2}, {25, 2}, {26, 3}, {60, 4}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bench b;
    bench_init(&b);
    set_result(&b, "c", cases[i].categories, 7);
    assert_int_equal(publish_plain(&b.target, &b.order, b.counts, &b.err), KPI_OK);
    assert_int_equal(fake_count(&b.db, "BatchWriteItem"), cases[i].batches);
    assert_int_equal(fake_count(&b.db, NULL), cases[i].batches); /* it needs no other permission */
    assert_int_equal(json_object_size(fake_table(&b.db, "categories")), cases[i].categories);
    assert_string_equal(number_of(fake_item(&b.db, "orders", DATE), "total_orders"), "7");
    json_t *last = json_object_get(fake_body(&b.db, "BatchWriteItem", cases[i].batches - 1), "RequestItems");
    assert_non_null(json_object_get(last, "orders"));
    assert_int_equal(b.counts[KPI_CATEGORIES].put, cases[i].categories);
    assert_int_equal(b.counts[KPI_ORDERS].put, 1);
    assert_int_equal(atomic_load(&b.progress.items_published), cases[i].categories + 1);
    bench_clear(&b);
  }
}

static void plain_sends_again_what_was_left_undone(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 30, 7);
  b.db.unprocessed = 10;
  b.db.unprocessed_times = 2;
  assert_int_equal(publish_plain(&b.target, &b.order, b.counts, &b.err), KPI_OK);
  assert_int_equal(json_object_size(fake_table(&b.db, "categories")), 30);
  assert_int_equal(atomic_load(&b.progress.items_published), 31); /* each item once */
  const json_t *again = json_object_get(fake_body(&b.db, "BatchWriteItem", 1), "RequestItems");
  assert_int_equal(json_array_size(json_object_get(again, "categories")), 10);
  bench_clear(&b);
}

static void plain_items_carry_no_version(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 1, 7);
  assert_int_equal(publish_plain(&b.target, &b.order, b.counts, &b.err), KPI_OK);
  const json_t *item = fake_item(&b.db, "categories", "c000|" DATE);
  assert_string_equal(fake_text(item, "run_id"), RUN);
  assert_null(json_object_get(item, "publish_version"));
  b.target.shape = SHAPE_ORIGINAL;
  assert_int_equal(publish_plain(&b.target, &b.order, b.counts, &b.err), KPI_OK);
  assert_int_equal(json_object_size(fake_item(&b.db, "categories", "c000|" DATE)), 5);
  bench_clear(&b);
}

static void plain_stops_at_the_first_failure(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  set_result(&b, "c", 30, 7);
  b.db.fault = FAULT_DENIED;
  b.db.skip = 1;
  b.db.times = 1;
  assert_int_equal(publish_plain(&b.target, &b.order, b.counts, &b.err), KPI_DYNAMODB_ACCESS_DENIED);
  assert_int_equal(fake_count(&b.db, NULL), 2);
  assert_int_equal(json_object_size(fake_table(&b.db, "orders")), 0);
  assert_int_equal(atomic_load(&b.progress.items_published), 25);
  bench_clear(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_small_day_is_one_transaction),
      cmocka_unit_test(categories_that_are_gone_are_deleted),
      cmocka_unit_test(what_is_published_already_is_left_alone),
      cmocka_unit_test(a_day_that_became_empty_loses_its_rows),
      cmocka_unit_test(rows_of_the_replaced_job_are_deleted_at_first),
      cmocka_unit_test(a_long_day_is_begun_and_committed),
      cmocka_unit_test(chunks_check_that_the_day_is_still_ours),
      cmocka_unit_test(names_that_do_not_fit_into_a_control_row_are_refused),
      cmocka_unit_test(somebody_elses_publication_is_not_overwritten),
      cmocka_unit_test(a_publication_that_was_left_half_done_is_taken_over),
      cmocka_unit_test(what_all_before_may_have_written_is_removed),
      cmocka_unit_test(who_was_overtaken_writes_no_further_rows),
      cmocka_unit_test(a_fault_that_passes_changes_nothing),
      cmocka_unit_test(conflicts_are_waited_for),
      cmocka_unit_test(replies_that_are_lost_for_good_are_found_out),
      cmocka_unit_test(a_failure_that_has_changed_nothing_stays_a_failure),
      cmocka_unit_test(a_control_row_that_is_none_is_refused),
      cmocka_unit_test(a_control_table_that_cannot_be_read_is_named),
      cmocka_unit_test(plain_writes_batches_and_the_order_row_last),
      cmocka_unit_test(plain_sends_again_what_was_left_undone),
      cmocka_unit_test(plain_items_carry_no_version),
      cmocka_unit_test(plain_stops_at_the_first_failure),
  };
  return cmocka_run_group_tests_name("publish_dynamodb", tests, NULL, NULL);
}
