/* SPDX-License-Identifier: MIT
 * A reply as handlers make it: status, headers and an owned body, a problem document, a page, or the wish to
 * be called again when something has changed. Also writes JSON, with decimals passed through digit by digit.
 * Must not know the HTTP library. */
#ifndef KPID_SERVER_REPLY_H
#define KPID_SERVER_REPLY_H

#include "base/buf.h"
#include "base/crypto.h"
#include "server/request.h"

enum { REPLY_HEADERS_MAX = 16, REPLY_TOPIC_SIZE = 64, PROBLEM_ERRORS_MAX = 16 };

enum reply_kind {
  REPLY_NONE,  /* the handler forgot: answered as internal-error */
  REPLY_READY, /* send it */
  REPLY_WAIT,  /* suspend, call the handler again after a notice on the topic or at the deadline */
  REPLY_STREAM /* send the head, then what `next` gives, turn by turn */
};

/* One turn of a stream. */
struct stream_turn {
  struct buf *to;   /* what is to be sent is appended here; at most HTTP_STREAM_PIECE_BYTES_MAX */
  bool was_noticed; /* the first turn, or the topic was notified since the last one that says so: look */
  bool is_draining; /* the service ends: say goodbye and end */
  char topic[REPLY_TOPIC_SIZE]; /* set when nothing was appended: to be called again after a notice, */
  int64_t wait_until_ms;        /* or at this monotonic deadline */
};

/* Gives the next piece of a stream; its memory is rq->keep. False: the stream ends after what was appended.
 * Called when the client has taken all that came before, on a thread of the HTTP front; must not block, as
 * handlers. */
typedef bool (*stream_next_fn)(struct request *rq, struct stream_turn *turn);

struct reply_header {
  const char *name; /* static */
  char *value;      /* owned */
};

/* Owns body and header values; reply_init and reply_clear. */
struct reply {
  enum reply_kind kind;
  unsigned status;
  const char *content_type; /* static, NULL without a body */
  struct buf body;
  struct view fixed_body; /* used instead of body when ptr is set: bytes that outlive the server */
  struct reply_header headers[REPLY_HEADERS_MAX];
  size_t header_count;
  bool failed; /* memory ran out or a limit was passed while it was made */
  char topic[REPLY_TOPIC_SIZE];
  int64_t wait_until_ms; /* monotonic */
  stream_next_fn next;   /* of a stream */
};

/* Prepares an empty reply. */
void reply_init(struct reply *rp);

/* Frees what it owns. Accepts NULL. */
void reply_clear(struct reply *rp);

/* Drops body and headers made so far, to start again. */
void reply_reset(struct reply *rp);

/* True when the reply can be sent as it stands; false when memory ran out or it passed HTTP_REPLY_BYTES_MAX.
 */
bool reply_is_whole(const struct reply *rp);

/* Borrows the bytes to send. */
struct view reply_body(const struct reply *rp);

/* Adds a header; name is static, the value printf-formatted and without control bytes. */
void reply_header(struct reply *rp, const char *name, const char *fmt, ...) KPI_PRINTF(3, 4);

/* Borrows the value of a header set before, NULL when there is none. */
const char *reply_header_value(const struct reply *rp, const char *name);

/* Starts a reply with a body of that type (static); returns the buffer to write it to, owned by the reply. */
struct buf *reply_begin(struct reply *rp, unsigned status, const char *content_type);

/* A reply without a body. */
void reply_empty(struct reply *rp, unsigned status);

/* A text/plain reply; copies text. */
void reply_text(struct reply *rp, unsigned status, struct view text);

/* An application/json reply made elsewhere; copies text. */
void reply_json_text(struct reply *rp, unsigned status, struct view text);

/* A reply whose body outlives the server (embedded files). */
void reply_fixed(struct reply *rp, unsigned status, const char *content_type, struct view bytes);

/* Starts an HTML page without script under a strict Content-Security-Policy, up to and including <main><h1>.
 * Write the rest with buf_add_html for every value, then call reply_html_end. */
struct buf *reply_html_begin(struct reply *rp, unsigned status, const char *title);

/* Ends the page that reply_html_begin has started. */
void reply_html_end(struct reply *rp);

/* Sets ETag (given without quotes) and Cache-Control: no-cache. When If-None-Match names it, makes the reply
 * a 304 and returns true: the handler is done. Call it before the body is written. */
bool reply_etag(struct reply *rp, const struct request *rq, const char *etag);

/* Adds a Link header with rel="next": the request's own path and decoded query with another cursor. */
void reply_link_next(struct reply *rp, const struct request *rq, struct view cursor);

/* Asks to be called again when `topic` is notified or at the monotonic deadline, whichever is first. */
void reply_wait(struct reply *rp, const char *topic, int64_t until_mono_ms);

/* A reply of unknown length with status 200, whose body comes from `next` turn by turn. It counts as a
 * watcher; with HEAD nothing is asked for. */
void reply_stream(struct reply *rp, const char *content_type, stream_next_fn next);

/* --- problem documents (RFC 9457) -------------------------------------------------------------------- */

struct problem_error {
  char pointer[160]; /* JSON pointer into the body, or the name of a query parameter */
  char detail[240];
};

/* What a problem document says beyond its code; zero-initialise and set what is known. */
struct problem {
  enum kpi_code code;
  char detail[768];
  const char *hint; /* borrowed: what to do about the run's error; NULL: none is written */
  struct problem_error errors[PROBLEM_ERRORS_MAX];
  size_t error_count;           /* may grow past the array: the rest is only counted */
  char run_id[UUID_TEXT_SIZE];  /* empty if none */
  unsigned retry_after_seconds; /* 0: the default of the code, if it has one */
  bool is_final;                /* trying again is no use here, whatever the code says */
  unsigned status;              /* 0: that of the code */
};

/* Returns the problem that a filled err is. */
struct problem problem_of(const struct err *err);

/* Notes one faulty field. */
void problem_add(struct problem *p, const char *pointer, const char *fmt, ...) KPI_PRINTF(3, 4);

/* Replaces whatever was made so far by the problem document. Codes of runs and of the command line, which
 * have no business in a reply, are told as internal-error, storage-unavailable or service states. */
void reply_problem(struct reply *rp, const struct request *rq, const struct problem *p);

/* The same from a code and a printf-formatted detail. */
void reply_error(struct reply *rp, const struct request *rq, enum kpi_code code, const char *fmt, ...)
    KPI_PRINTF(4, 5);

/* The same from a filled err. */
void reply_err(struct reply *rp, const struct request *rq, const struct err *err);

/* --- JSON -------------------------------------------------------------------------------------------- */

/* Writes compact JSON to a buffer. `key` is static plain ASCII, NULL inside an array and at the top. */
struct json_out {
  struct buf *to; /* borrowed */
  bool comma;     /* a value was written at this level */
};

/* Starts an application/json reply; write one value, then call reply_json_end. */
struct json_out reply_json_begin(struct reply *rp, unsigned status);

/* Ends the document that reply_json_begin has started. */
void reply_json_end(struct json_out *j);

/* Opens an object; the members follow, then jout_object_end. */
void jout_object(struct json_out *j, const char *key);

/* Closes the innermost object. */
void jout_object_end(struct json_out *j);

/* Opens an array; the items follow, with NULL for their key, then jout_array_end. */
void jout_array(struct json_out *j, const char *key);

/* Closes the innermost array. */
void jout_array_end(struct json_out *j);

/* Writes a string; ill-formed UTF-8 becomes U+FFFD. */
void jout_text(struct json_out *j, const char *key, struct view value);

/* The same of a NUL-terminated string; NULL writes null. */
void jout_string(struct json_out *j, const char *key, const char *value);

/* Writes a whole number, with all its digits. */
void jout_uint(struct json_out *j, const char *key, uint64_t value);

/* Writes true or false. */
void jout_bool(struct json_out *j, const char *key, bool value);

/* Writes null. */
void jout_null(struct json_out *j, const char *key);

/* Writes an instant, in Unix milliseconds, as RFC 3339 in UTC; 0 writes null. */
void jout_time(struct json_out *j, const char *key, int64_t wall_ms);

/* Writes JSON text made by the service itself (numbers with all their digits, stored objects); NULL writes
 * null. */
void jout_raw(struct json_out *j, const char *key, const char *text);

#endif
