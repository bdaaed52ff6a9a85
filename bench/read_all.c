/* SPDX-License-Identifier: MIT
 * The floor under reading files: copies all their bytes out of the page cache, by as many threads as are
 * asked for, into buffers that are used again, and looks at nothing. usage: bench_read_all THREADS FILE... */
#include "base/pool.h"
#include "base/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 * 1024, PIECE_BYTES = 8 * 1024 * 1024, PIECES_MAX = 100 * 1000 };

/* A part of a file, so that one large file is for all threads. */
struct piece {
  int fd;
  off_t at, end;
  bool is_read;
};

static void read_piece(void *arg) {
  static _Thread_local char buffer[BUFFER_BYTES];
  struct piece *p = arg;
  while (p->at < p->end) {
    size_t left = (size_t)(p->end - p->at);
    ssize_t got = pread(p->fd, buffer, left < sizeof buffer ? left : sizeof buffer, p->at);
    if (got <= 0)
      return;
    p->at += got;
  }
  p->is_read = p->at == p->end;
}

static size_t cut_file(const char *path, struct piece *to, size_t room) {
  struct stat about;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about) != 0) {
    perror(path);
    exit(1);
  }
  size_t count = 0;
  for (off_t at = 0; at < about.st_size && count < room; at += PIECE_BYTES, count++) {
    off_t end = at + PIECE_BYTES < about.st_size ? at + PIECE_BYTES : about.st_size;
    to[count] = (struct piece){fd, at, end, false};
  }
  return count;
}

int main(int argc, char **argv) {
  static struct piece pieces[PIECES_MAX];
  uint64_t threads;
  size_t count = 0;
  if (argc < 3 || !view_to_u64(view_of(argv[1]), &threads) || threads == 0) {
    fprintf(stderr, "usage: bench_read_all THREADS FILE...\n");
    return 64;
  }
  for (int i = 2; i < argc; i++)
    count += cut_file(argv[i], pieces + count, PIECES_MAX - count);
  struct pool *pool = pool_new(threads, PIECES_MAX);
  if (!pool)
    return 1;
  pool_map(pool, NULL, read_piece, pieces, sizeof *pieces, count);
  pool_free(pool);
  for (size_t i = 0; i < count; i++)
    if (!pieces[i].is_read)
      return 1;
  return 0;
}
