/* SPDX-License-Identifier: MIT
 * Sockets that are listened on, and how many descriptors the process may have. Must not know the HTTP
 * library. */
#ifndef KPID_SERVER_HTTP_LISTEN_H
#define KPID_SERVER_HTTP_LISTEN_H

#include "base/err.h"

enum { HTTP_ADDRESS_SIZE = 80 };

/* Listens on "host:port" (see http_config). Returns the descriptor owned in *fd, and the address with its
 * real port. `setting` is where the address comes from: one that cannot be had is told with it. Errors:
 * KPI_CONFIG_INVALID, KPI_INTERNAL. */
KPI_MUST_CHECK enum kpi_code http_listen(const char *setting, const char *listen_on, int *fd,
                                         char address[HTTP_ADDRESS_SIZE], struct err *err);

/* Raises the limit of open files: a server that runs out of descriptors spins in accept, so there must be
 * enough for every connection it may take. Errors: KPI_CONFIG_INVALID. */
KPI_MUST_CHECK enum kpi_code http_raise_file_limit(struct err *err);

/* True when a socket is bound to an address that only this machine reaches. */
bool http_is_loopback(int fd);

#endif
