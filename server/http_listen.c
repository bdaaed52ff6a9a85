/* SPDX-License-Identifier: MIT */
#include "server/http_listen.h"

#include "base/view.h"
#include "server/http_gate.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* Splits "host:port" at the last colon, with or without brackets about the host. */
static bool split_address(const char *text, char *host, size_t host_size, char *port, size_t port_size) {
  const char *colon = strrchr(text, ':');
  if (!colon)
    return false;
  struct view h = {text, (size_t)(colon - text)};
  if (h.len >= 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
    h = (struct view){h.ptr + 1, h.len - 2};
  uint64_t number;
  return view_to_cstr(h, host, host_size) && view_to_cstr(view_of(colon + 1), port, port_size) &&
         view_to_u64(view_of(port), &number) && number <= 65535;
}

static enum kpi_code read_address(int fd, char address[HTTP_ADDRESS_SIZE], struct err *err) {
  struct sockaddr_storage bound = {0};
  socklen_t size = sizeof bound;
  char host[64], port[8];
  if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0 ||
      getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return err_set_errno(err, KPI_INTERNAL, errno, "The address that is listened on cannot be read");
  bool brackets = strchr(host, ':') != NULL;
  snprintf(address, HTTP_ADDRESS_SIZE, "%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "", port);
  return KPI_OK;
}

static int bind_first(const struct addrinfo *list) {
  int yes = 1;
  int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
      bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
    return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}

enum kpi_code http_listen(const char *setting, const char *listen_on, int *fd,
                          char address[HTTP_ADDRESS_SIZE], struct err *err) {
  char host[256], port[8];
  struct addrinfo *list = NULL;
  struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  if (!split_address(listen_on, host, sizeof host, port, sizeof port))
    return err_set(err, KPI_CONFIG_INVALID, "%s=%s: this is no address like 127.0.0.1:8080", setting,
                   listen_on);
  if (getaddrinfo(host[0] ? host : NULL, port, &hints, &list) != 0 || !list)
    return err_set(err, KPI_CONFIG_INVALID, "%s=%s: the host is not known here", setting, listen_on);
  *fd = bind_first(list);
  int why = errno;
  freeaddrinfo(list);
  if (*fd < 0)
    return err_set_errno(err, KPI_CONFIG_INVALID, why, "%s=%s: cannot be listened on", setting, listen_on);
  return read_address(*fd, address, err);
}

bool http_is_loopback(int fd) {
  struct sockaddr_storage bound = {0};
  socklen_t size = sizeof bound;
  if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
    return false;
  if (bound.ss_family == AF_INET)
    return ntohl(((const struct sockaddr_in *)(const void *)&bound)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  return bound.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)&bound)->sin6_addr);
}

enum kpi_code http_raise_file_limit(struct err *err) {
  const rlim_t need = HTTP_CONNECTIONS_MAX + HTTP_HEALTH_CONNECTIONS_MAX + HTTP_SPARE_FILES;
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return err_set_errno(err, KPI_INTERNAL, errno, "The limit of open files cannot be read");
  if (limit.rlim_cur >= need)
    return KPI_OK;
  limit.rlim_cur = need;
  if (limit.rlim_max < need || setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return err_set(err, KPI_CONFIG_INVALID,
                   "The limit of open files is too low: %llu are needed (ulimit -n).",
                   (unsigned long long)need);
  return KPI_OK;
}
