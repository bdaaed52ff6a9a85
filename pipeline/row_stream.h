/* SPDX-License-Identifier: MIT
 * The rows of one input object, in blocks: read from the source, or from the object cache when that has them,
 * into which they are written otherwise. Knows no meaning of the columns. */
#ifndef KPID_PIPELINE_ROW_STREAM_H
#define KPID_PIPELINE_ROW_STREAM_H

#include "pipeline/cache_writer.h"
#include "pipeline/cached_object.h"
#include "pipeline/job.h"
#include "pipeline/object_cache.h"

/* Sets what the cache has to know of a row. False: it must be read whenever the object is. */
typedef bool (*row_facts_fn)(const struct job *job, const struct csv_row *row, struct cached_facts *out);

/* Looks at the orders of a chunk before its blocks are read: sets wanted[b] of each with an order that
 * matters to the pass of the worker, who takes from the others what matters all the same. False when memory
 * is exhausted. */
typedef bool (*chunk_look_fn)(void *worker, uint16_t forms, const struct cached_orders *orders,
                              unsigned char *wanted);

/* How the rows of a data set are cached. */
struct row_caching {
  struct object_cache *cache; /* NULL: they are not */
  row_facts_fn facts;
  chunk_look_fn look; /* NULL: every block is read */
  bool asks_where;    /* it needs to know in which block an order is */
};

/* Some rows of an object; owns its buffers. Zero-initialise. */
struct row_block {
  struct csv_block text;
  const uint32_t *lines; /* of each of `rows`, from text.first_line on; NULL: as they stand in the text */
  uint32_t rows;         /* when lines are given */
  const struct csv_binding *binding;
  uint64_t skipped_rows; /* before them, which do not matter */
};

/* Frees the buffers. */
void row_block_clear(struct row_block *b);

struct row_stream {
  const struct job *job;
  const struct source_object *object; /* both borrowed */
  const struct schema *schema;
  const struct row_caching *caching;
  struct object_cache_name name;
  struct csv_stream csv;       /* of the source */
  struct cached_object cached; /* open instead of it, when the cache has the object */
  struct {
    uint64_t chunk;            /* that is next */
    uint64_t first, count;     /* blocks of the chunk before that */
    uint64_t at;               /* of these: the one that is next */
    unsigned char *wanted;     /* owned: a byte for each */
  } walk;                      /* through it */
  struct cache_writer *writer; /* NULL: nothing is written */
  int writer_fd;
  bool is_cached, is_damaged, is_over;
};

/* Opens an object of a data set. The stream is zero-initialised before; row_stream_close releases it. Errors:
 * those of csv_stream_open. */
KPI_MUST_CHECK enum kpi_code row_stream_open(struct row_stream *s, const struct job *job, enum dataset d,
                                             const struct source_object *object,
                                             const struct row_caching *caching, const struct source_use *use,
                                             struct err *err);

/* As csv_stream_pieces; what the cache has is not in pieces. */
uint64_t row_stream_pieces(const struct row_stream *s);

/* Fetches a piece. Any number of threads. Errors: those of csv_stream_fetch. */
KPI_MUST_CHECK enum kpi_code row_stream_fetch(const struct row_stream *s, uint64_t piece,
                                              struct row_block *block, struct err *err);

/* As csv_stream_release. */
void row_stream_release(const struct row_stream *s, struct row_block *block);

/* Makes the next block that has rows which matter to the worker; it can be empty at the end, and of a piece.
 * The stream is_over with the last one. One thread at a time. Errors: those of csv_stream_next. */
KPI_MUST_CHECK enum kpi_code row_stream_next(struct row_stream *s, void *worker, struct row_block *block,
                                             struct err *err);

/* True once a block has told what columns the object has. */
bool row_stream_has_header(const struct row_stream *s);

/* The columns of the object; valid once it has a header. */
const struct csv_binding *row_stream_binding(const struct row_stream *s);

/* Line of a row of a block, 1-based: the nth row, which starts on a line of its text. */
uint64_t row_block_line(const struct row_block *b, uint64_t nth, uint64_t text_line);

/* Notes a row that was read, for the cache; `rows` is the worker's, for this block. */
void row_stream_note(const struct row_stream *s, const struct csv_row *row, uint64_t line,
                     struct cached_rows *rows);

/* Gives what was noted of a block to the cache. Any thread. */
void row_stream_keep(struct row_stream *s, struct cached_rows *rows);

/* Ends the stream: nobody reads it, or adds rows, any more. `is_whole`: all rows were kept. */
void row_stream_close(struct row_stream *s, bool is_whole);

#endif
