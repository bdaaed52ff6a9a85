/* SPDX-License-Identifier: MIT
 * What is published, over days, in the database: series of KPI rows, the history that checks compare with,
 * and an overview of the calendar. Rows are those whose digest was checked when they were published. Knows no
 * HTTP. */
#ifndef KPID_SERVER_PUBLISHED_STORE_H
#define KPID_SERVER_PUBLISHED_STORE_H

#include "server/db.h"
#include "server/service.h"

enum { PUBLISHED_CHUNK_DAYS = 31 }; /* most days that one call reads, so that others get their turn */

/* Reads the order rows that are published for the days from `from` to `to`, zeros for a published day without
 * one, by day. Returns owned in *out. */
KPI_MUST_CHECK enum kpi_code published_store_history(struct db *db, day_t from, day_t to,
                                                     struct kpi_rows *out, struct err *err);

/* See service_published. */
KPI_MUST_CHECK enum kpi_code published_store_rows(struct db *db, const struct published_ask *ask,
                                                  struct kpi_rows *out, day_t *next, struct err *err);

/* See service_days. */
KPI_MUST_CHECK enum kpi_code published_store_days(struct db *db, day_t from, size_t count,
                                                  struct day_overview *out, struct err *err);

#endif
