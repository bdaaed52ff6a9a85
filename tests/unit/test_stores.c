/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "pipeline/kpi.h"
#include "server/published_store.h"
#include "server/results_store.h"
#include "server/run_move_store.h"
#include "server/run_submit_store.h"
#include "server/upkeep_store.h"

#include "unit_db.h"

#include <sqlite3.h>
#include <unistd.h>

static struct run submit(day_t date, bool publish, enum disposition *disposition) {
  struct run_request request = {
      .date = date, .publish = publish, .gate = GATE_WARN, .labels_json = VIEW_LIT("{\"team\":\"a\"}")};
  const struct submit_policy attach = {.on_active = ON_ACTIVE_ATTACH};
  struct submitted done;
  struct err err = {0};
  if (run_store_submit(db, &request, &attach, &defaults, &done, &err))
    fail_msg("%s", err.message);
  *disposition = done.disposition;
  return done.run;
}

/* Claims the oldest run of the queue. */
static struct run claim(const char *boot, bool *found) {
  struct run_filter queued = {.limit = 200, .has_state = true, .state = RUN_QUEUED};
  struct run_list list;
  struct run run;
  struct err err;
  assert_int_equal(run_store_list(db, &queued, &list, &err), KPI_OK);
  const char *id = list.count ? list.runs[list.count - 1].id : "";
  assert_int_equal(run_store_claim(db, boot, id, &defaults, &run, found, &err), KPI_OK);
  run_list_clear(&list);
  return run;
}

static enum run_state state_of(const char *id) {
  struct run run;
  struct err err;
  assert_int_equal(run_store_get(db, view_of(id), &run, &err), KPI_OK);
  enum run_state state = run.state;
  run_clear(&run);
  return state;
}

static void finish(const char *id, enum run_state state) {
  struct run_end end = {
      .id = id, .state = state, .error_json = state == RUN_FAILED ? "{\"code\":\"internal\"}" : NULL};
  enum run_state ended;
  struct err err = {0};
  if (run_store_finish(db, &end, &ended, &err))
    fail_msg("%s", err.message);
}

static void active_publishing_run_is_attached_to(void **state) {
  (void)state;
  enum disposition d;
  struct run first = submit(10, true, &d);
  assert_int_equal(d, DISPOSITION_CREATED);
  struct run second = submit(10, true, &d);
  assert_int_equal(d, DISPOSITION_ATTACHED);
  assert_string_equal(first.id, second.id);
  struct run preview = submit(10, false, &d), other = submit(11, true, &d);
  assert_int_equal(d, DISPOSITION_CREATED);
  assert_string_not_equal(first.id, preview.id);
  assert_string_not_equal(first.id, other.id);
  struct run *all[] = {&first, &second, &preview, &other};
  for (size_t i = 0; i < COUNT_OF(all); i++)
    run_clear(all[i]);
}

static void runs_are_claimed_oldest_first(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct run first = submit(10, true, &d), second = submit(11, true, &d);
  struct run claimed = claim("boot", &found);
  assert_true(found);
  assert_string_equal(claimed.id, first.id);
  assert_int_equal(claimed.state, RUN_RUNNING);
  assert_int_equal(claimed.attempt, 1);
  run_clear(&claimed);
  claimed = claim("boot", &found);
  assert_string_equal(claimed.id, second.id);
  run_clear(&claimed);
  claimed = claim("boot", &found);
  assert_false(found);
  finish(first.id, RUN_SUCCEEDED);
  finish(second.id, RUN_FAILED);
  assert_int_equal(state_of(first.id), RUN_SUCCEEDED);
  assert_int_equal(state_of(second.id), RUN_FAILED);
  run_clear(&first);
  run_clear(&second);
}

static void handed_back_runs_are_not_charged(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct run run = submit(10, true, &d);
  struct run claimed = claim("boot", &found);
  finish(run.id, RUN_QUEUED);
  run_clear(&claimed);
  claimed = claim("boot", &found);
  assert_int_equal(claimed.attempt, 1);
  run_clear(&claimed);
  run_clear(&run);
}

static void crashes_are_charged_and_end_after_three(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct recovery recovery;
  struct err err;
  struct run run = submit(10, true, &d);
  for (int crash = 1; crash <= CRASHES_MAX; crash++) {
    char boot[32];
    snprintf(boot, sizeof boot, "boot%d", crash);
    struct run claimed = claim(boot, &found);
    assert_int_equal(claimed.attempt, crash);
    run_clear(&claimed);
    assert_int_equal(upkeep_recover(db, "next", &recovery, &err), KPI_OK);
    run_list_clear(&recovery.lost);
    assert_int_equal(recovery.moved, 1);
    assert_int_equal(state_of(run.id), crash < CRASHES_MAX ? RUN_QUEUED : RUN_FAILED);
  }
  struct run failed;
  assert_int_equal(run_store_get(db, view_of(run.id), &failed, &err), KPI_OK);
  assert_non_null(strstr(failed.error_json, "worker_lost"));
  assert_non_null(strstr(failed.attempts_json, "crashed"));
  run_clear(&failed);
  run_clear(&run);
}

static void own_runs_are_not_recovered(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct recovery recovery;
  struct err err;
  struct run run = submit(10, true, &d), claimed = claim("mine", &found);
  assert_int_equal(upkeep_recover(db, "mine", &recovery, &err), KPI_OK);
  run_list_clear(&recovery.lost);
  assert_int_equal(recovery.moved, 0);
  assert_int_equal(state_of(run.id), RUN_RUNNING);
  run_clear(&run);
  run_clear(&claimed);
}

static void cancel_is_idempotent_and_ends_in_cancelled(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct err err;
  struct run run = submit(10, true, &d), claimed = claim("boot", &found), after;
  for (int again = 0; again < 2; again++) {
    assert_int_equal(run_store_cancel(db, view_of(run.id), &after, &err), KPI_OK);
    assert_int_equal(after.state, RUN_CANCELLING);
    run_clear(&after);
  }
  struct run_request request = {.date = 10, .publish = true};
  const struct submit_policy attach = {.on_active = ON_ACTIVE_ATTACH};
  struct submitted done;
  assert_int_equal(run_store_submit(db, &request, &attach, &defaults, &done, &err), KPI_RUN_ALREADY_ACTIVE);
  finish(run.id, RUN_QUEUED); /* a drain meets the cancel */
  assert_int_equal(state_of(run.id), RUN_CANCELLED);
  assert_int_equal(run_store_cancel(db, view_of(run.id), &after, &err), KPI_OK);
  run_clear(&after);
  assert_int_equal(run_store_cancel(db, VIEW_LIT("none"), &after, &err), KPI_RUN_NOT_FOUND);
  run_clear(&run);
  run_clear(&claimed);
}

static struct job_result result_of(day_t day, const char *category, const char *revenue) {
  struct job_result r = {.quality = {.report_json = strdup("{\"checks\":[]}")}};
  struct kpi_totals t = {
      .orders = 3, .item_rows = 5, .distinct_items = 5, .customers = 2, .returned_orders_known = true};
  decimal_parse(view_of(revenue), &t.revenue);
  kpi_order_day(&t, kpi_rows_add(&r.tables[KPI_ORDERS], day, (struct view){0}));
  kpi_category_day(&t, kpi_rows_add(&r.tables[KPI_CATEGORIES], day, view_of(category)));
  return r;
}

/* Runs a date to its end with one category and publishes it. */
static void publish(day_t day, const char *category, const char *revenue,
                    struct publish_counts counts[KPI_TABLE_COUNT]) {
  enum disposition d;
  bool found;
  struct err err = {0};
  struct run run = submit(day, true, &d), claimed = claim("boot", &found);
  struct job_result result = result_of(day, category, revenue);
  assert_int_equal(results_store_keep(db, run.id, day, &result, &err), KPI_OK);
  assert_int_equal(results_store_publish(db, run.id, day, counts, &err), KPI_OK);
  finish(run.id, RUN_SUCCEEDED);
  struct results_ask ask = {.table = KPI_CATEGORIES};
  struct results read;
  assert_int_equal(results_store_rows(db, view_of(run.id), &ask, &read, &err), KPI_OK);
  assert_int_equal(read.rows.count, 1);
  assert_view(read.rows.rows[0].category, category);
  assert_int_equal(decimal_cmp(&read.rows.rows[0].revenue, &result.tables[KPI_CATEGORIES].rows[0].revenue),
                   0);
  results_clear(&read);
  job_result_clear(&result);
  run_clear(&run);
  run_clear(&claimed);
}

static void publishing_tells_what_it_changed(void **state) {
  (void)state;
  struct publish_counts counts[KPI_TABLE_COUNT];
  publish(20, "A", "123456789012345678901234567890.123456789012345678", counts);
  assert_int_equal(counts[KPI_CATEGORIES].put, 1);
  publish(20, "A", "123456789012345678901234567890.123456789012345678", counts);
  assert_int_equal(counts[KPI_CATEGORIES].unchanged, 1);
  assert_int_equal(counts[KPI_CATEGORIES].put, 0);
  publish(20, "B", "7", counts);
  assert_int_equal(counts[KPI_CATEGORIES].put, 1);
  assert_int_equal(counts[KPI_CATEGORIES].deleted, 1);
}

static void results_are_not_ready_before_they_are_kept(void **state) {
  (void)state;
  enum disposition d;
  struct err err;
  struct results read;
  struct run run = submit(10, true, &d);
  struct results_ask ask = {.table = KPI_ORDERS};
  assert_int_equal(results_store_rows(db, view_of(run.id), &ask, &read, &err), KPI_RESULTS_NOT_READY);
  assert_int_equal(results_store_rows(db, VIEW_LIT("none"), &ask, &read, &err), KPI_RUN_NOT_FOUND);
  run_clear(&run);
}

static void probing_leaves_nothing_behind(void **state) {
  (void)state;
  struct err err = {0};
  struct run_list list;
  struct run_filter all = {.limit = 10};
  struct run_census census;
  assert_int_equal(upkeep_probe(db, &err), KPI_OK);
  assert_int_equal(upkeep_probe(db, &err), KPI_OK);
  assert_false(db_refuses_writes(db));
  assert_int_equal(upkeep_census(db, &census, &err), KPI_OK);
  assert_int_equal(census.queued, 0);
  assert_int_equal(run_store_list(db, &all, &list, &err), KPI_OK);
  assert_int_equal(list.count, 0);
  run_list_clear(&list);
}

static void pruning_spares_what_is_published_or_active(void **state) {
  (void)state;
  struct publish_counts counts[KPI_TABLE_COUNT];
  enum disposition d;
  struct err err;
  struct run_list list;
  struct run_filter all = {.limit = 10};
  publish(20, "A", "1", counts);
  publish(20, "A", "2", counts);
  struct run queued = submit(21, true, &d);
  assert_int_equal(upkeep_prune(db, clock_wall_ms() + 1000, &err), KPI_OK);
  assert_int_equal(run_store_list(db, &all, &list, &err), KPI_OK);
  assert_int_equal(list.count, 2);
  run_list_clear(&list);
  run_clear(&queued);
}

static int read_count(void *arg, int columns, char **values, char **names) {
  (void)columns;
  (void)names;
  *(int *)arg = atoi(values[0]);
  return 0;
}

struct count_call {
  const char *sql;
  int count;
};

static enum kpi_code do_count(struct db_conn *c, void *arg, struct err *err) {
  struct count_call *call = arg;
  (void)err;
  return sqlite3_exec(c->sqlite, call->sql, read_count, &call->count, NULL) ? KPI_INTERNAL : KPI_OK;
}

static void assert_count(const char *sql, int expected) {
  struct count_call call = {.sql = sql};
  struct err err;
  assert_int_equal(db_call(db, DB_NORMAL, do_count, &call, &err), KPI_OK);
  if (call.count != expected)
    fail_msg("%s: %d, not %d", sql, call.count, expected);
}

/* Says what the newest run of a day has read. */
static void set_input(day_t day, const char *fingerprint) {
  struct run_list list;
  struct run_filter of_day = {.limit = 1, .has_date = true, .date = day};
  struct run_input input = {.objects = 1, .bytes = 1, .listing = VIEW_LIT("a\t1\tv")};
  struct err err;
  view_to_cstr(view_of(fingerprint), input.fingerprint, sizeof input.fingerprint);
  assert_int_equal(run_store_list(db, &of_day, &list, &err), KPI_OK);
  const char *const listed = list.runs[0].id;
  assert_int_equal(run_store_input(db, &listed, 1, &input, &err), KPI_OK);
  run_list_clear(&list);
}

/* What is published, its run and its rows stay, however old; what it replaced goes with all that hangs on it.
 */
static void pruning_takes_all_of_a_run_and_nothing_of_what_is_published(void **state) {
  (void)state;
  struct publish_counts counts[KPI_TABLE_COUNT];
  struct err err;
  publish(20, "A", "1", counts);
  set_input(20, "replaced");
  publish(20, "B", "2", counts);
  set_input(20, "published");
  publish(21, "C", "3", counts);
  set_input(21, "published");
  assert_count("SELECT count(*) FROM manifests", 2);
  assert_count("SELECT count(*) FROM quality_reports", 3);
  assert_int_equal(upkeep_prune(db, clock_wall_ms() - 60 * 1000, &err), KPI_OK);
  assert_count("SELECT count(*) FROM runs", 3);
  assert_int_equal(upkeep_prune(db, clock_wall_ms() + 1000, &err), KPI_OK);
  assert_count("SELECT count(*) FROM runs", 2);
  assert_count("SELECT count(*) FROM published", 2);
  assert_count("SELECT count(*) FROM order_results", 2);
  assert_count("SELECT count(*) FROM category_results WHERE category IN ('B', 'C')", 2);
  assert_count("SELECT count(*) FROM category_results", 2);
  assert_count("SELECT count(*) FROM quality_reports", 2);
  assert_count("SELECT count(*) FROM attempts", 2);
  assert_count("SELECT count(DISTINCT run_id) FROM events", 2);
  assert_count("SELECT count(*) FROM manifests WHERE fingerprint = 'published'", 1);
  assert_count("SELECT count(*) FROM manifests", 1);
  struct kpi_rows history;
  assert_int_equal(published_store_history(db, 22 - 28, 21, &history, &err), KPI_OK);
  assert_int_equal(history.count, 2);
  kpi_rows_clear(&history);
}

static void what_was_pruned_is_no_previous_run(void **state) {
  (void)state;
  struct publish_counts counts[KPI_TABLE_COUNT];
  struct err err;
  struct run_list list;
  struct run_filter newest = {.limit = 1};
  struct results_ask ask = {.table = KPI_CATEGORIES, .with_previous = true};
  struct results read;
  publish(20, "A", "1", counts);
  publish(20, "A", "2", counts);
  assert_int_equal(run_store_list(db, &newest, &list, &err), KPI_OK);
  struct view id = view_of(list.runs[0].id);
  assert_int_equal(results_store_rows(db, id, &ask, &read, &err), KPI_OK);
  assert_int_equal(strlen(read.previous_id), UUID_TEXT_SIZE - 1);
  assert_int_equal(read.previous.count, 1);
  results_clear(&read);
  assert_int_equal(upkeep_prune(db, clock_wall_ms() + 1000, &err), KPI_OK);
  assert_int_equal(results_store_rows(db, id, &ask, &read, &err), KPI_OK);
  assert_string_equal(read.previous_id, "");
  assert_int_equal(read.rows.count, 1);
  assert_int_equal(read.previous.count, 0);
  results_clear(&read);
  run_list_clear(&list);
}

static void lists_filter_and_page(void **state) {
  (void)state;
  enum disposition d;
  struct err err;
  struct run_list list;
  for (day_t day = 0; day < 5; day++) {
    struct run run = submit(day, true, &d);
    run_clear(&run);
  }
  struct run_filter filter = {
      .limit = 2, .has_from = true, .from = 1, .label_key = VIEW_LIT("team"), .label_value = VIEW_LIT("a")};
  assert_int_equal(run_store_list(db, &filter, &list, &err), KPI_OK);
  assert_int_equal(list.count, 2);
  assert_true(list.more);
  assert_int_equal(list.runs[0].date, 4);
  struct run_filter rest = filter;
  rest.before_id = view_of(list.runs[1].id);
  struct run_list second;
  assert_int_equal(run_store_list(db, &rest, &second, &err), KPI_OK);
  assert_int_equal(second.count, 2);
  assert_false(second.more);
  assert_int_equal(second.runs[1].date, 1);
  run_list_clear(&second);
  run_list_clear(&list);
  filter.label_value = VIEW_LIT("b");
  assert_int_equal(run_store_list(db, &filter, &list, &err), KPI_OK);
  assert_int_equal(list.count, 0);
  run_list_clear(&list);
}

static void assert_queued(int expected) {
  struct run_census census;
  struct err err;
  assert_int_equal(upkeep_census(db, &census, &err), KPI_OK);
  assert_int_equal(census.queued, expected);
  assert_count("SELECT queued FROM queue", expected);
}

static void queue_is_counted_through_every_move(void **state) {
  (void)state;
  enum disposition d;
  bool found;
  struct recovery recovery;
  struct err err;
  struct run after, first = submit(10, true, &d), second = submit(11, true, &d);
  assert_queued(2);
  struct run claimed = claim("boot", &found);
  assert_queued(1);
  finish(first.id, RUN_QUEUED);
  assert_queued(2);
  run_clear(&claimed);
  claimed = claim("boot", &found);
  assert_int_equal(upkeep_recover(db, "next", &recovery, &err), KPI_OK);
  run_list_clear(&recovery.lost);
  assert_queued(2);
  assert_int_equal(run_store_cancel(db, view_of(second.id), &after, &err), KPI_OK);
  assert_queued(1);
  run_clear(&after);
  struct retry_order order = {.id = view_of(second.id)};
  assert_int_equal(run_store_retry(db, &order, &after, &err), KPI_OK);
  assert_queued(2);
  run_clear(&after);
  assert_count("DELETE FROM runs WHERE state = 'queued'; SELECT count(*) FROM runs", 0);
  assert_queued(0);
  run_clear(&claimed);
  run_clear(&first);
  run_clear(&second);
}

static void second_opening_is_refused_and_names_the_holder(void **state) {
  (void)state;
  struct err err;
  struct db *second;
  assert_int_equal(db_open(path, "other", &second, &err), KPI_DB_LOCKED);
  assert_non_null(strstr(err.message, "unit test"));
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, open_db, close_db)

int main(void) {
  const struct CMUnitTest tests[] = {
      STORE_TEST(active_publishing_run_is_attached_to),
      STORE_TEST(runs_are_claimed_oldest_first),
      STORE_TEST(handed_back_runs_are_not_charged),
      STORE_TEST(crashes_are_charged_and_end_after_three),
      STORE_TEST(own_runs_are_not_recovered),
      STORE_TEST(cancel_is_idempotent_and_ends_in_cancelled),
      STORE_TEST(publishing_tells_what_it_changed),
      STORE_TEST(results_are_not_ready_before_they_are_kept),
      STORE_TEST(pruning_spares_what_is_published_or_active),
      STORE_TEST(pruning_takes_all_of_a_run_and_nothing_of_what_is_published),
      STORE_TEST(what_was_pruned_is_no_previous_run),
      STORE_TEST(probing_leaves_nothing_behind),
      STORE_TEST(lists_filter_and_page),
      STORE_TEST(queue_is_counted_through_every_move),
      STORE_TEST(second_opening_is_refused_and_names_the_holder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
