-- Backfills: days that were asked for together. Days of one input are computed together; single days go first.

-- 0: a single day; 1: a day of a backfill.
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0 CHECK (priority IN (0, 1));

CREATE TABLE backfills (
  id                  TEXT PRIMARY KEY CHECK (length(id) = 36),
  created_at          INTEGER NOT NULL,
  updated_at          INTEGER NOT NULL,
  cancel_requested_at INTEGER,
  version             INTEGER NOT NULL DEFAULT 1,
  -- NULL while the days are not known yet.
  first_date          TEXT,
  last_date           TEXT,
  -- Of a backfill of every day in the data, whose days only a scan can tell; NULL: the days were named.
  discovery           TEXT CHECK (discovery IN ('queued', 'running', 'done', 'failed', 'cancelled')),
  boot_id             TEXT,
  finished_at         INTEGER, -- of a discovery that found no days
  error_json          TEXT CHECK (error_json IS NULL OR json_valid(error_json)),
  reprocess           TEXT NOT NULL CHECK (reprocess IN ('missing', 'failed', 'changed', 'all')),
  day_order           TEXT NOT NULL CHECK (day_order IN ('asc', 'desc')),
  -- What each of its runs is asked for.
  publish             INTEGER NOT NULL CHECK (publish IN (0, 1)),
  quality_gate        TEXT NOT NULL CHECK (quality_gate IN ('off', 'warn', 'block')),
  bad_rows            TEXT NOT NULL CHECK (bad_rows IN ('fail', 'skip')),
  max_bad_rows        TEXT NOT NULL,
  force               INTEGER NOT NULL CHECK (force IN (0, 1)),
  timeout_seconds     INTEGER NOT NULL CHECK (timeout_seconds >= 1),
  max_attempts        INTEGER NOT NULL CHECK (max_attempts >= 1),
  labels_json         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels_json)),
  reason              TEXT,
  idempotency_key     TEXT,
  principal           TEXT,
  user_agent          TEXT,
  request_id          TEXT,
  trace_id            TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX backfills_to_discover ON backfills (id) WHERE discovery IN ('queued', 'running');

-- What becomes of each day. A run that was pruned leaves its day without one.
CREATE TABLE backfill_days (
  backfill_id TEXT NOT NULL REFERENCES backfills (id) ON DELETE CASCADE,
  date        TEXT NOT NULL,
  action      TEXT NOT NULL CHECK (action IN ('run', 'attach', 'skip')),
  reason      TEXT NOT NULL CHECK (reason IN ('missing', 'failed', 'changed', 'requested', 'active', 'succeeded',
                                              'unchanged')),
  run_id      TEXT REFERENCES runs (id) ON DELETE SET NULL,
  PRIMARY KEY (backfill_id, date)
) STRICT, WITHOUT ROWID;
CREATE INDEX backfill_days_by_run ON backfill_days (run_id);

-- A key stands for a run or for a backfill, and lives as long as that.
ALTER TABLE idempotency_keys RENAME TO keys_of_runs;
DROP INDEX idempotency_keys_by_run;
CREATE TABLE idempotency_keys (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  run_id      TEXT REFERENCES runs (id) ON DELETE CASCADE,
  backfill_id TEXT REFERENCES backfills (id) ON DELETE CASCADE,
  CHECK ((run_id IS NULL) <> (backfill_id IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys (key, fingerprint, run_id) SELECT key, fingerprint, run_id FROM keys_of_runs;
DROP TABLE keys_of_runs;
CREATE INDEX idempotency_keys_by_run ON idempotency_keys (run_id);
CREATE INDEX idempotency_keys_by_backfill ON idempotency_keys (backfill_id);
