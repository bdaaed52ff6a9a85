/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/scope.h"
#include "server/waiters.h"

#include "unit.h"

#include <sys/socket.h>

enum { MOST = 40, SOON_MS = 5000 };

/* What was woken, in turn: "<number>" after a notice, "<number>!" when it is over. */
static struct {
  pthread_mutex_t lock;
  char text[4096];
} woken = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct numbered {
  struct waiter waiter;
  int number;
};

static void note(struct waiter *w, bool over) {
  struct numbered *n = (struct numbered *)w;
  SCOPE_LOCK(&woken.lock);
  size_t len = strlen(woken.text);
  snprintf(woken.text + len, sizeof woken.text - len, "%d%s ", n->number, over ? "!" : "");
  n->number = -1; /* may be freed as soon as it is awake: nobody may look at it again */
}

static struct waiters ws;
static struct numbered all[64];

static int start(void **state) {
  (void)state;
  struct err err;
  woken.text[0] = '\0';
  return waiters_init(&ws, MOST, note, &err) != KPI_OK;
}

static int stop(void **state) {
  (void)state;
  waiters_close(&ws);
  waiters_destroy(&ws);
  return 0;
}

static enum waiters_result add(int number, const char *topic, int64_t deadline_ms) {
  struct numbered *n = &all[number];
  *n = (struct numbered){{.deadline_ms = deadline_ms, .fd = -1}, number};
  snprintf(n->waiter.topic, sizeof n->waiter.topic, "%s", topic);
  return waiters_add(&ws, &n->waiter, waiters_mark(&ws));
}

static int compare_words(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns the words of a text, sorted; the text is left empty. */
static const char *take_words(char *text) {
  static char sorted[2][4096];
  static int turn;
  char *words[64], *rest = text, *word, *out = sorted[turn++ % 2];
  size_t count = 0;
  while ((word = strsep(&rest, " ")) != NULL)
    if (*word)
      words[count++] = word;
  if (count)
    qsort(words, count, sizeof words[0], compare_words);
  *out = '\0';
  for (size_t i = 0; i < count; i++)
    strcat(strcat(out, words[i]), i + 1 < count ? " " : "");
  *text = '\0';
  return out;
}

static const char *take_woken(void) {
  return take_words(woken.text);
}

static void a_notice_wakes_its_topic_only(void **state) {
  (void)state;
  assert_int_equal(add(1, "run/a", INT64_MAX), WAITERS_ADDED);
  assert_int_equal(add(2, "run/b", INT64_MAX), WAITERS_ADDED);
  assert_int_equal(add(3, "run/a", 1), WAITERS_ADDED);
  waiters_notify(&ws, "run/c");
  assert_string_equal(take_woken(), "");
  waiters_notify(&ws, "run/a");
  assert_string_equal(take_woken(), "1 3");
  assert_int_equal(waiters_count(&ws), 1);
  waiters_notify_all(&ws);
  assert_string_equal(take_woken(), "2");
  assert_int_equal(waiters_count(&ws), 0);
}

/* Deadlines in all orders: whatever the heap looks like, those that are due leave and no others. */
static void deadlines_are_kept_in_every_order(void **state) {
  (void)state;
  uint64_t random = 1;
  for (int round = 0; round < 100; round++) {
    int64_t deadlines[MOST];
    int holes = round % 7 + 2; /* one of so many is woken by a notice before */
    for (int i = 0; i < MOST; i++) {
      deadlines[i] = (int64_t)(unit_random(&random) % 64);
      assert_int_equal(add(i, i % holes ? "stays" : "leaves", deadlines[i]), WAITERS_ADDED);
    }
    waiters_notify(&ws, "leaves");
    take_woken();
    for (int64_t now = -1; now <= 64; now++) {
      char expected[512] = "";
      for (int i = 0; i < MOST; i++)
        if (deadlines[i] == now && i % holes)
          snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%d! ", i);
      waiters_expire(&ws, now);
      assert_string_equal(take_woken(), take_words(expected));
    }
    assert_int_equal(waiters_count(&ws), 0);
  }
}

static void no_more_than_the_most_wait(void **state) {
  (void)state;
  for (int i = 0; i < MOST; i++)
    assert_int_equal(add(i, "t", 100), WAITERS_ADDED);
  assert_int_equal(add(MOST, "t", 100), WAITERS_FULL);
  assert_int_equal(waiters_count(&ws), MOST);
  waiters_expire(&ws, 100);
  assert_int_equal(add(MOST, "t", 100), WAITERS_ADDED);
}

/* A handler looks, something changes, the handler waits: it must look again instead. */
/* Who holds a place finds it whenever it waits again; it counts meanwhile, and once only. */
static void a_place_that_is_held_counts_also_while_its_holder_is_busy(void **state) {
  (void)state;
  struct numbered *holder = &all[MOST];
  *holder = (struct numbered){{.deadline_ms = 100, .topic = "t", .fd = -1}, MOST};
  assert_true(waiters_take_place(&ws, &holder->waiter));
  for (int i = 0; i < MOST - 1; i++)
    assert_int_equal(add(i, "t", 100), WAITERS_ADDED);
  assert_int_equal(add(MOST - 1, "t", 100), WAITERS_FULL);
  for (int round = 0; round < 3; round++) {
    assert_int_equal(waiters_add(&ws, &holder->waiter, waiters_mark(&ws)), WAITERS_ADDED);
    assert_int_equal(waiters_count(&ws), MOST);
    holder->waiter.deadline_ms = 100;
    waiters_notify(&ws, "t");
    for (int i = 0; i < MOST - 1; i++)
      assert_int_equal(add(i, "t", 100), WAITERS_ADDED);
    assert_int_equal(add(MOST - 1, "t", 100), WAITERS_FULL);
  }
  waiters_leave_place(&ws, &holder->waiter);
  waiters_leave_place(&ws, &holder->waiter);
  assert_int_equal(add(MOST - 1, "t", 100), WAITERS_ADDED);
  assert_false(waiters_take_place(&ws, &holder->waiter));
}

static void a_notice_between_look_and_wait_is_not_lost(void **state) {
  (void)state;
  struct numbered n = {{.topic = "run/a", .deadline_ms = INT64_MAX, .fd = -1}, 1};
  uint64_t mark = waiters_mark(&ws);
  waiters_notify(&ws, "run/a");
  assert_int_equal(waiters_add(&ws, &n.waiter, mark), WAITERS_CHANGED);
  assert_int_equal(waiters_count(&ws), 0);
  mark = waiters_mark(&ws);
  assert_int_equal(waiters_add(&ws, &n.waiter, mark), WAITERS_ADDED);
  waiters_notify(&ws, "run/a");
  assert_string_equal(take_woken(), "1");
  mark = waiters_mark(&ws);
  waiters_notify_all(&ws);
  assert_int_equal(waiters_add(&ws, &n.waiter, mark), WAITERS_CHANGED);
}

static void closing_wakes_all_and_lets_none_in(void **state) {
  (void)state;
  add(1, "a", INT64_MAX);
  add(2, "b", 5);
  waiters_close(&ws);
  assert_string_equal(take_woken(), "1! 2!");
  assert_int_equal(add(3, "a", INT64_MAX), WAITERS_CLOSED);
}

static void clients_that_hung_up_are_swept_out(void **state) {
  (void)state;
  int pairs[3][2];
  for (int i = 0; i < 3; i++) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
    all[i] = (struct numbered){{.topic = "t", .deadline_ms = INT64_MAX, .fd = pairs[i][0]}, i};
    assert_int_equal(waiters_add(&ws, &all[i].waiter, waiters_mark(&ws)), WAITERS_ADDED);
  }
  waiters_sweep(&ws);
  assert_string_equal(take_woken(), "");
  close(pairs[1][1]);
  shutdown(pairs[2][1], SHUT_WR);
  waiters_sweep(&ws);
  assert_string_equal(take_woken(), "1! 2!");
  assert_int_equal(waiters_count(&ws), 1);
  assert_int_equal(write(pairs[0][1], "GET", 3), 3); /* a client that sends more has not hung up */
  waiters_sweep(&ws);
  assert_string_equal(take_woken(), "");
  waiters_notify(&ws, "t");
  for (int i = 0; i < 3; i++)
    close(pairs[i][0]);
  close(pairs[0][1]);
  close(pairs[2][1]);
}

static int64_t slept(int64_t until_ms) {
  int64_t began = clock_mono_ms();
  waiters_sleep(&ws, until_ms);
  return clock_mono_ms() - began;
}

static void *interrupt(void *arg) {
  (void)arg;
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
  waiters_interrupt(&ws);
  return NULL;
}

static void *add_early(void *arg) {
  (void)arg;
  nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
  add(9, "t", clock_mono_ms());
  return NULL;
}

static void sleep_ends_at_the_first_deadline_or_earlier(void **state) {
  (void)state;
  pthread_t thread;
  int64_t now = clock_mono_ms();
  assert_in_range(slept(now + 30), 20, SOON_MS);
  add(1, "t", now + 60 * 1000);
  add(2, "t", clock_mono_ms() + 20);
  assert_true(slept(now + 60 * 1000) < SOON_MS);
  waiters_notify(&ws, "t");
  pthread_create(&thread, NULL, interrupt, NULL);
  assert_true(slept(now + 60 * 1000) < SOON_MS);
  pthread_join(thread, NULL);
  waiters_interrupt(&ws); /* before the sleep: not lost either */
  assert_true(slept(now + 60 * 1000) < SOON_MS);
  pthread_create(&thread, NULL, add_early, NULL);
  assert_true(slept(now + 60 * 1000) < SOON_MS);
  pthread_join(thread, NULL);
}

static void *notify_often(void *arg) {
  for (int i = 0; i < 2000; i++)
    waiters_notify(&ws, i % 2 ? "odd" : "even");
  return arg;
}

/* Every waiter that was taken is woken exactly once, whoever is quicker. */
static void nobody_is_woken_twice_or_never(void **state) {
  (void)state;
  pthread_t threads[2];
  int added = 0, woken_count = 0;
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    pthread_create(&threads[i], NULL, notify_often, NULL);
  for (int i = 0; i < 60; i++) {
    enum waiters_result rc = add(i, i % 2 ? "odd" : "even", INT64_MAX);
    added += rc == WAITERS_ADDED;
    sched_yield();
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    pthread_join(threads[i], NULL);
  waiters_notify_all(&ws);
  for (const char *at = woken.text; (at = strchr(at, ' ')) != NULL; at++)
    woken_count++;
  assert_int_equal(woken_count, added);
  assert_null(strstr(woken.text, "-1"));
}

#define WITH_WAITERS(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_WAITERS(a_notice_wakes_its_topic_only),
      WITH_WAITERS(deadlines_are_kept_in_every_order),
      WITH_WAITERS(no_more_than_the_most_wait),
      WITH_WAITERS(a_place_that_is_held_counts_also_while_its_holder_is_busy),
      WITH_WAITERS(a_notice_between_look_and_wait_is_not_lost),
      WITH_WAITERS(closing_wakes_all_and_lets_none_in),
      WITH_WAITERS(clients_that_hung_up_are_swept_out),
      WITH_WAITERS(sleep_ends_at_the_first_deadline_or_earlier),
      WITH_WAITERS(nobody_is_woken_twice_or_never),
  };
  return cmocka_run_group_tests_name("waiters", tests, NULL, NULL);
}
