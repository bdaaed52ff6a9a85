/* SPDX-License-Identifier: MIT */
#include "pipeline/gunzip.h"

#include <isa-l/igzip_lib.h>
#include <limits.h>
#include <stdlib.h>

enum { INPUT_BYTES = 64 * 1024 };

struct gunzip {
  struct source_reader base;
  struct source_reader *inner; /* owned */
  const char *object;
  struct inflate_state z;
  bool in_member; /* a member has begun and not ended */
  bool input_over;
  unsigned char input[INPUT_BYTES];
};

static enum kpi_code damaged(const struct gunzip *g, const char *what, struct err *err) {
  err_set(err, KPI_SOURCE_UNREADABLE, "%s: %s", g->object, what);
  view_to_cstr(view_of(g->object), err->object, sizeof err->object);
  return KPI_SOURCE_UNREADABLE;
}

static enum kpi_code fill(struct gunzip *g, struct err *err) {
  size_t got;
  enum kpi_code rc = source_read(g->inner, (char *)g->input, sizeof g->input, &got, err);
  if (rc)
    return rc;
  g->z.next_in = g->input;
  g->z.avail_in = (uint32_t)got;
  g->input_over = got == 0;
  return KPI_OK;
}

/* The next member may begin; what is there of the input stays. */
static void expect_member(struct gunzip *g) {
  isal_inflate_reset(&g->z);
  g->z.crc_flag = ISAL_GZIP; /* reads the header, checks sum and length behind the data */
  g->in_member = false;
}

/* Inflates what is there, at most to the end of a member. */
static enum kpi_code inflate_some(struct gunzip *g, struct err *err) {
  g->in_member = true;
  if (isal_inflate(&g->z) < 0)
    return damaged(g, "the gzip data is damaged", err);
  if (g->z.block_state == ISAL_BLOCK_FINISH)
    expect_member(g);
  return KPI_OK;
}

static enum kpi_code gunzip_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                 struct err *err) {
  struct gunzip *g = (struct gunzip *)r;
  const uint32_t room = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
  *got = 0;
  g->z.next_out = (unsigned char *)to;
  g->z.avail_out = room;
  while (g->z.avail_out == room && room > 0) {
    enum kpi_code rc = g->z.avail_in == 0 && !g->input_over ? fill(g, err) : KPI_OK;
    if (rc == KPI_OK && g->z.avail_in == 0 && !g->in_member)
      return KPI_OK;
    const bool is_last = g->z.avail_in == 0; /* but some of it may wait in the state */
    if (rc == KPI_OK)
      rc = inflate_some(g, err);
    if (rc)
      return rc;
    if (is_last && g->in_member && g->z.avail_out == room)
      return damaged(g, "the gzip data ends too early", err);
  }
  *got = room - g->z.avail_out;
  return KPI_OK;
}

static enum kpi_code gunzip_finish(struct source_reader *r, struct err *err) {
  return source_finish(((struct gunzip *)r)->inner, err);
}

static void gunzip_close(struct source_reader *r) {
  struct gunzip *g = (struct gunzip *)r;
  source_close(g->inner);
  free(g);
}

static const struct source_reader_vtable gunzip_vtable = {
    .read = gunzip_read, .finish = gunzip_finish, .close = gunzip_close};

enum kpi_code gunzip_new(struct source_reader *inner, const char *object, struct source_reader **out,
                         struct err *err) {
  *out = NULL;
  struct gunzip *g = calloc(1, sizeof *g);
  if (!g) {
    source_close(inner);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to decompress %s", object);
  }
  isal_inflate_init(&g->z);
  expect_member(g);
  g->base.vtable = &gunzip_vtable;
  g->inner = inner;
  g->object = object;
  *out = &g->base;
  return KPI_OK;
}
