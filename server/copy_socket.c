/* SPDX-License-Identifier: MIT */
#include "server/copy_socket.h"

#include "base/log.h"
#include "base/scope.h"
#include "server/db_file.h"
#include "server/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

enum {
  REQUEST_SECONDS = 2,
  ACCEPT_RETRY_MS = 100,
  NS_PER_MS = 1000000,
  BACKLOG = 16,
  REPLY_BYTES_MAX = 1024,
  SOCKET_MODE = 0600
};

struct copy_socket {
  struct service *service;
  char *path; /* of the database, links followed */
  int fd, stop_fd;
  pthread_t thread;
  bool started;
};

/* ---- address ---- */

/* The folder of the database is opened, and the socket named by way of /proc: a path may be longer than an
 * address. Sets *folder, to be closed after the address was used. */
static bool address_of(const char *path, struct sockaddr_un *out, int *folder) {
  auto_free char *copy = strdup(path);
  char *slash = copy ? strrchr(copy, '/') : NULL;
  if (!slash)
    return false;
  *slash = '\0';
  *folder = open(slash == copy ? "/" : copy, O_PATH | O_DIRECTORY | O_CLOEXEC);
  *out = (struct sockaddr_un){.sun_family = AF_UNIX};
  int n = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s.sock", *folder, slash + 1);
  return *folder >= 0 && n > 0 && (size_t)n < sizeof out->sun_path;
}

static void limit_time(int fd) {
  const struct timeval limit = {.tv_sec = REQUEST_SECONDS};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* ---- serving ---- */

/* A client and the service. */
struct exchange {
  const struct copy_socket *socket;
  int fd;
};

/* Until the client has gone or the service stops. */
static bool go_on(void *arg) {
  const struct exchange *x = arg;
  struct pollfd watched[] = {{.fd = x->socket->stop_fd, .events = POLLIN},
                             {.fd = x->fd, .events = POLLRDHUP}};
  return poll(watched, 2, 0) == 0;
}

/* Reads the path, which a NUL ends. */
static bool read_path(int fd, char path[PATH_MAX]) {
  size_t len = 0;
  while (len < PATH_MAX) {
    ssize_t n = recv(fd, path + len, PATH_MAX - len, 0);
    if (n <= 0)
      return false;
    len += (size_t)n;
    if (path[len - 1] == '\0')
      return true;
  }
  return false;
}

/* Only an empty file of the client's own is filled: he gets nothing written that he could not write himself.
 */
static enum kpi_code check_client(int fd, const char *path, struct err *err) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  struct stat st;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || (peer.uid != geteuid() && peer.uid != 0))
    return err_set(err, KPI_USAGE, "only the user of the service may copy its database");
  if (lstat(path, &st) != 0)
    return err_set_errno(err, KPI_USAGE, errno, "%s: the service cannot see it", path);
  if (!S_ISREG(st.st_mode) || st.st_size != 0 || st.st_uid != peer.uid)
    return err_set(err, KPI_USAGE, "%s: is no empty file of the user who asks", path);
  return KPI_OK;
}

/* Answers "<name of the code> <message>", or "ok ". */
static void serve_client(const struct copy_socket *s, int fd) {
  struct exchange x = {s, fd};
  struct err err = {0};
  char path[PATH_MAX], reply[REPLY_BYTES_MAX];
  limit_time(fd);
  if (!read_path(fd, path))
    return;
  enum kpi_code rc = check_client(fd, path, &err);
  if (rc == KPI_OK)
    rc = service_copy(s->service, path, go_on, &x, &err);
  if (rc)
    log_at(LOG_WARN, "copy.failed", err.message, LOG_S("code", err_name(rc)));
  else
    log_at(LOG_INFO, "copy.made", "the database was copied", LOG_S("path", path));
  int n = snprintf(reply, sizeof reply, "%s %s", err_name(rc), rc ? err.message : "");
  if (send(fd, reply, (size_t)n < sizeof reply ? (size_t)n : sizeof reply - 1, MSG_NOSIGNAL) < 0)
    log_at(LOG_WARN, "copy.no_reader", "who asked for a copy has gone");
}

static void *serve(void *arg) {
  const struct copy_socket *s = arg;
  struct pollfd watched[] = {{.fd = s->stop_fd, .events = POLLIN}, {.fd = s->fd, .events = POLLIN}};
  for (;;) {
    if (poll(watched, 2, -1) < 0)
      continue;
    if (watched[0].revents)
      return NULL;
    auto_close int client = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    if (client >= 0)
      serve_client(s, client);
    else
      nanosleep(&(struct timespec){.tv_nsec = ACCEPT_RETRY_MS * NS_PER_MS}, NULL); /* no descriptor is free */
  }
}

/* A socket of a process that was killed is in the way; the lock of the database says that it is nobody's. */
static enum kpi_code listen_at(struct copy_socket *s, struct err *err) {
  struct sockaddr_un address;
  auto_close int folder = -1;
  if (!address_of(s->path, &address, &folder))
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "%s.sock: the name is too long", s->path);
  s->stop_fd = eventfd(0, EFD_CLOEXEC);
  s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(address.sun_path);
  if (s->stop_fd < 0 || s->fd < 0 || fchmod(s->fd, SOCKET_MODE) != 0 ||
      bind(s->fd, (const struct sockaddr *)&address, sizeof address) != 0 || listen(s->fd, BACKLOG) != 0)
    return err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno, "%s.sock cannot be made", s->path);
  return KPI_OK;
}

enum kpi_code copy_socket_start(struct service *service, const char *path, struct copy_socket **out,
                                struct err *err) {
  *out = NULL;
  struct copy_socket *s = calloc(1, sizeof *s);
  if (!s)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the copy socket");
  *s = (struct copy_socket){.service = service, .fd = -1, .stop_fd = -1};
  enum kpi_code rc = db_file_resolve(path, &s->path, err);
  if (rc == KPI_OK)
    rc = listen_at(s, err);
  if (rc == KPI_OK && pthread_create(&s->thread, NULL, serve, s) != 0)
    rc = err_set(err, KPI_STORAGE_UNAVAILABLE, "the thread of the copy socket cannot be started");
  s->started = rc == KPI_OK;
  if (rc) {
    copy_socket_stop(s);
    return rc;
  }
  *out = s;
  return KPI_OK;
}

void copy_socket_stop(struct copy_socket *s) {
  if (!s)
    return;
  struct sockaddr_un address;
  auto_close int folder = -1;
  if (s->started) {
    eventfd_write(s->stop_fd, 1);
    pthread_join(s->thread, NULL);
    if (address_of(s->path, &address, &folder))
      unlink(address.sun_path);
  }
  if (s->fd >= 0)
    close(s->fd);
  if (s->stop_fd >= 0)
    close(s->stop_fd);
  free(s->path);
  free(s);
}

/* ---- asking ---- */

static enum kpi_code read_answer(int fd, struct err *err) {
  char reply[REPLY_BYTES_MAX];
  size_t len = 0;
  ssize_t n;
  while (len < sizeof reply - 1 && (n = recv(fd, reply + len, sizeof reply - 1 - len, 0)) > 0)
    len += (size_t)n;
  reply[len] = '\0';
  char *message = strchr(reply, ' ');
  if (!message)
    return err_set(err, KPI_STORAGE_UNAVAILABLE, "the service that holds the database went away");
  *message++ = '\0';
  enum kpi_code rc = err_code_of(reply);
  if (rc == KPI_CODE_COUNT)
    return err_set(err, KPI_INTERNAL, "the service answers %s", reply);
  return rc ? err_set(err, rc, "%s", message) : KPI_OK;
}

enum kpi_code copy_socket_ask(const char *path, const char *to, bool *answered, struct err *err) {
  struct sockaddr_un address;
  auto_free char *real = NULL;
  auto_close int folder = -1;
  *answered = false;
  enum kpi_code rc = db_file_resolve(path, &real, err);
  if (rc || !address_of(real, &address, &folder))
    return rc;
  auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
    return fd >= 0 && errno == EACCES
               ? err_set_errno(err, KPI_USAGE, errno, "%s.sock: only the user of the service may use it",
                               real)
               : KPI_OK;
  *answered = true;
  size_t size = strlen(to) + 1;
  if (send(fd, to, size, MSG_NOSIGNAL) != (ssize_t)size)
    return err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno, "the service that holds %s cannot be asked",
                         real);
  return read_answer(fd, err);
}
