/* SPDX-License-Identifier: MIT */
#include "pipeline/row_stream.h"

#include "base/scope.h"

#include <string.h>

enum { NAME_TEXT_MAX = 64 * 1024 };

void row_block_clear(struct row_block *b) {
  csv_block_clear(&b->text);
}

uint64_t row_block_line(const struct row_block *b, uint64_t nth, uint64_t text_line) {
  const bool is_given = b->lines && nth < b->rows;
  return b->text.first_line + (is_given ? b->lines[nth] : text_line);
}

bool row_stream_has_header(const struct row_stream *s) {
  return s->is_cached || s->csv.has_header;
}

const struct csv_binding *row_stream_binding(const struct row_stream *s) {
  return s->is_cached ? &s->cached.bindings[CACHED_VERBATIM] : &s->csv.binding;
}

/* ---- opening ---- */

/* Names what the cache may hold of an object: whatever changes its rows, or their days, has another name. */
static bool name_entry(struct row_stream *s) {
  auto_buf struct buf what;
  buf_init(&what, NAME_TEXT_MAX);
  buf_printf(&what, "kpid %s\n%s\n%016llx\n%s\n%s\n%llu\n%s\n", KPID_VERSION, s->schema->name,
             (unsigned long long)tz_checksum(s->job->zone), s->job->source->url ? s->job->source->url : "",
             s->object->name, (unsigned long long)s->object->size, s->object->version);
  s->name = object_cache_name_of(buf_view(&what));
  return !buf_failed(&what);
}

/* Opens what the cache has. False when there is nothing that can be used. */
static bool open_cached(struct row_stream *s) {
  int fd = object_cache_find(s->caching->cache, &s->name);
  if (fd < 0)
    return false;
  s->is_cached = cached_object_open(&s->cached, fd, s->name.text, s->schema);
  if (!s->is_cached)
    object_cache_remove(s->caching->cache, &s->name);
  return s->is_cached;
}

/* Starts writing to the cache; without that the object is just read. */
static void start_writing(struct row_stream *s) {
  s->writer_fd = object_cache_start(s->caching->cache, &s->name);
  if (s->writer_fd < 0)
    return;
  s->writer = cache_writer_new(s->writer_fd, s->caching->asks_where);
  if (s->writer)
    return;
  close(s->writer_fd);
  object_cache_end(s->caching->cache, &s->name, 0);
}

enum kpi_code row_stream_open(struct row_stream *s, const struct job *job, enum dataset d,
                              const struct source_object *object, const struct row_caching *caching,
                              const struct source_use *use, struct err *err) {
  *s = (struct row_stream){.job = job, .object = object, .schema = schema_of(d), .caching = caching};
  const bool has_cache = caching->cache && name_entry(s);
  if (has_cache && open_cached(s))
    return KPI_OK;
  if (has_cache)
    start_writing(s);
  return csv_stream_open(&s->csv, job->source, object, s->schema, use, err);
}

/* Ends the entry that is written, with the rows that were kept. */
static void end_writing(struct row_stream *s, bool is_whole) {
  uint64_t bytes = 0;
  if (!is_whole || !s->csv.has_header ||
      !cache_writer_finish(s->writer, s->name.text, s->schema, &s->csv.binding, &bytes))
    bytes = 0;
  cache_writer_free(s->writer);
  close(s->writer_fd);
  object_cache_end(s->caching->cache, &s->name, bytes);
}

void row_stream_close(struct row_stream *s, bool is_whole) {
  if (s->writer)
    end_writing(s, is_whole);
  csv_stream_close(&s->csv);
  cached_object_close(&s->cached);
  free(s->walk.wanted);
  *s = (struct row_stream){0};
}

/* ---- blocks ---- */

/* The entry has to go, and what was read of it as well: the caller has to read everything again. */
static enum kpi_code damaged(struct row_stream *s, struct err *err) {
  object_cache_remove(s->caching->cache, &s->name);
  s->is_damaged = true;
  return err_set(err, KPI_SOURCE_UNREADABLE, "%s: what the cache holds of it is damaged", s->object->name);
}

static enum kpi_code no_memory(const struct row_stream *s, struct err *err) {
  return err_set(err, KPI_OUT_OF_MEMORY, "no memory to read %s", s->object->name);
}

/* Goes on to the next chunk, and finds out which of its blocks are wanted. */
static enum kpi_code enter_chunk(struct row_stream *s, void *worker, struct row_block *block,
                                 struct err *err) {
  const struct row_caching *caching = s->caching;
  const struct cached_chunk *c = &s->cached.chunks[s->walk.chunk++];
  struct cached_orders orders;
  s->walk.first += s->walk.count;
  s->walk.count = c->blocks;
  s->walk.at = 0;
  free(s->walk.wanted);
  s->walk.wanted = malloc(c->blocks);
  if (!s->walk.wanted)
    return no_memory(s, err);
  bool are_all = true;
  for (uint64_t i = 0; i < c->blocks; i++) {
    const struct cached_block *b = &s->cached.blocks[s->walk.first + i];
    s->walk.wanted[i] =
        b->is_verbatim || !caching->look || day_set_meets(&s->job->days, b->first_day, b->last_day);
    are_all &= s->walk.wanted[i];
  }
  if (are_all)
    return KPI_OK;
  if (!cached_object_orders(&s->cached, c, &block->text, &orders))
    return damaged(s, err);
  return caching->look(worker, (uint16_t)c->forms, &orders, s->walk.wanted) ? KPI_OK : no_memory(s, err);
}

/* Finds the next block that is wanted; *out is NULL at the end. */
static enum kpi_code find_wanted(struct row_stream *s, void *worker, struct row_block *block,
                                 const struct cached_block **out, struct err *err) {
  enum kpi_code rc = KPI_OK;
  *out = NULL;
  for (;;) {
    while (s->walk.at < s->walk.count) {
      const struct cached_block *b = &s->cached.blocks[s->walk.first + s->walk.at];
      if (s->walk.wanted[s->walk.at++]) {
        *out = b;
        return KPI_OK;
      }
      block->skipped_rows += b->rows;
    }
    if (s->walk.chunk == s->cached.chunk_count || (rc = enter_chunk(s, worker, block, err)) != KPI_OK)
      return rc;
  }
}

static enum kpi_code next_cached(struct row_stream *s, void *worker, struct row_block *block,
                                 struct err *err) {
  const struct cached_block *b;
  block->text.rows = (struct view){0};
  enum kpi_code rc = find_wanted(s, worker, block, &b, err);
  if (rc)
    return rc;
  if (!b) {
    s->is_over = true;
    atomic_fetch_add(&s->job->progress->bytes_read, s->object->size);
    return KPI_OK;
  }
  block->rows = b->rows;
  block->binding = &s->cached.bindings[b->is_verbatim ? CACHED_VERBATIM : CACHED_COLUMNS_NEEDED];
  return cached_object_rows(&s->cached, b, &block->text, &block->lines) ? KPI_OK : damaged(s, err);
}

uint64_t row_stream_pieces(const struct row_stream *s) {
  return s->is_cached ? 0 : csv_stream_pieces(&s->csv);
}

enum kpi_code row_stream_fetch(const struct row_stream *s, uint64_t piece, struct row_block *block,
                               struct err *err) {
  return csv_stream_fetch(&s->csv, piece, &block->text, err);
}

void row_stream_release(const struct row_stream *s, struct row_block *block) {
  csv_stream_release(&s->csv, &block->text);
}

enum kpi_code row_stream_next(struct row_stream *s, void *worker, struct row_block *block, struct err *err) {
  block->skipped_rows = 0;
  if (s->is_cached)
    return next_cached(s, worker, block, err);
  enum kpi_code rc = csv_stream_next(&s->csv, &block->text, err);
  s->is_over = s->csv.at_end;
  block->lines = NULL;
  block->binding = &s->csv.binding;
  return rc;
}

/* ---- keeping ---- */

void row_stream_note(const struct row_stream *s, const struct csv_row *row, uint64_t line,
                     struct cached_rows *rows) {
  struct cached_facts facts;
  if (!s->writer)
    return;
  if (!view_eq(row->raw, s->csv.binding.header) && s->caching->facts(s->job, row, &facts))
    cached_rows_add(rows, row, &s->csv.binding, line, &facts);
  else
    cached_rows_add_verbatim(rows, row, line);
}

void row_stream_keep(struct row_stream *s, struct cached_rows *rows) {
  if (s->writer)
    cache_writer_add(s->writer, rows);
}
