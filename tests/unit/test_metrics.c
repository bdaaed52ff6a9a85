/* SPDX-License-Identifier: MIT */
#include "base/metrics.h"
#include "base/scope.h"

#include "unit.h"

#include <pthread.h>

static void a_counter_has_its_suffix_where_each_format_wants_it(void **state) {
  (void)state;
  static struct metric m = {
      .name = "a_things", .help = "Things.", .kind = METRIC_COUNTER, .labels = {"kind", "state"}};
  auto_buf struct buf text, open;
  buf_init(&text, 4096);
  buf_init(&open, 4096);
  metric_add(&m, 2, METRIC_OF("x", "y"));
  metric_add(&m, 3, METRIC_OF("x", "y"));
  metrics_write(&(struct metrics_out){&text, false}, &m);
  metrics_write_end(&(struct metrics_out){&text, false});
  assert_view(buf_view(&text), "# HELP a_things_total Things.\n# TYPE a_things_total counter\n"
                               "a_things_total{kind=\"x\",state=\"y\"} 5\n");
  metrics_write(&(struct metrics_out){&open, true}, &m);
  metrics_write_end(&(struct metrics_out){&open, true});
  assert_view(buf_view(&open), "# HELP a_things Things.\n# TYPE a_things counter\n"
                               "a_things_total{kind=\"x\",state=\"y\"} 5\n# EOF\n");
}

static void a_gauge_goes_up_and_down_in_its_unit(void **state) {
  (void)state;
  static struct metric m = {
      .name = "a_level_seconds", .help = "Level.", .kind = METRIC_GAUGE, .unit = METRIC_MS};
  auto_buf struct buf text;
  buf_init(&text, 4096);
  metric_move(&m, 1500, METRIC_PLAIN);
  metric_move(&m, -1750, METRIC_PLAIN);
  metrics_write(&(struct metrics_out){&text, false}, &m);
  assert_view(buf_view(&text), "# HELP a_level_seconds Level.\n# TYPE a_level_seconds gauge\n"
                               "a_level_seconds -0.25\n");
}

/* A bound belongs to its own bucket, and buckets count all that is below. */
static void a_histogram_is_cumulative(void **state) {
  (void)state;
  static struct metric m = {.name = "a_wait_seconds",
                            .help = "Wait.",
                            .kind = METRIC_HISTOGRAM,
                            .labels = {"of"},
                            .unit = METRIC_MS,
                            .bounds = {5, 1000}};
  auto_buf struct buf text;
  buf_init(&text, 4096);
  static const int64_t seen[] = {0, 5, 6, 1000, 1001};
  for (size_t i = 0; i < COUNT_OF(seen); i++)
    metric_observe(&m, seen[i], METRIC_OF("x"));
  metrics_write(&(struct metrics_out){&text, false}, &m);
  assert_view(buf_view(&text), "# HELP a_wait_seconds Wait.\n# TYPE a_wait_seconds histogram\n"
                               "a_wait_seconds_bucket{of=\"x\",le=\"0.005\"} 2\n"
                               "a_wait_seconds_bucket{of=\"x\",le=\"1.0\"} 4\n"
                               "a_wait_seconds_bucket{of=\"x\",le=\"+Inf\"} 5\n"
                               "a_wait_seconds_sum{of=\"x\"} 2.012\n"
                               "a_wait_seconds_count{of=\"x\"} 5\n");
}

static void a_family_without_series_is_its_head(void **state) {
  (void)state;
  static const struct metric m = {.name = "a_none", .help = "None.", .kind = METRIC_GAUGE, .labels = {"x"}};
  auto_buf struct buf text;
  buf_init(&text, 4096);
  metrics_write(&(struct metrics_out){&text, false}, &m);
  assert_view(buf_view(&text), "# HELP a_none None.\n# TYPE a_none gauge\n");
}

static void label_values_are_escaped_and_kept_apart(void **state) {
  (void)state;
  static struct metric m = {
      .name = "a_text", .help = "Text.", .kind = METRIC_GAUGE, .labels = {"one", "two"}};
  char value[] = "a\"\\\nb";
  auto_buf struct buf text;
  buf_init(&text, 4096);
  metric_move(&m, 1, METRIC_OF(value, ""));
  value[0] = 'z'; /* it was copied */
  metric_move(&m, 2, METRIC_OF("x", "yz"));
  metric_move(&m, 4, METRIC_OF("xy", "z"));
  metrics_write(&(struct metrics_out){&text, false}, &m);
  assert_non_null(strstr(text.ptr, "a_text{one=\"a\\\"\\\\\\nb\",two=\"\"} 1\n"));
  assert_non_null(strstr(text.ptr, "a_text{one=\"x\",two=\"yz\"} 2\n"));
  assert_non_null(strstr(text.ptr, "a_text{one=\"xy\",two=\"z\"} 4\n"));
}

static void too_many_series_are_counted_together(void **state) {
  (void)state;
  static struct metric m = {.name = "a_flood", .help = "Flood.", .kind = METRIC_COUNTER, .labels = {"n"}};
  char name[16];
  auto_buf struct buf text;
  buf_init(&text, 1 << 20);
  for (int again = 0; again < 2; again++)
    for (int i = 0; i < METRIC_SERIES_MAX + 100; i++) {
      snprintf(name, sizeof name, "n%d", i);
      metric_add(&m, 1, METRIC_OF(name));
    }
  metrics_write(&(struct metrics_out){&text, false}, &m);
  size_t lines = 0;
  for (const char *at = text.ptr; (at = strchr(at, '\n')) != NULL; at++)
    lines++;
  assert_int_equal(lines, METRIC_SERIES_MAX + 2);
  assert_non_null(strstr(text.ptr, "a_flood_total{n=\"n0\"} 2\n"));
  assert_non_null(strstr(text.ptr, "a_flood_total{n=\"n510\"} 2\n"));
  assert_null(strstr(text.ptr, "{n=\"n511\"}"));
  assert_non_null(strstr(text.ptr, "a_flood_total{n=\"other\"} 202\n"));
}

enum { THREADS = 4, ROUNDS = 2000, NAMES = 50 };

static struct metric shared = {
    .name = "a_shared", .help = "Shared.", .kind = METRIC_COUNTER, .labels = {"n"}};

static void *count_all(void *arg) {
  char name[16];
  (void)arg;
  for (int i = 0; i < ROUNDS * NAMES; i++) {
    snprintf(name, sizeof name, "n%d", i % NAMES);
    metric_add(&shared, 1, METRIC_OF(name));
  }
  return NULL;
}

static void threads_lose_nothing_and_make_no_series_twice(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  char line[64];
  auto_buf struct buf text;
  buf_init(&text, 1 << 16);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, count_all, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  metrics_write(&(struct metrics_out){&text, false}, &shared);
  for (int i = 0; i < NAMES; i++) {
    snprintf(line, sizeof line, "a_shared_total{n=\"n%d\"} %d\n", i, THREADS * ROUNDS);
    const char *found = strstr(text.ptr, line);
    assert_non_null(found);
    assert_null(strstr(found + 1, line));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_counter_has_its_suffix_where_each_format_wants_it),
      cmocka_unit_test(a_gauge_goes_up_and_down_in_its_unit),
      cmocka_unit_test(a_histogram_is_cumulative),
      cmocka_unit_test(a_family_without_series_is_its_head),
      cmocka_unit_test(label_values_are_escaped_and_kept_apart),
      cmocka_unit_test(too_many_series_are_counted_together),
      cmocka_unit_test(threads_lose_nothing_and_make_no_series_twice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
