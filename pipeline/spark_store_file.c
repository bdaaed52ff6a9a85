/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_store_file.h"

#include "base/crypto.h"
#include "base/scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
  FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
  PIECE_BYTES = 256 * 1024, /* after which the stop flag is looked at */
  DEPTH_MAX = 32,
  PASSES_MAX = 3 /* over a folder that is being written to while it is removed */
};

struct store_file {
  struct spark_store base;
  char *folder; /* owned */
};

/* Functions that return int return an errno, 0 when all is well. */

static void scope_closedir(DIR **d) {
  if (*d)
    closedir(*d);
}

/* Tells what failed; a stop is told as such. */
static enum kpi_code failed(const struct store_file *f, const char *name, const char *what, int problem,
                            struct err *err) {
  if (problem == ECANCELED)
    err_set(err, KPI_CANCELLED, "%s: stopped", name);
  else if (problem == ENOMEM)
    err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s", name);
  else
    err_set_errno(err, KPI_ENGINE_FAILED, problem, "%s/%s: cannot be %s", f->folder, name, what);
  view_to_cstr(view_of(name), err->object, sizeof err->object);
  return err->code;
}

/* ---- folders ---- */

/* Makes a folder and those above it. */
static int make_place(const char *folder) {
  auto_free char *path = strdup(folder);
  if (!path)
    return ENOMEM;
  for (char *at = path + 1;; at++) {
    char here = *at;
    if (here != '/' && here != '\0')
      continue;
    *at = '\0';
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
      return errno;
    *at = here;
    if (here == '\0')
      return 0;
  }
}

static int open_place(const struct store_file *f, bool make, int *out) {
  *out = open(f->folder, FOLDER_FLAGS);
  if (*out >= 0 || errno != ENOENT || !make)
    return *out >= 0 ? 0 : errno;
  int problem = make_place(f->folder);
  if (problem)
    return problem;
  *out = open(f->folder, FOLDER_FLAGS);
  return *out >= 0 ? 0 : errno;
}

/* Goes down one folder, and closes the one above. */
static int step(int *at, struct view part, bool make) {
  auto_close int above = *at;
  char name[NAME_MAX + 1];
  *at = -1;
  if (!view_to_cstr(part, name, sizeof name))
    return ENAMETOOLONG;
  if (make && mkdirat(above, name, 0777) != 0 && errno != EEXIST)
    return errno;
  *at = openat(above, name, FOLDER_FLAGS | O_NOFOLLOW);
  return *at >= 0 ? 0 : errno;
}

/* Opens the folder that a name lies in, making it if asked to. *last is what follows its last slash. *at is
 * closed by the caller in any case. */
static int open_parent(const struct store_file *f, const char *name, bool make, int *at, const char **last) {
  struct view rest = view_of(name);
  const char *slash = strrchr(name, '/');
  *last = slash ? slash + 1 : name;
  int problem = open_place(f, make, at);
  while (!problem && rest.ptr != *last)
    problem = step(at, view_split(&rest, '/'), make);
  return problem;
}

/* ---- writing ---- */

static int write_all(int fd, struct view bytes, const struct stop_flag *stop) {
  while (bytes.len) {
    if (stop_reason(stop) != STOP_NONE)
      return ECANCELED;
    ssize_t n = write(fd, bytes.ptr, bytes.len < PIECE_BYTES ? bytes.len : PIECE_BYTES);
    if (n < 0 && errno != EINTR)
      return errno;
    size_t written = n > 0 ? (size_t)n : 0;
    bytes = (struct view){bytes.ptr + written, bytes.len - written};
  }
  return fsync(fd) == 0 ? 0 : errno;
}

static int write_file(int folder, const char *temporary, const char *name, struct view bytes,
                      const struct stop_flag *stop) {
  auto_close int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd < 0)
    return errno;
  int problem = write_all(fd, bytes, stop);
  if (!problem && renameat(folder, temporary, folder, name) == 0)
    return 0;
  problem = problem ? problem : errno;
  unlinkat(folder, temporary, 0);
  return problem;
}

static enum kpi_code file_put(struct spark_store *s, const char *name, struct view bytes,
                              const struct stop_flag *stop, struct err *err) {
  const struct store_file *f = (const struct store_file *)s;
  auto_close int folder = -1;
  const char *last;
  unsigned char random[8];
  char digits[2 * sizeof random + 1], temporary[sizeof digits + 8];
  crypto_random(random, sizeof random);
  crypto_hex(random, sizeof random, digits);
  snprintf(temporary, sizeof temporary, ".%s.tmp", digits);
  int problem = open_parent(f, name, true, &folder, &last);
  if (!problem)
    problem = write_file(folder, temporary, last, bytes, stop);
  return problem ? failed(f, name, "written", problem, err) : KPI_OK;
}

/* ---- reading ---- */

/* Refuses what is no plain file, before a read could wait for it. */
static int open_file(int folder, const char *name, const struct buf *out, int *fd) {
  struct stat st;
  *fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (*fd < 0 || fstat(*fd, &st) != 0)
    return errno;
  if (S_ISDIR(st.st_mode))
    return EISDIR;
  if (!S_ISREG(st.st_mode))
    return EINVAL;
  return (uint64_t)st.st_size > out->max - out->len ? EFBIG : 0;
}

static int read_all(int fd, const struct stop_flag *stop, _Atomic uint64_t *beats, struct buf *out) {
  auto_free char *piece = malloc(PIECE_BYTES);
  if (!piece)
    return ENOMEM;
  for (;;) {
    if (stop_reason(stop) != STOP_NONE)
      return ECANCELED;
    ssize_t n = read(fd, piece, PIECE_BYTES);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : 0;
    if ((size_t)n > out->max - out->len)
      return EFBIG;
    if (beats)
      atomic_fetch_add_explicit(beats, 1, memory_order_relaxed);
    buf_add(out, (struct view){piece, (size_t)n});
    if (buf_failed(out))
      return ENOMEM;
  }
}

static enum kpi_code file_get(struct spark_store *s, const char *name, const struct stop_flag *stop,
                              _Atomic uint64_t *beats, struct buf *out, bool *found, struct err *err) {
  const struct store_file *f = (const struct store_file *)s;
  auto_close int folder = -1, fd = -1;
  const char *last;
  int problem = open_parent(f, name, false, &folder, &last);
  if (!problem)
    problem = open_file(folder, last, out, &fd);
  if (problem == ENOENT || problem == ENOTDIR)
    return KPI_OK;
  if (!problem)
    problem = read_all(fd, stop, beats, out);
  *found = !problem;
  return problem ? failed(f, name, "read", problem, err) : KPI_OK;
}

/* ---- removing ---- */

static int remove_tree(int at, const char *name, unsigned depth, const struct stop_flag *stop);

/* Removes all that a folder holds. */
static int empty_folder(int at, const char *name, unsigned depth, const struct stop_flag *stop) {
  int fd = openat(at, name, FOLDER_FLAGS | O_NOFOLLOW);
  if (fd < 0)
    return errno == ENOENT ? 0 : errno;
  AUTO(scope_closedir) DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return ENOMEM;
  }
  int problem = 0;
  struct dirent *entry;
  while (!problem && (errno = 0, entry = readdir(dir)) != NULL)
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      problem = remove_tree(fd, entry->d_name, depth + 1, stop);
  return problem ? problem : errno;
}

/* Removes a file or link, or a folder with all that it holds. A link is removed, never what it points at. A
 * job that was given up may still write. */
static int remove_tree(int at, const char *name, unsigned depth, const struct stop_flag *stop) {
  if (stop_reason(stop) != STOP_NONE)
    return ECANCELED;
  if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
    return 0;
  if (errno != EISDIR && errno != EPERM)
    return errno;
  if (depth > DEPTH_MAX)
    return ELOOP;
  int problem = ENOTEMPTY;
  for (int pass = 0; pass < PASSES_MAX && (problem == ENOTEMPTY || problem == EEXIST); pass++) {
    problem = empty_folder(at, name, depth, stop);
    if (!problem && unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
      problem = errno;
  }
  return problem;
}

static enum kpi_code file_remove_all(struct spark_store *s, const char *prefix, const struct stop_flag *stop,
                                     struct err *err) {
  const struct store_file *f = (const struct store_file *)s;
  auto_close int folder = -1;
  const char *last;
  auto_free char *name = strndup(prefix, strlen(prefix) - 1); /* without its slash */
  if (!name)
    return failed(f, prefix, "removed", ENOMEM, err);
  int problem = open_parent(f, name, false, &folder, &last);
  if (!problem)
    problem = remove_tree(folder, last, 0, stop);
  return problem && problem != ENOENT && problem != ENOTDIR ? failed(f, prefix, "removed", problem, err)
                                                            : KPI_OK;
}

static void file_free(struct spark_store *s) {
  free(((struct store_file *)s)->folder);
  free(s);
}

static const struct spark_store_vtable file_vtable = {file_put, file_get, file_remove_all, file_free};

struct spark_store *spark_store_file_new(struct view folder) {
  struct store_file *f = malloc(sizeof *f);
  char *copy = strndup(folder.ptr, folder.len);
  if (!f || !copy) {
    free(f);
    free(copy);
    return NULL;
  }
  *f = (struct store_file){{&file_vtable}, copy};
  return &f->base;
}
