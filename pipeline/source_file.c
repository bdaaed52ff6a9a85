/* SPDX-License-Identifier: MIT */
#include "pipeline/source_file.h"

#include "base/scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES_MAX = 512 };

struct source_file {
  struct source base;
  char *folder; /* absolute, without a final slash */
};

struct file_reader {
  struct source_reader base;
  int fd;
  uint64_t at;                        /* where file_read goes on */
  const struct source_object *object; /* borrowed from the listing */
  const struct source_use *use;       /* borrowed */
};

static void scope_closedir(DIR **d) {
  if (*d)
    closedir(*d);
}

/* Names the object in err and returns the code. */
static enum kpi_code about(struct err *err, const char *object) {
  view_to_cstr(view_of(object), err->object, sizeof err->object);
  return err->code;
}

/* What tells one state of a file from another: size, times of content and inode, inode number. */
static void version_of(const struct stat *st, char *out, size_t size) {
  snprintf(out, size, "%lld.%09ld-%lld.%09ld-%llu", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
           (long long)st->st_ctim.tv_sec, st->st_ctim.tv_nsec, (unsigned long long)st->st_ino);
}

/* ---- reading ---- */

static enum kpi_code file_read_at(struct source_reader *r, uint64_t at, char *to, size_t size, size_t *got,
                                  struct err *err) {
  const struct file_reader *f = (const struct file_reader *)r;
  ssize_t n;
  do
    n = pread(f->fd, to, size, (off_t)at);
  while (n < 0 && errno == EINTR);
  if (n < 0) {
    err_set_errno(err, KPI_SOURCE_UNREADABLE, errno, "%s: cannot be read", f->object->name);
    return about(err, f->object->name);
  }
  *got = (size_t)n;
  if (f->use->bytes_read)
    atomic_fetch_add_explicit(f->use->bytes_read, (uint64_t)n, memory_order_relaxed);
  return KPI_OK;
}

static enum kpi_code file_read(struct source_reader *r, char *to, size_t size, size_t *got, struct err *err) {
  struct file_reader *f = (struct file_reader *)r;
  enum kpi_code rc = file_read_at(r, f->at, to, size, got, err);
  if (rc == KPI_OK)
    f->at += *got;
  return rc;
}

static enum kpi_code check_unchanged(const struct file_reader *f, struct err *err) {
  struct stat st;
  char version[sizeof f->object->version];
  if (fstat(f->fd, &st) != 0) {
    err_set_errno(err, KPI_SOURCE_UNREADABLE, errno, "%s: cannot be read", f->object->name);
    return about(err, f->object->name);
  }
  version_of(&st, version, sizeof version);
  if ((uint64_t)st.st_size == f->object->size && strcmp(version, f->object->version) == 0)
    return KPI_OK;
  err_set(err, KPI_SOURCE_UNREADABLE, "%s: the file changed while it was read", f->object->name);
  return about(err, f->object->name);
}

static enum kpi_code file_finish(struct source_reader *r, struct err *err) {
  return check_unchanged((struct file_reader *)r, err);
}

static void file_close(struct source_reader *r) {
  close(((struct file_reader *)r)->fd);
  free(r);
}

static const struct source_reader_vtable reader_vtable = {
    .read = file_read, .finish = file_finish, .close = file_close, .read_at = file_read_at};

static enum kpi_code file_open(struct source *s, const struct source_object *object,
                               const struct source_use *use, struct source_reader **out, struct err *err) {
  auto_free char *path = NULL;
  struct file_reader *f = malloc(sizeof *f);
  if (!f || asprintf(&path, "%s/%s", ((struct source_file *)s)->folder, object->name) < 0) {
    free(f);
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory to open %s", object->name);
  }
  *f = (struct file_reader){
      .base = {&reader_vtable}, .fd = open(path, O_RDONLY | O_CLOEXEC), .object = object, .use = use};
  if (f->fd < 0) {
    err_set_errno(err, KPI_SOURCE_UNREADABLE, errno, "%s: cannot be opened", object->name);
    free(f);
    return about(err, object->name);
  }
  posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  *out = &f->base;
  return KPI_OK;
}

/* ---- listing ---- */

struct listing_walk {
  const char *folder;
  enum dataset dataset;
  struct source_listing *out;
};

static enum kpi_code add_file(const struct listing_walk *w, char *name, const struct stat *st,
                              struct err *err) {
  struct source_object object = {.name = name,
                                 .size = (uint64_t)st->st_size,
                                 .modified_ms =
                                     (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000};
  version_of(st, object.version, sizeof object.version);
  if (!source_listing_add(w->out, w->dataset, &object))
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the list of input files");
  return KPI_OK;
}

static enum kpi_code list_folder(const struct listing_walk *w, const char *name, bool is_parts,
                                 struct err *err);

/* Adds one directory entry if it is input. */
static enum kpi_code list_entry(const struct listing_walk *w, const char *parent, const char *entry,
                                bool is_parts, struct err *err) {
  struct view v = view_of(entry);
  bool wanted = is_parts ? source_name_is_part(v) : source_name_is_input(v);
  if (!wanted)
    return KPI_OK;
  char name[NAME_BYTES_MAX];
  auto_free char *path = NULL;
  if ((size_t)snprintf(name, sizeof name, "%s/%s", parent, entry) >= sizeof name)
    return err_set(err, KPI_SOURCE_UNREADABLE, "%s/%.100s...: the name is too long", parent, entry);
  if (asprintf(&path, "%s/%s", w->folder, name) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the list of input files");
  struct stat st;
  if (stat(path, &st) != 0) {
    err_set_errno(err, KPI_SOURCE_UNREADABLE, errno, "%s: cannot be read", name);
    return about(err, name);
  }
  if (S_ISDIR(st.st_mode))
    return is_parts ? KPI_OK : list_folder(w, name, true, err);
  if (S_ISREG(st.st_mode))
    return add_file(w, name, &st, err);
  err_set(err, KPI_SOURCE_UNREADABLE, "%s: is neither a file nor a folder", name);
  return about(err, name);
}

static enum kpi_code list_folder(const struct listing_walk *w, const char *name, bool is_parts,
                                 struct err *err) {
  auto_free char *path = NULL;
  if (asprintf(&path, "%s/%s", w->folder, name) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the list of input files");
  AUTO(scope_closedir) DIR *dir = opendir(path);
  if (!dir) {
    enum kpi_code code = errno == ENOENT || errno == ENOTDIR ? KPI_SOURCE_NOT_FOUND : KPI_SOURCE_UNREADABLE;
    err_set_errno(err, code, errno, "%s/: the folder cannot be opened in %s", name, w->folder);
    return about(err, name);
  }
  enum kpi_code rc = KPI_OK;
  struct dirent *entry;
  while (rc == KPI_OK && (errno = 0, entry = readdir(dir)) != NULL)
    rc = list_entry(w, name, entry->d_name, is_parts, err);
  if (rc == KPI_OK && errno != 0)
    return err_set_errno(err, KPI_SOURCE_UNREADABLE, errno, "%s/: the folder cannot be read", name);
  return rc;
}

static enum kpi_code file_list(struct source *s, const struct source_use *use, struct source_listing *out,
                               struct err *err) {
  (void)use;
  for (int d = 0; d < DATASET_COUNT; d++) {
    const char *name = schema_of((enum dataset)d)->name;
    struct listing_walk walk = {((struct source_file *)s)->folder, (enum dataset)d, out};
    enum kpi_code rc = list_folder(&walk, name, false, err);
    if (rc)
      return rc;
    if (out->datasets[d].count == 0) {
      err_set(err, KPI_SOURCE_NOT_FOUND, "%s/: no .csv or .csv.gz file in %s", name, walk.folder);
      return about(err, name);
    }
  }
  return KPI_OK;
}

static void file_free(struct source *s) {
  free(((struct source_file *)s)->folder);
  free(s);
}

static const struct source_vtable file_vtable = {"file", KPI_SOURCE_UNREADABLE, file_list, file_open,
                                                 file_free};

/* ---- URL ---- */

static int hex_value(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

bool source_file_takes(const char *url) {
  return view_starts(view_of(url), "file:///");
}

/* Decodes the path of a file URL. Returns owned, NULL when memory is exhausted. */
static char *path_of_url(const char *url) {
  char *out = strdup(url + strlen("file://"));
  if (!out)
    return NULL;
  size_t n = 0;
  for (size_t i = 0; out[i]; i++) {
    int high = out[i] == '%' ? hex_value(out[i + 1]) : -1;
    int low = high >= 0 ? hex_value(out[i + 2]) : -1;
    if (low >= 0 && high + low > 0) {
      out[n++] = (char)(high << 4 | low);
      i += 2;
    } else {
      out[n++] = out[i];
    }
  }
  while (n > 1 && out[n - 1] == '/')
    n--;
  out[n] = '\0';
  return out;
}

enum kpi_code source_file_new(const char *url, struct source **out, struct err *err) {
  auto_free char *folder = path_of_url(url);
  struct source_file *f = folder ? malloc(sizeof *f) : NULL;
  if (!f)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the source");
  *f = (struct source_file){{.vtable = &file_vtable}, TAKE(folder)};
  *out = &f->base;
  return KPI_OK;
}
