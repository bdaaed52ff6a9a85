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

/* Reads the query parameter `cursor` where it stands for an id, empty without it; `text` keeps what *id
 * borrows. False when it is not what an earlier page gave. */
bool cursor_read_id(const struct request *rq, struct buf *text, struct view *id);

/* Writes the member next_cursor: null when the cursor is empty. */
void cursor_write(struct json_out *j, struct view cursor);

/* The same, with the Link header that names the next page. */
void cursor_write_next(const struct request *rq, struct reply *rp, struct json_out *j, struct view cursor);

/* Notes that the query parameter `cursor` is not what an earlier page gave. */
void cursor_refuse(struct problem *p);

#endif
