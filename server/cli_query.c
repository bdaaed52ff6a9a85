/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "server/copy_socket.h"
#include "server/copy_store.h"
#include "server/query_output.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { LOCK_WAIT_MS = 3000, LOCK_RETRY_MS = 50, NS_PER_MS = 1000000 };

/* The copy that a signal removes. Set before the handlers are. */
static char the_draft[PATH_MAX];

static void on_signal(int number) {
  (void)number;
  unlink(the_draft);
  _exit(err_info(KPI_INTERRUPTED)->exit_code);
}

/* Notes which file goes when a signal ends the process. */
static void guard_draft(const char *path) {
  struct sigaction action = {.sa_handler = on_signal};
  view_to_cstr(view_of(path), the_draft, sizeof the_draft);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

/* ---- copying ---- */

/* By the service that has the database, or, when nobody has it, by this process. Whoever has the lock without
 * answering may be about to, or about to end. */
static enum kpi_code copy_database(const char *db, const char *what, const char *to, struct err *err) {
  int64_t deadline = clock_mono_ms() + LOCK_WAIT_MS;
  for (;;) {
    bool answered;
    enum kpi_code rc = copy_socket_ask(db, to, &answered, err);
    if (rc || answered)
      return rc;
    rc = copy_store_make_closed(db, what, to, err);
    if (rc != KPI_DB_LOCKED || clock_mono_ms() > deadline)
      return rc;
    nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_MS * NS_PER_MS}, NULL);
  }
}

/* Copies into an empty file of this process, and checks the copy whole. */
static enum kpi_code make_copy(const char *db, const char *what, const char *to, struct err *err) {
  char real[PATH_MAX];
  if (!realpath(to, real))
    return err_set_errno(err, KPI_USAGE, errno, "%s: cannot be followed", to);
  enum kpi_code rc = copy_database(db, what, real, err);
  return rc ? rc : copy_store_finish(real, err);
}

/* ---- query ---- */

static enum kpi_code print_query(const char *copy, const char *sql, enum output_format format,
                                 struct err *err) {
  struct query_output *o = query_output_new(format);
  if (!o)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the output");
  struct query_sink sink = query_output_sink(o);
  enum kpi_code rc = query_store_run(copy, view_of(sql), &sink, err);
  if (rc == KPI_OK)
    rc = query_output_end(o, err);
  query_output_free(o);
  return rc;
}

/* Asks a copy, which is removed at the end: no query keeps a run from being written. */
static enum kpi_code query(const char *db, const char *sql, enum output_format format, struct err *err) {
  const char *folder = getenv("TMPDIR");
  char path[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/kpid-query-XXXXXX", folder && *folder ? folder : "/tmp");
  auto_close int fd = n < PATH_MAX ? mkostemp(path, O_CLOEXEC) : -1;
  if (fd < 0)
    return err_set_errno(err, KPI_USAGE, errno, "%s: cannot be made; TMPDIR names another folder", path);
  guard_draft(path);
  enum kpi_code rc = make_copy(db, "kpid query", path, err);
  if (rc == KPI_OK)
    rc = print_query(path, sql, format, err);
  unlink(path);
  return rc;
}

int cli_query(int argc, char **argv) {
  static const struct option options[] = {{"format", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
  enum output_format format = FORMAT_TABLE;
  struct config config;
  struct err err;
  int id;
  opterr = 0;
  optind = 1;
  while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1)
    if (id != 'f')
      return cli_usage_error("%s: unknown, or without its value", argv[optind - 1]);
    else if (!output_format_of(view_of(optarg), &format))
      return cli_usage_error("--format %s: not allowed", optarg);
  if (optind != argc - 1)
    return cli_usage_error("query takes one SELECT");
  log_init(LOG_ERROR, STDERR_FILENO);
  if (config_load(&config, &err) || query(config.db, argv[optind], format, &err))
    return cli_fail(&err);
  return 0;
}

/* ---- backup ---- */

/* Gives the copy its name, unless another file has got it meanwhile, and makes that last. */
static enum kpi_code put_in_place(const char *draft, const char *to, struct err *err) {
  auto_free char *folder = strdup(to);
  char *slash = folder ? strrchr(folder, '/') : NULL;
  if (slash)
    slash[slash == folder] = '\0';
  if (link(draft, to) != 0)
    return err_set_errno(err, KPI_USAGE, errno, "%s: cannot be made", to);
  unlink(draft);
  auto_close int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 && fsync(fd) == 0 ? KPI_OK
                                   : err_set_errno(err, KPI_STORAGE_UNAVAILABLE, errno,
                                                   "%s: its folder cannot be written to the disk", to);
}

static enum kpi_code backup(const char *db, const char *to, struct err *err) {
  auto_free char *draft = NULL;
  struct stat st;
  if (lstat(to, &st) == 0)
    return err_set(err, KPI_USAGE, "--to %s: is there already; nothing is overwritten", to);
  if (asprintf(&draft, "%s.tmp", to) < 0)
    return err_set(err, KPI_OUT_OF_MEMORY, "no memory for the backup");
  auto_close int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return err_set_errno(err, KPI_USAGE, errno, "%s: cannot be made%s", draft,
                         errno == EEXIST ? "; remove it unless another backup is being made" : "");
  guard_draft(draft);
  enum kpi_code rc = make_copy(db, "kpid backup", draft, err);
  if (rc == KPI_OK)
    rc = put_in_place(draft, to, err);
  if (rc)
    unlink(draft);
  return rc;
}

int cli_backup(int argc, char **argv) {
  static const struct option options[] = {{"to", required_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
  const char *to = NULL;
  struct config config;
  struct err err;
  int id;
  opterr = 0;
  optind = 1;
  while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1)
    if (id != 't')
      return cli_usage_error("%s: unknown, or without its value", argv[optind - 1]);
    else
      to = optarg;
  if (optind < argc)
    return cli_usage_error("unexpected argument %s", argv[optind]);
  if (!to || !*to)
    return cli_usage_error("backup needs --to FILE");
  log_init(LOG_ERROR, STDERR_FILENO);
  if (config_load(&config, &err) || backup(config.db, to, &err))
    return cli_fail(&err);
  return cli_say("%s\n", to);
}
