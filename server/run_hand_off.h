/* SPDX-License-Identifier: MIT
 * Keeps what an engine hands to a cluster for runs, in the database, with the reaper, and where the disk may
 * go in DynamoDB too. */
#ifndef KPID_SERVER_RUN_HAND_OFF_H
#define KPID_SERVER_RUN_HAND_OFF_H

#include "pipeline/hand_off.h"
#include "server/db.h"
#include "server/engine_reaper.h"
#include "server/intents.h"

/* Zero-initialise; run_hand_off_init. */
struct run_hand_off {
  struct hand_off base;
  char owner[UUID_TEXT_SIZE];
  struct db *db;
  struct engine_reaper *reaper; /* NULL: none */
  bool is_claimed;              /* the runs wait for a job of the owner already */
  const char *const *run_ids;   /* that wait for the job */
  size_t count;
  struct intents *intents;      /* NULL: none are kept */
  const struct stop_flag *stop; /* of what the job is for */
};

/* Prepares a keeper, which stays where it is; borrows all but the owner. Not claimed: a job that the owner
 * has is left to those who follow it, and another owner is made up. */
void run_hand_off_init(struct run_hand_off *h, struct db *db, struct engine_reaper *reaper, const char *owner,
                       bool is_claimed, const char *const *run_ids, size_t count);

/* A job is kept in the intents too before it is submitted: one that nobody could find should the disk go is
 * not submitted. Borrows both; no intents: nothing of that. */
void run_hand_off_outlive(struct run_hand_off *h, struct intents *intents, const struct stop_flag *stop);

#endif
