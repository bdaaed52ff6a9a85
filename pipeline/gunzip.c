/* SPDX-License-Identifier: MIT */
#include "pipeline/gunzip.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum { INPUT_BYTES = 64 * 1024, WINDOW_GZIP_ONLY = MAX_WBITS + 16 };

struct gunzip {
  struct source_reader base;
  struct source_reader *inner; /* owned */
  const char *object;
  z_stream z;
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
  g->z.avail_in = (uInt)got;
  g->input_over = got == 0;
  return KPI_OK;
}

/* Inflates what is there, at most to the end of a member. */
static enum kpi_code inflate_some(struct gunzip *g, struct err *err) {
  g->in_member = true;
  int rc = inflate(&g->z, Z_NO_FLUSH);
  if (rc == Z_STREAM_END) {
    g->in_member = false;
    inflateReset(&g->z);
    return KPI_OK;
  }
  if (rc == Z_OK || rc == Z_BUF_ERROR)
    return KPI_OK;
  if (rc == Z_MEM_ERROR)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to decompress %s", g->object);
  return damaged(g, "the gzip data is damaged", err);
}

static enum kpi_code gunzip_read(struct source_reader *r, char *to, size_t size, size_t *got,
                                 struct err *err) {
  struct gunzip *g = (struct gunzip *)r;
  *got = 0;
  g->z.next_out = (unsigned char *)to;
  g->z.avail_out = size > UINT_MAX ? UINT_MAX : (uInt)size;
  uInt room = g->z.avail_out;
  while (g->z.avail_out == room) {
    enum kpi_code rc = g->z.avail_in == 0 && !g->input_over ? fill(g, err) : KPI_OK;
    if (rc)
      return rc;
    if (g->z.avail_in == 0 && g->input_over)
      return g->in_member ? damaged(g, "the gzip data ends too early", err) : KPI_OK;
    rc = inflate_some(g, err);
    if (rc)
      return rc;
  }
  *got = room - g->z.avail_out;
  return KPI_OK;
}

static enum kpi_code gunzip_finish(struct source_reader *r, struct err *err) {
  return source_finish(((struct gunzip *)r)->inner, err);
}

static void gunzip_close(struct source_reader *r) {
  struct gunzip *g = (struct gunzip *)r;
  inflateEnd(&g->z);
  source_close(g->inner);
  free(g);
}

static const struct source_reader_vtable gunzip_vtable = {gunzip_read, gunzip_finish, gunzip_close};

enum kpi_code gunzip_new(struct source_reader *inner, const char *object, struct source_reader **out,
                         struct err *err) {
  *out = NULL;
  struct gunzip *g = calloc(1, sizeof *g);
  if (!g || inflateInit2(&g->z, WINDOW_GZIP_ONLY) != Z_OK) {
    free(g);
    source_close(inner);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to decompress %s", object);
  }
  g->base.vtable = &gunzip_vtable;
  g->inner = inner;
  g->object = object;
  *out = &g->base;
  return KPI_OK;
}
