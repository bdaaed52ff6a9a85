/* SPDX-License-Identifier: MIT */
#include "pipeline/object_cache.h"

#include "base/alloc.h"
#include "base/scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
  FILE_NAME_BYTES = 2 * SHA256_HEX_SIZE,
  OWNER_BYTES = 8,
  STARTED_MAX = 16,         /* entries that are written at a time: each takes some 10 MB of memory */
  USED_SECONDS = 600,       /* entries are marked as used at most so often */
  ABANDONED_SECONDS = 3600, /* nobody writes to a file any more that was not written to for so long */
  FOLDER_MODE = 0700,
  FILE_MODE = 0600
};
#define ENTRY_SUFFIX ".rows"
#define STARTED_SUFFIX ".new"

struct object_cache {
  int folder;
  uint64_t max_bytes;
  _Atomic uint64_t used;           /* bytes of all entries, as far as this process knows */
  _Atomic int started;             /* entries that are being written */
  pthread_mutex_t lock;            /* one thread at a time makes room */
  char owner[2 * OWNER_BYTES + 1]; /* random: in the names of entries that were started here */
};

static struct metric looked_up = {
    .name = "kpid_cache_objects",
    .help = "Input objects that were looked up in the cache, by what it had of them.",
    .kind = METRIC_COUNTER,
    .labels = {"result"}};

static struct metric held = {.name = "kpid_cache_bytes",
                             .help = "Size of the cache, as far as this process knows.",
                             .kind = METRIC_GAUGE};

void object_cache_metrics_write(const struct metrics_out *o) {
  metrics_write(o, &looked_up);
  metrics_write(o, &held);
}

static void entry_file(const struct object_cache_name *name, char out[FILE_NAME_BYTES]) {
  snprintf(out, FILE_NAME_BYTES, "%s" ENTRY_SUFFIX, name->text);
}

static void started_file(const struct object_cache *c, const struct object_cache_name *name,
                         char out[FILE_NAME_BYTES]) {
  snprintf(out, FILE_NAME_BYTES, "%s-%s" STARTED_SUFFIX, name->text, c->owner);
}

struct object_cache_name object_cache_name_of(struct view what) {
  struct object_cache_name name;
  crypto_sha256_hex(what, name.text);
  return name;
}

/* ---- room ---- */

struct entry {
  char file[FILE_NAME_BYTES];
  int64_t used_at;
  uint64_t bytes;
};

struct entries {
  struct entry *at;
  size_t count, cap;
  uint64_t bytes;
};

static int least_used_first(const void *a, const void *b) {
  const struct entry *x = a, *y = b;
  return (x->used_at > y->used_at) - (x->used_at < y->used_at);
}

/* Notes a file of the folder. False when memory is exhausted. */
static bool note_file(const struct object_cache *c, const char *file, struct entries *out) {
  struct stat st;
  if (strlen(file) >= FILE_NAME_BYTES || fstatat(c->folder, file, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return true;
  if (view_ends(view_of(file), STARTED_SUFFIX) && st.st_mtime < time(NULL) - ABANDONED_SECONDS)
    (void)unlinkat(c->folder, file, 0);
  if (!view_ends(view_of(file), ENTRY_SUFFIX))
    return true;
  struct entry *at = array_room(out->at, out->count, &out->cap, sizeof *at);
  if (!at)
    return false;
  out->at = at;
  struct entry *e = &out->at[out->count++];
  view_to_cstr(view_of(file), e->file, sizeof e->file);
  e->used_at = st.st_mtime;
  e->bytes = (uint64_t)st.st_size;
  out->bytes += e->bytes;
  return true;
}

static bool list_entries(const struct object_cache *c, struct entries *out) {
  int fd = openat(c->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir) {
    if (fd >= 0)
      close(fd);
    return false;
  }
  const struct dirent *file;
  bool ok = true;
  while (ok && (file = readdir(dir)) != NULL)
    ok = note_file(c, file->d_name, out);
  closedir(dir);
  return ok;
}

/* Counts what the folder holds, and removes what was not used for longest until that is no more than it may.
 */
static void make_room(struct object_cache *c) {
  struct entries all = {0};
  SCOPE_LOCK(&c->lock);
  if (list_entries(c, &all)) {
    if (all.bytes > c->max_bytes)
      qsort(all.at, all.count, sizeof *all.at, least_used_first);
    for (size_t i = 0; i < all.count && all.bytes > c->max_bytes; i++)
      if (unlinkat(c->folder, all.at[i].file, 0) == 0 || errno == ENOENT)
        all.bytes -= all.at[i].bytes;
    const uint64_t before = atomic_exchange(&c->used, all.bytes);
    metric_move(&held, (int64_t)all.bytes - (int64_t)before, METRIC_PLAIN);
  }
  free(all.at);
}

/* ---- folder ---- */

enum kpi_code object_cache_open(const char *folder, uint64_t max_bytes, struct object_cache **out,
                                struct err *err) {
  *out = NULL;
  if (mkdir(folder, FOLDER_MODE) != 0 && errno != EEXIST)
    return err_set_errno(err, KPI_CONFIG_INVALID, errno, "KPI_CACHE_DIR: %s cannot be made", folder);
  struct object_cache *c = calloc(1, sizeof *c);
  if (!c)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the cache");
  c->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (c->folder < 0 || faccessat(c->folder, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
    err_set_errno(err, KPI_CONFIG_INVALID, errno, "KPI_CACHE_DIR: %s cannot be written to", folder);
    if (c->folder >= 0)
      close(c->folder);
    free(c);
    return err->code;
  }
  unsigned char owner[OWNER_BYTES];
  crypto_random(owner, sizeof owner);
  crypto_hex(owner, sizeof owner, c->owner);
  c->max_bytes = max_bytes;
  pthread_mutex_init(&c->lock, NULL);
  make_room(c);
  *out = c;
  return KPI_OK;
}

void object_cache_close(struct object_cache *c) {
  if (!c)
    return;
  close(c->folder);
  pthread_mutex_destroy(&c->lock);
  free(c);
}

/* ---- entries ---- */

int object_cache_find(struct object_cache *c, const struct object_cache_name *name) {
  char file[FILE_NAME_BYTES];
  struct stat st;
  entry_file(name, file);
  int fd = openat(c->folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && fstat(fd, &st) == 0 && st.st_mtime < time(NULL) - USED_SECONDS)
    (void)futimens(fd, NULL);
  metric_add(&looked_up, 1, METRIC_OF(fd < 0 ? "missing" : "found"));
  return fd;
}

void object_cache_remove(struct object_cache *c, const struct object_cache_name *name) {
  char file[FILE_NAME_BYTES];
  entry_file(name, file);
  metric_add(&looked_up, 1, METRIC_OF("damaged"));
  (void)unlinkat(c->folder, file, 0);
}

int object_cache_start(struct object_cache *c, const struct object_cache_name *name) {
  char file[FILE_NAME_BYTES];
  started_file(c, name, file);
  if (atomic_fetch_add(&c->started, 1) >= STARTED_MAX) {
    atomic_fetch_sub(&c->started, 1);
    return -1;
  }
  int fd = openat(c->folder, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
  if (fd < 0)
    atomic_fetch_sub(&c->started, 1);
  return fd;
}

/* Notes that the folder holds more; makes room when that is too much. */
static void grow(struct object_cache *c, uint64_t bytes) {
  metric_move(&held, (int64_t)bytes, METRIC_PLAIN);
  if (atomic_fetch_add(&c->used, bytes) + bytes > c->max_bytes)
    make_room(c);
}

void object_cache_end(struct object_cache *c, const struct object_cache_name *name, uint64_t bytes) {
  char started[FILE_NAME_BYTES], file[FILE_NAME_BYTES];
  atomic_fetch_sub(&c->started, 1);
  started_file(c, name, started);
  entry_file(name, file);
  if (bytes == 0 || bytes > c->max_bytes || renameat(c->folder, started, c->folder, file) != 0)
    (void)unlinkat(c->folder, started, 0);
  else
    grow(c, bytes);
}
