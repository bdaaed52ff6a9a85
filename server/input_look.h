/* SPDX-License-Identifier: MIT
 * Looking at what the source holds now, for requests that are answered by it: one thread lists, who asks is
 * told when a listing that began later is there. Requests that ask meanwhile share the next one. Knows no
 * HTTP and no SQL. */
#ifndef KPID_SERVER_INPUT_LOOK_H
#define KPID_SERVER_INPUT_LOOK_H

#include "pipeline/source.h"

struct input_look;

/* The topic that is told when a listing has come in. */
#define INPUT_LOOK_TOPIC "input"

/* Called without locks, on the thread that lists. */
typedef void (*input_look_fn)(void *arg, const char *topic);

/* What a listing has shown; `rc` and `err` when it has failed. */
struct input_seen {
  enum kpi_code rc;
  struct err err;
  char fingerprint[SHA256_HEX_SIZE];
  uint64_t objects, bytes;
};

/* Borrows the source. Returns owned, NULL without memory or thread. */
struct input_look *input_look_new(struct source *source, input_look_fn told, void *arg);

/* Ends a listing that is under way and frees. Accepts NULL. */
void input_look_free(struct input_look *l);

/* Asks for a listing that begins from now on; returns its ticket at once. */
uint64_t input_look_ask(struct input_look *l);

/* True when a listing at least as new as the ticket is there; fills *out. */
bool input_look_answer(struct input_look *l, uint64_t ticket, struct input_seen *out);

#endif
