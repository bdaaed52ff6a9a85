/* SPDX-License-Identifier: MIT */
#include "aws/cred_http.h"

#include "base/crypto.h"
#include "base/scope.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

enum { TRIES = 3, PAUSE_MS = 200 };

enum http_outcome cred_http_call(struct http_client *http, const struct http_request *q,
                                 struct http_reply *out) {
  for (int i = 1;; i++) {
    enum http_outcome outcome = http_call(http, q, out);
    bool again = outcome == HTTP_REPLIED ? out->status >= 500 || out->status == 429
                                         : outcome != HTTP_STOPPED && outcome != HTTP_TOO_LARGE;
    if (!again || i == TRIES)
      return outcome;
    http_reply_clear(out);
    nanosleep(&(struct timespec){.tv_nsec = i * PAUSE_MS * 1000000L}, NULL);
  }
}

enum kpi_code cred_read_file(const char *path, struct buf *out, struct err *err) {
  char bytes[4096];
  FILE *file = fopen(path, "re");
  if (!file)
    return err_set_errno(err, KPI_CREDENTIALS_MISSING, errno, "%s cannot be read", path);
  size_t n;
  while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
    buf_add(out, (struct view){bytes, n});
  bool ok = !ferror(file) && !buf_failed(out);
  fclose(file);
  crypto_cleanse(bytes, sizeof bytes);
  out->len = view_trim(buf_view(out)).len;
  return ok && out->len ? KPI_OK
                        : err_set(err, KPI_CREDENTIALS_MISSING, "%s cannot be read, or is empty", path);
}

enum kpi_code cred_http_err(const char *place, enum http_outcome outcome, const struct http_reply *reply,
                            struct err *err) {
  if (outcome != HTTP_REPLIED)
    return err_set(err, KPI_CREDENTIALS_MISSING, "%s does not answer: %s", place, reply->problem);
  return err_set(err, KPI_CREDENTIALS_MISSING, "%s answered %ld without credentials", place, reply->status);
}
