/* SPDX-License-Identifier: MIT */
#include "pipeline/scan.h"

#include "base/scope.h"

#include <string.h>

/* An object that is being read. A worker that opens it, or makes a block of it, has it for itself; the lock
 * is never held while bytes are read or parsed. Of an object that has pieces each worker takes the next one
 * and fetches it whatever others do; blocks are made of them in their order. */
struct open_object {
  struct row_stream stream;
  uint32_t index;
  /* Guarded by the lock of the run. */
  uint32_t users; /* workers that have it, a piece or a block of it */
  bool busy, opened, over;
  uint64_t pieces_taken, pieces_done;
};

struct scan_run {
  const struct scan *scan;
  struct source_use use;
  struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct open_object *objects; /* the first `begun` of all objects of the data set */
    size_t begun, reading;       /* reading: begun and not over */
    size_t over;                 /* all before this one are over */
    bool failed;
    struct place failed_at;
    struct err err;
  } synced;
};

struct scan_worker {
  struct scan_run *run;
  void *state;
  struct csv_cursor cursor;
  struct plain_batch batch;
  struct row_block block;
  uint64_t nth;            /* row of the block that is next */
  struct cached_rows kept; /* of the block, for the cache */
  struct scan_report report;
  POOL_GAP;
};

static void record_error(struct scan_run *r, struct place at, const struct err *err) {
  SCOPE_LOCK(&r->synced.lock);
  if (r->synced.failed && place_cmp(at, r->synced.failed_at) >= 0)
    return;
  r->synced.failed = true;
  r->synced.failed_at = at;
  r->synced.err = *err;
}

/* ---- sharing objects out ---- */

/* True when rows of this object can still matter: nothing failed at or before it. */
static bool is_wanted(const struct scan_run *r, size_t object) {
  return !r->synced.failed || object < r->synced.failed_at.object;
}

/* What a worker is to do next: to fetch a piece, or to open the object (is_new) or read on in it, which it
 * has for itself until it gives it back. */
struct turn {
  struct open_object *object;
  bool is_new, has_piece;
  uint64_t piece;
};

static bool has_pieces(const struct open_object *o) {
  return o->opened && row_stream_pieces(&o->stream) > 0;
}

/* True when there is something to do about an object that has been begun. */
static bool is_free(const struct open_object *o) {
  if (o->over || o->busy)
    return false;
  return !has_pieces(o) || o->pieces_taken < row_stream_pieces(&o->stream);
}

/* Picks an object for a worker: a new one while fewer are open than there are workers (and the source likes
 * to have open), else the free one of the fewest users, who may have to wait for each other. */
static struct open_object *pick(struct scan_run *r) {
  size_t count = r->scan->objects->count;
  if (r->synced.begun < count &&
      r->synced.reading < pool_threads(r->scan->pool) + r->scan->job->source->open_ahead &&
      is_wanted(r, r->synced.begun)) {
    struct open_object *o = &r->synced.objects[r->synced.begun];
    o->index = (uint32_t)r->synced.begun++;
    r->synced.reading++;
    return o;
  }
  struct open_object *best = NULL;
  for (size_t i = r->synced.over; i < r->synced.begun; i++) {
    struct open_object *o = &r->synced.objects[i];
    if (is_free(o) && is_wanted(r, i) && (!best || o->users < best->users))
      best = o;
  }
  return best;
}

/* True while an object that somebody reads from may yet have blocks for others. */
static bool may_get_more(const struct scan_run *r) {
  for (size_t i = r->synced.over; i < r->synced.begun; i++)
    if (r->synced.objects[i].busy && is_wanted(r, i))
      return true;
  return false;
}

/* Finds something to do. False when nothing is left or the job stops. */
static bool take_turn(struct scan_run *r, struct turn *out) {
  SCOPE_LOCK(&r->synced.lock);
  for (;;) {
    if (stop_reason(r->scan->job->stop) != STOP_NONE)
      return false;
    struct open_object *o = pick(r);
    if (o) {
      *out = (struct turn){o, !o->opened, has_pieces(o), o->pieces_taken};
      o->opened = true;
      o->pieces_taken += out->has_piece;
      o->busy = !out->has_piece;
      o->users++;
      return true;
    }
    if (!may_get_more(r))
      return false;
    pthread_cond_wait(&r->synced.changed, &r->synced.lock);
  }
}

/* Waits until the pieces before it are blocks. */
static void wait_for_piece(struct scan_run *r, const struct turn *t) {
  SCOPE_LOCK(&r->synced.lock);
  while (t->object->pieces_done != t->piece)
    pthread_cond_wait(&r->synced.changed, &r->synced.lock);
}

/* Lets others have the object, of which the worker may have a block to parse. */
static void give_back(struct scan_run *r, const struct turn *t, bool over) {
  SCOPE_LOCK(&r->synced.lock);
  struct open_object *o = t->object;
  o->busy = false;
  o->pieces_done += t->has_piece;
  r->synced.reading -= over && !o->over;
  o->over |= over;
  while (r->synced.over < r->synced.begun && r->synced.objects[r->synced.over].over)
    r->synced.over++;
  pthread_cond_broadcast(&r->synced.changed);
}

/* Ends what a worker does about an object. True when nobody needs that any more. */
static bool leave(struct scan_run *r, struct open_object *o) {
  SCOPE_LOCK(&r->synced.lock);
  return --o->users == 0 && o->over;
}

/* True while every row of every object that is over has been parsed. */
static bool is_whole(struct scan_run *r) {
  SCOPE_LOCK(&r->synced.lock);
  return !r->synced.failed && stop_reason(r->scan->job->stop) == STOP_NONE;
}

static void close_object(struct scan_run *r, struct open_object *o) {
  row_stream_close(&o->stream, is_whole(r));
  atomic_fetch_add(&r->scan->job->progress->files_done, 1);
}

/* ---- rows ---- */

/* What the reader sees in a row before its meaning is looked at. */
static void note_row(struct scan_worker *w, const struct csv_row *row, const struct csv_binding *binding,
                     struct place place) {
  w->report.rows++;
  if (row->cell_count != binding->columns)
    finding_add(&w->report.ragged, place, row->raw);
  if (!row->is_utf8 && !view_is_utf8(row->raw))
    finding_add(&w->report.undecodable, place, row->raw);
}

/* Lets the plain rows at the cursor be handled, as far as they are read in one go. Returns how many. */
static size_t take_plain(struct scan_worker *w) {
  const struct scan *s = w->run->scan;
  plain_batch_read(&w->batch, &w->cursor, w->block.binding, &s->plain->columns, tz_is_utc(s->job->zone));
  return s->plain->take(w->state, &w->cursor, w->block.binding, &w->batch);
}

/* Reads the next row that is not plain; every row when the cache wants to see them. False at the end, or when
 * the job stops. */
static bool next_row(struct scan_worker *w, const struct row_stream *stream, struct csv_row *row) {
  const struct scan *s = w->run->scan;
  const struct csv_binding *binding = w->block.binding;
  size_t taken;
  do {
    if (stop_reason(s->job->stop) != STOP_NONE)
      return false;
    taken = s->plain && !stream->writer && csv_look(&w->cursor) ? take_plain(w) : 0;
    w->report.rows += taken;
    w->nth += taken;
  } while (taken);
  return csv_next(&w->cursor, binding, row);
}

static void parse_block(struct scan_worker *w, struct open_object *o) {
  const struct scan *s = w->run->scan;
  const struct csv_binding *binding = w->block.binding;
  struct csv_row csv = {0};
  struct err err = {0};
  struct scan_row row = {&csv, binding, s->objects->at[o->index].name, {o->index, 0}};
  csv_start(&w->cursor, w->block.text.rows);
  for (w->nth = 0; next_row(w, &o->stream, &csv); w->nth++) {
    row.place.line = row_block_line(&w->block, w->nth, csv.line);
    row_stream_note(&o->stream, &csv, row.place.line, &w->kept);
    if (view_eq(csv.raw, binding->header)) {
      finding_add(&w->report.repeated_header, row.place, csv.raw);
      continue;
    }
    note_row(w, &csv, binding, row.place);
    if (s->row_fn(w->state, &row, &err)) {
      record_error(w->run, row.place, &err);
      return;
    }
  }
  if (w->cursor.problem) {
    row.place.line = w->block.text.first_line + csv.line;
    csv_problem_err(w->cursor.problem, row.object, row.place.line, &err);
    record_error(w->run, row.place, &err);
  }
  row_stream_keep(&o->stream, &w->kept);
}

/* Opens an object. False when that fails. */
static bool open_object(struct scan_worker *w, struct open_object *o) {
  const struct scan *s = w->run->scan;
  struct err err = {0};
  if (row_stream_open(&o->stream, s->job, s->dataset, &s->objects->at[o->index], &s->caching, &w->run->use,
                      &err) == KPI_OK)
    return true;
  record_error(w->run, (struct place){o->index, o->stream.csv.next_line}, &err);
  return false;
}

/* Makes a block. False when there is none; *over: nor will there be one. */
static bool make_block(struct scan_worker *w, struct open_object *o, bool *over) {
  struct err err = {0};
  enum kpi_code rc = row_stream_next(&o->stream, w->state, &w->block, &err);
  if (rc)
    record_error(w->run, (struct place){o->index, o->stream.csv.next_line}, &err);
  w->report.is_of_cache |= o->stream.is_cached;
  w->report.is_damaged |= o->stream.is_damaged;
  w->report.rows += w->block.skipped_rows;
  *over = rc || o->stream.is_over;
  return rc == KPI_OK && w->block.text.rows.len > 0;
}

static void note_binding(struct scan_report *report, const struct row_stream *stream) {
  if (!row_stream_has_header(stream))
    return;
  report->has_header = true;
  for (int i = 0; i < COLUMNS_MAX; i++)
    report->has_column[i] |= row_stream_binding(stream)->has[i];
}

/* Makes a block of an object that the worker has for itself, and parses it while others go on. `is_open`:
 * that can be done. */
static void work_on(struct scan_worker *w, const struct turn *t, bool is_open) {
  struct open_object *o = t->object;
  const uint64_t before = w->report.rows;
  bool over = true;
  const bool got = is_open && make_block(w, o, &over);
  note_binding(&w->report, &o->stream);
  give_back(w->run, t, over);
  if (got)
    parse_block(w, o);
  atomic_fetch_add(&w->run->scan->job->progress->rows[w->run->scan->dataset], w->report.rows - before);
}

/* Fetches a piece while others fetch theirs, and waits until the worker has the object for itself: from then
 * on nobody else says that it is over. False when there is nothing to be made of the piece. */
static bool fetch(struct scan_worker *w, const struct turn *t) {
  struct open_object *o = t->object;
  struct err err = {0};
  enum kpi_code rc = row_stream_fetch(&o->stream, t->piece, &w->block, &err);
  wait_for_piece(w->run, t);
  if (rc && !o->over)
    record_error(w->run, (struct place){o->index, o->stream.csv.next_line}, &err);
  return rc == KPI_OK && !o->over;
}

static void take_part(struct scan_worker *w, const struct turn *t) {
  struct open_object *o = t->object;
  if (t->has_piece) {
    work_on(w, t, fetch(w, t));
  } else if (!t->is_new) {
    work_on(w, t, true);
  } else {
    const bool is_open = open_object(w, o);
    if (is_open && (has_pieces(o) || w->run->scan->job->source->open_ahead > 0))
      give_back(w->run, t, false); /* others can take pieces, or begin other downloads */
    else
      work_on(w, t, is_open);
  }
}

static void scan_work(void *arg) {
  struct scan_worker *w = arg;
  struct turn turn;
  while (take_turn(w->run, &turn)) {
    take_part(w, &turn);
    row_stream_release(&turn.object->stream, &w->block);
    if (leave(w->run, turn.object))
      close_object(w->run, turn.object);
  }
}

/* ---- whole scan ---- */

static void merge_reports(struct scan_report *out, const struct scan_report *from) {
  out->rows += from->rows;
  out->has_header |= from->has_header;
  out->is_of_cache |= from->is_of_cache;
  out->is_damaged |= from->is_damaged;
  for (int i = 0; i < COLUMNS_MAX; i++)
    out->has_column[i] |= from->has_column[i];
  finding_merge(&out->ragged, &from->ragged);
  finding_merge(&out->undecodable, &from->undecodable);
  finding_merge(&out->repeated_header, &from->repeated_header);
}

void scan_report_clear(struct scan_report *r) {
  finding_clear(&r->ragged);
  finding_clear(&r->undecodable);
  finding_clear(&r->repeated_header);
}

static enum kpi_code check_header(const struct scan *s, const struct scan_report *report, struct err *err) {
  if (report->has_header)
    return KPI_OK;
  const char *object = s->objects->at[0].name;
  err_set(err, KPI_CSV_HEADER_MISSING, "%s:1: no file of %s has a header line: all are empty", object,
          schema_of(s->dataset)->name);
  view_to_cstr(view_of(object), err->object, sizeof err->object);
  err->line = 1;
  return err->code;
}

static enum kpi_code run_workers(struct scan_run *r, struct scan_worker *workers, struct scan_report *out,
                                 struct err *err) {
  const struct scan *s = r->scan;
  size_t count = pool_threads(s->pool);
  for (size_t i = 0; i < count; i++) {
    workers[i].run = r;
    workers[i].state = (char *)s->workers + i * s->worker_size;
    csv_init(&workers[i].cursor);
  }
  pool_map(s->pool, &s->job->progress->tasks, scan_work, workers, sizeof *workers, count);
  for (size_t i = 0; i < count; i++) {
    merge_reports(out, &workers[i].report);
    scan_report_clear(&workers[i].report);
    csv_clear(&workers[i].cursor);
    row_block_clear(&workers[i].block);
    cached_rows_clear(&workers[i].kept);
  }
  for (size_t i = 0; i < s->objects->count; i++)
    row_stream_close(&r->synced.objects[i].stream, false);
  if (stop_reason(s->job->stop) != STOP_NONE)
    return job_stopped_err(s->job, err);
  if (r->synced.failed) {
    *err = r->synced.err;
    return err->code;
  }
  return check_header(s, out, err);
}

enum kpi_code scan_rows(const struct scan *s, struct scan_report *out, struct err *err) {
  *out = (struct scan_report){0};
  struct scan_run run = {.scan = s, .use = {s->job->stop, &s->job->progress->bytes_read}};
  auto_free struct scan_worker *workers = calloc(pool_threads(s->pool), sizeof *workers);
  auto_free struct open_object *objects = calloc(s->objects->count, sizeof *objects);
  if (!workers || !objects)
    return job_memory_err(s->job, err);
  run.synced.objects = objects;
  pthread_mutex_init(&run.synced.lock, NULL);
  pthread_cond_init(&run.synced.changed, NULL);
  enum kpi_code rc = run_workers(&run, workers, out, err);
  pthread_cond_destroy(&run.synced.changed);
  pthread_mutex_destroy(&run.synced.lock);
  return rc;
}
