/* SPDX-License-Identifier: MIT */
#include "server/key_rows.h"

#include <sqlite3.h>

enum kpi_code key_row_find(struct db_conn *c, const struct submit_policy *policy, struct key_owner *out,
                           struct err *err) {
  *out = (struct key_owner){0};
  if (policy->key.len == 0)
    return KPI_OK;
  sqlite3_stmt *s =
      db_statement(c, "SELECT fingerprint, run_id, backfill_id FROM idempotency_keys WHERE key = ?1");
  db_bind_view(s, 1, policy->key);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  bool is_same = view_is(view_of((const char *)sqlite3_column_text(s, 0)), policy->fingerprint);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 1)), out->run_id, UUID_TEXT_SIZE);
  view_to_cstr(view_of((const char *)sqlite3_column_text(s, 2)), out->backfill_id, UUID_TEXT_SIZE);
  sqlite3_reset(s);
  if (is_same)
    return KPI_OK;
  bool is_run = out->run_id[0];
  return err_set(err, KPI_IDEMPOTENCY_KEY_REUSED,
                 "the key was sent before with another request: it stands for %s %s",
                 is_run ? "run" : "backfill", is_run ? out->run_id : out->backfill_id);
}

enum kpi_code key_row_fingerprint(struct db_conn *c, struct view key, char out[SHA256_HEX_SIZE],
                                  struct err *err) {
  sqlite3_stmt *s = db_statement(c, "SELECT fingerprint FROM idempotency_keys WHERE key = ?1");
  db_bind_view(s, 1, key);
  int step = s ? sqlite3_step(s) : SQLITE_ERROR;
  view_to_cstr(step == SQLITE_ROW ? view_of((const char *)sqlite3_column_text(s, 0)) : (struct view){0}, out,
               SHA256_HEX_SIZE);
  if (step != SQLITE_ROW)
    return step == SQLITE_DONE ? KPI_OK : db_failure(c, err);
  sqlite3_reset(s);
  return KPI_OK;
}

enum kpi_code key_row_bind(struct db_conn *c, const struct submit_policy *policy,
                           const struct key_owner *owner, struct err *err) {
  if (policy->key.len == 0)
    return KPI_OK;
  sqlite3_stmt *s = db_statement(
      c, "INSERT INTO idempotency_keys (key, fingerprint, run_id, backfill_id) VALUES (?1, ?2, ?3, ?4)");
  db_bind_view(s, 1, policy->key);
  db_bind_text(s, 2, policy->fingerprint);
  db_bind_view(s, 3, view_of(owner->run_id));
  db_bind_view(s, 4, view_of(owner->backfill_id));
  return db_run(c, s, err);
}
