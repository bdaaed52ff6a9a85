/* SPDX-License-Identifier: MIT
 * How `kpid query` and `kpid backup` get a copy of a database that a service holds: a socket beside the file,
 * KPI_DB.sock, for processes of the same user. A client names an empty file of its own, the service fills it.
 * Knows no SQL. */
#ifndef KPID_SERVER_COPY_SOCKET_H
#define KPID_SERVER_COPY_SOCKET_H

#include "base/err.h"

struct service;
struct copy_socket;

/* Starts a thread that serves copies of the database at `path`, whose lock this process holds. Borrows the
 * service. Returns owned in *out. Errors: KPI_STORAGE_UNAVAILABLE, KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code copy_socket_start(struct service *service, const char *path,
                                               struct copy_socket **out, struct err *err);

/* Gives up a copy that is being made, ends the thread and removes the socket. Accepts NULL. */
void copy_socket_stop(struct copy_socket *s);

/* Asks the service that holds the database at `path` to fill the file `to` (absolute path). *answered: there
 * is one; else nothing was done and KPI_OK returned. Errors: those of service_copy. */
KPI_MUST_CHECK enum kpi_code copy_socket_ask(const char *path, const char *to, bool *answered,
                                             struct err *err);

#endif
