/* SPDX-License-Identifier: MIT
 * Backfills in the database, and lists of as many runs as they make. */
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/run_move_store.h"

#include "unit_db.h"

enum { FIRST_DAY = 15000, MANY_DAYS = 3600 };

/* Submits a backfill that does not publish and writes its id. */
static void submit(size_t count, const char *labels, char id[UUID_TEXT_SIZE]) {
  const struct run_request run = {.labels_json = view_of(labels)};
  const struct submit_policy policy = {0};
  struct backfill made;
  enum disposition disposition;
  struct err err;
  day_t *days = calloc(count + 1, sizeof *days);
  assert_non_null(days);
  for (size_t i = 0; i < count; i++)
    days[i] = FIRST_DAY + (day_t)i;
  const struct backfill_request request = {
      .run = &run, .days = days, .count = count, .reprocess = REPROCESS_ALL};
  enum kpi_code rc = backfill_store_submit(db, &request, &policy, &defaults, &made, &disposition, &err);
  free(days);
  assert_int_equal(rc, KPI_OK);
  memcpy(id, made.id, UUID_TEXT_SIZE);
  backfill_clear(&made);
}

/* ---- lists ---- */

/* Counts the runs of a filter over all pages; their ids must descend. */
static size_t count_runs(struct run_filter filter) {
  char last[UUID_TEXT_SIZE] = "~";
  size_t count = 0;
  bool more = true;
  while (more) {
    struct run_list list;
    struct err err;
    assert_int_equal(run_store_list(db, &filter, &list, &err), KPI_OK);
    assert_true(list.count == filter.limit || !list.more);
    for (size_t i = 0; i < list.count; i++) {
      assert_true(strcmp(list.runs[i].id, last) < 0);
      memcpy(last, list.runs[i].id, sizeof last);
    }
    count += list.count;
    more = list.more;
    filter.before_id = view_of(last);
    run_list_clear(&list);
  }
  return count;
}

/* More runs than one call looks through lie between those that are wanted. */
static void long_lists_are_looked_through_to_their_end(void **state) {
  (void)state;
  char first[UUID_TEXT_SIZE], id[UUID_TEXT_SIZE], last[UUID_TEXT_SIZE];
  submit(5, "{\"team\":\"a\"}", first);
  for (int i = 0; i < 3; i++) {
    struct backfill now;
    struct err err;
    submit(MANY_DAYS, "{\"team\":\"b\"}", id);
    assert_int_equal(backfill_store_cancel(db, view_of(id), &now, &err),
                     KPI_OK); /* the queue has its limit */
    backfill_clear(&now);
  }
  submit(7, "{\"team\":\"a\"}", last);
  const struct run_filter by_label = {
      .limit = 4, .label_key = VIEW_LIT("team"), .label_value = VIEW_LIT("a")};
  assert_int_equal(count_runs(by_label), 12);
  const struct run_filter by_nothing = {.limit = 200};
  assert_int_equal(count_runs(by_nothing), 12 + 3 * MANY_DAYS);
  const struct run_filter by_range = {.limit = 3, .has_to = true, .to = FIRST_DAY};
  assert_int_equal(count_runs(by_range), 5);
  const struct run_filter by_backfill = {.limit = 2, .backfill_id = view_of(first)};
  assert_int_equal(count_runs(by_backfill), 5);
  const struct run_filter none = {.limit = 9, .label_key = VIEW_LIT("team"), .label_value = VIEW_LIT("c")};
  assert_int_equal(count_runs(none), 0);
}

/* ---- activity ---- */

static bool is_active(const char *id) {
  struct err err;
  bool active;
  assert_int_equal(backfill_store_is_active(db, view_of(id), &active, &err), KPI_OK);
  return active;
}

/* Compares the cheap question with the whole answer. */
static void assert_active(const char *id, bool expected) {
  struct backfill b;
  struct err err;
  assert_int_equal(backfill_store_get(db, view_of(id), &b, &err), KPI_OK);
  assert_int_equal(!run_state_is_terminal(backfill_state(&b)), expected);
  assert_int_equal(is_active(id), expected);
  backfill_clear(&b);
}

static void end_run(const char *id, enum run_state state) {
  const struct run_end end = {.id = id, .state = state};
  enum run_state ended;
  struct err err;
  assert_int_equal(run_store_finish(db, &end, &ended, &err), KPI_OK);
}

/* Whichever day ends last. */
static void it_is_active_until_its_last_day_has_ended(void **state) {
  (void)state;
  for (size_t last = 0; last < 3; last++) {
    char id[UUID_TEXT_SIZE];
    struct run_list runs;
    struct err err;
    const struct claim_filter any = {.priority = PRIORITY_BACKFILL};
    submit(3, "{}", id);
    assert_active(id, true);
    assert_int_equal(run_store_claim_together(db, "boot", &any, &defaults, &runs, &err), KPI_OK);
    assert_int_equal(runs.count, 3);
    for (size_t i = 0; i < 3; i++)
      if (i != last)
        end_run(runs.runs[i].id, i ? RUN_FAILED : RUN_SUCCEEDED);
    assert_active(id, true);
    end_run(runs.runs[last].id, RUN_CANCELLED);
    assert_active(id, false);
    run_list_clear(&runs);
  }
  assert_false(is_active("01890000-0000-7000-8000-000000000000"));
}

static void a_search_is_active_until_it_has_ended_without_days(void **state) {
  (void)state;
  static const enum discovery ends[] = {DISCOVERY_FAILED, DISCOVERY_CANCELLED, DISCOVERY_DONE};
  for (size_t i = 0; i < COUNT_OF(ends); i++) {
    char id[UUID_TEXT_SIZE];
    struct backfill b;
    struct err err;
    bool found;
    submit(0, "{}", id);
    assert_active(id, true);
    assert_int_equal(backfill_store_claim(db, "boot", &b, &found, &err), KPI_OK);
    assert_string_equal(b.id, id);
    assert_active(id, true);
    const struct search_end end = {.id = id, .how = ends[i], .error_json = "{}"};
    assert_int_equal(backfill_store_not_found(db, &end, &err), KPI_OK);
    assert_active(id, false);
    backfill_clear(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(long_lists_are_looked_through_to_their_end, open_db, close_db),
      cmocka_unit_test_setup_teardown(it_is_active_until_its_last_day_has_ended, open_db, close_db),
      cmocka_unit_test_setup_teardown(a_search_is_active_until_it_has_ended_without_days, open_db, close_db),
  };
  return cmocka_run_group_tests_name("backfill store", tests, NULL, NULL);
}
