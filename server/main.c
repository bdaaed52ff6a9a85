/* SPDX-License-Identifier: MIT */
#include "server/cli.h"

#include <string.h>

static const struct command {
  const char *name;
  int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", cli_serve},
    {"run", cli_run},
    {"backfill", cli_backfill},
    {"sample", cli_sample},
    {"tables", cli_tables},
    {"spark", cli_spark},
    {"query", cli_query},
    {"backup", cli_backup},
    {"migrate", cli_migrate},
    {"token", cli_token},
    {"healthcheck", cli_healthcheck},
    {"check-config", cli_check_config},
    {"version", cli_version},
};

static bool asks_for_help(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return true;
  return argc > 1 && strcmp(argv[1], "help") == 0;
}

int main(int argc, char **argv) {
  if (asks_for_help(argc, argv))
    return cli_help();
  const char *name = argc > 1 ? argv[1] : "";
  if (strcmp(name, "--version") == 0)
    name = "version";
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (strcmp(name, commands[i].name) == 0)
      return commands[i].run(argc - 1, argv + 1);
  return *name ? cli_usage_error("there is no command %s; see kpid help", name)
               : cli_usage_error("a command is needed; see kpid help");
}
