/* SPDX-License-Identifier: MIT
 * What a run is asked to compute, how it tells its progress, and the small vocabularies of both. Shared by
 * engines, command line and server. Knows no file format, SQL or HTTP. */
#ifndef KPID_PIPELINE_JOB_H
#define KPID_PIPELINE_JOB_H

#include "base/alloc.h"
#include "base/pool.h"
#include "base/tz.h"
#include "pipeline/day_set.h"
#include "pipeline/schema.h"

/* What a running run is doing; PHASE_NONE outside running. */
enum run_phase {
  PHASE_NONE,
  PHASE_LISTING,
  PHASE_SCANNING,
  PHASE_AGGREGATING,
  PHASE_CHECKING,
  PHASE_PUBLISHING,
  PHASE_FINALIZING,
  PHASE_COUNT
};

/* What computes a run; auto: native or Spark, by how much there is to read. */
enum { ENGINE_REASON_SIZE = 160 };
enum engine_kind { ENGINE_NATIVE, ENGINE_SPARK, ENGINE_AUTO, ENGINE_KIND_COUNT };

enum bad_rows { BAD_ROWS_FAIL, BAD_ROWS_SKIP, BAD_ROWS_COUNT };
enum quality_gate { GATE_OFF, GATE_WARN, GATE_BLOCK, GATE_COUNT };
enum status_match { STATUS_FOLDED, STATUS_EXACT, STATUS_MATCH_COUNT };

/* Names as they stand in JSON, SQL, settings and openapi.yaml; NULL for PHASE_NONE. */
const char *run_phase_name(enum run_phase p);
const char *engine_kind_name(enum engine_kind k);
const char *bad_rows_name(enum bad_rows b);
const char *quality_gate_name(enum quality_gate g);
const char *status_match_name(enum status_match m);

/* The inverse; false for an unknown name. */
bool run_phase_of(struct view name, enum run_phase *out);
bool engine_kind_of(struct view name, enum engine_kind *out);
bool bad_rows_of(struct view name, enum bad_rows *out);
bool quality_gate_of(struct view name, enum quality_gate *out);
bool status_match_of(struct view name, enum status_match *out);

/* How many bad rows a run tolerates before it fails: a count, or a percentage of all rows read. */
struct bad_rows_limit {
  bool is_percent;
  uint64_t count;
  double percent; /* 0-100 */
};

/* Parses "100" or "0.5%". False for anything else. */
bool bad_rows_limit_parse(struct view text, struct bad_rows_limit *out);

/* True when `bad` of `rows` rows are more than the limit allows. */
bool bad_rows_exceed(const struct bad_rows_limit *limit, uint64_t bad, uint64_t rows);

/* What is counted while a run works. Plain copy of the live counters. */
struct run_progress {
  uint64_t bytes_read, bytes_total;
  uint64_t rows_orders, rows_order_items, rows_products;
  uint64_t files_done, files_total;
  uint64_t items_published, items_total;
};

/* Whether a cluster has the work. What runs there goes on without this process. */
enum elsewhere { ELSEWHERE_NOT, ELSEWHERE_WAITING, ELSEWHERE_RUNNING };

/* The live counters of a run: written by its workers, read by anyone. Zero-initialise. */
struct job_progress {
  _Atomic uint64_t bytes_read, bytes_total, files_done, files_total;
  _Atomic uint64_t rows[DATASET_COUNT];
  _Atomic uint64_t items_published, items_total;
  _Atomic int phase;
  _Atomic int elsewhere;  /* enum elsewhere */
  _Atomic uint64_t beats; /* signs of life that no counter shows */
  struct pool_load tasks; /* of the shared pool of workers */
};

/* Copies the counters. */
struct run_progress job_progress_copy(const struct job_progress *p);

/* Sets the counters and the phase to those of another. */
void job_progress_set(struct job_progress *p, const struct job_progress *from);

struct source;
struct object_cache;
struct hand_off;
struct kpi_rows;

/* One computation: some days of what the source holds now, in one pass over it. All pointers are borrowed for
 * its length. */
struct job {
  struct day_set days; /* borrowed as well */
  enum bad_rows bad_rows;
  struct bad_rows_limit max_bad_rows;
  enum status_match status_match;
  const char *unknown_category; /* stands for a null category; NULL: refuse such a product when it was sold */
  const struct tz *zone;        /* business zone of timestamps that carry a zone */
  const char *timezone;         /* its name */
  struct source *source;
  struct object_cache *cache;      /* of what the source holds; NULL: none */
  const struct kpi_rows *history;  /* order rows that are published for the weeks before the days, or among
                                      them; NULL: not known */
  const struct hand_off *hand_off; /* keeps what is handed to a cluster; NULL: it is not kept */
  struct budget *budget;
  struct stop_flag *stop;
  const struct stop_flag *abandon; /* ends publishing too, which `stop` lets go on: raised after it, when the
                                      process has to go; NULL: never */
  struct job_progress *progress;
  uint32_t timeout_seconds; /* of what is handed to a cluster; 0: none */
  bool without_reports;     /* nobody reads the quality reports of its days: they are only judged */
};

/* Fills err for a job that was stopped: KPI_CANCELLED, KPI_INTERRUPTED, KPI_STALLED or KPI_TIMEOUT. */
enum kpi_code job_stopped_err(const struct job *job, struct err *err);

/* Fills err for memory that could not be had: names the limit when it was the budget's. Returns
 * KPI_OUT_OF_MEMORY. */
enum kpi_code job_memory_err(const struct job *job, struct err *err);

#endif
