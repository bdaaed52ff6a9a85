/* SPDX-License-Identifier: MIT */
#include "aws/profile.h"

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/scope.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FILE_BYTES_MAX = 1024 * 1024, SECTION_BYTES_MAX = 512 };

/* ---- reading ---- */

static struct profile_entry *add_entry(struct profile_file *f) {
  struct profile_entry *at = array_room(f->at, f->count, &f->cap, sizeof *at);
  if (!at)
    return NULL;
  f->at = at;
  return &f->at[f->count++];
}

/* A comment may follow a value after a blank. */
static struct view without_comment(struct view v) {
  for (size_t i = 1; i < v.len; i++)
    if ((v.ptr[i] == '#' || v.ptr[i] == ';') && (v.ptr[i - 1] == ' ' || v.ptr[i - 1] == '\t'))
      return (struct view){v.ptr, i};
  return v;
}

/* [profile x] and [ profile  x ] are the same; returns the name without brackets. */
static struct view section_name(struct view line) {
  const char *close = memchr(line.ptr, ']', line.len);
  return view_trim((struct view){line.ptr + 1, close ? (size_t)(close - line.ptr) - 1 : line.len - 1});
}

static bool parse(struct profile_file *f, struct view text) {
  struct view section = {0}, parent = {0}, rest = text;
  while (rest.len) {
    struct view line = view_split(&rest, '\n');
    bool indented = line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
    struct view value = view_trim(line);
    if (value.len == 0 || value.ptr[0] == '#' || value.ptr[0] == ';')
      continue;
    if (!indented && value.ptr[0] == '[') {
      section = section_name(value);
      continue;
    }
    struct view key = view_trim(view_split(&value, '='));
    struct profile_entry *e = add_entry(f);
    if (!e)
      return false;
    value = view_trim(without_comment(view_trim(value)));
    *e = indented && parent.len ? (struct profile_entry){section, parent, key, value}
                                : (struct profile_entry){section, key, {0}, value};
    if (!indented)
      parent = value.len == 0 ? key : (struct view){0};
  }
  return true;
}

static enum kpi_code read_file(const char *path, struct profile_file *out, struct err *err) {
  FILE *file = fopen(path, "re");
  if (!file)
    return errno == ENOENT || errno == ENOTDIR
               ? KPI_OK
               : err_set_errno(err, KPI_CONFIG_INVALID, errno, "%s cannot be read", path);
  out->text = malloc(FILE_BYTES_MAX);
  size_t len = out->text ? fread(out->text, 1, FILE_BYTES_MAX, file) : 0;
  bool ok = out->text && !ferror(file) && len < FILE_BYTES_MAX;
  fclose(file);
  if (!ok || !parse(out, (struct view){out->text, len}))
    return err_set(err, KPI_CONFIG_INVALID, "%s cannot be read, or is larger than 1 MiB", path);
  return KPI_OK;
}

static enum kpi_code load_file(const char *variable, const char *name, struct profile_file *out,
                               struct err *err) {
  auto_free char *path = NULL;
  const char *set = getenv(variable), *home = getenv("HOME");
  if (set && *set && strncmp(set, "~/", 2) != 0)
    return read_file(set, out, err);
  if (!home)
    return KPI_OK;
  int rc = set && *set ? asprintf(&path, "%s%s", home, set + 1) : asprintf(&path, "%s/.aws/%s", home, name);
  return rc < 0 ? err_set(err, KPI_OUT_OF_MEMORY, "no memory for %s", name) : read_file(path, out, err);
}

/* ---- looking up ---- */

static struct view lookup(const struct profile_file *f, struct view section, const char *key,
                          const char *sub_key) {
  struct view found = {0}; /* the last one counts */
  for (size_t i = 0; i < f->count; i++)
    if (view_eq(f->at[i].section, section) && view_eq_fold(f->at[i].key, view_of(key)) &&
        view_eq_fold(f->at[i].sub_key, view_of(sub_key)))
      found = f->at[i].value;
  return found;
}

/* Writes "kind name" as a section of the configuration is called; "default" needs no kind. */
static struct view config_section(const char *kind, struct view name, char out[SECTION_BYTES_MAX]) {
  int n = snprintf(out, SECTION_BYTES_MAX, "%s %.*s", kind, (int)name.len, name.ptr);
  return (struct view){out, n > 0 && n < SECTION_BYTES_MAX ? (size_t)n : 0};
}

static bool has_section(const struct profile_file *f, struct view section) {
  for (size_t i = 0; i < f->count; i++)
    if (view_eq(f->at[i].section, section))
      return true;
  return false;
}

struct view profiles_get(const struct profiles *p, const char *key) {
  char text[SECTION_BYTES_MAX];
  struct view found = lookup(&p->credentials, p->name, key, NULL);
  if (found.len == 0)
    found = lookup(&p->config, config_section("profile", p->name, text), key, NULL);
  if (found.len == 0 && view_is(p->name, "default"))
    found = lookup(&p->config, p->name, key, NULL);
  return found;
}

struct view profiles_get_service(const struct profiles *p, const char *service, const char *key) {
  char text[SECTION_BYTES_MAX];
  struct view services = profiles_get(p, "services");
  if (services.len == 0)
    return (struct view){0};
  return lookup(&p->config, config_section("services", services, text), service, key);
}

enum kpi_code profiles_load(struct profiles *out, struct err *err) {
  *out = (struct profiles){0};
  const char *name = getenv("AWS_PROFILE");
  char text[SECTION_BYTES_MAX];
  out->name = name && *name ? view_of(name) : VIEW_LIT("default");
  enum kpi_code rc = load_file("AWS_CONFIG_FILE", "config", &out->config, err);
  if (rc == KPI_OK)
    rc = load_file("AWS_SHARED_CREDENTIALS_FILE", "credentials", &out->credentials, err);
  if (rc == KPI_OK && !view_is(out->name, "default") &&
      !has_section(&out->config, config_section("profile", out->name, text)) &&
      !has_section(&out->credentials, out->name))
    rc = err_set(err, KPI_CONFIG_INVALID, "AWS_PROFILE=%s: there is no such profile in the files of AWS",
                 name);
  if (rc)
    profiles_clear(out);
  return rc;
}

static void file_clear(struct profile_file *f) {
  crypto_cleanse(f->text, f->text ? FILE_BYTES_MAX : 0);
  free(f->text);
  free(f->at);
}

void profiles_clear(struct profiles *p) {
  if (!p)
    return;
  file_clear(&p->config);
  file_clear(&p->credentials);
  *p = (struct profiles){0};
}
