/* SPDX-License-Identifier: MIT */
#include "server/handle_published.h"

#include "base/scope.h"
#include "server/cursor.h"
#include "server/format.h"
#include "server/result_view.h"
#include "server/service.h"

#include <string.h>

enum {
  RANGE_DAYS_DEFAULT = 31,
  RANGE_DAYS_MAX = 3660,
  CURSOR_BYTES_MAX = 128,
  ROW_BYTES_MAX = 64 * 1024,
  CSV_CHUNK_ROWS = 2000,
  BYTES_PER_MIB = 1024 * 1024
};

/* ---- what was asked for ---- */

/* A page of days. Borrows what the query holds. */
struct range {
  day_t from, to;
  uint64_t limit;
  bool has_place;                /* a cursor was sent: */
  day_t day;                     /* of the last row before the page */
  char place[RESULT_PLACE_SIZE]; /* of that row; empty in the calendar */
};

static void read_day(const struct request *rq, const char *name, bool *sent, day_t *out, struct problem *p) {
  struct view text;
  *sent = request_arg(rq, name, &text);
  if (*sent && !day_parse(text, out))
    problem_add(p, name, "Must be a real date as YYYY-MM-DD.");
}

/* A cursor is the date and, in a series, the place of the last row before the page. */
static void read_cursor(const struct request *rq, bool is_series, struct range *r, struct problem *p) {
  struct view value;
  auto_buf struct buf plain;
  buf_init(&plain, CURSOR_BYTES_MAX);
  r->has_place = request_arg(rq, "cursor", &value);
  if (!r->has_place)
    return;
  bool ok = cursor_decode(value, &plain);
  struct view place = buf_view(&plain), date = view_split(&place, ' ');
  if (!ok || !day_parse(date, &r->day) || r->day < r->from || r->day > r->to ||
      place.len != (is_series ? RESULT_PLACE_SIZE - 1 : 0))
    cursor_refuse(p);
  view_to_cstr(place, r->place, sizeof r->place);
}

static void add_cursor(day_t day, const char *place, struct buf *out) {
  char date[DAY_TEXT_SIZE];
  auto_buf struct buf plain;
  buf_init(&plain, CURSOR_BYTES_MAX);
  buf_printf(&plain, "%s%s%s", day_text(day, date), place ? " " : "", place ? place : "");
  cursor_encode(buf_view(&plain), out);
}

static void read_dates(const struct request *rq, struct range *r, struct problem *p) {
  bool has_from, has_to;
  r->to = service_today(rq->app);
  read_day(rq, "to", &has_to, &r->to, p);
  r->from = r->to - DAY_MIN < RANGE_DAYS_DEFAULT ? DAY_MIN : r->to - (RANGE_DAYS_DEFAULT - 1);
  read_day(rq, "from", &has_from, &r->from, p);
  if (p->error_count == 0 && r->from > r->to)
    problem_add(p, "from",
                has_to ? "Must not be after `to`." : "Must not be after today, unless `to` is sent.");
}

/* Reads the query. False when the reply is a problem already. */
static bool read_range(struct request *rq, struct reply *rp, bool is_series, struct range *r) {
  struct problem p = {.code = KPI_VALIDATION_FAILED};
  struct err err;
  *r = (struct range){.limit = RUN_PAGE_DEFAULT};
  read_dates(rq, r, &p);
  if (p.error_count == 0 && r->to - r->from >= RANGE_DAYS_MAX) {
    reply_error(rp, rq, KPI_RANGE_TOO_LONG, "A range has at most %d days.", RANGE_DAYS_MAX);
    return false;
  }
  if (p.error_count == 0)
    read_cursor(rq, is_series, r, &p);
  if (p.error_count)
    reply_problem(rp, rq, &p);
  else if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &r->limit, &err))
    reply_err(rp, rq, &err);
  else
    return true;
  return false;
}

/* ---- calendar ---- */

static const char *or_null(const char *text) {
  return text[0] ? text : NULL;
}

/* The KPIs that readers look at first; null where nothing is published. */
static void write_headline(struct json_out *j, const struct day_overview *day) {
  struct kpi_columns cols = kpi_table_columns(KPI_ORDERS);
  for (size_t i = 0; i < cols.count; i++) {
    if (!cols.at[i].original || cols.at[i].type == KPI_COL_DATE)
      continue;
    auto_buf struct buf cell;
    buf_init(&cell, ROW_BYTES_MAX);
    if (day->published_run_id[0])
      kpi_cell_json(cols.at[i].name, &day->orders, &cols.at[i], &cell);
    else
      buf_printf(&cell, "\"%s\":null", cols.at[i].name);
    buf_add_char(&cell, '\0');
    jout_raw(j, NULL, buf_failed(&cell) ? NULL : cell.ptr);
  }
}

static void write_day(struct json_out *j, const struct day_overview *day) {
  char date[DAY_TEXT_SIZE];
  jout_object(j, NULL);
  jout_string(j, "date", day_text(day->orders.day, date));
  jout_string(j, "run_id", or_null(day->run_id));
  jout_string(j, "state", day->has_run ? run_state_name(day->state) : NULL);
  jout_string(j, "quality_status", or_null(day->quality));
  jout_string(j, "published_run_id", or_null(day->published_run_id));
  jout_time(j, "published_at", day->published_at);
  write_headline(j, day);
  jout_object_end(j);
}

static void write_days(struct request *rq, struct reply *rp, const struct day_overview *days, size_t count,
                       bool more) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (more)
    add_cursor(days[count - 1].orders.day, NULL, &cursor);
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "days");
  for (size_t i = 0; i < count; i++)
    write_day(&j, &days[i]);
  jout_array_end(&j);
  cursor_write_next(rq, rp, &j, buf_view(&cursor));
  jout_object_end(&j);
  reply_json_end(&j);
}

static void get_days(struct request *rq, struct reply *rp) {
  struct range r;
  struct err err;
  if (!read_range(rq, rp, false, &r))
    return;
  day_t first = r.has_place ? r.day + 1 : r.from;
  uint64_t left = (uint64_t)(r.to - first + 1);
  size_t count = left < r.limit ? left : r.limit;
  auto_free struct day_overview *days = calloc(count + 1, sizeof *days);
  if (!days)
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "Memory is exhausted.");
  else if (service_days(rq->app, first, count, days, &err))
    reply_err(rp, rq, &err);
  else
    write_days(rq, rp, days, count, left > count);
}

/* ---- series ---- */

/* A series on its way from the database to the reply. */
struct series {
  struct published_ask ask;
  struct view categories[HTTP_QUERY_ARGS_MAX];
  enum format format;
  uint64_t left; /* rows that may still be written */
  bool more;     /* a row beyond them was seen */
  struct json_out json;
  struct buf row;                /* owned: one row as JSON */
  day_t last_day;                /* of the last row that was written */
  char place[RESULT_PLACE_SIZE]; /* of that row */
};

static void read_categories(const struct request *rq, struct series *s) {
  for (size_t i = 0; i < rq->arg_count; i++)
    if (view_is(rq->args[i].name, "category"))
      s->categories[s->ask.category_count++] = rq->args[i].value;
  s->ask.categories = s->categories;
}

static void write_row(struct reply *rp, struct series *s, const struct kpi_row *row) {
  if (s->format == AS_CSV) {
    kpi_row_csv(row, s->ask.table, true, &rp->body);
    return;
  }
  buf_reset(&s->row);
  kpi_row_json(row, s->ask.table, &s->row);
  buf_add_char(&s->row, '\0');
  jout_raw(&s->json, NULL, buf_failed(&s->row) ? NULL : s->row.ptr);
}

/* Writes rows as long as the page has room. */
static void write_rows(struct reply *rp, struct series *s, const struct kpi_rows *rows, size_t first) {
  size_t i = first;
  for (; i < rows->count && s->left > 0; i++, s->left--)
    write_row(rp, s, &rows->rows[i]);
  s->more = i < rows->count;
  if (i == first)
    return;
  s->last_day = rows->rows[i - 1].day;
  result_place(&rows->rows[i - 1], s->place);
}

/* The first row behind that of the cursor; 0 when the row is not there any more. */
static size_t behind_place(const struct range *r, const struct kpi_rows *rows) {
  char place[RESULT_PLACE_SIZE];
  for (size_t i = 0; i < rows->count && rows->rows[i].day == r->day; i++) {
    result_place(&rows->rows[i], place);
    if (strcmp(place, r->place) == 0)
      return i + 1;
  }
  return 0;
}

/* Reads and writes the days in turn, so that no call holds the database for long. */
static enum kpi_code write_days_of_series(struct request *rq, struct reply *rp, const struct range *r,
                                          struct series *s, struct err *err) {
  day_t next = r->has_place ? r->day : r->from;
  for (bool resumes = r->has_place; next <= r->to && !s->more; resumes = false) {
    struct kpi_rows rows;
    s->ask.from = next;
    enum kpi_code rc = service_published(rq->app, &s->ask, &rows, &next, err);
    if (rc)
      return rc;
    size_t first = resumes ? behind_place(r, &rows) : 0;
    if (resumes && first == 0)
      rc = err_set(err, KPI_VALIDATION_FAILED, "The day was published anew since: start again without it.");
    else
      write_rows(rp, s, &rows, first);
    kpi_rows_clear(&rows);
    if (rc == KPI_OK && buf_failed(&rp->body))
      rc = err_set(err, KPI_RANGE_TOO_LONG, "The rows of these days are more than %d MiB: ask for fewer.",
                   HTTP_REPLY_BYTES_MAX / BYTES_PER_MIB);
    if (rc)
      return rc;
  }
  return KPI_OK;
}

static void begin_json(struct reply *rp, struct series *s) {
  struct kpi_columns cols = kpi_table_columns(s->ask.table);
  s->json = reply_json_begin(rp, 200);
  jout_object(&s->json, NULL);
  jout_array(&s->json, "columns");
  for (size_t i = 0; i < cols.count; i++)
    format_json_column(&s->json, cols.at[i].name, kpi_column_type_name(cols.at[i].type));
  jout_array_end(&s->json);
  jout_array(&s->json, "rows");
}

static void end_json(struct request *rq, struct reply *rp, struct series *s) {
  auto_buf struct buf cursor;
  buf_init(&cursor, CURSOR_BYTES_MAX);
  if (s->more)
    add_cursor(s->last_day, s->place, &cursor);
  jout_array_end(&s->json);
  cursor_write_next(rq, rp, &s->json, buf_view(&cursor));
  jout_object_end(&s->json);
  reply_json_end(&s->json);
}

static void begin_csv(struct reply *rp, const struct range *r, const struct series *s) {
  char from[DAY_TEXT_SIZE], to[DAY_TEXT_SIZE];
  struct buf *out = reply_begin(rp, 200, "text/csv; charset=utf-8; header=present");
  reply_header(rp, "Content-Disposition", "attachment; filename=\"%s-%s-%s.csv\"",
               kpi_table_name(s->ask.table), day_text(r->from, from), day_text(r->to, to));
  kpi_csv_header(s->ask.table, out);
}

static void answer_series(struct request *rq, struct reply *rp, const struct range *r, struct series *s) {
  struct err err;
  if (s->format == AS_CSV)
    begin_csv(rp, r, s);
  else
    begin_json(rp, s);
  if (write_days_of_series(rq, rp, r, s, &err)) {
    struct problem p = problem_of(&err);
    if (err.code == KPI_VALIDATION_FAILED)
      problem_add(&p, "cursor", "%s", err.message);
    reply_problem(rp, rq, &p);
  } else if (s->format != AS_CSV) {
    end_json(rq, rp, s);
  }
}

/* CSV is the whole range at once: what reads it seldom follows links. */
static void get_series(struct request *rq, struct reply *rp, enum kpi_table table) {
  struct range r;
  struct series s = {.ask = {.table = table}};
  if (!format_choose(rq, rp, true, false, &s.format) || !read_range(rq, rp, true, &r))
    return;
  s.left = s.format == AS_CSV ? UINT64_MAX : r.limit;
  s.ask.rows = s.format == AS_CSV ? CSV_CHUNK_ROWS : r.limit + 1;
  s.ask.to = r.to;
  buf_init(&s.row, ROW_BYTES_MAX);
  read_categories(rq, &s);
  answer_series(rq, rp, &r, &s);
  buf_clear(&s.row);
}

static void get_order_kpis(struct request *rq, struct reply *rp) {
  get_series(rq, rp, KPI_ORDERS);
}

static void get_category_kpis(struct request *rq, struct reply *rp) {
  get_series(rq, rp, KPI_CATEGORIES);
}

static const char *const days_query[] = {"from", "to", "limit", "cursor", NULL};
static const char *const orders_query[] = {"from", "to", "limit", "cursor", "format", NULL};
static const char *const categories_query[] = {"from", "to", "category*", "limit", "cursor", "format", NULL};

static const struct route table[] = {
    {HTTP_GET, "/days", get_days, days_query, false},
    {HTTP_GET, "/kpis/orders", get_order_kpis, orders_query, false},
    {HTTP_GET, "/kpis/categories", get_category_kpis, categories_query, false},
};

const struct route_set published_routes = {table, sizeof table / sizeof table[0]};
