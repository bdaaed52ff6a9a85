/* SPDX-License-Identifier: MIT
 * The protocol by which the rows of a date replace those before, in one instant, without clocks, leases or
 * trust in a disk: a state machine that says what to send next and is told how it went. It has no store of
 * its own, so that tests can search its state space. Knows neither DynamoDB nor rows; see ARCHITECTURE.md,
 * "Publishing". */
#ifndef KPID_PIPELINE_PUBLISH_FLOW_H
#define KPID_PIPELINE_PUBLISH_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PUBLISH_ID_SIZE = 37, PUBLISH_LOOKS_MAX = 8 };

/* The control row of a date, as far as the protocol looks at it. */
struct publish_control {
  uint64_t version;                   /* of what is published; 0: nothing by this protocol */
  char published_id[PUBLISH_ID_SIZE]; /* who published it */
  uint64_t pending;                   /* version of a long publication under way; 0: none */
  char pending_id[PUBLISH_ID_SIZE];   /* whose it is */
};

enum publish_act {
  /* One transaction: the control row IF it is still as observed, to version and without pending, and all
     rows. */
  PUBLISH_ALL,
  /* The control row IF it is still as observed: pending = version. From here on it only goes forward. */
  PUBLISH_BEGIN,
  /* One transaction: rows, and the check that pending is still ours. */
  PUBLISH_CHUNK,
  /* One transaction: the control row IF pending is ours, to version and without pending, and the last rows.
   */
  PUBLISH_COMMIT,
  /* Read the control row and call publish_flow_look. */
  PUBLISH_LOOK,
  PUBLISH_DONE,
  PUBLISH_SUPERSEDED /* somebody else has published or begun since the observation */
};

struct publish_step {
  enum publish_act act;
  size_t first, count; /* rows of ALL, CHUNK and COMMIT */
};

struct publish_flow {
  char id[PUBLISH_ID_SIZE]; /* of this publication, never used twice */
  struct publish_control observed;
  uint64_t version; /* that it will have */
  size_t rows;      /* puts and deletes together */
  size_t limit;     /* actions a transaction may have; >= 2 */
  size_t sent;      /* rows known to be written */
  enum publish_act next;
  enum publish_act refused; /* what was refused before the look */
  unsigned looks;
};

/* Starts from what was observed before the inputs were listed. */
void publish_flow_start(struct publish_flow *f, const char *id, const struct publish_control *observed,
                        size_t rows, size_t limit);

/* Returns what to do next. */
struct publish_step publish_flow_next(const struct publish_flow *f);

/* The step was done. */
void publish_flow_done(struct publish_flow *f);

/* The step was refused by its condition, or nobody knows whether it was done: a look will tell. */
void publish_flow_unsure(struct publish_flow *f);

/* The control row as it is after publish_flow_unsure. */
void publish_flow_look(struct publish_flow *f, const struct publish_control *now);

#endif
