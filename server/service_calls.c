/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/scope.h"
#include "server/copy_store.h"
#include "server/published_store.h"
#include "server/results_store.h"
#include "server/run_move_store.h"
#include "server/service_parts.h"

#include <string.h>

const struct config *service_config(const struct service *s) {
  return s->config;
}

struct watch *service_watch(const struct service *s) {
  return s->watch;
}

day_t service_today(const struct service *s) {
  return config_today(s->config);
}

enum bad_rows service_default_bad_rows(const struct service *s) {
  return s->config->bad_rows;
}

static enum kpi_code not_loaded_yet(const struct service *s, struct err *err) {
  return err_set(err, KPI_STARTING, "the runs kept in %s are not loaded yet", s->config->control_table);
}

enum kpi_code service_may_accept(struct service *s, day_t day, struct err *err) {
  uint64_t seen;
  char date[DAY_TEXT_SIZE];
  if (!service_takes_runs(s, &seen))
    return err_set(err, KPI_DRAINING, "the service is shutting down and takes no runs");
  if (!service_knows_its_runs(s))
    return not_loaded_yet(s, err);
  if (day > service_today(s))
    return err_set(err, KPI_DATE_IN_FUTURE, "%s has not begun yet in %s", day_text(day, date),
                   s->config->timezone);
  return KPI_OK;
}

bool service_keeps_intents(const struct service *s) {
  return s->intents != NULL;
}

enum kpi_code service_intend(struct service *s, const struct run_request *request,
                             const struct submit_policy *policy, char id[UUID_TEXT_SIZE], struct err *err) {
  enum kpi_code rc = service_may_accept(s, request->date, err);
  if (rc)
    return rc;
  if (request->id)
    view_to_cstr(view_of(request->id), id, UUID_TEXT_SIZE);
  else
    rc = run_store_find_retryable(s->db, request, policy, id, err);
  if (rc)
    return rc;
  if (!id[0])
    crypto_uuid7(id);
  char fingerprint[SHA256_HEX_SIZE];
  struct submit_policy whole = *policy;
  if (whole.key.len && !whole.fingerprint) {
    rc = run_store_find_fingerprint(s->db, whole.key, fingerprint, err);
    whole.fingerprint = fingerprint;
  }
  return rc ? rc : intents_put(s->intents, id, request, &whole, err);
}

enum kpi_code service_intended(struct service *s, const char *id, bool *stored, struct err *err) {
  struct err why;
  enum intent_state state = intents_state(s->intents, id, &why);
  *stored = state == INTENT_STORED;
  if (state != INTENT_FAILED)
    return KPI_OK;
  return err_set(err, KPI_STORAGE_UNAVAILABLE, "the run could not be kept in %s: %s",
                 s->config->control_table, why.message);
}

bool service_lacks_intent(struct service *s, const struct run *run) {
  return s->intents && !run_state_is_terminal(run->state) && run->state != RUN_CANCELLING &&
         !intents_has(s->intents, run->id);
}

void service_forget_intent(struct service *s, const char *id, bool is_being_stored) {
  if (is_being_stored)
    intents_forget_put(s->intents, id);
  service_remove_intent_unless_active(s, id);
}

/* Of a request whose intent is stored, but which another run answers. */
static void drop_needless_intent(struct service *s, const struct run_request *request, enum kpi_code rc,
                                 const struct submitted *out) {
  bool is_wanted = rc == KPI_OK && request->id && (out->must_wait || strcmp(out->run.id, request->id) == 0);
  if (request->id && !is_wanted)
    service_remove_intent_unless_active(s, request->id);
}

enum kpi_code service_submit(struct service *s, const struct run_request *request,
                             const struct submit_policy *policy, struct submitted *out, struct err *err) {
  *out = (struct submitted){0};
  enum kpi_code refused = service_may_accept(s, request->date, err);
  if (refused)
    return refused;
  struct run_defaults defaults = service_defaults_of(s);
  enum kpi_code rc = run_store_submit(s->db, request, policy, &defaults, out, err);
  drop_needless_intent(s, request, rc, out);
  if (rc)
    return rc;
  if (out->superseded[0]) {
    live_runs_stop(&s->live, view_of(out->superseded), STOP_CANCEL);
    if (s->intents)
      intents_remove(s->intents, out->superseded);
    service_tell_changed(s, out->superseded);
  }
  live_runs_overlay(&s->live, &out->run);
  if (out->disposition == DISPOSITION_CREATED && !out->is_alone)
    service_note_burst(s);
  service_wake_supervisors(s);
  if (out->disposition == DISPOSITION_RETRIED)
    service_tell_changed(s, out->run.id);
  return KPI_OK;
}

struct input_look *service_input(struct service *s) {
  return s->input;
}

/* A run that is not known may yet be loaded. `was_complete`: all were before it was looked for. */
static enum kpi_code or_not_yet(const struct service *s, bool was_complete, enum kpi_code rc,
                                struct err *err) {
  return rc == KPI_RUN_NOT_FOUND && !was_complete ? not_loaded_yet(s, err) : rc;
}

enum kpi_code service_get_run(struct service *s, struct view id, struct run *out, struct err *err) {
  bool is_complete = service_knows_its_runs(s);
  enum kpi_code rc = run_store_get(s->db, id, out, err);
  if (rc == KPI_OK)
    live_runs_overlay(&s->live, out);
  return or_not_yet(s, is_complete, rc, err);
}

enum kpi_code service_list_runs(struct service *s, const struct run_filter *filter, struct run_list *out,
                                struct err *err) {
  enum kpi_code rc = run_store_list(s->db, filter, out, err);
  for (size_t i = 0; rc == KPI_OK && i < out->count; i++)
    live_runs_overlay(&s->live, &out->runs[i]);
  return rc;
}

enum kpi_code service_cancel(struct service *s, struct view id, struct run *out, struct err *err) {
  bool is_complete = service_knows_its_runs(s);
  enum kpi_code rc = run_store_cancel(s->db, id, out, err);
  if (rc)
    return or_not_yet(s, is_complete, rc, err);
  live_runs_stop(&s->live, id, STOP_CANCEL);
  if (s->intents) /* also of one that has yet to end: no other service is to take it up */
    intents_remove(s->intents, out->id);
  service_tell_changed(s, out->id);
  return KPI_OK;
}

enum kpi_code service_retry(struct service *s, const struct retry_order *order, struct run *out,
                            struct err *err) {
  uint64_t seen;
  *out = (struct run){0};
  if (!service_takes_runs(s, &seen))
    return err_set(err, KPI_DRAINING, "the service is shutting down and takes no runs");
  bool is_complete = service_knows_its_runs(s);
  enum kpi_code rc = run_store_retry(s->db, order, out, err);
  if (rc)
    return or_not_yet(s, is_complete, rc, err);
  service_wake_supervisors(s);
  service_tell_changed(s, out->id);
  return KPI_OK;
}

enum kpi_code service_results(struct service *s, struct view id, const struct results_ask *ask,
                              struct results *out, struct err *err) {
  bool is_complete = service_knows_its_runs(s);
  return or_not_yet(s, is_complete, results_store_rows(s->db, id, ask, out, err), err);
}

enum kpi_code service_quality(struct service *s, struct view id, struct buf *out, struct err *err) {
  bool is_complete = service_knows_its_runs(s);
  return or_not_yet(s, is_complete, results_store_quality(s->db, id, out, err), err);
}

void service_health(struct service *s, struct health *out) {
  *out = (struct health){.active = live_runs_active(&s->live)};
  health_board_show(&s->health, s->intents ? HEALTH_CHECKS : CHECK_INTENTS, out);
  SCOPE_LOCK(&s->synced.lock);
  out->alive &= !db_is_broken(s->db);
  out->draining = s->synced.draining;
  out->ready &= !out->draining;
}

enum kpi_code service_published(struct service *s, const struct published_ask *ask, struct kpi_rows *out,
                                day_t *next, struct err *err) {
  return published_store_rows(s->db, ask, out, next, err);
}

enum kpi_code service_days(struct service *s, day_t from, size_t count, struct day_overview *out,
                           struct err *err) {
  return published_store_days(s->db, from, count, out, err);
}

enum kpi_code service_copy(struct service *s, const char *to, bool (*go_on)(void *arg), void *arg,
                           struct err *err) {
  return copy_store_make(s->db, to, go_on, arg, err);
}
