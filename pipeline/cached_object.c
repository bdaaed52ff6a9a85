/* SPDX-License-Identifier: MIT */
#include "pipeline/cached_object.h"

#include "base/scope.h"
#include "pipeline/checksum.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool read_at(int fd, void *to, size_t size, uint64_t at) {
  for (size_t got = 0; got < size;) {
    ssize_t n = pread(fd, (char *)to + got, size - got, (off_t)(at + got));
    if (n == 0 || (n < 0 && errno != EINTR))
      return false;
    got += n > 0 ? (size_t)n : 0;
  }
  return true;
}

static bool reserve(struct csv_block *buffer, size_t size) {
  if (size <= buffer->cap)
    return true;
  csv_block_clear(buffer);
  buffer->bytes = malloc(size);
  buffer->cap = buffer->bytes ? size : 0;
  return buffer->bytes != NULL;
}

/* ---- directory ---- */

static uint64_t directory_bytes(const struct cached_head *h) {
  return h->chunks * sizeof(struct cached_chunk) + h->blocks * sizeof(struct cached_block) +
         h->header_bytes[CACHED_COLUMNS_NEEDED] + h->header_bytes[CACHED_VERBATIM];
}

static bool read_head(int fd, const char *name, uint64_t size, struct cached_head *head) {
  return read_at(fd, head, sizeof *head, 0) && memcmp(head->magic, CACHED_MAGIC, sizeof head->magic) == 0 &&
         head->crc == checksum_of(head, offsetof(struct cached_head, crc)) && strcmp(head->name, name) == 0 &&
         head->directory_at + directory_bytes(head) == size;
}

static bool bind(struct cached_object *o, int layout, struct view header, const struct schema *schema) {
  struct err err = {0};
  size_t used;
  uint64_t lines;
  return csv_bind(header, schema, "", 1, &o->bindings[layout], &used, &lines, &err) == KPI_OK && used > 0;
}

/* Sets where the parts of the directory stand in it. */
static bool take_directory(struct cached_object *o, const struct cached_head *head,
                           const struct schema *schema) {
  const size_t needed = head->header_bytes[CACHED_COLUMNS_NEEDED],
               verbatim = head->header_bytes[CACHED_VERBATIM];
  o->chunk_count = head->chunks;
  o->block_count = head->blocks;
  o->chunks = (const struct cached_chunk *)(const void *)o->directory;
  o->blocks = (const struct cached_block *)(const void *)(o->chunks + head->chunks);
  const char *headers = (const char *)(o->blocks + head->blocks);
  o->bindings = calloc(CACHED_LAYOUTS, sizeof *o->bindings);
  return o->bindings && bind(o, CACHED_COLUMNS_NEEDED, (struct view){headers, needed}, schema) &&
         bind(o, CACHED_VERBATIM, (struct view){headers + needed, verbatim}, schema);
}

bool cached_object_open(struct cached_object *o, int fd, const char *name, const struct schema *schema) {
  struct cached_head head;
  struct stat st;
  o->fd = fd;
  if (fstat(fd, &st) == 0 && read_head(fd, name, (uint64_t)st.st_size, &head)) {
    const size_t bytes = directory_bytes(&head);
    o->directory = malloc(bytes + 1);
    if (o->directory && read_at(fd, o->directory, bytes, head.directory_at) &&
        checksum_of(o->directory, bytes) == head.directory_crc && take_directory(o, &head, schema))
      return true;
  }
  close(fd);
  free(o->directory);
  free(o->bindings);
  *o = (struct cached_object){0};
  return false;
}

void cached_object_close(struct cached_object *o) {
  if (o->directory)
    close(o->fd);
  free(o->directory);
  free(o->bindings);
  *o = (struct cached_object){0};
}

/* ---- orders and rows ---- */

bool cached_object_orders(const struct cached_object *o, const struct cached_chunk *c,
                          struct csv_block *buffer, struct cached_orders *out) {
  const size_t bytes = cached_orders_bytes(c);
  if (!reserve(buffer, bytes + 1) || !read_at(o->fd, buffer->bytes, bytes, c->at) ||
      checksum_of(buffer->bytes, bytes) != c->crc)
    return false;
  const void *pairs = buffer->bytes, *orders = buffer->bytes + cached_orders_at(c);
  const void *where = buffer->bytes + cached_where_at(c);
  *out = (struct cached_orders){.kind = (enum cached_orders_kind)c->kind,
                                .least = c->least_order,
                                .count = c->orders,
                                .pair_count = c->pairs,
                                .pairs = pairs,
                                .ids = orders,
                                .bits = orders,
                                .where = where};
  return true;
}

bool cached_object_rows(const struct cached_object *o, const struct cached_block *b, struct csv_block *buffer,
                        const uint32_t **lines) {
  const size_t bytes = cached_bytes(b);
  if (!reserve(buffer, bytes) || !read_at(o->fd, buffer->bytes, bytes, b->at) ||
      checksum_of(buffer->bytes, bytes) != b->crc)
    return false;
  *lines = (const uint32_t *)(const void *)buffer->bytes;
  buffer->rows = (struct view){buffer->bytes + cached_lines_bytes(b), b->text_bytes};
  buffer->first_line = b->first_line;
  return true;
}
