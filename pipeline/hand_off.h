/* SPDX-License-Identifier: MIT
 * Jobs that an engine hands to a cluster, and who keeps them: a cluster goes on when this process does not,
 * and the next one has to find what is its own. Knows neither clusters nor SQL. */
#ifndef KPID_PIPELINE_HAND_OFF_H
#define KPID_PIPELINE_HAND_OFF_H

#include "base/crypto.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { ENGINE_JOB_ID_SIZE = 128 };

/* A job that was handed to a cluster. */
struct handed_job {
  uint32_t number; /* of its owner's, from 1 */
  char spec_sha256[SHA256_HEX_SIZE];
  char id[ENGINE_JOB_ID_SIZE]; /* the cluster's; empty: not known */
};

/* The same, with its owner. */
struct owned_job {
  char owner[UUID_TEXT_SIZE];
  struct handed_job job;
};

/* Keeps what is handed to a cluster, so that who comes after a crash finds it. Any thread. */
struct hand_off {
  void *arg;
  const char *owner; /* what the jobs are named by, together with their numbers; a UUID */
  /* Finds the job that is to be gone on with. *found false: there is none. The text of the owner may be
   * another one afterwards. */
  enum kpi_code (*find)(void *arg, struct handed_job *out, bool *found, struct err *err);
  /* Stores a job of which nothing is known yet, under a number that no other of the owner has or had. */
  enum kpi_code (*begin)(void *arg, uint32_t *number, struct err *err);
  /* Stores what is known of a job. */
  enum kpi_code (*keep)(void *arg, const struct handed_job *job, struct err *err);
  /* Nobody goes on with a job any more: it is to be ended, its files removed. */
  void (*give_up)(void *arg, const struct handed_job *job);
};

#endif
