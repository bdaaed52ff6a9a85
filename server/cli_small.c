/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include "base/scope.h"
#include "pipeline/sample.h"
#include "server/auth.h"
#include "server/cli_output.h"
#include "server/db.h"
#include "server/version.h"

#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { HEALTH_TIMEOUT_SECONDS = 5, SAMPLE_ORDERS_MAX = 1000000000 };

/* ---- shared by all commands ---- */

int cli_fail(const struct err *err) {
  const struct err_info *info = err_info(err->code);
  fprintf(stderr, "kpid: %s: %s\nhint: %s\n", info->name, err->message, info->hint);
  return info->exit_code;
}

int cli_usage_error(const char *fmt, ...) {
  struct err err;
  char text[sizeof err.message];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  err_set(&err, KPI_USAGE, "%s", text);
  return cli_fail(&err);
}

int cli_say(const char *fmt, ...) {
  struct err err;
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  va_list ap;
  va_start(ap, fmt);
  buf_vprintf(&text, fmt, ap);
  va_end(ap);
  enum kpi_code rc = buf_failed(&text) ? err_set(&err, KPI_OUT_OF_MEMORY, "no memory for the output")
                                       : cli_put(buf_view(&text), &err);
  return rc ? cli_fail(&err) : 0;
}

int cli_no_arguments(int argc, char **argv) {
  return argc > 1 ? cli_usage_error("%s takes no argument %s", argv[0], argv[1]) + 1 : 0;
}

/* ---- version, check-config, migrate ---- */

int cli_version(int argc, char **argv) {
  int refused = cli_no_arguments(argc, argv);
  if (refused)
    return refused - 1;
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  version_describe(&text);
  return cli_say("%s", text.ptr);
}

int cli_check_config(int argc, char **argv) {
  struct config config;
  struct err err;
  auto_buf struct buf text;
  buf_init(&text, SIZE_MAX);
  int refused = cli_no_arguments(argc, argv);
  if (refused)
    return refused - 1;
  struct auth *auth;
  if (config_load(&config, &err) || auth_new(config.api_keys, config.api_keys_file, &auth, &err))
    return cli_fail(&err);
  auth_free(auth);
  config_describe(&text);
  return cli_say("%s", text.ptr);
}

int cli_migrate(int argc, char **argv) {
  struct config config;
  struct err err;
  struct db *db;
  int refused = cli_no_arguments(argc, argv);
  if (refused)
    return refused - 1;
  log_init(LOG_INFO, STDERR_FILENO);
  if (config_load(&config, &err) || db_open(config.db, "kpid migrate", &db, &err))
    return cli_fail(&err);
  db_close(db);
  return cli_say("%s is up to date\n", config.db);
}

/* ---- healthcheck ---- */

/* Connects to host:port; an empty host or a wildcard is this machine. Returns a descriptor, -1 on failure. */
static int connect_to(const char *address) {
  char host[256];
  const char *colon = strrchr(address, ':');
  if (!colon)
    return -1;
  struct view name = {address, (size_t)(colon - address)};
  if (view_starts(name, "[") && view_ends(name, "]"))
    name = (struct view){name.ptr + 1, name.len - 2};
  if (name.len == 0 || view_is(name, "0.0.0.0"))
    name = VIEW_LIT("127.0.0.1");
  if (view_is(name, "::"))
    name = VIEW_LIT("::1");
  struct addrinfo *found = NULL, want = {.ai_socktype = SOCK_STREAM};
  if (!view_to_cstr(name, host, sizeof host) || getaddrinfo(host, colon + 1, &want, &found) != 0)
    return -1;
  int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {.tv_sec = HEALTH_TIMEOUT_SECONDS};
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
      close(fd);
      fd = -1;
    }
  }
  freeaddrinfo(found);
  return fd;
}

int cli_healthcheck(int argc, char **argv) {
  static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  struct config config;
  struct err err;
  char reply[16] = {0};
  int refused = cli_no_arguments(argc, argv);
  if (refused)
    return refused - 1;
  if (config_load(&config, &err))
    return cli_fail(&err);
  const char *address = config.health_listen ? config.health_listen : config.listen;
  auto_close int fd = connect_to(address);
  if (fd < 0 || send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1 ||
      recv(fd, reply, sizeof reply - 1, MSG_WAITALL) < 12) {
    fprintf(stderr, "kpid: unhealthy: %s does not answer\n", address);
    return 1;
  }
  bool healthy = memcmp(reply + strlen("HTTP/1.1 "), "200", 3) == 0;
  int said = cli_say("%s\n", healthy ? "ok" : reply);
  return healthy ? said : 1;
}

/* ---- sample ---- */

static bool take_sample_option(int id, const char *value, struct sample *s) {
  switch (id) {
  case 'o':
    s->out = value;
    return *value != '\0';
  case 'n':
    return view_to_u64(view_of(value), &s->orders) && s->orders >= 1 && s->orders <= SAMPLE_ORDERS_MAX;
  case 'd':
    return view_to_u64(view_of(value), &s->days) && s->days >= 1 && s->days <= SAMPLE_DAYS_MAX;
  case 's':
    return view_to_u64(view_of(value), &s->seed);
  case 'f':
    return day_parse(view_of(value), &s->from);
  case 'x':
    return s->is_dirty = true;
  default:
    return false;
  }
}

int cli_sample(int argc, char **argv) {
  static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                          {"orders", required_argument, NULL, 'n'},
                                          {"days", required_argument, NULL, 'd'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"dirty", no_argument, NULL, 'x'},
                                          {NULL, 0, NULL, 0}};
  struct sample s = {.orders = 10000, .days = 30, .seed = 1, .from = day_from_civil(2025, 3, 1)};
  struct err err;
  int id, index = 0;
  opterr = 0;
  optind = 1;
  while ((id = getopt_long(argc, argv, ":", options, &index)) != -1)
    if (id == ':' || id == '?')
      return cli_usage_error("%s: unknown, or without its value", argv[optind - 1]);
    else if (!take_sample_option(id, optarg, &s))
      return cli_usage_error("--%s %s: not allowed", options[index].name, optarg);
  if (optind < argc)
    return cli_usage_error("unexpected argument %s", argv[optind]);
  if (!s.out)
    return cli_usage_error("sample needs --out DIR");
  if (sample_write(&s, &err))
    return cli_fail(&err);
  char first[DAY_TEXT_SIZE], last[DAY_TEXT_SIZE];
  return cli_say("%llu orders of %s to %s in %s\n", (unsigned long long)s.orders, day_text(s.from, first),
                 day_text(s.from + (day_t)s.days - 1, last), s.out);
}

/* ---- help ---- */

int cli_help(void) {
  return cli_say(
      "%s",
      "kpid " KPID_VERSION " - e-commerce KPIs for a date, from CSV\n"
      "\n"
      "  kpid serve                        the HTTP service (settings: kpid check-config)\n"
      "  kpid run --date YYYY-MM-DD        computes one date (also yesterday, today), publishes and prints "
      "it\n"
      "  kpid backfill --from D --to D     computes every date of a range; --all: every date of the data\n"
      "      --source URL                  instead of KPI_SOURCE: file:///folder or s3://bucket/prefix\n"
      "      --format table|csv|json       what is printed (table)\n"
      "      --out DIR                     writes order_kpis and category_kpis there (csv, or json)\n"
      "      --no-publish                  computes only, needs no database\n"
      "      --threads N                   instead of KPI_THREADS\n"
      "      --bad-rows fail|skip          instead of KPI_BAD_ROWS\n"
      "      --max-bad-rows N|P%           instead of KPI_MAX_BAD_ROWS\n"
      "      --quality-gate off|warn|block (warn)\n"
      "      --force                       publishes also what is published already, or loses half of it\n"
      "  kpid sample --out DIR             writes made-up data: --orders N --days N --seed S --from D "
      "--dirty\n"
      "  kpid tables create|check          the DynamoDB tables\n"
      "  kpid spark install                puts kpi_job.py at KPI_SPARK_JOB_URI\n"
      "  kpid token new --name N           makes an API key: --role run|read --last-day YYYY-MM-DD\n"
      "  kpid query \"SELECT ...\"           what KPI_DB holds, also under a running service: --format "
      "table|csv|json\n"
      "  kpid backup --to FILE             a checked copy of KPI_DB, also under a running service\n"
      "  kpid migrate                      brings KPI_DB to the schema of this version\n"
      "  kpid healthcheck                  exit 0 when the service answers (for containers)\n"
      "  kpid check-config                 prints every setting with range, default and meaning\n"
      "  kpid version\n"
      "\n"
      "Exit codes: 0 ok, 64 usage, 65 bad input, 66 source, 69 publish, 70/71 internal/system, 73 database "
      "in use,\n"
      "75 try again, 78 configuration, 130 interrupted\n");
}
