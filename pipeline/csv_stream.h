/* SPDX-License-Identifier: MIT
 * One input object as a sequence of blocks of whole rows with known line numbers. Memory is bounded by the
 * block size, whatever the size of the object. Several threads can read pieces of a plain object at a
 * time, which are cut into blocks in order. Knows no meaning of the columns. */
#ifndef KPID_PIPELINE_CSV_STREAM_H
#define KPID_PIPELINE_CSV_STREAM_H

#include "pipeline/csv.h"
#include "pipeline/source.h"

enum { CSV_BLOCK_BYTES = SOURCE_PIECE_BYTES };

/* Whole rows of an object; owns its buffer. Zero-initialise. */
struct csv_block {
  char *bytes; /* room for what was left before the piece, and the piece, unless that is borrowed */
  size_t cap;
  struct source_loan piece; /* bytes as they stand in the input, of which nothing is known yet */
  struct view rows;
  uint64_t first_line; /* 1-based line of the first byte of rows */
};

/* Frees the buffer. */
void csv_block_clear(struct csv_block *b);

struct csv_stream {
  const struct source_object *object; /* borrowed */
  const struct schema *schema;
  struct source_reader *reader; /* owned */
  struct csv_binding binding;   /* valid once has_header */
  char *header;                 /* owned: what binding.header points to */
  bool has_header;
  bool at_end;        /* no block follows */
  bool has_pieces;    /* they have to be fetched */
  size_t piece_bytes; /* CSV_BLOCK_BYTES; tests take less */
  uint64_t pieces_cut;
  char *tail; /* owned: bytes behind the last whole row */
  size_t tail_len, tail_cap;
  uint64_t next_line; /* 1-based line of the first byte of the tail */
};

/* Opens an object. The stream is zero-initialised before; csv_stream_close releases it. Errors: those of
 * source_open. */
KPI_MUST_CHECK enum kpi_code csv_stream_open(struct csv_stream *s, struct source *source,
                                             const struct source_object *object, const struct schema *schema,
                                             const struct source_use *use, struct err *err);

/* How many pieces of the object have to be fetched, each before the block that it becomes; 0: none, as
 * csv_stream_next reads by itself. */
uint64_t csv_stream_pieces(const struct csv_stream *s);

/* Reads piece 0 to csv_stream_pieces - 1, which csv_stream_next then makes a block of, in their order. Any
 * number of threads, each with a block of its own, which csv_stream_release has to be called with. Errors:
 * KPI_OUT_OF_MEMORY and those of source_read and source_finish. */
KPI_MUST_CHECK enum kpi_code csv_stream_fetch(const struct csv_stream *s, uint64_t piece,
                                              struct csv_block *block, struct err *err);

/* Makes the next block: of the piece that was fetched into it, which may have no whole row; or else of what
 * it reads, where only the last block may have none. The stream is at_end with the last one, and must not be
 * asked for another. Binds the header first. One thread at a time. Errors: KPI_CSV_MALFORMED,
 * KPI_CSV_HEADER_MISSING, KPI_CSV_ENCODING, KPI_OUT_OF_MEMORY and those of source_read and source_finish. */
KPI_MUST_CHECK enum kpi_code csv_stream_next(struct csv_stream *s, struct csv_block *block, struct err *err);

/* Gives back what a block borrowed of the source: call it when the rows are done with. Any thread. */
void csv_stream_release(const struct csv_stream *s, struct csv_block *block);

/* Every block has been released. Accepts a zero-initialised stream. */
void csv_stream_close(struct csv_stream *s);

#endif
