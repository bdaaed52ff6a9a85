/* SPDX-License-Identifier: MIT
 * The text of server-sent events (WHATWG HTML, 9.2). Pure functions over a buffer: knows no run and no
 * stream. */
#ifndef KPID_SERVER_SSE_H
#define KPID_SERVER_SSE_H

#include "base/buf.h"

#define SSE_MEDIA_TYPE "text/event-stream"

/* The id of events that carry none. */
#define SSE_NO_ID UINT64_MAX

/* Starts an event: its name is static, without line ends. sse_data and sse_end follow. */
void sse_begin(struct buf *out, const char *name, uint64_t id);

/* Appends data, a field for each line of it. May be called again: the client puts a line end between. */
void sse_data(struct buf *out, struct view data);

/* Ends the event: the client acts on it. */
void sse_end(struct buf *out);

/* A whole event. */
void sse_event(struct buf *out, const char *name, uint64_t id, struct view data);

/* A comment, which clients skip; keeps proxies from taking the connection for dead. */
void sse_comment(struct buf *out, const char *text);

/* How long the client waits before it connects again. */
void sse_retry(struct buf *out, unsigned wait_ms);

#endif
