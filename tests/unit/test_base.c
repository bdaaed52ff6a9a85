/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/err.h"
#include "base/pool.h"
#include "base/scope.h"
#include "base/tz.h"

#include "unit.h"

#include <sys/resource.h>

static void every_code_has_a_row_of_its_own(void **state) {
  (void)state;
  for (int c = 0; c < KPI_CODE_COUNT; c++) {
    const struct err_info *info = err_info((enum kpi_code)c);
    assert_non_null(info->name);
    assert_non_null(info->title);
    assert_true(c == KPI_OK || info->hint[0] != '\0');
    assert_int_equal(err_code_of(info->name), c);
    bool is_request_error = c >= KPI_MALFORMED_JSON && c < KPI_USAGE;
    assert_int_equal(strchr(info->name, '_') != NULL && is_request_error, 0);
    assert_true(c == KPI_OK || info->exit_code != 0);
  }
  assert_int_equal(err_code_of("no such code"), KPI_CODE_COUNT);
}

static void long_messages_are_cut(void **state) {
  (void)state;
  struct err err;
  char text[2000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  assert_int_equal(err_set_errno(&err, KPI_INTERNAL, 2, "%s", text), KPI_INTERNAL);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void buffers_stop_at_their_maximum(void **state) {
  (void)state;
  for (size_t n = 9; n <= 11; n++) {
    struct buf b;
    buf_init(&b, 10);
    for (size_t i = 0; i < n; i++)
      buf_add_char(&b, 'x');
    assert_int_equal(buf_failed(&b), n > 10);
    assert_true(b.len <= 10);
    buf_clear(&b);
  }
}

static void text_is_escaped_for_json_and_html(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 1000);
  buf_add_json(&b, VIEW_LIT("a\"\\\n\x01\xff\xc3\xa4"));
  assert_view(buf_view(&b), "a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa4");
  buf_reset(&b);
  buf_add_html(&b, VIEW_LIT("<a href='x'>&\"</a>"));
  assert_null(memchr(b.ptr, '<', b.len));
  assert_null(memchr(b.ptr, '\'', b.len));
  buf_clear(&b);
}

static void ill_formed_utf8_is_replaced_by_maximal_subparts(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"\xff", "\xef\xbf\xbd"},
      {"\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xe1\x80"
       "a",
       "\xef\xbf\xbd"
       "a"},
      {"\xf0\x9f\x98"
       "a",
       "\xef\xbf\xbd"
       "a"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xc3\xa4", "\xc3\xa4"},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct buf b;
    buf_init(&b, 100);
    buf_add_utf8(&b, view_of(cases[i][0]));
    assert_view(buf_view(&b), cases[i][1]);
    assert_int_equal(view_is_utf8(view_of(cases[i][0])), i == COUNT_OF(cases) - 1);
    buf_clear(&b);
  }
}

static void numbers_are_digits_only(void **state) {
  (void)state;
  uint64_t n;
  assert_true(view_to_u64(VIEW_LIT("18446744073709551615"), &n));
  assert_true(n == UINT64_MAX);
  static const char *const wrong[] = {"", "18446744073709551616", "-1", "+1", " 1", "1 ", "1.0", "0x1"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++)
    assert_false(view_to_u64(view_of(wrong[i]), &n));
}

static void budgets_refuse_what_passes_them(void **state) {
  (void)state;
  struct budget b;
  budget_init(&b, 100);
  void *p = budget_alloc(&b, 100);
  assert_non_null(p);
  assert_null(budget_alloc(&b, 1));
  assert_true(b.exceeded);
  p = budget_realloc(&b, p, 100, 50);
  assert_int_equal(b.used, 50);
  assert_null(budget_realloc(&b, p, 50, 101));
  assert_null(budget_calloc(&b, SIZE_MAX, 2));
  budget_free(&b, p, 50);
  assert_int_equal(b.used, 0);
  assert_int_equal(b.peak, 100);
}

static _Atomic int done;

static void count_task(void *arg) {
  atomic_fetch_add(&done, *(int *)arg);
}

struct gate {
  pthread_mutex_t lock; /* held: closed */
};

static void pass_gate(void *arg) {
  struct gate *g = arg;
  pthread_mutex_lock(&g->lock);
  pthread_mutex_unlock(&g->lock);
}

static void pool_tells_who_waits_for_workers(void **state) {
  (void)state;
  struct gate gate = {PTHREAD_MUTEX_INITIALIZER};
  struct pool_load first = {0}, second = {0};
  struct pool_group groups[2] = {{.load = &first}, {.load = &second}};
  struct pool *pool = pool_new(1, 2);
  assert_false(pool_load_waits(&first));
  pthread_mutex_lock(&gate.lock);
  pool_submit(pool, &groups[0], pass_gate, &gate);
  pool_submit(pool, &groups[1], pass_gate, &gate);
  while (pool_load_waits(&first)) /* until the worker has it */
    sched_yield();
  assert_int_equal(first.running, 1);
  assert_true(pool_load_waits(&second));
  pthread_mutex_unlock(&gate.lock);
  for (size_t i = 0; i < COUNT_OF(groups); i++)
    pool_wait(pool, &groups[i]);
  assert_false(pool_load_waits(&second));
  assert_int_equal(first.pending + first.running + second.pending + second.running, 0);
  pool_free(pool);
}

static void pool_runs_every_task_once(void **state) {
  (void)state;
  struct pool *pool = pool_new(4, 2);
  int args[500];
  for (size_t i = 0; i < COUNT_OF(args); i++)
    args[i] = 1;
  atomic_store(&done, 0);
  pool_map(pool, NULL, count_task, args, sizeof args[0], COUNT_OF(args));
  assert_int_equal(atomic_load(&done), 500);
  assert_int_equal(pool_threads(pool), 4);
  pool_free(pool);
}

static void note_nice(void *arg) {
  *(int *)arg = getpriority(PRIO_PROCESS, 0); /* of this thread */
}

static void background_workers_let_the_others_go_first(void **state) {
  (void)state;
  int own = getpriority(PRIO_PROCESS, 0), usual, background;
  struct pool *pool = pool_new(1, 1);
  pool_map(pool, NULL, note_nice, &usual, sizeof usual, 1);
  pool_free(pool);
  pool = pool_new_background(1, 1);
  pool_map(pool, NULL, note_nice, &background, sizeof background, 1);
  pool_free(pool);
  assert_int_equal(usual, own);
  assert_true(background > own || own == 19);
  assert_int_equal(getpriority(PRIO_PROCESS, 0), own);
}

static void first_reason_to_stop_wins(void **state) {
  (void)state;
  struct stop_flag flag = {0};
  assert_int_equal(stop_reason(&flag), STOP_NONE);
  stop_raise(&flag, STOP_CANCEL);
  stop_raise(&flag, STOP_DRAIN);
  assert_int_equal(stop_reason(&flag), STOP_CANCEL);
}

static void uuids_ascend(void **state) {
  (void)state;
  char before[UUID_TEXT_SIZE], now[UUID_TEXT_SIZE];
  crypto_uuid7(before);
  for (int i = 0; i < 20000; i++) {
    crypto_uuid7(now);
    assert_true(crypto_is_uuid(view_of(now)));
    assert_true(strcmp(before, now) < 0);
    memcpy(before, now, sizeof now);
  }
  assert_false(crypto_is_uuid(VIEW_LIT("01890000-0000-7000-8000-00000000000G")));
}

static void sha256_is_the_known_one(void **state) {
  (void)state;
  char hex[SHA256_HEX_SIZE];
  crypto_sha256_hex(VIEW_LIT("abc"), hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void zones_know_their_offsets(void **state) {
  (void)state;
  const struct tz *berlin = tz_cached(VIEW_LIT("Europe/Berlin"));
  assert_non_null(berlin);
  assert_int_equal(tz_offset_at_utc(berlin, 1673740800), 3600);
  assert_int_equal(tz_offset_at_utc(berlin, 1689379200), 7200);
  assert_int_equal(tz_offset_at_utc(berlin, 4102444800), 3600); /* 2100: by the rule at the end of the file */
  assert_int_equal(tz_offset_at_local(berlin, 1679797800), 3600); /* 2023-03-26 02:30 is skipped */
  assert_int_equal(tz_offset_at_local(berlin, 1698546600), 7200); /* 2023-10-29 02:30 comes twice */
  assert_int_equal(tz_day_begins(berlin, 19442), 1679785200);     /* 2023-03-26, in winter still */
  assert_int_equal(tz_day_begins(berlin, 19443), 1679868000);     /* 2023-03-27, in summer */
  assert_int_equal(tz_day_begins(berlin, -1), -90000);
  static const char *const utc[] = {"UTC", "Etc/UTC", "Etc/GMT"};
  static const char *const others[] = {"Europe/London", "Africa/Abidjan", "Etc/GMT+1"};
  for (size_t i = 0; i < COUNT_OF(utc); i++) {
    assert_true(tz_is_utc(tz_cached(view_of(utc[i]))));
    assert_false(tz_is_utc(tz_cached(view_of(others[i]))));
  }
  static const char *const none[] = {"",          "Mars/Olympus", "../etc/passwd",      "/etc/passwd",
                                     "Europe",    "PST8",         "localtime",          "posixrules",
                                     "posix/UTC", "right/UTC",    "posix/Europe/Berlin"};
  for (size_t i = 0; i < COUNT_OF(none); i++)
    assert_null(tz_cached(view_of(none[i])));
}

static void times_are_rfc3339(void **state) {
  (void)state;
  char text[CLOCK_RFC3339_SIZE];
  assert_string_equal(clock_rfc3339(0, text), "1970-01-01T00:00:00.000Z");
  assert_string_equal(clock_rfc3339(1709164800123, text), "2024-02-29T00:00:00.123Z");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_code_has_a_row_of_its_own),
      cmocka_unit_test(long_messages_are_cut),
      cmocka_unit_test(buffers_stop_at_their_maximum),
      cmocka_unit_test(text_is_escaped_for_json_and_html),
      cmocka_unit_test(ill_formed_utf8_is_replaced_by_maximal_subparts),
      cmocka_unit_test(numbers_are_digits_only),
      cmocka_unit_test(budgets_refuse_what_passes_them),
      cmocka_unit_test(pool_runs_every_task_once),
      cmocka_unit_test(pool_tells_who_waits_for_workers),
      cmocka_unit_test(background_workers_let_the_others_go_first),
      cmocka_unit_test(first_reason_to_stop_wins),
      cmocka_unit_test(uuids_ascend),
      cmocka_unit_test(sha256_is_the_known_one),
      cmocka_unit_test(zones_know_their_offsets),
      cmocka_unit_test(times_are_rfc3339),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
