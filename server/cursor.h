/* SPDX-License-Identifier: MIT
 * Opaque page cursors: base64url (RFC 4648, without padding) of a short text. Knows no resource. */
#ifndef KPID_SERVER_CURSOR_H
#define KPID_SERVER_CURSOR_H

#include "base/buf.h"
#include "server/reply.h"

/* Appends the text encoded. */
void cursor_encode(struct view text, struct buf *out);

/* Appends the text that a cursor stands for. False when it is none. */
bool cursor_decode(struct view cursor, struct buf *out);

/* Notes that the query parameter `cursor` is not what an earlier page gave. */
void cursor_refuse(struct problem *p);

#endif
