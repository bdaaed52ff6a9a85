/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_collect.h"

#include "base/scope.h"
#include "pipeline/day_judge.h"
#include "pipeline/kpi.h"
#include "pipeline/spark_tally.h"

#include <string.h>

enum { FORMAT = 1, FILE_BYTES_MAX = 1024 * 1024 * 1024, CATEGORY_BYTES_MAX = 2048 };

/* A day, as far as lines have told of it. */
struct told_day {
  struct day_result result;
  struct quality_tally tally;
  bool is_told, has_rows;
  uint64_t categories;
};

struct collecting {
  const struct job *job;
  const struct source_listing *listing;
  const struct spark_files *files;
  const char *file; /* that is read, for errors */
  struct err *err;
  struct told_day *days; /* owned, as they came */
  size_t day_count, day_cap;
  uint32_t *day_numbers; /* owned; by day: its number in `days`, and 1; 0: none */
  struct names categories;
  uint64_t rows[DATASET_COUNT];
  bool has_order_status;
  bool is_text_id[DATASET_COUNT][COLUMNS_MAX];
  struct quality_tally whole;
};

/* Says what is wrong with the file that is read. Returns false. */
static bool fault(struct collecting *c, const char *what) {
  err_set(c->err, KPI_ENGINE_FAILED, "the files of the Spark job are not as they must be: %s: %s", c->file,
          what);
  return false;
}

static bool no_memory(struct collecting *c) {
  job_memory_err(c->job, c->err);
  return false;
}

/* A sign of life, for each file, line and day: they may be many. False when the job is stopped. */
static bool goes_on(struct collecting *c) {
  atomic_fetch_add_explicit(&c->job->progress->beats, 1, memory_order_relaxed);
  if (stop_reason(c->job->stop) == STOP_NONE)
    return true;
  job_stopped_err(c->job, c->err);
  return false;
}

/* Returns a day of the job, an empty one at first; NULL without memory, or when it is none of the job's. */
static struct told_day *day_of(struct collecting *c, day_t day) {
  uint32_t *number = &c->day_numbers[day - DAY_MIN];
  if (!day_set_has(&c->job->days, day)) {
    fault(c, "a day that was not asked for");
    return NULL;
  }
  if (*number == 0) {
    struct told_day *at = array_room(c->days, c->day_count, &c->day_cap, sizeof *at);
    if (!at) {
      no_memory(c);
      return NULL;
    }
    c->days = at;
    c->days[c->day_count++] = (struct told_day){.result.day = day};
    *number = (uint32_t)c->day_count;
  }
  return &c->days[*number - 1];
}

/* ---- manifest ---- */

static bool is_text(const json_t *object, const char *name, const char *expected) {
  struct view text;
  return spark_get_text(object, name, &text) && view_is(text, expected);
}

static bool is_of_attempt(const json_t *manifest, const struct collecting *c,
                          const struct spark_attempt *attempt) {
  uint64_t number, format;
  return spark_get_count(manifest, "format", &format) && format == FORMAT &&
         spark_get_count(manifest, "attempt", &number) && number == attempt->number &&
         is_text(manifest, "run_id", attempt->run_id) &&
         is_text(manifest, "spec_sha256", attempt->spec_sha256) &&
         is_text(manifest, "input_fingerprint", c->listing->fingerprint);
}

static bool read_inputs(const json_t *inputs, struct collecting *c) {
  for (int d = 0; d < DATASET_COUNT; d++) {
    const json_t *input = json_object_get(inputs, schema_of((enum dataset)d)->name), *column;
    size_t i;
    if (!spark_get_count(input, "rows", &c->rows[d]))
      return false;
    json_array_foreach(json_object_get(input, "columns"), i, column) {
      const bool is_status = json_is_string(column) && strcmp(json_string_value(column), "status") == 0;
      c->has_order_status |= d == DATASET_ORDERS && is_status;
    }
  }
  return true;
}

static bool read_text_ids(const json_t *names, struct collecting *c) {
  const json_t *name;
  size_t i;
  json_array_foreach(names, i, name) {
    enum dataset dataset;
    size_t column;
    if (!json_is_string(name) || !spark_column_of(view_of(json_string_value(name)), &dataset, &column))
      return false;
    c->is_text_id[dataset][column] = true;
  }
  return json_is_array(names);
}

static bool read_manifest(const json_t *manifest, struct collecting *c, const struct spark_attempt *attempt) {
  if (!is_of_attempt(manifest, c, attempt))
    return fault(c, "it is of another run, attempt, spec or input");
  if (!read_inputs(json_object_get(manifest, "inputs"), c) ||
      !read_text_ids(json_object_get(manifest, "text_ids"), c) ||
      !spark_tally_read(json_object_get(manifest, "tally"), c->listing, &c->whole))
    return fault(c, "what it says of the inputs cannot be read");
  return true;
}

/* ---- lines ---- */

static bool read_category_name(const json_t *line, struct collecting *c) {
  const struct view name = {json_string_value(line), json_string_length(line)};
  if (!json_is_string(line))
    return fault(c, "a line is no text");
  return names_add(&c->categories, name) || no_memory(c);
}

static bool read_totals(const json_t *json, struct kpi_totals *out) {
  return spark_get_money(json, "revenue", &out->revenue) && spark_get_count(json, "orders", &out->orders) &&
         spark_get_count(json, "item_rows", &out->item_rows) &&
         spark_get_count(json, "returned_item_rows", &out->returned_item_rows) &&
         spark_get_count(json, "returned_orders", &out->returned_orders);
}

static bool read_category_line(const json_t *line, struct view category, struct told_day *day,
                               struct collecting *c) {
  struct kpi_totals totals = {.returned_orders_known = true};
  if (category.len == 0 || category.len > CATEGORY_BYTES_MAX || !read_totals(line, &totals))
    return fault(c, "a category without its numbers");
  struct kpi_row *row = kpi_rows_add(&day->result.result.tables[KPI_CATEGORIES], day->result.day, category);
  if (!row)
    return no_memory(c);
  kpi_category_day(&totals, row);
  return true;
}

static bool add_order_row(const json_t *json, struct told_day *day, struct collecting *c) {
  struct kpi_totals totals = {.returned_orders_known = c->has_order_status};
  if (!read_totals(json, &totals) || !spark_get_count(json, "distinct_items", &totals.distinct_items) ||
      !spark_get_count(json, "customers", &totals.customers))
    return fault(c, "a day without its numbers");
  struct kpi_row *row =
      kpi_rows_add(&day->result.result.tables[KPI_ORDERS], day->result.day, (struct view){0});
  if (!row)
    return no_memory(c);
  kpi_order_day(&totals, row);
  return true;
}

static bool read_refusal(const json_t *json, struct told_day *day, struct collecting *c) {
  day->result.err = calloc(1, sizeof *day->result.err);
  if (!day->result.err)
    return no_memory(c);
  return spark_error_read(json, day->result.err) || fault(c, "a refusal that cannot be read");
}

static bool read_day_line(const json_t *line, struct told_day *day, struct collecting *c) {
  const json_t *refusal = json_object_get(line, "refusal"), *totals = json_object_get(line, "totals");
  if (day->is_told)
    return fault(c, "a day is told twice");
  day->is_told = true;
  day->has_rows = json_is_true(json_object_get(line, "has_rows"));
  if (!spark_get_count(line, "categories", &day->categories) ||
      !spark_tally_read(json_object_get(line, "tally"), c->listing, &day->tally))
    return fault(c, "a day whose checks cannot be read");
  if (!json_is_null(refusal) && !read_refusal(refusal, day, c))
    return false;
  return json_is_null(totals) || add_order_row(totals, day, c);
}

static bool read_result_line(const json_t *line, struct collecting *c) {
  struct view category;
  day_t date;
  if (!spark_get_day(line, "day", &date))
    return fault(c, "a line without a day");
  struct told_day *day = day_of(c, date);
  if (!day)
    return false;
  if (spark_get_text(line, "category", &category))
    return read_category_line(line, category, day, c);
  return read_day_line(line, day, c);
}

typedef bool (*line_fn)(const json_t *line, struct collecting *c);

/* Reads the lines of a file, whose number is known. */
static bool read_lines(struct view text, uint64_t expected, line_fn fn, struct collecting *c) {
  uint64_t count = 0;
  for (; text.len > 0; count++) {
    const struct view line = view_split(&text, '\n');
    auto_json json_t *json = json_loadb(line.ptr, line.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!json)
      return fault(c, "a line is no JSON");
    if (!goes_on(c) || !fn(json, c))
      return false;
  }
  return count == expected || fault(c, "it has more or fewer lines than the manifest says");
}

static bool read_file(const json_t *told, struct collecting *c) {
  uint64_t bytes, rows;
  struct view name, sum;
  char digest[SHA256_HEX_SIZE];
  auto_buf struct buf text;
  buf_init(&text, FILE_BYTES_MAX);
  if (!spark_get_text(told, "name", &name) || !spark_get_text(told, "sha256", &sum) ||
      !spark_get_count(told, "bytes", &bytes) || !spark_get_count(told, "rows", &rows))
    return fault(c, "a file without name or size");
  struct view in_folder = name;
  const struct view folder = view_split(&in_folder, '/');
  const bool is_result = view_is(folder, "results");
  if ((!is_result && !view_is(folder, "categories")) || !view_starts(in_folder, "part-") ||
      memchr(in_folder.ptr, '/', in_folder.len))
    return fault(c, "a file of another folder");
  c->file = name.ptr;
  if (c->files->read(c->files->arg, name.ptr, &text, c->err))
    return false;
  if (buf_failed(&text))
    return no_memory(c);
  crypto_sha256_hex(buf_view(&text), digest);
  if (text.len != bytes || !view_is(sum, digest))
    return fault(c, "it is not the file that the manifest names");
  return read_lines(buf_view(&text), rows, is_result ? read_result_line : read_category_name, c);
}

static bool read_files(const json_t *files, struct collecting *c) {
  const json_t *file;
  size_t i;
  json_array_foreach(files, i, file) {
    if (!goes_on(c) || !read_file(file, c))
      return false;
    c->file = "manifest.json";
  }
  return json_is_array(files) || fault(c, "it names no files");
}

/* ---- results ---- */

/* Days that were asked for have a result, also when nothing was told of them. */
static bool add_missing_days(struct collecting *c) {
  const struct day_set *days = &c->job->days;
  for (day_t day = days->from; !day_set_is_all(days) && day <= days->to; day++)
    if (day_set_has(days, day) && !day_of(c, day))
      return false;
  return true;
}

/* True when the lines of categories are as many as the day says, each of another one. */
static bool has_its_categories(const struct told_day *day) {
  const struct kpi_rows *rows = &day->result.result.tables[KPI_CATEGORIES];
  for (size_t i = 1; i < rows->count; i++)
    if (view_eq(rows->rows[i - 1].category, rows->rows[i].category))
      return false;
  return rows->count == day->categories;
}

/* Judges a day that has as many categories as it may. */
static bool judge(struct collecting *c, struct told_day *day, bool *fails, struct err *why) {
  struct quality_tally tally = {0};
  struct quality_facts facts = {.job = c->job,
                                .listing = c->listing,
                                .day = day->result.day,
                                .tally = &tally,
                                .tables = day->result.result.tables};
  memcpy(facts.rows, c->rows, sizeof facts.rows);
  memcpy(facts.is_text_id, c->is_text_id, sizeof facts.is_text_id);
  quality_tally_merge(&tally, &c->whole);
  quality_tally_merge(&tally, &day->tally);
  enum kpi_code rc = day_judge(&facts, &day->result.result.quality, fails, why, c->err);
  quality_tally_clear(&tally);
  return rc == KPI_OK;
}

/* Checks and judges a day; one that must fail gets an error. */
static bool end_day(struct collecting *c, struct told_day *day) {
  struct err why = {0};
  bool fails = true;
  kpi_rows_sort(&day->result.result.tables[KPI_CATEGORIES]);
  if (day->result.err)
    return true;
  if (!day_has_too_many_categories(day->result.day, day->categories, &why)) {
    if (!has_its_categories(day))
      return fault(c, "a day with other categories than it says");
    if (!judge(c, day, &fails, &why))
      return false;
  }
  if (!fails)
    return true;
  day->result.err = malloc(sizeof why);
  if (!day->result.err)
    return no_memory(c);
  *day->result.err = why;
  return true;
}

static int by_day(const void *a, const void *b) {
  const day_t x = ((const struct day_result *)a)->day, y = ((const struct day_result *)b)->day;
  return (x > y) - (x < y);
}

/* Hands the days on, sorted and judged. */
static bool finish(struct collecting *c, struct day_results *out) {
  const bool is_all = day_set_is_all(&c->job->days);
  names_seal(&c->categories);
  out->categories = c->categories;
  c->categories = (struct names){0};
  out->at = calloc(c->day_count + 1, sizeof *out->at);
  if (!out->at)
    return no_memory(c);
  for (size_t i = 0; i < c->day_count; i++) {
    struct told_day *day = &c->days[i];
    if (!goes_on(c) || !end_day(c, day))
      return false;
    if (is_all && !day->has_rows && !day->result.err)
      continue;
    day->result.result.categories = out->categories;
    out->at[out->count++] = day->result;
    day->result = (struct day_result){0};
  }
  qsort(out->at, out->count, sizeof *out->at, by_day);
  return true;
}

static void collecting_clear(struct collecting *c) {
  for (size_t i = 0; i < c->day_count; i++) {
    c->days[i].result.result.categories = (struct names){0};
    job_result_clear(&c->days[i].result.result);
    free(c->days[i].result.err);
    quality_tally_clear(&c->days[i].tally);
  }
  free(c->days);
  free(c->day_numbers);
  names_clear(&c->categories);
  quality_tally_clear(&c->whole);
}

enum kpi_code spark_collect(const struct job *job, const struct source_listing *listing,
                            const struct spark_attempt *attempt, struct view manifest,
                            const struct spark_files *files, struct day_results *out, struct err *err) {
  struct collecting c = {.job = job, .listing = listing, .files = files, .file = "manifest.json", .err = err};
  auto_json json_t *json = json_loadb(manifest.ptr, manifest.len, 0, NULL);
  *out = (struct day_results){0};
  c.day_numbers = calloc(DAY_MAX - DAY_MIN + 1, sizeof *c.day_numbers);
  bool ok = c.day_numbers ? json || fault(&c, "it is no JSON") : no_memory(&c);
  ok = ok && read_manifest(json, &c, attempt) && read_files(json_object_get(json, "files"), &c) &&
       add_missing_days(&c) && finish(&c, out);
  collecting_clear(&c);
  if (!ok)
    day_results_clear(out);
  return ok ? KPI_OK : err->code;
}
