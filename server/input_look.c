/* SPDX-License-Identifier: MIT */
#include "server/input_look.h"

#include "base/scope.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct input_look {
  struct source *source;
  input_look_fn told;
  void *arg;
  struct stop_flag stop;
  pthread_t thread;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    uint64_t wanted, done; /* the newest ticket, and the newest that a listing has answered */
    struct input_seen seen;
    bool ending;
  } synced;
};

/* Waits for a question. *ticket: the newest that the listing which now begins answers. False at the end. */
static bool next_question(struct input_look *l, uint64_t *ticket) {
  SCOPE_LOCK(&l->synced.lock);
  while (!l->synced.ending && l->synced.wanted == l->synced.done)
    pthread_cond_wait(&l->synced.asked, &l->synced.lock);
  *ticket = l->synced.wanted;
  return !l->synced.ending;
}

static void look(struct input_look *l, struct input_seen *out) {
  const struct source_use use = {.stop = &l->stop};
  struct source_listing listing;
  *out = (struct input_seen){.rc = KPI_OK};
  out->rc = source_list(l->source, &use, &listing, &out->err);
  if (out->rc == KPI_OK) {
    memcpy(out->fingerprint, listing.fingerprint, sizeof out->fingerprint);
    out->objects = listing.objects;
    out->bytes = listing.bytes;
  }
  source_listing_clear(&listing);
}

static void *answer_questions(void *arg) {
  struct input_look *l = arg;
  uint64_t ticket;
  while (next_question(l, &ticket)) {
    struct input_seen seen;
    look(l, &seen);
    pthread_mutex_lock(&l->synced.lock);
    l->synced.seen = seen;
    l->synced.done = ticket;
    pthread_mutex_unlock(&l->synced.lock);
    l->told(l->arg, INPUT_LOOK_TOPIC);
  }
  return NULL;
}

struct input_look *input_look_new(struct source *source, input_look_fn told, void *arg) {
  struct input_look *l = calloc(1, sizeof *l);
  if (!l)
    return NULL;
  l->source = source;
  l->told = told;
  l->arg = arg;
  pthread_mutex_init(&l->synced.lock, NULL);
  pthread_cond_init(&l->synced.asked, NULL);
  if (pthread_create(&l->thread, NULL, answer_questions, l) == 0)
    return l;
  pthread_cond_destroy(&l->synced.asked);
  pthread_mutex_destroy(&l->synced.lock);
  free(l);
  return NULL;
}

void input_look_free(struct input_look *l) {
  if (!l)
    return;
  stop_raise(&l->stop, STOP_DRAIN);
  pthread_mutex_lock(&l->synced.lock);
  l->synced.ending = true;
  pthread_cond_broadcast(&l->synced.asked);
  pthread_mutex_unlock(&l->synced.lock);
  pthread_join(l->thread, NULL);
  pthread_cond_destroy(&l->synced.asked);
  pthread_mutex_destroy(&l->synced.lock);
  free(l);
}

uint64_t input_look_ask(struct input_look *l) {
  SCOPE_LOCK(&l->synced.lock);
  pthread_cond_broadcast(&l->synced.asked);
  return ++l->synced.wanted;
}

bool input_look_answer(struct input_look *l, uint64_t ticket, struct input_seen *out) {
  SCOPE_LOCK(&l->synced.lock);
  bool is_there = l->synced.done >= ticket;
  if (is_there)
    *out = l->synced.seen;
  return is_there;
}
