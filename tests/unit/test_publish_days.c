/* SPDX-License-Identifier: MIT
 * Publishing many days that were computed together: a database of its own, a publisher and a source that say
 * what they are told to. */
#include "base/log.h"
#include "base/scope.h"
#include "server/publish_days.h"
#include "server/run_move_store.h"
#include "server/run_submit_store.h"

#include "unit.h"

#include "quiet_log.h"

enum { FIRST_DAY = 20000 };

static char folder[64];

/* Publishes into memory: how many rows each day got. */
struct fake_publisher {
  struct publisher base;
  day_t fails_at;       /* publishing that day fails; 0: none */
  day_t fails_from;     /* and that day and all after it; 0: none */
  bool changes;         /* the inputs change with the first observation */
  size_t changes_after; /* or with the one after so many; 0: never */
  struct {
    pthread_mutex_t lock;
    size_t begun, published, listed;
    size_t listed_after; /* observations that there were when the inputs were listed last */
    unsigned rows[400];  /* of each day from FIRST_DAY on, plus 1 */
  } synced;
};

struct fake_publication {
  struct publication base;
  struct fake_publisher *publisher;
  day_t day;
};

static enum kpi_code fake_publish(struct publication *base, const struct publish_order *order,
                                  struct publish_counts out[KPI_TABLE_COUNT], struct err *err) {
  struct fake_publication *p = (struct fake_publication *)base;
  struct fake_publisher *f = p->publisher;
  if (p->day == f->fails_at || (f->fails_from && p->day >= f->fails_from))
    return err_set(err, KPI_DYNAMODB_UNAVAILABLE, "day %d", (int)p->day);
  SCOPE_LOCK(&f->synced.lock);
  size_t rows = 0;
  for (int t = 0; t < KPI_TABLE_COUNT; t++) {
    const struct kpi_rows *table = &order->result->tables[t];
    rows += table->count;
    out[t].put = table->count;
    for (size_t i = 0; i < table->count; i++)
      if (table->rows[i].day != p->day)
        rows = 1000; /* a row of another day */
  }
  f->synced.rows[p->day - FIRST_DAY] = (unsigned)rows + 1;
  f->synced.published++;
  return KPI_OK;
}

static void fake_publication_free(struct publication *p) {
  free(p);
}

static const struct publication_vtable publication_vtable = {fake_publish, fake_publication_free};

static enum kpi_code fake_begin(struct publisher *base, day_t day, const struct stop_flag *stop,
                                struct publication **out, struct err *err) {
  struct fake_publisher *f = (struct fake_publisher *)base;
  struct fake_publication *p = calloc(1, sizeof *p);
  (void)stop;
  (void)err;
  *p = (struct fake_publication){{.vtable = &publication_vtable}, f, day};
  SCOPE_LOCK(&f->synced.lock);
  f->synced.begun++;
  *out = &p->base;
  return KPI_OK;
}

static void fake_publisher_free(struct publisher *p) {
  (void)p;
}

static const struct publisher_vtable publisher_vtable = {fake_begin, fake_publisher_free};

/* Lists one object a data set; its version says whether the inputs have changed. */
struct fake_source {
  struct source base;
  struct fake_publisher *publisher;
};

static enum kpi_code fake_list(struct source *base, const struct source_use *use, struct source_listing *out,
                               struct err *err) {
  struct fake_publisher *f = ((struct fake_source *)base)->publisher;
  (void)use;
  (void)err;
  SCOPE_LOCK(&f->synced.lock);
  f->synced.listed++;
  f->synced.listed_after = f->synced.begun;
  for (int d = 0; d < DATASET_COUNT; d++) {
    struct source_object o = {.name = (char *)(uintptr_t) "a.csv", .size = 1, .version = "1"};
    bool is_late = f->changes_after && f->synced.begun > f->changes_after;
    o.version[0] = (char)('1' + (is_late || (f->changes && f->synced.begun > 0)));
    assert_true(source_listing_add(out, (enum dataset)d, &o));
  }
  return KPI_OK;
}

static void fake_source_free(struct source *s) {
  (void)s;
}

static const struct source_vtable source_vtable = {"file", KPI_SOURCE_UNREADABLE, fake_list, NULL,
                                                   fake_source_free};

struct bench {
  struct fake_publisher publisher;
  struct fake_source source;
  struct config config;
  struct run_exec x;
  struct db *db;
  struct source_listing listing;
  struct day_scan scan;
  struct run runs[400];
  struct run_live lives[400];
  struct stop_flag stop;
  day_t refuses; /* claiming that day fails; 0: none */
  size_t over;   /* runs that have ended */
  struct publish_days days;
  struct err err;
};

static const struct run_defaults defaults = {"UTC", "file:///data", "1%"};

static enum kpi_code take(void *arg, size_t at, struct day_run *out, struct err *err) {
  struct bench *b = arg;
  const day_t day = b->scan.results.at[at].day;
  const struct submit_policy attach = {.on_active = ON_ACTIVE_ATTACH};
  struct submitted done;
  struct run_request q = {.date = day,
                          .publish = true,
                          .max_attempts = 1,
                          .labels_json = VIEW_LIT("{}"),
                          .max_bad_rows = VIEW_LIT("1%")};
  bool found = false;
  if (day == b->refuses)
    return err_set(err, KPI_RUN_ALREADY_ACTIVE, "day %d is taken", (int)day);
  enum kpi_code rc = run_store_submit(b->db, &q, &attach, &defaults, &done, err);
  if (rc)
    return rc;
  rc = run_store_claim(b->db, "boot", done.run.id, &defaults, &b->runs[at], &found, err);
  run_clear(&done.run);
  *out = (struct day_run){&b->runs[at], &b->lives[at]};
  return rc ? rc : found ? KPI_OK : err_set(err, KPI_INTERNAL, "not found");
}

static void over(void *arg, size_t at) {
  struct bench *b = arg;
  run_clear(&b->runs[at]);
  SCOPE_LOCK(&b->publisher.synced.lock);
  b->over++;
}

static void bench_init(struct bench *b, size_t days) {
  char path[96];
  *b = (struct bench){.publisher = {.base = {&publisher_vtable}},
                      .source = {.base = {.vtable = &source_vtable, .open_ahead = 1}}};
  pthread_mutex_init(&b->publisher.synced.lock, NULL);
  b->source.publisher = &b->publisher;
  strcpy(folder, "/tmp/kpid-publish-XXXXXX");
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/k.db", folder);
  assert_int_equal(db_open(path, "unit test", &b->db, &b->err), KPI_OK);
  b->config = (struct config){
      .order_table = "o", .category_table = "c", .control_table = "k", .zone = tz_cached(VIEW_LIT("UTC"))};
  b->x = (struct run_exec){
      .config = &b->config, .db = b->db, .source = &b->source.base, .publisher = &b->publisher.base};
  const struct source_use use = {.stop = NULL};
  assert_int_equal(source_list(&b->source.base, &use, &b->listing, &b->err), KPI_OK);
  run_input_of(&b->listing, ENGINE_NATIVE, &b->scan.listing, &b->scan.input);
  b->scan.results.at = calloc(days, sizeof *b->scan.results.at);
  for (size_t i = 0; i < days; i++) {
    b->scan.results.at[i].day = FIRST_DAY + (day_t)i;
    b->scan.results.at[i].result.quality = (struct quality){.passed = 1, .report_json = strdup("{}")};
  }
  b->scan.results.count = days;
  b->days = (struct publish_days){
      .x = &b->x, .scan = &b->scan, .stop = &b->stop, .count = days, .take = take, .over = over, .arg = b};
}

/* One order row and two category rows for a day. */
static void add_day(struct bench *b, size_t n) {
  day_t day = FIRST_DAY + (day_t)n;
  struct job_result *result = &b->scan.results.at[n].result;
  kpi_rows_add(&result->tables[KPI_ORDERS], day, (struct view){0})->orders = 1;
  kpi_rows_add(&result->tables[KPI_CATEGORIES], day, VIEW_LIT("a"))->returned_orders_known = true;
  kpi_rows_add(&result->tables[KPI_CATEGORIES], day, VIEW_LIT("b"))->returned_orders_known = true;
}

static void bench_clear(struct bench *b) {
  char command[128];
  for (size_t i = 0; i < COUNT_OF(b->runs); i++)
    run_clear(&b->runs[i]); /* those that were left */
  day_scan_clear(&b->scan);
  source_listing_clear(&b->listing);
  db_close(b->db);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  assert_int_equal(system(command), 0);
  pthread_mutex_destroy(&b->publisher.synced.lock);
}

/* A bench of days that all have rows. */
static void bench_init_with_rows(struct bench *b, size_t days) {
  bench_init(b, days);
  for (size_t n = 0; n < days; n++)
    add_day(b, n);
}

/* A day that the computation has refused. */
static void refuse_day(struct bench *b, size_t n) {
  struct err *err = b->scan.results.at[n].err = calloc(1, sizeof *err);
  (void)err_set(err, KPI_VALUE_UNPARSABLE, "a cell of day %zu", n);
}

/* Rows that a day was published with; -1: it was not. */
static int rows_of(const struct bench *b, size_t n) {
  return (int)b->publisher.synced.rows[n] - 1;
}

static size_t runs_in(struct bench *b, enum run_state state) {
  struct run_filter filter = {.limit = 200};
  struct run_list list;
  size_t n = 0;
  assert_int_equal(run_store_list(b->db, &filter, &list, &b->err), KPI_OK);
  for (size_t i = 0; i < list.count; i++)
    n += list.runs[i].state == state;
  run_list_clear(&list);
  return n;
}

static void each_day_gets_its_own_rows(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b, 4);
  add_day(&b, 0);
  add_day(&b, 2);
  if (publish_days(&b.days, &b.err))
    fail_msg("%s", b.err.message);
  static const int expected[] = {3, 0, 3, 0, -1};
  for (size_t i = 0; i < COUNT_OF(expected); i++)
    assert_int_equal(rows_of(&b, i), expected[i]);
  assert_int_equal(runs_in(&b, RUN_SUCCEEDED), 4);
  bench_clear(&b);
}

/* Windows of 64 days: the edges between them lose no day and do none twice. */
static void windows_follow_each_other(void **state) {
  (void)state;
  static const size_t days[] = {1, 63, 64, 65, 130};
  for (size_t i = 0; i < COUNT_OF(days); i++) {
    struct bench b;
    bench_init_with_rows(&b, days[i]);
    assert_int_equal(publish_days(&b.days, &b.err), KPI_OK);
    assert_int_equal(b.publisher.synced.published, days[i]);
    for (size_t n = 0; n < days[i]; n++)
      assert_int_equal(rows_of(&b, n), 3);
    assert_int_equal(b.publisher.synced.listed, 1 + (days[i] + 63) / 64);
    assert_int_equal(b.publisher.synced.listed_after, days[i]); /* after all of a window were observed */
    bench_clear(&b);
  }
}

static void a_day_that_fails_keeps_no_other_back(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 70);
  b.publisher.fails_at = FIRST_DAY + 3;
  b.refuses = FIRST_DAY + 68;
  assert_int_equal(publish_days(&b.days, &b.err), KPI_DYNAMODB_UNAVAILABLE);
  assert_string_equal(b.err.message, "day 20003"); /* of the first that failed */
  assert_int_equal(b.publisher.synced.published, 68);
  assert_int_equal(rows_of(&b, 3), -1);
  assert_int_equal(rows_of(&b, 68), -1);
  assert_int_equal(rows_of(&b, 69), 3);
  assert_int_equal(runs_in(&b, RUN_FAILED), 1);
  assert_int_equal(runs_in(&b, RUN_SUCCEEDED), 68);
  bench_clear(&b);
}

static void a_window_that_fails_whole_is_the_last(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 130);
  b.publisher.fails_from = FIRST_DAY;
  assert_int_equal(publish_days(&b.days, &b.err), KPI_DYNAMODB_UNAVAILABLE);
  assert_int_equal(b.publisher.synced.begun, 64);
  assert_int_equal(runs_in(&b, RUN_FAILED), 64);
  bench_clear(&b);
}

/* Somebody has written new inputs: results of the old ones must not overwrite what others have published. */
static void inputs_that_have_changed_are_not_published(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 2);
  b.publisher.changes = true;
  assert_int_equal(publish_days(&b.days, &b.err), KPI_SOURCE_UNREADABLE);
  assert_non_null(strstr(b.err.message, "changed"));
  assert_int_equal(b.publisher.synced.published, 0);
  assert_int_equal(runs_in(&b, RUN_FAILED), 2);
  bench_clear(&b);
}

/* The runs that were left over get what is true for them, not the fault of a day before. */
static void what_keeps_the_rest_back_is_told_before_the_fault_of_a_day(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 130);
  refuse_day(&b, 3);
  b.days.leaves_changed = true;
  b.publisher.changes_after = 64;
  assert_int_equal(publish_days(&b.days, &b.err), KPI_SOURCE_UNREADABLE);
  assert_non_null(strstr(b.err.message, "changed"));
  assert_int_equal(runs_in(&b, RUN_FAILED), 1);
  assert_int_equal(runs_in(&b, RUN_SUCCEEDED), 63);
  assert_int_equal(b.over, 64);
  bench_clear(&b);
}

static void an_outage_is_told_before_the_fault_of_a_day(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 130);
  refuse_day(&b, 3);
  b.publisher.fails_from = FIRST_DAY + 64;
  assert_int_equal(publish_days(&b.days, &b.err), KPI_DYNAMODB_UNAVAILABLE);
  assert_int_equal(b.over, 128); /* the last two would have met the same */
  bench_clear(&b);
}

static void a_stop_ends_it_after_the_window(void **state) {
  (void)state;
  struct bench b;
  bench_init_with_rows(&b, 130);
  stop_raise(&b.stop, STOP_DRAIN);
  assert_int_equal(publish_days(&b.days, &b.err), KPI_INTERRUPTED);
  assert_int_equal(b.publisher.synced.published, 64);
  assert_int_equal(runs_in(&b, RUN_SUCCEEDED), 64);
  bench_clear(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_day_gets_its_own_rows),
      cmocka_unit_test(windows_follow_each_other),
      cmocka_unit_test(a_day_that_fails_keeps_no_other_back),
      cmocka_unit_test(a_window_that_fails_whole_is_the_last),
      cmocka_unit_test(inputs_that_have_changed_are_not_published),
      cmocka_unit_test(what_keeps_the_rest_back_is_told_before_the_fault_of_a_day),
      cmocka_unit_test(an_outage_is_told_before_the_fault_of_a_day),
      cmocka_unit_test(a_stop_ends_it_after_the_window),
  };
  return cmocka_run_group_tests_name("backfill", tests, quiet_log, NULL);
}
