/* SPDX-License-Identifier: MIT
 * Backfills in the database, and lists of as many runs as they make. */
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/run_move_store.h"

#include "unit.h"

#include <unistd.h>

enum { FIRST_DAY = 15000, MANY_DAYS = 3600 };

static char folder[64];
static struct db *db;

static int open_db(void **state) {
  (void)state;
  struct err err;
  char path[96];
  strcpy(folder, "/tmp/kpid-unit-XXXXXX");
  if (!mkdtemp(folder))
    return 1;
  snprintf(path, sizeof path, "%s/k.db", folder);
  return db_open(path, "unit test", &db, &err) != KPI_OK;
}

static int close_db(void **state) {
  (void)state;
  char command[128];
  db_close(db);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static const struct run_defaults defaults = {"UTC", "native", "file:///data", "1%"};

/* Submits a backfill that does not publish and writes its id. */
static void submit(size_t count, const char *labels, char id[UUID_TEXT_SIZE]) {
  const struct run_request run = {.labels_json = view_of(labels)};
  const struct submit_policy policy = {0};
  struct backfill made;
  enum disposition disposition;
  struct err err;
  day_t *days = calloc(count, sizeof *days);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(long_lists_are_looked_through_to_their_end, open_db, close_db),
  };
  return cmocka_run_group_tests_name("backfill store", tests, NULL, NULL);
}
