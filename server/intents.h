/* SPDX-License-Identifier: MIT
 * Accepted runs in the control table of DynamoDB, for services whose disk dies with them: an intent is put
 * before a run is accepted and removed at its end; a service that starts creates the runs again that it does
 * not know. So are the jobs kept that a cluster has for them. Knows no HTTP, no SQL and no cluster. */
#ifndef KPID_SERVER_INTENTS_H
#define KPID_SERVER_INTENTS_H

#include "pipeline/hand_off.h"
#include "server/run.h"

struct aws;
struct intents;

/* Told, on a thread of the intents, that what intents_state says of an id has changed. */
typedef void (*intents_changed_fn)(void *arg, const char *id);

/* Borrows all. Intents of other sources are left alone; `boot_id` tells this service's attempts from those of
 * others. Returns owned, NULL when memory or threads are exhausted. */
struct intents *intents_new(struct aws *aws, const char *table, const char *source, const char *boot_id,
                            intents_changed_fn changed, void *arg);

/* Waits at most so long for what is under way, and frees. Accepts NULL. */
void intents_free(struct intents *i, int64_t wait_ms);

enum intent_state { INTENT_UNDER_WAY, INTENT_STORED, INTENT_FAILED };

/* Begins to store an intent; returns at once. Errors: KPI_QUEUE_FULL when too many are under way, or too many
 * changes wait. */
KPI_MUST_CHECK enum kpi_code intents_put(struct intents *i, const char *id, const struct run_request *request,
                                         const struct submit_policy *policy, struct err *err);

/* How a put has come along; err says why it failed, which is said once. Where several are asked for one id,
 * each who asked may be told of any of them. */
enum intent_state intents_state(struct intents *i, const char *id, struct err *err);

/* Somebody who put an intent does not ask any more how that has come along. For who was not told yet. */
void intents_forget_put(struct intents *i, const char *id);

/* True when there is an intent of that id for sure. */
bool intents_has(struct intents *i, const char *id);

/* Removes an intent, some time soon; also one that is being put. Without an intent of that id nothing
 * happens, as in all functions here. An intent that stays all the same is removed at the next start. */
void intents_remove(struct intents *i, const char *id);

/* Says, some time soon, that a service is at work on a run, and that it is no more, though the run has not
 * ended. An attempt of another service that is begun and not ended when the intent is found is one that it
 * died under. */
void intents_begin_attempt(struct intents *i, const char *id, uint32_t attempt);
void intents_end_attempt(struct intents *i, const char *id, uint32_t attempt);

/* Keeps a job that is about to be handed to a cluster, and which runs wait for it; waits until that is
 * stored. Errors: those of dynamodb_call; the job may be kept all the same. */
KPI_MUST_CHECK enum kpi_code intents_keep_job(struct intents *i, const struct owned_job *job,
                                              const char *const *run_ids, size_t count,
                                              const struct stop_flag *stop, struct err *err);

/* Keeps, some time soon, the id that a cluster has given a job; that runs wait for it no more; that it is
 * over. */
void intents_name_job(struct intents *i, const struct owned_job *job);
void intents_leave_job(struct intents *i, const struct owned_job *job, const char *const *run_ids,
                       size_t count);
void intents_remove_job(struct intents *i, const char *owner, uint32_t number);

/* An intent that was found. Strings are borrowed. */
struct intent {
  char id[UUID_TEXT_SIZE];
  struct run_request request;  /* with the id */
  struct submit_policy policy; /* the idempotency key alone */
  uint32_t deaths;             /* of services that were at work on the run */
  const struct owned_job *job; /* that it waits for; NULL: none */
};

/* Takes what is found. *wanted: whether it is still. Errors: why it may be taken later, and has to be for all
 * to be known. */
struct intents_taker {
  enum kpi_code (*intent)(void *arg, const struct intent *found, bool *wanted, struct err *err);
  enum kpi_code (*job)(void *arg, const struct owned_job *found, bool *wanted, struct err *err); /* or NULL */
  void *arg;
};

/* Hands on every intent of this source, and then every job, on a thread of the intents, and removes those
 * that are not wanted. Tries until DynamoDB answers. Returns at once. */
void intents_load(struct intents *i, const struct intents_taker *taker);

/* False until every intent that there was at the start has been handed on. Any thread. */
bool intents_are_loaded(const struct intents *i);

#endif
