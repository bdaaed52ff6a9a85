/* SPDX-License-Identifier: MIT */
#include "server/backfill_store.h"
#include "server/backfill_submit_store.h"
#include "server/service_parts.h"

#include <string.h>

/* What a backfill must not begin with. */
static enum kpi_code may_accept(struct service *s, const struct backfill_request *request, struct err *err) {
  return service_may_accept(s, request->count ? request->days[request->count - 1] : DAY_MIN, err);
}

enum kpi_code service_submit_backfill(struct service *s, const struct backfill_request *request,
                                      const struct submit_policy *policy, struct backfill *out,
                                      enum disposition *disposition, struct err *err) {
  *out = (struct backfill){0};
  enum kpi_code rc = may_accept(s, request, err);
  if (rc)
    return rc;
  const struct run_defaults defaults = service_defaults_of(s);
  rc = backfill_store_submit(s->db, request, policy, &defaults, out, disposition, err);
  if (rc == KPI_OK && *disposition == DISPOSITION_CREATED)
    service_wake_supervisors(s);
  return rc;
}

enum engine_kind service_engine_for(const struct service *s, enum engine_kind asked, uint64_t bytes,
                                    char reason[ENGINE_REASON_SIZE]) {
  const struct engines engines = service_engines_of(s);
  engines_explain(&engines, asked, bytes, reason);
  return engines_choose(&engines, asked, bytes);
}

enum kpi_code service_plan_backfill(struct service *s, const struct backfill_request *request,
                                    const struct submit_policy *policy, struct backfill_day *days,
                                    struct err *err) {
  enum kpi_code rc = may_accept(s, request, err);
  return rc ? rc : backfill_store_plan(s->db, request, policy, days, err);
}

enum kpi_code service_get_backfill(struct service *s, struct view id, struct backfill *out, struct err *err) {
  return backfill_store_get(s->db, id, out, err);
}

enum kpi_code service_backfill_is_active(struct service *s, struct view id, bool *active, struct err *err) {
  return backfill_store_is_active(s->db, id, active, err);
}

enum kpi_code service_list_backfills(struct service *s, const struct backfill_filter *filter,
                                     struct backfill_list *out, struct err *err) {
  return backfill_store_list(s->db, filter, out, err);
}

enum kpi_code service_backfill_days(struct service *s, struct view id, day_t from, size_t limit,
                                    struct backfill_days *out, struct err *err) {
  return backfill_store_days(s->db, id, from, limit, out, err);
}

/* One that is being cancelled can only end: no other service is to take it up until it has. */
static void remove_intent_of(struct service *s, const struct run *run) {
  if (run->state == RUN_CANCELLING)
    intents_remove(s->intents, run->id);
  else if (intents_has(s->intents, run->id))
    service_remove_intent_unless_active(s, run->id);
}

static void remove_intents_of(struct service *s, const char *backfill_id, enum run_state state) {
  struct run_filter filter = {
      .has_state = true, .state = state, .backfill_id = view_of(backfill_id), .limit = RUN_PAGE_MAX};
  char last[UUID_TEXT_SIZE];
  struct run_list page;
  struct err err;
  bool more = s->intents != NULL;
  while (more && run_store_list(s->db, &filter, &page, &err) == KPI_OK) {
    for (size_t i = 0; i < page.count; i++) {
      remove_intent_of(s, &page.runs[i]);
      memcpy(last, page.runs[i].id, sizeof last);
    }
    filter.before_id = view_of(last);
    more = page.more;
    run_list_clear(&page);
  }
}

enum kpi_code service_cancel_backfill(struct service *s, struct view id, struct backfill *out,
                                      struct err *err) {
  enum kpi_code rc = backfill_store_cancel(s->db, id, out, err);
  if (rc)
    return rc;
  live_runs_stop(&s->live, view_of(out->id), STOP_CANCEL);
  service_stop_cancelling(s);
  /* Days that were asked for alone too have intents. Those that waited have been cancelled at once. */
  remove_intents_of(s, out->id, RUN_CANCELLING);
  remove_intents_of(s, out->id, RUN_CANCELLED);
  service_tell_changed(s, out->id);
  return KPI_OK;
}

enum kpi_code service_retry_backfill(struct service *s, struct view id, struct backfill *out,
                                     struct err *err) {
  *out = (struct backfill){0};
  enum kpi_code rc = service_may_accept(s, DAY_MIN, err);
  if (rc == KPI_OK)
    rc = backfill_store_retry(s->db, id, out, err);
  if (rc)
    return rc;
  service_wake_supervisors(s);
  service_tell_changed(s, out->id);
  return KPI_OK;
}
