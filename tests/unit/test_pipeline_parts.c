/* SPDX-License-Identifier: MIT
 * The small parts of the pipeline: gunzip, findings, tallies, dictionaries, names, aggregates and samples.
 * What workers find must not depend on their order. */
#include "base/pool.h"
#include "base/scope.h"
#include "pipeline/aggregate.h"
#include "pipeline/dict.h"
#include "pipeline/gunzip.h"
#include "pipeline/names.h"
#include "pipeline/quality.h"
#include "pipeline/sample.h"

#include "unit.h"

#include <zlib.h>

/* ---- gunzip ---- */

/* A reader over bytes in memory that hands them on in small pieces. */
struct memory_reader {
  struct source_reader base;
  struct view left;
  size_t piece;
  bool fails; /* at the end */
  bool *is_closed;
};

static enum kpi_code memory_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                 struct err *err) {
  struct memory_reader *m = (struct memory_reader *)r;
  *got = m->left.len < m->piece ? m->left.len : m->piece;
  *got = *got < size ? *got : size;
  if (*got)
    memcpy(to, m->left.ptr, *got);
  m->left = (struct view){m->left.ptr + *got, m->left.len - *got};
  return *got || !m->fails ? KPI_OK : err_set(err, KPI_S3_UNAVAILABLE, "inner");
}

static enum kpi_code memory_finish(struct source_reader *r, struct err *err) {
  (void)r;
  return err_set(err, KPI_S3_OBJECT_CHANGED, "inner");
}

static void memory_close(struct source_reader *r) {
  *((struct memory_reader *)r)->is_closed = true;
}

static const struct source_reader_vtable memory_vtable = {
    .read = memory_read, .finish = memory_finish, .close = memory_close};

/* Appends a member that holds the text. */
static void add_member(struct buf *to, struct view text) {
  unsigned char out[8192];
  z_stream z = {.next_in = (unsigned char *)(uintptr_t)text.ptr,
                .avail_in = (uInt)text.len,
                .next_out = out,
                .avail_out = sizeof out};
  assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
  buf_add(to, (struct view){(char *)out, sizeof out - z.avail_out});
  deflateEnd(&z);
}

static enum kpi_code inflate_all(struct view gzip, size_t piece, size_t size, bool fails, struct buf *out,
                                 struct err *err) {
  bool is_closed = false;
  struct memory_reader inner = {{&memory_vtable}, gzip, piece, fails, &is_closed};
  struct source_reader *r;
  char bytes[512];
  size_t got = 1;
  assert_int_equal(gunzip_new(&inner.base, "orders/a.csv.gz", &r, err), KPI_OK);
  enum kpi_code rc = KPI_OK;
  while (rc == KPI_OK && got) {
    rc = source_read(r, bytes, size, &got, err);
    if (rc == KPI_OK)
      buf_add(out, (struct view){bytes, got});
  }
  struct err finish_err;
  assert_int_equal(source_finish(r, &finish_err), KPI_S3_OBJECT_CHANGED);
  source_close(r);
  assert_true(is_closed);
  return rc;
}

static void members_follow_each_other_in_pieces_of_any_size(void **state) {
  (void)state;
  static const size_t pieces[] = {1, 2, 7, 1000};
  auto_buf struct buf gzip;
  buf_init(&gzip, 64 * 1024);
  add_member(&gzip, VIEW_LIT("first,"));
  add_member(&gzip, VIEW_LIT(""));
  add_member(&gzip, VIEW_LIT("second"));
  for (size_t p = 0; p < COUNT_OF(pieces); p++)
    for (size_t s = 0; s < COUNT_OF(pieces); s++) {
      auto_buf struct buf out;
      struct err err;
      buf_init(&out, 1000);
      size_t size = pieces[s] < 512 ? pieces[s] : 512;
      assert_int_equal(inflate_all(buf_view(&gzip), pieces[p], size, false, &out, &err), KPI_OK);
      assert_view(buf_view(&out), "first,second");
    }
}

static void every_truncation_is_found(void **state) {
  (void)state;
  auto_buf struct buf gzip;
  buf_init(&gzip, 64 * 1024);
  add_member(&gzip, VIEW_LIT("first"));
  size_t first = gzip.len;
  add_member(&gzip, VIEW_LIT("second"));
  for (size_t len = 0; len <= gzip.len; len++) {
    auto_buf struct buf out;
    struct err err = {0};
    buf_init(&out, 1000);
    enum kpi_code rc = inflate_all((struct view){gzip.ptr, len}, 1000, 512, false, &out, &err);
    bool is_whole = len == 0 || len == first || len == gzip.len;
    assert_int_equal(rc, is_whole ? KPI_OK : KPI_SOURCE_UNREADABLE);
    if (!is_whole)
      assert_string_equal(err.object, "orders/a.csv.gz");
  }
}

static void damage_is_found(void **state) {
  (void)state;
  auto_buf struct buf gzip;
  buf_init(&gzip, 64 * 1024);
  add_member(&gzip, VIEW_LIT("a text that is long enough to be damaged in the middle"));
  for (size_t at = 0; at < gzip.len; at++) {
    auto_buf struct buf out;
    struct err err;
    buf_init(&out, 1000);
    if (at >= 3 && at < 10) /* flags, time, and operating system are not checked */
      continue;
    gzip.ptr[at] ^= 0x55;
    enum kpi_code rc = inflate_all(buf_view(&gzip), 1000, 512, false, &out, &err);
    gzip.ptr[at] ^= 0x55;
    assert_int_equal(rc, KPI_SOURCE_UNREADABLE);
  }
  auto_buf struct buf out;
  struct err err;
  buf_init(&out, 1000);
  assert_int_equal(inflate_all(VIEW_LIT("order_id,user_id\n1,2\n"), 5, 512, false, &out, &err),
                   KPI_SOURCE_UNREADABLE);
  buf_add_cstr(&gzip, "garbage");
  assert_int_equal(inflate_all(buf_view(&gzip), 1000, 512, false, &out, &err), KPI_SOURCE_UNREADABLE);
}

static void failures_below_are_passed_on(void **state) {
  (void)state;
  auto_buf struct buf out;
  struct err err;
  buf_init(&out, 1000);
  assert_int_equal(inflate_all(VIEW_LIT("\x1f\x8b"), 1, 512, true, &out, &err), KPI_S3_UNAVAILABLE);
  assert_string_equal(err.message, "inner");
}

/* ---- findings ---- */

static struct place place_of(uint32_t object, uint64_t line) {
  return (struct place){object, line};
}

/* Fills findings in an order that a seed chooses, split over workers that are merged in another order. */
static struct finding found_in_order(uint64_t seed, bool distinct) {
  enum { ROWS = 60, WORKERS = 4 };
  struct finding workers[WORKERS] = {{0}}, all = {0};
  unsigned order[ROWS];
  for (unsigned i = 0; i < ROWS; i++)
    order[i] = i;
  for (unsigned i = ROWS - 1; i > 0; i--) {
    unsigned j = (unsigned)(unit_random(&seed) % (i + 1)), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  for (unsigned i = 0; i < ROWS; i++) {
    unsigned n = order[i];
    char value[16];
    snprintf(value, sizeof value, "v%u", n * 7 % 11);
    struct finding *f = &workers[(n + seed) % WORKERS];
    if (distinct)
      finding_add_distinct(f, place_of(n / 20, 1 + n % 20), view_of(value));
    else
      finding_add(f, place_of(n / 20, 1 + n % 20), view_of(value));
  }
  for (unsigned i = 0; i < WORKERS; i++)
    finding_merge(&all, &workers[(i + seed) % WORKERS]);
  for (unsigned i = 0; i < WORKERS; i++)
    finding_clear(&workers[i]);
  return all;
}

static void findings_do_not_depend_on_the_order_of_workers(void **state) {
  (void)state;
  for (int distinct = 0; distinct < 2; distinct++) {
    struct finding first = found_in_order(1, distinct);
    assert_int_equal(first.count, 60);
    assert_int_equal(first.example_count, FINDING_EXAMPLES_MAX);
    for (uint64_t seed = 2; seed < 200; seed++) {
      struct finding f = found_in_order(seed, distinct);
      assert_int_equal(f.count, 60);
      for (size_t i = 0; i < FINDING_EXAMPLES_MAX; i++) {
        assert_int_equal(place_cmp(f.examples[i].place, first.examples[i].place), 0);
        assert_string_equal(f.examples[i].value, first.examples[i].value);
      }
      finding_clear(&f);
    }
    finding_clear(&first);
  }
  struct finding distinct = found_in_order(1, true);
  for (size_t i = 0; i < FINDING_EXAMPLES_MAX; i++) { /* the first of each value, and they differ */
    char expected[16];
    snprintf(expected, sizeof expected, "v%zu", i * 7 % 11);
    assert_string_equal(distinct.examples[i].value, expected);
    assert_int_equal(distinct.examples[i].place.line, i + 1);
  }
  finding_clear(&distinct);
}

static void places_are_ordered_by_object_then_line(void **state) {
  (void)state;
  static const struct place ascending[] = {{0, 1}, {0, 2}, {0, UINT64_MAX}, {1, 0}, {UINT32_MAX, 0}};
  for (size_t i = 0; i < COUNT_OF(ascending); i++)
    for (size_t j = 0; j < COUNT_OF(ascending); j++) {
      int order = place_cmp(ascending[i], ascending[j]);
      assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
    }
}

static void values_of_findings_are_cut(void **state) {
  (void)state;
  struct finding f = {0};
  char value[200];
  memset(value, 'x', sizeof value);
  finding_add(&f, place_of(0, 1), (struct view){value, sizeof value});
  assert_int_equal(strlen(f.examples[0].value), FINDING_VALUE_BYTES - 1);
  finding_clear(&f);
}

/* ---- statistics ---- */

static void ranges_merge_to_the_same_in_any_order(void **state) {
  (void)state;
  static const char *const texts[] = {"m", "", "zz", "a", "z"};
  static const char *const money[] = {"1.5", "-3", "0", "99999999999999999999", "2"};
  static const int64_t numbers[] = {5, INT64_MIN, 0, INT64_MAX, -1};
  for (size_t turn = 0; turn < 5; turn++) {
    static struct quality_tally all, workers[5];
    memset(&all, 0, sizeof all);
    memset(workers, 0, sizeof workers);
    for (size_t i = 0; i < 5; i++) {
      struct column_stats *columns = workers[i].columns[DATASET_ORDERS];
      struct decimal d;
      decimal_parse(view_of(money[i]), &d);
      column_stats_text(&columns[0], view_of(texts[i]));
      column_stats_number(&columns[1], numbers[i]);
      column_stats_money(&columns[2], &d);
      columns[0].nulls = i;
      workers[i].relevant[DATASET_PRODUCTS] = 10;
      workers[i].bad_rows[DATASET_ORDERS] = 1;
      workers[i].item_revenue = workers[i].orphan_revenue = workers[i].dropped_revenue = d;
      finding_add(&workers[i].found[CHECK_PRICE_MISSING], place_of(0, i), VIEW_LIT("x"));
    }
    for (size_t i = 0; i < 5; i++)
      quality_tally_merge(&all, &workers[(i + turn) % 5]);
    const struct column_stats *columns = all.columns[DATASET_ORDERS];
    char least[DECIMAL_TEXT_SIZE], most[DECIMAL_TEXT_SIZE], sum[DECIMAL_TEXT_SIZE];
    decimal_text(&columns[2].money.min, least);
    decimal_text(&columns[2].money.max, most);
    decimal_text(&all.orphan_revenue, sum);
    assert_string_equal(columns[0].text.min, "");
    assert_string_equal(columns[0].text.max, "zz");
    assert_true(columns[1].number.min == INT64_MIN && columns[1].number.max == INT64_MAX);
    assert_string_equal(least, "-3");
    assert_string_equal(most, "99999999999999999999");
    assert_string_equal(sum, "99999999999999999999.5");
    assert_int_equal(columns[0].nulls, 10);
    assert_int_equal(all.relevant[DATASET_PRODUCTS], 50);
    assert_int_equal(all.bad_rows[DATASET_ORDERS], 5);
    assert_int_equal(all.found[CHECK_PRICE_MISSING].count, 5);
    assert_int_equal(columns[3].kind, STATS_NONE); /* nothing was seen there */
    quality_tally_clear(&all);
    for (size_t i = 0; i < 5; i++)
      quality_tally_clear(&workers[i]);
  }
}

static void statuses_are_judged_by_the_rule_of_the_job(void **state) {
  (void)state;
  static const struct {
    const char *status;
    bool is_known, folded_miss, exact_miss;
  } cases[] = {
      {"returned", true, false, false},  {"Returned", true, false, true},  {" returned ", true, false, true},
      {"return", false, true, true},     {"RETURNING", false, true, true}, {"refunded", true, true, true},
      {"delivered", true, false, false}, {"Canceled", true, false, false}, {"retu", false, false, false},
      {"", false, false, false},         {"lost", false, false, false}};
  for (int exact = 0; exact < 2; exact++) {
    struct status_cache cache = {.count = 0};
    for (int again = 0; again < 2; again++) /* from the cache as well */
      for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct status_verdict v =
            status_judge(&cache, view_of(cases[i].status), exact ? STATUS_EXACT : STATUS_FOLDED);
        if (v.is_known != cases[i].is_known ||
            v.is_near_miss != (exact ? cases[i].exact_miss : cases[i].folded_miss))
          fail_msg("\"%s\"", cases[i].status);
      }
  }
}

static void more_statuses_than_the_cache_holds_are_judged_anew(void **state) {
  (void)state;
  struct status_cache cache = {.count = 0};
  char text[100];
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < 2 * STATUS_CACHE_MAX; i++) {
      snprintf(text, sizeof text, "return%0*d", i % 3 ? 1 : 80, i);
      assert_true(status_judge(&cache, view_of(text), STATUS_FOLDED).is_near_miss);
      assert_true(status_judge(&cache, VIEW_LIT("shipped"), STATUS_FOLDED).is_known);
    }
  assert_true(cache.count <= STATUS_CACHE_MAX);
}

/* ---- dictionaries ---- */

enum { TEXTS = 3000, WORKERS = 4 };

struct interner {
  struct dict *dict;
  uint64_t numbers[TEXTS];
  unsigned step;
  bool ok;
};

static struct view text_of(unsigned n, char out[32]) {
  return (struct view){out, (size_t)snprintf(out, 32, "text %u", n)};
}

static void intern_all(void *arg) {
  struct interner *w = arg;
  char text[32];
  w->ok = true;
  for (unsigned i = 0; i < TEXTS; i++) {
    unsigned n = i * w->step % TEXTS;
    w->ok &= dict_intern(w->dict, text_of(n, text), &w->numbers[n]);
  }
}

struct text_count {
  const struct dict *dict;
  size_t count;
};

static bool count_text(void *arg, struct view text, uint64_t number) {
  struct text_count *c = arg;
  c->count += view_eq(dict_text(c->dict, number), text);
  return true;
}

static void many_threads_get_the_same_number_for_a_text(void **state) {
  (void)state;
  static struct interner workers[WORKERS];
  static const unsigned steps[WORKERS] = {1, 7, 11, 2999};
  struct budget budget;
  char text[32];
  budget_init(&budget, 0);
  struct dict *d = dict_new(&budget);
  struct text_count texts = {.dict = d};
  struct pool *pool = pool_new(WORKERS, WORKERS);
  for (size_t i = 0; i < WORKERS; i++)
    workers[i] = (struct interner){.dict = d, .step = steps[i]};
  pool_map(pool, NULL, intern_all, workers, sizeof workers[0], WORKERS);
  pool_free(pool);
  for (unsigned n = 0; n < TEXTS; n++) {
    for (size_t i = 0; i < WORKERS; i++)
      assert_true(workers[i].ok && workers[i].numbers[n] == workers[0].numbers[n]);
    struct view expected = text_of(n, text);
    assert_true(view_eq(dict_text(d, workers[0].numbers[n]), expected));
  }
  assert_true(dict_each(d, count_text, &texts));
  assert_int_equal(texts.count, TEXTS);
  dict_free(d);
  assert_int_equal(budget.used, 0);
}

static void texts_are_found_only_if_they_are_there(void **state) {
  (void)state;
  struct dict *d = dict_new(NULL);
  uint64_t a, b, none;
  assert_false(dict_find(d, VIEW_LIT("a"), &none));
  assert_true(dict_intern(d, VIEW_LIT("a"), &a));
  assert_true(dict_intern(d, (struct view){NULL, 0}, &b));
  assert_true(a != b);
  assert_true(dict_find(d, VIEW_LIT(""), &none) && none == b);
  assert_true(dict_find(d, VIEW_LIT("a"), &none) && none == a);
  assert_false(dict_find(d, VIEW_LIT("A"), &none));
  static char large[200 * 1024];
  memset(large, 'x', sizeof large);
  assert_true(dict_intern(d, (struct view){large, sizeof large}, &none));
  assert_int_equal(dict_text(d, none).len, sizeof large);
  dict_free(d);
  dict_free(NULL);
}

static void a_dictionary_without_memory_stays_usable(void **state) {
  (void)state;
  struct budget budget;
  uint64_t n;
  budget_init(&budget, 0);
  for (uint64_t nth = 1; nth < 4; nth++) {
    struct dict *d = dict_new(&budget);
    alloc_fail_at(nth);
    assert_false(dict_intern(d, VIEW_LIT("a"), &n));
    alloc_fail_at(0);
    assert_false(dict_find(d, VIEW_LIT("a"), &n));
    assert_true(dict_intern(d, VIEW_LIT("a"), &n));
    assert_view(dict_text(d, n), "a");
    dict_free(d);
    assert_int_equal(budget.used, 0);
  }
}

/* ---- names ---- */

static void names_are_a_sorted_set(void **state) {
  (void)state;
  static const char *const given[] = {"b", "", "a", "b", "\xc3\xa4", "B", "a"};
  static const char *const sorted[] = {"", "B", "a", "b", "\xc3\xa4"};
  struct names n = {0}, copy = {0};
  for (size_t i = 0; i < COUNT_OF(given); i++)
    assert_true(names_add(&n, view_of(given[i])));
  names_seal(&n);
  assert_int_equal(n.count, COUNT_OF(sorted));
  for (size_t i = 0; i < n.count; i++) {
    assert_view(n.at[i], sorted[i]);
    assert_true(names_has(&n, view_of(sorted[i])));
  }
  static const char *const absent[] = {"A", "ab", "c", "\xc3", " "};
  for (size_t i = 0; i < COUNT_OF(absent); i++)
    assert_false(names_has(&n, view_of(absent[i])));
  assert_true(names_add_all(&copy, &n) && names_add_all(&copy, &n));
  names_seal(&copy);
  assert_int_equal(copy.count, n.count);
  names_clear(&n);
  names_clear(&copy);
  names_clear(NULL);
  names_seal(&n);
  assert_false(names_has(&n, VIEW_LIT("")));
}

/* ---- aggregates ---- */

/* Gives each of 200 rows to a worker; the merge must not depend on who had which. */
static void totals_do_not_depend_on_who_counted(void **state) {
  (void)state;
  for (unsigned workers = 1; workers <= 4; workers++) {
    struct aggregate parts[4] = {{0}}, *list[4] = {&parts[0], &parts[1], &parts[2], &parts[3]};
    struct pool *pool = pool_new(3, 8);
    struct budget budget;
    budget_init(&budget, 0);
    for (unsigned row = 0; row < 200; row++) {
      struct group *g = aggregate_group(&parts[row * 31 % workers], &budget, (day_t)(row % 5) - 2, row % 3);
      struct decimal price;
      decimal_parse(VIEW_LIT("0.10"), &price);
      decimal_add(&g->revenue, &price);
      g->item_rows++;
      g->returned_rows += row % 2;
      assert_true(idset_add(&g->orders, &budget, row % 40) && idset_add(&g->users, &budget, row % 7));
    }
    assert_true(aggregate_merge(list, workers, pool, NULL, &budget));
    for (unsigned i = 1; i < workers; i++)
      assert_int_equal(parts[i].count, 0);
    assert_int_equal(parts[0].count, 15);
    struct group *g = aggregate_group(&parts[0], &budget, -2, 0);
    char revenue[DECIMAL_TEXT_SIZE];
    decimal_text(&g->revenue, revenue);
    assert_string_equal(revenue, "1.4"); /* rows 0, 15, 30 ... 195 */
    assert_int_equal(g->item_rows, 14);
    assert_int_equal(g->returned_rows, 7);
    assert_int_equal(g->counts.orders, 8);
    assert_int_equal(g->counts.users, 7);
    assert_int_equal(g->counts.items, 0);
    aggregate_clear(&parts[0], &budget);
    pool_free(pool);
    assert_int_equal(budget.used, 0);
  }
}

static void groups_are_told_apart_by_day_and_category(void **state) {
  (void)state;
  static const struct {
    day_t day;
    uint32_t category;
  } keys[] = {
      {0, 0}, {0, 1}, {1, 0}, {-1, 0}, {DAY_MIN, 0}, {DAY_MAX, GROUP_NO_CATEGORY}, {0, GROUP_NO_CATEGORY}};
  struct aggregate a = {0};
  struct group *groups[COUNT_OF(keys)];
  for (size_t i = 0; i < COUNT_OF(keys); i++)
    groups[i] = aggregate_group(&a, NULL, keys[i].day, keys[i].category);
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    assert_ptr_equal(aggregate_group(&a, NULL, keys[i].day, keys[i].category), groups[i]);
    assert_int_equal(groups[i]->day, keys[i].day);
    assert_int_equal(groups[i]->category, keys[i].category);
  }
  assert_int_equal(a.count, COUNT_OF(keys));
  aggregate_clear(&a, NULL);
}

static void a_merge_without_memory_leaks_nothing(void **state) {
  (void)state;
  for (uint64_t nth = 1; nth < 12; nth++) {
    struct aggregate to = {0}, from = {0}, *parts[] = {&to, &from};
    struct pool *pool = pool_new(1, 8);
    struct budget budget;
    budget_init(&budget, 0);
    for (day_t day = 0; day < 4; day++) {
      assert_true(idset_add(&aggregate_group(&from, &budget, day, 0)->orders, &budget, 1));
      assert_true(idset_add(&aggregate_group(&to, &budget, day + 2, 0)->orders, &budget, 2));
    }
    alloc_fail_at(nth);
    bool ok = aggregate_merge(parts, 2, pool, NULL, &budget);
    alloc_fail_at(0);
    assert_true(ok || nth < 11);
    pool_free(pool);
    aggregate_clear(&to, &budget);
    aggregate_clear(&from, &budget);
    assert_int_equal(budget.used, 0);
  }
}

/* ---- samples ---- */

static void digest_of(const char *folder, char out[SHA256_HEX_SIZE]) {
  static const char *const files[] = {"orders/orders_part1.csv", "order_items/order_items_part1.csv",
                                      "products/products_part1.csv"};
  struct sha256 *h = sha256_new();
  for (size_t i = 0; i < COUNT_OF(files); i++) {
    char path[256], bytes[4096];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", folder, files[i]);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
      sha256_add(h, (struct view){bytes, n});
    fclose(file);
  }
  sha256_hex(h, out);
  sha256_free(h);
}

static void the_same_seed_gives_the_same_bytes(void **state) {
  (void)state;
  static const struct {
    uint64_t seed;
    bool is_dirty;
    size_t same_as;
  } cases[] = {{1, false, 0}, {1, false, 0}, {2, false, 2}, {1, true, 3}, {1, true, 3}};
  char digests[COUNT_OF(cases)][SHA256_HEX_SIZE], command[128];
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char folder[] = "/tmp/kpid-sample-XXXXXX";
    struct err err;
    assert_non_null(mkdtemp(folder));
    struct sample s = {
        .out = folder, .orders = 500, .days = 3, .seed = cases[i].seed, .is_dirty = cases[i].is_dirty};
    assert_int_equal(sample_write(&s, &err), KPI_OK);
    digest_of(folder, digests[i]);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
  }
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    for (size_t j = 0; j < COUNT_OF(cases); j++)
      assert_int_equal(strcmp(digests[i], digests[j]) == 0, cases[i].same_as == cases[j].same_as);
}

static void a_folder_that_cannot_be_written_is_named(void **state) {
  (void)state;
  struct err err;
  struct sample s = {.out = "/dev/null/sample", .orders = 1, .days = 1};
  assert_int_equal(sample_write(&s, &err), KPI_USAGE);
  assert_non_null(strstr(err.message, "/dev/null/sample"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(members_follow_each_other_in_pieces_of_any_size),
      cmocka_unit_test(every_truncation_is_found),
      cmocka_unit_test(damage_is_found),
      cmocka_unit_test(failures_below_are_passed_on),
      cmocka_unit_test(findings_do_not_depend_on_the_order_of_workers),
      cmocka_unit_test(places_are_ordered_by_object_then_line),
      cmocka_unit_test(values_of_findings_are_cut),
      cmocka_unit_test(ranges_merge_to_the_same_in_any_order),
      cmocka_unit_test(statuses_are_judged_by_the_rule_of_the_job),
      cmocka_unit_test(more_statuses_than_the_cache_holds_are_judged_anew),
      cmocka_unit_test(many_threads_get_the_same_number_for_a_text),
      cmocka_unit_test(texts_are_found_only_if_they_are_there),
      cmocka_unit_test(a_dictionary_without_memory_stays_usable),
      cmocka_unit_test(names_are_a_sorted_set),
      cmocka_unit_test(totals_do_not_depend_on_who_counted),
      cmocka_unit_test(groups_are_told_apart_by_day_and_category),
      cmocka_unit_test(a_merge_without_memory_leaks_nothing),
      cmocka_unit_test(the_same_seed_gives_the_same_bytes),
      cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
  };
  return cmocka_run_group_tests_name("pipeline_parts", tests, NULL, NULL);
}
