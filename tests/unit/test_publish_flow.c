/* SPDX-License-Identifier: MIT
 * Searches the whole state space of two servers that publish one date with publish_flow while the inputs
 * change, requests and replies get lost or late, and servers die. Then weakens the rules of the store or of
 * the servers, one at a time, to prove that the search finds what goes wrong. */
#include "pipeline/publish_flow.h"

#include "unit.h"

enum {
  SERVERS = 2,
  ROUNDS_MAX = 2, /* of one server */
  CATEGORIES = 3,
  INPUTS = 3,     /* versions of the inputs: 1.. */
  LIMIT = 4,      /* actions of a transaction */
  LATE_MAX = 2,   /* requests that the network holds back */
  FAULTS_MAX = 2, /* lost or late requests and replies, and deaths, together */
  HASH_BITS = 23,
  STATES_MAX = 1 << 22
};

enum weakness {
  NOT_WEAKENED,
  OBSERVED_LATE,         /* the control row is read after the inputs were listed */
  CHUNKS_UNCHECKED,      /* chunks without the check that pending is ours */
  NO_FENCE,              /* ALL and BEGIN without their condition */
  FAST_IGNORES_PENDING,  /* ALL looks at the version only */
  STALE_IGNORES_PENDING, /* rows of a publication under way are not deleted */
  WEAKNESSES
};

/* The categories of each version of the inputs, as a mask. */
static const unsigned char content[INPUTS + 1] = {0, 1, 7, 1};

/* What is sent: everything a store needs to do it. */
struct request {
  struct publish_step step;
  char id[8];
  unsigned char version, input; /* of the publication; what it was computed from */
  unsigned char observed_version, touched, stale;
  char observed_pending[8];
};

struct control {
  unsigned char version, pending, input; /* input: of what is published */
  char published_id[8], pending_id[8];
  unsigned char categories, pending_categories;
};

enum doing { IDLE, OBSERVING, LISTING, FLOWING, LOOKING, OVER };

struct server {
  unsigned char doing, rounds, input;
  struct control observed;
  struct publish_flow flow;
  struct request next;
};

struct world {
  struct control control;
  unsigned char
      rows[1 + CATEGORIES]; /* input version of each row, 0: absent, 9: of the old job; first the order row */
  unsigned char input, newest, ids, faults, late_count;
  struct request late[LATE_MAX];
  struct server servers[SERVERS];
};

/* ---- the search ---- */

static struct {
  enum weakness weakness;
  uint64_t *seen;
  size_t seen_count, states, violations;
  struct world *stack;
  size_t depth, cap;
} search;

static uint64_t hash_of(const struct world *w) {
  uint64_t h = 0xcbf29ce484222325u;
  const unsigned char *bytes = (const unsigned char *)w;
  for (size_t i = 0; i < sizeof *w; i++)
    h = (h ^ bytes[i]) * 0x100000001b3u;
  return h | 1;
}

static bool is_new(const struct world *w) {
  uint64_t h = hash_of(w);
  size_t mask = ((size_t)1 << HASH_BITS) - 1, at = (h >> 8) & mask;
  for (; search.seen[at]; at = (at + 1) & mask)
    if (search.seen[at] == h)
      return false;
  search.seen[at] = h;
  assert_true(++search.seen_count < STATES_MAX);
  return true;
}

static void push(const struct world *w) {
  if (!is_new(w))
    return;
  if (search.depth == search.cap) {
    search.cap = search.cap ? search.cap * 2 : 1024;
    search.stack = realloc(search.stack, search.cap * sizeof *search.stack);
    assert_non_null(search.stack);
  }
  search.stack[search.depth++] = *w;
}

/* ---- the store ---- */

static bool fence_holds(const struct control *c, const struct request *r, bool all) {
  if (search.weakness == NO_FENCE)
    return true;
  bool same_version = c->version == r->observed_version;
  if (all && search.weakness == FAST_IGNORES_PENDING)
    return same_version;
  return same_version && strcmp(c->pending_id, r->observed_pending) == 0;
}

static bool is_allowed(const struct world *w, const struct request *r) {
  bool mine = strcmp(w->control.pending_id, r->id) == 0;
  if (r->step.act == PUBLISH_ALL || r->step.act == PUBLISH_BEGIN)
    return fence_holds(&w->control, r, r->step.act == PUBLISH_ALL);
  return mine || (r->step.act == PUBLISH_CHUNK && search.weakness == CHUNKS_UNCHECKED);
}

/* Row number n of a publication: the order row, then what is there, then what is stale. */
static void write_row(struct world *w, const struct request *r, size_t n) {
  if (n == 0) {
    w->rows[0] = r->input;
    return;
  }
  for (int pass = 0; pass < 2; pass++)
    for (int k = 0; k < CATEGORIES; k++) {
      unsigned char mask = pass == 0 ? content[r->input] : r->stale;
      if ((mask >> k & 1) && --n == 0)
        w->rows[1 + k] = pass == 0 ? r->input : 0;
      if (n == 0)
        return;
    }
}

static void publish_version(struct world *w, const struct request *r) {
  w->control = (struct control){.version = r->version, .input = r->input, .categories = content[r->input]};
  strcpy(w->control.published_id, r->id);
}

/* Does a request as the store would: wholly or not at all. */
static bool apply(struct world *w, const struct request *r) {
  if (!is_allowed(w, r))
    return false;
  for (size_t i = 0; i < r->step.count; i++)
    write_row(w, r, r->step.first + i);
  if (r->step.act == PUBLISH_BEGIN) {
    w->control.pending = r->version;
    w->control.pending_categories = r->touched;
    strcpy(w->control.pending_id, r->id);
  } else if (r->step.act != PUBLISH_CHUNK) {
    publish_version(w, r);
  }
  return true;
}

/* What readers must never see: rows that are not those of one version of the inputs, or an older one than
 * before. */
static bool is_right(struct world *w) {
  if (w->control.pending || !w->control.version)
    return true;
  if (w->control.input < w->newest)
    return false;
  w->newest = w->control.input;
  for (int k = 0; k < CATEGORIES; k++)
    if (w->rows[1 + k] != ((content[w->control.input] >> k & 1) ? w->control.input : 0))
      return false;
  return w->rows[0] == w->control.input;
}

/* Goes on from a state unless it is wrong already. */
static void reach(struct world *w) {
  if (is_right(w))
    push(w);
  else
    search.violations++;
}

/* ---- the servers ---- */

static struct publish_control seen_control(const struct control *c) {
  struct publish_control out = {.version = c->version, .pending = c->pending};
  strcpy(out.published_id, c->published_id);
  strcpy(out.pending_id, c->pending_id);
  return out;
}

static size_t count_bits(unsigned char mask) {
  return (size_t)__builtin_popcount(mask);
}

static void start_flow(struct world *w, struct server *s) {
  struct publish_control observed = seen_control(&s->observed);
  unsigned char mine = content[s->input], theirs = s->observed.pending_categories;
  unsigned char old = s->observed.version ? s->observed.categories : (1 << CATEGORIES) - 1;
  unsigned char stale =
      (unsigned char)((search.weakness == STALE_IGNORES_PENDING ? old : old | theirs) & ~mine);
  char id[8];
  snprintf(id, sizeof id, "p%u", ++w->ids);
  publish_flow_start(&s->flow, id, &observed, 1 + count_bits(mine) + count_bits(stale), LIMIT);
  s->next = (struct request){.input = s->input,
                             .version = (unsigned char)s->flow.version,
                             .observed_version = s->observed.version,
                             .touched = mine | theirs,
                             .stale = stale};
  strcpy(s->next.id, id);
  strcpy(s->next.observed_pending, s->observed.pending_id);
  s->doing = FLOWING;
}

/* A round is over: another, if it was superseded and may. */
static void end_round(struct server *s, bool again) {
  unsigned char rounds = s->rounds;
  memset(s, 0, sizeof *s);
  s->rounds = rounds;
  s->doing = again && rounds < ROUNDS_MAX ? IDLE : OVER;
}

static void after_answer(struct server *s) {
  struct publish_step step = publish_flow_next(&s->flow);
  if (step.act == PUBLISH_DONE || step.act == PUBLISH_SUPERSEDED)
    end_round(s, step.act == PUBLISH_SUPERSEDED);
  else
    s->doing = step.act == PUBLISH_LOOK ? LOOKING : FLOWING;
}

static void unsure(struct server *s) {
  publish_flow_unsure(&s->flow);
  after_answer(s);
}

/* Sends the next step: done and answered; done, the answer lost; late; lost. */
static void send_step(const struct world *from, int i) {
  struct world w = *from;
  struct server *s = &w.servers[i];
  s->next.step = publish_flow_next(&s->flow);
  if (apply(&w, &s->next))
    publish_flow_done(&s->flow);
  else
    publish_flow_unsure(&s->flow);
  after_answer(s);
  reach(&w);
  if (from->faults == FAULTS_MAX)
    return;
  for (int fault = 0; fault < 3; fault++) {
    w = *from;
    s = &w.servers[i];
    s->next.step = publish_flow_next(&s->flow);
    w.faults++;
    if (fault == 0)
      apply(&w, &s->next);
    else if (fault == 1 && w.late_count < LATE_MAX)
      w.late[w.late_count++] = s->next;
    unsure(s);
    reach(&w);
  }
}

static void step_server(const struct world *from, int i) {
  struct world w = *from;
  struct server *s = &w.servers[i];
  bool late = search.weakness == OBSERVED_LATE;
  switch ((enum doing)s->doing) {
  case IDLE:
    s->rounds++;
    s->doing = late ? LISTING : OBSERVING;
    break;
  case OBSERVING:
    s->observed = w.control;
    if (late)
      start_flow(&w, s);
    else
      s->doing = LISTING;
    break;
  case LISTING:
    s->input = w.input;
    if (late)
      s->doing = OBSERVING;
    else
      start_flow(&w, s);
    break;
  case FLOWING:
    send_step(from, i);
    return;
  case LOOKING: {
    struct publish_control now = seen_control(&w.control);
    publish_flow_look(&s->flow, &now);
    after_answer(s);
    break;
  }
  case OVER:
    return;
  }
  reach(&w);
}

/* A server dies and starts its run again. */
static void kill_server(const struct world *from, int i) {
  struct world w = *from;
  if (w.faults == FAULTS_MAX || w.servers[i].doing == IDLE || w.servers[i].doing == OVER)
    return;
  w.faults++;
  end_round(&w.servers[i], true);
  reach(&w);
}

static void deliver_late(const struct world *from, int i) {
  struct world w = *from;
  struct request r = w.late[i];
  w.late[i] = w.late[--w.late_count];
  memset(&w.late[w.late_count], 0, sizeof r);
  apply(&w, &r);
  reach(&w);
}

static void expand(const struct world *from) {
  for (int i = 0; i < SERVERS; i++) {
    step_server(from, i);
    kill_server(from, i);
  }
  for (int i = 0; i < from->late_count; i++)
    deliver_late(from, i);
  if (from->input < INPUTS) {
    struct world w = *from;
    w.input++;
    reach(&w);
  }
}

/* A date that the old job has written, and one that was published from the first version of the inputs. */
static void push_starts(void) {
  struct world w;
  memset(&w, 0, sizeof w);
  w.input = 1;
  w.rows[1 + 2] = 9;
  push(&w);
  w.newest = 1;
  w.rows[0] = w.rows[1] = 1;
  w.rows[1 + 2] = 0;
  w.control = (struct control){.version = 1, .input = 1, .categories = content[1], .published_id = "p0"};
  push(&w);
}

/* Searches everything that can happen. Stops at the first violation when the rules are weakened. */
static void run_search(enum weakness weakness) {
  memset(&search, 0, sizeof search);
  search.weakness = weakness;
  search.seen = calloc((size_t)1 << HASH_BITS, sizeof *search.seen);
  assert_non_null(search.seen);
  push_starts();
  while (search.depth && (weakness == NOT_WEAKENED || !search.violations)) {
    struct world w = search.stack[--search.depth];
    search.states++;
    expand(&w);
  }
  free(search.stack);
  free(search.seen);
}

/* ---- tests ---- */

static void no_reader_sees_a_mixed_or_older_date(void **state) {
  (void)state;
  run_search(NOT_WEAKENED);
  print_message("publish checker: %zu states, %zu violations\n", search.states, search.violations);
  assert_true(search.states > 100000);
  assert_int_equal(search.violations, 0);
}

static void every_weakening_is_caught(void **state) {
  (void)state;
  static const char *const names[WEAKNESSES] = {
      "",         "observed after listing",    "chunks unchecked",
      "no fence", "fast path ignores pending", "stale rows of a pending publication ignored"};
  int caught = 0;
  for (int w = OBSERVED_LATE; w < WEAKNESSES; w++) {
    run_search((enum weakness)w);
    print_message("control %d, %s: %s after %zu states\n", w, names[w],
                  search.violations ? "caught" : "MISSED", search.states);
    caught += search.violations > 0;
  }
  print_message("%d of %d controls caught\n", caught, WEAKNESSES - 1);
  assert_int_equal(caught, WEAKNESSES - 1);
}

static void a_short_publication_is_one_transaction(void **state) {
  (void)state;
  struct publish_control nothing = {0};
  struct publish_flow f;
  publish_flow_start(&f, "me", &nothing, 99, 100);
  struct publish_step step = publish_flow_next(&f);
  assert_int_equal(step.act, PUBLISH_ALL);
  assert_int_equal(step.count, 99);
  publish_flow_done(&f);
  assert_int_equal(publish_flow_next(&f).act, PUBLISH_DONE);
}

static void a_long_publication_goes_in_chunks(void **state) {
  (void)state;
  struct publish_control nothing = {0};
  struct publish_flow f;
  size_t rows = 0;
  publish_flow_start(&f, "me", &nothing, 250, 100);
  assert_int_equal(publish_flow_next(&f).act, PUBLISH_BEGIN);
  publish_flow_done(&f);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(publish_flow_next(&f).act, PUBLISH_CHUNK);
    assert_int_equal(publish_flow_next(&f).first, rows);
    rows += publish_flow_next(&f).count;
    publish_flow_done(&f);
  }
  assert_int_equal(publish_flow_next(&f).act, PUBLISH_COMMIT);
  assert_int_equal(rows + publish_flow_next(&f).count, 250);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_short_publication_is_one_transaction),
                                     cmocka_unit_test(a_long_publication_goes_in_chunks),
                                     cmocka_unit_test(no_reader_sees_a_mixed_or_older_date),
                                     cmocka_unit_test(every_weakening_is_caught)};
  return cmocka_run_group_tests_name("publish_flow", tests, NULL, NULL);
}
