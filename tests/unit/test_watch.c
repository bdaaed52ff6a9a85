/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/run_log.h"
#include "server/run_move_store.h"
#include "server/run_submit_store.h"
#include "server/upkeep_store.h"
#include "server/watch.h"

#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

enum { DAY = 19000 };

static char folder[64];
static struct db *db;
static struct live_runs live;
static struct watch *watch;

/* Ids in the order they were told. */
static struct { char text[8192]; } news;

static void note_news(void *arg, const char *run_id) {
  (void)arg;
  strcat(strcat(news.text, run_id), " ");
}

static int open_all(void **state) {
  (void)state;
  struct err err;
  char path[96];
  news.text[0] = '\0';
  strcpy(folder, "/tmp/kpid-unit-XXXXXX");
  if (!mkdtemp(folder))
    return 1;
  snprintf(path, sizeof path, "%s/k.db", folder);
  log_init(LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC));
  live_runs_init(&live);
  return db_open(path, "unit test", &db, &err) || watch_start(db, &live, note_news, NULL, &watch, &err);
}

static int close_all(void **state) {
  (void)state;
  char command[128];
  watch_free(watch);
  live_runs_clear(&live);
  db_close(db);
  log_init(LOG_INFO, STDOUT_FILENO);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static const struct run_defaults defaults = {"UTC", "file:///data", "1%"};

/* Submits a run of that day and writes its id. */
static void submit(day_t date, char id[UUID_TEXT_SIZE]) {
  struct run_request request = {.date = date, .publish = true, .gate = GATE_WARN};
  struct submit_policy policy = {0};
  struct submitted done;
  struct err err = {0};
  assert_int_equal(run_store_submit(db, &request, &policy, &defaults, &done, &err), KPI_OK);
  memcpy(id, done.run.id, UUID_TEXT_SIZE);
  run_clear(&done.run);
}

static void run_to_its_end(const char *id) {
  struct run run;
  struct err err;
  bool found;
  struct run_end end = {.id = id, .state = RUN_SUCCEEDED};
  enum run_state ended;
  assert_int_equal(run_store_claim(db, "boot", id, &defaults, &run, &found, &err), KPI_OK);
  run_clear(&run);
  assert_int_equal(run_store_finish(db, &end, &ended, &err), KPI_OK);
}

/* ---- events ---- */

static void events_follow_each_other_over_all_runs(void **state) {
  (void)state;
  char a[UUID_TEXT_SIZE], b[UUID_TEXT_SIZE];
  struct event events[16], last;
  struct err err;
  size_t count;
  bool found;
  assert_int_equal(watch_last_event(watch, (struct view){0}, &last, &found, &err), KPI_OK);
  assert_false(found);
  submit(DAY, a);
  submit(DAY + 1, b);
  run_to_its_end(a);
  assert_int_equal(watch_events(watch, (struct view){0}, 0, 16, events, &count, &err), KPI_OK);
  assert_int_equal(count, 4);
  static const enum run_state states[] = {RUN_QUEUED, RUN_QUEUED, RUN_RUNNING, RUN_SUCCEEDED};
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(events[i].seq, i + 1);
    assert_int_equal(events[i].state, states[i]);
    assert_string_equal(events[i].run_id, i == 1 ? b : a);
    assert_int_equal(events[i].date, i == 1 ? DAY + 1 : DAY);
    assert_int_equal(events[i].attempt, i < 2 ? 0 : 1);
  }
  assert_int_equal(watch_last_event(watch, view_of(a), &last, &found, &err), KPI_OK);
  assert_true(found && last.seq == 4 && last.state == RUN_SUCCEEDED);
  assert_int_equal(watch_last_event(watch, view_of(b), &last, &found, &err), KPI_OK);
  assert_true(found && last.seq == 2 && last.state == RUN_QUEUED);
}

static void pages_of_events_leave_nothing_out(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE], other[UUID_TEXT_SIZE];
  struct event events[2];
  struct err err;
  size_t count, seen = 0;
  uint64_t after = 0;
  submit(DAY, id);
  submit(DAY + 1, other);
  run_to_its_end(id);
  do {
    assert_int_equal(watch_events(watch, view_of(id), after, 2, events, &count, &err), KPI_OK);
    for (size_t i = 0; i < count; i++) {
      assert_true(events[i].seq > after);
      assert_string_equal(events[i].run_id, id);
      after = events[i].seq;
      seen++;
    }
  } while (count == 2);
  assert_int_equal(seen, 3);
  assert_int_equal(watch_events(watch, view_of(id), UINT64_MAX, 2, events, &count, &err), KPI_OK);
  assert_int_equal(count, 0);
}

/* Whoever writes, and also when triggers do: the news come with the commit, before its caller knows. */
static void every_event_is_told_when_it_is_committed(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE], expected[256];
  struct run run;
  struct err err;
  struct recovery recovery;
  bool found;
  submit(DAY, id);
  snprintf(expected, sizeof expected, "%s ", id);
  assert_string_equal(news.text, expected);
  news.text[0] = '\0';
  assert_int_equal(run_store_claim(db, "an earlier boot", id, &defaults, &run, &found, &err), KPI_OK);
  run_clear(&run);
  assert_int_equal(upkeep_recover(db, "this boot", &recovery, &err), KPI_OK);
  snprintf(expected, sizeof expected, "%s %s ", id, id);
  assert_string_equal(news.text, expected);
  news.text[0] = '\0';
  assert_int_equal(upkeep_probe(db, &err), KPI_OK);
  assert_int_equal(run_store_get(db, view_of(id), &run, &err), KPI_OK);
  run_clear(&run);
  assert_string_equal(news.text, "");
}

static void what_happened_before_is_no_news(void **state) {
  char id[UUID_TEXT_SIZE];
  (void)state;
  struct err err;
  submit(DAY, id);
  watch_free(watch);
  submit(DAY + 1, id);
  news.text[0] = '\0';
  assert_int_equal(watch_start(db, &live, note_news, NULL, &watch, &err), KPI_OK);
  submit(DAY + 2, id);
  assert_int_equal(strlen(news.text), UUID_TEXT_SIZE);
}

static void live_runs_are_told_from_memory(void **state) {
  (void)state;
  struct run runs[LIVE_RUNS_SHOWN_MAX];
  struct run_live a = {.run_id = "a", .date = DAY, .attempt = 3, .started_at = 77};
  assert_int_equal(watch_live(watch, (struct view){0}, runs), 0);
  live_runs_enter(&live, &a);
  atomic_store(&a.progress.bytes_read, 5);
  atomic_store(&a.progress.phase, PHASE_SCANNING);
  assert_int_equal(watch_live(watch, VIEW_LIT("b"), runs), 0);
  assert_int_equal(watch_live(watch, VIEW_LIT("a"), runs), 1);
  assert_string_equal(runs[0].id, "a");
  assert_int_equal(runs[0].date, DAY);
  assert_int_equal(runs[0].attempt, 3);
  assert_int_equal(runs[0].started_at, 77);
  assert_int_equal(runs[0].phase, PHASE_SCANNING);
  assert_int_equal(runs[0].progress.bytes_read, 5);
  live_runs_leave(&live, &a);
  assert_int_equal(watch_live(watch, (struct view){0}, runs), 0);
}

/* ---- logs ---- */

static void read_log(const char *id, struct run_log_filter filter, struct run_log_page *page) {
  struct err err;
  filter.limit = filter.limit ? filter.limit : RUN_LOG_LINES_MAX;
  assert_int_equal(watch_log(watch, view_of(id), &filter, page, &err), KPI_OK);
}

static void lines_that_name_a_run_are_kept_with_it(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE];
  struct run_log_page page;
  submit(DAY, id);
  log_at(LOG_DEBUG, "a", "not shown, not kept", LOG_S("run_id", id));
  log_at(LOG_INFO, "b", "of nobody");
  log_at(LOG_INFO, "c", "of nobody", LOG_S("run_id", NULL));
  log_at(LOG_INFO, "d", "of an unknown run", LOG_S("run_id", "01890000-0000-7000-8000-000000000000"));
  log_at(LOG_INFO, "e", "kept \"so\"", LOG_S("run_id", id), LOG_I("attempt", 2), LOG_S("key", "a\nb"));
  log_at(LOG_ERROR, "f", "kept", LOG_S("run_id", id));
  read_log(id, (struct run_log_filter){0}, &page);
  assert_int_equal(page.count, 2);
  assert_false(page.more);
  assert_int_equal(page.rows[0].seq, 1);
  assert_non_null(strstr(page.rows[0].json, "\"msg\":\"kept \\\"so\\\"\""));
  assert_non_null(strstr(page.rows[0].json, "\"key\":\"a\\nb\"}"));
  assert_non_null(strstr(page.rows[1].json, "\"event\":\"f\""));
  run_log_page_clear(&page);
}

static void lines_are_filtered_and_paged(void **state) {
  (void)state;
  static const enum log_level levels[] = {LOG_INFO, LOG_WARN, LOG_ERROR, LOG_INFO, LOG_WARN};
  static const struct {
    struct run_log_filter filter;
    size_t count;
    uint64_t first;
    bool more;
  } cases[] = {{{.after = 0}, 5, 1, false},
               {{.after = 3}, 2, 4, false},
               {{.after = 5}, 0, 0, false},
               {{.limit = 2}, 2, 1, true},
               {{.limit = 5}, 5, 1, false},
               {{.level = LOG_WARN}, 3, 2, false},
               {{.level = LOG_WARN, .limit = 3}, 3, 2, false},
               {{.level = LOG_ERROR}, 1, 3, false},
               {{.has_attempt = true, .attempt = 1}, 2, 4, false},
               {{.has_attempt = true, .attempt = 1, .level = LOG_WARN}, 1, 5, false},
               {{.has_attempt = true, .attempt = 9}, 0, 0, false}};
  char id[UUID_TEXT_SIZE];
  struct run_log_page page;
  submit(DAY, id);
  for (size_t i = 0; i < COUNT_OF(levels); i++)
    log_at(levels[i], "e", "m", LOG_S("run_id", id), LOG_I("attempt", i > 2));
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    read_log(id, cases[i].filter, &page);
    assert_int_equal(page.count, cases[i].count);
    assert_int_equal(page.more, cases[i].more);
    if (page.count)
      assert_int_equal(page.rows[0].seq, cases[i].first);
    for (size_t r = 0; r < page.count; r++)
      assert_int_equal(page.rows[r].left_out, 0);
    run_log_page_clear(&page);
  }
}

/* Logs so many lines, `severe` of ten of them warnings, in batches that the list of waiting lines can hold.
 */
static void log_many(const char *id, int count, int severe, const char *text) {
  struct run_log_page page;
  for (int i = 0; i < count; i++) {
    log_at(i % 10 < severe ? LOG_WARN : LOG_INFO, "e", text, LOG_S("run_id", id), LOG_I("n", i));
    if (i % 100 == 99) {
      read_log(id, (struct run_log_filter){.limit = 1}, &page);
      run_log_page_clear(&page);
    }
  }
}

/* What every bounded log must be: within its bounds, first and last there, gaps told. */
static void expect_bounded(const struct run_log_page *page, uint64_t logged, size_t *warnings) {
  size_t bytes = 0;
  uint64_t left_out = 0;
  *warnings = 0;
  for (size_t i = 0; i < page->count; i++) {
    bytes += strlen(page->rows[i].json);
    left_out += page->rows[i].left_out;
    *warnings += strstr(page->rows[i].json, "\"level\":\"warn\"") != NULL;
    if (i < RUN_LOG_FIRST_LINES)
      assert_int_equal(page->rows[i].seq, i + 1);
    if (i >= page->count - RUN_LOG_LAST_LINES)
      assert_int_equal(page->rows[i].seq, logged - (page->count - 1 - i));
  }
  assert_true(page->count <= RUN_LOG_LINES_MAX && bytes <= RUN_LOG_BYTES_MAX);
  assert_int_equal(left_out, logged - page->count);
}

static void a_long_log_keeps_its_ends_and_what_is_severe(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE];
  size_t warnings;
  struct run_log_page page;
  submit(DAY, id);
  log_many(id, 3000, 1, "m");
  read_log(id, (struct run_log_filter){0}, &page);
  expect_bounded(&page, 3000, &warnings);
  assert_true(page.count >= RUN_LOG_LINES_MAX / 2);
  assert_int_equal(warnings, 300); /* every one */
  run_log_page_clear(&page);
}

static void long_lines_are_bounded_in_bytes(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE], text[3500];
  size_t warnings;
  struct run_log_page page;
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  submit(DAY, id);
  log_many(id, 300, 10, text);
  read_log(id, (struct run_log_filter){0}, &page);
  expect_bounded(&page, 300, &warnings);
  run_log_page_clear(&page);
}

static void a_line_that_is_too_long_leaves_a_note(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE], text[RUN_LOG_LINE_BYTES_MAX + 1];
  struct run_log_page page;
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  submit(DAY, id);
  log_at(LOG_WARN, "e", text, LOG_S("run_id", id));
  read_log(id, (struct run_log_filter){0}, &page);
  assert_int_equal(page.count, 1);
  assert_non_null(strstr(page.rows[0].json, "\"event\":\"log.too_long\""));
  run_log_page_clear(&page);
}

static void a_log_goes_with_its_run(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE];
  struct err err;
  struct run_log_page page;
  submit(DAY, id);
  run_to_its_end(id);
  log_at(LOG_INFO, "e", "m", LOG_S("run_id", id));
  read_log(id, (struct run_log_filter){0}, &page);
  assert_int_equal(page.count, 1);
  run_log_page_clear(&page);
  assert_int_equal(upkeep_prune(db, clock_wall_ms() + 1000, &err), KPI_OK);
  read_log(id, (struct run_log_filter){0}, &page);
  assert_int_equal(page.count, 0);
  run_log_page_clear(&page);
}

/* ---- who logs never waits ---- */

struct holdup {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool is_held, may_go;
};

static enum kpi_code hold_up(struct db_conn *c, void *arg, struct err *err) {
  struct holdup *h = arg;
  (void)c, (void)err;
  SCOPE_LOCK(&h->lock);
  h->is_held = true;
  pthread_cond_broadcast(&h->changed);
  while (!h->may_go)
    pthread_cond_wait(&h->changed, &h->lock);
  return KPI_OK;
}

static void *call_hold_up(void *arg) {
  struct err err;
  assert_int_equal(db_call(db, DB_NORMAL, hold_up, arg, &err), KPI_OK);
  return NULL;
}

static void lines_are_dropped_and_counted_while_the_database_hangs(void **state) {
  (void)state;
  enum { LINES = RUN_LOG_PENDING_LINES_MAX * 3 };
  struct holdup h = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false};
  char id[UUID_TEXT_SIZE];
  pthread_t holder;
  struct run_log *log;
  struct err err;
  submit(DAY, id);
  watch_free(watch);
  watch = NULL;
  assert_int_equal(run_log_start(db, &log, &err), KPI_OK);
  assert_int_equal(pthread_create(&holder, NULL, call_hold_up, &h), 0);
  pthread_mutex_lock(&h.lock);
  while (!h.is_held)
    pthread_cond_wait(&h.changed, &h.lock);
  pthread_mutex_unlock(&h.lock);
  for (int i = 0; i < LINES; i++)
    log_at(LOG_INFO, "e", "m", LOG_S("run_id", id));
  uint64_t dropped = run_log_dropped(log);
  assert_true(dropped > 0 && dropped < LINES);
  pthread_mutex_lock(&h.lock);
  h.may_go = true;
  pthread_cond_broadcast(&h.changed);
  pthread_mutex_unlock(&h.lock);
  pthread_join(holder, NULL);
  run_log_flush(log);
  assert_int_equal(run_log_dropped(log), dropped);
  run_log_stop(log);
}

static enum kpi_code refuse_lines(struct db_conn *c, void *arg, struct err *err) {
  (void)arg;
  return db_run(c,
                db_statement(c, "CREATE TRIGGER refuse BEFORE INSERT ON run_logs BEGIN"
                                " SELECT RAISE(ABORT, 'no line'); END"),
                err);
}

static void lines_that_the_disk_does_not_take_are_dropped_and_counted(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE];
  struct run_log *log;
  struct err err;
  watch_free(watch);
  watch = NULL;
  submit(DAY, id);
  assert_int_equal(db_call(db, DB_NORMAL, refuse_lines, NULL, &err), KPI_OK);
  assert_int_equal(run_log_start(db, &log, &err), KPI_OK);
  for (int i = 0; i < 7; i++)
    log_at(LOG_INFO, "e", "m", LOG_S("run_id", id));
  run_log_flush(log);
  assert_int_equal(run_log_dropped(log), 7);
  run_to_its_end(id); /* others are not concerned */
  run_log_stop(log);
}

static void *log_often(void *arg) {
  for (int i = 0; i < 100; i++)
    log_at(LOG_INFO, "e", "m", LOG_S("run_id", arg));
  return NULL;
}

static void no_line_is_lost_between_threads(void **state) {
  (void)state;
  char id[UUID_TEXT_SIZE];
  pthread_t threads[4];
  struct run_log_page page;
  submit(DAY, id);
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    assert_int_equal(pthread_create(&threads[i], NULL, log_often, id), 0);
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    pthread_join(threads[i], NULL);
  read_log(id, (struct run_log_filter){0}, &page);
  assert_int_equal(page.count, 100 * COUNT_OF(threads));
  run_log_page_clear(&page);
}

#define WITH_DB(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_DB(events_follow_each_other_over_all_runs),
      WITH_DB(pages_of_events_leave_nothing_out),
      WITH_DB(every_event_is_told_when_it_is_committed),
      WITH_DB(what_happened_before_is_no_news),
      WITH_DB(live_runs_are_told_from_memory),
      WITH_DB(lines_that_name_a_run_are_kept_with_it),
      WITH_DB(lines_are_filtered_and_paged),
      WITH_DB(a_long_log_keeps_its_ends_and_what_is_severe),
      WITH_DB(long_lines_are_bounded_in_bytes),
      WITH_DB(a_line_that_is_too_long_leaves_a_note),
      WITH_DB(a_log_goes_with_its_run),
      WITH_DB(lines_are_dropped_and_counted_while_the_database_hangs),
      WITH_DB(lines_that_the_disk_does_not_take_are_dropped_and_counted),
      WITH_DB(no_line_is_lost_between_threads),
  };
  return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
