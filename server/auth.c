/* SPDX-License-Identifier: MIT */
#include "server/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "pipeline/day.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_CHARS_MAX = 64, MINUTE_MS = 60 * 1000, MS_PER_DAY = 86400 * 1000 };
enum role { ROLE_READ, ROLE_RUN, ROLE_COUNT };

static const char *const role_names[ROLE_COUNT] = {"read", "run"};

struct key {
  char name[NAME_CHARS_MAX + 1];
  enum role role;
  char sha256[SHA256_HEX_SIZE];
  day_t last_day; /* DAY_MAX: for ever */
};

struct keys {
  struct key *at;
  size_t count;
};

struct auth {
  const char *text, *file; /* borrowed; NULL: none */
  struct {
    pthread_rwlock_t lock;
    struct keys keys;
  } synced;
  _Atomic int64_t minute; /* in which the failures were counted */
  _Atomic uint64_t failures;
};

/* ---- entries ---- */

bool auth_name_is_valid(struct view name) {
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    bool is_ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                 c == '_' || c == '-';
    if (!is_ok)
      return false;
  }
  return name.len >= 1 && name.len <= NAME_CHARS_MAX;
}

static bool role_of(struct view name, enum role *out) {
  for (int r = 0; r < ROLE_COUNT; r++)
    if (view_is(name, role_names[r])) {
      *out = (enum role)r;
      return true;
    }
  return false;
}

bool auth_role_is_valid(struct view role) {
  enum role ignored;
  return role_of(role, &ignored);
}

static bool is_sha256(struct view hex) {
  for (size_t i = 0; i < hex.len; i++)
    if (!(hex.ptr[i] >= '0' && hex.ptr[i] <= '9') && !(hex.ptr[i] >= 'a' && hex.ptr[i] <= 'f'))
      return false;
  return hex.len == SHA256_HEX_SIZE - 1;
}

/* The entry itself is not shown: somebody may have put the key where its hash belongs. */
static enum kpi_code bad_entry(size_t number, const char *where, const char *what, struct err *err) {
  return err_set(err, KPI_CONFIG_INVALID,
                 "%s: key %zu: %s; an entry is name:role:sha256[:last-day], see "
                 "`kpid token new`",
                 where, number, what);
}

static enum kpi_code add_entry(struct keys *keys, struct view entry, const char *where, struct err *err) {
  struct view rest = entry;
  struct view name = view_split(&rest, ':'), role = view_split(&rest, ':'), hash = view_split(&rest, ':');
  struct key key = {.last_day = DAY_MAX};
  size_t number = keys->count + 1;
  if (!auth_name_is_valid(name))
    return bad_entry(number, where, "a name is 1 to 64 of A-Za-z0-9._-", err);
  if (!role_of(role, &key.role))
    return bad_entry(number, where, "the role is read or run", err);
  if (!is_sha256(hash))
    return bad_entry(number, where, "the SHA-256 has 64 lower-case hex digits", err);
  if (rest.ptr && !day_parse(rest, &key.last_day))
    return bad_entry(number, where, "the last day is YYYY-MM-DD", err);
  if (keys->count == AUTH_KEYS_MAX)
    return bad_entry(number, where, "these are too many", err);
  view_to_cstr(name, key.name, sizeof key.name);
  view_to_cstr(hash, key.sha256, sizeof key.sha256);
  keys->at[keys->count++] = key;
  return KPI_OK;
}

/* Adds the entries of one line, which are separated by commas or blanks. */
static enum kpi_code add_line(struct keys *keys, struct view line, const char *where, struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (size_t i = 0; rc == KPI_OK && i <= line.len;) {
    size_t end = i;
    while (end < line.len && !strchr(", \t\r", line.ptr[end]))
      end++;
    if (end > i)
      rc = add_entry(keys, (struct view){line.ptr + i, end - i}, where, err);
    i = end + 1;
  }
  return rc;
}

static enum kpi_code add_lines(struct keys *keys, struct view text, const char *where, struct err *err) {
  enum kpi_code rc = KPI_OK;
  while (rc == KPI_OK && text.ptr) {
    struct view line = view_split(&text, '\n');
    rc = add_line(keys, view_split(&line, '#'), where, err);
  }
  return rc;
}

static enum kpi_code read_file(const char *path, struct buf *out, struct err *err) {
  char block[4096];
  auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : 1;
  while (n > 0 && (n = read(fd, block, sizeof block)) > 0)
    buf_add(out, (struct view){block, (size_t)n});
  if (n < 0)
    return err_set_errno(err, KPI_CONFIG_INVALID, errno, "KPI_API_KEYS_FILE=%s: cannot be read", path);
  return buf_failed(out) ? err_set(err, KPI_CONFIG_INVALID, "KPI_API_KEYS_FILE=%s: is longer than %d bytes",
                                   path, AUTH_FILE_BYTES_MAX)
                         : KPI_OK;
}

static enum kpi_code read_keys(const struct auth *a, struct keys *out, struct err *err) {
  auto_buf struct buf text;
  buf_init(&text, AUTH_FILE_BYTES_MAX);
  enum kpi_code rc = KPI_OK;
  *out = (struct keys){.at = calloc(AUTH_KEYS_MAX, sizeof *out->at)};
  if (!out->at)
    rc = err_set(err, KPI_OUT_OF_MEMORY, "no memory for the keys");
  if (rc == KPI_OK && a->text)
    rc = add_lines(out, view_of(a->text), "KPI_API_KEYS", err);
  if (rc == KPI_OK && a->file)
    rc = read_file(a->file, &text, err);
  if (rc == KPI_OK && a->file)
    rc = add_lines(out, buf_view(&text), a->file, err);
  /* A file without keys would open the service to everyone. */
  if (rc == KPI_OK && out->count == 0 && (a->text || a->file))
    rc = err_set(err, KPI_CONFIG_INVALID, "%s holds no key", a->file ? a->file : "KPI_API_KEYS");
  if (rc)
    free(out->at);
  return rc;
}

/* ---- life ---- */

enum kpi_code auth_new(const char *keys, const char *file, struct auth **out, struct err *err) {
  struct auth *a = calloc(1, sizeof *a);
  *out = NULL;
  if (!a)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the keys");
  a->text = keys;
  a->file = file;
  pthread_rwlock_init(&a->synced.lock, NULL);
  enum kpi_code rc = read_keys(a, &a->synced.keys, err);
  if (rc) {
    a->synced.keys = (struct keys){NULL, 0};
    auth_free(a);
    return rc;
  }
  *out = a;
  return KPI_OK;
}

void auth_free(struct auth *a) {
  if (!a)
    return;
  free(a->synced.keys.at);
  pthread_rwlock_destroy(&a->synced.lock);
  free(a);
}

enum kpi_code auth_reload(struct auth *a, struct err *err) {
  struct keys fresh;
  enum kpi_code rc = read_keys(a, &fresh, err);
  if (rc)
    return rc;
  pthread_rwlock_wrlock(&a->synced.lock);
  struct keys old = a->synced.keys;
  a->synced.keys = fresh;
  pthread_rwlock_unlock(&a->synced.lock);
  free(old.at);
  log_at(LOG_INFO, "auth.reloaded", "the keys were read again", LOG_I("keys", (int64_t)fresh.count));
  return KPI_OK;
}

bool auth_has_keys(struct auth *a) {
  pthread_rwlock_rdlock(&a->synced.lock);
  bool has = a->synced.keys.count > 0;
  pthread_rwlock_unlock(&a->synced.lock);
  return has;
}

void auth_make_key(char out[AUTH_KEY_SIZE]) {
  unsigned char secret[32];
  crypto_random(secret, sizeof secret);
  memcpy(out, "kpid_", 5);
  crypto_hex(secret, sizeof secret, out + 5);
  crypto_cleanse(secret, sizeof secret);
}

/* ---- requests ---- */

/* The password of Basic credentials; the user's name says nothing. */
static bool basic_password(struct view encoded, char *out, size_t size, struct view *key) {
  size_t length;
  if (!crypto_base64_decode(encoded, out, size, &length))
    return false;
  *key = (struct view){out, length};
  view_split(key, ':');
  return key->ptr != NULL;
}

/* Finds the key that was sent: as Bearer, as X-API-Key, or as the password of Basic; more than one is none.
 * `room` holds what had to be decoded. */
static bool sent_key(const struct request *rq, char room[AUTH_CREDENTIALS_BYTES_MAX], struct view *key) {
  struct view rest;
  size_t sent = 0;
  for (size_t i = 0; i < rq->field_count; i++)
    sent += view_eq_fold(rq->fields[i].name, VIEW_LIT("Authorization")) ||
            view_eq_fold(rq->fields[i].name, VIEW_LIT("X-API-Key"));
  if (sent != 1)
    return false;
  if (request_header(rq, "X-API-Key", key))
    return key->len > 0 && key->len < AUTH_CREDENTIALS_BYTES_MAX;
  request_header(rq, "Authorization", &rest);
  struct view scheme = view_split(&rest, ' ');
  *key = view_trim(rest);
  if (key->len == 0 || key->len >= AUTH_CREDENTIALS_BYTES_MAX)
    return false;
  if (view_eq_fold(scheme, VIEW_LIT("Basic")))
    return basic_password(*key, room, AUTH_CREDENTIALS_BYTES_MAX, key);
  return view_eq_fold(scheme, VIEW_LIT("Bearer"));
}

/* Compares with every key, whichever fits. */
static bool find_key(struct auth *a, struct view sent, struct key *out) {
  char sha256[SHA256_HEX_SIZE];
  bool found = false;
  day_t today = (day_t)(clock_wall_ms() / MS_PER_DAY);
  crypto_sha256_hex(sent, sha256);
  pthread_rwlock_rdlock(&a->synced.lock);
  for (size_t i = 0; i < a->synced.keys.count; i++) {
    const struct key *k = &a->synced.keys.at[i];
    if (crypto_equal(k->sha256, sha256, sizeof sha256) && today <= k->last_day) {
      *out = *k;
      found = true;
    }
  }
  pthread_rwlock_unlock(&a->synced.lock);
  return found;
}

/* Counts a failure; true when there were too many in this minute. */
static bool is_too_often(struct auth *a) {
  int64_t minute = clock_mono_ms() / MINUTE_MS;
  if (atomic_exchange(&a->minute, minute) != minute)
    atomic_store(&a->failures, 0);
  return atomic_fetch_add(&a->failures, 1) >= AUTH_FAILURES_A_MINUTE;
}

static void refuse(struct auth *a, struct request *rq, struct reply *rp) {
  if (is_too_often(a)) {
    struct problem p = {.code = KPI_QUOTA_EXCEEDED,
                        .detail = "Too many requests came with keys that are not valid.",
                        .retry_after_seconds = MINUTE_MS / 1000};
    reply_problem(rp, rq, &p);
    return;
  }
  reply_error(rp, rq, KPI_UNAUTHENTICATED,
              "A key is needed, as Authorization: Bearer KEY, as X-API-Key, or as the password of Basic.");
  reply_header(rp, "WWW-Authenticate", "Bearer realm=\"kpid\", Basic realm=\"kpid\"");
}

static bool is_always_open(const struct request *rq) {
  return view_is(rq->path, "/livez") || view_is(rq->path, "/healthz");
}

static bool is_reading(const struct request *rq) {
  return rq->method == HTTP_GET || rq->method == HTTP_HEAD || rq->method == HTTP_OPTIONS;
}

/* A page of another site that makes the reader's browser post a form. */
static bool is_cross_site(const struct request *rq) {
  struct view site;
  return !is_reading(rq) && request_header(rq, "Sec-Fetch-Site", &site) && !view_is(site, "same-origin") &&
         !view_is(site, "none");
}

bool auth_admit(struct auth *a, struct request *rq, struct reply *rp) {
  char room[AUTH_CREDENTIALS_BYTES_MAX];
  struct view sent;
  struct key key;
  if (is_cross_site(rq)) {
    reply_error(rp, rq, KPI_FORBIDDEN, "A page of another site may not do this.");
    return false;
  }
  if (is_always_open(rq) || !auth_has_keys(a))
    return true;
  bool is_known = sent_key(rq, room, &sent) && find_key(a, sent, &key);
  crypto_cleanse(room, sizeof room);
  if (!is_known) {
    refuse(a, rq, rp);
    return false;
  }
  memcpy(rq->principal, key.name, sizeof key.name);
  if (key.role == ROLE_RUN || is_reading(rq))
    return true;
  reply_error(rp, rq, KPI_FORBIDDEN, "The key '%s' may only read.", key.name);
  return false;
}
