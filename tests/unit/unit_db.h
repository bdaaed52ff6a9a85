/* SPDX-License-Identifier: MIT
 * For unit tests that need a database: an empty one in a folder of its own, and the defaults of runs. */
#ifndef KPID_TESTS_UNIT_DB_H
#define KPID_TESTS_UNIT_DB_H

#include "unit.h"

#include "server/db.h"
#include "server/run_move_store.h"

#include <unistd.h>

static char folder[64], path[96];
static struct db *db;

static int open_db(void **state) {
  (void)state;
  struct err err;
  strcpy(folder, "/tmp/kpid-unit-XXXXXX");
  if (!mkdtemp(folder))
    return 1;
  snprintf(path, sizeof path, "%s/k.db", folder);
  return db_open(path, "unit test", &db, &err) != KPI_OK;
}

static int close_db(void **state) {
  (void)state;
  char command[128];
  db_close(db);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static const struct run_defaults defaults = {"UTC", "file:///data", "1%"};

#endif
