/* SPDX-License-Identifier: MIT */
#include "server/run_store.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_rows.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

/* One run by id, in and out. */
struct run_call {
  struct view id;
  struct run *run;
};

static enum kpi_code do_get(struct db_conn *c, void *arg, struct err *err) {
  struct run_call *call = arg;
  return run_row_get(c, call->id, call->run, err);
}

enum kpi_code run_store_get(struct db *db, struct view id, struct run *out, struct err *err) {
  *out = (struct run){0};
  struct run_call call = {id, out};
  enum kpi_code rc = db_call(db, DB_NORMAL, do_get, &call, err);
  if (rc)
    run_clear(out);
  return rc;
}

/* ---- listing ---- */

enum {
  LOOKED_AT_MAX =
      10 * 1000 /* runs, in one call: who has to look through all of them lets others in between */
};

struct list_call {
  const struct run_filter *filter;
  struct run_list *list;
  size_t kept; /* what list holds of earlier calls */
  char before[UUID_TEXT_SIZE];
  char last[UUID_TEXT_SIZE]; /* looked at by this call */
  bool is_end;
};

/* Every condition is always there: NULL means any. CASE looks at no more of them than it has to. */
#define LIST_IDS(first_choice)                                                                               \
  "SELECT id, CASE WHEN (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR date = ?3)"                            \
  " AND (?4 IS NULL OR date >= ?4) AND (?5 IS NULL OR date <= ?5)"                                           \
  " AND (?6 IS NULL OR ?6 = (state IN " ACTIVE_STATES                                                        \
  ")) AND (?7 IS NULL OR EXISTS (SELECT 1 FROM json_each(labels_json) WHERE key = ?7"                        \
  " AND (?8 IS NULL OR value = ?8)))"                                                                        \
  " AND (?9 IS NULL OR id = (SELECT run_id FROM idempotency_keys WHERE key = ?9))"                           \
  " AND (?10 IS NULL OR EXISTS (SELECT 1 FROM backfill_days d WHERE d.run_id = runs.id"                      \
  " AND d.backfill_id = ?10)) THEN 1 ELSE 0 END FROM runs WHERE " first_choice "id < ?1 ORDER BY id DESC"

/* By the index that leaves the fewest runs to look at. */
static const char *list_sql(const struct run_filter *f) {
  if (f->idempotency_key.len)
    return LIST_IDS("id = (SELECT run_id FROM idempotency_keys WHERE key = ?9) AND ");
  if (f->backfill_id.len)
    return LIST_IDS("id IN (SELECT run_id FROM backfill_days WHERE backfill_id = ?10) AND ");
  if (f->has_date)
    return LIST_IDS("date = ?3 AND ");
  if (f->has_state)
    return LIST_IDS("state = ?2 AND ");
  if (f->has_active && f->active)
    return LIST_IDS("state IN " ACTIVE_STATES " AND ");
  return LIST_IDS("");
}

static sqlite3_stmt *list_statement(struct db_conn *c, const struct list_call *call) {
  const struct run_filter *f = call->filter;
  char date[DAY_TEXT_SIZE], from[DAY_TEXT_SIZE], to[DAY_TEXT_SIZE];
  sqlite3_stmt *s = db_statement(c, list_sql(f));
  if (!s)
    return NULL;
  db_bind_text(s, 1, call->before);
  db_bind_text(s, 2, f->has_state ? run_state_name(f->state) : NULL);
  db_bind_text(s, 3, f->has_date ? day_text(f->date, date) : NULL);
  db_bind_text(s, 4, f->has_from ? day_text(f->from, from) : NULL);
  db_bind_text(s, 5, f->has_to ? day_text(f->to, to) : NULL);
  if (f->has_active)
    db_bind_int(s, 6, f->active);
  db_bind_view(s, 7, f->label_key);
  db_bind_view(s, 8, f->label_value);
  db_bind_view(s, 9, f->idempotency_key);
  db_bind_view(s, 10, f->backfill_id);
  return s;
}

/* Adds the ids of runs that match. */
static enum kpi_code look_on(struct db_conn *c, struct list_call *call, struct err *err) {
  struct run_list *list = call->list;
  sqlite3_stmt *s = list_statement(c, call);
  size_t looked_at = 0;
  int step = SQLITE_ERROR;
  while (s && looked_at < LOOKED_AT_MAX && !list->more && (step = sqlite3_step(s)) == SQLITE_ROW) {
    struct view id = view_of((const char *)sqlite3_column_text(s, 0));
    view_to_cstr(id, call->last, sizeof call->last);
    looked_at++;
    if (!sqlite3_column_int(s, 1))
      continue;
    list->more = list->count == call->filter->limit;
    if (!list->more)
      view_to_cstr(id, list->runs[list->count++].id, UUID_TEXT_SIZE);
  }
  call->is_end = list->more || step == SQLITE_DONE;
  return step == SQLITE_ROW || step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
}

static enum kpi_code do_list(struct db_conn *c, void *arg, struct err *err) {
  struct list_call *call = arg;
  struct run_list *list = call->list;
  for (; list->count > call->kept; list->count--)
    run_clear(&list->runs[list->count - 1]);
  list->more = false;
  enum kpi_code rc = look_on(c, call, err);
  for (size_t i = call->kept; rc == KPI_OK && i < list->count; i++) {
    char id[UUID_TEXT_SIZE];
    memcpy(id, list->runs[i].id, sizeof id);
    rc = run_row_get(c, view_of(id), &list->runs[i], err);
  }
  return rc;
}

enum kpi_code run_store_list(struct db *db, const struct run_filter *filter, struct run_list *out,
                             struct err *err) {
  struct list_call call = {.filter = filter, .list = out, .before = "~"}; /* after every id */
  enum kpi_code rc = KPI_OK;
  *out = (struct run_list){.runs = calloc(filter->limit, sizeof *out->runs)};
  if (!out->runs)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for a page of runs");
  if (filter->before_id.len)
    view_to_cstr(filter->before_id, call.before, sizeof call.before);
  while (rc == KPI_OK && !call.is_end) {
    rc = db_call(db, DB_NORMAL, do_list, &call, err);
    call.kept = out->count;
    memcpy(call.before, call.last, sizeof call.before);
  }
  if (rc)
    run_list_clear(out);
  return rc;
}

/* ---- while it runs ---- */

/* A change of several runs. */
struct runs_call {
  const char *const *ids;
  size_t count;
  enum run_phase phase;
  const struct run_progress *progress;
  const struct run_input *input;
};

static enum kpi_code do_progress(struct db_conn *c, void *arg, struct err *err) {
  const struct runs_call *call = arg;
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    sqlite3_stmt *s =
        db_statement(c, "UPDATE runs SET phase = ?2, updated_at = ?3, version = version + 1, " SET_PROGRESS
                        " WHERE id = ?1 AND state IN ('running', 'cancelling')");
    db_bind_text(s, 1, call->ids[i]);
    db_bind_text(s, 2, run_phase_name(call->phase));
    db_bind_int(s, 3, clock_wall_ms());
    run_row_bind_progress(s, 10, call->progress);
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code run_store_progress(struct db *db, const char *const *ids, size_t count, enum run_phase phase,
                                 const struct run_progress *progress, struct err *err) {
  struct runs_call call = {.ids = ids, .count = count, .phase = phase, .progress = progress};
  return db_call(db, DB_NORMAL, do_progress, &call, err);
}

static enum kpi_code keep_listing(struct db_conn *c, const struct run_input *input, struct err *err) {
  sqlite3_stmt *s = db_statement(c, "INSERT OR IGNORE INTO manifests (fingerprint, listing) VALUES (?1, ?2)");
  db_bind_text(s, 1, input->fingerprint);
  db_bind_view(s, 2, input->listing);
  return db_run(c, s, err);
}

static enum kpi_code do_input(struct db_conn *c, void *arg, struct err *err) {
  const struct runs_call *call = arg;
  enum kpi_code rc = call->input->listing.len ? keep_listing(c, call->input, err) : KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i < call->count; i++) {
    sqlite3_stmt *s = db_statement(
        c,
        "UPDATE runs SET input_fingerprint = ?2, input_objects = ?3, input_bytes = ?4,"
        " bytes_total = ?4, files_total = ?3, engine = iif(from_publish, engine, ?5), version = version + 1,"
        " results_sha256 = iif(results_fingerprint = ?2, results_sha256, NULL)"
        " WHERE id = ?1");
    db_bind_text(s, 1, call->ids[i]);
    db_bind_text(s, 2, call->input->fingerprint);
    db_bind_int(s, 3, (int64_t)call->input->objects);
    db_bind_int(s, 4, (int64_t)call->input->bytes);
    db_bind_text(s, 5, engine_kind_name(call->input->engine));
    rc = db_run(c, s, err);
  }
  return rc;
}

enum kpi_code run_store_input(struct db *db, const char *const *ids, size_t count,
                              const struct run_input *input, struct err *err) {
  struct runs_call call = {.ids = ids, .count = count, .input = input};
  return db_call(db, DB_NORMAL, do_input, &call, err);
}
