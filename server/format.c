/* SPDX-License-Identifier: MIT */
#include "server/format.h"

static const char *const names[FORMAT_COUNT] = {"json", "csv", "html"};
static const char *const media_types[FORMAT_COUNT] = {"application/json", "text/csv", "text/html"};

const char *format_name(enum format f) {
  return names[f];
}

static enum format by_name(struct view name) {
  int f = 0;
  while (f < FORMAT_COUNT && !view_is(name, names[f]))
    f++;
  return (enum format)f;
}

bool format_choose(struct request *rq, struct reply *rp, bool has_csv, bool has_html, enum format *out) {
  const bool has[FORMAT_COUNT] = {true, has_csv, has_html};
  const char *offers[FORMAT_COUNT + 1] = {NULL};
  enum format offered[FORMAT_COUNT];
  size_t count = 0;
  struct view name;
  for (int f = 0; f < FORMAT_COUNT; f++)
    if (has[f]) {
      offered[count] = (enum format)f;
      offers[count++] = media_types[f];
    }
  reply_header(rp, "Vary", "Accept");
  if (request_arg(rq, "format", &name)) {
    *out = by_name(name);
    if (*out == FORMAT_COUNT) {
      reply_error(rp, rq, KPI_MALFORMED_QUERY, "'format' may be json%s%s.", has_csv ? ", csv" : "",
                  has_html ? ", html" : "");
      return false;
    }
  } else {
    int offer = request_negotiate(rq, offers);
    *out = offer < 0 ? FORMAT_COUNT : offered[offer];
  }
  if (*out != FORMAT_COUNT && has[*out])
    return true;
  reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "This is sent as application/json%s%s.",
              has_csv ? ", text/csv" : "", has_html ? ", text/html" : "");
  return false;
}

void format_json_column(struct json_out *j, const char *name, const char *type) {
  jout_object(j, NULL);
  jout_string(j, "name", name);
  jout_string(j, "type", type);
  jout_object_end(j);
}
