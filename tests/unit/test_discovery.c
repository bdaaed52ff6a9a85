/* SPDX-License-Identifier: MIT
 * Looking for the days of the data: what was asked to stop before it could be found is stopped all the same.
 */
#include "base/log.h"
#include "server/backends.h"
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/discovery.h"
#include "server/run_move_store.h"

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAYS = 3 };

static const struct run_defaults defaults = {"UTC", "file:///data", "1%"};

struct bench {
  char folder[64];
  struct config config;
  struct db *db;
  struct backends backends;
  struct pool *pool;
  struct engine *engine;
  struct live_runs live;
  struct run_exec x;
  struct backfill backfill;
  bool cancels_days;     /* when the runs were made, but are not known to be at work yet */
  bool drains_at_once;   /* when the scan was entered */
  _Atomic unsigned over; /* runs that have ended */
};

static void write_file(const struct bench *b, const char *name, const char *text) {
  char path[128];
  snprintf(path, sizeof path, "%s/%s", b->folder, name);
  assert_int_equal(mkdir(path, 0700), 0);
  strcat(path, "/a.csv");
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void write_source(const struct bench *b) {
  write_file(b, "orders", "order_id,user_id,created_at\n1,1,2023-01-01\n2,1,2023-01-02\n3,1,2023-01-03\n");
  write_file(
      b, "order_items",
      "id,order_id,product_id,status,created_at,sale_price\n1,1,1,c,2023-01-01,1\n2,2,1,c,2023-01-02,1\n"
      "3,3,1,c,2023-01-03,1\n");
  write_file(b, "products", "id,category\n1,A\n");
}

static void stop_if_cancelling(void *arg, const char *id) {
  struct bench *b = arg;
  live_runs_stop(&b->live, view_of(id), STOP_CANCEL);
}

/* As the service does. */
static void entered(void *arg) {
  struct bench *b = arg;
  struct err err;
  if (b->drains_at_once)
    live_runs_drain(&b->live, 0, 0);
  assert_int_equal(run_store_each_cancelling(b->db, stop_if_cancelling, b, &err), KPI_OK);
}

static void over(void *arg, const struct run *run) {
  struct bench *b = arg;
  (void)run;
  b->over++;
}

/* The runs were made: they are cancelled before anybody can find them at work. */
static void changed(void *arg, const char *id) {
  struct bench *b = arg;
  struct backfill now;
  struct err err;
  if (!b->cancels_days || strcmp(id, b->backfill.id) != 0)
    return;
  assert_int_equal(backfill_store_cancel(b->db, view_of(id), &now, &err), KPI_OK);
  backfill_clear(&now);
}

static void bench_init(struct bench *b) {
  struct err err = {0};
  char path[96];
  bool found;
  *b = (struct bench){.folder = "/tmp/kpid-unit-XXXXXX"};
  assert_non_null(mkdtemp(b->folder));
  write_source(b);
  snprintf(path, sizeof path, "file://%s", b->folder);
  setenv("KPI_SOURCE", path, 1);
  snprintf(path, sizeof path, "%s/k.db", b->folder);
  assert_int_equal(config_load(&b->config, &err), KPI_OK);
  assert_int_equal(db_open(path, "unit test", &b->db, &err), KPI_OK);
  assert_int_equal(backends_open(&b->config, b->db, &b->backends, &err), KPI_OK);
  b->pool = pool_new(2, 64);
  b->engine = engine_native_new(b->pool);
  live_runs_init(&b->live);
  b->x = (struct run_exec){.config = &b->config,
                           .db = b->db,
                           .engines = {.native = b->engine},
                           .source = b->backends.source,
                           .publisher = b->backends.publisher,
                           .changed = changed,
                           .changed_arg = b};
  const struct run_request run = {.publish = true, .max_attempts = 3};
  const struct backfill_request request = {.run = &run, .reprocess = REPROCESS_ALL};
  const struct submit_policy policy = {0};
  enum disposition disposition;
  assert_int_equal(
      backfill_store_submit(b->db, &request, &policy, &defaults, &b->backfill, &disposition, &err), KPI_OK);
  backfill_clear(&b->backfill);
  assert_int_equal(backfill_store_claim(b->db, "boot", &b->backfill, &found, &err), KPI_OK);
  assert_true(found);
}

static void bench_clear(struct bench *b) {
  char command[128];
  backfill_clear(&b->backfill);
  live_runs_clear(&b->live);
  engine_free(b->engine);
  pool_free(b->pool);
  backends_close(&b->backends);
  db_close(b->db);
  snprintf(command, sizeof command, "rm -rf %s", b->folder);
  assert_int_equal(system(command), 0);
}

/* Executes it; returns it as it is afterwards. */
static struct backfill search(struct bench *b, enum kpi_code *rc) {
  const struct discovery_plan plan = {&b->x, &b->live, "boot", &defaults, entered, over, b};
  struct backfill now;
  struct err err = {0};
  *rc = discovery_exec(&plan, &b->backfill, &err);
  assert_int_equal(backfill_store_get(b->db, view_of(b->backfill.id), &now, &err), KPI_OK);
  return now;
}

/* All days are found, and their runs end like that. */
static void search_and_see(bool cancels_days, enum run_state expected) {
  struct bench b;
  bench_init(&b);
  b.cancels_days = cancels_days;
  enum kpi_code rc;
  struct backfill now = search(&b, &rc);
  /* Somebody looks every 100 ms whether a scan is waited for: one that takes longer is stopped as well. */
  assert_true(rc == KPI_OK || (cancels_days && (rc == KPI_CANCELLED || rc == KPI_INTERRUPTED)));
  assert_int_equal(backfill_state(&now), expected);
  assert_int_equal(now.counts.by_state[expected], DAYS);
  assert_int_equal(b.over, DAYS);
  backfill_clear(&now);
  bench_clear(&b);
}

static void days_that_are_found_are_published(void **state) {
  (void)state;
  search_and_see(false, RUN_SUCCEEDED);
}

static void days_that_are_cancelled_as_they_are_made_are_not_published(void **state) {
  (void)state;
  search_and_see(true, RUN_CANCELLED);
}

static void a_drain_that_began_before_the_scan_hands_it_back(void **state) {
  (void)state;
  struct bench b;
  bench_init(&b);
  b.drains_at_once = true;
  enum kpi_code rc;
  struct backfill now = search(&b, &rc);
  assert_int_equal(rc, KPI_INTERRUPTED);
  assert_int_equal(now.discovery, DISCOVERY_QUEUED);
  assert_int_equal(now.failures, 0);
  assert_int_equal(now.next_attempt_at, 0);
  assert_null(now.error_json);
  backfill_clear(&now);
  bench_clear(&b);
}

static int quiet(void **state) {
  (void)state;
  log_init(LOG_ERROR, open("/dev/null", O_WRONLY | O_CLOEXEC));
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(days_that_are_found_are_published),
      cmocka_unit_test(days_that_are_cancelled_as_they_are_made_are_not_published),
      cmocka_unit_test(a_drain_that_began_before_the_scan_hands_it_back),
  };
  return cmocka_run_group_tests_name("discovery", tests, quiet, NULL);
}
