/* SPDX-License-Identifier: MIT
 * The way of a run's log lines into the database: a bounded list that never makes the one who logs wait, and
 * a thread that stores what has come together. What does not fit, or the disk does not take, is dropped and
 * counted. Knows no HTTP. */
#ifndef KPID_SERVER_RUN_LOG_H
#define KPID_SERVER_RUN_LOG_H

#include "server/run_log_store.h"

enum { RUN_LOG_PENDING_LINES_MAX = 2048, RUN_LOG_PENDING_BYTES_MAX = 1024 * 1024 };

struct run_log;

/* Takes the lines of base/log from now on. Borrows db for its life. Returns owned in *out. Errors:
 * KPI_OUT_OF_MEMORY, KPI_INTERNAL. */
KPI_MUST_CHECK enum kpi_code run_log_start(struct db *db, struct run_log **out, struct err *err);

/* Waits until the lines logged before are stored, or dropped. Any thread. */
void run_log_flush(struct run_log *l);

/* How many lines were dropped so far. Any thread. */
uint64_t run_log_dropped(struct run_log *l);

/* Takes no more lines, stores those it has, ends the thread and frees. Accepts NULL. */
void run_log_stop(struct run_log *l);

#endif
