/* SPDX-License-Identifier: MIT */
#include "server/run_hand_off.h"

#include "base/log.h"
#include "server/engine_job_store.h"

#include <string.h>

/* Who shares an owner with others would, giving up his own job, leave it to them. */
static enum kpi_code find(void *arg, struct handed_job *out, bool *found, struct err *err) {
  struct run_hand_off *h = arg;
  enum kpi_code rc = engine_job_store_find(h->db, h->owner, out, found, err);
  if (rc == KPI_OK && *found && !h->is_claimed) {
    crypto_uuid7(h->owner);
    *out = (struct handed_job){0};
    *found = false;
  }
  return rc;
}

static enum kpi_code begin(void *arg, uint32_t *number, struct err *err) {
  struct run_hand_off *h = arg;
  h->is_claimed = true;
  return engine_job_store_begin(h->db, h->base.owner, h->run_ids, h->count, number, err);
}

static struct owned_job owned(const struct run_hand_off *h, const struct handed_job *job) {
  struct owned_job out = {.job = *job};
  memcpy(out.owner, h->owner, sizeof out.owner);
  return out;
}

/* Before a job is submitted nothing is waited for but that it is kept; its id is of use, but not needed. */
static enum kpi_code keep_beyond_the_disk(const struct run_hand_off *h, const struct handed_job *job,
                                          struct err *err) {
  const struct owned_job o = owned(h, job);
  if (!job->id[0])
    return intents_keep_job(h->intents, &o, h->run_ids, h->count, h->stop, err);
  intents_name_job(h->intents, &o);
  return KPI_OK;
}

static enum kpi_code keep(void *arg, const struct handed_job *job, struct err *err) {
  const struct run_hand_off *h = arg;
  enum kpi_code rc = engine_job_store_keep(h->db, h->base.owner, job, err);
  if (rc == KPI_OK && h->intents)
    rc = keep_beyond_the_disk(h, job, err);
  engine_reaper_wake(h->reaper);
  return rc;
}

/* One that cannot be stored now is given up by the reaper when its runs have ended. */
static void give_up(void *arg, const struct handed_job *job) {
  const struct run_hand_off *h = arg;
  struct err err;
  if (engine_job_store_give_up(h->db, h->base.owner, job, h->run_ids, h->count, &err))
    log_at(LOG_WARN, "engine.job_not_given_up", err.message, LOG_S("run_id", h->base.owner),
           LOG_S("job_id", job->id));
  if (h->intents) {
    const struct owned_job o = owned(h, job);
    intents_leave_job(h->intents, &o, h->run_ids, h->count);
  }
  engine_reaper_wake(h->reaper);
}

void run_hand_off_init(struct run_hand_off *h, struct db *db, struct engine_reaper *reaper, const char *owner,
                       bool is_claimed, const char *const *run_ids, size_t count) {
  *h = (struct run_hand_off){.base = {h, h->owner, find, begin, keep, give_up},
                             .db = db,
                             .reaper = reaper,
                             .is_claimed = is_claimed,
                             .run_ids = run_ids,
                             .count = count};
  view_to_cstr(view_of(owner), h->owner, sizeof h->owner);
}

void run_hand_off_outlive(struct run_hand_off *h, struct intents *intents, const struct stop_flag *stop) {
  h->intents = intents;
  h->stop = stop;
}
