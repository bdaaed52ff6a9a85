/* SPDX-License-Identifier: MIT */
#include "server/auth.h"
#include "server/cli.h"

#include "base/crypto.h"
#include "pipeline/day.h"

#include <getopt.h>
#include <string.h>

struct token_options {
  const char *name, *role, *last_day;
};

/* Reads the options; returns 0 to go on, else the exit code. */
static int parse(int argc, char **argv, struct token_options *o) {
  static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"last-day", required_argument, NULL, 'l'},
                                          {0}};
  int id;
  day_t day;
  opterr = 0;
  while ((id = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (id == '?')
      return cli_usage_error("token new does not take %s, or it lacks its value", argv[optind - 1]);
    *(id == 'n' ? &o->name : id == 'r' ? &o->role : &o->last_day) = optarg;
  }
  if (optind < argc)
    return cli_usage_error("token new does not take %s", argv[optind]);
  if (!o->name || !auth_name_is_valid(view_of(o->name)))
    return cli_usage_error("--name is needed: 1 to 64 of A-Za-z0-9._-");
  if (!auth_role_is_valid(view_of(o->role)))
    return cli_usage_error("--role must be read or run");
  if (o->last_day && !day_parse(view_of(o->last_day), &day))
    return cli_usage_error("--last-day must be a date as YYYY-MM-DD");
  return 0;
}

int cli_token(int argc, char **argv) {
  struct token_options o = {.role = "run"};
  char key[AUTH_KEY_SIZE], sha256[SHA256_HEX_SIZE];
  if (argc < 2 || strcmp(argv[1], "new") != 0)
    return cli_usage_error("kpid token new --name NAME [--role read|run] [--last-day YYYY-MM-DD]");
  int refused = parse(argc - 1, argv + 1, &o);
  if (refused)
    return refused;
  auth_make_key(key);
  crypto_sha256_hex(view_of(key), sha256);
  int said = cli_say("key:   %s\nentry: %s:%s:%s%s%s\n", key, o.name, o.role, sha256, o.last_day ? ":" : "",
                     o.last_day ? o.last_day : "");
  crypto_cleanse(key, sizeof key);
  return said;
}
