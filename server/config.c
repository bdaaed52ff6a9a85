/* SPDX-License-Identifier: MIT */
#include "server/config.h"

#include "base/cgroup.h"
#include "base/clock.h"
#include "pipeline/s3_reader.h"
#include "pipeline/source.h"
#include "pipeline/spark_store.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Parses a value into the member of *out; false when it is out of range. */
typedef bool (*setting_parse_fn)(const char *value, struct config *out, size_t offset);

struct setting {
  const char *name, *value, *range, *meaning; /* value: the default; "" stands for unset */
  setting_parse_fn parse;
  size_t offset;
};

static void *member(struct config *out, size_t offset) {
  return (char *)out + offset;
}

static bool parse_text(const char *value, struct config *out, size_t offset) {
  *(const char **)member(out, offset) = *value ? value : NULL;
  return true;
}

static bool parse_nonempty(const char *value, struct config *out, size_t offset) {
  return *value && parse_text(value, out, offset);
}

static bool parse_source(const char *value, struct config *out, size_t offset) {
  return (*value == '\0' || source_url_is_valid(value)) && parse_text(value, out, offset);
}

/* host:port, [v6]:port or :port; the name itself is only looked up when it is listened on. */
static bool parse_address(const char *value, struct config *out, size_t offset) {
  const char *colon = strrchr(value, ':');
  uint64_t port;
  if (*value && (!colon || !view_to_u64(view_of(colon + 1), &port) || port > UINT16_MAX))
    return false;
  return parse_text(value, out, offset);
}

static bool parse_number(const char *value, uint64_t min, uint64_t max, struct config *out, size_t offset) {
  uint64_t number;
  if (!view_to_u64(view_of(value), &number) || number < min || number > max)
    return false;
  *(uint64_t *)member(out, offset) = number;
  return true;
}

static bool parse_threads(const char *value, struct config *out, size_t offset) {
  if (*value)
    return parse_number(value, 1, 256, out, offset);
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  *(uint64_t *)member(out, offset) = online > 0 ? (uint64_t)online : 1;
  return true;
}

static bool parse_slots(const char *value, struct config *out, size_t offset) {
  return parse_number(value, 1, ACTIVE_RUNS_MAX, out, offset);
}

static bool parse_hour(const char *value, struct config *out, size_t offset) {
  return parse_number(value, 0, 3600, out, offset);
}

static bool parse_stall(const char *value, struct config *out, size_t offset) {
  return parse_number(value, 1, 86400, out, offset);
}

static bool parse_days(const char *value, struct config *out, size_t offset) {
  return parse_number(value, 1, 36500, out, offset);
}

/* Bytes, or a number with KiB, MiB or GiB. */
static bool parse_bytes(const char *value, struct config *out, size_t offset) {
  static const struct {
    const char *suffix;
    unsigned shift;
  } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}};
  struct view v = view_of(value);
  *(uint64_t *)member(out, offset) = 0;
  if (v.len == 0)
    return true;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    uint64_t number;
    if (!view_ends(v, units[i].suffix))
      continue;
    struct view digits = view_trim((struct view){v.ptr, v.len - strlen(units[i].suffix)});
    if (!view_to_u64(digits, &number) || number > UINT64_MAX >> (units[i].shift + 8))
      return false;
    number <<= units[i].shift;
    *(uint64_t *)member(out, offset) = number;
    return number >= 1024 * 1024;
  }
  return false;
}

static bool parse_zone(const char *value, struct config *out, size_t offset) {
  out->zone = tz_cached(view_of(value));
  return out->zone && parse_nonempty(value, out, offset);
}

/* One of two words; true for the second. */
static bool parse_choice(const char *value, const char *no, const char *yes, struct config *out,
                         size_t offset) {
  bool is_yes = strcmp(value, yes) == 0;
  *(bool *)member(out, offset) = is_yes;
  return is_yes || strcmp(value, no) == 0;
}

static bool parse_publish(const char *value, struct config *out, size_t offset) {
  return parse_choice(value, "local", "dynamodb", out, offset);
}

static bool parse_mode(const char *value, struct config *out, size_t offset) {
  return parse_choice(value, "atomic", "plain", out, offset);
}

static bool parse_intents(const char *value, struct config *out, size_t offset) {
  return parse_choice(value, "none", "dynamodb", out, offset);
}

static bool parse_no_yes(const char *value, struct config *out, size_t offset) {
  return parse_choice(value, "no", "yes", out, offset);
}

static bool parse_shape(const char *value, struct config *out, size_t offset) {
  bool known = *value == '\0' || strcmp(value, "full") == 0 || strcmp(value, "original") == 0;
  return known && parse_text(value, out, offset);
}

/* 3-255 of A-Za-z0-9_.- */
static bool parse_table(const char *value, struct config *out, size_t offset) {
  size_t len = strlen(value);
  return len >= 3 && len <= 255 &&
         strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len &&
         parse_text(value, out, offset);
}

static bool parse_bad_rows(const char *value, struct config *out, size_t offset) {
  return bad_rows_of(view_of(value), member(out, offset));
}

static bool parse_limit(const char *value, struct config *out, size_t offset) {
  return bad_rows_limit_parse(view_of(value), &out->max_bad_rows) && parse_nonempty(value, out, offset);
}

static bool parse_match(const char *value, struct config *out, size_t offset) {
  return status_match_of(view_of(value), member(out, offset));
}

static bool parse_category(const char *value, struct config *out, size_t offset) {
  return strlen(value) <= 2048 && view_is_utf8(view_of(value)) && parse_text(value, out, offset);
}

static bool parse_engine(const char *value, struct config *out, size_t offset) {
  return engine_kind_of(view_of(value), member(out, offset));
}

static bool parse_spark_kind(const char *value, struct config *out, size_t offset) {
  static const char *const names[] = {"", "emr-serverless", "standalone"};
  int i = view_index_of(view_of(value), names, sizeof names / sizeof names[0]);
  *(enum spark_kind *)member(out, offset) = i < 0 ? SPARK_NONE : (enum spark_kind)i;
  return i >= 0;
}

/* s3://bucket/key or file:///path, of a file with a name. */
static bool parse_job_uri(const char *value, struct config *out, size_t offset) {
  return (*value == '\0' || (spark_store_url_is_valid(value) && !view_ends(view_of(value), "/"))) &&
         parse_text(value, out, offset);
}

static bool parse_work_uri(const char *value, struct config *out, size_t offset) {
  return (*value == '\0' || spark_store_url_is_valid(value)) && parse_text(value, out, offset);
}

static bool parse_rest_url(const char *value, struct config *out, size_t offset) {
  const struct view v = view_of(value);
  return (v.len == 0 || view_starts(v, "http://") || view_starts(v, "https://")) &&
         parse_text(value, out, offset);
}

static bool parse_master(const char *value, struct config *out, size_t offset) {
  return (*value == '\0' || view_starts(view_of(value), "spark://")) && parse_text(value, out, offset);
}

static bool parse_level(const char *value, struct config *out, size_t offset) {
  return log_level_of(value, member(out, offset));
}

#define AT(name) offsetof(struct config, name)

static const struct setting settings[] = {
    {"KPI_LISTEN", "127.0.0.1:8080", "address:port", "where the API listens; :8080 for every address",
     parse_address, AT(listen)},
    {"KPI_HEALTH_LISTEN", "", "address:port", "second listener for /livez /healthz /readyz; unset: none",
     parse_address, AT(health_listen)},
    {"KPI_API_KEYS", "", "name:role:sha256[:last-day], ...",
     "keys of the API; roles: read, run; see `kpid token new`", parse_text, AT(api_keys)},
    {"KPI_API_KEYS_FILE", "", "path", "file with such keys, one on a line; read again on SIGHUP", parse_text,
     AT(api_keys_file)},
    {"KPI_ALLOW_NO_KEYS", "no", "no|yes", "listen beyond this machine without keys", parse_no_yes,
     AT(allow_no_keys)},
    {"KPI_SOURCE", "", "file:///absolute/folder or s3://bucket/prefix",
     "where orders/ order_items/ products/ lie; needed", parse_source, AT(source)},
    {"KPI_DB", "./kpid.db", "path", "SQLite file of runs and results", parse_nonempty, AT(db)},
    {"KPI_THREADS", "", "1-256", "pthread workers; unset: one for each CPU", parse_threads, AT(threads)},
    {"KPI_MAX_ACTIVE_RUNS", "1", "1-64", "scans for single days at a time; backfills have one more",
     parse_slots, AT(max_active_runs)},
    {"KPI_TIMEZONE", "UTC", "IANA name", "zone of today and yesterday, and of timestamps that carry a zone",
     parse_zone, AT(timezone)},
    {"KPI_ENGINE", "native", "native|spark|auto",
     "what computes runs that do not say so; auto: spark for more input than KPI_NATIVE_MAX_BYTES",
     parse_engine, AT(engine)},
    {"KPI_NATIVE_MAX_BYTES", "64GiB", "bytes, KiB, MiB or GiB; at least 1MiB",
     "auto: most bytes of input, as stored, that the native engine computes", parse_bytes,
     AT(native_max_bytes)},
    {"KPI_SPARK_KIND", "", "emr-serverless|standalone", "the cluster of engine spark; unset: none",
     parse_spark_kind, AT(spark.kind)},
    {"KPI_SPARK_JOB_URI", "", "s3://bucket/key or file:///path",
     "where `kpid spark install` puts kpi_job.py; needed by engine spark", parse_job_uri, AT(spark.job_uri)},
    {"KPI_SPARK_WORK_URI", "", "s3://bucket/prefix or file:///folder",
     "where jobs find what to do and leave their results; needed by engine spark", parse_work_uri,
     AT(spark.work_uri)},
    {"KPI_SPARK_APPLICATION_ID", "", "id", "emr-serverless: the application", parse_text,
     AT(spark.application_id)},
    {"KPI_SPARK_ROLE_ARN", "", "ARN", "emr-serverless: the role of the jobs", parse_text, AT(spark.role_arn)},
    {"KPI_SPARK_REST_URL", "", "http://host:6066", "standalone: REST server of the master", parse_rest_url,
     AT(spark.rest_url)},
    {"KPI_SPARK_MASTER", "", "spark://host:7077", "standalone: the master, as its workers reach it",
     parse_master, AT(spark.master)},
    {"KPI_SPARK_TOKEN_FILE", "", "path", "standalone: file with a token for the REST server (JWT of Spark 4)",
     parse_text, AT(spark.token_file)},
    {"KPI_S3_CONCURRENCY", "8", "1-64", "ranges of 8 MiB that are downloaded from S3 at the same time",
     parse_slots, AT(s3_concurrency)},
    {"KPI_CACHE_DIR", "", "path", "folder for what was read of the input before; unset: none is kept",
     parse_text, AT(cache_dir)},
    {"KPI_CACHE_MAX_BYTES", "4GiB", "bytes, KiB, MiB or GiB; at least 1MiB",
     "what that folder may hold; what was not used for longest goes first", parse_bytes, AT(cache_max_bytes)},
    {"KPI_PUBLISH", "local", "local|dynamodb", "where results are published, beside the SQLite file",
     parse_publish, AT(publish_to_dynamodb)},
    {"KPI_PUBLISH_MODE", "atomic", "atomic|plain",
     "DynamoDB: a date changes in one instant; or item by item, with PutItem and BatchWriteItem only",
     parse_mode, AT(publish_plain)},
    {"KPI_CATEGORY_TABLE", "category_kpis_table", "name of a table", "DynamoDB table of category KPIs",
     parse_table, AT(category_table)},
    {"KPI_ORDER_TABLE", "order_kpis_table", "name of a table", "DynamoDB table of order KPIs", parse_table,
     AT(order_table)},
    {"KPI_CONTROL_TABLE", "kpi_control", "name of a table", "DynamoDB table that says what is published",
     parse_table, AT(control_table)},
    {"KPI_ITEM_SHAPE", "", "full|original",
     "attributes of DynamoDB items: all, or those of the replaced job; unset: full, original in plain mode",
     parse_shape, AT(item_shape)},
    {"KPI_INTENTS", "none", "none|dynamodb",
     "keep accepted runs in the control table too, for disks that are lost", parse_intents,
     AT(intents_in_dynamodb)},
    {"KPI_BAD_ROWS", "fail", "fail|skip", "rows without a usable date: refuse the run, or leave them out",
     parse_bad_rows, AT(bad_rows)},
    {"KPI_MAX_BAD_ROWS", "1%", "count or percent", "most rows that bad_rows=skip may leave out", parse_limit,
     AT(max_bad_rows_text)},
    {"KPI_STATUS_MATCH", "folded", "folded|exact", "how a status is compared with returned", parse_match,
     AT(status_match)},
    {"KPI_UNKNOWN_CATEGORY", "", "1-2048 bytes of UTF-8",
     "category of products without one; unset: refuse them when sold", parse_category, AT(unknown_category)},
    {"KPI_LOG_LEVEL", "info", "debug|info|warn|error", "lowest level that is logged", parse_level,
     AT(log_level)},
    {"KPI_DRAIN_SECONDS", "20", "0-3600",
     "how long SIGTERM waits for active runs, and for DynamoDB to be told of them", parse_hour,
     AT(drain_seconds)},
    {"KPI_STALL_SECONDS", "120", "1-86400", "a run without progress for so long fails as stalled",
     parse_stall, AT(stall_seconds)},
    {"KPI_KEEP_DAYS", "90", "1-36500", "age at which finished runs are deleted; what is published stays",
     parse_days, AT(keep_days)},
    {"KPI_MEMORY_LIMIT", "", "bytes, KiB, MiB or GiB; at least 1MiB",
     "memory of one run beyond its buffers; unset: a share of what the control group of the process (the "
     "container) allows, none without one",
     parse_bytes, AT(memory_limit_bytes)},
};

enum { SETTING_COUNT = sizeof settings / sizeof settings[0] };

static const char *value_of(const struct setting *s) {
  const char *set = getenv(s->name);
  return set && *set ? set : s->value;
}

/* A typo must not silently leave a default in force. */
static enum kpi_code check_names(struct err *err) {
  for (char **entry = environ; *entry; entry++) {
    struct view rest = view_of(*entry);
    struct view name = view_split(&rest, '=');
    bool known = !view_starts(name, "KPI_") || view_starts(name, SPARK_CONF_PREFIX "spark");
    for (size_t i = 0; i < SETTING_COUNT && !known; i++)
      known = view_is(name, settings[i].name);
    if (!known)
      return err_set(err, KPI_CONFIG_INVALID, "%.*s: there is no such setting", (int)name.len, name.ptr);
  }
  return KPI_OK;
}

/* True for names of what Spark itself takes for secret. */
static bool is_secret(struct view name) {
  static const char *const words[] = {"secret", "password", "token", "accesskey", "access_key", "access.key"};
  for (size_t i = 0; i < name.len; i++)
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
      const struct view word = view_of(words[w]);
      if (name.len - i >= word.len && view_eq_fold((struct view){name.ptr + i, word.len}, word))
        return true;
    }
  return false;
}

bool config_next_spark(size_t *at, struct view *name, struct view *value) {
  while (environ[*at]) {
    *value = view_of(environ[(*at)++]);
    *name = view_split(value, '=');
    if (view_starts(*name, SPARK_CONF_PREFIX))
      return true;
  }
  return false;
}

/* What is in the settings of a job can be read by everybody who sees its command line. */
static enum kpi_code refuse_secrets(struct err *err) {
  struct view name, value;
  size_t at = 0;
  while (config_next_spark(&at, &name, &value))
    if (is_secret(name))
      return err_set(
          err, KPI_CONFIG_INVALID,
          "%.*s would show on command lines; give the cluster a role, or credentials in its environment",
          (int)name.len, name.ptr);
  return KPI_OK;
}

/* A cluster needs all of its settings. */
static enum kpi_code check_spark(const struct config *config, struct err *err) {
  const struct spark_settings *s = &config->spark;
  const bool is_emr = s->kind == SPARK_EMR_SERVERLESS;
  const struct {
    const char *name, *value;
  } needed[] = {
      {"KPI_SPARK_JOB_URI", s->job_uri},
      {"KPI_SPARK_WORK_URI", s->work_uri},
      {is_emr ? "KPI_SPARK_APPLICATION_ID" : "KPI_SPARK_REST_URL", is_emr ? s->application_id : s->rest_url},
      {is_emr ? "KPI_SPARK_ROLE_ARN" : "KPI_SPARK_MASTER", is_emr ? s->role_arn : s->master}};
  if (s->kind == SPARK_NONE && config->engine == ENGINE_SPARK)
    return err_set(err, KPI_CONFIG_INVALID, "KPI_ENGINE=spark: KPI_SPARK_KIND is not set");
  if (s->rest_url && strchr(s->rest_url, '@')) /* the address stands in logs and in errors of runs */
    return err_set(
        err, KPI_CONFIG_INVALID,
        "KPI_SPARK_REST_URL must hold no user and no password; KPI_SPARK_TOKEN_FILE is for secrets");
  for (size_t i = 0; s->kind != SPARK_NONE && i < sizeof needed / sizeof needed[0]; i++)
    if (!needed[i].value)
      return err_set(err, KPI_CONFIG_INVALID, "%s is not set, but KPI_SPARK_KIND is", needed[i].name);
  return refuse_secrets(err);
}

uint64_t config_memory_share(const struct config *c, uint64_t allowed, uint64_t scans) {
  const uint64_t mib = 1024 * 1024, program = 32 * mib, least = 16 * mib;
  const uint64_t beside_runs = program + s3_downloads_memory(c->s3_concurrency);
  if (allowed == UINT64_MAX)
    return 0;
  uint64_t share = allowed > beside_runs ? (allowed - beside_runs) / scans : 0;
  return share > least ? share : least;
}

void config_share_memory(struct config *c, uint64_t scans) {
  if (c->memory_limit_bytes == 0)
    c->memory_limit_bytes = config_memory_share(c, cgroup_memory_limit(NULL, NULL), scans);
}

enum kpi_code config_load(struct config *out, struct err *err) {
  *out = (struct config){0};
  for (size_t i = 0; i < SETTING_COUNT; i++) {
    const struct setting *s = &settings[i];
    if (!s->parse(value_of(s), out, s->offset))
      return err_set(err, KPI_CONFIG_INVALID, "%s=%.200s: must be %s (%s)", s->name, value_of(s), s->range,
                     s->meaning);
  }
  enum kpi_code rc = check_names(err);
  return rc ? rc : check_spark(out, err);
}

day_t config_today(const struct config *c) {
  const int64_t now = clock_wall_ms() / 1000;
  return (day_t)((now + tz_offset_at_utc(c->zone, now)) / 86400);
}

bool config_date(const struct config *c, struct view text, day_t *out) {
  const bool is_today = view_is(text, "today");
  if (!is_today && !view_is(text, "yesterday"))
    return day_parse(text, out);
  *out = config_today(c) - (is_today ? 0 : 1);
  return true;
}

void config_describe(struct buf *out) {
  for (size_t i = 0; i < SETTING_COUNT; i++) {
    const struct setting *s = &settings[i];
    const char *set = getenv(s->name);
    const char *now = value_of(s);
    buf_printf(out, "%s=%s%s\n    %s\n    range: %s   default: %s\n", s->name, now,
               set && *set ? "   (set)" : "", s->meaning, s->range, s->value[0] ? s->value : "(unset)");
  }
  struct view name, value;
  size_t at = 0;
  while (config_next_spark(&at, &name, &value))
    buf_printf(out, "%.*s=%.*s   (set)\n    a setting of Spark, given to every job\n", (int)name.len,
               name.ptr, (int)value.len, value.ptr ? value.ptr : "");
}
