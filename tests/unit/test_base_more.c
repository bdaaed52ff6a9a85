/* SPDX-License-Identifier: MIT
 * Views, buffers, budgets, pools, logs and zones at their edges; test_base has what is common. */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/scope.h"
#include "base/tz.h"

#include "unit.h"

#include <jansson.h>

/* ---- views ---- */

/* Unicode 15, table 3-7, at the ends of each row, and the maximal subparts of what is ill-formed. */
static void utf8_is_well_formed_by_the_table(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t length, bad; /* length 0: ill-formed, with a maximal subpart of `bad` */
  } cases[] = {
      {"\x01", 1, 0},
      {"\x7f", 1, 0},
      {"\x80", 0, 1},
      {"\xbf", 0, 1},
      {"\xc0\x80", 0, 1},
      {"\xc1\xbf", 0, 1},
      {"\xc2\x80", 2, 0},
      {"\xdf\xbf", 2, 0},
      {"\xc2", 0, 1},
      {"\xc2\x7f", 0, 1},
      {"\xc2\xc0", 0, 1},
      {"\xe0\xa0\x80", 3, 0},
      {"\xe0\x9f\x80", 0, 1},
      {"\xe0\xa0", 0, 2},
      {"\xe0\xa0\x7f", 0, 2},
      {"\xe1\x80\x80", 3, 0},
      {"\xec\xbf\xbf", 3, 0},
      {"\xed\x9f\xbf", 3, 0},
      {"\xed\xa0\x80", 0, 1},
      {"\xee\x80\x80", 3, 0},
      {"\xef\xbf\xbf", 3, 0},
      {"\xf0\x90\x80\x80", 4, 0},
      {"\xf0\x8f\xbf\xbf", 0, 1},
      {"\xf0\x90\x80", 0, 3},
      {"\xf1\x80\x80\x80", 4, 0},
      {"\xf3\xbf\xbf\xbf", 4, 0},
      {"\xf4\x8f\xbf\xbf", 4, 0},
      {"\xf4\x90\x80\x80", 0, 1},
      {"\xf5\x80\x80\x80", 0, 1},
      {"\xff", 0, 1},
  };
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    size_t bad = 0;
    size_t length = utf8_sequence_or_bad(view_of(cases[i].bytes), &bad);
    if (length != cases[i].length || (length == 0 && bad != cases[i].bad))
      fail_msg("case %zu: %zu, %zu", i, length, bad);
    assert_int_equal(view_is_utf8(view_of(cases[i].bytes)), cases[i].length > 0);
  }
  assert_true(view_is_utf8((struct view){NULL, 0}));
  assert_int_equal(utf8_count(VIEW_LIT("a\xc3\xa4\xf0\x9f\x98\x80")), 3);
}

static void texts_are_split_at_separators(void **state) {
  (void)state;
  struct view rest = VIEW_LIT("a,,b");
  assert_view(view_split(&rest, ','), "a");
  assert_view(view_split(&rest, ','), "");
  assert_non_null(rest.ptr);
  assert_view(view_split(&rest, ','), "b");
  assert_null(rest.ptr);
  assert_view(view_split(&rest, ','), "");
  rest = VIEW_LIT("a,");
  view_split(&rest, ',');
  assert_non_null(rest.ptr); /* an empty last part is a part */
  assert_view(view_split(&rest, ','), "");
  assert_null(rest.ptr);
}

static void views_are_compared_bytewise(void **state) {
  (void)state;
  static const char *const ascending[] = {"", "A", "B", "a", "a,", "aa", "b", "\x7f", "\xc3\xa4", "\xff"};
  for (size_t i = 0; i < COUNT_OF(ascending); i++)
    for (size_t j = 0; j < COUNT_OF(ascending); j++) {
      int order = view_cmp(view_of(ascending[i]), view_of(ascending[j]));
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
      assert_int_equal(view_eq(view_of(ascending[i]), view_of(ascending[j])), i == j);
    }
  assert_true(view_eq_fold(VIEW_LIT("aZ09"), VIEW_LIT("Az09")));
  assert_false(view_eq_fold(VIEW_LIT("\xc3\xa4"), VIEW_LIT("\xc3\x84"))); /* ASCII only */
  assert_false(view_eq_fold(VIEW_LIT("["), VIEW_LIT("{")));
  assert_true(view_eq((struct view){NULL, 0}, VIEW_LIT("")));
}

static void blanks_are_trimmed_at_both_ends(void **state) {
  (void)state;
  static const char *const cases[][2] = {{" a ", "a"},
                                         {"\t\n\v\f\r a b \r\n", "a b"},
                                         {"", ""},
                                         {" \t ", ""},
                                         {"a", "a"},
                                         {"\xc2\xa0"
                                          "a",
                                          "\xc2\xa0"
                                          "a"},
                                         {"\x1f"
                                          "a",
                                          "\x1f"
                                          "a"}};
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    assert_view(view_trim(view_of(cases[i][0])), cases[i][1]);
}

static void copies_are_cut_and_say_so(void **state) {
  (void)state;
  char out[4];
  assert_true(view_to_cstr(VIEW_LIT("abc"), out, sizeof out));
  assert_string_equal(out, "abc");
  assert_false(view_to_cstr(VIEW_LIT("abcd"), out, sizeof out));
  assert_string_equal(out, "abc");
  assert_true(view_to_cstr((struct view){NULL, 0}, out, sizeof out));
  assert_string_equal(out, "");
  assert_false(view_to_cstr(VIEW_LIT("a"), out, 1));
}

/* ---- buffers ---- */

static void a_failure_of_a_buffer_sticks(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 5);
  buf_add_cstr(&b, "abc");
  buf_printf(&b, "%d", 1234);
  assert_true(buf_failed(&b));
  buf_add_char(&b, 'd'); /* would fit */
  assert_view(buf_view(&b), "abc");
  buf_reset(&b);
  assert_false(buf_failed(&b));
  buf_printf(&b, "%d", 12345);
  assert_view(buf_view(&b), "12345");
  assert_false(buf_failed(&b));
  buf_clear(&b);
  buf_add_cstr(&b, "abcde"); /* the maximum stays */
  assert_false(buf_failed(&b));
  buf_add_char(&b, 'f');
  assert_true(buf_failed(&b));
  assert_null(buf_take(&b));
  buf_clear(NULL);
}

static void what_is_taken_is_a_string_and_leaves_an_empty_buffer(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 1000);
  auto_free char *empty = buf_take(&b);
  assert_string_equal(empty, "");
  buf_add(&b, VIEW_LIT("text"));
  auto_free char *text = buf_take(&b);
  assert_string_equal(text, "text");
  assert_int_equal(b.len, 0);
  assert_null(b.ptr);
}

static void buffers_grow_without_losing_bytes(void **state) {
  (void)state;
  struct buf b;
  buf_init(&b, 1024 * 1024);
  for (int i = 0; i < 20000; i++)
    buf_printf(&b, "%05d,", i);
  assert_int_equal(b.len, 20000 * 6);
  for (int i = 0; i < 20000; i += 777) {
    char want[16];
    snprintf(want, sizeof want, "%05d,", i);
    assert_memory_equal(b.ptr + i * 6, want, 6);
  }
  buf_clear(&b);
}

/* ---- budgets ---- */

static void the_nth_allocation_fails_once(void **state) {
  (void)state;
  alloc_fail_at(3);
  void *p[5];
  for (int i = 0; i < 5; i++)
    p[i] = budget_alloc(NULL, 8);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(p[i] == NULL, i == 2);
    budget_free(NULL, p[i], 8);
  }
  alloc_fail_at(0);
}

static void zeroes_and_overflows_are_no_trap(void **state) {
  (void)state;
  struct budget b;
  budget_init(&b, 0);
  assert_true(b.limit == SIZE_MAX);
  assert_null(budget_calloc(&b, SIZE_MAX / 2, 3));
  assert_int_equal(b.used, 0);
  void *p = budget_alloc(&b, 0), *q = budget_calloc(&b, 0, 8);
  assert_true(p && q);
  budget_free(&b, p, 0);
  budget_free(&b, q, 0);
  budget_free(&b, NULL, 100);
  assert_int_equal(b.used, 0);
}

static void arrays_double_and_keep_their_items(void **state) {
  (void)state;
  int *at = NULL;
  size_t cap = 0, moves = 0;
  for (size_t i = 0; i < 1000; i++) {
    size_t before = cap;
    at = array_room(at, i, &cap, sizeof *at);
    assert_non_null(at);
    moves += cap != before;
    at[i] = (int)i;
  }
  for (size_t i = 0; i < 1000; i++)
    assert_int_equal(at[i], i);
  assert_in_range(moves, 5, 7);
  free(at);
}

struct spender {
  struct budget *budget;
  size_t refused;
};

static void spend(void *arg) {
  struct spender *s = arg;
  for (int i = 0; i < 2000; i++) {
    void *p = budget_alloc(s->budget, 100);
    s->refused += p == NULL;
    budget_free(s->budget, p, 100);
  }
}

static void a_budget_holds_under_many_threads(void **state) {
  (void)state;
  struct budget b;
  struct spender spenders[4];
  budget_init(&b, 250);
  struct pool *pool = pool_new(4, 8);
  for (size_t i = 0; i < COUNT_OF(spenders); i++)
    spenders[i] = (struct spender){&b, 0};
  pool_map(pool, NULL, spend, spenders, sizeof spenders[0], COUNT_OF(spenders));
  assert_int_equal(b.used, 0);
  assert_true(b.peak <= 250);
  size_t refused = 0;
  for (size_t i = 0; i < COUNT_OF(spenders); i++)
    refused += spenders[i].refused;
  assert_int_equal(b.exceeded, refused > 0);
  pool_free(pool);
}

/* ---- pools ---- */

struct slow {
  _Atomic int *done;
  unsigned pause_ms;
};

static void be_slow(void *arg) {
  struct slow *s = arg;
  nanosleep(&(struct timespec){.tv_nsec = s->pause_ms * 1000000L}, NULL);
  atomic_fetch_add(s->done, 1);
}

static void a_group_waits_for_its_own_tasks_only(void **state) {
  (void)state;
  _Atomic int quick_done = 0, slow_done = 0;
  struct slow quick = {&quick_done, 0}, slow = {&slow_done, 200};
  struct pool_group first = POOL_GROUP_INIT, second = POOL_GROUP_INIT, empty = POOL_GROUP_INIT;
  struct pool *pool = pool_new(2, 4);
  pool_submit(pool, &second, be_slow, &slow);
  for (int i = 0; i < 20; i++) /* more than the queue holds */
    pool_submit(pool, &first, be_slow, &quick);
  pool_wait(pool, &empty);
  pool_wait(pool, &first);
  assert_int_equal(atomic_load(&quick_done), 20);
  assert_int_equal(atomic_load(&slow_done), 0);
  pool_wait(pool, &second);
  assert_int_equal(atomic_load(&slow_done), 1);
  pool_free(pool);
}

static void freeing_a_pool_does_what_is_queued(void **state) {
  (void)state;
  _Atomic int done = 0;
  struct slow task = {&done, 1};
  struct pool_group group = POOL_GROUP_INIT;
  struct pool *pool = pool_new(1, 32);
  for (int i = 0; i < 20; i++)
    pool_submit(pool, &group, be_slow, &task);
  pool_free(pool);
  assert_int_equal(atomic_load(&done), 20);
  pool_free(NULL);
}

/* ---- logs ---- */

struct logged {
  int fds[2];
  char text[256 * 1024];
};

static void begin_log(struct logged *l, enum log_level lowest) {
  assert_int_equal(pipe(l->fds), 0);
  log_init(lowest, l->fds[1]);
}

static void end_log(struct logged *l) {
  size_t len = 0;
  ssize_t n;
  log_init(LOG_INFO, STDOUT_FILENO);
  close(l->fds[1]);
  while ((n = read(l->fds[0], l->text + len, sizeof l->text - len - 1)) > 0)
    len += (size_t)n;
  l->text[len] = '\0';
  close(l->fds[0]);
}

static void a_line_is_one_object_whatever_is_in_it(void **state) {
  (void)state;
  static struct logged l;
  begin_log(&l, LOG_INFO);
  log_at(LOG_DEBUG, "too.low", "not written");
  log_at(LOG_WARN, "an.event", "a \"message\"\nof two lines \x01\xff", LOG_S("path", "C:\\x"),
         LOG_S("none", NULL), LOG_I("number", INT64_MIN), LOG_I("zero", 0));
  end_log(&l);
  assert_ptr_equal(strchr(l.text, '\n'), l.text + strlen(l.text) - 1);
  json_t *line = json_loads(l.text, JSON_REJECT_DUPLICATES, NULL);
  assert_non_null(line);
  assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
  assert_string_equal(json_string_value(json_object_get(line, "event")), "an.event");
  assert_string_equal(json_string_value(json_object_get(line, "path")), "C:\\x");
  assert_null(json_object_get(line, "none"));
  assert_true(json_integer_value(json_object_get(line, "number")) == INT64_MIN);
  assert_string_equal(json_string_value(json_object_get(line, "msg")),
                      "a \"message\"\nof two lines \x01\xef\xbf\xbd");
  assert_int_equal(json_string_length(json_object_get(line, "ts")), 24);
  json_decref(line);
}

static void log_often(void *arg) {
  for (int i = 0; i < 50; i++)
    log_at(LOG_INFO, "many", "the same line from many threads", LOG_I("thread", *(int *)arg), LOG_I("n", i));
}

static void lines_of_many_threads_do_not_mix(void **state) {
  (void)state;
  static struct logged l;
  int numbers[4] = {0, 1, 2, 3}, seen[4] = {0};
  struct pool *pool = pool_new(4, 4);
  begin_log(&l, LOG_DEBUG);
  pool_map(pool, NULL, log_often, numbers, sizeof numbers[0], COUNT_OF(numbers));
  pool_free(pool);
  end_log(&l);
  for (struct view rest = view_of(l.text); rest.len;) {
    struct view text = view_split(&rest, '\n');
    json_t *line = json_loadb(text.ptr, text.len, 0, NULL);
    assert_non_null(line);
    long long thread = json_integer_value(json_object_get(line, "thread"));
    assert_int_equal(json_integer_value(json_object_get(line, "n")), seen[thread]++);
    json_decref(line);
  }
  for (size_t i = 0; i < COUNT_OF(seen); i++)
    assert_int_equal(seen[i], 50);
}

static void levels_have_names(void **state) {
  (void)state;
  for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
    enum log_level back;
    assert_true(log_level_of(log_level_name((enum log_level)i), &back));
    assert_int_equal(back, i);
  }
  enum log_level none;
  assert_false(log_level_of("warning", &none));
  assert_false(log_level_of("", &none));
}

/* ---- clock ---- */

static void deadlines_keep_their_milliseconds(void **state) {
  (void)state;
  struct timespec t = clock_timespec(1234567);
  assert_int_equal(t.tv_sec, 1234);
  assert_int_equal(t.tv_nsec, 567000000);
  int64_t a = clock_mono_ms(), b = clock_mono_ms();
  assert_true(a <= b);
}

/* ---- zones ---- */

/* Writes a TZif file of version 2 with one type and this footer, into a folder that TZDIR names. */
static struct tz *zone_of(const char *footer, size_t cut) {
  char folder[] = "/tmp/kpid-tz-XXXXXX", path[64];
  unsigned char bytes[256] = {0};
  assert_non_null(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/Test", folder);
  for (size_t at = 0; at < 88; at += 44) { /* both headers; the first block is empty */
    memcpy(bytes + at, "TZif2", 5);
    if (at == 44)
      bytes[at + 39] = bytes[at + 43] = 1; /* one type, one byte of names */
  }
  size_t len = 88 + 6 + 1;
  len += (size_t)snprintf((char *)bytes + len, sizeof bytes - len, "\n%s\n", footer);
  FILE *file = fopen(path, "w");
  fwrite(bytes, 1, cut ? cut : len, file);
  fclose(file);
  setenv("TZDIR", folder, 1);
  struct tz *z = tz_load(VIEW_LIT("Test"));
  unsetenv("TZDIR");
  unlink(path);
  rmdir(folder);
  return z;
}

enum { JULY_2026 = 1783036800, JANUARY_2026 = 1767225600 };

static void checksum_of_a_zone_tells_its_rules(void **state) {
  (void)state;
  static const char *const footers[] = {"UTC0",
                                        "EST5",
                                        "EST5EDT,M3.2.0,M11.1.0",
                                        "EST5EDT,M3.2.0,M11.2.0",
                                        "EST5EDT,M3.2.1,M11.1.0",
                                        "EST5EDT,M4.2.0,M11.1.0",
                                        "EST5EDT,M3.2.0/3,M11.1.0",
                                        "EST5EDT,J60,J300",
                                        "EST5EDT,60,300",
                                        "EST5EDT4:30,M3.2.0,M11.1.0"};
  uint64_t sums[COUNT_OF(footers)];
  for (size_t i = 0; i < COUNT_OF(footers); i++) {
    struct tz *z = zone_of(footers[i], 0), *again = zone_of(footers[i], 0);
    sums[i] = tz_checksum(z);
    assert_true(sums[i] == tz_checksum(again));
    for (size_t k = 0; k < i; k++)
      assert_true(sums[i] != sums[k]);
    tz_free(z);
    tz_free(again);
  }
  struct tz *berlin = tz_load(VIEW_LIT("Europe/Berlin")), *paris = tz_load(VIEW_LIT("Europe/Paris"));
  assert_true(tz_checksum(berlin) != tz_checksum(paris)); /* by what they were long ago */
  tz_free(berlin);
  tz_free(paris);
}

static void rules_of_zones_follow_posix(void **state) {
  (void)state;
  static const struct {
    const char *footer;
    int32_t january, july;
  } cases[] = {{"UTC0", 0, 0},
               {"EST5", -18000, -18000},
               {"EST5EDT,M3.2.0,M11.1.0", -18000, -14400},
               {"CET-1CEST,M3.5.0,M10.5.0/3", 3600, 7200},
               {"AEST-10AEDT,M10.1.0,M4.1.0/3", 39600, 36000},
               {"<+0545>-5:45", 20700, 20700},
               {"<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", -10800, -7200},
               {"XXX0YYY,J60,J300", 0, 3600},
               {"XXX0YYY,59/0,299/24", 0, 3600},
               {"IST-2IDT,M3.4.4/26,M10.5.0", 7200, 10800},
               {"AAA1BBB-2:30:15,M3.1.0,M11.1.0", -3600, 9015}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct tz *z = zone_of(cases[i].footer, 0);
    if (!z)
      fail_msg("%s is refused", cases[i].footer);
    assert_int_equal(tz_offset_at_utc(z, JANUARY_2026), cases[i].january);
    assert_int_equal(tz_offset_at_utc(z, JULY_2026), cases[i].july);
    tz_free(z);
  }
  tz_free(NULL);
}

static void damaged_zones_are_none(void **state) {
  (void)state;
  static const char *const footers[] = {
      "E5",      "<+05-5", "EST5EDT,M13.1.0,M11.1.0", "EST5EDT,M3.6.0,M11.1.0", "EST5EDT,M3.2.0",
      "EST5EDT", "EST5 ",  "EST5EDT,M3.2.7,M11.1.0"};
  for (size_t i = 0; i < COUNT_OF(footers); i++)
    if (zone_of(footers[i], 0))
      fail_msg("%s was taken", footers[i]);
  static const size_t cuts[] = {1, 43, 44, 87, 88, 90, 94, 95};
  for (size_t i = 0; i < COUNT_OF(cuts); i++)
    if (zone_of("UTC0", cuts[i]))
      fail_msg("a file of %zu bytes was taken", cuts[i]);
}

/* The second that starts and ends summer time in New York, of years beyond the table of the file as well. */
static void transitions_strike_at_their_second(void **state) {
  (void)state;
  struct tz *z = zone_of("EST5EDT,M3.2.0,M11.1.0", 0);
  static const int64_t starts[] = {1772953200 /* 2026-03-08 07:00 */, 4076636400 /* 2099-03-08 */,
                                   7863894000 /* 2219-03-14 */};
  for (size_t i = 0; i < COUNT_OF(starts); i++) {
    assert_int_equal(tz_offset_at_utc(z, starts[i] - 1), -18000);
    assert_int_equal(tz_offset_at_utc(z, starts[i]), -14400);
    /* 02:30 does not exist that night: the offset from before; 03:00 does. */
    assert_int_equal(tz_offset_at_local(z, starts[i] - 18000 + 1800), -18000);
    assert_int_equal(tz_offset_at_local(z, starts[i] - 18000 + 3600), -14400);
  }
  tz_free(z);
  z = zone_of("CET-1CEST,M3.5.0,M10.5.0/3", 0);
  enum { END = 1792890000 }; /* 2026-10-25: the last Sunday is the fourth */
  assert_int_equal(tz_offset_at_utc(z, END - 1), 7200);
  assert_int_equal(tz_offset_at_utc(z, END), 3600);
  assert_int_equal(tz_offset_at_local(z, END + 3600 + 1800), 7200); /* 02:30 comes twice: the earlier */
  tz_free(z);
}

static void arena_gives_zeroed_memory_and_takes_all_of_it_back(void **state) {
  (void)state;
  struct budget budget;
  struct arena arena = {0};
  unsigned char *given[500];
  uint64_t seed = 7;
  budget_init(&budget, 0);
  for (size_t i = 0; i < COUNT_OF(given); i++) {
    const size_t size = 1 + unit_random(&seed) % (i % 50 ? 900 : 200000);
    given[i] = arena_calloc(&arena, &budget, size);
    assert_non_null(given[i]);
    assert_int_equal((uintptr_t)given[i] % _Alignof(max_align_t), 0);
    for (size_t at = 0; at < size; at++)
      assert_int_equal(given[i][at], 0);
    memset(given[i], 0xff, size); /* what the next ones would see if they lay in it */
  }
  assert_true(budget.used > 0);
  arena_clear(&arena, &budget);
  assert_int_equal(budget.used, 0);
  assert_null(arena.newest);
}

static void arena_ends_where_its_budget_does(void **state) {
  (void)state;
  struct budget budget;
  struct arena arena = {0};
  size_t count = 0;
  budget_init(&budget, 100000);
  while (arena_calloc(&arena, &budget, 1000))
    count++;
  assert_true(count > 30 && count < 100);
  assert_true(budget.exceeded);
  assert_null(arena_calloc(&arena, &budget, SIZE_MAX));
  assert_null(arena_calloc(&arena, &budget, SIZE_MAX - 4096));
  arena_clear(&arena, &budget);
  assert_int_equal(budget.used, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_gives_zeroed_memory_and_takes_all_of_it_back),
      cmocka_unit_test(arena_ends_where_its_budget_does),
      cmocka_unit_test(utf8_is_well_formed_by_the_table),
      cmocka_unit_test(texts_are_split_at_separators),
      cmocka_unit_test(views_are_compared_bytewise),
      cmocka_unit_test(blanks_are_trimmed_at_both_ends),
      cmocka_unit_test(copies_are_cut_and_say_so),
      cmocka_unit_test(a_failure_of_a_buffer_sticks),
      cmocka_unit_test(what_is_taken_is_a_string_and_leaves_an_empty_buffer),
      cmocka_unit_test(buffers_grow_without_losing_bytes),
      cmocka_unit_test(the_nth_allocation_fails_once),
      cmocka_unit_test(zeroes_and_overflows_are_no_trap),
      cmocka_unit_test(arrays_double_and_keep_their_items),
      cmocka_unit_test(a_budget_holds_under_many_threads),
      cmocka_unit_test(a_group_waits_for_its_own_tasks_only),
      cmocka_unit_test(freeing_a_pool_does_what_is_queued),
      cmocka_unit_test(a_line_is_one_object_whatever_is_in_it),
      cmocka_unit_test(lines_of_many_threads_do_not_mix),
      cmocka_unit_test(levels_have_names),
      cmocka_unit_test(deadlines_keep_their_milliseconds),
      cmocka_unit_test(checksum_of_a_zone_tells_its_rules),
      cmocka_unit_test(rules_of_zones_follow_posix),
      cmocka_unit_test(damaged_zones_are_none),
      cmocka_unit_test(transitions_strike_at_their_second),
  };
  return cmocka_run_group_tests_name("base_more", tests, NULL, NULL);
}
