-- Runs, their results, and what is published. Times are Unix milliseconds.

-- The moves of the state machine; server/run.c has the same table, a test compares them.
CREATE TABLE run_moves (
  from_state TEXT NOT NULL,
  to_state   TEXT NOT NULL,
  PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;

INSERT INTO run_moves (from_state, to_state) VALUES
  ('queued', 'running'), ('queued', 'cancelled'), ('queued', 'failed'),
  ('running', 'succeeded'), ('running', 'failed'), ('running', 'retry_wait'), ('running', 'cancelling'),
  ('running', 'queued'),
  ('retry_wait', 'queued'), ('retry_wait', 'cancelled'),
  ('cancelling', 'cancelled'), ('cancelling', 'succeeded'), ('cancelling', 'failed'),
  ('failed', 'queued'), ('cancelled', 'queued');

CREATE TABLE runs (
  id                  TEXT PRIMARY KEY CHECK (length(id) = 36),
  date                TEXT NOT NULL CHECK (date GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]'),
  timezone            TEXT NOT NULL,
  engine              TEXT NOT NULL CHECK (engine IN ('native')),
  state               TEXT NOT NULL CHECK (state IN ('queued', 'running', 'retry_wait', 'cancelling', 'succeeded',
                                                     'failed', 'cancelled')),
  phase               TEXT CHECK (phase IN ('listing', 'scanning', 'aggregating', 'checking', 'publishing',
                                            'finalizing')),
  attempt             INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
  max_attempts        INTEGER NOT NULL DEFAULT 1 CHECK (max_attempts >= 1),
  crashes             INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0),
  boot_id             TEXT,
  created_at          INTEGER NOT NULL,
  started_at          INTEGER,
  finished_at         INTEGER,
  updated_at          INTEGER NOT NULL,
  next_attempt_at     INTEGER,
  cancel_requested_at INTEGER,
  published_at        INTEGER,
  version             INTEGER NOT NULL DEFAULT 1,
  publish             INTEGER NOT NULL CHECK (publish IN (0, 1)),
  quality_gate        TEXT NOT NULL CHECK (quality_gate IN ('off', 'warn', 'block')),
  bad_rows            TEXT NOT NULL CHECK (bad_rows IN ('fail', 'skip')),
  max_bad_rows        TEXT NOT NULL,
  bytes_read          INTEGER NOT NULL DEFAULT 0,
  bytes_total         INTEGER NOT NULL DEFAULT 0,
  rows_orders         INTEGER NOT NULL DEFAULT 0,
  rows_order_items    INTEGER NOT NULL DEFAULT 0,
  rows_products       INTEGER NOT NULL DEFAULT 0,
  files_done          INTEGER NOT NULL DEFAULT 0,
  files_total         INTEGER NOT NULL DEFAULT 0,
  items_published     INTEGER NOT NULL DEFAULT 0,
  items_total         INTEGER NOT NULL DEFAULT 0,
  input_base          TEXT NOT NULL,
  input_fingerprint   TEXT,
  input_objects       INTEGER NOT NULL DEFAULT 0,
  input_bytes         INTEGER NOT NULL DEFAULT 0,
  summary_json        TEXT CHECK (summary_json IS NULL OR json_valid(summary_json)),
  quality_json        TEXT CHECK (quality_json IS NULL OR json_valid(quality_json)),
  output_json         TEXT CHECK (output_json IS NULL OR json_valid(output_json)),
  error_json          TEXT CHECK (error_json IS NULL OR json_valid(error_json)),
  results_sha256      TEXT,
  labels_json         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(labels_json)),
  reason              TEXT,
  user_agent          TEXT,
  request_id          TEXT,
  service_version     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The rule "one active publishing run a date" is this index, not a code path.
CREATE UNIQUE INDEX runs_one_active_a_date ON runs (date)
  WHERE publish = 1 AND state IN ('queued', 'running', 'retry_wait', 'cancelling');
CREATE INDEX runs_by_state ON runs (state, id);
CREATE INDEX runs_by_date ON runs (date, id);

CREATE TRIGGER runs_state_moves BEFORE UPDATE OF state ON runs
WHEN new.state <> old.state
  AND NOT EXISTS (SELECT 1 FROM run_moves WHERE from_state = old.state AND to_state = new.state)
BEGIN
  SELECT RAISE(ABORT, 'this state move is not allowed');
END;

-- Every attempt that has ended.
CREATE TABLE attempts (
  run_id      TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  attempt     INTEGER NOT NULL,
  started_at  INTEGER NOT NULL,
  finished_at INTEGER NOT NULL,
  outcome     TEXT NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled', 'interrupted', 'crashed')),
  error_code  TEXT,
  PRIMARY KEY (run_id, attempt)
) STRICT, WITHOUT ROWID;

-- One row a state change, in the same transaction, in the order of seq.
CREATE TABLE events (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id  TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  at      INTEGER NOT NULL,
  state   TEXT NOT NULL,
  attempt INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events (run_id, seq);

CREATE TRIGGER events_on_insert AFTER INSERT ON runs
BEGIN
  INSERT INTO events (run_id, at, state, attempt) VALUES (new.id, new.updated_at, new.state, new.attempt);
END;
CREATE TRIGGER events_on_move AFTER UPDATE OF state ON runs WHEN new.state <> old.state
BEGIN
  INSERT INTO events (run_id, at, state, attempt) VALUES (new.id, new.updated_at, new.state, new.attempt);
END;

-- The rows a run has computed. Money is exact decimal text.
CREATE TABLE order_results (
  run_id          TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  order_date      TEXT NOT NULL,
  revenue         TEXT NOT NULL,
  orders          INTEGER NOT NULL,
  items           INTEGER NOT NULL,
  customers       INTEGER NOT NULL,
  returned_items  INTEGER NOT NULL,
  returned_orders INTEGER,
  PRIMARY KEY (run_id, order_date)
) STRICT, WITHOUT ROWID;

CREATE TABLE category_results (
  run_id          TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  order_date      TEXT NOT NULL,
  category        TEXT NOT NULL,
  revenue         TEXT NOT NULL,
  orders          INTEGER NOT NULL,
  items           INTEGER NOT NULL,
  returned_items  INTEGER NOT NULL,
  returned_orders INTEGER NOT NULL,
  PRIMARY KEY (run_id, order_date, category)
) STRICT, WITHOUT ROWID;

CREATE TABLE quality_reports (
  run_id TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
  report TEXT NOT NULL CHECK (json_valid(report))
) STRICT, WITHOUT ROWID;

-- Which run's rows are the truth for a date now.
CREATE TABLE published (
  order_date   TEXT PRIMARY KEY,
  run_id       TEXT NOT NULL REFERENCES runs (id),
  published_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX published_by_run ON published (run_id);

-- What is published now, under the column names of the tables that kpid publishes to.
CREATE VIEW order_kpis_table AS
SELECT r.order_date,
       r.orders AS total_orders,
       CAST(r.revenue AS REAL) AS total_revenue,
       r.items AS total_items_sold,
       CASE WHEN r.orders > 0 THEN CAST(r.returned_items AS REAL) / r.orders ELSE 0.0 END AS return_rate,
       r.customers AS unique_customers
FROM published p JOIN order_results r ON r.run_id = p.run_id AND r.order_date = p.order_date;

CREATE VIEW category_kpis_table AS
SELECT r.category,
       r.order_date,
       CAST(r.revenue AS REAL) AS daily_revenue,
       CASE WHEN r.orders > 0 THEN CAST(r.revenue AS REAL) / r.orders ELSE 0.0 END AS avg_order_value,
       CASE WHEN r.orders > 0 THEN CAST(r.returned_items AS REAL) / r.orders ELSE 0.0 END AS avg_return_rate
FROM published p JOIN category_results r ON r.run_id = p.run_id AND r.order_date = p.order_date;
