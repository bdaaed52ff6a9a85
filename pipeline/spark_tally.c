/* SPDX-License-Identifier: MIT */
#include "pipeline/spark_tally.h"

#include <string.h>

/* ---- values ---- */

bool spark_get_count(const json_t *object, const char *name, uint64_t *out) {
  const json_t *value = json_object_get(object, name);
  if (!json_is_integer(value) || json_integer_value(value) < 0)
    return false;
  *out = (uint64_t)json_integer_value(value);
  return true;
}

static struct view text_of(const json_t *text) {
  return (struct view){json_string_value(text), json_string_length(text)};
}

bool spark_get_text(const json_t *object, const char *name, struct view *out) {
  const json_t *value = json_object_get(object, name);
  *out = text_of(value);
  return json_is_string(value);
}

static bool money_of(const json_t *text, struct decimal *out) {
  return json_is_string(text) && decimal_parse(text_of(text), out) == DECIMAL_OK;
}

bool spark_get_money(const json_t *object, const char *name, struct decimal *out) {
  return money_of(json_object_get(object, name), out);
}

bool spark_get_day(const json_t *object, const char *name, day_t *out) {
  struct view text;
  return spark_get_text(object, name, &text) && day_parse(text, out);
}

/* Writes the bytes that a text stands for, each by the character of its number. False for characters that no
 * byte has, and for more bytes than fit. */
static bool bytes_of(const json_t *text, char *out, size_t size) {
  const struct view from = text_of(text);
  size_t len = 0;
  if (!json_is_string(text))
    return false;
  for (size_t i = 0; i < from.len; i++) {
    unsigned char c = (unsigned char)from.ptr[i];
    if (c >= 0x80) {
      if ((c & ~1u) != 0xC2 || i + 1 == from.len)
        return false;
      c = (unsigned char)((c & 0x03) << 6 | (from.ptr[++i] & 0x3F));
    }
    if (c == 0 || len + 1 == size)
      return false;
    out[len++] = (char)c;
  }
  out[len] = '\0';
  return true;
}

/* ---- findings ---- */

static bool is_of_distinct_values(enum check_id id) {
  return id == CHECK_ORDER_STATUS_DOMAIN || id == CHECK_ITEM_STATUS_DOMAIN || id == CHECK_STATUS_NEAR_MISS;
}

static bool read_example(const json_t *json, size_t objects, struct finding *out) {
  const json_t *object = json_array_get(json, 0), *line = json_array_get(json, 1);
  char value[FINDING_VALUE_BYTES];
  if (json_array_size(json) != 3 || !json_is_integer(object) || !json_is_integer(line) ||
      json_integer_value(object) < 0 || (size_t)json_integer_value(object) >= objects ||
      json_integer_value(line) < 1 || !bytes_of(json_array_get(json, 2), value, sizeof value))
    return false;
  const struct place place = {(uint32_t)json_integer_value(object), (uint64_t)json_integer_value(line)};
  if (out->is_distinct)
    finding_add_distinct(out, place, view_of(value));
  else
    finding_add(out, place, view_of(value));
  return true;
}

static bool read_finding(enum check_id id, const json_t *json, const struct source_listing *listing,
                         struct finding *out) {
  const json_t *examples = json_object_get(json, "examples"), *example;
  const size_t objects = listing->datasets[quality_check_dataset(id)].count;
  uint64_t count;
  size_t i;
  if (!spark_get_count(json, "count", &count) || json_array_size(examples) > FINDING_EXAMPLES_MAX)
    return false;
  out->is_distinct = is_of_distinct_values(id);
  json_array_foreach(examples, i, example) {
    if (!read_example(example, objects, out))
      return false;
  }
  out->count = count;
  return true;
}

static bool read_findings(const json_t *json, const struct source_listing *listing,
                          struct quality_tally *out) {
  const char *name;
  json_t *finding;
  json_object_foreach((json_t *)json, name, finding) {
    enum check_id id;
    if (!quality_check_of(view_of(name), &id) || !read_finding(id, finding, listing, &out->found[id]))
      return false;
  }
  return json_is_object(json);
}

/* ---- columns ---- */

/* Widens the range of a column by a value as its kind is written. */
static bool add_value(enum dataset d, const char *column, const json_t *value, struct column_stats *stats) {
  char text[FINDING_VALUE_BYTES];
  struct decimal money;
  day_t day;
  if (json_is_integer(value)) {
    column_stats_number(stats, json_integer_value(value));
    return true;
  }
  if (strcmp(column, "created_at") == 0) {
    if (!json_is_string(value) || !day_parse(text_of(value), &day))
      return false;
    column_stats_number(stats, day);
    return true;
  }
  if (d == DATASET_ORDER_ITEMS && strcmp(column, "sale_price") == 0) {
    if (!money_of(value, &money))
      return false;
    column_stats_money(stats, &money);
    return true;
  }
  if (!bytes_of(value, text, sizeof text))
    return false;
  column_stats_text(stats, view_of(text));
  return true;
}

/* Reads [nulls, least, greatest]; the range is null when nothing is known of it. */
static bool read_column(enum dataset d, const char *column, const json_t *json, struct column_stats *out) {
  const json_t *nulls = json_array_get(json, 0);
  const json_t *least = json_array_get(json, 1), *greatest = json_array_get(json, 2);
  if (json_array_size(json) != 3 || !json_is_integer(nulls) || json_integer_value(nulls) < 0)
    return false;
  out->nulls = (uint64_t)json_integer_value(nulls);
  if (json_is_null(least) && json_is_null(greatest))
    return true;
  return add_value(d, column, least, out) && add_value(d, column, greatest, out);
}

bool spark_column_of(struct view name, enum dataset *dataset, size_t *column) {
  const struct view set = view_split(&name, '.');
  for (int d = 0; d < DATASET_COUNT; d++) {
    const struct schema *schema = schema_of((enum dataset)d);
    for (size_t c = 0; view_is(set, schema->name) && c < schema->column_count; c++) {
      *dataset = (enum dataset)d;
      *column = c;
      if (view_is(name, schema->columns[c].name))
        return true;
    }
  }
  return false;
}

static bool read_columns(const json_t *json, struct quality_tally *out) {
  const char *name;
  json_t *told;
  json_object_foreach((json_t *)json, name, told) {
    enum dataset d;
    size_t c;
    if (!spark_column_of(view_of(name), &d, &c) ||
        !read_column(d, schema_of(d)->columns[c].name, told, &out->columns[d][c]))
      return false;
  }
  return json_is_object(json);
}

/* ---- whole ---- */

bool spark_tally_read(const json_t *json, const struct source_listing *listing, struct quality_tally *out) {
  const json_t *relevant = json_object_get(json, "relevant"), *bad_rows = json_object_get(json, "bad_rows");
  for (int d = 0; d < DATASET_COUNT; d++) {
    const char *name = schema_of((enum dataset)d)->name;
    if (!spark_get_count(relevant, name, &out->relevant[d]) ||
        !spark_get_count(bad_rows, name, &out->bad_rows[d]))
      return false;
  }
  return read_findings(json_object_get(json, "found"), listing, out) &&
         read_columns(json_object_get(json, "columns"), out) &&
         spark_get_money(json, "item_revenue", &out->item_revenue) &&
         spark_get_money(json, "dropped_revenue", &out->dropped_revenue) &&
         spark_get_money(json, "orphan_revenue", &out->orphan_revenue);
}

bool spark_error_read(const json_t *json, struct err *out) {
  struct view code, message, object, column;
  uint64_t line;
  char value[sizeof out->value];
  if (!spark_get_text(json, "code", &code) || !spark_get_text(json, "message", &message))
    return false;
  const enum kpi_code known = err_code_of(code.ptr);
  if (known == KPI_OK || known > KPI_INTERNAL)
    return false;
  err_set(out, known, "%.*s", (int)message.len, message.ptr);
  if (spark_get_text(json, "object", &object))
    view_to_cstr(object, out->object, sizeof out->object);
  if (spark_get_text(json, "column", &column))
    view_to_cstr(column, out->column, sizeof out->column);
  if (spark_get_count(json, "line", &line))
    out->line = line;
  if (bytes_of(json_object_get(json, "value"), value, sizeof value))
    view_to_cstr(view_of(value), out->value, sizeof out->value);
  return true;
}
