/* SPDX-License-Identifier: MIT
 * The peer of durable POSTs: an HTTP server that appends each body to a file and syncs it before it answers
 * 202. A thread a connection, and no other work at all. usage: bench_sync_each FILE one|shared; prints its
 * port. one: a sync a request, one after the other, as a database without group commit makes them. shared:
 * the threads sync side by side, and the kernel may make one of several. */
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fcntl.h>

enum { REQUEST_BYTES_MAX = 16 * 1024, BACKLOG = 256 };

static const char reply[] =
    "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{}\n";

static struct {
  int file;
  bool one_at_a_time;
  pthread_mutex_t lock;
} store = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool keep(const char *body, size_t size) {
  if (store.one_at_a_time)
    pthread_mutex_lock(&store.lock);
  bool kept = write(store.file, body, size) == (ssize_t)size && fdatasync(store.file) == 0;
  if (store.one_at_a_time)
    pthread_mutex_unlock(&store.lock);
  return kept;
}

static size_t length_of_body(const char *head) {
  for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
    if (strncasecmp(line + 2, "content-length:", 15) == 0)
      return strtoul(line + 17, NULL, 10);
  return 0;
}

/* Size of the request that `text` begins with; 0 when it is not there whole. */
static size_t whole_request(const char *text, size_t size, size_t *head_size) {
  const char *end = strstr(text, "\r\n\r\n");
  if (!end)
    return 0;
  *head_size = (size_t)(end - text) + 4;
  size_t whole = *head_size + length_of_body(text);
  return whole <= size ? whole : 0;
}

static void *serve(void *arg) {
  int fd = (int)(intptr_t)arg;
  char text[REQUEST_BYTES_MAX + 1];
  size_t size = 0, head_size, whole;
  ssize_t got;
  while ((got = recv(fd, text + size, REQUEST_BYTES_MAX - size, 0)) > 0) {
    size += (size_t)got;
    text[size] = '\0';
    while ((whole = whole_request(text, size, &head_size)) > 0) {
      if (!keep(text + head_size, whole - head_size) ||
          send(fd, reply, sizeof reply - 1, MSG_NOSIGNAL) != (ssize_t)sizeof reply - 1)
        exit(1);
      size -= whole;
      memmove(text, text + whole, size + 1);
    }
  }
  close(fd);
  return NULL;
}

static int listen_on_loopback(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, BACKLOG) != 0 ||
      getsockname(fd, (struct sockaddr *)&at, &size) != 0)
    return -1;
  printf("%d\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

int main(int argc, char **argv) {
  if (argc != 3)
    return 64;
  store.file = open(argv[1], O_CREAT | O_TRUNC | O_APPEND | O_WRONLY, 0600);
  store.one_at_a_time = strcmp(argv[2], "one") == 0;
  int listener = listen_on_loopback(), fd;
  if (store.file < 0 || listener < 0)
    return 1;
  while ((fd = accept(listener, NULL, NULL)) >= 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
      return 1;
    pthread_detach(thread);
  }
  return 1;
}
