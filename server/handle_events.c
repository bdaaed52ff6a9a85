/* SPDX-License-Identifier: MIT */
#include "server/handle_events.h"

#include "base/clock.h"
#include "base/scope.h"
#include "server/run_json.h"
#include "server/service.h"
#include "server/sse.h"
#include "server/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
  RECONNECT_MS = 2000,
  HEARTBEAT_MS = 15 * 1000,
  PROGRESS_MS = 500, /* at most two a second */
  EVENTS_A_TURN = 32,
  SNAPSHOT_RUNS_MAX = 200, /* the newest active runs; GET /runs has all */
  FRAME_BYTES_MAX = HTTP_STREAM_PIECE_BYTES_MAX / 2,
  ENOUGH_BYTES = FRAME_BYTES_MAX / 2, /* of a snapshot in one turn */
  HASH_FACTOR = 31
};

/* ---- one event ---- */

static void event_name(enum run_state state, char name[32]) {
  snprintf(name, 32, "run.%s", run_state_name(state));
}

static void event_json(struct json_out *j, const struct event *e) {
  char date[DAY_TEXT_SIZE], name[32];
  event_name(e->state, name);
  jout_object(j, NULL);
  jout_uint(j, "seq", e->seq);
  jout_time(j, "at", e->at);
  jout_string(j, "type", name);
  jout_string(j, "run_id", e->run_id);
  jout_string(j, "date", day_text(e->date, date));
  jout_string(j, "state", run_state_name(e->state));
  jout_uint(j, "attempt", e->attempt);
  jout_object_end(j);
}

/* ---- stream ---- */

enum step { STEP_BEGIN, STEP_SNAPSHOT, STEP_LIVE };

/* What a stream keeps between its turns. */
struct event_stream {
  struct watch *watch;
  char run_id[UUID_TEXT_SIZE]; /* empty: all runs */
  enum step step;
  uint64_t position; /* seq of the last event that the client has, or does not want */
  bool may_have_more;
  char (*active)[UUID_TEXT_SIZE]; /* of a snapshot of all that is under way: its runs; owned */
  size_t active_count, active_written;
  int64_t written_at;    /* monotonic, as progress_at */
  int64_t progress_at;   /* when progress may be told again; 0: nothing is at work */
  uint64_t progress_sum; /* of the counters that were told last */
};

static struct view run_of(const struct event_stream *e) {
  return view_of(e->run_id);
}

/* Writes one event whose data is made by the caller in `data`. */
static void add_frame(struct buf *to, const char *name, uint64_t id, const struct buf *data) {
  if (buf_failed(data))
    to->failed = true;
  else
    sse_event(to, name, id, buf_view(data));
}

/* Appends the run as GET /runs/{id} gives it. Errors: as service_get_run. */
static enum kpi_code add_run(struct request *rq, const char *id, struct json_out *j, struct err *err) {
  struct run run;
  enum kpi_code rc = service_get_run(rq->app, view_of(id), &run, err);
  if (rc == KPI_OK)
    run_json(j, NULL, &run, NULL);
  run_clear(&run);
  return rc;
}

static bool add_run_snapshot(struct request *rq, const struct event_stream *e, struct buf *to) {
  struct err err;
  auto_buf struct buf data;
  buf_init(&data, FRAME_BYTES_MAX);
  struct json_out j = {.to = &data};
  if (add_run(rq, e->run_id, &j, &err))
    return false;
  add_frame(to, "snapshot", e->position, &data);
  return true;
}

static bool begin_list_snapshot(struct event_stream *e, struct buf *to) {
  struct err err;
  e->active = calloc(SNAPSHOT_RUNS_MAX + 1, sizeof *e->active);
  if (!e->active || watch_active(e->watch, SNAPSHOT_RUNS_MAX + 1, e->active, &e->active_count, &err))
    return false;
  sse_begin(to, "snapshot", e->position);
  sse_data(to, VIEW_LIT("{\"runs\":["));
  e->step = STEP_SNAPSHOT;
  return true;
}

static void end_list_snapshot(struct event_stream *e, struct buf *to) {
  sse_data(to, e->active_count > SNAPSHOT_RUNS_MAX ? VIEW_LIT("],\"more\":true}")
                                                   : VIEW_LIT("],\"more\":false}"));
  sse_end(to);
  free(TAKE(e->active));
  e->step = STEP_LIVE;
}

/* Writes some more active runs into the open snapshot, a line each, so that little is held at a time. */
static bool add_list_snapshot(struct request *rq, struct event_stream *e, struct buf *to) {
  struct err err;
  auto_buf struct buf data;
  buf_init(&data, FRAME_BYTES_MAX);
  size_t count = e->active_count < SNAPSHOT_RUNS_MAX ? e->active_count : SNAPSHOT_RUNS_MAX;
  while (e->active_written < count && to->len < ENOUGH_BYTES) {
    struct json_out j = {.to = &data, .comma = e->active_written > 0};
    buf_reset(&data);
    if (add_run(rq, e->active[e->active_written++], &j, &err) || buf_failed(&data))
      return false;
    sse_data(to, buf_view(&data));
  }
  if (e->active_written == count)
    end_list_snapshot(e, to);
  return true;
}

/* The snapshot is taken after the position was: what happens between is told once more as an event. */
static bool add_snapshot(struct request *rq, struct event_stream *e, struct buf *to) {
  bool begins = e->step == STEP_BEGIN;
  e->may_have_more = true;
  if (begins)
    sse_retry(to, RECONNECT_MS);
  if (!e->run_id[0])
    return (!begins || begin_list_snapshot(e, to)) && add_list_snapshot(rq, e, to);
  e->step = STEP_LIVE;
  return add_run_snapshot(rq, e, to);
}

/* Writes the events since the position. False: the stream ends, with the end of its run or for a failure. */
static bool add_events(struct event_stream *e, struct buf *to) {
  struct event events[EVENTS_A_TURN];
  struct err err;
  size_t count;
  char name[32];
  auto_buf struct buf data;
  buf_init(&data, FRAME_BYTES_MAX);
  if (watch_events(e->watch, run_of(e), e->position, EVENTS_A_TURN, events, &count, &err))
    return false;
  for (size_t i = 0; i < count; i++) {
    struct json_out j = {.to = &data};
    buf_reset(&data);
    event_json(&j, &events[i]);
    event_name(events[i].state, name);
    add_frame(to, name, events[i].seq, &data);
    e->position = events[i].seq;
  }
  e->may_have_more = count == EVENTS_A_TURN;
  return !e->run_id[0] || count == 0 || !run_state_is_terminal(events[count - 1].state);
}

static uint64_t sum_of(const struct run *run) {
  const struct run_progress *p = &run->progress;
  const uint64_t counters[] = {(uint64_t)run->phase, p->bytes_read,    p->bytes_total, p->rows_orders,
                               p->rows_order_items,  p->rows_products, p->files_done,  p->files_total,
                               p->items_published,   p->items_total};
  uint64_t sum = (uint64_t)run->started_at;
  for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
    sum = sum * HASH_FACTOR + counters[i];
  return sum;
}

static void add_progress_of(const struct run *run, struct buf *to) {
  char date[DAY_TEXT_SIZE];
  auto_buf struct buf data;
  buf_init(&data, FRAME_BYTES_MAX);
  struct json_out j = {.to = &data};
  jout_object(&j, NULL);
  jout_time(&j, "at", clock_wall_ms());
  jout_string(&j, "type", "run.progress");
  jout_string(&j, "run_id", run->id);
  jout_string(&j, "date", day_text(run->date, date));
  jout_uint(&j, "attempt", run->attempt);
  jout_string(&j, "phase", run_phase_name(run->phase));
  run_json_progress(&j, run);
  jout_object_end(&j);
  add_frame(to, "run.progress", SSE_NO_ID, &data);
}

/* Tells the counters of what is at work, if they have moved. From memory: nothing is read from the disk. */
static void add_progress(struct event_stream *e, int64_t now, struct buf *to) {
  struct run runs[LIVE_RUNS_SHOWN_MAX];
  uint64_t sum = 0;
  if (now < e->progress_at)
    return;
  size_t count = watch_live(e->watch, run_of(e), runs);
  for (size_t i = 0; i < count; i++)
    sum = sum * HASH_FACTOR + sum_of(&runs[i]);
  for (size_t i = 0; i < count && sum != e->progress_sum; i++)
    add_progress_of(&runs[i], to);
  e->progress_sum = sum;
  e->progress_at = count ? now + PROGRESS_MS : 0;
}

static void wait_for_news(const struct event_stream *e, struct stream_turn *turn) {
  int64_t until = e->written_at + HEARTBEAT_MS;
  if (e->progress_at && e->progress_at < until)
    until = e->progress_at;
  turn->wait_until_ms = until;
  snprintf(turn->topic, sizeof turn->topic, "%s", e->run_id[0] ? e->run_id : EVENTS_TOPIC);
}

static void say_goodbye(struct buf *to) {
  auto_buf struct buf data;
  buf_init(&data, FRAME_BYTES_MAX);
  struct json_out j = {.to = &data};
  jout_object(&j, NULL);
  jout_time(&j, "at", clock_wall_ms());
  jout_string(&j, "type", "server.draining");
  jout_object_end(&j);
  add_frame(to, "server.draining", SSE_NO_ID, &data);
}

/* A snapshot that was begun is finished before anything else, also when the service drains. */
static bool next_piece(struct request *rq, struct stream_turn *turn) {
  struct event_stream *e = rq->keep;
  int64_t now = clock_mono_ms();
  bool goes_on = true;
  if (e->step != STEP_LIVE)
    return add_snapshot(rq, e, turn->to);
  if (turn->was_noticed || e->may_have_more)
    goes_on = add_events(e, turn->to);
  if (goes_on && turn->is_draining) {
    say_goodbye(turn->to);
    return false;
  }
  if (goes_on && !e->may_have_more)
    add_progress(e, now, turn->to);
  if (turn->to->len == 0 && now >= e->written_at + HEARTBEAT_MS)
    sse_comment(turn->to, "heartbeat");
  if (turn->to->len)
    e->written_at = now;
  wait_for_news(e, turn);
  return goes_on;
}

/* ---- requests ---- */

/* Where the client says it is: Last-Event-ID, which is newer than its address, else `after`. False when the
 * reply is a problem already. */
static bool read_position(struct request *rq, struct reply *rp, bool *given, uint64_t *position) {
  struct view text;
  struct err err;
  *given = request_arg(rq, "after", &text);
  if (request_arg_u64(rq, "after", 0, UINT64_MAX, position, &err)) {
    reply_err(rp, rq, &err);
    return false;
  }
  if (!request_header(rq, "Last-Event-ID", &text))
    return true;
  *given = true;
  if (view_to_u64(text, position))
    return true;
  reply_error(rp, rq, KPI_MALFORMED_HEADER, "Last-Event-ID must be the id of an event: a whole number.");
  return false;
}

static void event_stream_free(void *keep) {
  struct event_stream *e = keep;
  free(e->active);
  free(e);
}

static void start_stream(struct request *rq, struct reply *rp, const char *run_id, uint64_t position) {
  struct event_stream *e = calloc(1, sizeof *e);
  if (!e) {
    reply_error(rp, rq, KPI_INTERNAL_ERROR, "No memory for a stream.");
    return;
  }
  e->watch = service_watch(rq->app);
  e->position = position;
  e->written_at = clock_mono_ms();
  snprintf(e->run_id, sizeof e->run_id, "%s", run_id);
  rq->keep = e;
  rq->keep_free = event_stream_free;
  reply_header(rp, "X-Accel-Buffering", "no");
  reply_stream(rp, SSE_MEDIA_TYPE, next_piece);
}

/* Finds the newest event of a run. False when the reply is a problem already. */
static bool find_last(struct request *rq, struct reply *rp, struct event *last) {
  struct run run;
  struct err err;
  bool found;
  enum kpi_code rc = watch_last_event(service_watch(rq->app), rq->params[0], last, &found, &err);
  if (rc == KPI_OK && !found) {
    /* says why; a run has an event since it was inserted */
    rc = service_get_run(rq->app, rq->params[0], &run, &err);
    run_clear(&run);
    rc = rc ? rc : err_set(&err, KPI_INTERNAL_ERROR, "The run has no events.");
  }
  if (rc)
    reply_err(rp, rq, &err);
  return rc == KPI_OK;
}

/* Without a position a client gets what comes; of a run that has ended, its end. One from the future is of a
 * database that is gone: it counts as now. */
static void stream_run(struct request *rq, struct reply *rp, const struct event *last) {
  bool given;
  uint64_t position = 0;
  if (!read_position(rq, rp, &given, &position))
    return;
  bool has_ended = run_state_is_terminal(last->state);
  if (!given)
    position = has_ended ? last->seq - 1 : last->seq;
  if (given && has_ended && position >= last->seq)
    reply_empty(rp, 204); /* tells EventSource to stay away */
  else
    start_stream(rq, rp, last->run_id, position < last->seq ? position : last->seq);
}

static void write_page(struct request *rq, struct reply *rp, const struct event *events, size_t count,
                       bool more) {
  char next[24] = "";
  if (more) {
    snprintf(next, sizeof next, "%" PRIu64, events[count - 1].seq);
    reply_header(rp, "Link", "<%.*s?after=%s&limit=%zu>; rel=\"next\"", (int)rq->path.len, rq->path.ptr, next,
                 count);
  }
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_array(&j, "events");
  for (size_t i = 0; i < count; i++)
    event_json(&j, &events[i]);
  jout_array_end(&j);
  jout_string(&j, "next_cursor", more ? next : NULL);
  jout_object_end(&j);
  reply_json_end(&j);
}

static void page_run(struct request *rq, struct reply *rp, uint64_t limit) {
  struct event events[RUN_PAGE_MAX + 1];
  struct err err;
  size_t count;
  uint64_t after = 0;
  if (request_arg_u64(rq, "after", 0, UINT64_MAX, &after, &err) ||
      watch_events(service_watch(rq->app), rq->params[0], after, limit + 1, events, &count, &err))
    reply_err(rp, rq, &err);
  else
    write_page(rq, rp, events, count < limit ? count : limit, count > limit);
}

static void get_run_events(struct request *rq, struct reply *rp) {
  static const char *const offers[] = {SSE_MEDIA_TYPE, "application/json", NULL};
  struct event last;
  struct err err;
  uint64_t limit =
      RUN_PAGE_DEFAULT; /* of a page; a stream has none, but what is wrong is refused there too */
  int offer = request_negotiate(rq, offers);
  reply_header(rp, "Vary", "Accept");
  if (offer < 0) {
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "Events are sent as " SSE_MEDIA_TYPE " or application/json.");
  } else if (request_arg_u64(rq, "limit", 1, RUN_PAGE_MAX, &limit, &err)) {
    reply_err(rp, rq, &err);
  } else if (find_last(rq, rp, &last)) {
    if (offer == 0)
      stream_run(rq, rp, &last);
    else
      page_run(rq, rp, limit);
  }
}

static void get_events(struct request *rq, struct reply *rp) {
  static const char *const offers[] = {SSE_MEDIA_TYPE, NULL};
  struct event last = {0};
  struct err err;
  bool given, found;
  uint64_t position = 0;
  if (request_negotiate(rq, offers) < 0)
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "Events of all runs are sent as " SSE_MEDIA_TYPE ".");
  else if (watch_last_event(service_watch(rq->app), (struct view){0}, &last, &found, &err))
    reply_err(rp, rq, &err);
  else if (read_position(rq, rp, &given, &position))
    start_stream(rq, rp, "", given && position < last.seq ? position : last.seq);
}

static const char *const run_query[] = {"after", "limit", NULL};
static const char *const all_query[] = {"after", NULL};

static const struct route table[] = {
    {HTTP_GET, "/events", get_events, all_query, false},
    {HTTP_GET, "/runs/{id}/events", get_run_events, run_query, false},
};

const struct route_set events_routes = {table, sizeof table / sizeof table[0]};
