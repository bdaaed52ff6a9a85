/* SPDX-License-Identifier: MIT
 * The sub-commands of the program. Each takes its arguments (argv[0] is its name) and returns the exit code:
 * 0, or the one that the table of error codes names. Errors go to stderr as "kpid: <code>: <message>" and
 * "hint: ...". */
#ifndef KPID_SERVER_CLI_H
#define KPID_SERVER_CLI_H

#include "base/err.h"

/* Runs the HTTP service until SIGINT or SIGTERM, and drains it. Takes no arguments. */
int cli_serve(int argc, char **argv);

/* Computes one date; records, publishes and prints it. Exits with 130 when a signal ends it. */
int cli_run(int argc, char **argv);

/* The same for every date of a range, or of the data, in one pass over the input. */
int cli_backfill(int argc, char **argv);

/* Writes made-up data, the same for the same seed. */
int cli_sample(int argc, char **argv);

/* Creates, or checks, the DynamoDB tables of the settings. */
int cli_tables(int argc, char **argv);

/* Puts the job of the Spark engine where the settings say. */
int cli_spark(int argc, char **argv);

/* Brings KPI_DB to the schema of this program, and makes it when it is not there. */
int cli_migrate(int argc, char **argv);

/* Makes an API key and prints it with the entry for KPI_API_KEYS. */
int cli_token(int argc, char **argv);

/* Prints what a SELECT gives over KPI_DB, whether a service has it open or not. */
int cli_query(int argc, char **argv);

/* Writes a copy of KPI_DB to a file, whether a service has it open or not. */
int cli_backup(int argc, char **argv);

/* Asks the service of the settings for /healthz. Returns 0 when it is healthy, else 1. */
int cli_healthcheck(int argc, char **argv);

/* Checks all settings and prints them with what is in effect. */
int cli_check_config(int argc, char **argv);

/* Prints the version. */
int cli_version(int argc, char **argv);

/* Prints an error with its hint; returns its exit code. */
int cli_fail(const struct err *err);

/* Prints a usage error; returns its exit code. */
int cli_usage_error(const char *fmt, ...) KPI_PRINTF(1, 2);

/* Prints text to standard output; returns the exit code: 0, or that of the error that it printed. */
int cli_say(const char *fmt, ...) KPI_PRINTF(1, 2);

/* For commands without options: refuses any argument. Returns 0 to go on, else the exit code + 1. */
int cli_no_arguments(int argc, char **argv);

/* Prints the help of all commands; returns the exit code. */
int cli_help(void);

#endif
