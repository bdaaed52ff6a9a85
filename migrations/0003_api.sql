-- What orchestration tools ask for: keys that make a request safe to repeat, limits of time and attempts.

-- Of one attempt.
ALTER TABLE runs ADD COLUMN timeout_seconds INTEGER NOT NULL DEFAULT 3600 CHECK (timeout_seconds >= 1);
-- A run that has not started by then fails as expired.
ALTER TABLE runs ADD COLUMN expires_at INTEGER;
-- Attempts that have failed since the run was queued by a client.
ALTER TABLE runs ADD COLUMN failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0);
-- The key that made the run; others may have been attached to it.
ALTER TABLE runs ADD COLUMN idempotency_key TEXT;
ALTER TABLE runs ADD COLUMN principal TEXT;
ALTER TABLE runs ADD COLUMN trace_id TEXT;

-- A key lives as long as its run.
CREATE TABLE idempotency_keys (
  key         TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  run_id      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_run ON idempotency_keys (run_id);

CREATE INDEX runs_to_expire ON runs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;
CREATE INDEX runs_to_try_again ON runs (next_attempt_at) WHERE state = 'retry_wait';

-- The categories of the products data are many and long, and the same for most runs: lists by key (SHA-256; of earlier versions, the
-- id of the run), so that a run's row stays small and is quick to change.
CREATE TABLE category_lists (
  key   TEXT PRIMARY KEY,
  names TEXT NOT NULL CHECK (json_valid(names))
) STRICT, WITHOUT ROWID;
ALTER TABLE runs ADD COLUMN category_list TEXT;
INSERT INTO category_lists (key, names) SELECT id, categories_json FROM runs WHERE categories_json IS NOT NULL;
UPDATE runs SET category_list = id WHERE categories_json IS NOT NULL;
ALTER TABLE runs DROP COLUMN categories_json;
