/* SPDX-License-Identifier: MIT
 * The data-quality report of a run: what the checks found, as a table of checks, and a profile of each input.
 * Workers fill tallies, which are merged; the report is written once. Never changes a KPI. */
#ifndef KPID_PIPELINE_QUALITY_H
#define KPID_PIPELINE_QUALITY_H

#include "base/buf.h"
#include "pipeline/decimal.h"
#include "pipeline/finding.h"
#include "pipeline/job.h"
#include "pipeline/source.h"

enum check_id {
  CHECK_ORDERS_HEADER,
  CHECK_ITEMS_HEADER,
  CHECK_PRODUCTS_HEADER,
  CHECK_ORDERS_RAGGED,
  CHECK_ITEMS_RAGGED,
  CHECK_PRODUCTS_RAGGED,
  CHECK_ORDERS_ENCODING,
  CHECK_ITEMS_ENCODING,
  CHECK_PRODUCTS_ENCODING,
  CHECK_ORDERS_TIMESTAMP,
  CHECK_ITEMS_TIMESTAMP,
  CHECK_ORDER_ID_NULL,
  CHECK_USER_ID_NULL,
  CHECK_ITEM_ID_NULL,
  CHECK_ITEM_ORDER_NULL,
  CHECK_ITEM_PRODUCT_NULL,
  CHECK_PRODUCT_ID_NULL,
  CHECK_CATEGORY_NULL,
  CHECK_ORDER_ID_UNIQUE,
  CHECK_ITEM_ID_UNIQUE,
  CHECK_PRODUCT_ID_UNIQUE,
  CHECK_PRICE_MISSING,
  CHECK_PRICE_UNPARSABLE,
  CHECK_PRICE_NOT_FINITE,
  CHECK_PRICE_NEGATIVE,
  CHECK_PRICE_ROUNDED,
  CHECK_ORDER_STATUS_DOMAIN,
  CHECK_ITEM_STATUS_DOMAIN,
  CHECK_STATUS_NEAR_MISS,
  CHECK_ITEM_WITHOUT_PRODUCT,
  CHECK_ITEM_WITHOUT_ORDER,
  CHECK_ORDER_WITHOUT_ITEMS,
  CHECK_ITEM_DAY_DIFFERS,
  CHECK_DAY_HAS_ROWS,
  CHECK_REVENUE_RECONCILES,
  CHECK_INPUT_COMPLETE,
  CHECK_HISTORY_ORDERS,
  CHECK_HISTORY_REVENUE,
  CHECK_HISTORY_ITEMS,
  CHECK_HISTORY_CUSTOMERS,
  CHECK_HISTORY_RETURN_RATE,
  CHECK_HISTORY_LOST,
  CHECK_COUNT
};

/* Range of a column, whose cells are of one kind. Zero-initialised has seen nothing. */
struct column_stats {
  uint64_t nulls;
  enum { STATS_NONE, STATS_NUMBER, STATS_MONEY, STATS_TEXT } kind;
  union { /* by kind; days are numbers */
    struct {
      int64_t min, max;
    } number;
    struct {
      struct decimal min, max;
    } money;
    struct {
      char min[FINDING_VALUE_BYTES], max[FINDING_VALUE_BYTES]; /* cut to fit */
    } text;
  };
};

/* Widens the range of whole numbers, or of days (since 1970). */
void column_stats_number(struct column_stats *s, int64_t value);

/* Widens the range of money. */
void column_stats_money(struct column_stats *s, const struct decimal *value);

/* Widens the range of texts, which compare bytewise; copies what fits of the value. */
void column_stats_text(struct column_stats *s, struct view value);

/* What a status text is by the rule of the job. */
struct status_verdict {
  bool is_known;     /* a word that shops use */
  bool is_near_miss; /* looks like returned to a reader, does not count as it */
};

enum { STATUS_CACHE_MAX = 32 };

/* Verdicts of texts that were seen; zero-initialise. Holds the first, judges the others anew. */
struct status_cache {
  struct {
    char text[FINDING_VALUE_BYTES];
    struct status_verdict verdict;
  } at[STATUS_CACHE_MAX];
  size_t count, last;
};

/* Judges a status as a cell holds it; the cache borrows nothing. */
struct status_verdict status_judge(struct status_cache *c, struct view status, enum status_match match);

/* What is noted of a day, or of the inputs as a whole; zero-initialise. */
struct quality_tally {
  struct finding found[CHECK_COUNT];
  uint64_t relevant[DATASET_COUNT]; /* rows that bear on the days of the run */
  uint64_t bad_rows[DATASET_COUNT]; /* left out (bad_rows=skip) */
  struct column_stats columns[DATASET_COUNT][COLUMNS_MAX];
  struct decimal item_revenue;    /* of items of the day, as often as they are sold in the category table */
  struct decimal dropped_revenue; /* of these, of items without a product */
  struct decimal orphan_revenue;  /* of items of the day whose order is missing */
};

/* Adds what was noted elsewhere. */
void quality_tally_merge(struct quality_tally *t, const struct quality_tally *from);

/* Frees and empties. */
void quality_tally_clear(struct quality_tally *t);

/* What is known of a day at the end of a computation. Borrows everything. */
struct quality_facts {
  const struct job *job;
  const struct source_listing *listing;
  day_t day;
  const struct quality_tally *tally; /* of the day and of the inputs as a whole */
  uint64_t rows[DATASET_COUNT];
  const struct kpi_rows *tables;               /* of the day; KPI_TABLE_COUNT of them */
  bool is_text_id[DATASET_COUNT][COLUMNS_MAX]; /* no numeric range for these */
};

/* Only a check can be skipped: what it needs is not there. */
enum quality_status { QUALITY_PASSED, QUALITY_WARNED, QUALITY_FAILED, QUALITY_SKIPPED };

/* The finished report. */
struct quality {
  enum quality_status status;
  unsigned passed, warned, failed; /* checks; those that were skipped are none of these */
  uint64_t bad_rows;               /* of all inputs, left out */
  char failed_title[96];           /* of the first failed check */
  char *report_json;               /* owned; NULL: of a job without reports */
};

/* Judges every check and, unless the job is without reports, writes the report. Returns owned in *out.
 * Errors: KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code quality_report(const struct quality_facts *facts, struct quality *out,
                                            struct err *err);

/* Finds a check by its id in the report. False when there is none. */
bool quality_check_of(struct view id, enum check_id *out);

/* Returns the data set that a check's examples are of. */
enum dataset quality_check_dataset(enum check_id id);

/* Returns the name as it stands in JSON: passed, warned, failed or skipped; static. */
const char *quality_status_name(enum quality_status s);

/* Appends {"status":..,"passed":..,"warned":..,"failed":..}. */
void quality_summary_json(const struct quality *q, struct buf *out);

/* Accepts NULL. */
void quality_clear(struct quality *q);

#endif
