/* SPDX-License-Identifier: MIT
 * libmicrohttpd, loaded by the first server and not by the commands that serve nothing. */
#ifndef KPID_SERVER_HTTP_LIBRARY_H
#define KPID_SERVER_HTTP_LIBRARY_H

#include "base/dynlib.h"

#include <microhttpd.h>

#define HTTP_LIBRARY_FUNCTIONS(X)                                                                            \
  X(MHD_, add_response_header)                                                                               \
  X(MHD_, create_response_from_buffer)                                                                       \
  X(MHD_, create_response_from_callback)                                                                     \
  X(MHD_, destroy_response)                                                                                  \
  X(MHD_, get_connection_info)                                                                               \
  X(MHD_, get_connection_values_n)                                                                           \
  X(MHD_, get_version)                                                                                       \
  X(MHD_, queue_response)                                                                                    \
  X(MHD_, quiesce_daemon)                                                                                    \
  X(MHD_, resume_connection)                                                                                 \
  X(MHD_, set_response_options)                                                                              \
  X(MHD_, start_daemon)                                                                                      \
  X(MHD_, stop_daemon)                                                                                       \
  X(MHD_, suspend_connection)

/* Its functions, without their MHD_. To be called after http_library_load only. */
extern struct microhttpd { HTTP_LIBRARY_FUNCTIONS(DYNLIB_POINTER) } microhttpd;

/* Errors: KPI_LIBRARY_MISSING. */
KPI_MUST_CHECK enum kpi_code http_library_load(struct err *err);

/* True for the version that is known to leave request heads in memory as http_gate expects them; others have
 * stricter parsers of their own. */
bool http_library_keeps_heads(void);

/* Returns its version; "missing" where it does not load. */
const char *http_library_version(void);

#endif
