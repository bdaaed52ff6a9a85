/* SPDX-License-Identifier: MIT */
#include "server/quality_page.h"

#include <jansson.h>
#include <stdio.h>

static void cell(struct buf *out, const json_t *value) {
  buf_add_cstr(out, "<td>");
  if (json_is_string(value))
    buf_add_html(out, (struct view){json_string_value(value), json_string_length(value)});
  else if (json_is_integer(value))
    buf_printf(out, "%lld", (long long)json_integer_value(value));
  else if (json_is_number(value))
    buf_printf(out, "%.6g", json_number_value(value));
  buf_add_cstr(out, "</td>");
}

static void examples_cell(struct buf *out, const json_t *examples) {
  size_t i;
  json_t *example;
  buf_add_cstr(out, "<td>");
  json_array_foreach(examples, i, example) {
    const json_t *value = json_object_get(example, "value");
    buf_add_cstr(out, i ? "<br>" : "");
    buf_add_html(out, view_of(json_string_value(json_object_get(example, "object"))));
    buf_printf(out, ":%lld ", (long long)json_integer_value(json_object_get(example, "line")));
    buf_add_html(out, (struct view){json_string_value(value), json_string_length(value)});
  }
  buf_add_cstr(out, "</td>");
}

static void write_checks(struct buf *out, const json_t *checks) {
  static const char *const columns[] = {"status",   "title",    "dataset",           "column",
                                        "observed", "expected", "unexpected_percent"};
  size_t i;
  json_t *check;
  buf_add_cstr(
      out, "<table><thead><tr><th>status</th><th>check</th><th>data set</th><th>column</th><th>observed</th>"
           "<th>expected</th><th>unexpected %</th><th>examples</th></tr></thead>\n<tbody>\n");
  json_array_foreach(checks, i, check) {
    buf_add_cstr(out, "<tr>");
    for (size_t c = 0; c < sizeof columns / sizeof columns[0]; c++)
      cell(out, json_object_get(check, columns[c]));
    examples_cell(out, json_object_get(check, "examples"));
    buf_add_cstr(out, "</tr>\n");
  }
  buf_add_cstr(out, "</tbody></table>\n");
}

static void write_profile(struct buf *out, json_t *profile) {
  const char *dataset, *column;
  json_t *about, *range;
  buf_add_cstr(
      out, "<h2>Inputs</h2>\n<table><thead><tr><th>data set</th><th>rows</th><th>bad rows</th><th>column</th>"
           "<th>nulls</th><th>min</th><th>max</th></tr></thead>\n<tbody>\n");
  json_object_foreach(profile, dataset, about)
      json_object_foreach(json_object_get(about, "columns"), column, range) {
    buf_printf(out, "<tr><td>%s</td>", dataset);
    cell(out, json_object_get(about, "rows"));
    cell(out, json_object_get(about, "bad_rows"));
    buf_printf(out, "<td>%s</td>", column);
    cell(out, json_object_get(range, "nulls"));
    cell(out, json_object_get(range, "min"));
    cell(out, json_object_get(range, "max"));
    buf_add_cstr(out, "</tr>\n");
  }
  buf_add_cstr(out, "</tbody></table>\n");
}

void quality_page(struct reply *rp, const struct run *run, struct view report) {
  json_error_t fault;
  json_t *json = json_loadb(report.ptr, report.len, 0, &fault);
  if (!json)
    return; /* nothing was made: the front answers internal-error */
  char title[64], date[DAY_TEXT_SIZE];
  snprintf(title, sizeof title, "Data quality %s", day_text(run->date, date));
  struct buf *out = reply_html_begin(rp, 200, title);
  buf_printf(out, "<p>Run %s: %s.</p>\n", run->id, json_string_value(json_object_get(json, "status")));
  write_checks(out, json_object_get(json, "checks"));
  write_profile(out, json_object_get(json, "profile"));
  reply_html_end(rp);
  json_decref(json);
}
