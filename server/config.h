/* SPDX-License-Identifier: MIT
 * The settings, from the environment: one table of name, default, range and meaning. A wrong value stops the
 * start. */
#ifndef KPID_SERVER_CONFIG_H
#define KPID_SERVER_CONFIG_H

#include "base/buf.h"
#include "base/log.h"
#include "base/tz.h"
#include "pipeline/job.h"

enum { ACTIVE_RUNS_MAX = 64 };

enum spark_kind { SPARK_NONE, SPARK_EMR_SERVERLESS, SPARK_STANDALONE };

/* The cluster of engine spark. Texts are NULL where they are not set. */
struct spark_settings {
  enum spark_kind kind;
  const char *application_id, *role_arn; /* emr-serverless */
  const char *rest_url, *master;         /* standalone */
  const char *token_file;
  const char *job_uri, *work_uri;
};

/* Settings of the names SPARK_CONF_PREFIX... are Spark's own: the rest of the name, with dots for
 * underscores, and the value are given to every job. */
#define SPARK_CONF_PREFIX "KPI_SPARK_CONF_"

/* Goes through these settings, *at being 0 at first. `name` is that of the environment. False after the last.
 * All borrow from the environment. */
bool config_next_spark(size_t *at, struct view *name, struct view *value);

/* Parsed settings. Strings point into the environment or to constants and live as long as the process. */
struct config {
  const char *listen;
  const char *health_listen; /* NULL: none */
  const char *source;        /* NULL: not set; commands that read need it */
  const char *db;
  uint64_t threads;
  uint64_t max_active_runs;
  const char *timezone;
  const struct tz *zone; /* of timezone */
  enum bad_rows bad_rows;
  const char *max_bad_rows_text;
  struct bad_rows_limit max_bad_rows;
  enum status_match status_match;
  const char *unknown_category; /* NULL: refuse */
  enum log_level log_level;
  uint64_t drain_seconds;
  uint64_t stall_seconds;
  uint64_t keep_days;
  uint64_t memory_limit_bytes; /* of one run; 0: none */
  enum engine_kind engine;
  uint64_t native_max_bytes;
  struct spark_settings spark;
  uint64_t s3_concurrency;
  const char *cache_dir; /* NULL: none */
  uint64_t cache_max_bytes;
  bool publish_to_dynamodb;
  bool publish_plain;
  const char *item_shape; /* NULL: that of the mode */
  const char *category_table, *order_table, *control_table;
  bool intents_in_dynamodb;
  const char *api_keys, *api_keys_file; /* NULL: none */
  bool allow_no_keys;
};

/* Reads all settings from the environment. Errors: KPI_CONFIG_INVALID naming the setting, its value and what
 * it may be; an unknown name that starts with KPI_ is refused as well. */
KPI_MUST_CHECK enum kpi_code config_load(struct config *out, struct err *err);

/* Returns the day it is now in KPI_TIMEZONE. */
day_t config_today(const struct config *c);

/* Reads YYYY-MM-DD, "yesterday" or "today". False when it is none. */
bool config_date(const struct config *c, struct view text, day_t *out);

/* Returns the memory of one run, 0 for no limit, where `allowed` is what all of the program may use
 * (UINT64_MAX: no limit): so many scans at a time share what the program itself and downloads leave, and none
 * gets less than 16 MiB. */
uint64_t config_memory_share(const struct config *c, uint64_t allowed, uint64_t scans);

/* Gives runs that share where KPI_MEMORY_LIMIT says nothing. */
void config_share_memory(struct config *c, uint64_t scans);

/* Appends the table of all settings: name, value in effect, default, range and meaning. */
void config_describe(struct buf *out);

#endif
